/* The ledger on one worker, with a Redis that is a struct and answers at once. */
#include "bidder/base/bug.h"
#include "pacing/budget_core.h"
#include "tests/test.h"

#define SECOND_US 1000000
#define DAY_S     86400
#define NOON_S    (20000 * (int64_t)DAY_S + 43200)
#define TIMEOUT_S 60

/* A tiny Redis: one account struct per key. */
static struct {
    struct budget_step_key key;
    struct budget_step_account account;
} redis[16];

static struct budget_step_account *redis_at(uint32_t ref, int32_t date)
{
    for (size_t i = 0; i < COUNT_OF(redis); i++) {
        if (!redis[i].key.kind) {
            redis[i].key = (struct budget_step_key){'b', ref, date};
        }
        if (redis[i].key.ref == ref && redis[i].key.date == date) {
            return &redis[i].account;
        }
    }
    BUG_ON(true);
}

static struct tz_transition utc_always = {.at_s = INT64_MIN};
static struct tz utc = {.transitions = &utc_always, .count = 1};

static struct budget_core *core_new(uint32_t owner, int64_t life)
{
    struct budget_core_options options = {.owner = owner,
                                          .life = life,
                                          .max_flights = 64,
                                          .win_timeout_us = TIMEOUT_S * SECOND_US,
                                          .sync_interval_us = 100000};
    struct budget_core *core = budget_core_create(&options);
    BUG_ON(!core);
    return core;
}

static struct budget_core *fresh(const struct budget_plan *plans, uint32_t count)
{
    memset(redis, 0, sizeof(redis));
    struct budget_core *core = core_new(1, 1000);
    CHECK_INT(budget_core_configure(core, plans, count, &utc, NOON_S), STATUS_OK);
    return core;
}

static void exchange(struct budget_core *core, int64_t now_us, int64_t now_s)
{
    struct budget_step step;
    struct budget_step_reply reply;
    uint32_t account;
    while (budget_core_next_step(core, now_us, &step, &account)) {
        budget_step_apply(redis_at(step.key.ref, step.key.date), &step, now_s, &reply);
        budget_core_on_reply(core, account, &reply, now_us);
    }
}

/* Ticks of 100 ms from one second to another of a run that began at NOON_S. */
static void run(struct budget_core *core, int64_t from_s, int64_t to_s)
{
    for (int64_t at = from_s * 10; at < to_s * 10; at++) {
        budget_core_tick(core, at * 100000, NOON_S + at / 10);
        exchange(core, at * 100000, NOON_S + at / 10);
    }
}

static enum budget_answer bid(struct budget_core *core, uint32_t budget, int64_t amount,
                              int64_t now_s, uint32_t *flight)
{
    uint32_t ignored;
    return budget_core_commit(core, &budget, 1, amount, now_s * SECOND_US,
                              flight ? flight : &ignored);
}

/* Bids until refused for good; returns how many went through. */
static int bid_all(struct budget_core *core, uint32_t budget, int64_t amount, int64_t from_s)
{
    int made = 0;
    for (int64_t at = from_s; at < from_s + 30; at++) {
        uint32_t flight;
        while (bid(core, budget, amount, at, &flight) == BUDGET_OK) {
            CHECK_INT(budget_core_settle(core, flight, amount), BUDGET_SETTLED);
            made++;
        }
        run(core, at, at + 1);
    }
    return made;
}

TEST(a_budget_is_spent_to_the_last_bid_and_not_further)
{
    struct budget_plan plan = {.ref = 7, .daily = 1000};
    struct budget_core *core = fresh(&plan, 1);
    run(core, 0, 1);
    CHECK(budget_core_is_ready(core));
    CHECK_INT(bid_all(core, 0, 30, 1), 33);
    CHECK_INT(redis_at(7, 20241004)->settled, 990);
    CHECK_INT(bid(core, 0, 30, 40, NULL), BUDGET_SPENT);
    CHECK_INT(bid_all(core, 0, 10, 40), 1); /* the rest fits a smaller one */
    budget_core_destroy(&core);
}

