/* Ledgers of several workers against a Redis that is slow, loses answers, hears things twice, and
 * comes back from a crash a second older; workers that die and are born again. After every single
 * event the truth is compared with the limits.
 *
 * Truth per account: what was really won, plus what may still be won (commitments of the living,
 * and of the dead until their notices can no longer come). It must never exceed the limit. */
#include "bidder/base/bug.h"
#include "bidder/base/prng.h"
#include "pacing/budget_core.h"
#include "tests/test.h"

#define WORKERS    4
#define ACCOUNTS   3 /* line A daily, line B daily, their campaign's total */
#define BUDGETS    3
#define MAX_BIDS   200000
#define MAX_WIRE   4096
#define TIMEOUT_US 20000000
#define RIPEN_US   1500000
#define START_S    (20000 * (int64_t)86400 + 3600)

struct bid {
    int worker;
    uint32_t flight, budget;
    int64_t life, amount, price, at_us, notice_us;
    bool won, done, closed;
};

struct wire { /* a step on its way to Redis, or an answer on its way back */
    bool used, answer;
    int worker;
    int64_t life, arrives_us;
    uint32_t account;
    struct budget_step step;
    struct budget_step_reply reply;
};

struct worker {
    struct budget_core *core;
    int64_t life, down_until_us;
};

static struct sim {
    struct prng prng;
    int64_t now_us;
    struct worker workers[WORKERS];
    struct budget_step_account redis[ACCOUNTS], saved[ACCOUNTS], older[ACCOUNTS];
    int64_t caps[ACCOUNTS];
    int64_t truth_spent[ACCOUNTS], truth_open[ACCOUNTS];
    int64_t logged[WORKERS][ACCOUNTS]; /* the event log: won, by worker */
    struct wire wire[MAX_WIRE];
    struct bid *bids;
    uint32_t bid_count, first_open;
    int64_t worst_over; /* most by which the truth passed a limit */
    int64_t late_permille;
    uint64_t kills, crashes, refused, late;
    bool storms; /* losses, doubles, kills, crashes */
} sim;

static const struct budget_step_key keys[ACCOUNTS] = {
    {'b', 0xa, 20241004}, {'b', 0xb, 20241004}, {'b', 0xc, 0}};

static int account_of(const struct budget_step_key *key)
{
    for (int i = 0; i < ACCOUNTS; i++) {
        if (keys[i].ref == key->ref) {
            CHECK_INT(key->date, keys[i].date);
            return i;
        }
    }
    BUG_ON(true);
}

static const struct tz *utc(void)
{
    static struct tz_transition always = {.at_s = INT64_MIN};
    static struct tz tz = {.transitions = &always, .count = 1};
    return &tz;
}

static int64_t now_s(void)
{
    return START_S + sim.now_us / 1000000;
}

static void configure(struct worker *worker)
{
    struct budget_plan plans[BUDGETS] = {{.ref = 0xa, .daily = sim.caps[0]},
                                         {.ref = 0xb, .daily = sim.caps[1]},
                                         {.ref = 0xc, .total = sim.caps[2]}};
    CHECK_INT(budget_core_configure(worker->core, plans, BUDGETS, utc(), now_s()), STATUS_OK);
}

static void start_worker(int at)
{
    struct worker *worker = &sim.workers[at];
    worker->life = 1000 + sim.now_us;
    struct budget_core_options options = {.owner = (uint32_t)at + 1,
                                          .life = worker->life,
                                          .max_flights = 1 << 16,
                                          .win_timeout_us = TIMEOUT_US,
                                          .sync_interval_us = 100000,
                                          .ripen_us = RIPEN_US};
    worker->core = budget_core_create(&options);
    BUG_ON(!worker->core);
    configure(worker);
    for (int i = 0; i < ACCOUNTS; i++) {
        budget_core_reconcile(worker->core, keys[i].ref, keys[i].date, sim.logged[at][i]);
    }
}

