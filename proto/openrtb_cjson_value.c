/* See openrtb_cjson_value.h. cJSON's memory comes from the arena through its (global) hooks. */
#include "proto/openrtb_cjson_value.h"

/* --- parsing ------------------------------------------------------------------------------- */

static struct arena *hook_arena;

static void *hook_malloc(size_t bytes)
{
    return arena_alloc(hook_arena, bytes);
}

static void hook_free(void *pointer)
{
    (void)pointer; /* goes with the arena */
}

/* The texts of all numbers, in the order of the document. */
static bool collect_numbers(struct json_reader *r, struct str_list *numbers)
{
    struct str key, text;
    void *item;
    switch (json_peek(r)) {
    case JSON_OBJECT:
        json_object_begin(r);
        while (json_object_next(r, &key)) {
            collect_numbers(r, numbers);
        }
        break;
    case JSON_ARRAY:
        json_array_begin(r);
        while (json_array_next(r)) {
            collect_numbers(r, numbers);
        }
        break;
    case JSON_NUMBER:
        if (json_read_number(r, &text)) {
            if (openrtb_push(r->arena, numbers, sizeof(text), UINT32_MAX, &item) !=
                OPENRTB_PUSHED) {
                json_fail(r, JSON_ERROR_MEMORY);
                break;
            }
            *(struct str *)item = arena_strdup(r->arena, text);
            if (!((struct str *)item)->ptr) {
                json_fail(r, JSON_ERROR_MEMORY);
            }
        }
        break;
    default:
        json_skip(r);
        break;
    }
    return !r->error;
}

static void hang_numbers(cJSON *item, struct str **next)
{
    for (; item; item = item->next) {
        if (cJSON_IsNumber(item)) {
            item->valuestring = (char *)(uintptr_t)(*next)++->ptr;
        }
        hang_numbers(item->child, next);
    }
}

/* NULL and the reason when the text is not valid or the arena is full. */
cJSON *oracle_parse(struct str text, struct arena *arena, enum json_error *error)
{
    struct json_reader r;
    struct str_list numbers = {0};
    json_reader_init(&r, text, arena, BIDREQ_MAX_DEPTH);
    collect_numbers(&r, &numbers);
    json_finish(&r);
    *error = r.error;
    if (r.error) {
        return NULL;
    }
    cJSON_Hooks hooks = {.malloc_fn = hook_malloc, .free_fn = hook_free};
    hook_arena = arena;
    cJSON_InitHooks(&hooks);
    cJSON *tree = cJSON_ParseWithLength(text.ptr, text.len);
    cJSON_InitHooks(NULL);
    if (!tree) {
        *error = JSON_ERROR_MEMORY; /* the strict reader found it valid */
        return NULL;
    }
    hang_numbers(tree, &numbers.items);
    return tree;
}

/* --- values -------------------------------------------------------------------------------- */

const cJSON *oracle_get(const cJSON *object, const char *name)
{
    return cJSON_GetObjectItemCaseSensitive(object, name); /* the first of duplicates */
}

const cJSON *oracle_object(const cJSON *object, const char *name)
{
    const cJSON *item = oracle_get(object, name);
    return cJSON_IsObject(item) ? item : NULL;
}

struct str oracle_text(struct oracle *o, const cJSON *item)
{
    if (!cJSON_IsString(item) && !cJSON_IsNumber(item)) {
        return STR_NONE;
    }
    struct str text = str_from(item->valuestring);
    if (cJSON_IsString(item) && text.len > BIDREQ_MAX_TEXT) {
        o->too_large = true;
        return STR_NONE;
    }
    return text;
}

void oracle_get_text(struct oracle *o, const cJSON *object, const char *name, struct str *to)
{
    struct str text = oracle_text(o, oracle_get(object, name));
    if (text.len) {
        *to = text;
    }
}

bool oracle_number(const cJSON *item, struct str *number)
{
    if (cJSON_IsBool(item)) {
        *number = cJSON_IsTrue(item) ? STR("1") : STR("0");
        return true;
    }
    if (!cJSON_IsNumber(item) && !cJSON_IsString(item)) {
        return false;
    }
    *number = str_trim(str_from(item->valuestring));
    return json_number_valid(*number);
}

