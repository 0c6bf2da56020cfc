/* The request path's decoder: one pass over the body, driven by the tables of openrtb_fields.c.
 *
 * Owns nothing: strings are views into the body (into the arena when they held escapes), lists lie
 * in the arena. A limit that is hit does not stop the reading, so that a body which is not JSON is
 * called that whatever else is wrong with it; only a full arena does. */
#include "proto/openrtb.h"

#include "bidder/base/bug.h"
#include "bidder/base/json_text.h"
#include "proto/openrtb_fields.h"
#include "proto/openrtb_wire.h"

struct decoder {
    struct json_text text;
    struct arena *arena;
    struct bid_request *request; /* for its ext list */
    bool too_large;
};

static const char *decode_object(struct decoder *d, const char *at, const struct field_table *table,
                                 void *base);
static const char *decode_field(struct decoder *d, const char *at, const struct field *field,
                                void *to);

/* An item for what was just read; NULL when the list is full, or, with *at nowhere, when the arena
 * is. Inlined where the size is known. */
static inline __attribute__((always_inline)) void *push(struct decoder *d, const char **at,
                                                        void *list, size_t size, uint32_t max)
{
    void *item;
    switch (openrtb_push(d->arena, list, size, max, &item)) {
    case OPENRTB_PUSHED:
        return item;
    case OPENRTB_FULL:
        d->too_large = true;
        return NULL;
    case OPENRTB_NO_MEMORY:
        *at = json_text_fail(&d->text, JSON_ERROR_MEMORY);
        return NULL;
    }
    return NULL;
}

static inline const char *skip(struct decoder *d, const char *at)
{
    return json_text_skip(&d->text, at);
}

/* --- scalars ------------------------------------------------------------------------------- */

/* A text or a number as written. ptr is NULL when it is neither or empty. */
static inline __attribute__((always_inline)) const char *take_text(struct decoder *d,
                                                                   const char *at, struct str *text)
{
    if (LIKELY(*at == '"')) {
        at = json_text_string(&d->text, at, text);
        if (UNLIKELY(text->len - 1 >= BIDREQ_MAX_TEXT)) {
            d->too_large |= text->len != 0;
            *text = STR_NONE;
        }
        return at;
    }
    *text = STR_NONE;
    if (json_text_peek(at) == JSON_NUMBER) {
        struct str number;
        at = json_text_number(&d->text, at, &number);
        *text = number;
        return at;
    }
    return skip(d, at);
}

/* The text of a number: a number, a string that holds one, or a boolean as 1 or 0. ptr is NULL
 * when it is none of these. */
static const char *take_number(struct decoder *d, const char *at, struct str *number)
{
    enum json_type type = json_text_peek(at);
    if (LIKELY(type == JSON_NUMBER)) {
        return json_text_number(&d->text, at, number);
    }
    *number = STR_NONE;
    if (type == JSON_BOOL) {
        *number = *at == 't' ? STR("1") : STR("0");
    } else if (type == JSON_STRING) {
        struct str text;
        at = json_text_string(&d->text, at, &text);
        text = str_trim(text);
        if (json_number_valid(text)) {
            *number = text;
        }
        return at;
    }
    return skip(d, at);
}

static inline const char *decode_text(struct decoder *d, const char *at, struct str *to)
{
    struct str text;
    at = take_text(d, at, &text);
    if (LIKELY(text.ptr)) {
        *to = text;
    }
    return at;
}

static void store_int(enum field_kind kind, void *to, int32_t value)
{
    if (kind == FIELD_INT) {
        *(int32_t *)to = value;
    } else if (value >= 0) {
        if (kind == FIELD_COUNT) {
            *(int32_t *)to = value;
        } else if (kind == FIELD_FLAG) {
            *(int32_t *)to = value != 0;
        } else {
            *(bool *)to = value != 0;
        }
    }
}

static __attribute__((noinline)) const char *decode_int(struct decoder *d, const char *at,
                                                        enum field_kind kind, void *to)
{
    uint32_t small;
    unsigned length = json_text_small(&d->text, at, &small);
    if (LIKELY(length)) {
        store_int(kind, to, (int32_t)small);
        at += length;
        return at;
    }
    struct str number;
    at = take_number(d, at, &number);
    if (number.ptr) {
        store_int(kind, to, json_number_to_i32(number));
    }
    return at;
}

