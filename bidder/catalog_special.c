/* Fields of the catalog that have a form of their own. */
#include "bidder/base/bug.h"
#include "bidder/catalog_reader.h"
#include "bidder/catalog_text.h"
#include "bidder/catalog_values.h"

/* --- exchanges ------------------------------------------------------------------------------ */

static void add_currency(struct catalog_reader *reader, const struct json_member *member)
{
    struct catalog *catalog = reader->catalog;
    int64_t rate;
    if (!text_rules[TEXT_CURRENCY].check(member->key)) {
        struct json_value key = {.type = JSON_STRING, .text = member->key};
        reader_report(reader, PROBLEM_ERROR, member->key_offset, "expected %s, found %.*s",
                      text_rules[TEXT_CURRENCY].expected, STR_ARG(reader_found(reader, &key)));
        return;
    }
    if (!reader_read_micros(reader, &member->value, 1, (int64_t)1000000 * 1000000, &rate)) {
        return;
    }
    for (uint32_t i = 0; i < catalog->currency_count; i++) {
        if (str_eq(catalog->currencies[i].code, member->key)) {
            bool own = str_eq(catalog->currency, member->key);
            if (!own) {
                reader_report(reader, PROBLEM_ERROR, member->key_offset,
                              "currency \"%.*s\" stands twice", STR_ARG(member->key));
            } else if (rate != 1000000) {
                reader_error(reader, &member->value,
                             "%.*s is the catalog's own currency: its rate "
                             "is 1",
                             STR_ARG(member->key));
            }
            return;
        }
    }
    catalog->currencies[catalog->currency_count++] = (struct catalog_currency){
        .code = reader_keep_str(reader, member->key), .rate_micros = rate};
}

/* The catalog's own currency is already the first. */
FIELD_READER(read_currencies)
{
    (void)field;
    (void)object;
    if (!reader_expect(reader, value, JSON_OBJECT, "an object of rates, {\"USD\": 7.1}")) {
        return;
    }
    struct catalog *catalog = reader->catalog;
    struct catalog_currency own = catalog->currencies[0];
    catalog->currencies = reader_keep(reader, value->count + 1, sizeof(own));
    if (!catalog->currencies) {
        return;
    }
    catalog->currencies[0] = own;
    for (uint32_t i = 0; i < value->count; i++) {
        if (!str_eq(value->members[i].key, STR("comment"))) {
            add_currency(reader, &value->members[i]);
        }
    }
}

FIELD_READER(read_id_paths)
{
    struct catalog_exchange *exchange = object;
    if (!reader_expect(reader, value, JSON_ARRAY, "an array of id paths")) {
        return;
    }
    struct id_path *paths = reader_keep(reader, value->count, sizeof(*paths));
    uint32_t count = 0;
    struct str id = reader->sets[ENTITY_EXCHANGE].ids[reader->current];
    for (uint32_t i = 0; i < value->count && paths; i++) {
        const struct json_value *item = &value->items[i];
        enum status status = STATUS_INVALID;
        if (item->type == JSON_STRING) {
            struct str text = reader_keep_str(reader, item->text);
            status = id_path_parse(text, id, reader->arena, &paths[count]);
        }
        if (status == STATUS_OK) {
            count++;
        } else if (status == STATUS_NO_MEMORY) {
            reader->no_memory = true;
        } else {
            reader_error(reader, item,
                         "expected the path of an id such as \"device.ifa\", \"device.ext.oaid\", "
                         "\"user.buyeruid\" or \"user.eids[source=x.example].uids[0].id\", found "
                         "%.*s",
                         STR_ARG(reader_found(reader, item)));
        }
    }
    if (field->offset == offsetof(struct catalog_exchange, ids)) {
        exchange->ids = paths;
        exchange->id_count = count;
    } else {
        exchange->household_ids = paths;
        exchange->household_id_count = count;
    }
}

/* Said in the tables' texts too; device ids first, because several exchanges know them. */
static const struct str default_ids[] = {{"device.ifa", 10},
                                         {"device.ext.oaid", 15},
                                         {"device.didmd5", 13},
                                         {"device.dpidmd5", 14},
                                         {"user.buyeruid", 13}};
static const struct str default_household_ids[] = {{"device.ifa", 10}, {"device.ip", 9}};

static struct id_path *parse_defaults(struct catalog_reader *reader, struct str exchange_id,
                                      const struct str *texts, uint32_t count)
{
    struct id_path *paths = reader_keep(reader, count, sizeof(*paths));
    for (uint32_t i = 0; i < count && paths; i++) {
        enum status status = id_path_parse(texts[i], exchange_id, reader->arena, &paths[i]);
        BUG_ON(status == STATUS_INVALID);
        reader->no_memory |= status != STATUS_OK;
    }
    return paths;
}

