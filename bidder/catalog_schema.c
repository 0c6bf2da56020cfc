#include "bidder/catalog_schema.h"

#include "bidder/base/bug.h"
#include "bidder/catalog_reader.h"
#include "bidder/catalog_text.h"

#define MAX_SHAPES  64
#define DRAFT_LIMIT ((size_t)1 << 20)

/* Every shape once, the outer before what it contains. */
struct shape_list {
    const struct shape *items[MAX_SHAPES];
    uint32_t count;
};

static void list_shapes(struct shape_list *list, const struct shape *shape)
{
    for (uint32_t i = 0; i < list->count; i++) {
        if (list->items[i] == shape) {
            return;
        }
    }
    BUG_ON(list->count == MAX_SHAPES);
    list->items[list->count++] = shape;
    for (uint32_t i = 0; i < shape->field_count; i++) {
        if (shape->fields[i].shape) {
            list_shapes(list, shape->fields[i].shape);
        }
    }
}

/* --- JSON Schema ---------------------------------------------------------------------------- */

static void put_text_rule(struct buf *out, enum text_rule rule)
{
    buf_printf(out, "\"type\":\"string\",\"pattern\":\"");
    buf_put_json_escaped(out, str_from(text_rules[rule].pattern));
    buf_put_char(out, '"');
}

static void put_choices(struct buf *out, const struct choice *choices)
{
    BUF_PUT_LITERAL(out, "\"enum\":[");
    for (const struct choice *c = choices; c->name; c++) {
        buf_printf(out, "%s\"%s\"", c == choices ? "" : ",", c->name);
    }
    buf_put_char(out, ']');
}

static void put_amount(struct buf *out, const struct field *field)
{
    BUF_PUT_LITERAL(out, "\"anyOf\":[{\"type\":\"number\",\"minimum\":");
    buf_put_micros(out, field->min);
    BUF_PUT_LITERAL(out, ",\"maximum\":");
    buf_put_micros(out, field->max);
    BUF_PUT_LITERAL(out, "},{\"$ref\":\"#/$defs/amount_text\"}]");
}

static void put_items(struct buf *out, const char *before, const struct field *field,
                      const char *behind)
{
    buf_printf(out, "\"type\":\"array\",\"items\":{%s", before);
    if (field) {
        put_text_rule(out, field->rule);
    }
    buf_printf(out, "%s}", behind);
}

/* The schema of a field without the braces around it. */
static void put_kind(struct buf *out, const struct field *field)
{
    switch (field->kind) {
    case FIELD_ID:
    case FIELD_STRING:
        put_text_rule(out, field->rule);
        break;
    case FIELD_BOOL:
        BUF_PUT_LITERAL(out, "\"type\":\"boolean\"");
        break;
    case FIELD_INT:
        buf_printf(out, "\"type\":\"integer\",\"minimum\":%" PRId64 ",\"maximum\":%" PRId64,
                   field->min, field->max);
        break;
    case FIELD_MICROS:
        put_amount(out, field);
        break;
    case FIELD_DURATION:
        BUF_PUT_LITERAL(out, "\"$ref\":\"#/$defs/duration\"");
        break;
    case FIELD_CHOICE:
        put_choices(out, field->choices);
        break;
    case FIELD_START:
    case FIELD_END:
        BUF_PUT_LITERAL(out, "\"$ref\":\"#/$defs/date\"");
        break;
    case FIELD_REF:
        BUF_PUT_LITERAL(out, "\"$ref\":\"#/$defs/id\"");
        break;
    case FIELD_REFS:
        put_items(out, "\"$ref\":\"#/$defs/id\"", NULL, "");
        BUF_PUT_LITERAL(out, ",\"uniqueItems\":true");
        break;
    case FIELD_CAPS:
        put_items(out, "\"$ref\":\"#/$defs/id\"", NULL, "");
        break;
    case FIELD_STRINGS:
        put_items(out, "", field, "");
        break;
    case FIELD_INTS:
        buf_printf(out,
                   "\"type\":\"array\",\"items\":{\"type\":\"integer\",\"minimum\":%" PRId64
                   ",\"maximum\":%" PRId64 "}",
                   field->min, field->max);
        break;
    case FIELD_BITS:
        BUF_PUT_LITERAL(out, "\"type\":\"array\",\"items\":{");
        put_choices(out, field->choices);
        buf_put_char(out, '}');
        break;
    case FIELD_OBJECTS:
    case FIELD_ENTITIES:
        buf_printf(out, "\"type\":\"array\",\"items\":{\"$ref\":\"#/$defs/%s\"}",
                   field->shape->name);
        break;
    case FIELD_OBJECT:
        buf_printf(out, "\"$ref\":\"#/$defs/%s\"", field->shape->name);
        break;
    case FIELD_SPECIAL:
        if (field->schema) { /* an object in braces */
            buf_put(out, field->schema + 1, strlen(field->schema) - 2);
        } else {
            buf_printf(out, "\"$ref\":\"#/$defs/%s\"", field->shape->name);
        }
        break;
    }
}

