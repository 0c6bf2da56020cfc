/* How much of a PDB deal may still be returned today (退量). One per worker; the allowance of a
 * deal is shared between workers through leases, so that the sum never exceeds it.
 *
 * Of N pushes N * (1 - 1/rho) may be returned, rho = push ratio; early in the day a slack of
 * max(20, 0.5% of the expected pushes) on top, falling to 0 at day's end. Never so much that the
 * guaranteed impressions can no longer be reached from the pushes still expected. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "bidder/base/redis.h"
#include "bidder/base/status.h"
#include "bidder/base/str.h"
#include "bidder/base/tz.h"

struct return_deal_plan {
    struct str name;             /* "exchange/deal": names it in Redis; borrowed during configure */
    int64_t push_ratio_micros;   /* 1500000 = 1.5; 0 or 1000000 = nothing may be returned */
    int64_t impressions_per_day; /* guaranteed; 0 = not agreed */
};

struct return_quota;

struct return_quota_options {
    uint32_t owner;   /* unique over all workers of all machines */
    uint32_t workers; /* how many share a deal, about; leases follow what Redis counts */
};

/* redis is borrowed and outlives the quota. NULL when memory is out. */
struct return_quota *return_quota_create(struct redis *redis,
                                         const struct return_quota_options *options);
void return_quota_destroy(struct return_quota **quota);
/* Plan i is what deal index i means from now on; deals that stay (by name) keep their counts. tz is
 * borrowed until the next configure. */
enum status return_quota_configure(struct return_quota *quota, const struct return_deal_plan *plans,
                                   uint32_t count, const struct tz *tz, int64_t now_s) MUST_USE;

/* A push of the deal arrived: counted whatever becomes of it. */
void return_quota_note_push(struct return_quota *quota, uint32_t deal, int64_t now_s);
/* Returns this push if the allowance permits: true = counted as returned, answer no-bid on the
 * deal; false = it must be filled. No round trip. */
bool return_quota_take(struct return_quota *quota, uint32_t deal, int64_t now_s);
/* Syncs leases and counts with Redis. Call about every 100 ms. */
void return_quota_tick(struct return_quota *quota, int64_t now_us, int64_t now_s);

/* Today, all workers, as far as known here. */
struct return_view {
    bool known; /* Redis has answered */
    int64_t pushed, returned, leased;
};
/* False when there is no such deal. */
bool return_quota_view(const struct return_quota *quota, uint32_t deal, struct return_view *view);