static __attribute__((noinline)) const char *decode_micros(struct decoder *d, const char *at,
                                                           enum field_kind kind, int64_t *to)
{
    unsigned length = json_text_small_micros(&d->text, at, to);
    if (LIKELY(length)) {
        at += length;
        return at;
    }
    struct str number;
    at = take_number(d, at, &number);
    int64_t micros = number.ptr ? json_number_to_micros(number) : 0;
    if (number.ptr && (micros >= 0 || kind == FIELD_DEGREES)) {
        *to = micros;
    }
    return at;
}

/* --- lists --------------------------------------------------------------------------------- */

static const char *append_text(struct decoder *d, const char *at, struct str_list *list)
{
    struct str text;
    at = take_text(d, at, &text);
    struct str *item = text.ptr ? push(d, &at, list, sizeof(*item), BIDREQ_MAX_LIST) : NULL;
    if (item) {
        *item = text;
    }
    return at;
}

static const char *append_int(struct decoder *d, const char *at, struct int_list *list)
{
    uint32_t small;
    struct str number = STR("");
    unsigned length = json_text_small(&d->text, at, &small);
    at += length;
    if (UNLIKELY(!length)) {
        at = take_number(d, at, &number);
        small = number.ptr ? (uint32_t)json_number_to_i32(number) : 0;
    }
    int32_t *item = number.ptr ? push(d, &at, list, sizeof(*item), BIDREQ_MAX_LIST) : NULL;
    if (item) {
        *item = (int32_t)small;
    }
    return at;
}

/* One text, split at commas. */
static const char *append_keywords(struct decoder *d, const char *at, struct str_list *list)
{
    struct str text;
    at = take_text(d, at, &text);
    while (text.len) {
        struct str word = str_trim(str_cut(&text, ','));
        struct str *item = word.len ? push(d, &at, list, sizeof(*item), BIDREQ_MAX_LIST) : NULL;
        if (item) {
            *item = word;
        }
    }
    return at;
}

static const char *append_scalar(struct decoder *d, const char *at, enum field_kind kind,
                                 void *list)
{
    return kind == FIELD_INTS       ? append_int(d, at, list)
           : kind == FIELD_KEYWORDS ? append_keywords(d, at, list)
                                    : append_text(d, at, list);
}

static __attribute__((noinline)) const char *decode_list(struct decoder *d, const char *at,
                                                         enum field_kind kind, void *list)
{
    if (UNLIKELY(*at != '[')) {
        return append_scalar(d, at, kind, list);
    }
    for (bool more = json_text_first(&d->text, &at, ']'); more;
         more = json_text_next(&d->text, &at, ']')) {
        at = append_scalar(d, at, kind, list);
    }
    return at;
}

/* --- objects ------------------------------------------------------------------------------- */

static const char *append_object(struct decoder *d, const char *at, const struct field *field,
                                 void *list)
{
    const struct field_table *table = field->table;
    void *item = NULL;
    if (LIKELY(json_text_peek(at) == JSON_OBJECT)) {
        item = push(d, &at, list, table->size, field->arg);
    }
    return item ? decode_object(d, at, table, item) : skip(d, at);
}

/* Of EACH, FIRST and OBJECTS: one item; *done says that the first object was there. */
static const char *decode_item(struct decoder *d, const char *at, const struct field *field,
                               void *to, bool *done)
{
    if (field->kind == FIELD_OBJECTS) {
        return append_object(d, at, field, to);
    }
    if (json_text_peek(at) == JSON_OBJECT && !(*done && field->kind == FIELD_FIRST)) {
        *done = true;
        return decode_object(d, at, field->table, to);
    }
    return skip(d, at);
}

/* Over an array's objects, or over a single one in its place. */
static const char *decode_objects(struct decoder *d, const char *at, const struct field *field,
                                  void *to)
{
    bool done = false;
    if (UNLIKELY(*at != '[')) {
        return decode_item(d, at, field, to, &done);
    }
    for (bool more = json_text_first(&d->text, &at, ']'); more;
         more = json_text_next(&d->text, &at, ']')) {
        at = decode_item(d, at, field, to, &done);
    }
    return at;
}

static const char *decode_pointer(struct decoder *d, const char *at, const struct field *field,
                                  void *to)
{
    if (json_text_peek(at) != JSON_OBJECT) {
        return skip(d, at);
    }
    void *object = arena_calloc(d->arena, 1, field->table->size);
    if (!object) {
        return json_text_fail(&d->text, JSON_ERROR_MEMORY);
    }
    memcpy(to, &object, sizeof(object)); /* the member's type is a pointer to another struct */
    return decode_object(d, at, field->table, object);
}

static const char *decode_inside(struct decoder *d, const char *at, const struct field *field,
                                 void *to)
{
    return LIKELY(json_text_peek(at) == JSON_OBJECT) ? decode_object(d, at, field->table, to)
                                                     : skip(d, at);
}

