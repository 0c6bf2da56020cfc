/* Timezones from the system's zoneinfo files (TZif, RFC 8536), without the process's TZ.
 *
 * A file lists transitions up to some year and, behind them, a rule for the years after; the rule
 * is written out here up to TZ_LAST_YEAR, so that asking is one binary search:
 *
 *   transitions   [-inf: LMT] [1893: +1h] ... [2037-10: +1h] | from the rule: [2038-03: +2h] ...
 *
 * Owns nothing: everything lies in the caller's arena. */
#include "bidder/base/tz.h"

#include <stdio.h>

#define ZONEINFO_FOLDER "/usr/share/zoneinfo/"
#define TZ_FILE_BYTES   (128 * 1024)
#define TZ_LAST_YEAR    2100
#define TZ_FAR_S        ((int64_t)10000000000) /* a later transition means a broken file */
#define DAY_S           86400

/* --- calendar: days since 1970-01-01, proleptic Gregorian ---------------------------------- */

/* Years are counted from March, so that the leap day is a year's last. */
static int64_t days_from_civil(int64_t year, int32_t month, int32_t day)
{
    year -= month <= 2;
    int64_t century4 = (year >= 0 ? year : year - 399) / 400;
    int64_t year_of = year - century4 * 400;
    int64_t month_of = month > 2 ? month - 3 : month + 9;
    int64_t day_of_year = (153 * month_of + 2) / 5 + day - 1;
    return century4 * 146097 + year_of * 365 + year_of / 4 - year_of / 100 + day_of_year - 719468;
}

static void civil_from_days(int64_t days, int32_t *year, int32_t *month, int32_t *day)
{
    days += 719468;
    int64_t century4 = (days >= 0 ? days : days - 146096) / 146097;
    int64_t day_of = days - century4 * 146097; /* 0 .. 146096 */
    int64_t year_of = (day_of - day_of / 1460 + day_of / 36524 - day_of / 146096) / 365;
    int64_t day_of_year = day_of - (365 * year_of + year_of / 4 - year_of / 100);
    int64_t month_of = (5 * day_of_year + 2) / 153;
    *day = (int32_t)(day_of_year - (153 * month_of + 2) / 5 + 1);
    *month = (int32_t)(month_of < 10 ? month_of + 3 : month_of - 9);
    *year = (int32_t)(century4 * 400 + year_of + (*month <= 2));
}

static int64_t floor_div(int64_t a, int64_t b)
{
    return a / b - (a % b < 0);
}

/* 0 = Monday; 1970-01-01 was a Thursday. */
static int32_t weekday_of(int64_t days)
{
    int64_t day = (days + 3) % 7;
    return (int32_t)(day < 0 ? day + 7 : day);
}

/* --- the file ------------------------------------------------------------------------------- */

struct cursor {
    const unsigned char *at, *end;
    bool failed;
};

static int64_t take(struct cursor *in, unsigned bytes)
{
    if (in->failed || (size_t)(in->end - in->at) < bytes) {
        in->failed = true;
        return 0;
    }
    uint64_t value = bytes && in->at[0] & 0x80 ? UINT64_MAX : 0; /* sign */
    for (unsigned i = 0; i < bytes; i++) {
        value = value << 8 | *in->at++;
    }
    return (int64_t)value;
}

static void skip(struct cursor *in, uint64_t bytes)
{
    if (in->failed || (uint64_t)(in->end - in->at) < bytes) {
        in->failed = true;
        return;
    }
    in->at += bytes;
}

struct tzif_header {
    int version;
    uint64_t isut, isstd, leap, time, type, chars;
};

static void take_header(struct cursor *in, struct tzif_header *header)
{
    static const unsigned char magic[4] = {'T', 'Z', 'i', 'f'};
    if ((size_t)(in->end - in->at) < 4 || memcmp(in->at, magic, 4) != 0) {
        in->failed = true;
        return;
    }
    in->at += 4;
    header->version = (int)take(in, 1);
    skip(in, 15);
    uint64_t *const counts[] = {&header->isut, &header->isstd, &header->leap,
                                &header->time, &header->type,  &header->chars};
    for (size_t i = 0; i < 6; i++) {
        *counts[i] = (uint64_t)take(in, 4) & 0xffffffff;
        in->failed |= *counts[i] > TZ_FILE_BYTES;
    }
}

