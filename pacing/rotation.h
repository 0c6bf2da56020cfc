/* Which brand gets this impression: shares at first touch, then alternation. Pure.
 *
 * First touch (nobody of the rotation was shown to the person inside the window): the eligible
 * brand furthest behind its share: argmax of share * N - shown, N = exposures including this one;
 * ties go to catalog order. Later touches: the same among the eligible brands other than the last
 * one; the last one again only when no other is eligible. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define ROTATION_MAX_BRANDS 32
#define ROTATION_NO_BRAND   (-1)

/* Exposures given so far. One per rotation and worker: every worker keeps its own traffic within
 * the bound, so K workers together are within K times the bound without talking to each other. */
struct rotation_state {
    int64_t shown[ROTATION_MAX_BRANDS];
    int64_t total;
};

/* share_ppm sums to 1,000,000 over count brands. eligible: bit i = brand i may be shown. last:
 * index of the brand the person saw last, or ROTATION_NO_BRAND. Returns the brand's index,
 * ROTATION_NO_BRAND when none is eligible. */
int rotation_choose(const struct rotation_state *state, const uint32_t *share_ppm, uint32_t count,
                    uint32_t eligible, int last);

/* Counts an exposure of brand i. A deficit is kept for at most window_exposures exposures: a brand
 * that could not be shown for longer does not catch up on what is older. */
void rotation_note(struct rotation_state *state, const uint32_t *share_ppm, uint32_t count,
                   uint32_t brand, int64_t window_exposures);
/* Takes an exposure back that was not made after all. */
void rotation_undo(struct rotation_state *state, uint32_t brand);
