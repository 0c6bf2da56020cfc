/* Plans over days of 23, 24 and 25 hours, cut by flights, with learned and explicit shapes. */
#include "pacing/plan.h"
#include "tests/test.h"

#define HOUR_S 3600
#define DAY_S  86400

static struct arena zone_arena;

static const struct tz *zone(struct str name, struct tz *tz)
{
    if (!zone_arena.first) {
        CHECK(arena_init(&zone_arena, 1 << 16, 1 << 20));
    }
    CHECK_INT(tz_load(name, &zone_arena, tz), STATUS_OK);
    return tz;
}

static struct plan_day build(const struct tz *tz, struct plan_options options, int64_t now_s)
{
    static struct plan_curve flat;
    struct plan_day day;
    options.curve = options.curve ? options.curve : &flat;
    plan_day_build(&day, &options, tz, now_s);
    return day;
}

static int permille(const struct plan_day *day, int64_t now_s)
{
    return (int)((plan_day_spend(day, now_s) * 1000 + PLAN_ONE / 2) / PLAN_ONE);
}

/* Monotone, within 0 and 1, ends at 1: at every minute. */
static void check_shape(const struct plan_day *day)
{
    int64_t spend = 0, traffic = 0;
    for (int64_t at = day->start_s - 120; at <= day->end_s + 120; at += 60) {
        int64_t f = plan_day_spend(day, at), g = plan_day_traffic(day, at);
        CHECK(f >= spend && f <= PLAN_ONE && g >= traffic);
        spend = f;
        traffic = g;
    }
    CHECK_INT(spend, PLAN_ONE);
    CHECK(traffic > 0);
}

TEST(even_ends_half_an_hour_before_midnight)
{
    struct tz tz;
    int64_t start = 1767196800; /* 2026-01-01 00:00 in Shanghai */
    struct plan_day day =
        build(zone(STR("Asia/Shanghai"), &tz), (struct plan_options){.mode = PLAN_EVEN}, start);
    CHECK_INT(day.start_s, start);
    CHECK_INT(day.end_s, start + DAY_S);
    CHECK_INT(day.goal_end_s, start + 23 * HOUR_S + 1800);
    CHECK_INT(permille(&day, start), 0);
    CHECK_INT(permille(&day, start + (23 * HOUR_S + 1800) / 2), 500);
    CHECK_INT(plan_day_spend(&day, day.goal_end_s), PLAN_ONE);
    check_shape(&day);
}

TEST(ahead_ends_at_ten_and_asap_at_once)
{
    struct tz tz;
    const struct tz *utc = zone(STR("UTC"), &tz);
    struct plan_day day = build(utc, (struct plan_options){.mode = PLAN_AHEAD}, 5 * DAY_S + 77);
    CHECK_INT(day.goal_end_s, 5 * DAY_S + 22 * HOUR_S);
    CHECK_INT(permille(&day, 5 * DAY_S + 11 * HOUR_S), 500);
    check_shape(&day);
    day = build(utc, (struct plan_options){.mode = PLAN_ASAP}, 5 * DAY_S);
    CHECK_INT(plan_day_spend(&day, 5 * DAY_S + 1), PLAN_ONE);
}

TEST(days_of_23_and_25_hours)
{
    struct tz tz;
    const struct tz *berlin = zone(STR("Europe/Berlin"), &tz);
    struct plan_day day = build(berlin, (struct plan_options){.mode = PLAN_EVEN}, 1774756800);
    CHECK_INT(day.end_s - day.start_s, 23 * HOUR_S); /* 2026-03-29 */
    CHECK_INT(day.goal_end_s, day.end_s - 1800);
    check_shape(&day);
    day = build(berlin, (struct plan_options){.mode = PLAN_EVEN}, 1792929600);
    CHECK_INT(day.end_s - day.start_s, 25 * HOUR_S); /* 2026-10-25 */
    CHECK_INT(day.count, 100);
    check_shape(&day);
}

TEST(explicit_shares_hold_when_an_hour_comes_twice_or_never)
{
    struct tz tz;
    const struct tz *berlin = zone(STR("Europe/Berlin"), &tz);
    struct plan_options options = {.mode = PLAN_HOURLY};
    options.hourly_share[2] = 4000; /* the hour DST skips or repeats */
    options.hourly_share[10] = 6000;
    struct plan_day day = build(berlin, options, 1792929600);
    CHECK_INT(permille(&day, day.start_s + 2 * HOUR_S), 0);
    CHECK_INT(permille(&day, day.start_s + 3 * HOUR_S), 200);
    CHECK_INT(permille(&day, day.start_s + 4 * HOUR_S), 400);
    CHECK_INT(permille(&day, day.start_s + 11 * HOUR_S), 400); /* 10:00 on the wall */
    CHECK_INT(permille(&day, day.start_s + 12 * HOUR_S), 1000);
    CHECK_INT(day.goal_end_s, day.start_s + 12 * HOUR_S);
    day = build(berlin, options, 1774756800); /* 02:00 does not exist: 10:00 gets all */
    CHECK_INT(permille(&day, day.start_s + 9 * HOUR_S), 0);
    CHECK_INT(permille(&day, day.start_s + 9 * HOUR_S + 1800), 500);
    check_shape(&day);
}

