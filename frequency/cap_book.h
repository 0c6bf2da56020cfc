/* The caps of one catalog snapshot, and which of them an exposure counts for. Built by the catalog
 * loader, then read on the request path by one thread. Refs are stable hashes of catalog ids, because
 * exposures outlive a catalog; two ids with one ref are refused at load. 32 bits for lines and
 * creatives, 24 for brands: 10,000 lines meet with 1%, 300 brands with 0.3%. */
#pragma once

#include <stdint.h>

#include "bidder/base/arena.h"
#include "bidder/base/status.h"
#include "frequency/cap_window.h"

/* Indexes into cap_book.caps, ascending, without duplicates. */
struct cap_list {
    const uint32_t *items;
    uint32_t count;
};

/* What an exposure stored for a person says about itself. */
struct exposure_refs {
    uint32_t line;     /* cap_ref32(line item id) */
    uint32_t creative; /* cap_ref32(creative id) */
    uint32_t brand;    /* cap_ref24(brand id) */
};

/* Input of cap_book_build: one entry per entity with the caps that count its exposures. A line's
 * list already contains those of its campaign, brand and advertiser; a brand's those of its
 * advertiser. */
struct cap_book_entry {
    uint32_t ref; /* cap_ref32 of lines and creatives, cap_ref24 of brands */
    struct cap_list caps;
};

struct cap_book {
    const struct cap *caps;
    uint32_t cap_count;
    int64_t retention_s; /* longest retention of any cap; TTL bound of person records */
    const struct tz *tz;
    struct tz_day *today; /* arena; of the last question: see cap_book_today */
    struct cap_book_index *lines, *brands, *creatives; /* arena; opaque */
};

/* Records are kept at least this long: the person's own max_contacts_per_day needs a day. */
#define CAP_BOOK_LEAST_RETENTION_S (26 * 3600)

/* entries, caps and their lists are borrowed and must outlive the book (the same arena).
 * STATUS_INVALID when two entries of a kind share a ref (the catalog must refuse),
 * STATUS_NO_MEMORY. */
enum status cap_book_build(struct cap_book *book, struct arena *arena, const struct tz *tz,
                           const struct cap *caps, uint32_t cap_count, int64_t lifetime_s,
                           const struct cap_book_entry *lines, uint32_t line_count,
                           const struct cap_book_entry *brands, uint32_t brand_count,
                           const struct cap_book_entry *creatives,
                           uint32_t creative_count) MUST_USE;

/* The local day of now_s. Remembered until the next question of another day, so that a request asks
 * the timezone nothing: the only thing here that changes, and why a book is one thread's. */
static inline const struct tz_day *cap_book_today(const struct cap_book *book, int64_t now_s)
{
    struct tz_day *today = book->today;
    if (UNLIKELY(now_s < today->from_s || now_s >= today->until_s)) {
        tz_day_of(book->tz, now_s, today);
    }
    return today;
}

/* Caps that count this exposure: the line's when the catalog still has the line, else the brand's;
 * plus the creative's. */
struct cap_list cap_book_of_line(const struct cap_book *book, const struct exposure_refs *refs);
struct cap_list cap_book_of_creative(const struct cap_book *book, const struct exposure_refs *refs);

uint32_t cap_ref32(struct str id); /* never 0 */
uint32_t cap_ref24(struct str id); /* never 0; fits 24 bits */
