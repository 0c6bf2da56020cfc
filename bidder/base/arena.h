/* Memory of one request: taken piece by piece, given back all at once.
 *
 *   block 0, kept for life          further blocks, freed at reset
 *   [ used .......... | free ] ---> [ used ..... | free ]
 *
 * Not thread-safe. Pointers live until arena_reset or arena_deinit. */
#pragma once

#include <stddef.h>

#include "bidder/base/bug.h"
#include "bidder/base/str.h"

#define ARENA_ALIGN 16

struct arena_block;

struct arena {
    struct arena_block *first;   /* owned; kept over resets */
    struct arena_block *current; /* owned through first */
    unsigned char *free;         /* in current */
    size_t free_bytes;
    size_t block_bytes;
    size_t limit_bytes; /* all blocks together */
    size_t total_bytes;
    size_t grown; /* how often a further block was needed, since init: for tuning block_bytes */
};

/* Allocates the first block. Returns false when memory is out. */
bool arena_init(struct arena *arena, size_t block_bytes, size_t limit_bytes)
    __attribute__((warn_unused_result));
void arena_deinit(struct arena *arena);
/* Everything taken is gone; memory beyond the first block goes back to the heap. */
void arena_reset(struct arena *arena);

/* A piece that current has no room for. */
void *arena_alloc_block(struct arena *arena, size_t bytes)
    __attribute__((malloc, warn_unused_result));

/* 16-byte aligned, not zeroed. NULL when the limit is reached or memory is out. */
static inline __attribute__((malloc, warn_unused_result)) void *arena_alloc(struct arena *arena,
                                                                            size_t bytes)
{
    size_t need = (bytes + ARENA_ALIGN - 1) & ~(size_t)(ARENA_ALIGN - 1);
    if (UNLIKELY(need > arena->free_bytes) || UNLIKELY(need < bytes)) {
        return arena_alloc_block(arena, bytes);
    }
    unsigned char *piece = arena->free;
    arena->free += need;
    arena->free_bytes -= need;
    return piece;
}
/* Zeroed array; NULL also when count * size overflows. */
void *arena_calloc(struct arena *arena, size_t count, size_t size)
    __attribute__((malloc, warn_unused_result));
/* A copy with a NUL behind it, so that .ptr is a C string too. ptr is NULL when memory is out. */
struct str arena_strdup(struct arena *arena, struct str text);