void reader_set_default_ids(struct catalog_reader *reader)
{
    for (uint32_t i = 0; i < reader->catalog->exchange_count && !reader->no_memory; i++) {
        struct catalog_exchange *exchange = &reader->catalog->exchanges[i];
        const struct json_value *source = reader->sets[ENTITY_EXCHANGE].sources[i];
        if (!json_dom_get(source, STR("ids"))) {
            exchange->id_count = COUNT_OF(default_ids);
            exchange->ids = parse_defaults(reader, exchange->id, default_ids, exchange->id_count);
        }
        if (!json_dom_get(source, STR("household_ids"))) {
            exchange->household_id_count = COUNT_OF(default_household_ids);
            exchange->household_ids = parse_defaults(reader, exchange->id, default_household_ids,
                                                     exchange->household_id_count);
        }
    }
}

static struct str read_key(struct catalog_reader *reader, const struct json_value *object,
                           const char *name)
{
    const struct json_value *value = json_dom_get(object, str_from(name));
    if (!value) {
        reader_error(reader, object, "\"%s\" is missing: 32 bytes in base64", name);
        return STR_NONE;
    }
    uint8_t *bytes = reader_keep(reader, 32, 1);
    size_t length;
    if (value->type != JSON_STRING || !bytes ||
        !crypto_base64_decode(value->text, bytes, 32, &length) || length != 32) {
        /* The key itself stays out of messages. */
        reader_error(reader, value, "expected a key of 32 bytes in base64");
        return STR_NONE;
    }
    return (struct str){(const char *)bytes, 32};
}

FIELD_READER(read_price_encoding)
{
    (void)field;
    struct catalog_exchange *exchange = object;
    if (!reader_expect(reader, value, JSON_OBJECT, "an object with the two keys")) {
        return;
    }
    for (uint32_t i = 0; i < value->count; i++) {
        struct str key = value->members[i].key;
        if (!str_eq(key, STR("encryption_key")) && !str_eq(key, STR("integrity_key")) &&
            !str_eq(key, STR("comment"))) {
            reader_report(reader, PROBLEM_ERROR, value->members[i].key_offset,
                          "unknown field: expected \"encryption_key\" and \"integrity_key\"");
        }
    }
    const struct json_member *doubled = json_dom_duplicate(value);
    if (doubled) {
        reader_report(reader, PROBLEM_ERROR, doubled->key_offset,
                      "this field stands twice in this object");
    }
    exchange->price_encoding = PRICE_GOOGLE;
    exchange->price_key_encryption = read_key(reader, value, "encryption_key");
    exchange->price_key_integrity = read_key(reader, value, "integrity_key");
}

/* --- audiences ------------------------------------------------------------------------------ */

static int compare_u32(const void *a, const void *b)
{
    uint32_t left = *(const uint32_t *)a, right = *(const uint32_t *)b;
    return left < right ? -1 : left > right;
}

FIELD_READER(read_segments)
{
    struct audience_expr *expr = &((struct catalog_audience *)object)->expr;
    if (!reader_expect(reader, value, JSON_ARRAY, "an array of segment ids")) {
        return;
    }
    uint32_t *refs = reader_keep(reader, value->count, sizeof(*refs));
    uint32_t count = 0;
    for (uint32_t i = 0; i < value->count && refs; i++) {
        const struct json_value *item = &value->items[i];
        if (item->type != JSON_STRING || !item->text.len) {
            reader_error(reader, item, "expected the id of a segment (a text), found %.*s",
                         STR_ARG(reader_found(reader, item)));
            continue;
        }
        refs[count++] = cap_ref32(item->text);
    }
    if (count) {
        qsort(refs, count, sizeof(*refs), compare_u32);
    }
    if (field->offset == offsetof(struct catalog_audience, expr.any_segments)) {
        expr->any_segments = refs;
        expr->any_segment_count = count;
    } else if (field->offset == offsetof(struct catalog_audience, expr.all_segments)) {
        expr->all_segments = refs;
        expr->all_segment_count = count;
    } else {
        expr->none_segments = refs;
        expr->none_segment_count = count;
    }
}

FIELD_READER(read_audience_terms)
{
    struct targeting *targeting = object;
    reader_read_object(reader, field->shape, value, &targeting->audiences);
    const struct audience_expr *expr = &targeting->audiences;
    targeting->has_audiences =
        expr->any_audiences.count || expr->all_audiences.count || expr->none_audiences.count;
}