/* The default as the file would say it; false when words must do. */
static bool put_standard(struct buf *out, const struct field *field)
{
    int64_t scale = field->scale ? field->scale : 1;
    if (field->otherwise || field->required) {
        return false;
    }
    if (field->kind == FIELD_BOOL) {
        buf_put_str(out, field->standard ? STR("true") : STR("false"));
        return true;
    }
    if (field->kind == FIELD_INT) {
        buf_put_i64(out, field->standard / scale);
        return true;
    }
    if (field->kind == FIELD_DURATION) {
        buf_put_char(out, '"');
        catalog_put_duration(out, field->standard);
        buf_put_char(out, '"');
        return true;
    }
    for (const struct choice *c = field->choices; field->kind == FIELD_CHOICE && c->name; c++) {
        if (c->value == field->standard) {
            buf_printf(out, "\"%s\"", c->name);
            return true;
        }
    }
    return false;
}

static void put_properties(struct buf *out, const struct shape *shape)
{
    buf_printf(out, "\"description\":\"%s\",\"type\":\"object\",\"properties\":{", shape->text);
    for (uint32_t i = 0; i < shape->field_count; i++) {
        const struct field *field = &shape->fields[i];
        buf_printf(out, "\"%s\":{\"description\":\"", field->name);
        buf_put_json_escaped(out, str_from(field->text));
        BUF_PUT_LITERAL(out, "\",");
        size_t before = out->len;
        BUF_PUT_LITERAL(out, "\"default\":");
        if (put_standard(out, field)) {
            buf_put_char(out, ',');
        } else {
            out->len = before;
        }
        put_kind(out, field);
        BUF_PUT_LITERAL(out, "},");
    }
    BUF_PUT_LITERAL(out, "\"comment\":true},\"additionalProperties\":false");
    bool first = true;
    for (uint32_t i = 0; i < shape->field_count; i++) {
        if (shape->fields[i].required) {
            buf_printf(out, "%s\"%s\"", first ? ",\"required\":[" : ",", shape->fields[i].name);
            first = false;
        }
    }
    buf_put_str(out, first ? STR("") : STR("]"));
}

/* One member or item a line; {} and [] of scalars stay on one. */
static void put_indented(struct str json, struct buf *out)
{
    bool in_text = false;
    uint32_t depth = 0, flat = 0; /* flat: inside an array without objects */
    for (size_t i = 0; i < json.len; i++) {
        char c = json.ptr[i];
        if (in_text || c == '"') {
            in_text = c == '"' ? !in_text : true;
            buf_put_char(out, c);
            if (c == '\\') {
                buf_put_char(out, json.ptr[++i]);
            }
            continue;
        }
        if (c == '[') {
            const char *close = memchr(json.ptr + i, ']', json.len - i);
            flat = flat || !memchr(json.ptr + i, '{', (size_t)(close - json.ptr) - i);
        }
        bool opens = (c == '{' || c == '[') && !flat, closes = (c == '}' || c == ']') && !flat;
        depth -= closes;
        depth += opens;
        if (closes) {
            buf_printf(out, "\n%*s", (int)(2 * depth), "");
        }
        buf_put_char(out, c);
        if (c == ']' && flat) {
            flat = 0;
        } else if (opens || (c == ',' && !flat)) {
            buf_printf(out, "\n%*s", (int)(2 * depth), "");
        } else if (c == ':' || c == ',') {
            buf_put_char(out, ' ');
        }
    }
    buf_put_char(out, '\n');
}

static const char common_defs[] =
    "\"id\":{\"type\":\"string\",\"minLength\":1},"
    "\"amount_text\":{\"description\":\"a number as text, for exact decimals\",\"type\":\"string\","
    "\"pattern\":\"^-?(0|[1-9][0-9]*)(\\\\.[0-9]+)?([eE][+-]?[0-9]+)?$\"},"
    "\"amount\":{\"anyOf\":[{\"type\":\"number\",\"exclusiveMinimum\":0},"
    "{\"$ref\":\"#/$defs/amount_text\"}]},"
    "\"duration\":{\"description\":\"such as 90s, 30m, 1h, 7d, 2w or 1d12h\",\"type\":\"string\","
    "\"minLength\":2,"
    "\"pattern\":\"^([0-9]+w)?([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?$\"},"
    "\"date\":{\"description\":\"a day in the catalog's timezone, or an RFC 3339 time\","
    "\"type\":\"string\",\"pattern\":\"^[0-9]{4}-[0-9]{2}-[0-9]{2}([Tt ][0-9]{2}:[0-9]{2}"
    "(:[0-9]{2})?([Zz]|[+-][0-9]{2}:[0-9]{2})?)?$\"}";

