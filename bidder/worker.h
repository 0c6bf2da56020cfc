/* One worker process: its loop, its listener, its catalog, and what answers requests.
 *
 *   conn/server --request--> route --+--> bidding (auctions, notices)
 *                                    '--> 404, 405
 *   supervisor --control--> reload (catalog built by a background thread), drain, admin calls */
#pragma once

#include "bidder/base/loop.h"
#include "bidder/base/metric.h"
#include "bidder/config.h"
#include "bidder/control.h"
#include "bidder/reload.h"
#include "bidder/server.h"

struct bidding;

struct worker {
    const struct config *config; /* borrowed, as from before the fork */
    unsigned index;
    struct loop loop;
    struct control control;
    struct server *server;   /* owned */
    struct bidding *bidding; /* owned */
    struct reload reload;
    struct loop_signal signals[3];
    struct loop_timer tick, health;
    struct loop_timer drain_limit;
    int listener; /* owned until it is given to the server; then -1 */
    uint64_t generation;
    bool draining;
};

/* Metrics and admin endpoints of everything that runs in workers; before the first fork. */
void worker_register(void);
/* In the child: serves until drained; the process's exit code. Takes both descriptors. */
int worker_run(const struct config *config, unsigned index, int listener, int channel);

#define WORKER_METRICS(X)                                                                          \
    X(WORKER_UP, METRIC_GAUGE, "jointcap_workers_up", NULL, NULL, 1, "Workers that serve.")        \
    X(WORKER_GENERATION, METRIC_GAUGE_MAX, "jointcap_catalog_generation", NULL, NULL, 1,           \
      "Number of the catalog in use; grows with each one loaded.")                                 \
    X(WORKER_REDIS_UP, METRIC_GAUGE, "jointcap_workers_with_redis", NULL, NULL, 1,                 \
      "Workers that reach Redis.")                                                                 \
    X(WORKER_RESIDENT, METRIC_GAUGE, "jointcap_resident_bytes", NULL, NULL, 1,                     \
      "Memory of all workers together, shared pages counted in each.")                             \
    X(WORKER_LOADED, METRIC_TIME, "jointcap_catalog_build_seconds", NULL, NULL, 1,                 \
      "Time to build a catalog in the background.")
METRIC_DECLARE(worker, WORKER_METRICS);
