/* Builds json_dom.h's tree on the strict reader. The items of an unfinished array or object wait on
 * a stack and move to the arena when their number is known, so that the tree takes no more than it
 * holds. */
#include "bidder/base/json_dom.h"

#include <stdlib.h>

#define FIRST_STACK_BYTES 4096

struct builder {
    struct json_reader r;
    char *stack; /* owned, heap; items of all unfinished arrays and objects */
    size_t used, size;
};

static bool push(struct builder *b, const void *item, size_t bytes)
{
    if (b->size - b->used < bytes) {
        size_t size = b->size ? b->size * 2 : FIRST_STACK_BYTES;
        char *stack = realloc(b->stack, size);
        if (!stack) {
            json_fail(&b->r, JSON_ERROR_MEMORY);
            return false;
        }
        b->stack = stack;
        b->size = size;
    }
    memcpy(b->stack + b->used, item, bytes);
    b->used += bytes;
    return true;
}

/* Takes everything above base off the stack; NULL when there is nothing or an error. */
static void *pop(struct builder *b, size_t base)
{
    size_t bytes = b->used - base;
    void *items = bytes && !b->r.error ? arena_alloc(b->r.arena, bytes) : NULL;
    if (items) {
        memcpy(items, b->stack + base, bytes);
    } else if (bytes) {
        json_fail(&b->r, JSON_ERROR_MEMORY); /* an earlier error stays */
    }
    b->used = base;
    return items;
}

static void read_value(struct builder *b, struct json_value *value);

static void read_object(struct builder *b, struct json_value *value)
{
    size_t base = b->used;
    struct json_member member = {0};
    json_object_begin(&b->r);
    while (json_object_next_at(&b->r, &member.key, &member.key_offset)) {
        read_value(b, &member.value);
        if (b->r.error || !push(b, &member, sizeof(member))) {
            break;
        }
    }
    size_t count = (b->used - base) / sizeof(member);
    value->members = pop(b, base);
    value->count = value->members ? (uint32_t)count : 0;
}

static void read_array(struct builder *b, struct json_value *value)
{
    size_t base = b->used;
    json_array_begin(&b->r);
    while (json_array_next(&b->r)) {
        struct json_value item;
        read_value(b, &item);
        if (b->r.error || !push(b, &item, sizeof(item))) {
            break;
        }
    }
    size_t count = (b->used - base) / sizeof(struct json_value);
    value->items = pop(b, base);
    value->count = value->items ? (uint32_t)count : 0;
}

/* Recursion is bounded by the reader's max_depth. */
static void read_value(struct builder *b, struct json_value *value)
{
    struct json_reader *r = &b->r;
    *value = (struct json_value){.type = json_peek(r), .offset = json_offset(r)};
    switch (value->type) {
    case JSON_OBJECT:
        read_object(b, value);
        break;
    case JSON_ARRAY:
        read_array(b, value);
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
    struct builder b = {.stack = NULL};
    json_reader_init(&b.r, text, arena, max_depth);
    struct json_value *value = arena_alloc(arena, sizeof(*value));
    if (value) {
        read_value(&b, value);
    } else {
        json_fail(&b.r, JSON_ERROR_MEMORY);
    }
    bool ok = json_finish(&b.r);
    free(b.stack);
    if (error) {
        *error = (struct json_dom_error){.error = b.r.error, .offset = b.r.error_offset};
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