static void check_truth(void)
{
    for (int i = 0; i < ACCOUNTS; i++) {
        int64_t over = sim.truth_spent[i] + sim.truth_open[i] - sim.caps[i];
        sim.worst_over = over > sim.worst_over ? over : sim.worst_over;
    }
}

/* --- bids and notices ------------------------------------------------------------------------ */

static void place_bid(int at)
{
    struct worker *worker = &sim.workers[at];
    uint32_t line = (uint32_t)prng_below(&sim.prng, 2);
    uint32_t budgets[2] = {line, 2};
    int64_t amount = 500 + (int64_t)prng_below(&sim.prng, 20000);
    uint32_t flight;
    enum budget_answer answer =
        budget_core_commit(worker->core, budgets, 2, amount, sim.now_us, &flight);
    if (answer != BUDGET_OK || sim.bid_count == MAX_BIDS) {
        sim.refused++;
        return;
    }
    bool late = prng_below(&sim.prng, 1000) < (uint64_t)sim.late_permille;
    struct bid *bid = &sim.bids[sim.bid_count++];
    *bid = (struct bid){.worker = at,
                        .flight = flight,
                        .budget = line,
                        .life = worker->life,
                        .amount = amount,
                        .price = (int64_t)prng_below(&sim.prng, (uint64_t)amount) + 1,
                        .at_us = sim.now_us,
                        .won = prng_below(&sim.prng, 3) == 0};
    bid->notice_us = sim.now_us + (late ? TIMEOUT_US + 5000000
                                        : (int64_t)prng_below(&sim.prng, TIMEOUT_US - 1000000));
    sim.truth_open[line] += amount;
    sim.truth_open[2] += amount;
    check_truth();
}

static void close_truth(struct bid *bid, bool spent)
{
    if (!bid->closed) {
        sim.truth_open[bid->budget] -= bid->amount;
        sim.truth_open[2] -= bid->amount;
        bid->closed = true;
    }
    if (spent) {
        sim.truth_spent[bid->budget] += bid->price;
        sim.truth_spent[2] += bid->price;
        sim.logged[bid->worker][bid->budget] += bid->price;
        sim.logged[bid->worker][2] += bid->price;
    }
}

static void give_notice(struct bid *bid)
{
    struct worker *worker = &sim.workers[bid->worker];
    if (!worker->core) {
        bid->notice_us = worker->down_until_us + 1000; /* the exchange tries again */
        return;
    }
    bid->done = true;
    if (!bid->won) {
        if (bid->life == worker->life) {
            (void)budget_core_release(worker->core, bid->flight);
        }
        close_truth(bid, false);
        return;
    }
    uint32_t budgets[2] = {bid->budget, 2};
    close_truth(bid, true);
    if (bid->life != worker->life) { /* its token names a former life */
        budget_core_book_late(worker->core, budgets, 2, bid->price, sim.now_us);
        sim.late++;
        return;
    }
    enum budget_settlement settlement = budget_core_settle(worker->core, bid->flight, bid->price);
    CHECK(settlement == BUDGET_SETTLED || settlement == BUDGET_LATE);
    sim.late += settlement == BUDGET_LATE;
    if (prng_below(&sim.prng, 4) == 0) { /* told twice */
        CHECK_INT(budget_core_settle(worker->core, bid->flight, bid->price), BUDGET_DUPLICATE);
    }
}

static void run_notices(void)
{
    while (sim.first_open < sim.bid_count && sim.bids[sim.first_open].done) {
        sim.first_open++;
    }
    for (uint32_t i = sim.first_open; i < sim.bid_count; i++) {
        struct bid *bid = &sim.bids[i];
        if (!bid->closed && sim.now_us - bid->at_us >= TIMEOUT_US &&
            bid->notice_us - bid->at_us >= TIMEOUT_US) {
            close_truth(bid, false); /* a late win will be spend without commitment */
        }
        if (!bid->done && bid->notice_us <= sim.now_us) {
            give_notice(bid);
            check_truth();
        }
    }
}

