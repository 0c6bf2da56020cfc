/* jointcapctl report: what was delivered, to how many, how often, for how much. */
#include <inttypes.h>
#include <time.h>

#include "bidder/base/bug.h"
#include "bidder/base/clock.h"
#include "bidder/base/tz.h"
#include "bidder/ctl.h"
#include "bidder/ctl_store.h"
#include "bidder/report_read.h"

#define REDIS_TIMEOUT_US 5000000
#define ARENA_BYTES      ((size_t)64 << 10)
#define ARENA_LIMIT      ((size_t)1 << 30)
#define OUT_LIMIT        ((size_t)256 << 20)

enum format { FORMAT_TABLE, FORMAT_JSON, FORMAT_CSV };

/* --- figures made of counts ------------------------------------------------------------------- */

/* Micros per person; -1 = nobody. */
static int64_t cost_per_person(const struct report_group *group)
{
    return group->reach > 0 ? group->counts[REPORT_SPEND] / group->reach : -1;
}

/* Persons who saw it exactly times times (the last step: that often or more): those who reached
 * that exposure less those who went on to the next. */
static int64_t persons_at(const struct report_group *group, unsigned times)
{
    int64_t reached = group->counts[REPORT_SEEN_0 + times - 1];
    if (times == REPORT_SEEN_STEPS) {
        return reached;
    }
    int64_t went_on = group->counts[REPORT_SEEN_0 + times];
    return reached > went_on ? reached - went_on : 0;
}

/* Part of all impressions printed, in ten-thousandths of a percent. */
static int64_t share_micros(const struct report_group *group, int64_t all_impressions)
{
    __extension__ __int128 part = (__int128)group->counts[REPORT_IMPRESSIONS] * 100 * 1000000;
    return all_impressions ? (int64_t)(part / all_impressions) : 0;
}

/* Two decimals: figures for people. */
static int64_t rounded(int64_t micros)
{
    return (micros + (micros < 0 ? -5000 : 5000)) / 10000 * 10000;
}

static int64_t sum_of(const struct report_group *groups, uint32_t count, enum report_column column)
{
    int64_t sum = 0;
    for (uint32_t i = 0; i < count; i++) {
        sum += groups[i].counts[column];
    }
    return sum;
}

/* --- printing --------------------------------------------------------------------------------- */

static const enum report_column table_columns[] = {
    REPORT_PUSHES,      REPORT_RETURNS, REPORT_FORCED,   REPORT_BIDS,    REPORT_WINS,
    REPORT_IMPRESSIONS, REPORT_CLICKS,  REPORT_UNCAPPED, REPORT_SWAPPED,
};

static void put_cell(struct buf *out, int64_t micros, int width)
{
    struct buf text;
    buf_init(&text, 64);
    if (micros < 0) {
        buf_put_char(&text, '-');
    } else {
        buf_put_micros(&text, rounded(micros));
    }
    buf_printf(out, "  %*.*s", width, STR_ARG(buf_str(&text)));
    buf_deinit(&text);
}

static void print_table(struct buf *out, const struct report_query *query,
                        const struct report_group *groups, uint32_t count)
{
    int64_t all = sum_of(groups, count, REPORT_IMPRESSIONS);
    buf_printf(out, "%-28s", report_group_by_name(query->by));
    for (size_t i = 0; i < COUNT_OF(table_columns); i++) {
        buf_printf(out, "  %11s", report_column_name(table_columns[i]));
    }
    buf_printf(out, "  %7s  %10s  %11s  %12s  %10s\n", "share%", "reach", "reach in TA", "spend",
               "CPUV");
    for (uint32_t i = 0; i < count; i++) {
        const struct report_group *group = &groups[i];
        buf_printf(out, "%-28.*s", STR_ARG(group->label));
        for (size_t c = 0; c < COUNT_OF(table_columns); c++) {
            buf_printf(out, "  %11" PRId64, group->counts[table_columns[c]]);
        }
        put_cell(out, share_micros(group, all), 7);
        put_cell(out, group->reach < 0 ? -1 : group->reach * 1000000, 10);
        put_cell(out, group->reach_in_target < 0 ? -1 : group->reach_in_target * 1000000, 11);
        put_cell(out, group->counts[REPORT_SPEND], 12);
        put_cell(out, cost_per_person(group), 10);
        buf_put_char(out, '\n');
    }
}

