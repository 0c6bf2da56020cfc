/* Redis -> rows with names -> groups. A row belongs to one group; a group's reach is that of its
 * rows' HyperLogLogs united by Redis (PFCOUNT of many keys). */
#include "bidder/report_read.h"

#include <stdlib.h>

#include "bidder/base/bug.h"
#include "bidder/base/clock.h"

#define MAX_DAYS       400
#define MAX_UNION_KEYS 20000

struct named {
    struct str field, name; /* "l1a2b" -> "line|campaign|brand" */
};

struct entry {
    struct str label;
    struct str row; /* text of the row's refs */
    int32_t day;
    int64_t counts[REPORT_COLUMN_COUNT];
};

struct reading {
    struct redis_sync *redis;
    const struct report_query *query;
    struct arena *arena;
    struct named *names; /* of the day being read; arena */
    uint32_t name_count;
    struct entry *entries; /* heap */
    uint32_t count, capacity;
    enum status status;
};

const char *report_group_by_name(unsigned by)
{
    static const char *const names[] = {"total",  "campaign", "line", "brand",
                                        "medium", "deal",     "day"};
    _Static_assert(COUNT_OF(names) == REPORT_BY_COUNT, "one name each");
    return by < REPORT_BY_COUNT ? names[by] : NULL;
}

/* --- days ------------------------------------------------------------------------------------ */

static int days_of_month(int year, int month)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return days[month - 1] + (month == 2 && leap);
}

bool report_day_valid(int32_t day)
{
    int year = day / 10000, month = day / 100 % 100, date = day % 100;
    return year >= 1970 && year <= 9999 && month >= 1 && month <= 12 && date >= 1 &&
           date <= days_of_month(year, month);
}

int32_t report_day_next(int32_t day)
{
    int year = day / 10000, month = day / 100 % 100, date = day % 100;
    if (date < days_of_month(year, month)) {
        return day + 1;
    }
    return month < 12 ? (year * 100 + month + 1) * 100 + 1 : ((year + 1) * 100 + 1) * 100 + 1;
}

/* --- one day --------------------------------------------------------------------------------- */

static const struct redis_value *ask(struct reading *reading, uint32_t argc, const struct str *argv)
{
    const struct redis_value *value = redis_sync_command(reading->redis, argc, argv);
    if (!value) {
        reading->status = STATUS_IO;
    }
    return value;
}

static struct str day_key(struct reading *reading, int32_t day, const char *part, struct str row)
{
    struct buf key;
    buf_init(&key, 256);
    report_put_key(&key, day, str_from(part));
    buf_put_str(&key, row);
    struct str copy = arena_strdup(reading->arena, buf_str(&key));
    buf_deinit(&key);
    if (!copy.ptr) {
        reading->status = STATUS_NO_MEMORY;
    }
    return copy;
}

static int by_field(const void *a, const void *b)
{
    const struct named *x = a, *y = b;
    size_t len = x->field.len < y->field.len ? x->field.len : y->field.len;
    int order = memcmp(x->field.ptr, y->field.ptr, len);
    return order ? order : (x->field.len > y->field.len) - (x->field.len < y->field.len);
}

static void read_names(struct reading *reading, int32_t day)
{
    struct str argv[] = {STR("HGETALL"), day_key(reading, day, "names", STR_NONE)};
    reading->name_count = 0;
    const struct redis_value *value = reading->status ? NULL : ask(reading, 2, argv);
    if (!value || value->type != REDIS_ARRAY) {
        return;
    }
    reading->names = arena_calloc(reading->arena, value->count / 2 + 1, sizeof(struct named));
    for (uint32_t i = 0; reading->names && i + 1 < value->count; i += 2) {
        struct named *named = &reading->names[reading->name_count++];
        named->field = arena_strdup(reading->arena, value->items[i].text);
        named->name = arena_strdup(reading->arena, value->items[i + 1].text);
        if (!named->field.ptr || !named->name.ptr) {
            reading->name_count--;
            reading->status = STATUS_NO_MEMORY;
            return;
        }
    }
    if (reading->name_count) {
        qsort(reading->names, reading->name_count, sizeof(struct named), by_field);
    }
}

/* The name of a ref, its hex digits when it has none, "-" for no ref. */
static struct str name_of(struct reading *reading, char kind, uint32_t ref)
{
    char text[16];
    int len = snprintf(text, sizeof(text), "%c%x", kind, ref);
    struct named key = {.field = {text, (size_t)len}};
    const struct named *found =
        reading->name_count
            ? bsearch(&key, reading->names, reading->name_count, sizeof(key), by_field)
            : NULL;
    if (found) {
        return found->name;
    }
    return ref ? arena_strdup(reading->arena, (struct str){text + 1, (size_t)len - 1}) : STR("-");
}

