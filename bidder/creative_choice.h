/* Which creative does best: Thompson sampling on clicks. Pure.
 *
 * Each option's click rate has the distribution Beta(1 + clicks, 1 + shown - clicks): what is known
 * after the counts when nothing was known before. One draw from each, and the highest draw wins: an
 * option is shown as often as it is likely to be the best (W. R. Thompson, Biometrika 25, 1933). */
#pragma once

#include <stdint.h>

struct creative_tally {
    int64_t shown, clicks;
};

/* A draw for one option; the same seed gives the same draw. Chooses only, decides no money. */
double creative_draw(struct creative_tally tally, uint64_t seed);