/* --- the wire -------------------------------------------------------------------------------- */

static void put_on_wire(const struct wire *wire)
{
    for (int i = 0; i < MAX_WIRE; i++) {
        if (!sim.wire[i].used) {
            sim.wire[i] = *wire;
            sim.wire[i].used = true;
            sim.wire[i].arrives_us =
                sim.now_us + 1000 + (int64_t)prng_below(&sim.prng, sim.storms ? 150000 : 2000);
            return;
        }
    }
    BUG_ON(true);
}

static void deliver(struct wire *wire)
{
    struct worker *worker = &sim.workers[wire->worker];
    if (!wire->answer) {
        struct wire answer = {
            .answer = true, .worker = wire->worker, .life = wire->life, .account = wire->account};
        int at = account_of(&wire->step.key);
        budget_step_apply(&sim.redis[at], &wire->step, now_s(), &answer.reply);
        answer.step = wire->step;
        if (!sim.storms || prng_below(&sim.prng, 20)) {
            put_on_wire(&answer);
        }
        return;
    }
    /* As a connection does: an answer to something no longer waited for is swallowed. */
    const struct budget_account *account =
        worker->core ? budget_core_account(worker->core, wire->account) : NULL;
    if (account && wire->life == worker->life && account->pending && !account->lost &&
        account->sent.seq == wire->step.seq && account->sent.recover == wire->step.recover) {
        budget_core_on_reply(worker->core, wire->account, &wire->reply, sim.now_us);
    }
}

static void run_wire(void)
{
    for (int i = 0; i < MAX_WIRE; i++) {
        if (sim.wire[i].used && sim.wire[i].arrives_us <= sim.now_us) {
            struct wire wire = sim.wire[i];
            sim.wire[i].used = false;
            deliver(&wire);
        }
    }
}

static void run_worker(int at)
{
    struct worker *worker = &sim.workers[at];
    if (!worker->core) {
        if (sim.now_us >= worker->down_until_us) {
            start_worker(at);
        }
        return;
    }
    for (uint64_t bids = prng_below(&sim.prng, 8); bids; bids--) {
        place_bid(at);
    }
    budget_core_tick(worker->core, sim.now_us, now_s());
    struct wire wire = {.worker = at, .life = worker->life};
    while (budget_core_next_step(worker->core, sim.now_us, &wire.step, &wire.account)) {
        if (!sim.storms || prng_below(&sim.prng, 20)) {
            put_on_wire(&wire);
        }
        if (sim.storms && prng_below(&sim.prng, 20) == 0) {
            put_on_wire(&wire); /* heard twice */
        }
    }
    /* The deadline of a command. */
    const struct budget_account *account;
    for (uint32_t i = 0; (account = budget_core_account(worker->core, i)); i++) {
        if (account->pending && !account->lost && sim.now_us >= account->next_sync_us + 500000) {
            budget_core_on_lost(worker->core, i, sim.now_us);
        }
    }
}

/* Redis comes back as it was up to a second ago; every connection broke. */
static void crash_redis(void)
{
    memcpy(sim.redis, sim.older, sizeof(sim.redis));
    memcpy(sim.saved, sim.older, sizeof(sim.saved));
    for (int i = 0; i < MAX_WIRE; i++) {
        sim.wire[i].used = false;
    }
    for (int i = 0; i < WORKERS; i++) {
        struct budget_core *core = sim.workers[i].core;
        if (!core) {
            continue;
        }
        budget_core_on_disconnect(core);
        const struct budget_account *account;
        for (uint32_t k = 0; (account = budget_core_account(core, k)); k++) {
            if (account->pending && !account->lost) {
                budget_core_on_lost(core, k, sim.now_us);
            }
        }
    }
    sim.crashes++;
}