static struct str campaign_of(struct str line)
{
    struct str id = str_cut(&line, '|'), campaign = str_cut(&line, '|');
    return campaign.len ? campaign : id;
}

static struct str label_of(struct reading *reading, const struct report_row *row, struct str day,
                           struct str line)
{
    switch (reading->query->by) {
    case REPORT_BY_TOTAL:
    case REPORT_BY_COUNT:
        return STR("total");
    case REPORT_BY_CAMPAIGN:
        return campaign_of(line);
    case REPORT_BY_LINE:
        return str_cut(&line, '|');
    case REPORT_BY_BRAND:
        return name_of(reading, 'b', row->brand_ref);
    case REPORT_BY_MEDIUM:
        return name_of(reading, 'e', row->exchange_ref);
    case REPORT_BY_DEAL:
        return name_of(reading, 'd', row->deal_ref);
    case REPORT_BY_DAY:
        return day;
    }
    return day;
}

static struct entry *add_entry(struct reading *reading)
{
    if (reading->count == reading->capacity) {
        uint32_t capacity = reading->capacity ? reading->capacity * 2 : 64;
        struct entry *entries = realloc(reading->entries, capacity * sizeof(entries[0]));
        if (!entries) {
            reading->status = STATUS_NO_MEMORY;
            return NULL;
        }
        reading->entries = entries;
        reading->capacity = capacity;
    }
    struct entry *entry = &reading->entries[reading->count++];
    *entry = (struct entry){.label = STR_NONE};
    return entry;
}

static void read_counts(struct reading *reading, struct entry *entry)
{
    struct str argv[] = {STR("HGETALL"), day_key(reading, entry->day, "c:", entry->row)};
    const struct redis_value *value = reading->status ? NULL : ask(reading, 2, argv);
    for (uint32_t i = 0; value && value->type == REDIS_ARRAY && i + 1 < value->count; i += 2) {
        for (unsigned column = 0; column < REPORT_COLUMN_COUNT; column++) {
            if (str_eq(value->items[i].text, str_from(report_column_name(column)))) {
                (void)str_to_i64(value->items[i + 1].text, &entry->counts[column]);
            }
        }
    }
}

static void read_row(struct reading *reading, int32_t day, struct str text)
{
    struct report_row row;
    char digits[16];
    if (!report_row_parse(text, &row)) {
        return;
    }
    int len = snprintf(digits, sizeof(digits), "%d", (int)day);
    struct str line = name_of(reading, 'l', row.line_ref);
    struct str label = label_of(
        reading, &row, arena_strdup(reading->arena, (struct str){digits, (size_t)len}), line);
    if (reading->query->campaign.len && !str_eq(campaign_of(line), reading->query->campaign)) {
        return;
    }
    struct entry *entry = add_entry(reading);
    if (entry) {
        entry->label = label;
        entry->day = day;
        entry->row = text;
        read_counts(reading, entry);
    }
}

static void read_day(struct reading *reading, int32_t day)
{
    read_names(reading, day);
    struct str argv[] = {STR("SMEMBERS"), day_key(reading, day, "rows", STR_NONE)};
    const struct redis_value *value = reading->status ? NULL : ask(reading, 2, argv);
    if (!value || value->type != REDIS_ARRAY) {
        return;
    }
    uint32_t count = value->count;
    struct str *rows = arena_calloc(reading->arena, count + 1, sizeof(rows[0]));
    for (uint32_t i = 0; rows && i < count; i++) {
        rows[i] = arena_strdup(reading->arena, value->items[i].text);
    }
    for (uint32_t i = 0; rows && i < count && !reading->status; i++) {
        read_row(reading, day, rows[i]);
    }
}

/* --- groups ---------------------------------------------------------------------------------- */

static int by_label(const void *a, const void *b)
{
    const struct entry *x = a, *y = b;
    size_t len = x->label.len < y->label.len ? x->label.len : y->label.len;
    int order = len ? memcmp(x->label.ptr, y->label.ptr, len) : 0;
    return order ? order : (x->label.len > y->label.len) - (x->label.len < y->label.len);
}

/* A cluster unites only what lies on one slot, and each day is a slot: the days' unions are brought
 * to one, under names of our own that go by themselves. */
#define UNION_TTL_S "60"

static bool told(struct reading *reading, uint32_t argc, const struct str *argv)
{
    const struct redis_value *value = reading->status ? NULL : ask(reading, argc, argv);
    return value && value->type != REDIS_ERROR;
}