static void print_frequency(struct buf *out, const struct report_group *groups, uint32_t count)
{
    buf_printf(out, "\n%-28s", "persons who saw it");
    for (unsigned times = 1; times <= REPORT_SEEN_STEPS; times++) {
        buf_printf(out, "  %8u%s", times, times == REPORT_SEEN_STEPS ? "+" : " ");
    }
    buf_put_char(out, '\n');
    for (uint32_t i = 0; i < count; i++) {
        buf_printf(out, "%-28.*s", STR_ARG(groups[i].label));
        for (unsigned times = 1; times <= REPORT_SEEN_STEPS; times++) {
            buf_printf(out, "  %8" PRId64 " ", persons_at(&groups[i], times));
        }
        buf_put_char(out, '\n');
    }
}

static void put_money(struct buf *out, int64_t micros)
{
    if (micros < 0) {
        BUF_PUT_LITERAL(out, "null");
    } else {
        buf_put_micros(out, micros);
    }
}

static void put_count(struct buf *out, int64_t count)
{
    if (count < 0) {
        BUF_PUT_LITERAL(out, "null");
    } else {
        buf_put_i64(out, count);
    }
}

static void print_json(struct buf *out, const struct report_query *query,
                       const struct report_group *groups, uint32_t count)
{
    int64_t all = sum_of(groups, count, REPORT_IMPRESSIONS);
    for (uint32_t i = 0; i < count; i++) {
        const struct report_group *group = &groups[i];
        buf_printf(out, "{\"%s\":\"", report_group_by_name(query->by));
        buf_put_json_escaped(out, group->label);
        buf_put_char(out, '"');
        for (unsigned column = 0; column < REPORT_SEEN_0; column++) {
            buf_printf(out, ",\"%s\":", report_column_name(column));
            if (column == REPORT_SPEND) {
                buf_put_micros(out, group->counts[column]);
            } else {
                buf_put_i64(out, group->counts[column]);
            }
        }
        BUF_PUT_LITERAL(out, ",\"share_percent\":");
        put_money(out, rounded(share_micros(group, all)));
        BUF_PUT_LITERAL(out, ",\"reach\":");
        put_count(out, group->reach);
        BUF_PUT_LITERAL(out, ",\"reach_in_target\":");
        put_count(out, group->reach_in_target);
        BUF_PUT_LITERAL(out, ",\"cost_per_person\":");
        put_money(out, cost_per_person(group));
        for (unsigned times = 1; times <= REPORT_SEEN_STEPS; times++) {
            buf_printf(out, "%s%" PRId64, times == 1 ? ",\"frequency\":[" : ",",
                       persons_at(group, times));
        }
        BUF_PUT_LITERAL(out, "]}\n");
    }
}

/* RFC 4180: quotes doubled; always quoted, so that a spreadsheet does not take an id for a sum. */
static void put_csv_text(struct buf *out, struct str text)
{
    buf_put_char(out, '"');
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] == '"') {
            buf_put_char(out, '"');
        }
        buf_put_char(out, text.ptr[i]);
    }
    buf_put_char(out, '"');
}