static void misfortune(void)
{
    if (prng_below(&sim.prng, 600) == 0) {
        int at = (int)prng_below(&sim.prng, WORKERS);
        if (sim.workers[at].core) {
            budget_core_destroy(&sim.workers[at].core);
            sim.workers[at].down_until_us = sim.now_us + (int64_t)prng_below(&sim.prng, 5000000);
            sim.kills++;
        }
    }
    if (prng_below(&sim.prng, 400) == 0) {
        crash_redis();
    }
}

static void run(uint64_t seed, bool storms, int64_t late_permille, int64_t seconds)
{
    struct bid *bids = sim.bids ? sim.bids : calloc(MAX_BIDS, sizeof(*bids));
    BUG_ON(!bids);
    memset(&sim, 0, sizeof(sim));
    sim.bids = bids;
    sim.prng.state = seed;
    sim.storms = storms;
    sim.late_permille = late_permille;
    sim.caps[0] = 40000000;
    sim.caps[1] = 30000000;
    sim.caps[2] = 60000000; /* less than both lines together */
    for (int i = 0; i < WORKERS; i++) {
        start_worker(i);
    }
    for (; sim.now_us < seconds * 1000000; sim.now_us += 50000) {
        run_wire();
        run_notices();
        for (int i = 0; i < WORKERS; i++) {
            run_worker(i);
        }
        if (sim.now_us % 500000 == 0) { /* what is on disk is half a second to a second old */
            memcpy(sim.older, sim.saved, sizeof(sim.older));
            memcpy(sim.saved, sim.redis, sizeof(sim.saved));
        }
        if (sim.storms && sim.now_us < seconds * 900000) {
            misfortune();
        }
    }
}

/* No more bids: everything settles, is told, and agrees to the last micro. */
static void run_down(void)
{
    for (int i = 0; i < WORKERS; i++) {
        if (!sim.workers[i].core) {
            start_worker(i);
        }
        budget_core_stop(sim.workers[i].core, true);
    }
    sim.storms = false;
    for (int64_t end_us = sim.now_us + 90000000; sim.now_us < end_us; sim.now_us += 50000) {
        run_wire();
        run_notices();
        for (int i = 0; i < WORKERS; i++) {
            run_worker(i);
        }
    }
    for (int i = 0; i < ACCOUNTS; i++) {
        CHECK_INT(sim.redis[i].settled, sim.truth_spent[i]);
    }
}

static void finish(const char *name, uint64_t seed)
{
    printf("%-9s seed %" PRIu64 ": %u bids, %" PRIu64 " refused, %" PRIu64 " kills, %" PRIu64
           " crashes, %" PRIu64 " late wins, campaign %.2f%%, worst over %" PRId64 "\n",
           name, seed, sim.bid_count, sim.refused, sim.kills, sim.crashes, sim.late,
           100.0 * (double)sim.truth_spent[2] / (double)sim.caps[2], sim.worst_over);
    for (int i = 0; i < WORKERS; i++) {
        budget_core_destroy(&sim.workers[i].core);
    }
}

TEST(calm_budgets_are_spent_to_the_end_and_never_passed)
{
    for (uint64_t seed = 1; seed <= 3; seed++) {
        run(seed, false, 0, 600);
        run_down();
        CHECK_INT(sim.worst_over, 0);
        CHECK(sim.truth_spent[2] >= sim.caps[2] / 1000 * 995);
        finish("calm", seed);
    }
}

TEST(in_storms_no_budget_is_passed_either)
{
    for (uint64_t seed = 1; seed <= 12; seed++) {
        run(seed * 977, true, 0, 400);
        run_down();
        CHECK_INT(sim.worst_over, 0);
        finish("storm", seed * 977);
    }
}

TEST(late_wins_are_booked_to_the_last_micro)
{
    for (uint64_t seed = 1; seed <= 3; seed++) {
        run(seed * 31, true, 50, 300);
        run_down();
        CHECK(sim.late > 0);
        CHECK(sim.worst_over <= sim.caps[2] / 1000);
        finish("late wins", seed * 31);
    }
}

__attribute__((destructor)) static void free_bids(void)
{
    free(sim.bids);
}
