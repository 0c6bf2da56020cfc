/* Finds the caps that count an exposure by the refs stored with it.
 *
 * Each index is an open-addressed table, at most half full, in the snapshot's arena; the cap lists
 * themselves stay where the catalog put them and must outlive the book. */
#include "frequency/cap_book.h"

#include "bidder/base/bug.h"
#include "bidder/base/hash.h"
#include "bidder/base/prng.h"

struct cap_book_index {
    const struct cap_book_entry **slots;
    uint32_t mask;
};

static uint32_t index_home(const struct cap_book_index *index, uint32_t ref)
{
    return (uint32_t)prng_mix(ref) & index->mask;
}

static enum status index_build(struct cap_book_index **out, struct arena *arena,
                               const struct cap_book_entry *entries, uint32_t count)
{
    BUG_ON(count > UINT32_MAX / 4);
    uint32_t size = 8;
    while (size < 2 * count) {
        size *= 2;
    }
    struct cap_book_index *index = arena_alloc(arena, sizeof(*index));
    if (!index) {
        return STATUS_NO_MEMORY;
    }
    *index = (struct cap_book_index){.mask = size - 1};
    index->slots = arena_calloc(arena, size, sizeof(index->slots[0]));
    if (!index->slots) {
        return STATUS_NO_MEMORY;
    }
    for (uint32_t i = 0; i < count; i++) {
        uint32_t at = index_home(index, entries[i].ref);
        while (index->slots[at]) {
            if (index->slots[at]->ref == entries[i].ref) {
                return STATUS_INVALID;
            }
            at = (at + 1) & index->mask;
        }
        index->slots[at] = &entries[i];
    }
    *out = index;
    return STATUS_OK;
}

static const struct cap_book_entry *index_find(const struct cap_book_index *index, uint32_t ref)
{
    if (!index) {
        return NULL;
    }
    for (uint32_t at = index_home(index, ref);; at = (at + 1) & index->mask) {
        const struct cap_book_entry *entry = index->slots[at];
        if (!entry || entry->ref == ref) {
            return entry;
        }
    }
}

enum status cap_book_build(struct cap_book *book, struct arena *arena, const struct tz *tz,
                           const struct cap *caps, uint32_t cap_count, int64_t lifetime_s,
                           const struct cap_book_entry *lines, uint32_t line_count,
                           const struct cap_book_entry *brands, uint32_t brand_count,
                           const struct cap_book_entry *creatives, uint32_t creative_count)
{
    *book = (struct cap_book){.caps = caps, .cap_count = cap_count, .tz = tz};
    book->today = arena_calloc(arena, 1, sizeof(*book->today)); /* no second lies in it */
    if (!book->today) {
        return STATUS_NO_MEMORY;
    }
    book->retention_s = CAP_BOOK_LEAST_RETENTION_S;
    for (uint32_t i = 0; i < cap_count; i++) {
        int64_t keep_s = cap_window_retention_s(&caps[i], lifetime_s);
        book->retention_s = keep_s > book->retention_s ? keep_s : book->retention_s;
    }
    enum status status = index_build(&book->lines, arena, lines, line_count);
    if (status == STATUS_OK) {
        status = index_build(&book->brands, arena, brands, brand_count);
    }
    if (status == STATUS_OK) {
        status = index_build(&book->creatives, arena, creatives, creative_count);
    }
    return status;
}

struct cap_list cap_book_of_line(const struct cap_book *book, const struct exposure_refs *refs)
{
    const struct cap_book_entry *entry = index_find(book->lines, refs->line);
    entry = entry ? entry : index_find(book->brands, refs->brand);
    return entry ? entry->caps : (struct cap_list){.count = 0};
}

struct cap_list cap_book_of_creative(const struct cap_book *book, const struct exposure_refs *refs)
{
    const struct cap_book_entry *entry = index_find(book->creatives, refs->creative);
    return entry ? entry->caps : (struct cap_list){.count = 0};
}

uint32_t cap_ref32(struct str id)
{
    uint32_t ref = (uint32_t)(hash_str(id) >> 32);
    return ref ? ref : 1;
}

uint32_t cap_ref24(struct str id)
{
    uint32_t ref = (uint32_t)(hash_str(id) >> 40);
    return ref ? ref : 1;
}