/* A line whose traffic sets in is leased what it asks for, not what it got. */
TEST(leases_follow_what_is_wanted)
{
    struct budget_plan plan = {.ref = 7, .daily = 1000000};
    struct budget_core *core = fresh(&plan, 1);
    run(core, 0, 1);
    for (int64_t at = 1; at < 3; at++) {
        for (int i = 0; i < 2000; i++) { /* far more than the first lease holds */
            uint32_t flight;
            if (bid(core, 0, 10, at, &flight) == BUDGET_OK) {
                CHECK_INT(budget_core_settle(core, flight, 10), BUDGET_SETTLED);
            }
        }
        run(core, at, at + 1);
    }
    struct budget_view view;
    CHECK(budget_core_view(core, 0, true, &view));
    CHECK(view.free + view.used > 20000); /* the demand of a second */
    budget_core_destroy(&core);
}

TEST(what_a_win_did_not_cost_and_a_loss_come_back)
{
    struct budget_plan plan = {.ref = 7, .total = 1000};
    struct budget_core *core = fresh(&plan, 1);
    uint32_t win, loss, silent;
    CHECK_INT(bid(core, 0, 500, 0, &win), BUDGET_NO_LEASE); /* nothing leased yet: asks */
    run(core, 0, 2);
    CHECK_INT(bid(core, 0, 500, 2, &win), BUDGET_OK);
    CHECK_INT(bid(core, 0, 500, 2, NULL), BUDGET_NO_LEASE);
    run(core, 2, 4);
    CHECK_INT(bid(core, 0, 300, 4, &loss), BUDGET_OK);
    CHECK_INT(bid(core, 0, 200, 4, &silent), BUDGET_OK);
    CHECK_INT(budget_core_settle(core, win, 120), BUDGET_SETTLED);
    CHECK_INT(budget_core_settle(core, win, 120), BUDGET_DUPLICATE);
    CHECK_INT(budget_core_release(core, win), BUDGET_DUPLICATE);
    CHECK_INT(budget_core_release(core, loss), BUDGET_SETTLED);
    CHECK_INT(budget_core_release(core, loss), BUDGET_DUPLICATE);
    struct budget_view view;
    CHECK(budget_core_view(core, 0, false, &view));
    CHECK_INT(view.committed, 200);
    CHECK_INT(view.used, 120);
    CHECK(!budget_core_view(core, 0, true, &view));
    run(core, 4, 5 + TIMEOUT_S);
    CHECK(budget_core_view(core, 0, false, &view));
    CHECK_INT(view.committed, 0);
    CHECK_INT(budget_core_settle(core, silent, 999), BUDGET_LATE); /* books what was bid */
    CHECK_INT(budget_core_settle(core, silent, 999), BUDGET_DUPLICATE);
    run(core, 70, 75);
    CHECK_INT(redis_at(7, 0)->settled, 320);
    CHECK_INT(budget_core_stats(core)->late_wins, 1);
    CHECK_INT(budget_core_stats(core)->overdrawn, 0);
    budget_core_destroy(&core);
}

TEST(flights_are_told_apart_after_the_ring_came_round)
{
    struct budget_plan plan = {.ref = 7, .total = 1000000};
    struct budget_core *core = fresh(&plan, 1);
    uint32_t first, flight;
    CHECK_INT(bid(core, 0, 300, 0, &first), BUDGET_NO_LEASE);
    run(core, 0, 2);
    CHECK_INT(bid(core, 0, 1, 2, &first), BUDGET_OK);
    for (int i = 1; i < 64; i++) {
        CHECK_INT(bid(core, 0, 1, 2, &flight), BUDGET_OK);
        CHECK(flight != 0);
    }
    CHECK_INT(bid(core, 0, 1, 2, NULL), BUDGET_BUSY); /* the oldest is not closed */
    CHECK_INT(budget_core_release(core, first), BUDGET_SETTLED);
    CHECK_INT(bid(core, 0, 1, 2, &flight), BUDGET_OK);
    CHECK_INT(budget_core_settle(core, first, 1), BUDGET_UNKNOWN);
    CHECK_INT(budget_core_settle(core, 0, 1), BUDGET_UNKNOWN);
    CHECK_INT(budget_core_release(core, first ^ 0x80000000u), BUDGET_UNKNOWN);
    CHECK_INT(budget_core_settle(core, flight, -5), BUDGET_SETTLED); /* a broken price: nothing */
    budget_core_destroy(&core);
}

