#include "tests/test.h"

#include "bidder/base/prng.h"
#include "bidder/creative_choice.h"

/* Shows options with these click rates (per 10,000) n times; how often each was shown. */
static void learn(struct creative_tally *tallies, const int *rates, int count, int n, uint64_t seed)
{
    struct prng prng = {.state = seed};
    for (int i = 0; i < n; i++) {
        uint64_t request = prng_next(&prng);
        int best = 0;
        double highest = -1;
        for (int o = 0; o < count; o++) {
            double draw = creative_draw(tallies[o], prng_mix(request ^ (uint64_t)o));
            if (draw > highest) {
                highest = draw;
                best = o;
            }
        }
        tallies[best].shown++;
        tallies[best].clicks += prng_below(&prng, 10000) < (uint64_t)rates[best];
    }
}

TEST(three_times_the_clicks_gets_most_of_the_impressions)
{
    static const int rates[] = {100, 300, 100};
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct creative_tally tallies[3] = {{0, 0}};
        learn(tallies, rates, 3, 20000, seed);
        if (tallies[1].shown <= 16000) {
            TEST_FAIL("seed %d: %d of 20000", (int)seed, (int)tallies[1].shown);
        }
    }
}

TEST(equal_rates_share)
{
    static const int rates[] = {200, 200};
    int64_t first = 0, all = 0;
    for (uint64_t seed = 1; seed <= 40; seed++) {
        struct creative_tally tallies[2] = {{0, 0}};
        learn(tallies, rates, 2, 2000, seed);
        first += tallies[0].shown;
        all += 2000;
    }
    CHECK(first > all * 3 / 10 && first < all * 7 / 10);
}

TEST(draws_have_the_mean_of_the_distribution)
{
    static const struct creative_tally tallies[] = {{0, 0}, {98, 9}, {100000, 1000}, {5, 9}};
    for (int t = 0; t < 4; t++) {
        double clicks = (double)tallies[t].clicks;
        double shown = (double)tallies[t].shown > clicks ? (double)tallies[t].shown : clicks;
        double mean = (1 + clicks) / (2 + shown), sum = 0;
        for (uint64_t i = 0; i < 20000; i++) {
            double draw = creative_draw(tallies[t], prng_mix(i + 1));
            CHECK(draw >= 0 && draw <= 1);
            sum += draw;
        }
        double off = sum / 20000 / mean;
        CHECK(off > 0.97 && off < 1.03);
    }
}

TEST(the_same_request_draws_the_same)
{
    struct creative_tally tally = {1000, 31};
    CHECK(creative_draw(tally, 5) == creative_draw(tally, 5));
    CHECK(creative_draw(tally, 5) != creative_draw(tally, 6));
}