/* Transitions of one data block into tz (room for them was made). */
static void take_block(struct cursor *in, const struct tzif_header *header, unsigned time_bytes,
                       struct tz *tz)
{
    struct cursor times = *in;
    skip(in, header->time * time_bytes);
    struct cursor types = *in;
    skip(in, header->time);
    const unsigned char *infos = in->at;
    skip(in, header->type * 6 + header->chars + header->leap * (time_bytes + 4) + header->isstd +
                 header->isut);
    in->failed |= header->type == 0;
    if (in->failed) {
        return;
    }
    for (uint64_t i = 0; i <= header->time; i++) {
        int64_t at_s = INT64_MIN;
        uint64_t type = 0; /* before the first transition: type 0 (RFC 8536, 3.2) */
        if (i) {
            at_s = take(&times, time_bytes);
            type = (uint64_t)take(&types, 1) & 0xff;
        }
        struct cursor info = {.at = infos + 6 * type, .end = infos + 6 * header->type};
        in->failed |= type >= header->type || (tz->count && at_s < tz->transitions[i - 1].at_s);
        if (in->failed) {
            return;
        }
        int32_t offset_s = (int32_t)take(&info, 4);
        in->failed |= offset_s < -DAY_S || offset_s > DAY_S;
        tz->transitions[tz->count++] = (struct tz_transition){.at_s = at_s, .offset_s = offset_s};
    }
}

/* --- the rule behind the transitions: "CET-1CEST,M3.5.0,M10.5.0/3" --------------------------- */

struct rule_day {
    char kind; /* 'M' month.week.day, 'J' day 1-365 without leap days, 'N' day 0-365 */
    int32_t month, week, weekday, day; /* weekday 0 = Sunday, as the rule has it */
    int32_t time_s;
};

static bool rule_name(struct str *text)
{
    size_t n = 0;
    if (text->len && text->ptr[0] == '<') {
        while (n < text->len && text->ptr[n] != '>') {
            n++;
        }
        n++; /* the > itself */
    } else {
        while (n < text->len && ((text->ptr[n] | 32) >= 'a' && (text->ptr[n] | 32) <= 'z')) {
            n++;
        }
    }
    if (n < 3 || n > text->len) {
        return false;
    }
    *text = (struct str){text->ptr + n, text->len - n};
    return true;
}

static bool rule_char(struct str *text, char c)
{
    if (!text->len || text->ptr[0] != c) {
        return false;
    }
    *text = (struct str){text->ptr + 1, text->len - 1};
    return true;
}

static bool rule_number(struct str *text, int32_t max, int32_t *value)
{
    size_t n = 0;
    *value = 0;
    while (n < text->len && n < 4 && text->ptr[n] >= '0' && text->ptr[n] <= '9') {
        *value = *value * 10 + (text->ptr[n++] - '0');
    }
    *text = (struct str){text->ptr + n, text->len - n};
    return n && *value <= max;
}

/* [+-]hh[:mm[:ss]] */
static bool rule_time(struct str *text, int32_t *time_s)
{
    int32_t sign = rule_char(text, '-') ? -1 : 1;
    if (sign > 0) {
        rule_char(text, '+');
    }
    int32_t hours, minutes = 0, seconds = 0;
    if (!rule_number(text, 167, &hours) ||
        (rule_char(text, ':') && !rule_number(text, 59, &minutes)) ||
        (rule_char(text, ':') && !rule_number(text, 59, &seconds))) {
        return false;
    }
    *time_s = sign * (hours * 3600 + minutes * 60 + seconds);
    return true;
}

static bool rule_date(struct str *text, struct rule_day *rule)
{
    *rule = (struct rule_day){.kind = 'N', .time_s = 2 * 3600};
    if (!rule_char(text, ',')) {
        return false;
    }
    if (rule_char(text, 'M')) {
        rule->kind = 'M';
        if (!rule_number(text, 12, &rule->month) || !rule_char(text, '.') ||
            !rule_number(text, 5, &rule->week) || !rule_char(text, '.') ||
            !rule_number(text, 6, &rule->weekday) || !rule->month || !rule->week) {
            return false;
        }
    } else {
        rule->kind = rule_char(text, 'J') ? 'J' : 'N';
        if (!rule_number(text, 365, &rule->day)) {
            return false;
        }
    }
    return !rule_char(text, '/') || rule_time(text, &rule->time_s);
}

/* Local wall seconds at which the rule strikes in a year. */
static int64_t rule_strikes_s(const struct rule_day *rule, int32_t year)
{
    int64_t days;
    if (rule->kind == 'M') {
        days = days_from_civil(year, rule->month, 1);
        int32_t sunday0 = (weekday_of(days) + 1) % 7;
        days += (rule->weekday - sunday0 + 7) % 7 + 7 * (rule->week - 1);
        int64_t next_month = rule->month == 12 ? days_from_civil(year + 1, 1, 1)
                                               : days_from_civil(year, rule->month + 1, 1);
        days -= days >= next_month ? 7 : 0; /* week 5 = the last one */
    } else {
        days = days_from_civil(year, 1, 1) + rule->day;
        if (rule->kind == 'J') {
            int64_t march = days_from_civil(year, 3, 1);
            bool leap = march - days_from_civil(year, 1, 1) == 60;
            days -= !(leap && rule->day >= 60);
        }
    }
    return days * DAY_S + rule->time_s;
}