TEST(no_flight_is_called_0)
{
    struct budget_plan plan = {.ref = 7};
    struct budget_core *core = core_new(1, 1); /* life and owner mix to 0 */
    CHECK_INT(budget_core_configure(core, &plan, 1, &utc, NOON_S), STATUS_OK);
    uint32_t flight = 0;
    CHECK_INT(bid(core, 0, 1, 0, &flight), BUDGET_OK);
    CHECK(flight != 0);
    CHECK_INT(budget_core_settle(core, flight, 1), BUDGET_SETTLED);
    budget_core_destroy(&core);
}

TEST(two_lines_share_their_campaign_and_nothing_is_half_committed)
{
    struct budget_plan plans[3] = {{.ref = 1, .daily = 600},
                                   {.ref = 2, .daily = 600},
                                   {.ref = 3, .total = 3, .impressions = true}};
    struct budget_core *core = fresh(plans, 3);
    uint32_t flight, a[2] = {0, 2}, b[2] = {1, 2};
    for (int second = 0; second < 20; second++) {
        (void)budget_core_commit(core, a, 2, 100, second * SECOND_US, &flight);
        (void)budget_core_commit(core, b, 2, 100, second * SECOND_US, &flight);
        run(core, second, second + 1);
    }
    struct budget_view view[3];
    for (uint32_t i = 0; i < 3; i++) {
        CHECK(budget_core_view(core, i, i < 2, &view[i]));
    }
    CHECK_INT(view[2].committed, 3);
    CHECK_INT(view[0].committed + view[1].committed, 300);
    budget_core_destroy(&core);
}

TEST(a_limit_lowered_below_what_is_spent_stops_and_raised_goes_on)
{
    struct budget_plan plan = {.ref = 7, .daily = 1000};
    struct budget_core *core = fresh(&plan, 1);
    run(core, 0, 1);
    uint32_t flight;
    for (int second = 1; second < 9; second++) {
        if (bid(core, 0, 100, second, &flight) == BUDGET_OK) {
            CHECK_INT(budget_core_settle(core, flight, 100), BUDGET_SETTLED);
        }
        run(core, second, second + 1);
    }
    int64_t spent = redis_at(7, 20241004)->settled;
    CHECK(spent >= 500);
    plan.daily = 400;
    CHECK_INT(budget_core_configure(core, &plan, 1, &utc, NOON_S + 9), STATUS_OK);
    run(core, 9, 12);
    CHECK_INT(bid(core, 0, 100, 12, NULL), BUDGET_SPENT);
    CHECK_INT(redis_at(7, 20241004)->out, 0); /* every free lease went back */
    CHECK_INT(redis_at(7, 20241004)->settled, spent);
    plan.daily = 2000; /* raised at noon */
    CHECK_INT(budget_core_configure(core, &plan, 1, &utc, NOON_S + 12), STATUS_OK);
    CHECK_INT(spent + 100 * bid_all(core, 0, 100, 12), 2000);
    budget_core_destroy(&core);
}

TEST(midnight_opens_a_new_day_and_wins_stay_with_theirs)
{
    struct budget_plan plan = {.ref = 7, .daily = 1000};
    struct budget_core *core = fresh(&plan, 1);
    int64_t eve = 43200 - 5; /* seconds from noon */
    budget_core_tick(core, eve * SECOND_US, NOON_S + eve);
    run(core, eve, eve + 1);
    (void)bid(core, 0, 900, eve + 1, NULL);
    run(core, eve + 1, eve + 3);
    uint32_t flight;
    CHECK_INT(bid(core, 0, 900, eve + 3, &flight), BUDGET_OK);
    CHECK_INT(budget_core_date(core), 20241004);
    run(core, eve + 3, eve + 10);
    CHECK_INT(budget_core_date(core), 20241005);
    CHECK_INT(budget_core_settle(core, flight, 700), BUDGET_SETTLED);
    CHECK_INT(bid_all(core, 0, 100, eve + 10), 10);
    run(core, eve + 40, eve + 45);
    CHECK_INT(redis_at(7, 20241004)->settled, 700);
    CHECK_INT(redis_at(7, 20241004)->out, 0);
    CHECK_INT(redis_at(7, 20241005)->settled, 1000);
    /* The clock is set back over midnight: yesterday's limit counts again, with its spend. */
    for (int64_t at = (eve + 45) * 10; at < (eve + 65) * 10; at++) {
        budget_core_tick(core, at * 100000, NOON_S + 43000);
        (void)bid(core, 0, 200, at / 10, NULL);
        exchange(core, at * 100000, NOON_S + 43000);
    }
    CHECK_INT(budget_core_date(core), 20241004);
    struct budget_view view;
    CHECK(budget_core_view(core, 0, true, &view));
    CHECK_INT(view.used + view.committed, 900); /* one of 200 fits into 1000 - 700 */
    CHECK_INT(budget_core_settle(core, flight, 700), BUDGET_DUPLICATE);
    budget_core_destroy(&core);
}

