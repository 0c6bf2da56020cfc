/* What single fields cannot see: contradictions, things nobody uses, ids whose hashes meet. Lines
 * and creatives are in catalog_check_line.c. */
#include "bidder/base/bug.h"
#include "bidder/catalog_reader.h"

const struct json_value *reader_at(const struct catalog_reader *reader, enum entity_kind kind,
                                   uint32_t index, const char *member)
{
    const struct json_value *object = reader->sets[kind].sources[index];
    const struct json_value *found = json_dom_get(object, str_from(member));
    return found ? found : object;
}

static const char *caps_of_same = "the same exposures";

/* --- refs ----------------------------------------------------------------------------------- */

struct ref_of {
    uint32_t ref, index;
};

static int compare_refs(const void *a, const void *b)
{
    const struct ref_of *left = a, *right = b;
    if (left->ref != right->ref) {
        return left->ref < right->ref ? -1 : 1;
    }
    return left->index < right->index ? -1 : left->index > right->index;
}

/* Stored exposures and tokens name entities by hashes of their ids. Two different ids with one hash
 * cannot be told apart, so one must be renamed. */
static void check_refs(struct catalog_reader *reader, enum entity_kind kind,
                       uint32_t (*ref_of_id)(struct str id))
{
    const struct entity_set *set = &reader->sets[kind];
    struct ref_of *refs = reader_scrap(reader, set->count, sizeof(*refs));
    if (!refs || !set->count) {
        return;
    }
    for (uint32_t i = 0; i < set->count; i++) {
        refs[i] = (struct ref_of){.ref = ref_of_id(set->ids[i]), .index = i};
    }
    qsort(refs, set->count, sizeof(*refs), compare_refs);
    for (uint32_t i = 1; i < set->count; i++) {
        struct str here = set->ids[refs[i].index], before = set->ids[refs[i - 1].index];
        if (refs[i].ref == refs[i - 1].ref && here.ptr && before.ptr && !str_eq(here, before)) {
            reader_error(reader, reader_at(reader, kind, refs[i].index, "id"),
                         "the hash of this %s's id meets that of \"%.*s\": change one of the two "
                         "ids",
                         entity_name(kind), STR_ARG(before));
        }
    }
}

/* Two budgets under one name in Redis would spend each other's money. */
static void check_budget_refs(struct catalog_reader *reader)
{
    struct ref_of *refs = reader_scrap(reader, reader->budget_count, sizeof(*refs));
    if (!refs || !reader->budget_count) {
        return;
    }
    for (uint32_t i = 0; i < reader->budget_count; i++) {
        refs[i] = (struct ref_of){.ref = reader->catalog->budgets[i].ref, .index = i};
    }
    qsort(refs, reader->budget_count, sizeof(*refs), compare_refs);
    for (uint32_t i = 1; i < reader->budget_count; i++) {
        struct str name = reader->catalog->budgets[refs[i].index].name;
        struct str other = reader->catalog->budgets[refs[i - 1].index].name;
        if (refs[i].ref == refs[i - 1].ref && !str_eq(name, other)) {
            reader_error(reader, reader->budgets[refs[i].index].source,
                         "the hash of the budget \"%.*s\" meets that of \"%.*s\": change one of "
                         "the two ids",
                         STR_ARG(name), STR_ARG(other));
        }
    }
}

static void check_all_refs(struct catalog_reader *reader)
{
    static const enum entity_kind kinds[] = {ENTITY_EXCHANGE, ENTITY_DEAL,     ENTITY_LINE,
                                             ENTITY_CREATIVE, ENTITY_ROTATION, ENTITY_SWAP,
                                             ENTITY_AUDIENCE, ENTITY_DMP};
    for (size_t i = 0; i < COUNT_OF(kinds); i++) {
        check_refs(reader, kinds[i], cap_ref32);
    }
    check_refs(reader, ENTITY_BRAND, cap_ref24);
    check_budget_refs(reader);
}

/* --- frequency caps ------------------------------------------------------------------------- */

struct cap_use {
    uint64_t members; /* sum of hashes of what the cap counts: equal for equal members */
    uint32_t count;
    uint32_t cap;
};

static int64_t window_length_s(const struct cap *cap)
{
    switch (cap->window) {
    case CAP_ROLLING:
        return cap->window_s;
    case CAP_CALENDAR_DAY:
        return 86400;
    case CAP_CALENDAR_WEEK:
        return 7 * 86400;
    case CAP_CALENDAR_MONTH:
        return 31 * 86400;
    case CAP_LIFETIME:
        break;
    }
    return INT64_MAX;
}

static int compare_uses(const void *a, const void *b)
{
    const struct cap_use *left = a, *right = b;
    if (left->members != right->members) {
        return left->members < right->members ? -1 : 1;
    }
    return left->cap < right->cap ? -1 : left->cap > right->cap;
}