static const char *decode_asset_part(struct decoder *d, const char *at, const struct field *field,
                                     struct bidreq_asset *asset)
{
    struct bidreq_asset part = {0};
    openrtb_default_asset(&part);
    if (json_text_peek(at) != JSON_OBJECT) {
        return skip(d, at);
    }
    at = decode_object(d, at, field->table, &part);
    openrtb_asset_adopt(asset, &part, (enum bidreq_asset_kind)field->arg);
    return at;
}

/* Markup as a text. Whatever is wrong inside makes this native offer malformed, not the request. */
bool openrtb_markup_decode(struct str text, struct arena *arena, struct openrtb_native *native)
{
    struct decoder d; /* not zeroed as a whole: its index is large */
    d.arena = arena;
    d.request = NULL;
    d.too_large = false;
    struct openrtb_markup markup = {.root = NULL};
    const char *at = json_text_begin(&d.text, text, arena, BIDREQ_MAX_DEPTH);
    if (json_text_peek(at) == JSON_OBJECT) {
        at = decode_object(&d, at, &openrtb_markup_table, &markup);
        if (json_text_finish(&d.text, at) && !d.too_large) {
            openrtb_native_adopt(native, &markup);
        }
    }
    return d.text.error != JSON_ERROR_MEMORY;
}

/* native.request: an object, or a text that holds one. */
static const char *decode_markup(struct decoder *d, const char *at, struct openrtb_native *native)
{
    enum json_type type = json_text_peek(at);
    if (type == JSON_STRING) {
        struct str text;
        at = json_text_string(&d->text, at, &text);
        bool room = !text.ptr || openrtb_markup_decode(text, d->arena, native);
        return room ? at : json_text_fail(&d->text, JSON_ERROR_MEMORY);
    }
    if (type != JSON_OBJECT) {
        return skip(d, at);
    }
    struct openrtb_markup markup = {.root = NULL};
    bool too_large = d->too_large;
    d->too_large = false;
    at = decode_object(d, at, &openrtb_markup_table, &markup);
    openrtb_native_adopt(native, d->too_large ? NULL : &markup);
    d->too_large = too_large;
    return at;
}

/* --- ext scalars --------------------------------------------------------------------------- */

static bool has_ext(const struct bid_request *request, struct str prefix, struct str key)
{
    for (uint32_t i = 0; i < request->ext.count; i++) {
        struct str path = request->ext.items[i].path;
        if (path.len == prefix.len + key.len && str_starts(path, prefix) &&
            memcmp(path.ptr + prefix.len, key.ptr, key.len) == 0) {
            return true;
        }
    }
    return false;
}

static const char *keep_ext(struct decoder *d, const char *at, struct str prefix, struct str key,
                            struct str value)
{
    char *path = arena_alloc(d->arena, prefix.len + key.len);
    struct bidreq_ext *item =
        path ? push(d, &at, &d->request->ext, sizeof(*item), BIDREQ_MAX_EXT) : NULL;
    if (!item) {
        return json_text_fail(&d->text, JSON_ERROR_MEMORY);
    }
    memcpy(path, prefix.ptr, prefix.len);
    memcpy(path + prefix.len, key.ptr, key.len);
    item->path = (struct str){.ptr = path, .len = prefix.len + key.len};
    item->value = value;
    return at;
}

/* A string, number or boolean directly inside an ext object: kept under its path, and put `to` the
 * field of that name unless that is NULL (which takes texts only: booleans are not for it). */
static const char *decode_ext_scalar(struct decoder *d, const char *at, struct str prefix,
                                     struct str key, struct str *to)
{
    bool keep = d->request->ext.count < BIDREQ_MAX_EXT && !has_ext(d->request, prefix, key);
    struct str value;
    if (!keep && !to) {
        return skip(d, at);
    }
    if (json_text_peek(at) == JSON_BOOL) {
        value = *at == 't' ? STR("true") : STR("false");
        at = skip(d, at);
        to = NULL;
    } else {
        at = take_text(d, at, &value);
    }
    if (!value.ptr || d->text.error) {
        return at;
    }
    if (to) {
        *to = value;
    }
    return keep ? keep_ext(d, at, prefix, key, value) : at;
}

