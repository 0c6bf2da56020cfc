/* Windows and the timezones under them. Expected seconds are written as UTC dates, so that the
 * tests do not use the code they test. */
#include "tests/test.h"

#include <time.h>

#include "bidder/base/bug.h"
#include "bidder/base/tz.h"
#include "frequency/cap_window.h"

static struct arena arena;

static const struct tz *zone(const char *name)
{
    static struct tz zones[16];
    static uint32_t count;
    for (uint32_t i = 0; i < count; i++) {
        if (str_eq(zones[i].name, str_from(name))) {
            return &zones[i];
        }
    }
    if (!arena.first && !arena_init(&arena, 65536, 1 << 24)) {
        abort();
    }
    if (tz_load(str_from(name), &arena, &zones[count]) != STATUS_OK) {
        TEST_FAIL("no zone %s", name);
        abort();
    }
    return &zones[count++];
}

/* glibc's timegm: the oracle for UTC dates. */
static int64_t utc(int year, int month, int day, int hour, int minute, int second)
{
    struct tm tm = {.tm_year = year - 1900,
                    .tm_mon = month - 1,
                    .tm_mday = day,
                    .tm_hour = hour,
                    .tm_min = minute,
                    .tm_sec = second};
    return timegm(&tm);
}

static int64_t start_of(const struct cap *cap, int64_t now_s, const struct tz *tz)
{
    struct tz_day today;
    tz_day_of(tz, now_s, &today);
    return cap_window_start_s(cap, now_s, &today);
}

TEST(tz_agrees_with_the_c_library)
{
    static const char *const names[] = {"Europe/Berlin",       "America/New_York",
                                        "Asia/Shanghai",       "America/Santiago",
                                        "Australia/Lord_Howe", "Africa/Casablanca",
                                        "Pacific/Apia",        "Asia/Kathmandu",
                                        "Europe/Dublin",       "UTC"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        const struct tz *tz = zone(names[i]);
        setenv("TZ", names[i], 1);
        tzset();
        /* 1970 to 2099 in odd steps: hits every hour of the day and both sides of transitions */
        for (int64_t s = 0; s < utc(2099, 12, 1, 0, 0, 0); s += 40487) {
            time_t t = (time_t)s;
            struct tm tm;
            localtime_r(&t, &tm);
            struct tz_local local;
            tz_to_local(tz, s, &local);
            if (tm.tm_gmtoff != tz_offset_s(tz, s) || tm.tm_year + 1900 != local.year ||
                tm.tm_mon + 1 != local.month || tm.tm_mday != local.day ||
                tm.tm_hour != local.hour || tm.tm_min != local.minute ||
                tm.tm_sec != local.second || (tm.tm_wday + 6) % 7 != local.weekday) {
                TEST_FAIL("%s at %" PRId64, names[i], s);
                break;
            }
        }
    }
    unsetenv("TZ");
    tzset();
}

TEST(tz_knows_what_is_no_zone)
{
    struct tz tz;
    CHECK(zone("UTC") != NULL);
    static const char *const bad[] = {"",
                                      "/etc/passwd",
                                      "../../../etc/passwd",
                                      "Mars/Olympus",
                                      "Europe",
                                      "Europe/Berlin/",
                                      "zone.tab",
                                      "Europe/Ber lin"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        CHECK_INT(tz_load(str_from(bad[i]), &arena, &tz), STATUS_NOT_FOUND);
    }
    CHECK_INT(tz_load(STR("tzdata.zi"), &arena, &tz), STATUS_NOT_FOUND); /* has a dot */
    CHECK_INT(tz_load(STR("leapseconds"), &arena, &tz), STATUS_INVALID); /* a text file */
}

TEST(tz_from_local_first_occurrence_and_gap)
{
    const struct tz *berlin = zone("Europe/Berlin");
    /* 2026-10-25 02:30 happens twice: at 00:30 and 01:30 UTC */
    struct tz_local twice = {.year = 2026, .month = 10, .day = 25, .hour = 2, .minute = 30};
    CHECK_INT(tz_from_local(berlin, &twice), utc(2026, 10, 25, 0, 30, 0));
    /* 2026-03-29 02:30 never happens: clocks go 02:00 -> 03:00 at 01:00 UTC */
    struct tz_local never = {.year = 2026, .month = 3, .day = 29, .hour = 2, .minute = 30};
    CHECK_INT(tz_from_local(berlin, &never), utc(2026, 3, 29, 1, 0, 0));
    CHECK_INT(tz_hour_of_week(berlin, utc(2026, 3, 30, 4, 0, 0)), 6); /* Monday 06h summer time */
}

TEST(tz_midnight_that_does_not_exist)
{
    /* Chile springs forward at midnight: 2026-09-06 00:00 -> 01:00, at 04:00 UTC */
    const struct tz *santiago = zone("America/Santiago");
    CHECK_INT(tz_day_start_s(santiago, utc(2026, 9, 6, 12, 0, 0), 0), utc(2026, 9, 6, 4, 0, 0));
    /* and falls back from 24:00 to 23:00: 2026-04-04 has its 23h twice, 25 hours in all */
    CHECK_INT(tz_day_start_s(santiago, utc(2026, 4, 5, 3, 30, 0), 0), utc(2026, 4, 4, 3, 0, 0));
    CHECK_INT(tz_day_start_s(santiago, utc(2026, 4, 5, 4, 0, 0), 0), utc(2026, 4, 5, 4, 0, 0));
    /* Samoa never had 2011-12-30 */
    const struct tz *apia = zone("Pacific/Apia");
    CHECK_INT(tz_day_start_s(apia, utc(2011, 12, 30, 9, 0, 0), 1), utc(2011, 12, 30, 10, 0, 0));
}

