#include "pacing/rotation.h"

#include "bidder/base/bug.h"

#define PPM 1000000

/* share * total - shown, in millionths of an exposure. */
static int64_t deficit_ppm(const struct rotation_state *state, const uint32_t *share_ppm,
                           uint32_t brand, int64_t total)
{
    return (int64_t)share_ppm[brand] * total - state->shown[brand] * PPM;
}

static int furthest_behind(const struct rotation_state *state, const uint32_t *share_ppm,
                           uint32_t count, uint32_t eligible)
{
    int best = ROTATION_NO_BRAND;
    int64_t best_deficit = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (!(eligible >> i & 1)) {
            continue;
        }
        int64_t deficit = deficit_ppm(state, share_ppm, i, state->total + 1);
        if (best == ROTATION_NO_BRAND || deficit > best_deficit) {
            best = (int)i;
            best_deficit = deficit;
        }
    }
    return best;
}

int rotation_choose(const struct rotation_state *state, const uint32_t *share_ppm, uint32_t count,
                    uint32_t eligible, int last)
{
    BUG_ON(count > ROTATION_MAX_BRANDS);
    uint32_t others = last == ROTATION_NO_BRAND ? eligible : eligible & ~((uint32_t)1 << last);
    return furthest_behind(state, share_ppm, count, others ? others : eligible);
}

void rotation_note(struct rotation_state *state, const uint32_t *share_ppm, uint32_t count,
                   uint32_t brand, int64_t window_exposures)
{
    BUG_ON(brand >= count || count > ROTATION_MAX_BRANDS);
    state->shown[brand]++;
    state->total++;
    for (uint32_t i = 0; i < count; i++) {
        /* A brand is behind, or ahead, by at most its share of one window: what is older is not
         * caught up on, neither by showing it alone nor by not showing it. */
        int64_t most_ppm = (int64_t)share_ppm[i] * window_exposures + PPM;
        int64_t deficit = deficit_ppm(state, share_ppm, i, state->total);
        if (deficit > most_ppm) {
            state->shown[i] += (deficit - most_ppm) / PPM;
        } else if (deficit < -most_ppm) {
            state->shown[i] -= (-most_ppm - deficit) / PPM;
        }
    }
}

void rotation_undo(struct rotation_state *state, uint32_t brand)
{
    BUG_ON(brand >= ROTATION_MAX_BRANDS);
    if (state->shown[brand] > 0 && state->total > 0) {
        state->shown[brand]--;
        state->total--;
    }
}
