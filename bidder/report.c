/* Counters of one worker on their way to Redis.
 *
 *   add -> cell (day, row; table of CELLS) --second--> HINCRBY ... --lost connection--> added back
 *   person -> batch of PERSONS   --full or a tick---> PFADD per row --lost connection--> gone (reach
 *                                                                is an estimate)
 *
 * Nothing goes out in one burst: Redis answers in order, so that auctions would wait behind it. The
 * table is walked in PARTS, each once a second; a batch of persons is small.
 *
 * A late reply counts as taken: most such commands were. Cells of a day that has ended are freed
 * once they are empty. The table is allocated at create; a full one drops and counts. */
#include "bidder/report.h"

#include <inttypes.h>
#include <stdlib.h>

#include "bidder/base/bug.h"
#include "bidder/base/hash.h"

#define CELLS      4096 /* rows of a day a worker touches; a power of two */
#define PROBES     32
#define PERSONS    128  /* in one batch: Redis takes some 0.3 us for each */
#define PENDING    8192 /* HINCRBY in flight */
#define PARTS      16   /* of the table; divides CELLS */
#define PART_US    (1000000 / PARTS)
#define ANNOUNCE_S 3600 /* the row and its expiry are sent again */
#define KEEP_S     (400 * 86400)
#define KEY_BYTES  96
#define NAME_BYTES 512
#define ZONE_BYTES 64 /* of an IANA name: the longest has 32 */

METRIC_DEFINE(report, REPORT_METRICS);

struct report_cell {
    int32_t day; /* 20261122; 0 = free */
    struct report_row row;
    bool dirty;
    int64_t announced_s; /* mono second of the last SADD and EXPIRE; 0 = never */
    int64_t counts[REPORT_COLUMN_COUNT];
};

struct report_seen {
    uint32_t cell;
    bool in_target;
    struct person_key person;
};

/* One HINCRBY whose reply is awaited. */
struct report_pending {
    struct report *report;
    struct report_pending *next; /* free list */
    uint32_t cell;
    int32_t day; /* the cell may have been given away meanwhile */
    enum report_column column;
    int64_t n;
};

struct report {
    struct redis *redis;
    const struct catalog *(*catalog)(void *context);
    void *context;
    int64_t next_part_us;
    uint32_t next_part;
    int32_t day; /* of the seconds [day_start_s, day_end_s) */
    int64_t day_start_s, day_end_s;
    char zone[ZONE_BYTES]; /* the catalog's timezone, by which the days are */
    int64_t zone_next_s;   /* mono second at which it is told again */
    uint32_t pending_used;
    bool closing; /* destroyed; freed with the last reply */
    uint32_t person_count;
    struct report_pending *free;
    struct report_cell cells[CELLS];
    struct report_seen persons[PERSONS];
    struct report_pending pending[PENDING];
};

const char *report_column_name(unsigned column)
{
    static const char *const names[] = {
#define X(name, field, text) field,
        REPORT_COLUMNS(X)
#undef X
    };
    return column < REPORT_COLUMN_COUNT ? names[column] : "?";
}

void report_put_key(struct buf *out, int32_t day, struct str part)
{
    buf_printf(out, "{r%" PRId32 "}", day);
    buf_put_str(out, part);
}

size_t report_row_text(const struct report_row *row, char text[REPORT_ROW_TEXT])
{
    int len = snprintf(text, REPORT_ROW_TEXT, "%" PRIx32 ".%" PRIx32 ".%" PRIx32 ".%" PRIx32,
                       row->line_ref, row->exchange_ref, row->deal_ref, row->brand_ref);
    return (size_t)len;
}

static bool hex_u32(struct str text, uint32_t *value)
{
    uint32_t sum = 0;
    if (!text.len || text.len > 8) {
        return false;
    }
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        if (c >= '0' && c <= '9') {
            sum = sum << 4 | (uint32_t)(c - '0');
        } else if (c >= 'a' && c <= 'f') {
            sum = sum << 4 | (uint32_t)(c - 'a' + 10);
        } else {
            return false;
        }
    }
    *value = sum;
    return true;
}

bool report_row_parse(struct str text, struct report_row *row)
{
    return hex_u32(str_cut(&text, '.'), &row->line_ref) &&
           hex_u32(str_cut(&text, '.'), &row->exchange_ref) &&
           hex_u32(str_cut(&text, '.'), &row->deal_ref) && hex_u32(text, &row->brand_ref);
}

struct report *report_create(struct redis *redis, const struct catalog *(*catalog)(void *context),
                             void *context)
{
    struct report *report = calloc(1, sizeof(*report));
    if (!report) {
        return NULL;
    }
    report->redis = redis;
    report->catalog = catalog;
    report->context = context;
    for (uint32_t i = 0; i < PENDING; i++) {
        report->pending[i].report = report;
        report->pending[i].next = report->free;
        report->free = &report->pending[i];
    }
    return report;
}

