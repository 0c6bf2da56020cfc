/* The day's spending plan of one budget: when which share of the day's money should be spent.
 *
 * Pure: no clock, no I/O. Two curves over one local day of 23, 24 or 25 hours, in quarter hours:
 *   traffic G(t): eligible requests expected until t, learned per hour of the local week
 *   spend   F(t): share of the day's target that should be spent by t; follows the traffic until
 *                 the goal's end (23:30 even, 22:00 ahead), or explicit hourly shares */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "bidder/base/tz.h"

#define PLAN_ONE           (1 << 30) /* F: the whole target */
#define PLAN_TRAFFIC_ONE   16384     /* G: one request */
#define PLAN_HOURS_OF_WEEK 168
#define PLAN_MAX_SEGMENTS  112 /* 25 hours of quarters, and cuts at the flight's and goal's ends */

enum plan_mode { PLAN_EVEN, PLAN_AHEAD, PLAN_ASAP, PLAN_HOURLY, PLAN_MODE_COUNT };

/* Expected eligible requests per hour of the local week (0 = Monday 00h). Zero = not seen yet: such
 * an hour borrows the same hour of other days, then the mean of all; flat at first. */
struct plan_curve {
    uint32_t per_hour[PLAN_HOURS_OF_WEEK];
};

/* An hour has ended in which requests were eligible: moves a quarter of the way to what was seen
 * (the first sight is taken whole). */
void plan_curve_learn(struct plan_curve *curve, int hour_of_week, uint32_t requests);
/* No hour was ever seen. */
bool plan_curve_is_blank(const struct plan_curve *curve);
/* Never 0. */
uint32_t plan_curve_expect(const struct plan_curve *curve, int hour_of_week);

struct plan_options {
    enum plan_mode mode;
    uint16_t hourly_share[24];      /* PLAN_HOURLY: parts per 10000 by local hour */
    int64_t flight_start_s;         /* the day is cut to the flight; 0 = open */
    int64_t flight_end_s;           /* 0 = open */
    const struct plan_curve *curve; /* borrowed during plan_day_build only */
};

struct plan_segment {
    int64_t start_s;
    int64_t traffic_before; /* G at start_s, in PLAN_TRAFFIC_ONE */
    int64_t spend_before;   /* unscaled F at start_s */
};

struct plan_day {
    int64_t start_s, end_s; /* [start, end) UTC */
    int64_t goal_end_s;     /* F is 1 from here on */
    enum plan_mode mode;
    uint32_t count;
    struct plan_segment segments[PLAN_MAX_SEGMENTS + 1]; /* [count] is the end */
};

/* The plan of the local day in which now_s lies. A day outside the flight has count 0. */
void plan_day_build(struct plan_day *day, const struct plan_options *options, const struct tz *tz,
                    int64_t now_s);
/* 0 .. PLAN_ONE; monotone; clamps outside the day. */
int64_t plan_day_spend(const struct plan_day *day, int64_t now_s);
/* Cumulative expected requests * PLAN_TRAFFIC_ONE. */
int64_t plan_day_traffic(const struct plan_day *day, int64_t now_s);

/* What a budget should spend on the local day of now_s: its part of what is left of the total, by
 * expected traffic until the flight's end, at most the daily limit. left_total is what was left of
 * the total when the day began; total or daily 0 = none. Without an end, 30 days are planned. */
int64_t plan_day_target(const struct plan_curve *curve, const struct tz *tz, int64_t now_s,
                        int64_t flight_start_s, int64_t flight_end_s, bool has_total,
                        int64_t left_total, int64_t daily);