void catalog_schema_put(struct buf *out)
{
    struct shape_list shapes = {.count = 0};
    list_shapes(&shapes, &shape_root);
    struct buf draft;
    buf_init(&draft, DRAFT_LIMIT);
    BUF_PUT_LITERAL(&draft, "{\"$schema\":\"https://json-schema.org/draft/2020-12/schema\","
                            "\"title\":\"Jointcap catalog\",");
    put_properties(&draft, &shape_root);
    BUF_PUT_LITERAL(&draft, ",\"$defs\":{");
    BUF_PUT_LITERAL(&draft, common_defs);
    for (uint32_t i = 1; i < shapes.count; i++) {
        buf_printf(&draft, ",\"%s\":{", shapes.items[i]->name);
        put_properties(&draft, shapes.items[i]);
        buf_put_char(&draft, '}');
    }
    BUF_PUT_LITERAL(&draft, "}}");
    BUG_ON(buf_failed(&draft));
    put_indented(buf_str(&draft), out);
    buf_deinit(&draft);
}

/* --- the reference in CATALOG.md ------------------------------------------------------------ */

static void put_form(struct buf *out, const struct field *field)
{
    switch (field->kind) {
    case FIELD_ID:
    case FIELD_STRING:
        buf_put_str(out,
                    str_from(field->rule == TEXT_ANY ? "text" : text_rules[field->rule].expected));
        break;
    case FIELD_BOOL:
        BUF_PUT_LITERAL(out, "true or false");
        break;
    case FIELD_INT:
        buf_printf(out, "%" PRId64 " to %" PRId64, field->min, field->max);
        break;
    case FIELD_MICROS:
        BUF_PUT_LITERAL(out, "number or \"12.50\"");
        break;
    case FIELD_DURATION:
        BUF_PUT_LITERAL(out, "duration");
        break;
    case FIELD_START:
    case FIELD_END:
        BUF_PUT_LITERAL(out, "day or time");
        break;
    case FIELD_CHOICE:
    case FIELD_BITS:
        buf_put_str(out, field->kind == FIELD_BITS ? STR("list of ") : STR(""));
        for (const struct choice *c = field->choices; c->name; c++) {
            buf_printf(out, "%s`%s`", c == field->choices ? "" : ", ", c->name);
        }
        break;
    case FIELD_REF:
        buf_printf(out, "%s id", entity_name(field->target));
        break;
    case FIELD_REFS:
    case FIELD_CAPS:
        buf_printf(out, "list of %s ids", entity_name(field->target));
        break;
    case FIELD_STRINGS:
        BUF_PUT_LITERAL(out, "list of texts");
        break;
    case FIELD_INTS:
        BUF_PUT_LITERAL(out, "list of numbers");
        break;
    case FIELD_ENTITIES:
    case FIELD_OBJECTS:
        buf_printf(out, "list of [%s](#%s)", field->shape->name, field->shape->name);
        break;
    case FIELD_OBJECT:
    case FIELD_SPECIAL:
        if (field->shape) {
            buf_printf(out, "[%s](#%s)", field->shape->name, field->shape->name);
        } else {
            BUF_PUT_LITERAL(out, "see the meaning");
        }
        break;
    }
}

static void put_default(struct buf *out, const struct field *field)
{
    if (field->required) {
        BUF_PUT_LITERAL(out, "**required**");
    } else if (field->otherwise) {
        buf_put_str(out, str_from(field->otherwise));
    } else {
        buf_put_char(out, '`');
        put_standard(out, field);
        buf_put_char(out, '`');
    }
}

void catalog_reference_put(struct buf *out)
{
    struct shape_list shapes = {.count = 0};
    list_shapes(&shapes, &shape_root);
    for (uint32_t i = 0; i < shapes.count; i++) {
        const struct shape *shape = shapes.items[i];
        buf_printf(out,
                   "\n### %s\n\n%s\n\n| field | form | default | meaning |\n|---|---|---|---|\n",
                   shape->name, shape->text);
        for (uint32_t f = 0; f < shape->field_count; f++) {
            const struct field *field = &shape->fields[f];
            buf_printf(out, "| `%s` | ", field->name);
            put_form(out, field);
            BUF_PUT_LITERAL(out, " | ");
            put_default(out, field);
            BUF_PUT_LITERAL(out, " | ");
            for (const char *c = field->text; *c; c++) {
                buf_put_str(out, *c == '|' ? STR("\\|") : (struct str){c, 1});
            }
            BUF_PUT_LITERAL(out, " |\n");
        }
    }
}
