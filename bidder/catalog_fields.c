/* Reads an object of the file by its table of fields: types, ranges, words, dates, references;
 * unknown, doubled and missing fields. */
#include "bidder/base/bug.h"
#include "bidder/catalog_reader.h"
#include "bidder/catalog_text.h"
#include "bidder/catalog_values.h"

#define FOUND_MAX_BYTES 40

/* Every list of the snapshot has this layout: a pointer and a count behind it. */
struct any_list {
    void *items;
    uint32_t count;
};
_Static_assert(offsetof(struct str_list, count) == offsetof(struct any_list, count), "layout");
_Static_assert(offsetof(struct int_list, count) == offsetof(struct any_list, count), "layout");
_Static_assert(offsetof(struct index_list, count) == offsetof(struct any_list, count), "layout");

struct str reader_found(struct catalog_reader *reader, const struct json_value *value)
{
    struct buf out;
    buf_init(&out, 256);
    switch (value->type) {
    case JSON_STRING: {
        struct str text = value->text;
        bool cut = text.len > FOUND_MAX_BYTES;
        text.len = cut ? FOUND_MAX_BYTES : text.len;
        while (cut && text.len && ((unsigned char)value->text.ptr[text.len] & 0xc0) == 0x80) {
            text.len--;
        }
        buf_put_char(&out, '"');
        buf_put_json_escaped(&out, text);
        buf_put_str(&out, cut ? STR("...\"") : STR("\""));
        break;
    }
    case JSON_NUMBER:
        buf_put(&out, value->text.ptr,
                value->text.len < FOUND_MAX_BYTES ? value->text.len : FOUND_MAX_BYTES);
        break;
    case JSON_BOOL:
        buf_put_str(&out, value->boolean ? STR("true") : STR("false"));
        break;
    case JSON_NULL:
        BUF_PUT_LITERAL(&out, "null");
        break;
    case JSON_ARRAY:
        BUF_PUT_LITERAL(&out, "an array");
        break;
    case JSON_OBJECT:
        BUF_PUT_LITERAL(&out, "an object");
        break;
    case JSON_INVALID:
    case JSON_TYPE_COUNT:
        break;
    }
    struct str copy = arena_strdup(&reader->scratch, buf_str(&out));
    buf_deinit(&out);
    return copy;
}

bool reader_expect(struct catalog_reader *reader, const struct json_value *value,
                   enum json_type type, const char *expected)
{
    if (value->type == type) {
        return true;
    }
    reader_error(reader, value, "expected %s, found %.*s", expected,
                 STR_ARG(reader_found(reader, value)));
    return false;
}

/* --- numbers -------------------------------------------------------------------------------- */

static void store(void *member, uint8_t size, int64_t value)
{
    switch (size) {
    case 1:
        *(int8_t *)member = (int8_t)value;
        break;
    case 2:
        *(int16_t *)member = (int16_t)value;
        break;
    case 4:
        *(int32_t *)member = (int32_t)value;
        break;
    case 8:
        *(int64_t *)member = value;
        break;
    default:
        BUG_ON(true);
    }
}

bool reader_read_int(struct catalog_reader *reader, const struct json_value *value, int64_t min,
                     int64_t max, int64_t *number)
{
    bool whole = value->type == JSON_NUMBER && str_to_i64(value->text, number);
    if (whole && *number >= min && *number <= max) {
        return true;
    }
    reader_error(reader, value,
                 "expected a whole number from %" PRId64 " to %" PRId64 ", found %.*s", min, max,
                 STR_ARG(reader_found(reader, value)));
    return false;
}

bool reader_read_micros(struct catalog_reader *reader, const struct json_value *value, int64_t min,
                        int64_t max, int64_t *micros)
{
    bool number = value->type == JSON_NUMBER ||
                  (value->type == JSON_STRING && json_number_valid(value->text));
    bool fits = number && str_to_micros(value->text, micros);
    if (number && !value_in_micros(value->text)) {
        reader_error(reader, value, "expected at most six decimals, found %.*s",
                     STR_ARG(reader_found(reader, value)));
        return false;
    }
    if (fits && *micros >= min && *micros <= max) {
        return true;
    }
    struct buf range;
    buf_init(&range, 128);
    buf_put_micros(&range, min);
    BUF_PUT_LITERAL(&range, " to ");
    buf_put_micros(&range, max);
    reader_error(reader, value, "expected a number from %.*s, found %.*s", STR_ARG(buf_str(&range)),
                 STR_ARG(reader_found(reader, value)));
    buf_deinit(&range);
    return false;
}

