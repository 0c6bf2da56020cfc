/* Hashes and a text -> number table. Nothing here withstands an attacker who picks keys freely,
 * so tables hold catalog ids, never wire text. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "bidder/base/arena.h"
#include "bidder/base/str.h"

/* 64-bit FNV-1a with a final mix. Stable for ever: catalog refs stored in Redis are made of it. */
uint64_t hash_bytes(const void *bytes, size_t len, uint64_t seed);

static inline uint64_t hash_str(struct str text)
{
    return hash_bytes(text.ptr, text.len, 0);
}

/* For what is never stored, as places in tables and draws: eight bytes a step instead of one. */
uint64_t hash_text(struct str text);

#define STR_TABLE_NONE UINT32_MAX

/* Open addressing, linear probing, at most half full. Keys are views the owner keeps alive. */
struct str_table {
    struct str_table_slot {
        struct str key;
        uint32_t hash; /* high half of the hash: spares most comparisons */
        uint32_t value;
    } * slots; /* arena */
    uint32_t mask;
    uint32_t used;
};

/* Room for at most count keys. False when the arena is out of memory. */
bool str_table_init(struct str_table *table, struct arena *arena, uint32_t count)
    __attribute__((warn_unused_result));
/* Adds key, or returns false and leaves the table when it is there already. */
bool str_table_add(struct str_table *table, struct str key, uint32_t value);
/* STR_TABLE_NONE when absent. */
uint32_t str_table_get(const struct str_table *table, struct str key);
