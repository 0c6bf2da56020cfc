/* Builds json_dom.h's tree on the strict reader. Arrays double in the arena; what they leave behind
 * is at most what they hold, and goes with the arena. */
#include "bidder/base/json_dom.h"

#define FIRST_CAPACITY 4

/* Room for one more behind count items; the capacity follows from the count. NULL: no memory. */
static void *grow(struct arena *arena, void *items, uint32_t count, size_t size)
{
    bool full = count == 0 || (count >= FIRST_CAPACITY && (count & (count - 1)) == 0);
    if (!full) {
        return items;
    }
    if (count > UINT32_MAX / 2) {
        return NULL;
    }
    void *larger = arena_calloc(arena, count ? (size_t)count * 2 : FIRST_CAPACITY, size);
    if (larger && count) {
        memcpy(larger, items, (size_t)count * size);
    }
    return larger;
}

static void read_value(struct json_reader *r, struct json_value *value);

static void read_object(struct json_reader *r, struct json_value *value)
{
    struct json_member member = {0};
    json_object_begin(r);
    while (json_object_next_at(r, &member.key, &member.key_offset)) {
        read_value(r, &member.value);
        struct json_member *members =
            r->error ? NULL : grow(r->arena, value->members, value->count, sizeof(member));
        if (!members) {
            json_fail(r, JSON_ERROR_MEMORY);
            return;
        }
        value->members = members;
        members[value->count++] = member;
    }
}

static void read_array(struct json_reader *r, struct json_value *value)
{
    json_array_begin(r);
    while (json_array_next(r)) {
        struct json_value item;
        read_value(r, &item);
        struct json_value *items =
            r->error ? NULL : grow(r->arena, value->items, value->count, sizeof(item));
        if (!items) {
            json_fail(r, JSON_ERROR_MEMORY);
            return;
        }
        value->items = items;
        items[value->count++] = item;
    }
}

/* Recursion is bounded by the reader's max_depth. */
static void read_value(struct json_reader *r, struct json_value *value)
{
    *value = (struct json_value){.type = json_peek(r), .offset = json_offset(r)};
    switch (value->type) {
    case JSON_OBJECT:
        read_object(r, value);
        break;
    case JSON_ARRAY:
        read_array(r, value);
        break;
    case JSON_STRING:
        json_read_string(r, &value->text);
        break;
    case JSON_NUMBER:
        json_read_number(r, &value->text);
        break;
    case JSON_BOOL:
        json_read_bool(r, &value->boolean);
        break;
    case JSON_NULL:
        json_read_null(r);
        break;
    case JSON_INVALID:
    case JSON_TYPE_COUNT:
        json_skip(r); /* sets the error */
        break;
    }
    value->length = (size_t)(r->at - r->begin) - value->offset;
}

struct json_value *json_dom_parse(struct str text, struct arena *arena, uint32_t max_depth,
                                  struct json_dom_error *error)
{
    struct json_reader r;
    json_reader_init(&r, text, arena, max_depth);
    struct json_value *value = arena_alloc(arena, sizeof(*value));
    if (value) {
        read_value(&r, value);
    } else {
        json_fail(&r, JSON_ERROR_MEMORY);
    }
    bool ok = json_finish(&r);
    if (error) {
        *error = (struct json_dom_error){.error = r.error, .offset = r.error_offset};
    }
    return ok ? value : NULL;
}

const struct json_value *json_dom_get(const struct json_value *value, struct str key)
{
    for (uint32_t i = 0; value && value->type == JSON_OBJECT && i < value->count; i++) {
        if (str_eq(value->members[i].key, key)) {
            return &value->members[i].value;
        }
    }
    return NULL;
}

/* Quadratic: objects of files have a few dozen members. */
const struct json_member *json_dom_duplicate(const struct json_value *object)
{
    for (uint32_t i = 1; object->type == JSON_OBJECT && i < object->count; i++) {
        for (uint32_t j = 0; j < i; j++) {
            if (str_eq(object->members[i].key, object->members[j].key)) {
                return &object->members[i];
            }
        }
    }
    return NULL;
}
