#include "frequency/cap_window.h"

#include "bidder/base/bug.h"

#define HOUR_S 3600
#define DAY_S  86400

int64_t cap_window_start_s(const struct cap *cap, int64_t now_s, const struct tz_day *today)
{
    switch (cap->window) {
    case CAP_ROLLING:
        return now_s - cap->window_s + 1;
    case CAP_CALENDAR_DAY:
        return today->day_start_s;
    case CAP_CALENDAR_WEEK:
        return today->week_start_s;
    case CAP_CALENDAR_MONTH:
        return today->month_start_s;
    case CAP_LIFETIME:
        return INT64_MIN;
    }
    BUG_ON(!"a window kind");
    return INT64_MIN;
}

int64_t cap_window_retention_s(const struct cap *cap, int64_t lifetime_s)
{
    int64_t keep_s = 0;
    switch (cap->window) {
    case CAP_ROLLING:
        keep_s = cap->window_s;
        break;
    /* A local day, week or month may be longer when clocks go back. */
    case CAP_CALENDAR_DAY:
        keep_s = DAY_S + 2 * HOUR_S;
        break;
    case CAP_CALENDAR_WEEK:
        keep_s = 7 * DAY_S + 2 * HOUR_S;
        break;
    case CAP_CALENDAR_MONTH:
        keep_s = 31 * DAY_S + 2 * HOUR_S;
        break;
    case CAP_LIFETIME:
        keep_s = lifetime_s;
        break;
    }
    return keep_s > cap->min_interval_s ? keep_s : cap->min_interval_s;
}
