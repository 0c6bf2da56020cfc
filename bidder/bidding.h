/* Everything in a worker that answers bid requests and notices: the composition of auctions,
 * store, budgets, pacing and event log over one catalog. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "bidder/base/str.h"

struct buf;
struct catalog;
struct redis;
struct server_request;
struct worker;

/* Metrics and admin endpoints; before the first fork. */
void bidding_register(void);

/* NULL when something essential is missing; the log says what. */
struct bidding *bidding_create(struct worker *worker);
void bidding_destroy(struct bidding **bidding);

/* Last touches to a catalog that was just built, in the builder's thread: metrics rows. */
void bidding_adopt_catalog(struct catalog *catalog);
/* Takes the reference. What runs keeps the catalog it began with. */
void bidding_set_catalog(struct bidding *bidding, struct catalog *catalog);
/* NULL before the first. */
const struct catalog *bidding_catalog(const struct bidding *bidding);

/* POST /openrtb2/<id>: answers the request's ticket, now or later. */
void bidding_exchange(struct bidding *bidding, const struct server_request *request, struct str id);
/* GET /openrtb2/<id>/ready: 1 while requests of this exchange are taken. */
void bidding_ready(struct bidding *bidding, const struct server_request *request, struct str id);
/* /notice/...: the same. */
void bidding_notice(struct bidding *bidding, const struct server_request *request);

/* Once a second. */
void bidding_tick(struct bidding *bidding);
/* The worker's connection, for what admin calls ask or write. */
struct redis *bidding_redis(struct bidding *bidding);
bool bidding_redis_is_up(const struct bidding *bidding);
