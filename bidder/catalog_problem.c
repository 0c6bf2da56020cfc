/* Problems of a catalog file: collected by byte offset while reading, then given their line, column
 * and JSON pointer in one pass over the text. */
#include "bidder/base/bug.h"
#include "bidder/catalog_reader.h"
#include "bidder/catalog_values.h"

#define POINTER_LIMIT 4096
#define TEXT_LIMIT    1024
/* Of PROBLEM_LIMIT; so that warnings never crowd out the errors. */
#define WARNING_LIMIT (PROBLEM_LIMIT / 4)

void problem_list_init(struct problem_list *list, struct arena *arena)
{
    *list = (struct problem_list){.arena = arena};
}

void problem_list_deinit(struct problem_list *list)
{
    free(list->items);
    *list = (struct problem_list){.arena = list->arena};
}

static void list_add(struct problem_list *list, const struct problem *problem)
{
    if (list->count == PROBLEM_LIMIT) {
        list->dropped++;
        return;
    }
    if (list->count == list->capacity) {
        uint32_t capacity = list->capacity ? list->capacity * 2 : 16;
        struct problem *items = realloc(list->items, capacity * sizeof(*items));
        if (!items) {
            list->dropped++;
            return;
        }
        list->items = items;
        list->capacity = capacity;
    }
    list->items[list->count++] = *problem;
}

void problem_list_print(const struct problem_list *list, struct str file, struct buf *out)
{
    for (uint32_t i = 0; i < list->count; i++) {
        const struct problem *problem = &list->items[i];
        buf_printf(out, "%.*s:%u:%u: %s: ", STR_ARG(file), problem->line, problem->column,
                   problem->severity == PROBLEM_ERROR ? "error" : "warning");
        if (problem->pointer.len) {
            buf_put_str(out, problem->pointer);
            BUF_PUT_LITERAL(out, ": ");
        }
        buf_put_str(out, problem->text);
        buf_put_char(out, '\n');
    }
    if (list->dropped) {
        buf_printf(out, "%.*s: %u further problems are not shown\n", STR_ARG(file), list->dropped);
    }
}

void problem_list_print_json(const struct problem_list *list, struct buf *out)
{
    BUF_PUT_LITERAL(out, "{\"errors\":");
    buf_put_i64(out, list->error_count);
    BUF_PUT_LITERAL(out, ",\"dropped\":");
    buf_put_i64(out, list->dropped);
    BUF_PUT_LITERAL(out, ",\"problems\":[");
    for (uint32_t i = 0; i < list->count; i++) {
        const struct problem *problem = &list->items[i];
        buf_printf(out, "%s{\"severity\":\"%s\",\"line\":%u,\"column\":%u,\"pointer\":\"",
                   i ? "," : "", problem->severity == PROBLEM_ERROR ? "error" : "warning",
                   problem->line, problem->column);
        buf_put_json_escaped(out, problem->pointer);
        BUF_PUT_LITERAL(out, "\",\"text\":\"");
        buf_put_json_escaped(out, problem->text);
        BUF_PUT_LITERAL(out, "\"}");
    }
    BUF_PUT_LITERAL(out, "]}");
}

/* --- while reading -------------------------------------------------------------------------- */

void reader_report(struct catalog_reader *reader, enum problem_severity severity, size_t offset,
                   const char *format, ...)
{
    reader->error_count += severity == PROBLEM_ERROR;
    bool full = reader->found_count == PROBLEM_LIMIT ||
                (severity == PROBLEM_WARNING && reader->found_warnings == WARNING_LIMIT);
    if (full || !reader->found) {
        reader->found_dropped++;
        return;
    }
    char line[TEXT_LIMIT];
    va_list args;
    va_start(args, format);
    int length = vsnprintf(line, sizeof(line), format, args);
    va_end(args);
    BUG_ON(length < 0);
    size_t kept = (size_t)length < sizeof(line) ? (size_t)length : sizeof(line) - 1;
    /* A cut must not leave half a character behind. */
    while ((size_t)length > kept && kept && ((unsigned char)line[kept] & 0xc0) == 0x80) {
        kept--;
    }
    value_make_printable(line, kept); /* it goes to terminals and quotes the file */
    struct str copy = arena_strdup(reader->problems->arena, (struct str){line, kept});
    if (!copy.ptr) {
        reader->found_dropped++;
        return;
    }
    reader->found[reader->found_count] = (struct found_problem){
        .severity = severity, .order = reader->found_count, .offset = offset, .text = copy};
    reader->found_count++;
    reader->found_warnings += severity == PROBLEM_WARNING;
}

