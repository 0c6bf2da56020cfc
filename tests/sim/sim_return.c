/* Days of pushes of a PDB deal against the real return quota: how much is returned when every push
 * would be, whether the guaranteed impressions are reached, and that the allowance holds for all
 * workers together at every moment. SIM_FULL=1 prints the table for a day of 600,000 pushes. */
#include <stdlib.h>

#include "bidder/base/bug.h"
#include "bidder/base/prng.h"
#include "pacing/return_core.h"
#include "pacing/return_rule.h"
#include "tests/test.h"

#define DAY_S       86400
#define START_S     (20000 * (int64_t)DAY_S)
#define TICKS       10 /* a second */
#define MAX_WORKERS 4

struct day {
    double rho;
    int workers;
    int64_t guaranteed;
    double delivered; /* pushes of the agreed number */
    int wish_percent; /* of the pushes, nobody wants */
    bool storms;      /* answers lost, a worker killed at noon */
    struct prng prng;
    struct return_core *cores[MAX_WORKERS];
    struct budget_step_account redis;
    struct {
        bool used;
        uint32_t deal;
        struct budget_step step;
        struct budget_step_reply reply;
    } answer[MAX_WORKERS];
    int64_t pushed, returned, filled, worst_over;
};

static struct tz_transition utc_always = {.at_s = INT64_MIN};
static struct tz utc = {.transitions = &utc_always, .count = 1};

/* An evening medium: not the shape the quota takes for usual. */
static const int hour_share[24] = {20, 12, 8,  6,  6,  8,  15, 25, 30, 34, 38, 42,
                                   50, 46, 40, 40, 42, 50, 62, 80, 95, 98, 80, 45};

static void start_worker(struct day *day, int at, int64_t life, int64_t now_s)
{
    struct return_deal_plan plan = {.name = STR("exchange/deal"),
                                    .push_ratio_micros = (int64_t)(day->rho * 1e6 + 0.5),
                                    .impressions_per_day = day->guaranteed};
    day->cores[at] = return_core_create((uint32_t)at + 1, life);
    BUG_ON(!day->cores[at]);
    CHECK_INT(return_core_configure(day->cores[at], &plan, 1, &utc, now_s), STATUS_OK);
}

/* Nothing may ever be above what exact counts allow. */
static void check_allowance(struct day *day, int64_t now_s)
{
    struct return_rule_input exact = {.pushed = day->pushed,
                                      .push_ratio_micros = (int64_t)(day->rho * 1e6 + 0.5),
                                      .impressions_per_day = day->guaranteed,
                                      .day_s = DAY_S,
                                      .elapsed_s = now_s - START_S};
    int64_t slack = day->rho > 1 ? return_rule_slack(&exact) : 0;
    exact.impressions_per_day = 0;
    exact.elapsed_s = DAY_S;
    int64_t over = day->returned - return_rule_allowed(&exact) - slack;
    day->worst_over = over > day->worst_over ? over : day->worst_over;
}

static void one_push(struct day *day)
{
    struct return_core *core = day->cores[prng_below(&day->prng, (uint64_t)day->workers)];
    return_core_note_push(core, 0);
    day->pushed++;
    bool wish = prng_below(&day->prng, 100) < (uint64_t)day->wish_percent;
    if (wish && return_core_take(core, 0)) {
        day->returned++;
    } else {
        day->filled++;
    }
}

/* One tick: the answers of the last one arrive, new steps go out. */
static void exchange(struct day *day, int at, int64_t now_us, int64_t now_s)
{
    struct return_core *core = day->cores[at];
    if (day->answer[at].used) {
        day->answer[at].used = false;
        if (day->storms && prng_below(&day->prng, 20) == 0) {
            return_core_on_lost(core, day->answer[at].deal, &day->answer[at].step, now_us);
        } else {
            return_core_on_reply(core, day->answer[at].deal, &day->answer[at].step,
                                 &day->answer[at].reply, now_us);
        }
    }
    return_core_tick(core, now_us, now_s);
    if (return_core_next_step(core, now_us, now_s, &day->answer[at].step, &day->answer[at].deal)) {
        budget_step_apply(&day->redis, &day->answer[at].step, now_s, &day->answer[at].reply);
        day->answer[at].used = true;
    }
}

static void run(struct day *day, uint64_t seed)
{
    double agreed = (double)day->guaranteed * day->rho * day->delivered, due = 0;
    double sum = 0;
    for (int hour = 0; hour < 24; hour++) {
        sum += hour_share[hour];
    }
    day->prng.state = seed;
    for (int i = 0; i < day->workers; i++) {
        start_worker(day, i, 1000, START_S);
    }
    for (int64_t tick = 0; tick < DAY_S * TICKS; tick++) {
        int64_t now_s = START_S + tick / TICKS, now_us = tick * (1000000 / TICKS);
        due += agreed * hour_share[tick / TICKS / 3600] / sum / 3600 / TICKS;
        while (prng_unit(&day->prng) + (double)day->pushed < due) {
            one_push(day);
        }
        check_allowance(day, now_s);
        for (int i = 0; i < day->workers; i++) {
            exchange(day, i, now_us, now_s);
        }
        if (day->storms && tick == DAY_S * TICKS / 2) {
            return_core_destroy(&day->cores[0]);
            day->answer[0].used = false;
            start_worker(day, 0, 2000, now_s);
        }
    }
    for (int i = 0; i < day->workers; i++) {
        return_core_destroy(&day->cores[i]);
    }
}

static void report(const char *name, const struct day *day)
{
    double rate = 100.0 * (double)day->returned / (double)day->pushed;
    printf("%-16s %4.1f %8d %9" PRId64 " %8.2f%% %8.2f%% %11.2f%% %5" PRId64 "\n", name, day->rho,
           day->workers, day->pushed, 100 * (1 - 1 / day->rho), rate,
           100.0 * (double)day->filled / (double)day->guaranteed, day->worst_over);
}