void report_destroy(struct report **report)
{
    if (*report && (*report)->pending_used) {
        (*report)->closing = true;
    } else {
        free(*report);
    }
    *report = NULL;
}

/* --- adding ---------------------------------------------------------------------------------- */

static int32_t day_of(struct report *report, int64_t now_s)
{
    if (now_s < report->day_start_s || now_s >= report->day_end_s) {
        const struct catalog *catalog = report->catalog(report->context);
        struct tz_local local;
        report->day_start_s = tz_day_start_s(&catalog->tz, now_s, 0);
        report->day_end_s = tz_day_start_s(&catalog->tz, now_s, 1);
        tz_to_local(&catalog->tz, now_s, &local);
        report->day = (local.year * 100 + local.month) * 100 + local.day;
    }
    return report->day;
}

static bool same_row(const struct report_row *a, const struct report_row *b)
{
    return a->line_ref == b->line_ref && a->exchange_ref == b->exchange_ref &&
           a->deal_ref == b->deal_ref && a->brand_ref == b->brand_ref;
}

static bool is_stale(const struct report_cell *cell, int32_t today)
{
    return cell->day < today && !cell->dirty;
}

/* The cell of a row today; CELLS when the table is full around it. */
static uint32_t cell_of(struct report *report, const struct report_row *row, int64_t now_s)
{
    int32_t day = day_of(report, now_s);
    struct str key = {(const char *)row, sizeof(*row)};
    uint32_t at = (uint32_t)hash_text(key) + (uint32_t)day, empty = CELLS;
    for (uint32_t probe = 0; probe < PROBES; probe++) {
        uint32_t index = (at + probe) & (CELLS - 1);
        struct report_cell *cell = &report->cells[index];
        if (cell->day == day && same_row(&cell->row, row)) {
            return index;
        }
        if (empty == CELLS && is_stale(cell, day)) {
            empty = index;
        }
    }
    if (empty != CELLS) {
        report->cells[empty] = (struct report_cell){.day = day, .row = *row};
    }
    return empty;
}

void report_add(struct report *report, const struct report_row *row, enum report_column column,
                int64_t n, int64_t now_s)
{
    if (!report || !n) {
        return;
    }
    uint32_t cell = cell_of(report, row, now_s);
    if (cell == CELLS) {
        METRIC_INC(report_metrics, REPORT_FULL);
        return;
    }
    report->cells[cell].counts[column] += n;
    report->cells[cell].dirty = true;
}

/* --- sending --------------------------------------------------------------------------------- */

/* {r<day>}<kind><row> */
static struct str cell_key(const struct report_cell *cell, const char *kind, char *key)
{
    char row[REPORT_ROW_TEXT];
    report_row_text(&cell->row, row);
    int len = snprintf(key, KEY_BYTES, "{r%" PRId32 "}%s%s", cell->day, kind, row);
    return (struct str){key, (size_t)len};
}

static struct str day_key(int32_t day, const char *part, char *key)
{
    int len = snprintf(key, KEY_BYTES, "{r%" PRId32 "}%s", day, part);
    return (struct str){key, (size_t)len};
}

static bool send(struct report *report, struct str key, redis_fn *done, void *owner)
{
    bool sent = redis_send(report->redis, key, 0, done, owner);
    metric_add(&report_metrics, sent ? REPORT_SENT : REPORT_FAILED, 0, 1);
    return sent;
}

static bool send_expire(struct report *report, struct str key)
{
    redis_begin(report->redis, 3);
    redis_arg(report->redis, STR("EXPIRE"));
    redis_arg(report->redis, key);
    redis_arg_i64(report->redis, KEEP_S);
    return send(report, key, NULL, NULL);
}

static bool send_name(struct report *report, int32_t day, char kind, uint32_t ref, struct str name)
{
    char key[KEY_BYTES], field[16];
    struct str names = day_key(day, "names", key);
    if (!ref || !name.len) {
        return true;
    }
    int len = snprintf(field, sizeof(field), "%c%" PRIx32, kind, ref);
    redis_begin(report->redis, 4);
    redis_arg(report->redis, STR("HSET"));
    redis_arg(report->redis, names);
    redis_arg(report->redis, (struct str){field, (size_t)len});
    redis_arg(report->redis, name);
    return send(report, names, NULL, NULL);
}

static struct str line_name(const struct catalog *catalog, uint32_t ref, char *text)
{
    for (uint32_t i = 0; i < catalog->line_count; i++) {
        const struct catalog_line *line = &catalog->lines[i];
        if (line->ref == ref) {
            int len = snprintf(text, NAME_BYTES, "%.*s|%.*s|%.*s", STR_ARG(line->id),
                               STR_ARG(catalog->campaigns[line->campaign].id),
                               STR_ARG(catalog->brands[line->brand].id));
            return (struct str){text, len < NAME_BYTES ? (size_t)len : NAME_BYTES - 1};
        }
    }
    return STR_NONE;
}