static void rule_add(struct tz *tz, int64_t at_s, int32_t offset_s)
{
    struct tz_transition *last = &tz->transitions[tz->count - 1];
    if (at_s > last->at_s && offset_s != last->offset_s) {
        tz->transitions[tz->count++] = (struct tz_transition){.at_s = at_s, .offset_s = offset_s};
    }
}

/* Appends the rule's transitions; false when the text is not a rule. */
static bool rule_expand(struct str text, struct tz *tz)
{
    int32_t standard_s, summer_s;
    if (!rule_name(&text) || !rule_time(&text, &standard_s)) {
        return false;
    }
    standard_s = -standard_s; /* POSIX counts westwards */
    if (!text.len) {
        return true; /* no summer time: the last transition goes on for ever */
    }
    summer_s = standard_s + 3600;
    struct rule_day begin, end;
    if (!rule_name(&text)) {
        return false;
    }
    if (text.len && text.ptr[0] != ',') {
        if (!rule_time(&text, &summer_s)) {
            return false;
        }
        summer_s = -summer_s;
    }
    if (!rule_date(&text, &begin) || !rule_date(&text, &end) || text.len) {
        return false;
    }
    struct tz_local last;
    int64_t last_s = tz->transitions[tz->count - 1].at_s;
    /* nobody asks about years before 1970 */
    tz_to_local(tz, last_s < 0 ? 0 : last_s, &last);
    for (int32_t year = last.year; year <= TZ_LAST_YEAR; year++) {
        int64_t begin_s = rule_strikes_s(&begin, year) - standard_s;
        int64_t end_s = rule_strikes_s(&end, year) - summer_s;
        if (begin_s < end_s) {
            rule_add(tz, begin_s, summer_s);
            rule_add(tz, end_s, standard_s);
        } else { /* the southern summer spans the new year */
            rule_add(tz, end_s, standard_s);
            rule_add(tz, begin_s, summer_s);
        }
    }
    return true;
}

static enum status parse_tzif(struct cursor in, struct arena *arena, struct tz *tz)
{
    struct tzif_header header = {0};
    unsigned time_bytes = 4;
    take_header(&in, &header);
    if (!in.failed && header.version) { /* version 2 on: the same again with 8-byte times */
        skip(&in, header.time * 5 + header.type * 6 + header.chars + header.leap * 8 +
                      header.isstd + header.isut);
        time_bytes = 8;
        take_header(&in, &header);
    }
    if (in.failed) {
        return STATUS_INVALID;
    }
    size_t room = header.time + 1 + 2 * (TZ_LAST_YEAR - 1970 + 1);
    tz->transitions = arena_alloc(arena, room * sizeof(*tz->transitions));
    tz->count = 0;
    if (!tz->transitions) {
        return STATUS_NO_MEMORY;
    }
    take_block(&in, &header, time_bytes, tz);
    if (in.failed) {
        return STATUS_INVALID;
    }
    if (time_bytes == 8 && in.at < in.end && *in.at == '\n') {
        struct str footer = {(const char *)in.at + 1, (size_t)(in.end - in.at - 1)};
        struct str rule = str_cut(&footer, '\n');
        int64_t last_s = tz->transitions[tz->count - 1].at_s;
        if (last_s > TZ_FAR_S) {
            return STATUS_INVALID;
        }
        if (rule.len && !rule_expand(rule, tz)) {
            return STATUS_INVALID;
        }
    }
    return STATUS_OK;
}

static bool name_is_safe(struct str name)
{
    if (!name.len || name.len > 64 || name.ptr[0] == '/') {
        return false;
    }
    for (size_t i = 0; i < name.len; i++) {
        char c = name.ptr[i];
        bool letter = (c | 32) >= 'a' && (c | 32) <= 'z';
        /* without dots no name can leave the folder */
        if (!letter && !(c >= '0' && c <= '9') && c != '_' && c != '-' && c != '+' && c != '/') {
            return false;
        }
    }
    return true;
}

