/* A timezone loaded from the system's zoneinfo: UTC <-> local time with DST, without touching the
 * process's TZ. Immutable once loaded; safe to share. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "bidder/base/arena.h"
#include "bidder/base/status.h"
#include "bidder/base/str.h"

struct tz_transition {
    int64_t at_s;     /* UTC second from which offset_s holds */
    int32_t offset_s; /* local = UTC + offset */
};

struct tz {
    struct str name;                   /* "Asia/Shanghai"; arena */
    struct tz_transition *transitions; /* arena; ascending; [0].at_s = INT64_MIN */
    uint32_t count;
};

struct tz_local {
    int32_t year, month, day; /* month and day from 1 */
    int32_t hour, minute, second;
    int32_t weekday; /* 0 = Monday ... 6 = Sunday */
};

/* name is an IANA zone ("UTC", "Asia/Shanghai"). STATUS_NOT_FOUND when the system has none of that
 * name (or the name tries to leave the zoneinfo folder), STATUS_INVALID when the file is broken. */
enum status tz_load(struct str name, struct arena *arena, struct tz *tz) MUST_USE;

int32_t tz_offset_s(const struct tz *tz, int64_t utc_s);
void tz_to_local(const struct tz *tz, int64_t utc_s, struct tz_local *local);
/* The UTC second at which a local wall time first occurs (a time skipped by DST: the transition).
 */
int64_t tz_from_local(const struct tz *tz, const struct tz_local *local);
/* UTC second of the local midnight that starts the day utc_s lies in; +days moves by whole days. */
int64_t tz_day_start_s(const struct tz *tz, int64_t utc_s, int days);
int64_t tz_week_start_s(const struct tz *tz, int64_t utc_s); /* Monday */
int64_t tz_month_start_s(const struct tz *tz, int64_t utc_s);

/* The local day a second lies in. Holds for every second of [from_s, until_s): no summer time
 * begins or ends in between, so a day on which it does is two of these. */
struct tz_day {
    int64_t from_s, until_s;
    int64_t day_start_s, week_start_s, month_start_s;
};
void tz_day_of(const struct tz *tz, int64_t utc_s, struct tz_day *day);

/* Hour of the local week, 0 = Monday 00h ... 167 = Sunday 23h. */
int tz_hour_of_week(const struct tz *tz, int64_t utc_s);
