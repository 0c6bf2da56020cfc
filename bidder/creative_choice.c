/* Beta by two Gammas: G. Marsaglia and W. W. Tsang, "A simple method for generating gamma
 * variables", ACM TOMS 26, 2000; shapes are at least 1 here. */
#include "bidder/creative_choice.h"

#include <math.h>

#include "bidder/base/prng.h"

#define TRIES 64 /* one in 20 is rejected; 64 times running is a broken generator */

static double draw_normal(struct prng *prng)
{
    double radius = sqrt(-2 * log(1 - prng_unit(prng))); /* Box and Muller */
    return radius * cos(2 * 3.14159265358979323846 * prng_unit(prng));
}

static double draw_gamma(struct prng *prng, double shape)
{
    double d = shape - 1.0 / 3, c = 1 / sqrt(9 * d);
    for (int i = 0; i < TRIES; i++) {
        double x = draw_normal(prng), v = 1 + c * x;
        if (v <= 0) {
            continue;
        }
        v = v * v * v;
        if (log(1 - prng_unit(prng)) < 0.5 * x * x + d - d * v + d * log(v)) {
            return d * v;
        }
    }
    return d;
}

double creative_draw(struct creative_tally tally, uint64_t seed)
{
    struct prng prng = {.state = seed};
    int64_t clicks = tally.clicks > 0 ? tally.clicks : 0;
    int64_t misses = tally.shown > clicks ? tally.shown - clicks : 0; /* clicks may come first */
    double hit = draw_gamma(&prng, 1 + (double)clicks);
    double miss = draw_gamma(&prng, 1 + (double)misses);
    return hit / (hit + miss);
}