TEST(every_push_unwanted)
{
    int64_t guaranteed = getenv("SIM_FULL") ? 300000 : 20000;
    printf("%-16s %4s %8s %9s %9s %9s %12s %5s\n", "day", "rho", "workers", "pushed", "allowed",
           "returned", "guaranteed", "over");
    static const double rhos[] = {1.2, 1.5, 2.0};
    for (size_t i = 0; i < COUNT_OF(rhos); i++) {
        for (int workers = 1; workers <= 4; workers += 3) {
            struct day day = {.rho = rhos[i],
                              .workers = workers,
                              .guaranteed = guaranteed,
                              .delivered = 1,
                              .wish_percent = 100};
            run(&day, 1);
            report("all unwanted", &day);
            double rate = (double)day.returned / (double)day.pushed, due = 1 - 1 / day.rho;
            CHECK(rate <= due && rate >= due - 0.01);
            CHECK(day.filled >= guaranteed * 99 / 100);
            CHECK(day.filled <= guaranteed * 101 / 100);
            CHECK_INT(day.worst_over, 0);
        }
    }
}

TEST(the_guarantee_comes_before_returns)
{
    struct day day = {.rho = 1.5, /* but only 1.05 times the guarantee is pushed */
                      .workers = 4,
                      .guaranteed = 20000,
                      .delivered = 0.7,
                      .wish_percent = 30};
    run(&day, 2);
    report("pushes missing", &day);
    CHECK(day.filled >= day.guaranteed * 99 / 100);
    CHECK_INT(day.worst_over, 0);
}

TEST(a_killed_worker_and_lost_answers_break_nothing)
{
    struct day day = {.rho = 1.5,
                      .workers = 4,
                      .guaranteed = 20000,
                      .delivered = 1,
                      .wish_percent = 100,
                      .storms = true};
    run(&day, 3);
    report("storm", &day);
    double rate = (double)day.returned / (double)day.pushed;
    CHECK(rate <= 1 - 1 / day.rho && rate >= 1 - 1 / day.rho - 0.01);
    CHECK_INT(day.worst_over, 0);
}

/* A deal that is first counted at 23:20, its pushes coming before Redis has answered. */
TEST(a_deal_that_begins_late_in_its_day_returns_all_the_same)
{
    for (int told = 0; told < 2; told++) {
        struct day day = {.rho = 1.5, .workers = 1, .guaranteed = 20000};
        struct budget_step step;
        struct budget_step_reply reply;
        struct return_view view;
        uint32_t deal;
        int64_t now_s = START_S + 84000, leased = 0;
        start_worker(&day, 0, 1000, now_s);
        struct return_core *core = day.cores[0];
        for (int64_t tick = 0; tick < 40; tick++) {
            int64_t now_us = tick * 100000;
            for (int i = 0; i < 100; i++) {
                return_core_note_push(core, 0);
            }
            return_core_tick(core, now_us, now_s + tick / 10);
            if (return_core_next_step(core, now_us, now_s + tick / 10, &step, &deal)) {
                budget_step_apply(&day.redis, &step, now_s, &reply);
                return_core_on_reply(core, deal, &step, &reply, now_us);
                if (told && step.recover) {
                    return_core_on_began(core, deal, &step, now_s);
                }
            }
            while (return_core_take(core, 0)) {
                leased++;
            }
        }
        CHECK(return_core_view(core, 0, &view));
        CHECK_INT(view.pushed, 4000);
        /* Who does not know waits until the guarantee is filled. */
        CHECK(told ? leased > 1200 && leased <= 1333 : leased == 0);
        return_core_destroy(&day.cores[0]);
    }
}

TEST(nothing_may_be_returned_without_a_ratio)
{
    struct day day = {
        .rho = 1, .workers = 2, .guaranteed = 1000, .delivered = 1, .wish_percent = 100};
    run(&day, 4);
    CHECK_INT(day.returned, 0);
}

TEST(the_rule_at_its_edges)
{
    struct return_rule_input in = {

        .push_ratio_micros = 1500000, .day_s = DAY_S};
    CHECK_INT(return_rule_allowed(&in), 20); /* the morning's slack */
    in.pushed = 300;
    in.elapsed_s = DAY_S;
    CHECK_INT(return_rule_allowed(&in), 100);
    in.elapsed_s = DAY_S - 1800;
    CHECK_INT(return_rule_allowed(&in), 100);
    in.pushed = 1000000;
    in.elapsed_s = 0;
    CHECK_INT(return_rule_allowed(&in), 333333 + 5000);
    in.impressions_per_day = 900000; /* 350000 pushes more are agreed to */
    CHECK_INT(return_rule_allowed(&in), 333333 + 6750);
    in.ahead_s = DAY_S;
    CHECK_INT(return_rule_allowed(&in), 333333);
    in.share_passed_ppm = 900000; /* but 111111 more are to be expected */
    CHECK_INT(return_rule_allowed(&in), 211111);
    in.impressions_per_day = 2000000;
    CHECK_INT(return_rule_allowed(&in), 0);
    in.push_ratio_micros = 1000000;
    in.impressions_per_day = 0;
    CHECK_INT(return_rule_allowed(&in), 0);
    int64_t last = 0; /* along a day, what is allowed never shrinks */
    struct return_rule_input day = {.push_ratio_micros = 1200000, .day_s = DAY_S};
    for (day.elapsed_s = 0; day.elapsed_s <= DAY_S; day.elapsed_s += 60) {
        day.pushed = day.elapsed_s * 10;
        int64_t now = return_rule_allowed(&day);
        CHECK(now >= last);
        last = now;
    }
}
