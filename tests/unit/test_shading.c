#include "tests/test.h"

#include "bidder/base/prng.h"
#include "pacing/shading.h"

TEST(a_fresh_line_bids_its_full_value)
{
    struct shading shading = {0};
    CHECK_INT(shading_price(&shading, 12000001, 1000000), 12000001);
    shading_outbid(&shading);
    CHECK_INT(shading_price(&shading, 12000001, 1000000), 12000001);
}

TEST(it_stops_at_half_and_at_the_floor)
{
    struct shading shading = {0};
    for (int i = 0; i < 10000; i++) {
        shading_won(&shading);
    }
    CHECK_INT(shading_price(&shading, 12000000, 1000000), 6000000);
    CHECK_INT(shading_price(&shading, 12000000, 9000000), 9000000);
    CHECK_INT(shading_price(&shading, INT64_MAX / 2, 0), INT64_MAX / 2 - INT64_MAX / 4);
}

/* Against competitors whose highest bid is uniform over 0..value it settles at four of five. */
TEST(it_finds_the_price_that_wins_four_of_five)
{
    struct prng prng = {.state = 3};
    struct shading shading = {0};
    int won = 0;
    int64_t paid = 0;
    for (int i = 0; i < 40000; i++) {
        int64_t bid = shading_price(&shading, 1000000, 0);
        bool wins = bid > (int64_t)prng_below(&prng, 1000000);
        wins ? shading_won(&shading) : shading_outbid(&shading);
        if (i >= 20000) {
            won += wins;
            paid += wins ? bid : 0;
        }
    }
    CHECK(won > 15600 && won < 16400);
    CHECK(paid / won > 780000 && paid / won < 830000);
}
