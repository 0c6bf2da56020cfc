#include "tests/test.h"

#include <stdlib.h>

#include "bidder/base/prng.h"
#include "pacing/rotation.h"

static const uint32_t shares[] = {500000, 300000, 200000};
#define WINDOW 100000

static void play(struct rotation_state *state, uint32_t eligible, int last, int n, char *out)
{
    for (int i = 0; i < n; i++) {
        int brand = rotation_choose(state, shares, 3, eligible, last);
        out[i] = brand < 0 ? '-' : (char)('A' + brand);
        if (brand >= 0) {
            rotation_note(state, shares, 3, (uint32_t)brand, WINDOW);
        }
    }
    out[n] = '\0';
}

TEST(first_touch_follows_the_shares_exactly)
{
    struct rotation_state state = {0};
    char sequence[21];
    play(&state, 7, ROTATION_NO_BRAND, 20, sequence);
    CHECK_STR(str_from(sequence), "ABCAABACBAABCAABACBA");
}

TEST(alternation_never_repeats_while_another_is_eligible)
{
    struct rotation_state state = {0};
    struct prng prng = {.state = 7};
    int last = ROTATION_NO_BRAND;
    for (int i = 0; i < 10000; i++) {
        uint32_t eligible = 1 + (uint32_t)prng_below(&prng, 7);
        int brand = rotation_choose(&state, shares, 3, eligible, last);
        CHECK(brand >= 0 && (eligible >> brand & 1));
        CHECK(brand != last || eligible == (uint32_t)1 << last);
        rotation_note(&state, shares, 3, (uint32_t)brand, WINDOW);
        last = brand;
    }
}

TEST(two_brands_alternate)
{
    static const uint32_t two[] = {600000, 400000};
    struct rotation_state state = {0};
    CHECK_INT(rotation_choose(&state, two, 2, 3, 0), 1);
    CHECK_INT(rotation_choose(&state, two, 2, 3, 1), 0);
    CHECK_INT(rotation_choose(&state, two, 2, 1, 0), 0);
    CHECK_INT(rotation_choose(&state, two, 2, 0, 0), ROTATION_NO_BRAND);
}

TEST(deviation_stays_below_one_for_two_and_two_for_three_brands)
{
    struct prng prng = {.state = 11};
    for (int round = 0; round < 200; round++) {
        uint32_t count = 2 + (uint32_t)prng_below(&prng, 2);
        uint32_t ppm[3] = {0};
        ppm[0] = 1 + (uint32_t)prng_below(&prng, 999990);
        ppm[1] = count == 2 ? 1000000 - ppm[0] : (uint32_t)prng_below(&prng, 1000000 - ppm[0]);
        ppm[2] = 1000000 - ppm[0] - ppm[1];
        struct rotation_state state = {0};
        for (int64_t n = 1; n <= 1000; n++) {
            int brand = rotation_choose(&state, ppm, count, (1u << count) - 1, ROTATION_NO_BRAND);
            rotation_note(&state, ppm, count, (uint32_t)brand, WINDOW);
            for (uint32_t i = 0; i < count; i++) {
                int64_t off = llabs(state.shown[i] * 1000000 - (int64_t)ppm[i] * n);
                CHECK(off < (count == 2 ? 1000000 : 2000000));
            }
        }
    }
}

TEST(a_brand_that_was_away_catches_up_on_one_window_only)
{
    struct rotation_state state = {0};
    for (int i = 0; i < 10000; i++) {
        int brand = rotation_choose(&state, shares, 3, 3, ROTATION_NO_BRAND); /* C is away */
        rotation_note(&state, shares, 3, (uint32_t)brand, 100);
    }
    int in_a_row = 0;
    while (in_a_row < 1000 && rotation_choose(&state, shares, 3, 7, ROTATION_NO_BRAND) == 2) {
        rotation_note(&state, shares, 3, 2, 100);
        in_a_row++;
    }
    /* Alone at most until it is no further behind than the one furthest ahead was over: bounded by
     * one window, and not by the 10,000 it was away. */
    CHECK(in_a_row > 5 && in_a_row <= 100);
}
