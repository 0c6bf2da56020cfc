/* Reading reports back: rows of days, grouped for people. For the command line; uses the heap. */
#pragma once

#include "bidder/base/arena.h"
#include "bidder/report.h"

enum report_group_by {
    REPORT_BY_TOTAL,
    REPORT_BY_CAMPAIGN,
    REPORT_BY_LINE,
    REPORT_BY_BRAND,
    REPORT_BY_MEDIUM,
    REPORT_BY_DEAL,
    REPORT_BY_DAY,
    REPORT_BY_COUNT
};
/* NULL behind the last. */
const char *report_group_by_name(unsigned by);

/* One line of a report. */
struct report_group {
    struct str label; /* arena */
    int64_t counts[REPORT_COLUMN_COUNT];
    int64_t reach, reach_in_target; /* -1: not to be had (days in different cluster nodes) */
};

struct report_query {
    int32_t from_day, to_day; /* 20261122, inclusive; at most 400 days */
    enum report_group_by by;
    struct str campaign; /* only this; empty = all */
};

/* Groups in the order of their labels; array and labels lie in the arena. STATUS_IO: Redis does not
 * answer. */
enum status report_read(struct redis_sync *redis, const struct report_query *query,
                        struct arena *arena, struct report_group **groups,
                        uint32_t *count) MUST_USE;

/* 20261122 + 1 day. False: not a date. */
bool report_day_valid(int32_t day);
int32_t report_day_next(int32_t day);