TEST(a_flight_cuts_the_day)
{
    struct tz tz;
    const struct tz *utc = zone(STR("UTC"), &tz);
    int64_t midnight = 400 * DAY_S;
    struct plan_options options = {.mode = PLAN_EVEN,
                                   .flight_start_s = midnight + 6 * HOUR_S,
                                   .flight_end_s = midnight + 18 * HOUR_S};
    struct plan_day day = build(utc, options, midnight + 7 * HOUR_S);
    CHECK_INT(day.start_s, midnight + 6 * HOUR_S);
    CHECK_INT(day.end_s, midnight + 18 * HOUR_S);
    CHECK_INT(day.goal_end_s, midnight + 18 * HOUR_S - 900);
    check_shape(&day);
    day = build(utc, options, midnight + DAY_S);
    CHECK_INT(day.count, 0);
    CHECK_INT(plan_day_spend(&day, midnight + DAY_S + 5), 0);
    options.flight_start_s = midnight + 23 * HOUR_S + 3000; /* behind the usual goal's end */
    options.flight_end_s = 0;
    day = build(utc, options, midnight + DAY_S - 1);
    CHECK(day.goal_end_s > day.start_s && day.goal_end_s <= day.end_s);
    check_shape(&day);
}

TEST(the_curve_learns_and_borrows)
{
    struct plan_curve curve = {0};
    CHECK_INT(plan_curve_expect(&curve, 40), plan_curve_expect(&curve, 41));
    plan_curve_learn(&curve, 10, 1000);
    CHECK_INT(plan_curve_expect(&curve, 10), 1000);
    CHECK_INT(plan_curve_expect(&curve, 34), 1000); /* Tuesday borrows Monday's 10h */
    plan_curve_learn(&curve, 10, 2000);
    CHECK_INT(plan_curve_expect(&curve, 10), 1250);
    plan_curve_learn(&curve, 11, 0);
    CHECK_INT(plan_curve_expect(&curve, 11), 1);
    CHECK_INT(plan_curve_expect(&curve, 12), 625); /* the mean of all */
    plan_curve_learn(&curve, 167, UINT32_MAX);
    plan_curve_learn(&curve, 167, UINT32_MAX);
    CHECK_INT(plan_curve_expect(&curve, 167), UINT32_MAX);
}

TEST(spend_follows_the_learned_traffic)
{
    struct tz tz;
    const struct tz *utc = zone(STR("UTC"), &tz);
    struct plan_curve curve = {0};
    for (int hour = 0; hour < 24; hour++) {
        plan_curve_learn(&curve, hour, hour < 12 ? 100 : 300);
    }
    struct plan_day day =
        build(utc, (struct plan_options){.mode = PLAN_EVEN, .curve = &curve}, 4 * DAY_S);
    int noon = permille(&day, 4 * DAY_S + 12 * HOUR_S);
    CHECK(noon > 240 && noon < 275); /* 1200 of 4650, less what the rise at noon smoothes */
    check_shape(&day);
}

TEST(a_total_is_dealt_out_over_the_days_left)
{
    struct tz tz;
    const struct tz *utc = zone(STR("UTC"), &tz);
    struct plan_curve curve = {0};
    int64_t day = 100 * DAY_S;
    CHECK_INT(plan_day_target(&curve, utc, day, 0, day + 10 * DAY_S, true, 1000, 0), 100);
    CHECK_INT(plan_day_target(&curve, utc, day + 5, 0, day + 10 * DAY_S, true, 1000, 60), 60);
    CHECK_INT(plan_day_target(&curve, utc, day, 0, day + 6 * HOUR_S, true, 1000, 0), 1000);
    CHECK_INT(plan_day_target(&curve, utc, day, 0, 0, true, 3000, 0), 100);
    CHECK_INT(plan_day_target(&curve, utc, day, 0, day, true, 3000, 0), 0);
    CHECK_INT(plan_day_target(&curve, utc, day, day + 2 * DAY_S, 0, true, 3000, 0), 0);
    CHECK_INT(plan_day_target(&curve, utc, day, 0, 0, false, 0, 77), 77);
    CHECK_INT(plan_day_target(&curve, utc, day, 0, 0, true, -5, 77), 0);
    /* starts at noon: half of the first of two days, so a third of the whole */
    CHECK_INT(plan_day_target(&curve, utc, day, day + 12 * HOUR_S, day + 2 * DAY_S, true, 900, 0),
              300);
}