/* The member or item of value that the offset lies in (keys belong to their member); NULL: none. */
static const struct json_value *step_towards(const struct json_value *value, size_t offset,
                                             struct buf *out)
{
    uint32_t low = 0, high = value->count; /* binary search: places ascend */
    bool object = value->type == JSON_OBJECT;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        size_t starts = object ? value->members[middle].key_offset : value->items[middle].offset;
        if (starts <= offset) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    if (low == 0) {
        return NULL;
    }
    const struct json_value *child =
        object ? &value->members[low - 1].value : &value->items[low - 1];
    if (offset >= child->offset + child->length) {
        return NULL;
    }
    if (object) {
        json_pointer_put(out, value->members[low - 1].key);
    } else {
        buf_printf(out, "/%u", low - 1);
    }
    return child;
}

void reader_pointer(const struct catalog_reader *reader, size_t offset, struct buf *out)
{
    const struct json_value *value = reader->root;
    while (value && (value->type == JSON_OBJECT || value->type == JSON_ARRAY) &&
           offset != value->offset) {
        value = step_towards(value, offset, out);
    }
}

static int compare_found(const void *a, const void *b)
{
    const struct found_problem *left = a, *right = b;
    if (left->offset != right->offset) {
        return left->offset < right->offset ? -1 : 1;
    }
    return left->order < right->order ? -1 : left->order > right->order;
}

/* One pass over the text whatever the number of problems. */
struct place {
    size_t offset;
    uint32_t line, column;
};

static void advance(struct place *place, struct str text, size_t offset)
{
    for (; place->offset < offset && place->offset < text.len; place->offset++) {
        unsigned char c = (unsigned char)text.ptr[place->offset];
        if (c == '\n') {
            place->line++;
            place->column = 1;
        } else if ((c & 0xc0) != 0x80) { /* characters, not bytes */
            place->column++;
        }
    }
}

void reader_place_problems(struct catalog_reader *reader)
{
    struct problem_list *list = reader->problems;
    if (reader->found_count) {
        qsort(reader->found, reader->found_count, sizeof(reader->found[0]), compare_found);
    }
    struct place place = {.line = 1, .column = 1};
    struct buf pointer;
    buf_init(&pointer, POINTER_LIMIT);
    for (uint32_t i = 0; i < reader->found_count; i++) {
        const struct found_problem *found = &reader->found[i];
        advance(&place, reader->text, found->offset);
        buf_reset(&pointer);
        reader_pointer(reader, found->offset, &pointer);
        value_make_printable(pointer.data, pointer.len);
        struct problem problem = {
            .severity = found->severity,
            .pointer = arena_strdup(list->arena, buf_str(&pointer)),
            .line = place.line,
            .column = place.column,
            .text = found->text,
        };
        list_add(list, &problem);
    }
    buf_deinit(&pointer);
    list->error_count += reader->error_count;
    list->dropped += reader->found_dropped;
}

/* --- memory --------------------------------------------------------------------------------- */

static void *take(struct catalog_reader *reader, struct arena *arena, size_t count, size_t size)
{
    void *piece = arena_calloc(arena, count ? count : 1, size);
    reader->no_memory |= !piece;
    return piece;
}

void *reader_keep(struct catalog_reader *reader, size_t count, size_t size)
{
    return take(reader, reader->arena, count, size);
}

void *reader_scrap(struct catalog_reader *reader, size_t count, size_t size)
{
    return take(reader, &reader->scratch, count, size);
}

struct str reader_keep_str(struct catalog_reader *reader, struct str text)
{
    struct str copy = arena_strdup(reader->arena, text);
    reader->no_memory |= !copy.ptr;
    return copy;
}

bool reader_grow(struct catalog_reader *reader, void **items, uint32_t count, uint32_t *capacity,
                 size_t size)
{
    if (count < *capacity) {
        return true;
    }
    uint32_t larger = *capacity ? *capacity * 2 : 16;
    void *moved = reader_scrap(reader, larger, size);
    if (!moved) {
        return false;
    }
    if (count) {
        memcpy(moved, *items, count * size);
    }
    *items = moved;
    *capacity = larger;
    return true;
}