bool reader_read_duration(struct catalog_reader *reader, const struct json_value *value,
                          int64_t min, int64_t max, int64_t *seconds)
{
    if (value->type != JSON_STRING || !value_duration(value->text, seconds)) {
        reader_error(reader, value,
                     "expected a duration such as \"90s\", \"30m\", \"1h\" or \"7d\", found %.*s",
                     STR_ARG(reader_found(reader, value)));
        return false;
    }
    if (*seconds < min || *seconds > max) {
        struct buf range;
        buf_init(&range, 128);
        catalog_put_duration(&range, min);
        BUF_PUT_LITERAL(&range, " to ");
        catalog_put_duration(&range, max);
        reader_error(reader, value, "expected a duration from %.*s, found %.*s",
                     STR_ARG(buf_str(&range)), STR_ARG(reader_found(reader, value)));
        buf_deinit(&range);
        return false;
    }
    return true;
}

/* --- words ---------------------------------------------------------------------------------- */

static const struct choice *find_choice(const struct choice *choices, struct str word)
{
    for (; choices->name; choices++) {
        if (str_eq(str_from(choices->name), word)) {
            return choices;
        }
    }
    return NULL;
}

bool reader_read_choice(struct catalog_reader *reader, const struct json_value *value,
                        const struct choice *choices, int64_t *chosen)
{
    const struct choice *choice =
        value->type == JSON_STRING ? find_choice(choices, value->text) : NULL;
    if (choice) {
        *chosen = choice->value;
        return true;
    }
    struct buf words;
    buf_init(&words, 512);
    uint32_t limit = value->type == JSON_STRING ? value_guess_limit(value->text.len) : 0;
    const char *guess = NULL;
    for (const struct choice *c = choices; c->name; c++) {
        buf_printf(&words, "%s\"%s\"", c == choices ? "" : c[1].name ? ", " : " or ", c->name);
        uint32_t distance =
            limit ? value_distance(value->text, str_from(c->name), limit) : UINT32_MAX;
        if (distance <= limit && limit) {
            guess = c->name;
            limit = distance ? distance - 1 : 0;
        }
    }
    reader_error(reader, value, "expected %.*s, found %.*s%s%s%s", STR_ARG(buf_str(&words)),
                 STR_ARG(reader_found(reader, value)), guess ? "; did you mean \"" : "",
                 guess ? guess : "", guess ? "\"?" : "");
    buf_deinit(&words);
    return false;
}

/* A text by its rule, kept; ptr NULL and a problem when it breaks the rule. */
static struct str read_text(struct catalog_reader *reader, const struct json_value *value,
                            enum text_rule rule)
{
    const struct text_rule_info *info = &text_rules[rule];
    if (value->type != JSON_STRING || !info->check(value->text)) {
        reader_error(reader, value, "expected %s, found %.*s", info->expected,
                     STR_ARG(reader_found(reader, value)));
        return STR_NONE;
    }
    struct str text = reader_keep_str(reader, value->text);
    for (size_t i = 0; i < text.len && info->fold; i++) {
        char *c = (char *)text.ptr + i; /* our own copy */
        *c = info->fold > 0 ? str_ascii_upper(*c) : str_ascii_lower(*c);
    }
    return text;
}

static void read_date(struct catalog_reader *reader, const struct json_value *value, bool is_end,
                      int64_t *utc_s)
{
    if (!reader->has_tz) {
        return; /* the timezone is wrong: that is reported, and dates mean nothing without it */
    }
    enum date_error error = DATE_FORM;
    if (value->type == JSON_STRING) {
        error = value_date(value->text, &reader->catalog->tz, is_end, utc_s);
    }
    struct str found = error == DATE_OK ? STR_NONE : reader_found(reader, value);
    if (error == DATE_FORM) {
        reader_error(reader, value,
                     "expected a day such as \"2026-10-01\" or a time such as "
                     "\"2026-10-01T20:00:00+08:00\", found %.*s",
                     STR_ARG(found));
    } else if (error == DATE_NO_SUCH_DAY) {
        reader_error(reader, value, "there is no such day or time: %.*s", STR_ARG(found));
    }
}

/* --- lists ---------------------------------------------------------------------------------- */