static void print_csv(struct buf *out, const struct report_query *query,
                      const struct report_group *groups, uint32_t count)
{
    buf_printf(out, "%s", report_group_by_name(query->by));
    for (unsigned column = 0; column < REPORT_SEEN_0; column++) {
        buf_printf(out, ",%s", report_column_name(column));
    }
    BUF_PUT_LITERAL(out, ",reach,reach_in_target,cost_per_person");
    for (unsigned times = 1; times <= REPORT_SEEN_STEPS; times++) {
        buf_printf(out, ",frequency_%u%s", times, times == REPORT_SEEN_STEPS ? "_or_more" : "");
    }
    BUF_PUT_LITERAL(out, "\r\n");
    for (uint32_t i = 0; i < count; i++) {
        const struct report_group *group = &groups[i];
        int64_t cost = cost_per_person(group);
        put_csv_text(out, group->label);
        for (unsigned column = 0; column < REPORT_SEEN_0; column++) {
            buf_put_char(out, ',');
            if (column == REPORT_SPEND) {
                buf_put_micros(out, group->counts[column]);
            } else {
                buf_put_i64(out, group->counts[column]);
            }
        }
        buf_put_char(out, ',');
        if (group->reach >= 0) {
            buf_put_i64(out, group->reach);
        }
        buf_put_char(out, ',');
        if (group->reach_in_target >= 0) {
            buf_put_i64(out, group->reach_in_target);
        }
        buf_put_char(out, ',');
        if (cost >= 0) {
            buf_put_micros(out, cost);
        }
        for (unsigned times = 1; times <= REPORT_SEEN_STEPS; times++) {
            buf_printf(out, ",%" PRId64, persons_at(group, times));
        }
        BUF_PUT_LITERAL(out, "\r\n");
    }
}

/* --- the command ------------------------------------------------------------------------------ */

/* 2026-11-22 or 20261122 */
static bool parse_day(const char *text, int32_t *day)
{
    int32_t value = 0;
    int digits = 0;
    for (; *text; text++) {
        if (*text == '-' && (digits == 4 || digits == 6)) {
            continue;
        }
        if (*text < '0' || *text > '9' || ++digits > 8) {
            return false;
        }
        value = value * 10 + (*text - '0');
    }
    *day = value;
    return digits == 8 && report_day_valid(value);
}

/* By the timezone of the catalog in use, which the bidders tell; the machine's own may be another. */
static int32_t today(struct redis_sync *redis, struct arena *arena)
{
    const struct str command[] = {STR("HGET"), STR(REPORT_KEY), STR(REPORT_TIMEZONE)};
    const struct redis_value *value = redis_sync_command(redis, COUNT_OF(command), command);
    struct tz tz;
    struct tz_local day;
    if (value && value->type == REDIS_STRING && !tz_load(value->text, arena, &tz)) {
        tz_to_local(&tz, clock_wall_us() / 1000000, &day);
        return (day.year * 100 + day.month) * 100 + day.day;
    }
    time_t now = time(NULL);
    struct tm local;
    localtime_r(&now, &local);
    fputs("jointcapctl report: no bidder has told the catalog's timezone: today is this "
          "machine's\n",
          stderr);
    return ((local.tm_year + 1900) * 100 + local.tm_mon + 1) * 100 + local.tm_mday;
}

/* from_day stays 0 when no day is given. */
static bool parse_query(const struct ctl_call *call, struct report_query *query)
{
    const char *by = ctl_value(call, "--by"), *campaign = ctl_value(call, "--campaign");
    const char *first = ctl_value(call, "--day"), *last = ctl_value(call, "--to");
    *query = (struct report_query){.by = REPORT_BY_COUNT, .campaign = str_from(campaign)};
    if (first && !parse_day(first, &query->from_day)) {
        fprintf(stderr, "jointcapctl report: \"%s\" is not a day; write 2026-11-22\n", first);
        return false;
    }
    if (last && !parse_day(last, &query->to_day)) {
        fprintf(stderr, "jointcapctl report: --to \"%s\" is not a day; write 2026-11-22\n", last);
        return false;
    }
    for (unsigned i = 0; i < REPORT_BY_COUNT; i++) {
        if (str_eq(str_from(by), str_from(report_group_by_name(i)))) {
            query->by = i;
        }
    }
    if (query->by == REPORT_BY_COUNT) {
        fprintf(stderr,
                "jointcapctl report: --by takes campaign, line, brand, medium, deal, day or "
                "total, not \"%s\"\n",
                by);
        return false;
    }
    return true;
}