TEST(the_day_follows_the_zone_with_its_dst)
{
    struct tz_transition berlin[] = {{INT64_MIN, 7200}, {1792890000, 3600}}; /* 2026-10-25 01:00 */
    struct tz tz = {.transitions = berlin, .count = 2};
    struct budget_plan plan = {.ref = 7, .daily = 1000};
    memset(redis, 0, sizeof(redis));
    struct budget_core *core = core_new(1, 1);
    int64_t midnight_s = 1792879200; /* 2026-10-24 22:00 UTC */
    CHECK_INT(budget_core_configure(core, &plan, 1, &tz, midnight_s - 1), STATUS_OK);
    CHECK_INT(budget_core_date(core), 20261024);
    budget_core_tick(core, SECOND_US, midnight_s);
    CHECK_INT(budget_core_date(core), 20261025);
    budget_core_tick(core, 2 * SECOND_US, midnight_s + 25 * 3600 - 1);
    CHECK_INT(budget_core_date(core), 20261025);
    budget_core_tick(core, 3 * SECOND_US, midnight_s + 25 * 3600);
    CHECK_INT(budget_core_date(core), 20261026);
    budget_core_destroy(&core);
}

TEST(a_dead_lease_counts_as_spent_until_the_log_speaks)
{
    struct budget_plan plan = {.ref = 7, .total = 1000};
    struct budget_core *core = fresh(&plan, 1);
    (void)bid(core, 0, 500, 0, NULL);
    run(core, 0, 2);
    uint32_t flight;
    CHECK_INT(bid(core, 0, 500, 2, &flight), BUDGET_OK);
    CHECK_INT(budget_core_settle(core, flight, 400), BUDGET_SETTLED);
    budget_core_destroy(&core); /* killed before it told anybody */
    struct budget_step_account *account = redis_at(7, 0);
    CHECK_INT(account->settled, 0);
    CHECK(account->out >= 500);
    int64_t out = account->out;

    core = core_new(1, 2000);
    CHECK_INT(budget_core_configure(core, &plan, 1, &utc, NOON_S), STATUS_OK);
    run(core, 3, 10 + TIMEOUT_S);
    struct budget_view view;
    CHECK(budget_core_view(core, 0, false, &view));
    CHECK(view.free + out <= 1000);
    budget_core_reconcile(core, 7, 0, 400);
    uint32_t budget = 0;
    budget_core_book_late(core, &budget, 1, 50, 0); /* a win of the former life */
    run(core, 10 + TIMEOUT_S, 20 + TIMEOUT_S);
    CHECK_INT(account->settled, 450);
    CHECK_INT(450 + 10 * bid_all(core, 0, 10, 20 + TIMEOUT_S), 1000);
    budget_core_destroy(&core);
}

TEST(what_an_empty_redis_has_forgotten_comes_back_from_the_log)
{
    struct budget_plan plan = {.ref = 7, .total = 1000};
    struct budget_core *core = fresh(&plan, 1);
    (void)bid(core, 0, 500, 0, NULL);
    run(core, 0, 2);
    uint32_t flight;
    CHECK_INT(bid(core, 0, 400, 2, &flight), BUDGET_OK);
    CHECK_INT(budget_core_settle(core, flight, 400), BUDGET_SETTLED);
    run(core, 2, 10);
    CHECK_INT(redis_at(7, 0)->settled, 400);
    budget_core_destroy(&core);
    memset(redis, 0, sizeof(redis)); /* and Redis comes back with nothing */

    core = core_new(1, 2000);
    CHECK_INT(budget_core_configure(core, &plan, 1, &utc, NOON_S), STATUS_OK);
    budget_core_reconcile(core, 7, 0, 400); /* at start-up, before Redis has answered */
    run(core, 10, 20);
    CHECK_INT(redis_at(7, 0)->settled, 400);
    CHECK_INT(10 * bid_all(core, 0, 10, 20), 600);
    budget_core_destroy(&core);
}