/* --- caps ----------------------------------------------------------------------------------- */

#define MIN_ROLLING_S 1
#define MAX_ROLLING_S ((int64_t)366 * 86400)

static void read_calendar(struct catalog_reader *reader, const struct json_value *value,
                          struct cap *cap)
{
    static const struct choice words[] = {{"day", CAP_CALENDAR_DAY},
                                          {"week", CAP_CALENDAR_WEEK},
                                          {"month", CAP_CALENDAR_MONTH},
                                          {NULL, 0}};
    int64_t kind;
    if (reader_read_choice(reader, value, words, &kind)) {
        cap->window = (enum cap_window_kind)kind;
    }
}

FIELD_READER(read_window)
{
    (void)field;
    struct cap *cap = object;
    const struct json_member *only =
        value->type == JSON_OBJECT && value->count == 1 ? &value->members[0] : NULL;
    if (value->type == JSON_STRING && str_eq(value->text, STR("lifetime"))) {
        cap->window = CAP_LIFETIME;
    } else if (only && str_eq(only->key, STR("rolling"))) {
        cap->window = CAP_ROLLING;
        reader_read_duration(reader, &only->value, MIN_ROLLING_S, MAX_ROLLING_S, &cap->window_s);
    } else if (only && str_eq(only->key, STR("calendar"))) {
        read_calendar(reader, &only->value, cap);
    } else {
        reader_error(reader, value,
                     "expected {\"rolling\": \"7d\"}, {\"calendar\": \"day\"} (or week, month) or "
                     "\"lifetime\", found %.*s",
                     STR_ARG(reader_found(reader, value)));
    }
}

/* Adds this cap to the entities named: the same as if each named the cap. */
FIELD_READER(read_cap_members)
{
    (void)object;
    struct index_list members = {0};
    reader_read_refs(reader, value, field->target, &members);
    for (uint32_t i = 0; i < members.count; i++) {
        reader_add_cap(reader, field->target, members.items[i], reader->current);
    }
}

/* --- budgets -------------------------------------------------------------------------------- */

bool share_out(const int64_t *weights, uint32_t count, uint32_t total, uint32_t *out)
{
    __extension__ typedef unsigned __int128 wide;
    wide sum = 0;
    for (uint32_t i = 0; i < count; i++) {
        sum += (wide)weights[i];
    }
    if (sum == 0) {
        return false;
    }
    uint32_t given = 0;
    for (uint32_t i = 0; i < count; i++) {
        out[i] = (uint32_t)((wide)weights[i] * total / sum);
        given += out[i];
    }
    /* What rounding down left goes, one each, to the largest remainders; ties by order. The
     * remainder of one that was served is taken as gone: weight * total - out * sum < 0. */
    for (; given < total; given++) {
        uint32_t best = count;
        wide largest = 0;
        for (uint32_t i = 0; i < count; i++) {
            wide due = (wide)weights[i] * total, had = (wide)out[i] * sum;
            if (due > had && (best == count || due - had > largest)) {
                best = i;
                largest = due - had;
            }
        }
        BUG_ON(best == count);
        out[best]++;
    }
    return true;
}

FIELD_READER(read_hourly)
{
    (void)field;
    struct catalog_budget *budget = object;
    if (!reader_expect(reader, value, JSON_ARRAY, "an array of 24 numbers, one per hour")) {
        return;
    }
    if (value->count != 24) {
        reader_error(reader, value, "expected 24 numbers, one per hour, found %u", value->count);
        return;
    }
    int64_t weights[24];
    uint32_t shares[24];
    bool good = true;
    for (uint32_t i = 0; i < 24; i++) {
        good = reader_read_micros(reader, &value->items[i], 0, (int64_t)1000000 * 1000000,
                                  &weights[i]) &&
               good;
    }
    if (!good) {
        return;
    }
    if (!share_out(weights, 24, 10000, shares)) {
        reader_error(reader, value, "expected at least one share above 0");
        return;
    }
    for (uint32_t i = 0; i < 24; i++) {
        budget->hourly_share[i] = (uint16_t)shares[i];
    }
}

/* Impressions were read with six decimals, as money is. */
static void to_impressions(struct catalog_reader *reader, const struct json_value *budget,
                           const char *name, int64_t *amount)
{
    if (*amount % 1000000) {
        reader_error(reader, json_dom_get(budget, str_from(name)),
                     "expected a whole number of impressions");
    }
    *amount /= 1000000;
}

