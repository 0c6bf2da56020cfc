/* Plans own nothing; all is in the caller's struct. */
#include "pacing/plan.h"

#include <string.h>

#include "bidder/base/bug.h"

#define QUARTER_S        900
#define UNSEEN           1000 /* any number: only its sameness counts */
#define HOUR_S           3600
#define OPEN_END_DAYS    30
#define MAX_PLANNED_DAYS 400
#define AHEAD_END_S      (22 * HOUR_S)
#define EVEN_END_S       (23 * HOUR_S + HOUR_S / 2)

__extension__ typedef __int128 wide;

void plan_curve_learn(struct plan_curve *curve, int hour_of_week, uint32_t requests)
{
    BUG_ON(hour_of_week < 0 || hour_of_week >= PLAN_HOURS_OF_WEEK);
    uint32_t *expected = &curve->per_hour[hour_of_week];
    uint64_t next = *expected ? ((uint64_t)*expected * 3 + requests) / 4 : requests;
    *expected = next ? (uint32_t)next : 1; /* seen, and quiet */
}

static uint32_t mean_of_seen(const struct plan_curve *curve, int first, int step)
{
    uint64_t sum = 0;
    uint32_t seen = 0;
    for (int hour = first; hour < PLAN_HOURS_OF_WEEK; hour += step) {
        sum += curve->per_hour[hour];
        seen += curve->per_hour[hour] != 0;
    }
    return seen ? (uint32_t)(sum / seen) : 0;
}

bool plan_curve_is_blank(const struct plan_curve *curve)
{
    return mean_of_seen(curve, 0, 1) == 0;
}

uint32_t plan_curve_expect(const struct plan_curve *curve, int hour_of_week)
{
    BUG_ON(hour_of_week < 0 || hour_of_week >= PLAN_HOURS_OF_WEEK);
    uint32_t expected = curve->per_hour[hour_of_week];
    if (!expected) {
        expected = mean_of_seen(curve, hour_of_week % 24, 24);
    }
    if (!expected) {
        expected = mean_of_seen(curve, 0, 1);
    }
    return expected ? expected : UNSEEN;
}

/* Expected requests * PLAN_TRAFFIC_ONE in one second around utc_s, times 3600. Between the middles
 * of hours the rate is drawn as a line, in steps of a quarter: real traffic does not jump at the
 * full hour. */
static int64_t rate_at(const struct plan_curve *curve, const struct tz *tz, int64_t utc_s)
{
    int hour = tz_hour_of_week(tz, utc_s);
    struct tz_local local;
    tz_to_local(tz, utc_s, &local);
    int quarter = local.minute / 15;
    int neighbour = quarter < 2 ? hour + PLAN_HOURS_OF_WEEK - 1 : hour + 1;
    int64_t here = plan_curve_expect(curve, hour);
    int64_t there = plan_curve_expect(curve, neighbour % PLAN_HOURS_OF_WEEK);
    int64_t eighths = quarter == 0 || quarter == 3 ? 3 : 1;
    return here * PLAN_TRAFFIC_ONE + (there - here) * (PLAN_TRAFFIC_ONE / 8) * eighths;
}

static int64_t local_time_on_day(const struct tz *tz, int64_t day_start_s, int32_t second_of_day)
{
    struct tz_local local;
    tz_to_local(tz, day_start_s, &local);
    local.hour = second_of_day / HOUR_S;
    local.minute = second_of_day % HOUR_S / 60;
    local.second = 0;
    return tz_from_local(tz, &local);
}

static int last_hour_with_share(const uint16_t hourly_share[24])
{
    int last = -1;
    for (int hour = 0; hour < 24; hour++) {
        last = hourly_share[hour] ? hour : last;
    }
    return last;
}

/* Where F reaches 1. Always some time before the day's or the flight's end: what is left at the
 * goal's end (bids still in flight, say) is spent behind it. */
static int64_t goal_end(const struct plan_options *options, const struct tz *tz,
                        int64_t local_midnight_s, int64_t start_s, int64_t end_s)
{
    int32_t second = options->mode == PLAN_AHEAD ? AHEAD_END_S : EVEN_END_S;
    if (options->mode == PLAN_HOURLY) {
        int last = last_hour_with_share(options->hourly_share);
        if (last >= 0 && last < 23) {
            second = (last + 1) * HOUR_S;
        }
    }
    int64_t goal_s = local_time_on_day(tz, local_midnight_s, second);
    int64_t spare_s = (end_s - start_s) / 48; /* a flight that ends at noon: the same */
    int64_t latest_s = end_s - (spare_s < HOUR_S / 2 ? spare_s : HOUR_S / 2);
    if (goal_s > latest_s || goal_s <= start_s) {
        goal_s = latest_s;
    }
    return goal_s > start_s ? goal_s : end_s;
}

/* Seconds before goal_end_s that each local hour lasts: 7200 when DST repeats it, 0 when skipped.
 */
static void hour_lengths(const struct tz *tz, const struct plan_day *day, int32_t lengths[24])
{
    memset(lengths, 0, 24 * sizeof(*lengths));
    for (int64_t at_s = day->start_s; at_s < day->goal_end_s;) {
        struct tz_local local;
        tz_to_local(tz, at_s, &local);
        int64_t next_s = at_s + QUARTER_S - (local.minute * 60 + local.second) % QUARTER_S;
        next_s = next_s < day->goal_end_s ? next_s : day->goal_end_s;
        lengths[local.hour] += (int32_t)(next_s - at_s);
        at_s = next_s;
    }
}