static bool copy_union(struct reading *reading, struct str from, struct str to)
{
    struct str get[] = {STR("GET"), from};
    const struct redis_value *value = reading->status ? NULL : ask(reading, COUNT_OF(get), get);
    if (!value || value->type != REDIS_STRING) {
        return false;
    }
    struct str bytes = arena_strdup(reading->arena, value->text);
    struct str set[] = {STR("SET"), to, bytes, STR("EX"), STR(UNION_TTL_S)};
    struct str drop[] = {STR("DEL"), from};
    return bytes.ptr && told(reading, COUNT_OF(set), set) && told(reading, COUNT_OF(drop), drop);
}

/* argv: PFCOUNT, then the keys of the entries, each day's together in its own slot. */
static int64_t united_over_slots(struct reading *reading, const struct entry *entries,
                                 uint32_t count, struct str *argv)
{
    struct str unions[1 + MAX_DAYS] = {STR("PFCOUNT")};
    char mark[32];
    uint32_t days = 0;
    int len = snprintf(mark, sizeof(mark), "union:%llx", (unsigned long long)clock_wall_us());
    struct str part = {mark, (size_t)len};
    for (int32_t day = reading->query->from_day; day <= reading->query->to_day && days < MAX_DAYS;
         day = report_day_next(day)) {
        struct str here = day_key(reading, day, "", part);
        struct str make[] = {STR("PFADD"), here};
        struct str keep[] = {STR("EXPIRE"), here, STR(UNION_TTL_S)};
        uint32_t keys = 0;
        struct str *merge = malloc((count + 2) * sizeof(merge[0]));
        for (uint32_t i = 0; merge && i < count; i++) {
            if (entries[i].day == day) {
                merge[2 + keys++] = argv[1 + i];
            }
        }
        bool good = merge && !reading->status;
        if (good && keys) {
            merge[0] = STR("PFMERGE");
            merge[1] = here;
            struct str there = day_key(reading, 0, mark, day_key(reading, day, "", STR_NONE));
            good = told(reading, 2, make) && told(reading, 3, keep) &&
                   told(reading, 2 + keys, merge) && copy_union(reading, here, there);
            unions[1 + days++] = there;
        }
        free(merge);
        if (!good) {
            return -1;
        }
    }
    const struct redis_value *value = ask(reading, 1 + days, unions);
    return value && value->type == REDIS_INT ? value->integer : -1;
}

static int64_t united(struct reading *reading, const struct entry *entries, uint32_t count,
                      const char *kind)
{
    if (count > MAX_UNION_KEYS) {
        return -1;
    }
    struct str *argv = malloc((count + 1) * sizeof(argv[0]));
    int64_t reach = -1;
    if (argv) {
        argv[0] = STR("PFCOUNT");
        for (uint32_t i = 0; i < count; i++) {
            argv[i + 1] = day_key(reading, entries[i].day, kind, entries[i].row);
        }
        const struct redis_value *value = reading->status ? NULL : ask(reading, count + 1, argv);
        if (value && value->type == REDIS_ERROR && str_starts(value->text, STR("CROSSSLOT"))) {
            reach = united_over_slots(reading, entries, count, argv);
        } else {
            reach = value && value->type == REDIS_INT ? value->integer : -1;
        }
    }
    free(argv);
    return reach;
}

static uint32_t make_groups(struct reading *reading, struct report_group *groups)
{
    uint32_t made = 0;
    for (uint32_t first = 0, next; first < reading->count; first = next) {
        struct report_group *group = &groups[made++];
        group->label = reading->entries[first].label;
        for (next = first;
             next < reading->count && str_eq(reading->entries[next].label, group->label); next++) {
            for (unsigned column = 0; column < REPORT_COLUMN_COUNT; column++) {
                group->counts[column] += reading->entries[next].counts[column];
            }
        }
        group->reach = united(reading, &reading->entries[first], next - first, "p:");
        group->reach_in_target = united(reading, &reading->entries[first], next - first, "t:");
    }
    return made;
}

enum status report_read(struct redis_sync *redis, const struct report_query *query,
                        struct arena *arena, struct report_group **groups, uint32_t *count)
{
    struct reading reading = {.redis = redis, .query = query, .arena = arena};
    int days = 0;
    *count = 0;
    for (int32_t day = query->from_day; day <= query->to_day && days < MAX_DAYS && !reading.status;
         day = report_day_next(day), days++) {
        read_day(&reading, day);
    }
    if (reading.count) {
        qsort(reading.entries, reading.count, sizeof(reading.entries[0]), by_label);
    }
    *groups = arena_calloc(arena, reading.count + 1, sizeof(**groups));
    if (!*groups) {
        reading.status = STATUS_NO_MEMORY;
    } else if (!reading.status) {
        *count = make_groups(&reading, *groups);
    }
    free(reading.entries);
    return reading.status;
}