void oracle_get_int(const cJSON *object, const char *name, int32_t *to)
{
    struct str number;
    if (oracle_number(oracle_get(object, name), &number)) {
        *to = json_number_to_i32(number);
    }
}

void oracle_get_count(const cJSON *object, const char *name, int32_t *to)
{
    int32_t value = -1;
    oracle_get_int(object, name, &value);
    *to = value >= 0 ? value : *to;
}

void oracle_get_flag(const cJSON *object, const char *name, int32_t *to)
{
    int32_t value = -1;
    oracle_get_int(object, name, &value);
    *to = value >= 0 ? value > 0 : *to;
}

void oracle_get_bool(const cJSON *object, const char *name, bool *to)
{
    int32_t value = *to;
    oracle_get_flag(object, name, &value);
    *to = value != 0;
}

void oracle_get_price(const cJSON *object, const char *name, int64_t *to)
{
    struct str number;
    if (oracle_number(oracle_get(object, name), &number) && json_number_to_micros(number) >= 0) {
        *to = json_number_to_micros(number);
    }
}

void oracle_get_degrees(const cJSON *object, const char *name, int64_t *to)
{
    struct str number;
    if (oracle_number(oracle_get(object, name), &number)) {
        *to = json_number_to_micros(number);
    }
}

/* --- lists --------------------------------------------------------------------------------- */

void *oracle_push(struct oracle *o, void *list, size_t size, uint32_t max)
{
    void *item = NULL;
    enum openrtb_push pushed = openrtb_push(o->arena, list, size, max, &item);
    o->too_large |= pushed == OPENRTB_FULL;
    o->no_memory |= pushed == OPENRTB_NO_MEMORY;
    return pushed == OPENRTB_PUSHED ? item : NULL;
}

/* The items of an array, or the value itself in place of one. */
const cJSON *oracle_first_item(const cJSON *value)
{
    return cJSON_IsArray(value) ? value->child : value;
}

const cJSON *oracle_next_item(const cJSON *value, const cJSON *item)
{
    return cJSON_IsArray(value) ? item->next : NULL;
}

void oracle_push_text(struct oracle *o, struct str_list *list, struct str text)
{
    struct str *item = text.len ? oracle_push(o, list, sizeof(*item), BIDREQ_MAX_LIST) : NULL;
    if (item) {
        *item = text;
    }
}

void oracle_get_texts(struct oracle *o, const cJSON *object, const char *name,
                      struct str_list *list)
{
    const cJSON *value = oracle_get(object, name);
    FOREACH_ITEM(item, value)
    {
        oracle_push_text(o, list, oracle_text(o, item));
    }
}

void oracle_get_keywords(struct oracle *o, const cJSON *object, const char *name,
                         struct str_list *list)
{
    const cJSON *value = oracle_get(object, name);
    FOREACH_ITEM(item, value)
    {
        struct str text = oracle_text(o, item);
        while (text.len) {
            oracle_push_text(o, list, str_trim(str_cut(&text, ',')));
        }
    }
}

void oracle_get_ints(struct oracle *o, const cJSON *object, const char *name, struct int_list *list)
{
    const cJSON *value = oracle_get(object, name);
    FOREACH_ITEM(item, value)
    {
        struct str number;
        int32_t *to = oracle_number(item, &number)
                          ? oracle_push(o, list, sizeof(*to), BIDREQ_MAX_LIST)
                          : NULL;
        if (to) {
            *to = json_number_to_i32(number);
        }
    }
}

void oracle_get_durfloors(struct oracle *o, const cJSON *object, struct bidreq_durfloors *list)
{
    const cJSON *value = oracle_get(object, "durfloors");
    FOREACH_OBJECT(item, value)
    {
        struct bidreq_durfloor *floor = oracle_push(o, list, sizeof(*floor), BIDREQ_MAX_LIST);
        if (floor) {
            openrtb_default_durfloor(floor);
            oracle_get_count(item, "mindur", &floor->min_s);
            oracle_get_count(item, "maxdur", &floor->max_s);
            oracle_get_price(item, "bidfloor", &floor->bidfloor_micros);
        }
    }
}

void *oracle_make(struct oracle *o, const cJSON *object, size_t size)
{
    void *made = object ? arena_calloc(o->arena, 1, size) : NULL;
    o->no_memory |= object && !made;
    return made;
}