/* Two caps on the same members: the longer window must allow more, or the shorter never acts. */
static void check_pair(struct catalog_reader *reader, uint32_t a, uint32_t b)
{
    const struct cap *caps = reader->catalog->caps;
    if (!caps[a].max || !caps[b].max || caps[a].identity != caps[b].identity ||
        !window_length_s(&caps[a]) || !window_length_s(&caps[b])) {
        return; /* unreadable ones were reported */
    }
    int64_t a_s = window_length_s(&caps[a]), b_s = window_length_s(&caps[b]);
    uint32_t shorter = a_s <= b_s ? a : b, longer = a_s <= b_s ? b : a;
    const struct json_value *at = reader_at(reader, ENTITY_CAP, shorter, "max");
    if (a_s == b_s && caps[a].window == caps[b].window && caps[a].max != caps[b].max) {
        reader_error(reader, at, "contradicts cap \"%.*s\": %s, the same window, another max",
                     STR_ARG(caps[longer].id), caps_of_same);
    } else if (a_s != b_s && caps[shorter].max > caps[longer].max) {
        reader_error(reader, at,
                     "contradicts cap \"%.*s\": a shorter window with a higher max (%u, there %u) "
                     "on %s",
                     STR_ARG(caps[longer].id), caps[shorter].max, caps[longer].max, caps_of_same);
    } else if (caps[shorter].max == caps[longer].max) {
        reader_warn(reader, at, "has no effect beside cap \"%.*s\", which allows no more on %s",
                    STR_ARG(caps[longer].id), caps_of_same);
    }
}

static void gather_uses(const struct catalog_reader *reader, struct cap_use *uses)
{
    for (int kind = 0; kind < ENTITY_KIND_COUNT; kind++) {
        const struct cap_pairs *pairs = &reader->cap_pairs[kind];
        for (uint32_t i = 0; i < pairs->count; i++) {
            uint32_t who[2] = {(uint32_t)kind, pairs->items[i].entity};
            uses[pairs->items[i].cap].members += hash_bytes(who, sizeof(who), 1);
            uses[pairs->items[i].cap].count++;
        }
    }
}

static void check_cap_alone(struct catalog_reader *reader, uint32_t index)
{
    const struct cap *cap = &reader->catalog->caps[index];
    const struct json_value *source = reader->sets[ENTITY_CAP].sources[index];
    bool max = json_dom_get(source, STR("max")), window = json_dom_get(source, STR("window"));
    bool interval = json_dom_get(source, STR("min_interval"));
    if (max && !window) {
        reader_error(reader, source, "\"window\" is missing: the time in which max holds");
    } else if (window && !max) {
        reader_error(reader, source, "\"max\" is missing: the exposures allowed in the window");
    } else if (!max && !interval) {
        reader_error(reader, source,
                     "expected \"max\" with \"window\", or \"min_interval\", or both");
    } else if (max && cap->max > 1 && cap->window == CAP_ROLLING && cap->window_s &&
               cap->min_interval_s > cap->window_s) {
        reader_warn(reader, reader_at(reader, ENTITY_CAP, index, "max"),
                    "can never be reached: min_interval is longer than the window");
    }
}

static void check_caps(struct catalog_reader *reader)
{
    uint32_t count = reader->catalog->cap_count;
    struct cap_use *uses = reader_scrap(reader, count, sizeof(*uses));
    if (!uses || !count) {
        return;
    }
    for (uint32_t i = 0; i < count; i++) {
        uses[i].cap = i;
        check_cap_alone(reader, i);
    }
    gather_uses(reader, uses);
    qsort(uses, count, sizeof(*uses), compare_uses);
    for (uint32_t i = 0; i < count; i++) {
        if (!uses[i].count) {
            reader_warn(reader, reader_at(reader, ENTITY_CAP, uses[i].cap, "id"),
                        "no advertiser, brand, campaign, line item or creative uses this cap");
            continue;
        }
        for (uint32_t j = i + 1; j < count && uses[j].members == uses[i].members; j++) {
            check_pair(reader, uses[i].cap, uses[j].cap);
        }
    }
}

/* --- exchanges, deals, audiences ------------------------------------------------------------ */

#define MAX_HEADER_BYTES 4096 /* few clients take more than 8 KiB of all headers */