void reader_read_refs(struct catalog_reader *reader, const struct json_value *value,
                      enum entity_kind target, struct index_list *list)
{
    char expected[64];
    snprintf(expected, sizeof(expected), "an array of %s ids", entity_name(target));
    if (!reader_expect(reader, value, JSON_ARRAY, expected)) {
        return;
    }
    uint32_t *items = reader_keep(reader, value->count, sizeof(*items));
    /* Short lists, nearly all, are searched; long ones get a mark per entity. */
    bool *marks =
        value->count > 32 ? reader_scrap(reader, reader->sets[target].count, sizeof(*marks)) : NULL;
    uint32_t count = 0;
    for (uint32_t i = 0; i < value->count && items; i++) {
        uint32_t index = reader_resolve(reader, target, &value->items[i]);
        if (index == CATALOG_NONE) {
            continue;
        }
        bool doubled = marks && marks[index];
        for (uint32_t j = 0; j < count && !marks; j++) {
            doubled = doubled || items[j] == index;
        }
        if (marks) {
            marks[index] = true;
        }
        if (doubled) {
            reader_error(reader, &value->items[i], "%.*s stands twice in this list",
                         STR_ARG(reader_found(reader, &value->items[i])));
        } else {
            items[count++] = index;
        }
    }
    *list = (struct index_list){.items = items, .count = count};
}

void reader_read_strings(struct catalog_reader *reader, const struct json_value *value,
                         enum text_rule rule, struct str_list *list)
{
    if (!reader_expect(reader, value, JSON_ARRAY, "an array of texts")) {
        return;
    }
    struct str *items = reader_keep(reader, value->count, sizeof(*items));
    uint32_t count = 0;
    for (uint32_t i = 0; i < value->count && items; i++) {
        struct str text = read_text(reader, &value->items[i], rule);
        if (text.ptr) {
            items[count++] = text;
        }
    }
    *list = (struct str_list){.items = items, .count = count};
}

static void read_ints(struct catalog_reader *reader, const struct field *field,
                      const struct json_value *value, struct int_list *list)
{
    if (!reader_expect(reader, value, JSON_ARRAY, "an array of whole numbers")) {
        return;
    }
    int32_t *items = reader_keep(reader, value->count, sizeof(*items));
    uint32_t count = 0;
    for (uint32_t i = 0; i < value->count && items; i++) {
        int64_t number;
        if (reader_read_int(reader, &value->items[i], field->min, field->max, &number)) {
            items[count++] = (int32_t)number;
        }
    }
    *list = (struct int_list){.items = items, .count = count};
}

static void read_bits(struct catalog_reader *reader, const struct field *field,
                      const struct json_value *value, uint32_t *bits)
{
    if (!reader_expect(reader, value, JSON_ARRAY, "an array of texts")) {
        return;
    }
    for (uint32_t i = 0; i < value->count; i++) {
        int64_t bit;
        if (reader_read_choice(reader, &value->items[i], field->choices, &bit)) {
            *bits |= (uint32_t)bit;
        }
    }
}

static void read_objects(struct catalog_reader *reader, const struct field *field,
                         const struct json_value *value, struct any_list *list)
{
    if (!reader_expect(reader, value, JSON_ARRAY, "an array of objects")) {
        return;
    }
    char *items = reader_keep(reader, value->count, field->shape->size);
    for (uint32_t i = 0; i < value->count && items; i++) {
        reader_read_object(reader, field->shape, &value->items[i], items + i * field->shape->size);
    }
    list->items = items;
    list->count = items ? value->count : 0;
}

void reader_add_cap(struct catalog_reader *reader, enum entity_kind kind, uint32_t entity,
                    uint32_t cap)
{
    struct cap_pairs *pairs = &reader->cap_pairs[kind];
    if (reader_grow(reader, (void **)&pairs->items, pairs->count, &pairs->capacity,
                    sizeof(pairs->items[0]))) {
        pairs->items[pairs->count++] = (struct cap_pair){.entity = entity, .cap = cap};
    }
}

static void read_caps(struct catalog_reader *reader, const struct json_value *value)
{
    if (!reader_expect(reader, value, JSON_ARRAY, "an array of frequency cap ids")) {
        return;
    }
    for (uint32_t i = 0; i < value->count; i++) {
        uint32_t cap = reader_resolve(reader, ENTITY_CAP, &value->items[i]);
        if (cap != CATALOG_NONE) {
            reader_add_cap(reader, reader->current_kind, reader->current, cap);
        }
    }
}

/* --- one field ------------------------------------------------------------------------------ */

