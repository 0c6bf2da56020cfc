#include "bidder/base/arena.h"

#include <stdint.h>
#include <stdlib.h>

#include "bidder/base/bug.h"

struct arena_block {
    struct arena_block *next;
    size_t size; /* these two keep data 16-aligned */
    unsigned char data[];
};

static struct arena_block *block_create(struct arena *arena, size_t size)
{
    if (size > arena->limit_bytes || arena->total_bytes > arena->limit_bytes - size) {
        return NULL;
    }
    struct arena_block *block = malloc(sizeof(*block) + size);
    if (block) {
        block->next = NULL;
        block->size = size;
        arena->total_bytes += size;
    }
    return block;
}

static void use_block(struct arena *arena, struct arena_block *block)
{
    arena->current = block;
    arena->free = block->data;
    arena->free_bytes = block->size;
}

bool arena_init(struct arena *arena, size_t block_bytes, size_t limit_bytes)
{
    BUG_ON(block_bytes == 0 || limit_bytes < block_bytes);
    *arena = (struct arena){.block_bytes = block_bytes, .limit_bytes = limit_bytes};
    arena->first = block_create(arena, block_bytes);
    if (arena->first) {
        use_block(arena, arena->first);
    }
    return arena->first != NULL;
}

static void free_blocks(struct arena_block *block)
{
    while (block) {
        struct arena_block *next = block->next;
        free(block);
        block = next;
    }
}

void arena_deinit(struct arena *arena)
{
    free_blocks(arena->first);
    arena->first = arena->current = NULL;
    arena->free_bytes = 0;
}

void arena_reset(struct arena *arena)
{
    if (UNLIKELY(arena->first->next != NULL)) {
        free_blocks(arena->first->next);
        arena->first->next = NULL;
        arena->total_bytes = arena->first->size;
    }
    use_block(arena, arena->first);
}

__attribute__((cold, noinline)) void *arena_alloc_block(struct arena *arena, size_t bytes)
{
    if (bytes > SIZE_MAX - ARENA_ALIGN) {
        return NULL;
    }
    size_t need = (bytes + ARENA_ALIGN - 1) & ~(size_t)(ARENA_ALIGN - 1);
    struct arena_block *block =
        block_create(arena, need > arena->block_bytes ? need : arena->block_bytes);
    if (!block) {
        return NULL;
    }
    arena->grown++;
    arena->current->next = block;
    use_block(arena, block);
    arena->free += need;
    arena->free_bytes -= need;
    return block->data;
}

void *arena_calloc(struct arena *arena, size_t count, size_t size)
{
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes)) {
        return NULL;
    }
    void *piece = arena_alloc(arena, bytes);
    return piece ? memset(piece, 0, bytes) : NULL;
}

struct str arena_strdup(struct arena *arena, struct str text)
{
    char *copy = arena_alloc(arena, text.len + 1);
    if (!copy) {
        return STR_NONE;
    }
    if (text.len) {
        memcpy(copy, text.ptr, text.len);
    }
    copy[text.len] = '\0';
    return (struct str){.ptr = copy, .len = text.len};
}