static void check_exchanges(struct catalog_reader *reader)
{
    for (uint32_t i = 0; i < reader->catalog->exchange_count; i++) {
        const struct catalog_exchange *exchange = &reader->catalog->exchanges[i];
        if (exchange->margin_us >= exchange->tmax_us) {
            reader_error(reader, reader_at(reader, ENTITY_EXCHANGE, i, "margin_ms"),
                         "leaves no time to answer: tmax_ms is %" PRId64, exchange->tmax_us / 1000);
        }
        size_t bytes = 0;
        for (uint32_t h = 0; h < exchange->response_headers.count; h++) {
            bytes += exchange->response_headers.items[h].len + 2;
        }
        if (bytes > MAX_HEADER_BYTES) {
            reader_error(reader, reader_at(reader, ENTITY_EXCHANGE, i, "response_headers"),
                         "%zu bytes of headers with every answer are more than %d", bytes,
                         MAX_HEADER_BYTES);
        }
    }
}

/* Members that mean something to one way of buying only. */
static void only_for(struct catalog_reader *reader, uint32_t deal, const char *member,
                     enum buying_mode mode)
{
    const struct json_value *source = reader->sets[ENTITY_DEAL].sources[deal];
    const struct json_value *value = json_dom_get(source, str_from(member));
    const struct json_value *buying = json_dom_get(source, STR("buying"));
    if (value && buying && buying->type == JSON_STRING &&
        reader->catalog->deals[deal].buying != mode) {
        reader_error(reader, value, "\"%s\" is for %s deals only; this one is %.*s", member,
                     buying_mode_name(mode), STR_ARG(reader_found(reader, buying)));
    }
}

static void check_deal(struct catalog_reader *reader, uint32_t index)
{
    const struct catalog *catalog = reader->catalog;
    const struct catalog_deal *deal = &catalog->deals[index];
    only_for(reader, index, "day_price", BUYING_CPD);
    only_for(reader, index, "push_ratio", BUYING_PDB);
    if (deal->buying == BUYING_PDB && deal->push_ratio_micros > 1000000 &&
        !deal->impressions_per_day) {
        reader_warn(reader, reader_at(reader, ENTITY_DEAL, index, "push_ratio"),
                    "without \"impressions_per_day\" the guaranteed number cannot be kept");
    }
    if (deal->default_creative != CATALOG_NONE && deal->formats &&
        !(deal->formats >> catalog->creatives[deal->default_creative].type & 1)) {
        reader_error(reader, reader_at(reader, ENTITY_DEAL, index, "default_creative"),
                     "is none of the deal's formats");
    }
    if (!deal->lines.count) {
        reader_warn(reader, reader_at(reader, ENTITY_DEAL, index, "id"),
                    "no line item buys through this deal");
    }
}

/* An id may stand on several exchanges, but once on each. */
static void check_deal_ids(struct catalog_reader *reader)
{
    const struct entity_set *set = &reader->sets[ENTITY_DEAL];
    if (set->by_id.used == set->count) {
        return;
    }
    struct ref_of *refs = reader_scrap(reader, set->count, sizeof(*refs));
    if (!refs) {
        return;
    }
    for (uint32_t i = 0; i < set->count; i++) {
        uint32_t scope[2] = {cap_ref32(set->ids[i]), reader->catalog->deals[i].exchange};
        refs[i] = (struct ref_of){.ref = (uint32_t)hash_bytes(scope, sizeof(scope), 0), .index = i};
    }
    qsort(refs, set->count, sizeof(*refs), compare_refs);
    for (uint32_t i = 1; i < set->count; i++) {
        uint32_t here = refs[i].index, before = refs[i - 1].index;
        uint32_t exchange = reader->catalog->deals[here].exchange;
        if (exchange != CATALOG_NONE && exchange == reader->catalog->deals[before].exchange &&
            set->ids[here].ptr && str_eq(set->ids[here], set->ids[before])) {
            reader_error(reader, reader_at(reader, ENTITY_DEAL, here, "id"),
                         "exchange \"%.*s\" already has a deal \"%.*s\"",
                         STR_ARG(reader->catalog->exchanges[exchange].id), STR_ARG(set->ids[here]));
        }
    }
}

static void check_audiences(struct catalog_reader *reader)
{
    for (uint32_t i = 0; i < reader->catalog->audience_count; i++) {
        const struct audience_expr *expr = &reader->catalog->audiences[i].expr;
        if (!expr->any_segment_count && !expr->all_segment_count && !expr->none_segment_count &&
            !expr->any_audiences.count && !expr->all_audiences.count &&
            !expr->none_audiences.count) {
            reader_error(reader, reader->sets[ENTITY_AUDIENCE].sources[i],
                         "has no condition: everybody would be in it");
        }
    }
}

void reader_check(struct catalog_reader *reader)
{
    check_all_refs(reader);
    check_exchanges(reader);
    check_audiences(reader);
    check_caps(reader);
    check_deal_ids(reader);
    for (uint32_t i = 0; i < reader->catalog->deal_count; i++) {
        check_deal(reader, i);
    }
    reader_check_budgets(reader);
    reader_check_lines(reader);
    reader_check_creatives(reader);
    reader_check_rotations(reader);
    reader_check_swaps(reader);
}