/* Reports are read without the catalog of then: names go with the counts. Once an hour a row. */
static bool send_names(struct report *report, const struct report_cell *cell)
{
    const struct catalog *catalog = report->catalog(report->context);
    const struct report_row *row = &cell->row;
    char text[NAME_BYTES];
    struct str exchange = STR_NONE, deal = STR_NONE, brand = STR_NONE;
    for (uint32_t i = 0; i < catalog->exchange_count && !exchange.len; i++) {
        struct str id = catalog->exchanges[i].id;
        exchange = catalog->exchanges[i].ref == row->exchange_ref ? id : STR_NONE;
    }
    for (uint32_t i = 0; row->deal_ref && i < catalog->deal_count && !deal.len; i++) {
        struct str id = catalog->deals[i].id;
        deal = cap_ref32(id) == row->deal_ref ? id : STR_NONE;
    }
    for (uint32_t i = 0; i < catalog->brand_count && !brand.len; i++) {
        brand = catalog->brands[i].ref == row->brand_ref ? catalog->brands[i].id : STR_NONE;
    }
    return send_name(report, cell->day, 'e', row->exchange_ref, exchange) &&
           send_name(report, cell->day, 'd', row->deal_ref, deal) &&
           send_name(report, cell->day, 'b', row->brand_ref, brand) &&
           send_name(report, cell->day, 'l', row->line_ref,
                     line_name(catalog, row->line_ref, text));
}

/* The row in the day's set, names, and how long it is all kept. */
static bool announce(struct report *report, struct report_cell *cell, int64_t now_s)
{
    char key[KEY_BYTES], row[REPORT_ROW_TEXT];
    struct str rows = day_key(cell->day, "rows", key);
    if (cell->announced_s && now_s < cell->announced_s + ANNOUNCE_S) {
        return true;
    }
    redis_begin(report->redis, 3);
    redis_arg(report->redis, STR("SADD"));
    redis_arg(report->redis, rows);
    redis_arg(report->redis, (struct str){row, report_row_text(&cell->row, row)});
    if (!send(report, rows, NULL, NULL) || !send_expire(report, rows) ||
        !send_names(report, cell) || !send_expire(report, day_key(cell->day, "names", key)) ||
        !send_expire(report, cell_key(cell, "c:", key)) ||
        !send_expire(report, cell_key(cell, "p:", key)) ||
        !send_expire(report, cell_key(cell, "t:", key))) {
        return false;
    }
    /* The first time the keys may not have been there yet: their expiry comes with the next. */
    cell->announced_s = cell->announced_s ? now_s : now_s - ANNOUNCE_S + 60;
    return true;
}

static void on_added(void *owner, enum redis_result result, const struct redis_value *value)
{
    struct report_pending *pending = owner;
    struct report *report = pending->report;
    bool refused = value && value->type == REDIS_ERROR;
    if (result == REDIS_DISCONNECTED || result == REDIS_OVERLOADED || refused) {
        struct report_cell *cell = &report->cells[pending->cell];
        METRIC_INC(report_metrics, REPORT_FAILED);
        if (cell->day == pending->day) {
            cell->counts[pending->column] += pending->n;
            cell->dirty = true;
        }
    }
    pending->next = report->free;
    report->free = pending;
    report->pending_used--;
    if (report->closing && !report->pending_used) {
        free(report);
    }
}

static bool send_count(struct report *report, uint32_t index, enum report_column column)
{
    struct report_cell *cell = &report->cells[index];
    struct report_pending *pending = report->free;
    char key[KEY_BYTES];
    struct str counts = cell_key(cell, "c:", key);
    if (!pending) {
        return false;
    }
    redis_begin(report->redis, 4);
    redis_arg(report->redis, STR("HINCRBY"));
    redis_arg(report->redis, counts);
    redis_arg(report->redis, str_from(report_column_name(column)));
    redis_arg_i64(report->redis, cell->counts[column]);
    report->free = pending->next;
    report->pending_used++;
    pending->cell = index;
    pending->day = cell->day;
    pending->column = column;
    pending->n = cell->counts[column];
    if (!send(report, counts, on_added, pending)) {
        pending->next = report->free;
        report->free = pending;
        report->pending_used--;
        return false;
    }
    cell->counts[column] = 0;
    return true;
}

