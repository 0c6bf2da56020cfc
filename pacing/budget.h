/* Budgets: commit at bid, settle at win, release at loss or timeout. One ledger per worker.
 *
 * An account is one limit: a campaign's or line's total, or its amount for one local day. Redis
 * holds per account settled and out (leased to workers) with settled + out <= cap; a worker spends
 * only from its lease, so the bid path is integer arithmetic without a round trip.
 *
 *     bid            win(price)             lease sync (off the path, one atomic idempotent step)
 *   free -> committed -> used           settled += used; out -= used + returned; out += grant
 *              | loss, timeout
 *              v
 *            free                                                                            */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "bidder/base/redis.h"
#include "bidder/base/status.h"
#include "bidder/base/str.h"
#include "bidder/base/tz.h"

/* What the catalog says of a budget; see struct catalog_budget. Borrowed from the catalog during
 * budget_ledger_configure only. */
struct budget_plan {
    uint32_t ref;
    struct str name;
    int64_t total, daily; /* 0 = none */
    bool impressions;     /* unit: 1 per impression instead of micros */
    int64_t start_s, end_s;
};

struct budget_ledger;

struct budget_options {
    uint32_t owner;           /* unique over all workers of all machines */
    uint32_t max_flights;     /* bids in flight at once */
    int64_t win_timeout_us;   /* a commitment without notice is freed after this */
    int64_t sync_interval_us; /* leases: 100 ms */
    int64_t ripen_us; /* how long a grant waits before it is spent, so that Redis has it on disk;
                         0 = 1.5 s, below 0 = not at all (tests) */
};

/* redis is borrowed and outlives the ledger. NULL when memory is out. */
struct budget_ledger *budget_ledger_create(struct redis *redis,
                                           const struct budget_options *options);
void budget_ledger_destroy(struct budget_ledger **ledger);

/* Adopts the budgets of a (new) catalog: plan i is what budget_commit's index i means from now on.
 * tz is borrowed until the next configure.
 * Accounts that stay keep their lease; limits that moved are told to Redis with the next sync. */
enum status budget_ledger_configure(struct budget_ledger *ledger, const struct budget_plan *plans,
                                    uint32_t count, const struct tz *tz, int64_t now_s) MUST_USE;

enum budget_answer {
    BUDGET_OK,
    BUDGET_SPENT,    /* an account has no room left at all */
    BUDGET_NO_LEASE, /* the account may have room, but none is leased to this worker yet */
    BUDGET_BUSY,     /* the flight table is full, or records cannot be written */
    BUDGET_ANSWER_COUNT
};

/* Commits amount_micros (money of one impression, catalog currency) to every budget listed, or to
 * none. *flight names the commitment (never 0). ~50 ns. */
enum budget_answer budget_commit(struct budget_ledger *ledger, const uint32_t *budgets,
                                 uint32_t count, int64_t amount_micros, int64_t now_us,
                                 uint32_t *flight);

enum budget_settlement {
    BUDGET_SETTLED,   /* applied */
    BUDGET_DUPLICATE, /* this flight was settled before */
    BUDGET_LATE,      /* the commitment had been freed: booked all the same, counted late_win */
    BUDGET_UNKNOWN    /* not of this ledger: another worker's or another life's */
};
/* A billable event: books min(price, committed) and frees the rest. */
enum budget_settlement budget_settle(struct budget_ledger *ledger, uint32_t flight,
                                     int64_t price_micros, int64_t now_us);
enum budget_settlement budget_release(struct budget_ledger *ledger, uint32_t flight,
                                      int64_t now_us);
/* A billable event whose commitment no living ledger knows (its worker died, or was replaced): the
 * money was spent, so it is booked on the budgets as settled, counted late_win. The caller has made
 * sure that it is booked once. */
void budget_book_late(struct budget_ledger *ledger, const uint32_t *budgets, uint32_t count,
                      int64_t amount_micros, int64_t now_us);

/* Cumulative since the account was opened here; all amounts in the budget's unit. */
struct budget_flow {
    int64_t committed, closed, settled;
};
/* One limit of a budget as this worker knows it. */
struct budget_view {
    bool known;                    /* Redis has answered */
    int64_t cap;                   /* the limit */
    int64_t settled, out;          /* all workers, at the last sync */
    int64_t free, committed, used; /* this worker: leased and free, in flight, ever spent */
    struct budget_flow flow;
};
/* The daily or the total limit of a budget; false when it has none such. */
bool budget_view(const struct budget_ledger *ledger, uint32_t budget, bool daily,
                 struct budget_view *view);

struct budget_stats {
    uint64_t commits, settled, released, expired;
    uint64_t refused[BUDGET_ANSWER_COUNT];
    uint64_t late_wins, duplicates, unknown;
    uint64_t steps, grants, stale, regress, lost_steps, bad_replies;
    int64_t late_amount;   /* booked behind the commitment's end */
    int64_t overdrawn;     /* of that, what no lease covered */
    int64_t young_dropped; /* grants given back unspent after a lost connection */
    bool fenced;           /* a later run of this owner exists: nothing is committed any more */
};
const struct budget_stats *budget_stats(const struct budget_ledger *ledger);

/* Start-up: what the event log says this owner used of an account (date yyyymmdd local, 0 = the
 * total) in its former lives. Until told, what those lives held counts as spent. Call before
 * notices are served; afterwards the rest of the old lease is freed win_timeout later. */
void budget_reconcile(struct budget_ledger *ledger, uint32_t ref, int32_t date, int64_t used);
/* Of every other account open or known now, the logs say nothing: it was not spent from. */
void budget_reconcile_rest(struct budget_ledger *ledger);
/* true: records cannot be written, so nothing is committed (BUDGET_BUSY) until false. */
void budget_ledger_stop(struct budget_ledger *ledger, bool stopped);
/* Before the process ends: nothing is committed any more, free leases go back with the next ticks;
 * drained says when they are (what is in flight stays out until the next run reconciles it). */
void budget_ledger_drain(struct budget_ledger *ledger);
bool budget_ledger_is_drained(const struct budget_ledger *ledger);
/* Every account that was opened at configure has its first lease, or none is to be had. */
bool budget_ledger_is_ready(const struct budget_ledger *ledger);
/* The local date (yyyymmdd) daily budgets are booked on at this moment. */
int32_t budget_ledger_date(const struct budget_ledger *ledger);

/* The local date whose daily limits a commitment of this ledger is (or was) on; 0: on none, or the
 * flight is not known any more. For event records. */
int32_t budget_flight_date(const struct budget_ledger *ledger, uint32_t flight);

/* The budgets a commitment of this ledger is (or was) on, whatever the catalog says now: how many
 * refs (at most BUDGET_MAX_PER_BID); bit i of *impressions: refs[i] counts impressions. 0: on none,
 * or the flight is not known any more. */
#define BUDGET_MAX_PER_BID 8
uint32_t budget_flight_refs(const struct budget_ledger *ledger, uint32_t flight, uint32_t *refs,
                            uint32_t *impressions);

/* Timers: frees overdue commitments, syncs leases. Call about every sync_interval_us. */
void budget_tick(struct budget_ledger *ledger, int64_t now_us, int64_t now_s);
