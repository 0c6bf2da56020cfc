#include "bidder/base/hash.h"

#include "bidder/base/bug.h"
#include "bidder/base/prng.h"

uint64_t hash_bytes(const void *bytes, size_t len, uint64_t seed)
{
    const unsigned char *in = bytes;
    uint64_t hash = 0xcbf29ce484222325ull ^ seed;
    for (size_t i = 0; i < len; i++) {
        hash = (hash ^ in[i]) * 0x100000001b3ull;
    }
    return prng_mix(hash);
}

uint64_t hash_text(struct str key)
{
    static const uint64_t odd = 0x9e3779b97f4a7c15ull;
    const unsigned char *in = (const unsigned char *)key.ptr;
    size_t left = key.len;
    uint64_t hash = key.len, eight = 0;
    for (; left >= sizeof(eight); left -= sizeof(eight), in += sizeof(eight)) {
        memcpy(&eight, in, sizeof(eight));
        hash = (hash ^ eight) * odd;
        hash ^= hash >> 32;
    }
    if (left >= 4) { /* 4 to 7 bytes: two halves, which may overlap */
        uint32_t head, tail;
        memcpy(&head, in, sizeof(head));
        memcpy(&tail, in + left - sizeof(tail), sizeof(tail));
        hash ^= (uint64_t)head << 32 | tail;
    } else if (left) { /* 1 to 3: first, middle, last */
        hash ^= (uint64_t)in[0] << 32 | (uint64_t)in[left / 2] << 16 | in[left - 1];
    }
    return prng_mix(hash);
}

bool str_table_init(struct str_table *table, struct arena *arena, uint32_t count)
{
    BUG_ON(count > UINT32_MAX / 4);
    uint32_t size = 8;
    while (size < 2 * count) {
        size *= 2;
    }
    *table = (struct str_table){.mask = size - 1};
    table->slots = arena_alloc(arena, size * sizeof(*table->slots));
    if (!table->slots) {
        return false;
    }
    for (uint32_t i = 0; i < size; i++) {
        table->slots[i] = (struct str_table_slot){.value = STR_TABLE_NONE};
    }
    return true;
}

static inline struct str_table_slot *find_slot(const struct str_table *table, struct str key,
                                               uint64_t hash)
{
    uint32_t high = (uint32_t)(hash >> 32);
    for (uint32_t i = (uint32_t)hash & table->mask;; i = (i + 1) & table->mask) {
        struct str_table_slot *slot = &table->slots[i];
        if (slot->value == STR_TABLE_NONE || (slot->hash == high && str_eq(slot->key, key))) {
            return slot;
        }
    }
}

bool str_table_add(struct str_table *table, struct str key, uint32_t value)
{
    BUG_ON(value == STR_TABLE_NONE || table->used > table->mask / 2);
    uint64_t hash = hash_text(key);
    struct str_table_slot *slot = find_slot(table, key, hash);
    if (slot->value != STR_TABLE_NONE) {
        return false;
    }
    *slot = (struct str_table_slot){.key = key, .hash = (uint32_t)(hash >> 32), .value = value};
    table->used++;
    return true;
}

uint32_t str_table_get(const struct str_table *table, struct str key)
{
    return table->slots ? find_slot(table, key, hash_text(key))->value : STR_TABLE_NONE;
}