static void fill_segments(struct plan_day *day, const struct plan_options *options,
                          const struct tz *tz)
{
    int32_t lengths[24];
    hour_lengths(tz, day, lengths);
    int64_t traffic = 0, spend = 0, at_s = day->start_s;
    while (at_s < day->end_s && day->count < PLAN_MAX_SEGMENTS) {
        struct tz_local local;
        tz_to_local(tz, at_s, &local);
        int64_t next_s = at_s + QUARTER_S - (local.minute * 60 + local.second) % QUARTER_S;
        if (at_s < day->goal_end_s && next_s > day->goal_end_s) {
            next_s = day->goal_end_s;
        }
        next_s = next_s < day->end_s ? next_s : day->end_s;
        day->segments[day->count++] = (struct plan_segment){
            .start_s = at_s, .traffic_before = traffic, .spend_before = spend};
        int64_t expected = rate_at(options->curve, tz, at_s) * (next_s - at_s) / HOUR_S;
        expected = expected > 0 ? expected : 1;
        traffic += expected;
        if (at_s < day->goal_end_s) {
            int64_t share = options->hourly_share[local.hour];
            spend += options->mode != PLAN_HOURLY ? expected
                     : lengths[local.hour] ? share * 65536 * (next_s - at_s) / lengths[local.hour]
                                           : 0;
        }
        at_s = next_s;
    }
    day->segments[day->count] = (struct plan_segment){
        .start_s = day->end_s, .traffic_before = traffic, .spend_before = spend};
}

void plan_day_build(struct plan_day *day, const struct plan_options *options, const struct tz *tz,
                    int64_t now_s)
{
    int64_t midnight_s = tz_day_start_s(tz, now_s, 0);
    *day = (struct plan_day){
        .start_s = midnight_s, .end_s = tz_day_start_s(tz, now_s, 1), .mode = options->mode};
    if (options->flight_start_s > day->start_s) {
        day->start_s = options->flight_start_s;
    }
    if (options->flight_end_s && options->flight_end_s < day->end_s) {
        day->end_s = options->flight_end_s;
    }
    if (day->start_s >= day->end_s) {
        day->goal_end_s = day->end_s = day->start_s;
        return;
    }
    day->goal_end_s = goal_end(options, tz, midnight_s, day->start_s, day->end_s);
    fill_segments(day, options, tz);
}

/* The segment that holds now_s, start_s <= now_s < end_s. */
static const struct plan_segment *find_segment(const struct plan_day *day, int64_t now_s)
{
    uint32_t low = 0, high = day->count;
    while (high - low > 1) {
        uint32_t middle = low + (high - low) / 2;
        if (day->segments[middle].start_s <= now_s) {
            low = middle;
        } else {
            high = middle;
        }
    }
    return &day->segments[low];
}

int64_t plan_day_spend(const struct plan_day *day, int64_t now_s)
{
    if (!day->count || now_s <= day->start_s) {
        return 0;
    }
    int64_t total = day->segments[day->count].spend_before;
    if (now_s >= day->goal_end_s || !total || day->mode == PLAN_ASAP) {
        return PLAN_ONE;
    }
    const struct plan_segment *here = find_segment(day, now_s);
    int64_t part = here->spend_before + (here[1].spend_before - here->spend_before) *
                                            (now_s - here->start_s) /
                                            (here[1].start_s - here->start_s);
    return (int64_t)((wide)part * PLAN_ONE / total);
}

int64_t plan_day_traffic(const struct plan_day *day, int64_t now_s)
{
    if (!day->count || now_s <= day->start_s) {
        return 0;
    }
    if (now_s >= day->end_s) {
        return day->segments[day->count].traffic_before;
    }
    const struct plan_segment *here = find_segment(day, now_s);
    return here->traffic_before + (here[1].traffic_before - here->traffic_before) *
                                      (now_s - here->start_s) / (here[1].start_s - here->start_s);
}

static int64_t expected_between(const struct plan_curve *curve, const struct tz *tz, int64_t from_s,
                                int64_t to_s)
{
    int64_t sum = 0;
    for (int64_t at_s = from_s; at_s < to_s;) {
        struct tz_local local;
        tz_to_local(tz, at_s, &local);
        int64_t next_s = at_s + HOUR_S - (local.minute * 60 + local.second);
        next_s = next_s < to_s ? next_s : to_s;
        sum += (int64_t)plan_curve_expect(curve, tz_hour_of_week(tz, at_s)) * (next_s - at_s);
        at_s = next_s;
    }
    return sum;
}

int64_t plan_day_target(const struct plan_curve *curve, const struct tz *tz, int64_t now_s,
                        int64_t flight_start_s, int64_t flight_end_s, bool has_total,
                        int64_t left_total, int64_t daily)
{
    if (!has_total) {
        return daily;
    }
    int64_t start_s = tz_day_start_s(tz, now_s, 0);
    int64_t day_end_s = tz_day_start_s(tz, now_s, 1);
    int64_t end_s = flight_end_s ? flight_end_s : tz_day_start_s(tz, now_s, OPEN_END_DAYS);
    int64_t latest_s = tz_day_start_s(tz, now_s, MAX_PLANNED_DAYS);
    end_s = end_s < latest_s ? end_s : latest_s;
    start_s = flight_start_s > start_s ? flight_start_s : start_s;
    if (left_total <= 0 || start_s >= end_s || start_s >= day_end_s) {
        return 0;
    }
    int64_t target = left_total;
    if (end_s > day_end_s) {
        int64_t today = expected_between(curve, tz, start_s, day_end_s);
        int64_t all = today + expected_between(curve, tz, day_end_s, end_s);
        target = (int64_t)((wide)left_total * today / all);
    }
    return daily && daily < target ? daily : target;
}
