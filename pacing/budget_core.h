/* The ledger without I/O: commitments, accounts, and the steps it wants to exchange with Redis.
 * budget.c carries the steps; simulations carry them badly on purpose. Not thread-safe.
 *
 * An account's money at this worker:
 *
 *       grant              ripens           commit             win
 *   ---------->  young  ------------> free  ------>  committed  ----> used (reported, for ever)
 *                  | connection lost   ^ |               | loss, timeout, rest of a win
 *                  v                   | v returned      |
 *               given back             +-+---------------+
 *   orphan: what a former life of this worker held; spent as far as anyone knows, until reconciled
 *
 * lease = free + young + committed + orphan is what Redis counts as out. A young grant is not spent
 * before Redis has had the time to write it to disk (AOF everysec): a Redis that comes back from a
 * crash has forgotten grants that nobody has spent, never one that was.
 *
 * Flights lie in a ring in the order of their commitment; with one timeout for all, the oldest is
 * the first to expire. A flight stays readable behind its end until the ring comes round, so that
 * late and repeated notices are recognised. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "bidder/base/status.h"
#include "pacing/budget.h"
#include "pacing/budget_step.h"

#define BUDGET_CORE_MAX_PER_BID BUDGET_MAX_PER_BID /* accounts one bid commits to */
#define BUDGET_CORE_YOUNG       8                  /* grants that ripen at the same time */
#define BUDGET_CORE_NONE        UINT32_MAX

struct budget_core_options {
    uint32_t owner; /* not 0 */
    int64_t life;   /* grows from one run of this owner to the next: wall clock in us */
    uint32_t max_flights;
    int64_t win_timeout_us;
    int64_t sync_interval_us;
    int64_t ripen_us; /* 0 = grants may be spent at once */
};

struct budget_account {
    struct budget_step_key key;
    bool open;      /* Redis has told what is recorded of us */
    bool closing;   /* no plan names it any more */
    bool listed;    /* in the active list */
    bool pending;   /* a step is on its way: sent is what it said */
    bool lost;      /* its answer will not come: send it again */
    bool unsettled; /* orphan not yet reconciled */
    bool has_log;   /* logged_used is known */
    bool impressions;
    bool named;          /* by a plan of the present catalog and day */
    uint16_t generation; /* flights of a former use of this slot are strangers */
    int64_t cap;
    int64_t free, young, committed, used, extra, orphan;
    struct {
        int64_t amount, at_us;
    } young_grants[BUDGET_CORE_YOUNG]; /* oldest first */
    uint32_t young_count;
    int64_t seq;
    struct budget_step sent;
    int64_t next_sync_us, synced_us, last_commit_us, last_grant_us, opened_us, closed_us;
    int64_t recovered_used, logged_used;
    int64_t reported_used, reported_lease;
    int64_t asked; /* the largest commitment refused since the last step */
    int64_t price; /* of the last commitment tried: leases below it are of no use */
    int64_t moved; /* wanted since the last tick: committed, or refused for want of a lease */
    int64_t rate;  /* wanted per second, smoothed over 3 s */
    int64_t settled_all, out_all, owners; /* as Redis last said */
    struct budget_flow flow;
};

struct budget_core;

/* NULL when memory is out. */
struct budget_core *budget_core_create(const struct budget_core_options *options);
void budget_core_destroy(struct budget_core **core);
enum status budget_core_configure(struct budget_core *core, const struct budget_plan *plans,
                                  uint32_t count, const struct tz *tz, int64_t now_s) MUST_USE;

enum budget_answer budget_core_commit(struct budget_core *core, const uint32_t *budgets,
                                      uint32_t count, int64_t amount_micros, int64_t now_us,
                                      uint32_t *flight);
enum budget_settlement budget_core_settle(struct budget_core *core, uint32_t flight,
                                          int64_t price_micros);
enum budget_settlement budget_core_release(struct budget_core *core, uint32_t flight);
void budget_core_book_late(struct budget_core *core, const uint32_t *budgets, uint32_t count,
                           int64_t amount_micros, int64_t now_us);

/* Expires flights, ripens grants, rolls the day over, measures rates. */
void budget_core_tick(struct budget_core *core, int64_t now_us, int64_t now_s);
/* The next step to send, or false. *account names it in the three calls below; exactly one of them
 * follows, except lost, which keeps the step for a later next_step (same words, same seq). */
bool budget_core_next_step(struct budget_core *core, int64_t now_us, struct budget_step *step,
                           uint32_t *account);
void budget_core_on_reply(struct budget_core *core, uint32_t account,
                          const struct budget_step_reply *reply, int64_t now_us);
void budget_core_on_lost(struct budget_core *core, uint32_t account, int64_t now_us);
/* The connection broke: Redis may have crashed. Young grants are not to be spent. */
void budget_core_on_disconnect(struct budget_core *core);

/* What the event log says this owner ever used of an account in former lives; ends the account's
 * wait for it. To be called before notices of this life are applied. */
void budget_core_reconcile(struct budget_core *core, uint32_t ref, int32_t date, int64_t used);
/* The same for all other accounts: the log does not know them. */
void budget_core_reconcile_rest(struct budget_core *core);
/* No further commitments while true: records cannot be written. */
void budget_core_stop(struct budget_core *core, bool stopped);
/* For ever: nothing is committed, all that is free goes back. */
void budget_core_drain(struct budget_core *core);
/* Drained: no account has anything left to tell or return but what is in flight. */
bool budget_core_is_drained(const struct budget_core *core);
bool budget_core_is_ready(const struct budget_core *core);

bool budget_core_view(const struct budget_core *core, uint32_t budget, bool daily,
                      struct budget_view *view);
const struct budget_stats *budget_core_stats(const struct budget_core *core);
/* For checks: account i of the core, or NULL behind the last. Unused slots have owner cap 0. */
const struct budget_account *budget_core_account(const struct budget_core *core, uint32_t account);
int32_t budget_core_flight_date(const struct budget_core *core, uint32_t id);
uint32_t budget_core_flight_refs(const struct budget_core *core, uint32_t id, uint32_t *refs,
                                 uint32_t *impressions);
int32_t budget_core_date(const struct budget_core *core);