enum status tz_load(struct str name, struct arena *arena, struct tz *tz)
{
    *tz = (struct tz){.name = arena_strdup(arena, name)};
    if (!tz->name.ptr) {
        return STATUS_NO_MEMORY;
    }
    if (str_eq(name, STR("UTC"))) { /* also where no zoneinfo is installed */
        tz->transitions = arena_calloc(arena, 1, sizeof(*tz->transitions));
        if (!tz->transitions) {
            return STATUS_NO_MEMORY;
        }
        tz->transitions[0].at_s = INT64_MIN;
        tz->count = 1;
        return STATUS_OK;
    }
    if (!name_is_safe(name)) {
        return STATUS_NOT_FOUND;
    }
    char path[128];
    snprintf(path, sizeof(path), ZONEINFO_FOLDER "%.*s", STR_ARG(name));
    FILE *file = fopen(path, "rb");
    if (!file) {
        return STATUS_NOT_FOUND;
    }
    unsigned char *bytes = malloc(TZ_FILE_BYTES);
    size_t len = bytes ? fread(bytes, 1, TZ_FILE_BYTES, file) : 0;
    bool is_file = !ferror(file); /* a folder opens, but does not read */
    fclose(file);
    enum status status = STATUS_NO_MEMORY;
    if (bytes) {
        status = !is_file ? STATUS_NOT_FOUND
                          : parse_tzif((struct cursor){.at = bytes, .end = bytes + len}, arena, tz);
    }
    free(bytes);
    return status;
}

/* --- asking --------------------------------------------------------------------------------- */

static uint32_t segment_of(const struct tz *tz, int64_t utc_s)
{
    uint32_t low = 0, high = tz->count; /* transitions[low].at_s <= utc_s < [high].at_s */
    while (high - low > 1) {
        uint32_t middle = low + (high - low) / 2;
        if (tz->transitions[middle].at_s <= utc_s) {
            low = middle;
        } else {
            high = middle;
        }
    }
    return low;
}

int32_t tz_offset_s(const struct tz *tz, int64_t utc_s)
{
    return tz->transitions[segment_of(tz, utc_s)].offset_s;
}

void tz_to_local(const struct tz *tz, int64_t utc_s, struct tz_local *local)
{
    int64_t local_s = utc_s + tz_offset_s(tz, utc_s);
    int64_t days = floor_div(local_s, DAY_S);
    int32_t second = (int32_t)(local_s - days * DAY_S);
    civil_from_days(days, &local->year, &local->month, &local->day);
    local->hour = second / 3600;
    local->minute = second / 60 % 60;
    local->second = second % 60;
    local->weekday = weekday_of(days);
}

/* Local wall seconds -> UTC: the first segment that has not ended when the clock shows them. A
 * wall time that is skipped lies before that segment's start: then the start. */
static int64_t utc_of_wall_s(const struct tz *tz, int64_t wall_s)
{
    uint32_t i = segment_of(tz, wall_s - 2 * DAY_S);
    while (i + 1 < tz->count &&
           wall_s - tz->transitions[i].offset_s >= tz->transitions[i + 1].at_s) {
        i++;
    }
    int64_t utc_s = wall_s - tz->transitions[i].offset_s;
    return utc_s < tz->transitions[i].at_s ? tz->transitions[i].at_s : utc_s;
}

int64_t tz_from_local(const struct tz *tz, const struct tz_local *local)
{
    int64_t days = days_from_civil(local->year, local->month, local->day);
    return utc_of_wall_s(tz,
                         days * DAY_S + local->hour * 3600 + local->minute * 60 + local->second);
}

static int64_t local_days(const struct tz *tz, int64_t utc_s)
{
    return floor_div(utc_s + tz_offset_s(tz, utc_s), DAY_S);
}

int64_t tz_day_start_s(const struct tz *tz, int64_t utc_s, int days)
{
    return utc_of_wall_s(tz, (local_days(tz, utc_s) + days) * DAY_S);
}

int64_t tz_week_start_s(const struct tz *tz, int64_t utc_s)
{
    int64_t days = local_days(tz, utc_s);
    return utc_of_wall_s(tz, (days - weekday_of(days)) * DAY_S);
}

int64_t tz_month_start_s(const struct tz *tz, int64_t utc_s)
{
    int32_t year, month, day;
    civil_from_days(local_days(tz, utc_s), &year, &month, &day);
    return utc_of_wall_s(tz, days_from_civil(year, month, 1) * DAY_S);
}

void tz_day_of(const struct tz *tz, int64_t utc_s, struct tz_day *day)
{
    uint32_t segment = segment_of(tz, utc_s);
    const struct tz_transition *at = &tz->transitions[segment];
    int64_t days = floor_div(utc_s + at->offset_s, DAY_S);
    day->from_s = days * DAY_S - at->offset_s;
    day->until_s = day->from_s + DAY_S;
    if (day->from_s < at->at_s) {
        day->from_s = at->at_s;
    }
    if (segment + 1 < tz->count && day->until_s > at[1].at_s) {
        day->until_s = at[1].at_s;
    }
    day->day_start_s = tz_day_start_s(tz, utc_s, 0);
    day->week_start_s = tz_week_start_s(tz, utc_s);
    day->month_start_s = tz_month_start_s(tz, utc_s);
}

int tz_hour_of_week(const struct tz *tz, int64_t utc_s)
{
    struct tz_local local;
    tz_to_local(tz, utc_s, &local);
    return local.weekday * 24 + local.hour;
}