/* One member of an ext object; field NULL: none of that name. */
static const char *decode_ext_member(struct decoder *d, const char *at, struct str prefix,
                                     struct str key, const struct field *field, void *base)
{
    enum json_type type = json_text_peek(at);
    void *to = field ? (char *)base + field->offset : NULL;
    if (type == JSON_STRING || type == JSON_NUMBER || type == JSON_BOOL) {
        bool text = field && field->kind == FIELD_TEXT;
        return decode_ext_scalar(d, at, prefix, key, text ? to : NULL);
    }
    return field ? decode_field(d, at, field, to) : skip(d, at);
}

/* --- the loop ------------------------------------------------------------------------------ */

static __attribute__((noinline)) const char *decode_field(struct decoder *d, const char *at,
                                                          const struct field *field, void *to)
{
    switch (field->kind) {
    case FIELD_TEXT:
        return decode_text(d, at, to);
    case FIELD_INT:
    case FIELD_COUNT:
    case FIELD_FLAG:
    case FIELD_BOOL:
        return decode_int(d, at, field->kind, to);
    case FIELD_PRICE:
    case FIELD_DEGREES:
        return decode_micros(d, at, field->kind, to);
    case FIELD_TEXTS:
    case FIELD_INTS:
    case FIELD_KEYWORDS:
        return decode_list(d, at, field->kind, to);
    case FIELD_APPEND:
        return append_text(d, at, to);
    case FIELD_INSIDE:
        return decode_inside(d, at, field, to);
    case FIELD_EACH:
    case FIELD_FIRST:
    case FIELD_OBJECTS:
        return decode_objects(d, at, field, to);
    case FIELD_OBJECT:
        return decode_pointer(d, at, field, to);
    case FIELD_MARKUP:
        return decode_markup(d, at, to);
    case FIELD_ASSET:
        return decode_asset_part(d, at, field, to);
    }
    return at;
}

/* The first of equal keys counts, whatever its type; later ones are only checked. Recursion is
 * bounded by the tables. */
static const char *decode_object(struct decoder *d, const char *at, const struct field_table *table,
                                 void *base)
{
    uint64_t seen = 0;
    if (table->enter) {
        table->enter(base);
    }
    for (bool more = json_text_first(&d->text, &at, '}'); more;
         more = json_text_next(&d->text, &at, '}')) {
        struct str key;
        at = json_text_key(&d->text, at, &key);
        if (UNLIKELY(!key.ptr)) {
            break;
        }
        unsigned index = field_find(table, key, &d->text);
        const struct field *field = NULL;
        if (LIKELY(index != FIELD_NONE) && LIKELY(!(seen >> index & 1))) {
            field = &table->fields[index];
            seen |= (uint64_t)1 << index;
        }
        if (UNLIKELY(table->scalars.len)) {
            at = decode_ext_member(d, at, table->scalars, key, field, base);
        } else if (!field) {
            at = skip(d, at);
        } else if (field->kind == FIELD_TEXT) { /* half of all: spares the switch's jump */
            at = decode_text(d, at, (void *)((char *)base + field->offset));
        } else {
            at = decode_field(d, at, field, (char *)base + field->offset);
        }
    }
    return at;
}

static enum bidreq_reject reject_of(enum json_error error)
{
    switch (error) {
    case JSON_ERROR_DEPTH:
        return BIDREQ_TOO_DEEP;
    case JSON_ERROR_MEMORY:
        return BIDREQ_NO_MEMORY;
    default:
        return BIDREQ_NOT_JSON;
    }
}

enum bidreq_reject openrtb_json_decode(struct str body, struct arena *arena,
                                       struct bid_request *request)
{
    struct openrtb_wire wire;
    openrtb_wire_init(&wire, arena);
    struct decoder d; /* not zeroed as a whole: its index is large */
    d.arena = arena;
    d.request = &wire.request;
    d.too_large = false;
    const char *at = json_text_begin(&d.text, body, arena, BIDREQ_MAX_DEPTH);
    bool object = *at == '{';
    if (LIKELY(object)) {
        at = decode_object(&d, at, &openrtb_root_table, &wire);
    }
    enum bidreq_reject reject = BIDREQ_OK;
    if (UNLIKELY(!json_text_finish(&d.text, at))) {
        reject = reject_of(d.text.error);
    } else if (UNLIKELY(!wire.request.id.len && openrtb_is_ping(body))) {
        reject = BIDREQ_PING;
    } else if (UNLIKELY(!object)) {
        reject = BIDREQ_NOT_OBJECT;
    } else if (UNLIKELY(d.too_large)) {
        reject = BIDREQ_TOO_LARGE;
    }
    if (UNLIKELY(reject)) {
        *request = wire.request; /* as far as it was read: its id may serve a message */
        return reject;
    }
    return openrtb_wire_finish(&wire, request);
}
