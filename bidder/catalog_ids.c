/* Finds every entity of a catalog, gives it its index, and resolves ids to indexes. */
#include "bidder/base/bug.h"
#include "bidder/catalog_reader.h"
#include "bidder/catalog_values.h"

#define MAX_ID_BYTES 128

const char *entity_name(enum entity_kind kind)
{
    static const char *const names[ENTITY_KIND_COUNT] = {
        [ENTITY_EXCHANGE] = "exchange", [ENTITY_ADVERTISER] = "advertiser",
        [ENTITY_BRAND] = "brand",       [ENTITY_AUDIENCE] = "audience",
        [ENTITY_CAP] = "frequency cap", [ENTITY_DEAL] = "deal",
        [ENTITY_CAMPAIGN] = "campaign", [ENTITY_LINE] = "line item",
        [ENTITY_CREATIVE] = "creative", [ENTITY_ROTATION] = "rotation",
        [ENTITY_SWAP] = "swap",         [ENTITY_DMP] = "dmp",
    };
    return names[kind];
}

/* --- ids ------------------------------------------------------------------------------------ */

/* No bytes that make an id awkward in urls, logs and Redis keys. */
static bool id_is_clean(struct str id, bool in_path)
{
    for (size_t i = 0; in_path && i < id.len; i++) {
        unsigned char c = (unsigned char)id.ptr[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (!letter && c != '-' && c != '_' && c != '.') {
            return false;
        }
    }
    return value_printable(id);
}

/* The id of an entity, or an empty view with a problem. */
static struct str read_id(struct catalog_reader *reader, enum entity_kind kind,
                          const struct json_value *object)
{
    const struct json_value *id = json_dom_get(object, STR("id"));
    if (!id) {
        reader_error(reader, object, "\"id\" is missing: every %s needs one", entity_name(kind));
        return STR_NONE;
    }
    if (!reader_expect(reader, id, JSON_STRING, "a text, the id")) {
        return STR_NONE;
    }
    bool in_path = kind == ENTITY_EXCHANGE;
    if (!id->text.len || id->text.len > MAX_ID_BYTES || !id_is_clean(id->text, in_path)) {
        reader_error(reader, id, "expected an id of 1 to %d %s, found %.*s", MAX_ID_BYTES,
                     in_path ? "letters, digits or - _ . (it stands in urls)"
                             : "bytes without control characters",
                     STR_ARG(reader_found(reader, id)));
        return STR_NONE;
    }
    return reader_keep_str(reader, id->text);
}

static void add_entity(struct catalog_reader *reader, enum entity_kind kind,
                       const struct json_value *object, uint32_t parent)
{
    struct entity_set *set = &reader->sets[kind];
    uint32_t capacity[2] = {set->capacity, set->capacity};
    if (!reader_grow(reader, (void **)&set->sources, set->count, &capacity[0],
                     sizeof(set->sources[0])) ||
        !reader_grow(reader, (void **)&set->parents, set->count, &capacity[1],
                     sizeof(set->parents[0]))) {
        return;
    }
    set->capacity = capacity[0];
    set->sources[set->count] = object;
    set->parents[set->count] = parent;
    set->count++;
}

static void collect(struct catalog_reader *reader, const struct shape *shape,
                    const struct json_value *object, uint32_t parent)
{
    for (uint32_t i = 0; i < shape->field_count; i++) {
        const struct field *field = &shape->fields[i];
        const struct json_value *list =
            field->kind == FIELD_ENTITIES ? json_dom_get(object, str_from(field->name)) : NULL;
        if (!list || !reader_expect(reader, list, JSON_ARRAY, "an array")) {
            continue;
        }
        for (uint32_t j = 0; j < list->count && !reader->no_memory; j++) {
            const struct json_value *item = &list->items[j];
            if (!reader_expect(reader, item, JSON_OBJECT, "an object")) {
                continue;
            }
            uint32_t index = reader->sets[field->target].count;
            add_entity(reader, field->target, item, parent);
            collect(reader, field->shape, item, index);
        }
    }
}

/* --- audiences: nested ones first ----------------------------------------------------------- */

static const char *const nested_members[] = {"any_audiences", "all_audiences", "none_audiences"};

/* So that an audience is decided in bounded time and stack on the request path. */
#define MAX_AUDIENCE_DEPTH 16
#define MAX_AUDIENCE_STEPS 4096

struct audience_order {
    struct catalog_reader *reader;
    struct entity_set *set;
    enum { AUDIENCE_NEW, AUDIENCE_OPEN, AUDIENCE_PLACED } * states;
    uint32_t *steps; /* audiences looked at to decide this one, itself included */
    const struct json_value **sources;
    struct str *ids;
    uint32_t count;
    uint32_t path[MAX_AUDIENCE_DEPTH], depth;
};

static void report_cycle(const struct audience_order *order, uint32_t first)
{
    const struct str *ids = order->set->ids;
    struct buf path;
    buf_init(&path, 4096);
    uint32_t at = order->depth;
    while (order->path[at - 1] != first) {
        at--;
    }
    for (at--; at < order->depth; at++) {
        buf_printf(&path, "\"%.*s\" -> ", STR_ARG(ids[order->path[at]]));
    }
    reader_error(order->reader, order->set->sources[first],
                 "audiences contain each other: %.*s\"%.*s\"", STR_ARG(buf_str(&path)),
                 STR_ARG(ids[first]));
    buf_deinit(&path);
}

/* Places the audience behind all it contains. False, with a problem, when that cannot be. */
static bool place_audience(struct audience_order *order, uint32_t at)
{
    const struct entity_set *set = order->set;
    if (order->states[at] == AUDIENCE_PLACED) {
        return true;
    }
    if (order->states[at] == AUDIENCE_OPEN) {
        report_cycle(order, at);
        return false;
    }
    if (order->depth == MAX_AUDIENCE_DEPTH) {
        reader_error(order->reader, set->sources[at], "audiences are nested more than %d deep",
                     MAX_AUDIENCE_DEPTH);
        return false;
    }
    order->states[at] = AUDIENCE_OPEN;
    order->path[order->depth++] = at;
    uint32_t steps = 1;
    for (size_t m = 0; m < COUNT_OF(nested_members); m++) {
        const struct json_value *list = json_dom_get(set->sources[at], str_from(nested_members[m]));
        for (uint32_t i = 0; list && list->type == JSON_ARRAY && i < list->count; i++) {
            const struct json_value *item = &list->items[i];
            uint32_t nested =
                item->type == JSON_STRING ? str_table_get(&set->by_id, item->text) : STR_TABLE_NONE;
            if (nested == STR_TABLE_NONE) {
                continue; /* reported later */
            }
            if (!place_audience(order, nested)) {
                return false;
            }
            steps += steps <= MAX_AUDIENCE_STEPS ? order->steps[nested] : 0;
        }
    }
    if (steps > MAX_AUDIENCE_STEPS) {
        reader_error(
            order->reader, set->sources[at],
            "contains more than %d audiences, nested ones counted each time they are named",
            MAX_AUDIENCE_STEPS);
        return false;
    }
    order->depth--;
    order->states[at] = AUDIENCE_PLACED;
    order->steps[at] = steps;
    order->ids[order->count] = set->ids[at];
    order->sources[order->count++] = set->sources[at];
    return true;
}

/* In the order of the file, but what an audience contains goes before it. */
static void order_audiences(struct catalog_reader *reader)
{
    struct entity_set *set = &reader->sets[ENTITY_AUDIENCE];
    struct audience_order order = {.reader = reader, .set = set};
    if (!set->count) {
        return;
    }
    order.states = reader_scrap(reader, set->count, sizeof(*order.states));
    order.steps = reader_scrap(reader, set->count, sizeof(*order.steps));
    order.sources = reader_scrap(reader, set->count, sizeof(*order.sources));
    order.ids = reader_scrap(reader, set->count, sizeof(*order.ids));
    if (!order.states || !order.steps || !order.sources || !order.ids) {
        return;
    }
    for (uint32_t i = 0; i < set->count; i++) {
        if (!place_audience(&order, i)) {
            return; /* the order of the file does: this catalog will not be built */
        }
    }
    memcpy(set->sources, order.sources, set->count * sizeof(*order.sources));
    memcpy(set->ids, order.ids, set->count * sizeof(*order.ids));
}

/* --- tables --------------------------------------------------------------------------------- */

/* The JSON pointer of an entity, for messages about another one. */
static struct str pointer_of(struct catalog_reader *reader, const struct json_value *value)
{
    struct buf out;
    buf_init(&out, 256);
    reader_pointer(reader, value->offset, &out);
    struct str pointer = arena_strdup(&reader->scratch, buf_str(&out));
    buf_deinit(&out);
    return pointer;
}

static void fill_table(struct catalog_reader *reader, enum entity_kind kind, bool report)
{
    struct entity_set *set = &reader->sets[kind];
    if (!str_table_init(&set->by_id, reader->arena, set->count)) {
        reader->no_memory = true;
        return;
    }
    for (uint32_t i = 0; i < set->count; i++) {
        if (!set->ids[i].ptr || str_table_add(&set->by_id, set->ids[i], i)) {
            continue;
        }
        if (!report || kind == ENTITY_DEAL) {
            continue; /* exchanges name their deals by themselves: see catalog_check.c */
        }
        uint32_t first = str_table_get(&set->by_id, set->ids[i]);
        reader_error(reader, json_dom_get(set->sources[i], STR("id")),
                     "id \"%.*s\" is already taken by the %s at %.*s", STR_ARG(set->ids[i]),
                     entity_name(kind), STR_ARG(pointer_of(reader, set->sources[first])));
    }
}

/* Chains deals of one id, which several exchanges may use. */
static void chain_deals(struct catalog_reader *reader)
{
    struct entity_set *deals = &reader->sets[ENTITY_DEAL];
    deals->same_id = reader_keep(reader, deals->count, sizeof(*deals->same_id));
    uint32_t *last = reader_scrap(reader, deals->count, sizeof(*last));
    for (uint32_t i = 0; i < deals->count && deals->same_id && last; i++) {
        deals->same_id[i] = CATALOG_NONE;
        if (!deals->ids[i].ptr) {
            continue;
        }
        uint32_t first = str_table_get(&deals->by_id, deals->ids[i]);
        if (first != i) {
            deals->same_id[last[first]] = i;
        }
        last[first] = i;
    }
}

void reader_collect_ids(struct catalog_reader *reader)
{
    collect(reader, &shape_root, reader->root, CATALOG_NONE);
    for (int kind = 0; kind < ENTITY_KIND_COUNT && !reader->no_memory; kind++) {
        struct entity_set *set = &reader->sets[kind];
        set->ids = reader_keep(reader, set->count, sizeof(*set->ids));
        for (uint32_t i = 0; i < set->count && set->ids; i++) {
            set->ids[i] = read_id(reader, kind, set->sources[i]);
        }
        if (!reader->no_memory) {
            fill_table(reader, kind, true);
        }
    }
    if (!reader->no_memory) {
        chain_deals(reader);
    }
    if (!reader->no_memory && reader->sets[ENTITY_AUDIENCE].count) {
        order_audiences(reader);
        fill_table(reader, ENTITY_AUDIENCE, false); /* duplicates were reported */
    }
}

/* --- resolving ------------------------------------------------------------------------------ */

/* The most alike id of a kind, or an empty view. */
static struct str guess_id(struct catalog_reader *reader, enum entity_kind kind, struct str text)
{
    const struct entity_set *set = &reader->sets[kind];
    uint32_t limit = value_guess_limit(text.len), best = limit + 1;
    struct str guess = STR_NONE;
    for (uint32_t i = 0; i < set->count && reader->guess_budget > 0; i++) {
        reader->guess_budget--;
        uint32_t distance =
            set->ids[i].ptr ? value_distance(text, set->ids[i], best - 1) : UINT32_MAX;
        if (distance < best) {
            best = distance;
            guess = set->ids[i];
            if (best == 0) {
                break;
            }
        }
    }
    return guess;
}

/* Another kind that has an entity of that name: the usual mix-up. */
static const char *other_kind(const struct catalog_reader *reader, enum entity_kind kind,
                              struct str text)
{
    for (int other = 0; other < ENTITY_KIND_COUNT; other++) {
        if (other != (int)kind &&
            str_table_get(&reader->sets[other].by_id, text) != STR_TABLE_NONE) {
            return entity_name(other);
        }
    }
    return NULL;
}

/* "exchange/deal", for deal ids that several exchanges use. */
static uint32_t resolve_scoped_deal(struct catalog_reader *reader, struct str text)
{
    struct str id = text;
    struct str exchange = str_cut(&id, '/');
    const struct entity_set *deals = &reader->sets[ENTITY_DEAL];
    uint32_t deal = str_table_get(&deals->by_id, id);
    while (deal != CATALOG_NONE) {
        const struct json_value *of = json_dom_get(deals->sources[deal], STR("exchange"));
        if (of && of->type == JSON_STRING && str_eq(of->text, exchange)) {
            break;
        }
        deal = deals->same_id[deal];
    }
    return deal;
}

uint32_t reader_resolve(struct catalog_reader *reader, enum entity_kind kind,
                        const struct json_value *value)
{
    const char *name = entity_name(kind);
    if (value->type != JSON_STRING) {
        reader_error(reader, value, "expected the id of a %s (a text), found %.*s", name,
                     STR_ARG(reader_found(reader, value)));
        return CATALOG_NONE;
    }
    uint32_t index = str_table_get(&reader->sets[kind].by_id, value->text);
    if (kind == ENTITY_DEAL && index == STR_TABLE_NONE) {
        index = resolve_scoped_deal(reader, value->text);
    } else if (kind == ENTITY_DEAL && reader->sets[kind].same_id[index] != CATALOG_NONE) {
        reader_error(reader, value, "several exchanges have a deal \"%.*s\": say \"EXCHANGE/%.*s\"",
                     STR_ARG(value->text), STR_ARG(value->text));
        return CATALOG_NONE;
    }
    if (index != STR_TABLE_NONE) {
        return index;
    }
    struct str guess = guess_id(reader, kind, value->text);
    const char *other = guess.ptr ? NULL : other_kind(reader, kind, value->text);
    struct str found = reader_found(reader, value);
    if (guess.ptr) {
        reader_error(reader, value, "there is no %s %.*s; did you mean \"%.*s\"?", name,
                     STR_ARG(found), STR_ARG(guess));
    } else if (other) {
        reader_error(reader, value, "there is no %s %.*s (but there is a %s of that id)", name,
                     STR_ARG(found), other);
    } else {
        reader_error(reader, value, "there is no %s %.*s", name, STR_ARG(found));
    }
    return CATALOG_NONE;
}