FIELD_READER(read_budget)
{
    (void)object;
    if (!reader_grow(reader, (void **)&reader->budgets, reader->budget_count,
                     &reader->budget_capacity, sizeof(reader->budgets[0]))) {
        return;
    }
    struct read_budget *read = &reader->budgets[reader->budget_count++];
    *read = (struct read_budget){
        .kind = reader->current_kind, .index = reader->current, .source = value};
    struct catalog_budget *budget = &read->budget;
    reader_read_object(reader, field->shape, value, budget);
    if (value->type != JSON_OBJECT) {
        return;
    }
    if (budget->impressions) {
        to_impressions(reader, value, "total", &budget->total);
        to_impressions(reader, value, "daily", &budget->daily);
    }
    const struct json_value *pacing = json_dom_get(value, STR("pacing"));
    const struct json_value *hourly = json_dom_get(value, STR("hourly"));
    if (hourly && !pacing) {
        budget->pacing = PACING_HOURLY;
    } else if (hourly && budget->pacing != PACING_HOURLY) {
        reader_error(reader, hourly, "\"hourly\" needs \"pacing\": \"hourly\"");
    } else if (!hourly && budget->pacing == PACING_HOURLY) {
        reader_error(reader, pacing, "pacing \"hourly\" needs \"hourly\": 24 shares");
    }
}

/* --- line items ----------------------------------------------------------------------------- */

FIELD_READER(read_own_targeting)
{
    struct line_creative *creative = object;
    struct targeting *targeting = reader_keep(reader, 1, sizeof(*targeting));
    if (targeting) {
        reader_read_object(reader, field->shape, value, targeting);
        creative->targeting = targeting;
    }
}

FIELD_READER(read_line_creatives)
{
    struct catalog_line *line = object;
    if (!reader_expect(reader, value, JSON_ARRAY, "an array of creatives")) {
        return;
    }
    line->creatives = reader_keep(reader, value->count, sizeof(*line->creatives));
    for (uint32_t i = 0; i < value->count && line->creatives; i++) {
        const struct json_value *item = &value->items[i];
        struct line_creative creative = {.creative = CATALOG_NONE, .weight = 1};
        if (item->type == JSON_OBJECT) {
            reader_read_object(reader, field->shape, item, &creative);
        } else {
            creative.creative = reader_resolve(reader, ENTITY_CREATIVE, item);
        }
        if (creative.creative != CATALOG_NONE) {
            line->creatives[line->creative_count++] = creative;
        }
    }
    if (!value->count) {
        reader_error(reader, value, "expected at least one creative");
    }
}

FIELD_READER(read_goal)
{
    struct catalog_line *line = object;
    struct read_goal_amounts amounts = {0};
    reader_read_object(reader, field->shape, value, &amounts);
    if (value->type != JSON_OBJECT) {
        return;
    }
    bool cpc = json_dom_get(value, STR("cpc")), cpa = json_dom_get(value, STR("cpa"));
    if (cpc == cpa) {
        reader_error(reader, value, "expected one of {\"cpc\": 2.5} and {\"cpa\": 60}");
    }
    line->goal = cpc ? GOAL_CPC : GOAL_CPA;
    line->goal_micros = cpc ? amounts.cpc : amounts.cpa;
}

static void read_daypart(struct catalog_reader *reader, const struct field *field,
                         const struct json_value *value, struct targeting *targeting)
{
    struct read_daypart part = {0};
    reader_read_object(reader, field->shape, value, &part);
    uint8_t days = 0x7f;
    uint32_t hours = 0xffffff;
    const struct json_value *said_days = json_dom_get(value, STR("days"));
    const struct json_value *said_hours = json_dom_get(value, STR("hours"));
    if (part.days.ptr && !value_days(part.days, &days)) {
        reader_error(reader, said_days,
                     "expected days such as \"mon-fri,sun\" or \"all\", found "
                     "%.*s",
                     STR_ARG(reader_found(reader, said_days)));
    }
    if (part.hours.ptr && !value_hours(part.hours, &hours)) {
        reader_error(reader, said_hours,
                     "expected hours from 0 to 24 such as \"18-24,0-2\", found %.*s",
                     STR_ARG(reader_found(reader, said_hours)));
    }
    for (uint32_t hour = 0; hour < 168; hour++) {
        if (days >> (hour / 24) & 1 && hours >> (hour % 24) & 1) {
            targeting->dayparts[hour / 8] |= (uint8_t)(1u << hour % 8);
        }
    }
}