TEST(a_day_holds_from_its_first_to_its_last_second)
{
    /* St. John's used to set its clocks back at 00:01: the old day came again after midnight. */
    static const char *const names[] = {"UTC",
                                        "Asia/Shanghai",
                                        "Europe/Berlin",
                                        "Pacific/Apia",
                                        "Australia/Lord_Howe",
                                        "America/St_Johns",
                                        "America/Santiago"};
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        const struct tz *tz = zone(names[i]);
        for (int64_t s = utc(2005, 1, 1, 0, 0, 0); s < utc(2028, 1, 1, 0, 0, 0); s += 20011) {
            struct tz_day day;
            tz_day_of(tz, s, &day);
            if (day.from_s > s || day.until_s <= s || day.until_s - day.from_s > 86400) {
                TEST_FAIL("%s at %" PRId64 ": not within its day", names[i], s);
                return;
            }
            const int64_t held[] = {day.from_s, s, day.until_s - 1};
            for (size_t h = 0; h < COUNT_OF(held); h++) {
                if (tz_day_start_s(tz, held[h], 0) != day.day_start_s ||
                    tz_week_start_s(tz, held[h]) != day.week_start_s ||
                    tz_month_start_s(tz, held[h]) != day.month_start_s) {
                    TEST_FAIL("%s at %" PRId64 ": another day", names[i], held[h]);
                    return;
                }
            }
            struct tz_day next;
            tz_day_of(tz, day.until_s, &next);
            CHECK_INT(next.from_s, day.until_s); /* no second is left out */
        }
    }
}

TEST(day_window_over_summer_time)
{
    struct cap day = {.max = 1, .window = CAP_CALENDAR_DAY};
    const struct tz *berlin = zone("Europe/Berlin");
    /* the day of 23 hours: 2026-03-29 */
    int64_t start = utc(2026, 3, 28, 23, 0, 0);
    CHECK_INT(start_of(&day, start - 1, berlin), start - 86400);
    CHECK_INT(start_of(&day, start, berlin), start);
    CHECK_INT(start_of(&day, start + 23 * 3600 - 1, berlin), start);
    CHECK_INT(start_of(&day, start + 23 * 3600, berlin), start + 23 * 3600);
    /* the day of 25 hours: 2026-10-25 */
    start = utc(2026, 10, 24, 22, 0, 0);
    CHECK_INT(start_of(&day, start + 25 * 3600 - 1, berlin), start);
    CHECK_INT(start_of(&day, start + 25 * 3600, berlin), start + 25 * 3600);
    CHECK(cap_window_retention_s(&day, 0) >= 25 * 3600);
    /* New York: 2026-03-08 has 23 hours, 2026-11-01 has 25 */
    const struct tz *york = zone("America/New_York");
    start = utc(2026, 3, 8, 5, 0, 0);
    CHECK_INT(start_of(&day, start + 23 * 3600 - 1, york), start);
    CHECK_INT(start_of(&day, start + 23 * 3600, york), start + 23 * 3600);
    start = utc(2026, 11, 1, 4, 0, 0);
    CHECK_INT(start_of(&day, start + 25 * 3600 - 1, york), start);
    CHECK_INT(start_of(&day, start + 25 * 3600, york), start + 25 * 3600);
}

TEST(week_and_month_windows)
{
    struct cap week = {.max = 1, .window = CAP_CALENDAR_WEEK};
    struct cap month = {.max = 1, .window = CAP_CALENDAR_MONTH};
    const struct tz *shanghai = zone("Asia/Shanghai"); /* UTC+8, no summer time */
    int64_t monday = utc(2026, 11, 15, 16, 0, 0);      /* Monday 2026-11-16 00:00 local */
    CHECK_INT(start_of(&week, monday, shanghai), monday);
    CHECK_INT(start_of(&week, monday - 1, shanghai), monday - 7 * 86400);
    CHECK_INT(start_of(&week, monday + 7 * 86400 - 1, shanghai), monday);
    int64_t march = utc(2028, 2, 29, 16, 0, 0); /* leap year */
    CHECK_INT(start_of(&month, march, shanghai), march);
    CHECK_INT(start_of(&month, march - 1, shanghai), utc(2028, 1, 31, 16, 0, 0));
    /* a week and a month that cross a clock change */
    const struct tz *berlin = zone("Europe/Berlin");
    CHECK_INT(start_of(&week, utc(2026, 3, 29, 20, 0, 0), berlin), utc(2026, 3, 22, 23, 0, 0));
    CHECK_INT(start_of(&month, utc(2026, 10, 31, 22, 59, 59), berlin), utc(2026, 9, 30, 22, 0, 0));
    CHECK(cap_window_retention_s(&month, 0) >= 31 * 86400 + 3600);
}

TEST(rolling_and_lifetime_windows)
{
    struct cap rolling = {.max = 1, .window = CAP_ROLLING, .window_s = 600};
    CHECK_INT(start_of(&rolling, 10000, zone("UTC")), 9401);
    CHECK_INT(cap_window_retention_s(&rolling, 99), 600);
    rolling.min_interval_s = 4000;
    CHECK_INT(cap_window_retention_s(&rolling, 99), 4000);
    struct cap life = {.max = 1, .window = CAP_LIFETIME};
    CHECK_INT(start_of(&life, 10000, zone("UTC")), INT64_MIN);
    CHECK_INT(cap_window_retention_s(&life, 99), 99);
}
