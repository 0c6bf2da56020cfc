#include "bidder/catalog_values.h"

#include "bidder/base/bug.h"

#define MAX_DURATION_S ((int64_t)100 * 365 * 86400)

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_alnum(char c)
{
    return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static int64_t unit_seconds(char unit)
{
    switch (unit) {
    case 's':
        return 1;
    case 'm':
        return 60;
    case 'h':
        return 3600;
    case 'd':
        return 86400;
    case 'w':
        return 7 * 86400;
    default:
        return 0;
    }
}

bool value_duration(struct str text, int64_t *seconds)
{
    int64_t sum = 0, smallest = INT64_MAX;
    size_t i = 0;
    while (i < text.len) {
        int64_t number = 0;
        size_t first = i;
        for (; i < text.len && is_digit(text.ptr[i]) && i - first < 12; i++) {
            number = number * 10 + (text.ptr[i] - '0');
        }
        int64_t unit = i > first && i < text.len ? unit_seconds(text.ptr[i]) : 0;
        /* Larger units first, so that "1h1h" and "5m1h" are not taken for what was meant. */
        if (!unit || unit >= smallest || number > MAX_DURATION_S / unit) {
            return false;
        }
        sum += number * unit;
        smallest = unit;
        i++;
    }
    if (sum <= 0 || sum > MAX_DURATION_S) {
        return false;
    }
    *seconds = sum;
    return true;
}

/* --- amounts -------------------------------------------------------------------------------- */

bool value_in_micros(struct str number)
{
    int64_t whole = 0, digits = 0,
            last = 0; /* digits before the point, all, up to the last not 0 */
    bool fraction = false;
    size_t i = 0;
    for (; i < number.len && number.ptr[i] != 'e' && number.ptr[i] != 'E'; i++) {
        fraction |= number.ptr[i] == '.';
        if (is_digit(number.ptr[i])) {
            digits++;
            whole += !fraction;
            last = number.ptr[i] == '0' ? last : digits;
        }
    }
    int64_t power = 0;
    if (i < number.len &&
        !str_to_i64((struct str){number.ptr + i + 1, number.len - i - 1}, &power)) {
        return true; /* far out of any range: that is what is wrong with it */
    }
    return last == 0 || power >= last - whole - 6;
}

/* --- dates ---------------------------------------------------------------------------------- */

/* count digits at *text; cuts them off. */
static bool take_number(struct str *text, size_t count, int32_t *number)
{
    if (text->len < count) {
        return false;
    }
    *number = 0;
    for (size_t i = 0; i < count; i++) {
        if (!is_digit(text->ptr[i])) {
            return false;
        }
        *number = *number * 10 + (text->ptr[i] - '0');
    }
    *text = (struct str){text->ptr + count, text->len - count};
    return true;
}

static bool take_char(struct str *text, char c)
{
    if (!text->len || text->ptr[0] != c) {
        return false;
    }
    *text = (struct str){text->ptr + 1, text->len - 1};
    return true;
}

static int32_t days_in_month(int32_t year, int32_t month)
{
    static const int8_t days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return days[month - 1] + (month == 2 && leap);
}

/* Days since 1970-01-01 of a day of the Gregorian calendar, by counting leap days. */
static int64_t days_since_epoch(int32_t year, int32_t month, int32_t day)
{
    static const int16_t before[] = {0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334};
    int64_t past = year - 1;
    int64_t leaps = past / 4 - past / 100 + past / 400 - (1969 / 4 - 1969 / 100 + 1969 / 400);
    bool after_february = month > 2 && days_in_month(year, 2) == 29;
    return (int64_t)(year - 1970) * 365 + leaps + before[month - 1] + after_february + day - 1;
}

/* "Z", "+08:00" or nothing; *has says whether there was one. */
static bool take_offset(struct str *text, bool *has, int32_t *offset_s)
{
    *has = false;
    *offset_s = 0;
    if (!text->len) {
        return true;
    }
    *has = true;
    if (take_char(text, 'Z') || take_char(text, 'z')) {
        return true;
    }
    bool west = text->ptr[0] == '-';
    int32_t hours, minutes;
    if (!(take_char(text, '+') || take_char(text, '-')) || !take_number(text, 2, &hours) ||
        !take_char(text, ':') || !take_number(text, 2, &minutes) || hours > 23 || minutes > 59) {
        return false;
    }
    *offset_s = (hours * 3600 + minutes * 60) * (west ? -1 : 1);
    return true;
}

/* What stands behind the T. */
static enum date_error read_time(struct str text, const struct tz *tz, struct tz_local *local,
                                 int64_t *utc_s)
{
    bool has_offset;
    int32_t offset_s;
    if (!take_number(&text, 2, &local->hour) || !take_char(&text, ':') ||
        !take_number(&text, 2, &local->minute)) {
        return DATE_FORM;
    }
    if (take_char(&text, ':') && !take_number(&text, 2, &local->second)) {
        return DATE_FORM;
    }
    if (!take_offset(&text, &has_offset, &offset_s) || text.len) {
        return DATE_FORM;
    }
    if (local->hour > 23 || local->minute > 59 || local->second > 59) {
        return DATE_NO_SUCH_DAY;
    }
    if (!has_offset) {
        *utc_s = tz_from_local(tz, local);
        return DATE_OK;
    }
    *utc_s = days_since_epoch(local->year, local->month, local->day) * 86400 + local->hour * 3600 +
             local->minute * 60 + local->second - offset_s;
    return DATE_OK;
}

enum date_error value_date(struct str text, const struct tz *tz, bool is_end, int64_t *utc_s)
{
    struct tz_local local = {0};
    if (!take_number(&text, 4, &local.year) || !take_char(&text, '-') ||
        !take_number(&text, 2, &local.month) || !take_char(&text, '-') ||
        !take_number(&text, 2, &local.day)) {
        return DATE_FORM;
    }
    if (local.year < 2000 || local.year > 2199 || local.month < 1 || local.month > 12 ||
        local.day < 1 || local.day > days_in_month(local.year, local.month)) {
        return DATE_NO_SUCH_DAY;
    }
    if (take_char(&text, 'T') || take_char(&text, 't') || take_char(&text, ' ')) {
        return read_time(text, tz, &local, utc_s);
    }
    if (text.len) {
        return DATE_FORM;
    }
    *utc_s = tz_from_local(tz, &local);
    if (is_end) {
        *utc_s = tz_day_start_s(tz, *utc_s, 1);
    }
    return DATE_OK;
}

/* --- dayparts ------------------------------------------------------------------------------- */

static int day_number(struct str text)
{
    static const char names[7][4] = {"mon", "tue", "wed", "thu", "fri", "sat", "sun"};
    for (int day = 0; day < 7; day++) {
        if (str_eq_nocase(text, str_from(names[day]))) {
            return day;
        }
    }
    return -1;
}

bool value_days(struct str text, uint8_t *days)
{
    if (str_eq_nocase(text, STR("all"))) {
        *days = 0x7f;
        return true;
    }
    uint8_t mask = 0;
    bool more = true;
    while (more) {
        more = text.len && memchr(text.ptr, ',', text.len);
        struct str range = str_trim(str_cut(&text, ','));
        bool is_range = range.len && memchr(range.ptr, '-', range.len);
        int from = day_number(str_trim(str_cut(&range, '-')));
        int to = is_range ? day_number(str_trim(range)) : from;
        if (from < 0 || to < 0) {
            return false;
        }
        for (int day = from;; day = (day + 1) % 7) {
            mask |= (uint8_t)(1u << day);
            if (day == to) {
                break;
            }
        }
    }
    *days = mask;
    return true;
}

bool value_hours(struct str text, uint32_t *hours)
{
    uint32_t mask = 0;
    bool more = true;
    while (more) {
        more = text.len && memchr(text.ptr, ',', text.len);
        struct str range = str_trim(str_cut(&text, ','));
        bool is_range = range.len && memchr(range.ptr, '-', range.len);
        struct str first = str_trim(str_cut(&range, '-'));
        int64_t from, to;
        if (!str_to_i64(first, &from) || from < 0 || from > 23 || first.len > 2) {
            return false;
        }
        to = from + 1;
        if (is_range && (!str_to_i64(str_trim(range), &to) || to < 0 || to > 24 || to == from)) {
            return false;
        }
        for (int64_t hour = from; hour != to % 24 || hour == from;) {
            mask |= 1u << hour;
            hour = (hour + 1) % 24;
            if (hour == to % 24) {
                break;
            }
        }
    }
    *hours = mask;
    return true;
}

/* --- guesses -------------------------------------------------------------------------------- */

#define DISTANCE_MAX 64

static uint32_t least(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

uint32_t value_distance(struct str a, struct str b, uint32_t limit)
{
    size_t gap = a.len > b.len ? a.len - b.len : b.len - a.len;
    if (gap > limit || a.len > DISTANCE_MAX || b.len > DISTANCE_MAX) {
        return limit + 1;
    }
    /* Rows i-2, i-1, i of the table of prefixes; swapped neighbours count once. */
    uint32_t rows[3][DISTANCE_MAX + 1];
    for (size_t j = 0; j <= b.len; j++) {
        rows[0][j] = (uint32_t)j;
    }
    for (size_t i = 1; i <= a.len; i++) {
        uint32_t *row = rows[i % 3], *above = rows[(i + 2) % 3], *older = rows[(i + 1) % 3];
        uint32_t best = row[0] = (uint32_t)i;
        for (size_t j = 1; j <= b.len; j++) {
            char x = str_ascii_lower(a.ptr[i - 1]), y = str_ascii_lower(b.ptr[j - 1]);
            row[j] = least(above[j - 1] + (x != y), 1 + least(above[j], row[j - 1]));
            if (i > 1 && j > 1 && x == str_ascii_lower(b.ptr[j - 2]) &&
                y == str_ascii_lower(a.ptr[i - 2])) {
                row[j] = least(row[j], older[j - 2] + 1);
            }
            best = least(best, row[j]);
        }
        if (best > limit) {
            return limit + 1;
        }
    }
    return least(rows[a.len % 3][b.len], limit + 1);
}

uint32_t value_guess_limit(size_t length)
{
    return length <= 3 ? 1 : length <= 8 ? 2 : 3;
}

/* --- ids ------------------------------------------------------------------------------------ */

/* Bytes of the character at text[i] when it is one of those; else 0. */
static size_t unprintable(struct str text, size_t i)
{
    const unsigned char *c = (const unsigned char *)text.ptr + i;
    size_t left = text.len - i;
    if (c[0] < ' ' || c[0] == 0x7f) {
        return 1;
    }
    if (c[0] == 0xc2 && left > 1 && c[1] < 0xa0) { /* U+0080 to U+009F */
        return 2;
    }
    bool turns = c[0] == 0xe2 && left > 2 && /* U+202A to U+202E, U+2066 to U+2069 */
                 ((c[1] == 0x80 && c[2] >= 0xaa && c[2] <= 0xae) ||
                  (c[1] == 0x81 && c[2] >= 0xa6 && c[2] <= 0xa9));
    return turns ? 3 : 0;
}

bool value_printable(struct str text)
{
    for (size_t i = 0; i < text.len; i++) {
        if (unprintable(text, i)) {
            return false;
        }
    }
    return true;
}

void value_make_printable(char *text, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        memset(text + i, '?', unprintable((struct str){text, len}, i));
    }
}

/* --- addresses ------------------------------------------------------------------------------ */

bool value_domain(struct str text)
{
    if (text.len < 3 || text.len > 253 || !memchr(text.ptr, '.', text.len)) {
        return false;
    }
    size_t label = 0;
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        if (c == '.') {
            if (label == 0 || text.ptr[i - 1] == '-') {
                return false;
            }
            label = 0;
        } else if (is_alnum(c) || ((c == '-' || c == '_') && label)) {
            label++;
        } else {
            return false;
        }
    }
    return label > 0 && text.ptr[text.len - 1] != '-';
}

bool value_url(struct str text)
{
    struct str rest = text;
    if (str_starts(text, STR("https://"))) {
        rest = (struct str){text.ptr + 8, text.len - 8};
    } else if (str_starts(text, STR("http://"))) {
        rest = (struct str){text.ptr + 7, text.len - 7};
    } else {
        return false;
    }
    if (!rest.len || text.len > 2048 || !(is_alnum(rest.ptr[0]) || rest.ptr[0] == '[')) {
        return false;
    }
    for (size_t i = 0; i < rest.len; i++) {
        unsigned char c = (unsigned char)rest.ptr[i];
        if (c <= ' ' || c == 0x7f || c == '"' || c == '<' || c == '>' || c == '\\') {
            return false;
        }
    }
    return true;
}
