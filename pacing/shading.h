/* Bid shading for first-price auctions, off by default: bid what is needed rather than all it is
 * worth. Pure.
 *
 * A line's ratio goes down by STEP with every auction it won and up by WON_FOR_LOST steps with
 * every one it was outbid in, so it settles where WON_FOR_LOST auctions are won for each one lost
 * (80%), or at 1 when even the full value wins less. It never goes below half of the value, nor
 * below the floor. The ratio belongs to the line and its auctions; nothing of a person enters it.
 */
#pragma once

#include <stdint.h>

#define SHADING_ONE          1000000u
#define SHADING_LEAST        500000u
#define SHADING_STEP         1000u
#define SHADING_WON_FOR_LOST 4u

struct shading {
    uint32_t discount_ppm; /* 0 = the full value: zeroed memory is a fresh line */
};

static inline void shading_won(struct shading *shading)
{
    uint32_t next = shading->discount_ppm + SHADING_STEP;
    shading->discount_ppm = next < SHADING_ONE - SHADING_LEAST ? next : SHADING_ONE - SHADING_LEAST;
}

static inline void shading_outbid(struct shading *shading)
{
    uint32_t back = SHADING_WON_FOR_LOST * SHADING_STEP;
    shading->discount_ppm = shading->discount_ppm > back ? shading->discount_ppm - back : 0;
}

/* value >= floor, both CPM micros: what to bid. */
static inline int64_t shading_price(const struct shading *shading, int64_t value_micros,
                                    int64_t floor_micros)
{
    int64_t shaded = value_micros - value_micros / SHADING_ONE * shading->discount_ppm -
                     value_micros % SHADING_ONE * shading->discount_ppm / SHADING_ONE;
    return shaded > floor_micros ? shaded : floor_micros;
}