static void read_field(struct catalog_reader *reader, const struct field *field,
                       const struct json_value *value, void *object)
{
    void *member = (char *)object + field->offset;
    int64_t number = 0;
    bool read = false;
    switch (field->kind) {
    case FIELD_ID:
    case FIELD_ENTITIES:
        return; /* read before, see catalog_ids.c */
    case FIELD_STRING:
        *(struct str *)member = read_text(reader, value, field->rule);
        return;
    case FIELD_BOOL:
        if (reader_expect(reader, value, JSON_BOOL, "true or false")) {
            *(bool *)member = value->boolean;
        }
        return;
    case FIELD_INT:
        read = reader_read_int(reader, value, field->min, field->max, &number);
        number *= field->scale ? field->scale : 1;
        break;
    case FIELD_MICROS:
        read = reader_read_micros(reader, value, field->min, field->max, &number);
        break;
    case FIELD_DURATION:
        read = reader_read_duration(reader, value, field->min, field->max, &number);
        break;
    case FIELD_CHOICE:
        read = reader_read_choice(reader, value, field->choices, &number);
        break;
    case FIELD_START:
    case FIELD_END:
        read_date(reader, value, field->kind == FIELD_END, member);
        return;
    case FIELD_REF:
        *(uint32_t *)member = reader_resolve(reader, field->target, value);
        return;
    case FIELD_REFS:
        reader_read_refs(reader, value, field->target, member);
        return;
    case FIELD_STRINGS:
        reader_read_strings(reader, value, field->rule, member);
        return;
    case FIELD_INTS:
        read_ints(reader, field, value, member);
        return;
    case FIELD_BITS:
        read_bits(reader, field, value, member);
        return;
    case FIELD_OBJECT:
        reader_read_object(reader, field->shape, value, member);
        return;
    case FIELD_OBJECTS:
        read_objects(reader, field, value, member);
        return;
    case FIELD_CAPS:
        read_caps(reader, value);
        return;
    case FIELD_SPECIAL:
        field->read(reader, field, value, object);
        return;
    }
    if (read) {
        store(member, field->size, number);
    }
}

static void set_standard(const struct field *field, void *object)
{
    void *member = (char *)object + field->offset;
    if (field->kind == FIELD_REF) {
        *(uint32_t *)member = CATALOG_NONE;
    } else if (field->standard) {
        store(member, field->size, field->standard);
    }
}

static uint32_t find_field(const struct shape *shape, struct str name)
{
    for (uint32_t i = 0; i < shape->field_count; i++) {
        const char *known = shape->fields[i].name;
        if (str_eq(str_from(known), name)) {
            return i;
        }
    }
    return UINT32_MAX;
}

static void report_unknown(struct catalog_reader *reader, const struct shape *shape,
                           const struct json_member *member)
{
    bool shown = reader->found_count < PROBLEM_LIMIT; /* else a guess would be for nobody */
    uint32_t best = value_guess_limit(member->key.len) + 1;
    const char *guess = NULL;
    for (uint32_t i = 0; i < shape->field_count && shown; i++) {
        uint32_t distance =
            best ? value_distance(member->key, str_from(shape->fields[i].name), best - 1) : 1;
        if (distance < best) {
            best = distance;
            guess = shape->fields[i].name;
        }
    }
    struct json_value key = {.type = JSON_STRING, .text = member->key};
    reader_report(reader, PROBLEM_ERROR, member->key_offset, "unknown field %.*s%s%s%s",
                  STR_ARG(reader_found(reader, &key)), guess ? "; did you mean \"" : "",
                  guess ? guess : "", guess ? "\"?" : "");
}

void reader_read_object(struct catalog_reader *reader, const struct shape *shape,
                        const struct json_value *value, void *object)
{
    BUG_ON(shape->field_count > SHAPE_MAX_FIELDS);
    for (uint32_t i = 0; i < shape->field_count; i++) {
        set_standard(&shape->fields[i], object);
    }
    if (!reader_expect(reader, value, JSON_OBJECT, "an object")) {
        return;
    }
    uint64_t seen = 0;
    for (uint32_t i = 0; i < value->count && !reader->no_memory; i++) {
        const struct json_member *member = &value->members[i];
        uint32_t index = find_field(shape, member->key);
        if (index == UINT32_MAX) {
            if (!str_eq(member->key, STR("comment"))) {
                report_unknown(reader, shape, member);
            }
            continue;
        }
        if (seen >> index & 1) {
            reader_report(reader, PROBLEM_ERROR, member->key_offset,
                          "field \"%s\" stands twice in this object", shape->fields[index].name);
            continue;
        }
        seen |= 1ull << index;
        read_field(reader, &shape->fields[index], &member->value, object);
    }
    for (uint32_t i = 0; i < shape->field_count; i++) {
        const struct field *field = &shape->fields[i];
        /* A missing id was reported when ids were collected. */
        if (field->required && !(seen >> i & 1) && field->kind != FIELD_ID) {
            reader_error(reader, value, "\"%s\" is missing: %s", field->name, field->text);
        }
    }
}