TEST(a_later_run_fences_the_earlier)
{
    struct budget_plan plan = {.ref = 7, .total = 100000};
    struct budget_core *old = fresh(&plan, 1);
    run(old, 0, 2);
    struct budget_core *new = core_new(1, 2000);
    CHECK_INT(budget_core_configure(new, &plan, 1, &utc, NOON_S), STATUS_OK);
    run(new, 2, 4);
    CHECK_INT(bid(old, 0, 50, 4, NULL), BUDGET_OK); /* does not know yet */
    run(old, 4, 40);
    CHECK(budget_core_stats(old)->fenced);
    CHECK_INT(bid(old, 0, 50, 40, NULL), BUDGET_BUSY);
    CHECK(!budget_core_stats(new)->fenced);
    budget_core_destroy(&old);
    budget_core_destroy(&new);
}

TEST(drained_leases_go_back)
{
    struct budget_plan plans[2] = {{.ref = 7, .total = 100000, .daily = 50000}, {.ref = 8}};
    struct budget_core *core = fresh(plans, 2);
    run(core, 0, 2);
    uint32_t flight;
    CHECK_INT(bid(core, 0, 40, 2, &flight), BUDGET_OK);
    CHECK_INT(bid(core, 1, 40, 2, NULL), BUDGET_OK); /* a budget without limits */
    CHECK_INT(budget_core_settle(core, flight, 40), BUDGET_SETTLED);
    CHECK(!budget_core_is_drained(core));
    budget_core_drain(core);
    budget_core_stop(core, false);
    CHECK_INT(bid(core, 0, 40, 2, NULL), BUDGET_BUSY);
    run(core, 2, 6);
    CHECK(budget_core_is_drained(core));
    CHECK_INT(redis_at(7, 0)->out, 0);
    CHECK_INT(redis_at(7, 0)->settled, 40);
    CHECK_INT(redis_at(7, 20241004)->out, 0);
    budget_core_destroy(&core);
}

TEST(accounts_come_and_go_with_catalogs)
{
    struct budget_plan plans[40];
    struct budget_core *core = fresh(NULL, 0);
    for (int round = 0; round < 30; round++) {
        uint32_t count = (uint32_t)(round * 7 % 40) + 1;
        memset(redis, 0, sizeof(redis));
        for (uint32_t i = 0; i < count; i++) {
            plans[i] = (struct budget_plan){.ref = i * 3 + (uint32_t)round, .total = 1000};
        }
        CHECK_INT(budget_core_configure(core, plans, count, &utc, NOON_S), STATUS_OK);
        for (uint32_t i = 0; i < count; i++) {
            struct budget_view view;
            CHECK(budget_core_view(core, i, false, &view));
            CHECK_INT(view.cap, 1000);
        }
        budget_core_tick(core, round * SECOND_US, NOON_S);
        struct budget_step step;
        uint32_t account;
        while (budget_core_next_step(core, round * SECOND_US, &step, &account)) {
            struct budget_step_account each = {0};
            struct budget_step_reply reply;
            budget_step_apply(&each, &step, NOON_S, &reply);
            budget_core_on_reply(core, account, &reply, round * SECOND_US);
        }
    }
    budget_core_destroy(&core);
}

TEST(an_answer_that_is_none_is_refused)
{
    struct budget_step_reply reply;
    const char good[] = "0 1700000000000000 5 100 200 50 3 1000 2000 9 4 0";
    CHECK(budget_step_parse(STR(good), &reply));
    CHECK_INT(reply.grant, 50);
    CHECK_INT(reply.own_extra, 3);
    CHECK_INT(reply.owners, 4);
    for (size_t len = 0; len < sizeof(good) - 1; len++) {
        struct str cut = {.ptr = good, .len = len};
        CHECK(!budget_step_parse(cut, &reply) || len == sizeof(good) - 1);
    }
    CHECK(!budget_step_parse(STR("4 1 1 1 1 1 1 1 1 1 1 1"), &reply));
    CHECK(!budget_step_parse(STR("0 1 1 1 1 -1 1 1 1 1 1 1"), &reply));
    CHECK(!budget_step_parse(STR("0 1 1 1 1 1 1 1 1 1 1 1 1"), &reply));
    CHECK(!budget_step_parse(STR("0 1 1 1 1 9007199254740993 1 1 1 1 1 1"), &reply));
    CHECK(!budget_step_parse(STR("nan 1 1 1 1 1 1 1 1 1 1 1"), &reply));
}
