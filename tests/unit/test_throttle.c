/* The control law, input by input. */
#include "bidder/base/prng.h"
#include "pacing/plan.h"
#include "pacing/throttle.h"
#include "tests/test.h"

#define PPM(p) ((int64_t)(p)*1000000 / THROTTLE_ONE)

/* A flat day: 100 requests per 10 s, of which p take part, each commits and spends 1000. */
static struct throttle_input flat_tick(const struct throttle *throttle, int64_t requests)
{
    int64_t participated = requests * throttle->p / THROTTLE_ONE;
    return (struct throttle_input){.elapsed_us = THROTTLE_TICK_US,
                                   .eligible = requests,
                                   .participated = participated,
                                   .committed = participated * 1000,
                                   .closed = participated * 1000,
                                   .settled = participated * 1000,
                                   .planned_traffic = 100 * PLAN_TRAFFIC_ONE,
                                   .remaining = 100 * 1000 * 100,
                                   .spend_share = PLAN_ONE / 2,
                                   .spend_share_next = PLAN_ONE / 2 + PLAN_ONE / 2000,
                                   .traffic_next = 100 * PLAN_TRAFFIC_ONE};
}

TEST(it_starts_low_and_climbs_by_half)
{
    struct throttle throttle;
    throttle_init(&throttle);
    CHECK_INT(PPM(throttle.p), 20000 - 1);
    struct throttle_input input = {
        .elapsed_us = THROTTLE_TICK_US, .remaining = 1000000, .spend_share_next = PLAN_ONE / 100};
    throttle_tick(&throttle, &input); /* nothing known yet */
    CHECK_INT((PPM(throttle.p) + 5) / 10, 3500);
    throttle_tick(&throttle, &input);
    CHECK_INT((PPM(throttle.p) + 5) / 10, 5750);
}

TEST(it_finds_the_share_that_is_due)
{
    struct throttle throttle;
    throttle_init(&throttle);
    for (int i = 0; i < 200; i++) { /* due per tick: 10 M / 1000 = 10 of 100 requests */
        struct throttle_input input = flat_tick(&throttle, 100);
        throttle_tick(&throttle, &input);
    }
    CHECK(PPM(throttle.p) > 95000 && PPM(throttle.p) < 106000);
    for (int i = 0; i < 200; i++) { /* twice the traffic: half the share */
        struct throttle_input input = flat_tick(&throttle, 200);
        throttle_tick(&throttle, &input);
    }
    CHECK(PPM(throttle.p) > 47000 && PPM(throttle.p) < 53000);
}

TEST(a_burst_is_seen_within_half_a_minute)
{
    struct throttle throttle;
    throttle_init(&throttle);
    for (int i = 0; i < 200; i++) {
        struct throttle_input input = flat_tick(&throttle, 100);
        throttle_tick(&throttle, &input);
    }
    for (int i = 0; i < 3; i++) {
        struct throttle_input input = flat_tick(&throttle, 600);
        throttle_tick(&throttle, &input);
    }
    CHECK(PPM(throttle.p) < 30000); /* 16667 in the end */
}

TEST(an_outage_does_not_open_the_throttle)
{
    struct throttle throttle;
    throttle_init(&throttle);
    for (int i = 0; i < 200; i++) {
        struct throttle_input input = flat_tick(&throttle, 1000);
        throttle_tick(&throttle, &input);
    }
    uint32_t before = throttle.p;
    for (int i = 0; i < 360; i++) {
        struct throttle_input input = flat_tick(&throttle, 0);
        throttle_tick(&throttle, &input);
    }
    CHECK_INT(throttle.p, before);
    for (int i = 0; i < 1000; i++) { /* it does not come back: then that is the traffic */
        struct throttle_input input = flat_tick(&throttle, 0);
        throttle_tick(&throttle, &input);
    }
    CHECK(throttle.p > before);
}

/* A quarter hour of 90 ticks within a long day: every participation costs 1000 and is settled at
 * once. missed: ticks of the first half in which nothing was let through. */
static int64_t spend_a_slot(int missed, int doubled)
{
    struct throttle throttle;
    throttle_init(&throttle);
    const int64_t step = PLAN_ONE / 8640, start = PLAN_ONE / 4;
    int64_t left = 9000ll * (6480 + 180) * 1000, slot_left = 0; /* 9000 a tick are due */
    for (int tick = -180; tick < 90; tick++) {
        if (tick == 0) {
            slot_left = left;
        }
        int64_t in = 90000 * (int64_t)throttle.p / THROTTLE_ONE;
        in = tick >= 0 && tick < missed ? 0 : tick >= 0 && tick < doubled ? in * 2 : in;
        left -= in * 1000;
        int64_t now = start + (tick + 1) * step;
        int64_t slot = (tick + 1 + 180) / 90;
        struct throttle_input input = {.elapsed_us = THROTTLE_TICK_US,
                                       .eligible = 90000,
                                       .participated = in ? in : 1,
                                       .committed = in * 1000,
                                       .closed = in * 1000,
                                       .settled = in * 1000,
                                       .planned_traffic = 90000ll * PLAN_TRAFFIC_ONE,
                                       .remaining = left,
                                       .spend_share = now,
                                       .spend_share_next = now + step,
                                       .traffic_next = 90000ll * PLAN_TRAFFIC_ONE,
                                       .slot_s = (slot + 1) * 900,
                                       .slot_share_end = start + (slot * 90 - 90) * step};
        throttle_tick(&throttle, &input);
    }
    return (slot_left - left) / 9000 / 9; /* in 1/10000 of the 90 ticks' due */
}

