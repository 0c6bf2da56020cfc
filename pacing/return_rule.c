#include "pacing/return_rule.h"

#define MICROS      1000000
#define SLACK_MIN   20
#define SLACK_PART  200 /* 0.5% */
#define SLACK_END_S 1800
#define TOO_EARLY   50000 /* of a million: too little of the day to tell */

__extension__ typedef __int128 wide;

static int64_t agreed_pushes(const struct return_rule_input *in)
{
    return (int64_t)((wide)in->impressions_per_day * in->push_ratio_micros / MICROS);
}

int64_t return_rule_slack(const struct return_rule_input *in)
{
    int64_t expected = agreed_pushes(in);
    expected = expected > in->pushed ? expected : in->pushed;
    int64_t full = expected / SLACK_PART > SLACK_MIN ? expected / SLACK_PART : SLACK_MIN;
    int64_t left_s = in->day_s - SLACK_END_S - in->elapsed_s - in->ahead_s;
    return left_s > 0 && in->day_s > SLACK_END_S
               ? (int64_t)((wide)full * left_s / (in->day_s - SLACK_END_S))
               : 0;
}

static int64_t pushes_to_come(const struct return_rule_input *in)
{
    int64_t rest = agreed_pushes(in) - in->pushed;
    rest = rest > 0 ? rest : 0;
    int64_t seen_ppm = in->share_passed_ppm - in->share_missed_ppm;
    if (seen_ppm < TOO_EARLY) {
        return rest;
    }
    int64_t by_shape = (int64_t)((wide)in->pushed * (MICROS - in->share_passed_ppm) / seen_ppm);
    return by_shape < rest ? by_shape : rest;
}

int64_t return_rule_allowed(const struct return_rule_input *in)
{
    if (in->push_ratio_micros <= MICROS) {
        return 0;
    }
    int64_t allowed =
        (int64_t)((wide)in->pushed * (in->push_ratio_micros - MICROS) / in->push_ratio_micros) +
        return_rule_slack(in);
    if (in->impressions_per_day) {
        int64_t spare = in->pushed + pushes_to_come(in) - in->impressions_per_day;
        allowed = allowed < spare ? allowed : spare;
    }
    return allowed > 0 ? allowed : 0;
}
