/* How many pushes of a deal may have been returned by now. Pure integers. */
#pragma once

#include <stdint.h>

struct return_rule_input {
    int64_t pushed;              /* today, so far */
    int64_t push_ratio_micros;   /* rho */
    int64_t impressions_per_day; /* guaranteed; 0 = not agreed */
    int64_t day_s, elapsed_s;    /* the local day's length, and how much of it has passed */
    int64_t ahead_s;             /* the slack is that of so much later: leases outlive it */
    int64_t share_passed_ppm;    /* of a usual day's pushes, those before now */
    int64_t share_missed_ppm;    /* of these, those before anybody counted */
};

/* pushed * (1 - 1/rho) + slack, at most what leaves the guarantee within reach. Never negative.
 *
 * slack = max(20, 0.5% of the expected pushes), falling in a line to 0 half an hour before the
 * day's end: what is allowed only grows, so a day ends at or below pushed * (1 - 1/rho).
 *
 * guarantee: filled so far + pushes still expected - further returns >= impressions_per_day.
 * Expected is what was agreed (rho * impressions), or less when the day so far, against a usual
 * day's shape, points to less; less than a twentieth of a day points nowhere. */
int64_t return_rule_allowed(const struct return_rule_input *input);
/* The slack within it. */
int64_t return_rule_slack(const struct return_rule_input *input);