TEST(a_slot_makes_up_for_what_it_missed_or_spent_too_early)
{
    int64_t usual = spend_a_slot(0, 0);
    CHECK(usual > 9900 && usual < 10100);
    int64_t missed = spend_a_slot(12, 0); /* two minutes of fifteen: without steering 8700 */
    CHECK(missed > 9700 && missed < 10300);
    int64_t early = spend_a_slot(0, 12); /* without steering 11300 */
    CHECK(early > 9700 && early < 10300);
}

TEST(a_slot_steers_by_no_more_than_half_and_twice_its_need)
{
    struct throttle throttle;
    throttle_init(&throttle);
    struct throttle_input input;
    for (int i = 0; i < 200; i++) {
        input = flat_tick(&throttle, 100);
        input.slot_s = 900;
        input.slot_share_end = input.spend_share + PLAN_ONE / 200;
        throttle_tick(&throttle, &input);
    }
    uint32_t before = throttle.p;
    input = flat_tick(&throttle, 100);
    input.slot_s = 900;
    input.slot_share_end = input.spend_share + PLAN_ONE / 200;
    input.remaining -= 1000000; /* ten slots' worth, at once */
    for (int i = 0; i < 20; i++) {
        throttle_tick(&throttle, &input);
        CHECK(throttle.p > before / 5 * 2);
    }
    throttle_replan(&throttle); /* as when the target moved: nothing to make up for */
    for (int i = 0; i < 20; i++) {
        throttle_tick(&throttle, &input);
    }
    CHECK(throttle.p > before / 5 * 4);
}

TEST(nothing_left_means_nothing_let_through)
{
    struct throttle throttle;
    throttle_init(&throttle);
    struct throttle_input input = flat_tick(&throttle, 100);
    input.remaining = 0;
    throttle_tick(&throttle, &input);
    CHECK_INT(throttle.p, 0);
    CHECK(!throttle_participates(throttle.p, 0));
    input.remaining = -77; /* a budget lowered below what is spent */
    throttle_tick(&throttle, &input);
    CHECK_INT(throttle.p, 0);
    input.remaining = 10000000; /* raised at noon: it opens again */
    throttle_tick(&throttle, &input);
    CHECK(throttle.p > 0);
    input.spend_share_next = input.spend_share; /* an hour without a share */
    throttle_tick(&throttle, &input);
    CHECK_INT(throttle.p, 0);
    input.spend_share = input.spend_share_next = PLAN_ONE; /* behind the goal: what is left */
    throttle_tick(&throttle, &input);
    CHECK(throttle.p > 0);
}

TEST(money_in_flight_counts_by_what_becomes_of_it)
{
    struct throttle throttle;
    throttle_init(&throttle);
    struct throttle_input input = flat_tick(&throttle, 100);
    input.in_flight = input.remaining; /* nothing known of wins: all of it may be spent */
    input.closed = input.settled = 0;
    throttle_tick(&throttle, &input);
    CHECK_INT(throttle.p, 0);
    input.closed = 1000000; /* one in ten wins */
    input.settled = 100000;
    throttle_tick(&throttle, &input);
    CHECK(throttle.p > 0);
}

TEST(a_clock_that_steps_and_huge_numbers_do_no_harm)
{
    struct prng prng = {.state = 4242};
    struct throttle throttle;
    throttle_init(&throttle);
    for (int i = 0; i < 20000; i++) {
        struct throttle_input input = {
            .elapsed_us = (int64_t)prng_below(&prng, 40000000) - 20000000,
            .eligible = (int64_t)prng_below(&prng, 1 << 30),
            .participated = (int64_t)prng_below(&prng, 1 << 30),
            .committed = (int64_t)prng_below(&prng, 1ull << 50),
            .closed = (int64_t)prng_below(&prng, 1ull << 50),
            .settled = (int64_t)prng_below(&prng, 1ull << 50),
            .planned_traffic = (int64_t)prng_below(&prng, 1ull << 40),
            .remaining = (int64_t)prng_below(&prng, 1ull << 53) - (1ll << 51),
            .in_flight = (int64_t)prng_below(&prng, 1ull << 51) - (1ll << 45),
            .spend_share = (int64_t)prng_below(&prng, PLAN_ONE + 1),
            .spend_share_next = (int64_t)prng_below(&prng, PLAN_ONE + 1),
            .traffic_next = (int64_t)prng_below(&prng, 1ull << 40),
            .slot_s = (int64_t)prng_below(&prng, 3) * 900,
            .slot_share_end = (int64_t)prng_below(&prng, PLAN_ONE + 1)};
        if (prng_below(&prng, 3) == 0) {
            memset(&input.eligible, 0, sizeof(input) - offsetof(struct throttle_input, eligible));
        }
        throttle_tick(&throttle, &input);
        CHECK(throttle.p <= THROTTLE_ONE);
    }
}

TEST(participation_is_the_share_and_keeps_its_answer)
{
    struct prng prng = {.state = 7};
    int in = 0;
    for (int i = 0; i < 100000; i++) {
        uint64_t hash = prng_next(&prng);
        bool low = throttle_participates(THROTTLE_ONE / 10, hash);
        CHECK(!low || throttle_participates(THROTTLE_ONE / 5, hash)); /* more p keeps the old */
        CHECK(throttle_participates(THROTTLE_ONE, hash));
        in += low;
    }
    CHECK(in > 9700 && in < 10300);
}