/* The persons of one batch that saw this cell's row, from the first of them on. */
static void send_persons(struct report *report, uint32_t first, const char *kind, bool in_target)
{
    uint32_t cell = report->persons[first].cell, count = 0;
    char key[KEY_BYTES];
    struct str persons = cell_key(&report->cells[cell], kind, key);
    for (uint32_t i = first; i < report->person_count; i++) {
        const struct report_seen *seen = &report->persons[i];
        count += seen->cell == cell && (seen->in_target || !in_target);
    }
    if (!count) {
        return;
    }
    redis_begin(report->redis, 2 + count);
    redis_arg(report->redis, STR("PFADD"));
    redis_arg(report->redis, persons);
    for (uint32_t i = first; i < report->person_count; i++) {
        const struct report_seen *seen = &report->persons[i];
        if (seen->cell == cell && (seen->in_target || !in_target)) {
            redis_arg(report->redis,
                      (struct str){(const char *)seen->person.bytes, PERSON_KEY_BYTES});
        }
    }
    (void)send(report, persons, NULL, NULL); /* counted; reach is an estimate */
}

/* One command per row and kind; a person is at home in the command of its row's first one. */
static void flush_persons(struct report *report)
{
    for (uint32_t i = 0; i < report->person_count && redis_is_up(report->redis); i++) {
        bool is_first = true;
        for (uint32_t before = 0; before < i && is_first; before++) {
            is_first = report->persons[before].cell != report->persons[i].cell;
        }
        if (is_first) {
            send_persons(report, i, "p:", false);
            send_persons(report, i, "t:", true);
        }
    }
    report->person_count = 0;
}

void report_person(struct report *report, const struct report_row *row,
                   const struct person_key *person, bool in_target, int64_t now_s)
{
    if (!report) {
        return;
    }
    uint32_t cell = cell_of(report, row, now_s);
    if (cell == CELLS) {
        METRIC_INC(report_metrics, REPORT_FULL);
        return;
    }
    report->persons[report->person_count++] =
        (struct report_seen){.cell = cell, .in_target = in_target, .person = *person};
    report->cells[cell].dirty = true; /* so that it is announced, and stays until then */
    if (report->person_count == PERSONS) {
        flush_persons(report);
    }
}

static bool send_cell(struct report *report, uint32_t index, int64_t now_s)
{
    struct report_cell *cell = &report->cells[index];
    if (!announce(report, cell, now_s)) {
        return false;
    }
    for (enum report_column column = 0; column < REPORT_COLUMN_COUNT; column++) {
        if (cell->counts[column] && !send_count(report, index, column)) {
            return false;
        }
    }
    cell->dirty = false;
    return true;
}

/* Readers of reports have no catalog: today is what its timezone says. Told once an hour. */
static void tell_zone(struct report *report, int64_t now_s)
{
    const struct catalog *catalog = report->catalog(report->context);
    struct str zone = catalog ? catalog->tz.name : STR_NONE;
    if (!zone.len || zone.len >= ZONE_BYTES) {
        return;
    }
    if (!str_eq(zone, str_from(report->zone))) {
        memcpy(report->zone, zone.ptr, zone.len);
        report->zone[zone.len] = '\0';
        report->zone_next_s = 0;
        report->day_start_s = report->day_end_s = 0; /* another zone's days begin elsewhere */
    }
    if (now_s < report->zone_next_s) {
        return;
    }
    redis_begin(report->redis, 4);
    redis_arg(report->redis, STR("HSET"));
    redis_arg(report->redis, STR(REPORT_KEY));
    redis_arg(report->redis, STR(REPORT_TIMEZONE));
    redis_arg(report->redis, zone);
    if (send(report, STR(REPORT_KEY), NULL, NULL)) {
        report->zone_next_s = now_s + ANNOUNCE_S;
    }
}

/* Of the next part of the table, what has changed since its last turn. */
static void flush_part(struct report *report, int64_t now_s)
{
    uint32_t from = report->next_part * (CELLS / PARTS);
    report->next_part = (report->next_part + 1) % PARTS;
    if (!redis_is_up(report->redis)) {
        return; /* counters wait */
    }
    tell_zone(report, now_s);
    for (uint32_t i = from; i < from + CELLS / PARTS; i++) {
        if (report->cells[i].dirty && !send_cell(report, i, now_s)) {
            return; /* the rest goes out a second later */
        }
    }
}

void report_tick(struct report *report, int64_t now_us)
{
    if (!report || now_us < report->next_part_us) {
        return;
    }
    /* Persons first: their cells are kept, until then, by being dirty. */
    flush_persons(report);
    int64_t parts = (now_us - report->next_part_us) / PART_US + 1;
    for (int64_t i = 0; i < parts && i < PARTS; i++) {
        flush_part(report, now_us / 1000000);
    }
    report->next_part_us =
        parts > PARTS ? now_us + PART_US : report->next_part_us + parts * PART_US;
}

void report_flush(struct report *report)
{
    for (uint32_t i = 0; report && i < PARTS; i++) {
        flush_persons(report);
        flush_part(report, report->next_part_us / 1000000);
    }
}
