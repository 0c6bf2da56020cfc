/* The request path's decoder: one pass over the body, driven by the tables of openrtb_fields.c.
 *
 * Owns nothing: strings are views into the body (into the arena when they held escapes), lists lie
 * in the arena. A limit that is hit does not stop the reading, so that a body which is not JSON is
 * called that whatever else is wrong with it; only a full arena does. */
#include "proto/openrtb.h"

#include "bidder/base/bug.h"
#include "bidder/base/json.h"
#include "proto/openrtb_fields.h"
#include "proto/openrtb_wire.h"

struct decoder {
    struct json_reader r;
    struct arena *arena;
    struct bid_request *request; /* for its ext list */
    bool too_large;
};

static void decode_object(struct decoder *d, const struct field_table *table, void *base);

/* NULL when the list is full or the arena is; the caller then skips the value. */
static void *push(struct decoder *d, void *list, size_t size, uint32_t max)
{
    void *item;
    switch (openrtb_push(d->arena, list, size, max, &item)) {
    case OPENRTB_PUSHED:
        return item;
    case OPENRTB_FULL:
        d->too_large = true;
        return NULL;
    case OPENRTB_NO_MEMORY:
        json_fail(&d->r, JSON_ERROR_MEMORY);
        return NULL;
    }
    return NULL;
}

/* --- scalars ------------------------------------------------------------------------------- */

/* A text or a number as written. ptr is NULL, and the value consumed, when it is neither or empty.
 * By value all the way: see json_take_string. */
static struct str take_text(struct decoder *d)
{
    enum json_type type = json_peek(&d->r);
    if (LIKELY(type == JSON_STRING)) {
        struct str text = json_take_string(&d->r);
        if (UNLIKELY(text.len > BIDREQ_MAX_TEXT)) {
            d->too_large = true;
            return STR_NONE;
        }
        return text.len ? text : STR_NONE;
    }
    if (type == JSON_NUMBER) {
        return json_take_number(&d->r);
    }
    json_skip(&d->r);
    return STR_NONE;
}

/* The text of a number: a number, a string that holds one, or a boolean as 1 or 0. ptr is NULL,
 * and the value consumed, when it is none of these. */
static struct str take_number(struct decoder *d)
{
    enum json_type type = json_peek(&d->r);
    if (LIKELY(type == JSON_NUMBER)) {
        return json_take_number(&d->r);
    }
    if (type == JSON_BOOL) {
        bool yes;
        if (!json_read_bool(&d->r, &yes)) {
            return STR_NONE;
        }
        return yes ? STR("1") : STR("0");
    }
    if (type == JSON_STRING) {
        struct str text = str_trim(json_take_string(&d->r));
        return json_number_valid(text) ? text : STR_NONE;
    }
    json_skip(&d->r);
    return STR_NONE;
}

static inline void decode_text(struct decoder *d, struct str *to)
{
    struct str text = take_text(d);
    if (LIKELY(text.ptr)) {
        *to = text;
    }
}

