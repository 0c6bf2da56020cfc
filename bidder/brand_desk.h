/* Several brands on one stream of impressions: which of the lines that want a guaranteed impression
 * gets it (rotation), whether it goes to a swap partner, and which creative does best. One per
 * worker. */
#pragma once

#include "bidder/catalog.h"
#include "bidder/creative_counts.h"
#include "bidder/select.h"
#include "frequency/freq.h"

struct brand_desk;

/* A line that wants the impression, can have it, and what it would show. */
struct brand_rival {
    const struct offer *offer;
    uint32_t brand;
    uint32_t creative; /* catalog index */
    bool uncapped;
};

struct brand_desk *brand_desk_create(void);
void brand_desk_destroy(struct brand_desk **desk);
/* Adopts a new catalog: rotations that stay (by ref) keep their state. */
bool brand_desk_configure(struct brand_desk *desk, const struct catalog *catalog);

/* Index of the rival that gets the impression; count >= 1, ranked order. Does not count anything
 * yet. desk may be NULL: the first. */
uint32_t brand_desk_choose(const struct brand_desk *desk, const struct catalog *catalog,
                           uint32_t deal, const struct freq_view *view,
                           const struct brand_rival *rivals, uint32_t count, int64_t now_s);
/* The bid for brand on the deal goes out / did not become an impression after all. */
void brand_desk_note(struct brand_desk *desk, const struct catalog *catalog, uint32_t deal,
                     uint32_t brand);
void brand_desk_undo(struct brand_desk *desk, const struct catalog *catalog, uint32_t deal,
                     uint32_t brand);
/* The same for a loss notice (refs as in tokens). */
void brand_desk_lost(struct brand_desk *desk, const struct catalog *catalog, uint32_t deal_ref,
                     uint32_t brand_ref);

/* Is the brand in any rotation (then its exposures are kept: the last touch matters)? */
bool brand_desk_rotates(const struct brand_desk *desk, uint32_t brand);
/* Clicks of lines with best_performing are counted there from now on; borrowed, may be NULL. */
void brand_desk_set_counts(struct brand_desk *desk, const struct creative_counts *counts);
/* Of the creatives a line may show, the one with the highest score is shown: a draw by planned
 * weights, or by measured clicks. seed: the request's and the line's; the same seed, the same draw.
 */
double brand_desk_creative_score(const struct brand_desk *desk, const struct catalog *catalog,
                                 const struct catalog_line *line, uint32_t position, uint64_t seed);
