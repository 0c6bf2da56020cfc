/* The throttle of every budget, the same on all workers: each budget has one elected pacer, who
 * hears everybody's counts and publishes p; all others read it.
 *
 *   pace:{ref}   hash, TTL 60 days
 *     s          state: p, target, planned, spent, forecast, why (pacer_lead.h)
 *     c          learned curve: eligible requests per hour of the local week
 *     l          who leads, until when: "owner milliseconds"
 *     w<owner>   a worker's counts
 *
 * A worker that saw requests of a budget tells its counts every 5 s and gets the state back, in one
 * atomic step that also gives the lead to whoever asks when nobody has it. Nothing here guards
 * money: without Redis the last p holds and the ledger's leases run dry. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "bidder/base/buf.h"
#include "bidder/base/redis.h"
#include "bidder/base/status.h"
#include "bidder/base/tz.h"
#include "pacing/budget.h"
#include "pacing/pacer_lead.h"

struct pacer_plan { /* as budget_plan; same index */
    uint32_t ref;
    struct str name; /* borrowed until the next configure */
    struct pacer_budget budget;
};

struct pacer;

/* redis and ledger are borrowed and outlive the pacer. NULL when memory is out. */
struct pacer *pacer_create(struct redis *redis, struct budget_ledger *ledger, uint32_t owner);
void pacer_destroy(struct pacer **pacer);
/* Plan i is what budget index i means from now on; budgets that stay (by ref) keep their state.
 * Call with the same budgets as budget_ledger_configure, behind it. tz: until the next configure.
 */
enum status pacer_configure(struct pacer *pacer, const struct pacer_plan *plans, uint32_t count,
                            const struct tz *tz) MUST_USE;

/* A line's request: may it take part, by all of the line's budgets? hash: of request id and line,
 * uniform. Counts the request as eligible. As long as nothing was published of a budget, its first
 * few requests take part whatever p: they show what a request costs, and a quiet line is not mute.
 * For lines that are throttled only (not PDB, CPD). */
bool pacer_participates(struct pacer *pacer, const uint32_t *budgets, uint32_t count,
                        uint64_t hash);
/* The same, without counting: for explanations. */
bool pacer_would_participate(const struct pacer *pacer, const uint32_t *budgets, uint32_t count,
                             uint64_t hash);
/* Call about every 100 ms. */
void pacer_tick(struct pacer *pacer, int64_t now_us, int64_t now_s);

/* What a planner asks, as last published; false when nothing was. */
bool pacer_view(const struct pacer *pacer, uint32_t budget, struct pacer_state *state);
/* One JSON object per budget with a published state, with "budget", "p", "target", "planned",
 * "spent", "in_flight", "forecast" (in the budget's unit), "reason", "why", "as_of". */
void pacer_put_json(const struct pacer *pacer, struct buf *out);
/* The same object for a state read elsewhere (a tool that asks Redis: HGET pace:{ref} s). */
void pacer_state_put_json(struct buf *out, struct str name, const struct pacer_state *state);
