/* jointcapctl audience count: an expression over segments, held against what Redis holds. SCAN
 * walks the key space in the order of a keyed hash, so that its beginning is a random sample of it.
 *
 *   expr := and ('|' and)*     and := not ('&' not)*     not := '!' not | '(' expr ')' | NAME */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

#include "bidder/base/bug.h"
#include "bidder/base/clock.h"
#include "bidder/ctl_audience.h"
#include "frequency/cap_book.h"
#include "frequency/freq_codec.h"

#define MAX_NODES  256
#define MAX_DEPTH  64
#define SCAN_COUNT 1000

enum node_kind { NODE_SEGMENT, NODE_NOT, NODE_AND, NODE_OR };

struct node {
    enum node_kind kind;
    uint32_t segment;     /* cap_ref32 */
    uint16_t left, right; /* nodes */
};

struct expression {
    struct str text; /* what is left of it */
    struct node nodes[MAX_NODES];
    uint16_t count;
    const char *problem; /* the first one */
};

/* --- parsing -------------------------------------------------------------------------------- */

static uint16_t add_node(struct expression *expr, struct node node)
{
    if (expr->count == MAX_NODES) {
        expr->problem = expr->problem ? expr->problem : "the expression is too long";
        return 0;
    }
    expr->nodes[expr->count] = node;
    return expr->count++;
}

static bool take(struct expression *expr, char c)
{
    expr->text = str_trim(expr->text);
    if (!expr->text.len || expr->text.ptr[0] != c) {
        return false;
    }
    expr->text = (struct str){expr->text.ptr + 1, expr->text.len - 1};
    return true;
}

static uint16_t parse_or(struct expression *expr, int depth);

static uint16_t parse_name(struct expression *expr)
{
    size_t len = 0;
    expr->text = str_trim(expr->text);
    while (len < expr->text.len && !memchr("&|!() \t", expr->text.ptr[len], 7)) {
        len++;
    }
    if (!len) {
        expr->problem = expr->problem ? expr->problem : "a segment is missing";
        return 0;
    }
    struct str name = {expr->text.ptr, len};
    expr->text = (struct str){expr->text.ptr + len, expr->text.len - len};
    return add_node(expr, (struct node){.kind = NODE_SEGMENT, .segment = cap_ref32(name)});
}

static uint16_t parse_not(struct expression *expr, int depth)
{
    if (depth > MAX_DEPTH) {
        expr->problem = "the expression is nested too deeply";
        return 0;
    }
    if (take(expr, '!')) {
        uint16_t of = parse_not(expr, depth + 1);
        return add_node(expr, (struct node){.kind = NODE_NOT, .left = of});
    }
    if (take(expr, '(')) {
        uint16_t inner = parse_or(expr, depth + 1);
        if (!take(expr, ')') && !expr->problem) {
            expr->problem = "a ) is missing";
        }
        return inner;
    }
    return parse_name(expr);
}

static uint16_t parse_and(struct expression *expr, int depth)
{
    uint16_t left = parse_not(expr, depth);
    while (!expr->problem && take(expr, '&')) {
        uint16_t right = parse_not(expr, depth);
        left = add_node(expr, (struct node){.kind = NODE_AND, .left = left, .right = right});
    }
    return left;
}

static uint16_t parse_or(struct expression *expr, int depth)
{
    uint16_t left = parse_and(expr, depth);
    while (!expr->problem && take(expr, '|')) {
        uint16_t right = parse_and(expr, depth);
        left = add_node(expr, (struct node){.kind = NODE_OR, .left = left, .right = right});
    }
    return left;
}

/* --- matching ------------------------------------------------------------------------------- */

/* Children stand before their parents: one pass. The root is the last node. */
static bool matches(const struct expression *expr, const struct freq_view *view)
{
    bool values[MAX_NODES];
    for (uint16_t i = 0; i < expr->count; i++) {
        const struct node *node = &expr->nodes[i];
        switch (node->kind) {
        case NODE_SEGMENT:
            values[i] = freq_has_segment(view, node->segment);
            break;
        case NODE_NOT:
            values[i] = !values[node->left];
            break;
        case NODE_AND:
            values[i] = values[node->left] && values[node->right];
            break;
        case NODE_OR:
            values[i] = values[node->left] || values[node->right];
            break;
        }
    }
    return expr->count && values[expr->count - 1];
}

struct counting {
    const struct expression *expr;
    struct freq_view *view; /* scratch */
    struct freq_slab slab;  /* scratch; owned */
    int64_t now_s;
    uint64_t keys, records, matched, odd; /* records: that have a profile */
    bool refused;
};

static void on_record(void *owner, uint32_t index, const struct redis_value *value)
{
    struct counting *counting = owner;
    struct freq_view *view = counting->view;
    struct freq_links links = {.count = 0};
    struct freq_record record;
    uint64_t unknown = 0;
    const struct freq_profile profile = {
        .now_s = counting->now_s, .view = view, .links = &links, .unknown = &unknown};
    (void)index;
    view->withdrawn = false;
    view->segment_count = view->muted_count = view->answer_count = view->max_contacts_per_day = 0;
    counting->slab.used = 0;
    if (freq_codec_record(value, &counting->slab, &record, &profile) != STATUS_OK) {
        counting->odd++;
        return;
    }
    if (record.field_count == record.exposure_count) {
        return; /* only counts */
    }
    counting->records++;
    freq_codec_sort_segments(view);
    counting->matched += !view->withdrawn && matches(counting->expr, view);
}

