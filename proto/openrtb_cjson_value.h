/* Values out of cJSON's tree, by the rules of proto/README.md: what openrtb_cjson.c is written
 * with. Internal to the oracle. */
#pragma once

#include <cjson/cJSON.h>

#include "bidder/base/json.h"
#include "proto/openrtb_wire.h"

struct oracle {
    struct arena *arena;
    struct openrtb_wire *wire;
    bool too_large;
    bool no_memory;
};

/* NULL and the reason when the text is not valid or the arena is full. Numbers carry their text as
 * valuestring. */
cJSON *oracle_parse(struct str text, struct arena *arena, enum json_error *error);
/* The first member of that name, and the same when it is an object; else NULL. */
const cJSON *oracle_get(const cJSON *object, const char *name);
const cJSON *oracle_object(const cJSON *object, const char *name);
/* Empty when there is none. */
struct str oracle_text(struct oracle *o, const cJSON *item);
/* Each get sets *to when object has a usable member of that name. */
void oracle_get_text(struct oracle *o, const cJSON *object, const char *name, struct str *to);
bool oracle_number(const cJSON *item, struct str *number);
void oracle_get_int(const cJSON *object, const char *name, int32_t *to);
void oracle_get_count(const cJSON *object, const char *name, int32_t *to);
void oracle_get_flag(const cJSON *object, const char *name, int32_t *to);
void oracle_get_bool(const cJSON *object, const char *name, bool *to);
void oracle_get_price(const cJSON *object, const char *name, int64_t *to);
void oracle_get_degrees(const cJSON *object, const char *name, int64_t *to);
/* One more item on a list, or NULL with the reason noted. */
void *oracle_push(struct oracle *o, void *list, size_t size, uint32_t max);
/* The items of an array, or the value itself in place of one. */
const cJSON *oracle_first_item(const cJSON *value);
const cJSON *oracle_next_item(const cJSON *value, const cJSON *item);
void oracle_push_text(struct oracle *o, struct str_list *list, struct str text);
void oracle_get_texts(struct oracle *o, const cJSON *object, const char *name,
                      struct str_list *list);
void oracle_get_keywords(struct oracle *o, const cJSON *object, const char *name,
                         struct str_list *list);
void oracle_get_ints(struct oracle *o, const cJSON *object, const char *name,
                     struct int_list *list);
void oracle_get_durfloors(struct oracle *o, const cJSON *object, struct bidreq_durfloors *list);
/* A zeroed struct when object is there, else NULL. */
void *oracle_make(struct oracle *o, const cJSON *object, size_t size);

#define FOREACH_ITEM(item, value)                                                                  \
    for (const cJSON *item = oracle_first_item(value); item; item = oracle_next_item(value, item))
#define FOREACH_OBJECT(item, value)                                                                \
    FOREACH_ITEM(item, value)                                                                      \
    if (cJSON_IsObject(item))