static bool parse_format(const char *text, enum format *format)
{
    static const char *const names[] = {"table", "json", "csv"};
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        if (str_eq(str_from(text), str_from(names[i]))) {
            *format = (enum format)i;
            return true;
        }
    }
    fprintf(stderr, "jointcapctl report: --format takes table, json or csv, not \"%s\"\n", text);
    return false;
}

static int print_report(struct redis_sync *redis, struct report_query *query, enum format format,
                        struct arena *arena)
{
    struct report_group *groups;
    uint32_t count;
    if (!query->from_day) {
        query->from_day = today(redis, arena);
    }
    query->to_day = query->to_day ? query->to_day : query->from_day;
    if (query->to_day < query->from_day) {
        fputs("jointcapctl report: --to is before --day\n", stderr);
        return CTL_USAGE;
    }
    enum status status = report_read(redis, query, arena, &groups, &count);
    if (status) {
        fprintf(stderr, "jointcapctl report: reading from Redis failed: %s\n", status_name(status));
        return status == STATUS_IO ? CTL_UNREACHABLE : CTL_FAILED;
    }
    struct buf out;
    buf_init(&out, OUT_LIMIT);
    switch (format) {
    case FORMAT_TABLE:
        print_table(&out, query, groups, count);
        print_frequency(&out, groups, count);
        break;
    case FORMAT_JSON:
        print_json(&out, query, groups, count);
        break;
    case FORMAT_CSV:
        print_csv(&out, query, groups, count);
        break;
    }
    bool good = !buf_failed(&out) && (!out.len || fwrite(out.data, 1, out.len, stdout) == out.len);
    buf_deinit(&out);
    return good ? CTL_OK : CTL_FAILED;
}

static int run_report(const struct ctl_call *call)
{
    struct report_query query;
    struct arena arena;
    struct buf error;
    enum format format;
    const char *address = ctl_redis_address(call);
    int result = CTL_FAILED;
    if (!parse_query(call, &query) || !parse_format(ctl_value(call, "--format"), &format)) {
        return CTL_USAGE;
    }
    if (!arena_init(&arena, ARENA_BYTES, ARENA_LIMIT)) {
        return CTL_FAILED;
    }
    buf_init(&error, 4096);
    struct redis_sync *redis = redis_sync_connect(address, REDIS_TIMEOUT_US, &error);
    if (redis) {
        result = print_report(redis, &query, format, &arena);
    } else {
        fprintf(stderr, "jointcapctl: %s: %.*s\n", address, STR_ARG(buf_str(&error)));
        result = CTL_UNREACHABLE;
    }
    redis_sync_close(&redis);
    buf_deinit(&error);
    arena_deinit(&arena);
    return result;
}

static const struct ctl_option report_options[] = {
    CTL_REDIS_OPTION,
    {"--day", "DAY", "2026-11-22; today, in the catalog's timezone, when not given", NULL},
    {"--to", "DAY", "last day, when it is more than one", NULL},
    {"--by", "WHAT", "campaign, line, brand, medium, deal, day or total", "campaign"},
    {"--campaign", "ID", "only this campaign", NULL},
    {"--format", "FORMAT", "table, json (one object a line) or csv", "table"},
};
const struct ctl_command ctl_report = {
    .name = "report",
    .arguments = "",
    .summary = "print delivery, reach, frequency and spend",
    .help =
        "Prints what was delivered on a day, or from --day to --to: pushes, returns, must-fills,\n"
        "bids, wins, impressions, clicks, reach (different persons), reach in the brand's target\n"
        "audience, frequency distribution, spend and cost per person reached (CPUV). Days are "
        "those\n"
        "of the catalog's timezone. Reach is an estimate (HyperLogLog, standard error 0.81%). "
        "Counts\n"
        "reach Redis within a second or two.",
    CTL_OPTIONS(report_options),
    .run = run_report,
};
