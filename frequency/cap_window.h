/* Frequency caps: what a cap is and which stretch of time it counts. Pure.
 *
 * rolling     (now - window_s, now]                     exact: exposures carry their second
 * calendar    from local midnight of the day, the week's Monday or the month's first, in the
 *             catalog's timezone, DST included
 * lifetime    since ever (as long as the record is kept: see cap_book.retention_s)
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "bidder/base/str.h"
#include "bidder/base/tz.h"

enum cap_window_kind {
    CAP_ROLLING,
    CAP_CALENDAR_DAY,
    CAP_CALENDAR_WEEK,
    CAP_CALENDAR_MONTH,
    CAP_LIFETIME,
};

enum cap_identity { CAP_PERSON, CAP_HOUSEHOLD };

struct cap {
    struct str id; /* borrowed from the catalog */
    uint32_t max;  /* exposures allowed inside the window; 0 = no limit (interval only) */
    enum cap_window_kind window;
    int64_t window_s;       /* CAP_ROLLING only */
    int64_t min_interval_s; /* between two exposures; 0 = none */
    enum cap_identity identity;
};

/* First second (UTC, inclusive) that the cap's window counts at now_s. INT64_MIN for lifetime.
 * today: the local day of now_s in the catalog's timezone. */
int64_t cap_window_start_s(const struct cap *cap, int64_t now_s, const struct tz_day *today);

/* The longest time an exposure can matter to the cap, in seconds; bounds the record's TTL.
 * Lifetime caps answer lifetime_s. */
int64_t cap_window_retention_s(const struct cap *cap, int64_t lifetime_s);