static void decode_number(struct decoder *d, enum field_kind kind, void *to)
{
    struct str number = take_number(d);
    if (!number.ptr) {
        return;
    }
    if (kind == FIELD_PRICE || kind == FIELD_DEGREES) {
        int64_t micros = json_number_to_micros(number);
        if (micros >= 0 || kind == FIELD_DEGREES) {
            *(int64_t *)to = micros;
        }
        return;
    }
    int32_t value = json_number_to_i32(number);
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

/* --- lists --------------------------------------------------------------------------------- */

static void append_text(struct decoder *d, struct str_list *list)
{
    struct str text = take_text(d);
    struct str *item = text.ptr ? push(d, list, sizeof(*item), BIDREQ_MAX_LIST) : NULL;
    if (item) {
        *item = text;
    }
}

static void append_int(struct decoder *d, struct int_list *list)
{
    struct str number = take_number(d);
    int32_t *item = number.ptr ? push(d, list, sizeof(*item), BIDREQ_MAX_LIST) : NULL;
    if (item) {
        *item = json_number_to_i32(number);
    }
}

/* One text, split at commas. */
static void append_keywords(struct decoder *d, struct str_list *list)
{
    struct str text = take_text(d);
    while (text.len) {
        struct str word = str_trim(str_cut(&text, ','));
        struct str *item = word.len ? push(d, list, sizeof(*item), BIDREQ_MAX_LIST) : NULL;
        if (item) {
            *item = word;
        }
    }
}

static void append_scalar(struct decoder *d, enum field_kind kind, void *list)
{
    if (kind == FIELD_INTS) {
        append_int(d, list);
    } else if (kind == FIELD_KEYWORDS) {
        append_keywords(d, list);
    } else {
        append_text(d, list);
    }
}

static void decode_list(struct decoder *d, enum field_kind kind, void *list)
{
    if (json_peek(&d->r) != JSON_ARRAY) {
        append_scalar(d, kind, list);
        return;
    }
    json_array_begin(&d->r);
    while (json_array_next(&d->r)) {
        append_scalar(d, kind, list);
    }
}

/* --- objects ------------------------------------------------------------------------------- */

static void append_object(struct decoder *d, const struct field *field, void *list)
{
    const struct field_table *table = field->table;
    void *item = json_peek(&d->r) == JSON_OBJECT ? push(d, list, table->size, field->arg) : NULL;
    if (item) {
        decode_object(d, table, item);
    } else {
        json_skip(&d->r);
    }
}

/* EACH, FIRST, OBJECTS: over an array's objects, or over a single one in its place. */
static void decode_objects(struct decoder *d, const struct field *field, void *to)
{
    bool array = json_peek(&d->r) == JSON_ARRAY;
    bool done = false;
    if (array) {
        json_array_begin(&d->r);
    }
    while (array ? json_array_next(&d->r) : !done) {
        if (field->kind == FIELD_OBJECTS) {
            append_object(d, field, to);
            done = true;
        } else if (json_peek(&d->r) == JSON_OBJECT && !(done && field->kind == FIELD_FIRST)) {
            decode_object(d, field->table, to);
            done = true;
        } else {
            json_skip(&d->r);
            done = done || !array;
        }
    }
}

static void decode_pointer(struct decoder *d, const struct field *field, void *to)
{
    void *object = NULL;
    if (json_peek(&d->r) == JSON_OBJECT) {
        object = arena_calloc(d->arena, 1, field->table->size);
        if (!object) {
            json_fail(&d->r, JSON_ERROR_MEMORY);
            return;
        }
        memcpy(to, &object, sizeof(object)); /* the member's type is a pointer to another struct */
        decode_object(d, field->table, object);
    } else {
        json_skip(&d->r);
    }
}

static void decode_asset_part(struct decoder *d, const struct field *field,
                              struct bidreq_asset *asset)
{
    struct bidreq_asset part = {0};
    openrtb_default_asset(&part);
    if (json_peek(&d->r) == JSON_OBJECT) {
        decode_object(d, field->table, &part);
        openrtb_asset_adopt(asset, &part, (enum bidreq_asset_kind)field->arg);
    } else {
        json_skip(&d->r);
    }
}

/* Markup as a text. Whatever is wrong inside makes this native offer malformed, not the request. */
bool openrtb_markup_decode(struct str text, struct arena *arena, struct openrtb_native *native)
{
    struct decoder d = {.arena = arena};
    struct openrtb_markup markup = {.root = NULL};
    json_reader_init(&d.r, text, arena, BIDREQ_MAX_DEPTH);
    if (json_peek(&d.r) == JSON_OBJECT) {
        decode_object(&d, &openrtb_markup_table, &markup);
        if (json_finish(&d.r) && !d.too_large) {
            openrtb_native_adopt(native, &markup);
        }
    }
    return d.r.error != JSON_ERROR_MEMORY;
}

/* native.request: an object, or a text that holds one. */
static void decode_markup(struct decoder *d, struct openrtb_native *native)
{
    enum json_type type = json_peek(&d->r);
    struct str text;
    if (type == JSON_STRING) {
        if (json_read_string(&d->r, &text) && !openrtb_markup_decode(text, d->arena, native)) {
            json_fail(&d->r, JSON_ERROR_MEMORY);
        }
    } else if (type == JSON_OBJECT) {
        struct openrtb_markup markup = {.root = NULL};
        bool too_large = d->too_large;
        d->too_large = false;
        decode_object(d, &openrtb_markup_table, &markup);
        openrtb_native_adopt(native, d->too_large ? NULL : &markup);
        d->too_large = too_large;
    } else {
        json_skip(&d->r);
    }
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

/* Keeps the scalar that stands next and leaves it standing: it may be a field, too. */
static void keep_scalar(struct decoder *d, struct str prefix, struct str key)
{
    const char *before = d->r.at;
    struct str value = STR_NONE;
    bool yes;
    enum json_type type = json_peek(&d->r);
    if (d->request->ext.count == BIDREQ_MAX_EXT || has_ext(d->request, prefix, key)) {
        return;
    }
    if (type == JSON_BOOL && json_read_bool(&d->r, &yes)) {
        value = yes ? STR("true") : STR("false");
    } else if (type == JSON_STRING || type == JSON_NUMBER) {
        value = take_text(d);
    }
    if (d->r.error) {
        return;
    }
    d->r.at = before;
    if (!value.ptr) {
        return;
    }
    char *path = arena_alloc(d->arena, prefix.len + key.len);
    struct bidreq_ext *item =
        path ? push(d, &d->request->ext, sizeof(*item), BIDREQ_MAX_EXT) : NULL;
    if (!item) {
        json_fail(&d->r, JSON_ERROR_MEMORY);
        return;
    }
    memcpy(path, prefix.ptr, prefix.len);
    memcpy(path + prefix.len, key.ptr, key.len);
    item->path = (struct str){.ptr = path, .len = prefix.len + key.len};
    item->value = value;
}

/* --- the loop ------------------------------------------------------------------------------ */

static void decode_field(struct decoder *d, const struct field *field, void *to)
{
    switch (field->kind) {
    case FIELD_TEXT:
        decode_text(d, to);
        break;
    case FIELD_INT:
    case FIELD_COUNT:
    case FIELD_FLAG:
    case FIELD_BOOL:
    case FIELD_PRICE:
    case FIELD_DEGREES:
        decode_number(d, field->kind, to);
        break;
    case FIELD_TEXTS:
    case FIELD_INTS:
    case FIELD_KEYWORDS:
        decode_list(d, field->kind, to);
        break;
    case FIELD_APPEND:
        append_text(d, to);
        break;
    case FIELD_INSIDE:
        if (json_peek(&d->r) == JSON_OBJECT) {
            decode_object(d, field->table, to);
        } else {
            json_skip(&d->r);
        }
        break;
    case FIELD_EACH:
    case FIELD_FIRST:
    case FIELD_OBJECTS:
        decode_objects(d, field, to);
        break;
    case FIELD_OBJECT:
        decode_pointer(d, field, to);
        break;
    case FIELD_MARKUP:
        decode_markup(d, to);
        break;
    case FIELD_ASSET:
        decode_asset_part(d, field, to);
        break;
    }
}

/* The first of equal keys counts, whatever its type; later ones are only checked. Recursion is
 * bounded by the tables. */
static void decode_object(struct decoder *d, const struct field_table *table, void *base)
{
    uint64_t seen = 0;
    if (table->enter) {
        table->enter(base);
    }
    json_object_begin(&d->r);
    for (struct str key; (key = json_take_key(&d->r)).ptr;) {
        if (UNLIKELY(table->scalars.len)) {
            keep_scalar(d, table->scalars, key);
        }
        const struct field *field = field_find(table, key);
        uint64_t bit = field ? (uint64_t)1 << (field - table->fields) : 0;
        if (!field || seen & bit) {
            json_skip(&d->r);
            continue;
        }
        seen |= bit;
        void *to = (char *)base + field->offset;
        if (field->kind == FIELD_TEXT) { /* half of all: spares the switch's indirect jump */
            decode_text(d, to);
        } else {
            decode_field(d, field, to);
        }
    }
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
    struct decoder d = {.arena = arena, .request = &wire.request};
    json_reader_init(&d.r, body, arena, BIDREQ_MAX_DEPTH);
    bool object = json_peek(&d.r) == JSON_OBJECT;
    if (LIKELY(object)) {
        decode_object(&d, &openrtb_root_table, &wire);
    } else {
        json_skip(&d.r);
    }
    enum bidreq_reject reject = BIDREQ_OK;
    if (UNLIKELY(!json_finish(&d.r))) {
        reject = reject_of(d.r.error);
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