FIELD_READER(read_dayparts)
{
    if (!reader_expect(reader, value, JSON_ARRAY,
                       "an array of {\"days\": \"mon-fri\", \"hours\": \"18-24\"}")) {
        return;
    }
    for (uint32_t i = 0; i < value->count; i++) {
        read_daypart(reader, field, &value->items[i], object);
    }
}

/* --- creatives, rotations, swaps ------------------------------------------------------------ */

FIELD_READER(read_asset_kind)
{
#define ASSET(kind, type) ((int64_t)(kind) << 8 | (type))
    /* Image and data types: OpenRTB Native 1.2, sections 7.7 and 7.8. */
    static const struct choice words[] = {{"title", ASSET(BIDREQ_ASSET_TITLE, 0)},
                                          {"icon", ASSET(BIDREQ_ASSET_IMAGE, 1)},
                                          {"image", ASSET(BIDREQ_ASSET_IMAGE, 3)},
                                          {"video", ASSET(BIDREQ_ASSET_VIDEO, 0)},
                                          {"sponsored", ASSET(BIDREQ_ASSET_DATA, 1)},
                                          {"desc", ASSET(BIDREQ_ASSET_DATA, 2)},
                                          {"rating", ASSET(BIDREQ_ASSET_DATA, 3)},
                                          {"likes", ASSET(BIDREQ_ASSET_DATA, 4)},
                                          {"downloads", ASSET(BIDREQ_ASSET_DATA, 5)},
                                          {"price", ASSET(BIDREQ_ASSET_DATA, 6)},
                                          {"saleprice", ASSET(BIDREQ_ASSET_DATA, 7)},
                                          {"phone", ASSET(BIDREQ_ASSET_DATA, 8)},
                                          {"address", ASSET(BIDREQ_ASSET_DATA, 9)},
                                          {"desc2", ASSET(BIDREQ_ASSET_DATA, 10)},
                                          {"displayurl", ASSET(BIDREQ_ASSET_DATA, 11)},
                                          {"ctatext", ASSET(BIDREQ_ASSET_DATA, 12)},
                                          {NULL, 0}};
    (void)field;
    struct native_asset *asset = object;
    int64_t both;
    if (reader_read_choice(reader, value, words, &both)) {
        asset->kind = (enum bidreq_asset_kind)(both >> 8);
        asset->type = (int32_t)(both & 0xff);
    }
}

FIELD_READER(read_shares)
{
    struct catalog_rotation *rotation = object;
    if (!reader_expect(reader, value, JSON_ARRAY, "an array of {\"brand\": ..., \"share\": ...}")) {
        return;
    }
    rotation->shares = reader_keep(reader, value->count, sizeof(*rotation->shares));
    int64_t *weights = reader_scrap(reader, value->count, sizeof(*weights));
    uint32_t *parts = reader_scrap(reader, value->count, sizeof(*parts));
    if (!rotation->shares || !weights || !parts) {
        return;
    }
    for (uint32_t i = 0; i < value->count; i++) {
        struct read_share share = {0};
        reader_read_object(reader, field->shape, &value->items[i], &share);
        bool doubled = false;
        for (uint32_t j = 0; j < rotation->share_count && share.brand != CATALOG_NONE; j++) {
            doubled = doubled || rotation->shares[j].brand == share.brand;
        }
        if (doubled) {
            reader_error(reader, &value->items[i], "this brand stands twice in the rotation");
            continue;
        }
        weights[rotation->share_count] = share.weight;
        rotation->shares[rotation->share_count++].brand = share.brand;
    }
    if (value->count < 2) {
        reader_error(reader, value, "expected at least two brands to take turns");
    }
    if (share_out(weights, rotation->share_count, 1000000, parts)) {
        for (uint32_t i = 0; i < rotation->share_count; i++) {
            rotation->shares[i].share_ppm = parts[i];
        }
    }
}

FIELD_READER(read_between)
{
    (void)field;
    struct catalog_swap *swap = object;
    swap->brands[0] = swap->brands[1] = CATALOG_NONE;
    if (value->type != JSON_ARRAY || value->count != 2) {
        reader_error(reader, value, "expected the ids of two brands");
        return;
    }
    for (uint32_t i = 0; i < 2; i++) {
        swap->brands[i] = reader_resolve(reader, ENTITY_BRAND, &value->items[i]);
    }
    if (swap->brands[0] != CATALOG_NONE && swap->brands[0] == swap->brands[1]) {
        reader_error(reader, value, "expected two different brands");
    }
}