/* Where SCAN goes on; its keys are queued to be read. False: not a SCAN reply. */
static bool take_scan(struct counting *counting, const struct redis_value *value, struct buf *keys,
                      char cursor[24])
{
    if (!value || value->type != REDIS_ARRAY || value->count != 2 ||
        value->items[0].text.len >= 24 || value->items[1].type != REDIS_ARRAY) {
        return false;
    }
    memcpy(cursor, value->items[0].text.ptr, value->items[0].text.len);
    cursor[value->items[0].text.len] = '\0';
    buf_reset(keys);
    for (uint32_t i = 0; i < value->items[1].count; i++) {
        struct str key = value->items[1].items[i].text;
        counting->keys++;
        if (freq_codec_is_key(key)) {
            buf_put_str(keys, key);
        }
    }
    return !buf_failed(keys);
}

static bool read_records(struct counting *counting, struct redis_sync *sync, const struct buf *keys)
{
    for (size_t at = 0; at < keys->len; at += PERSON_KEY_BYTES) {
        struct str argv[] = {STR("HGETALL"), {keys->data + at, PERSON_KEY_BYTES}};
        if (!redis_sync_queue(sync, 2, argv) &&
            (!redis_sync_flush(sync, on_record, counting) || !redis_sync_queue(sync, 2, argv))) {
            return false;
        }
    }
    return redis_sync_flush(sync, on_record, counting);
}

/* sample: how many profiles of this master suffice; 0 = all. */
static bool scan(struct counting *counting, struct redis_sync *sync, uint32_t master,
                 uint64_t sample, bool *all)
{
    char cursor[24] = "0";
    struct buf keys;
    bool good = true;
    uint64_t before = counting->records;
    buf_init(&keys, (size_t)16 << 20);
    do {
        struct str argv[] = {STR("SCAN"), str_from(cursor), STR("COUNT"), STR("1000")};
        good = take_scan(counting, redis_sync_command_at(sync, master, 4, argv), &keys, cursor) &&
               read_records(counting, sync, &keys);
    } while (good && strcmp(cursor, "0") != 0 && (!sample || counting->records - before < sample));
    *all = *all && strcmp(cursor, "0") == 0;
    buf_deinit(&keys);
    return good;
}

static int64_t keys_of(struct redis_sync *sync, uint32_t master)
{
    struct str size[] = {STR("DBSIZE")};
    const struct redis_value *value = redis_sync_command_at(sync, master, 1, size);
    return value && value->type == REDIS_INT ? value->integer : -1;
}

/* Every master of a cluster gives its part of the sample, so that the parts weigh alike. */
static bool scan_all(struct counting *counting, struct redis_sync *sync, uint64_t sample, bool *all,
                     int64_t *keys)
{
    uint32_t masters = redis_sync_masters(sync);
    *keys = 0;
    *all = true;
    for (uint32_t i = 0; i < masters; i++) {
        int64_t part = keys_of(sync, i);
        if (part < 0) {
            return false;
        }
        *keys += part;
    }
    for (uint32_t i = 0; i < masters; i++) {
        int64_t part = keys_of(sync, i);
        uint64_t wanted =
            sample && *keys > 0 ? (uint64_t)((double)sample * (double)part / (double)*keys) + 1 : 0;
        if (part < 0 || !scan(counting, sync, i, wanted, all)) {
            return false;
        }
    }
    return masters > 0;
}

static void print_result(const struct counting *counting, bool all, int64_t keys)
{
    if (all) {
        printf("%" PRIu64 " ids match (all %" PRIu64 " stored profiles read)\n", counting->matched,
               counting->records);
    } else {
        double share = (double)counting->matched / (double)counting->keys;
        double off = 1.96 * sqrt(share * (1 - share) / (double)counting->keys);
        printf("about %.0f ids match (+/- %.0f, 95%%): %" PRIu64 " of %" PRIu64
               " profiles in a random sample of %" PRIu64 " out of %" PRId64 " keys\n",
               share * (double)keys, off * (double)keys, counting->matched, counting->records,
               counting->keys, keys);
    }
    if (counting->odd) {
        printf("%" PRIu64 " records could not be read\n", counting->odd);
    }
}

int audience_count(const struct ctl_call *call, struct ctl_store *store, const char *expression)
{
    struct expression expr = {.text = str_from(expression)};
    const char *sample_text = ctl_value(call, "--sample");
    int64_t sample, keys;
    bool all = false;
    (void)parse_or(&expr, 0);
    expr.text = str_trim(expr.text);
    if (!expr.problem && expr.text.len) {
        expr.problem = "an operator is missing";
    }
    if (expr.problem) {
        fprintf(stderr, "jointcapctl: %s at \"%.*s\"\n", expr.problem, STR_ARG(expr.text));
        return CTL_USAGE;
    }
    if (!str_to_i64(str_from(sample_text), &sample) || sample < 0) {
        fprintf(stderr, "jointcapctl: --sample takes a number, not \"%s\"\n", sample_text);
        return CTL_USAGE;
    }
    struct counting counting = {.expr = &expr,
                                .view = calloc(1, sizeof(*counting.view)),
                                .now_s = clock_wall_us() / 1000000};
    int result = CTL_FAILED;
    if (counting.view && scan_all(&counting, store->sync, (uint64_t)sample, &all, &keys)) {
        print_result(&counting, all, keys);
        result = CTL_OK;
    } else {
        fputs("jointcapctl: redis: connection lost or an unexpected answer\n", stderr);
        result = CTL_UNREACHABLE;
    }
    free(counting.view);
    free(counting.slab.items);
    return result;
}
