/* Who there is, which media they visit and when: the same options, the same population. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "bidder/base/bug.h"
#include "bidder/base/prng.h"
#include "tests/drive/lift.h"

/* Relative sizes of the six media. */
static const double media_sizes[MEDIA] = {0.28, 0.24, 0.18, 0.14, 0.10, 0.06};

static double normal(struct prng *prng)
{
    return sqrt(-2 * log(1 - prng_unit(prng))) * cos(2 * M_PI * prng_unit(prng));
}

static uint32_t poisson(struct prng *prng, double mean)
{
    double limit = exp(-mean), product = prng_unit(prng);
    uint32_t n = 0;
    for (; product > limit && n < 1000; n++) {
        product *= prng_unit(prng);
    }
    return n;
}

static int pick(struct prng *prng, const double *weights, int count)
{
    double sum = 0;
    for (int i = 0; i < count; i++) {
        sum += weights[i];
    }
    double at = prng_unit(prng) * sum;
    for (int i = 0; i < count - 1; i++) {
        at -= weights[i];
        if (at < 0) {
            return i;
        }
    }
    return count - 1;
}

static int pick_medium(struct prng *prng, uint8_t media)
{
    double weights[MEDIA];
    for (int i = 0; i < MEDIA; i++) {
        weights[i] = media >> i & 1 ? media_sizes[i] : 0;
    }
    int medium = pick(prng, weights, MEDIA);
    while (!(media >> medium & 1)) { /* the last one may be picked by rounding */
        medium--;
    }
    return medium;
}

/* One medium by size, and each further one with the probability overlap. */
static void make_person(struct prng *prng, struct visitor *person)
{
    const struct options *options = &lift.options;
    person->media = (uint8_t)(1u << pick(prng, media_sizes, MEDIA));
    for (int i = 0; i < MEDIA; i++) {
        if (prng_unit(prng) < options->overlap) {
            person->media = (uint8_t)(person->media | 1u << i);
        }
    }
    double at = prng_unit(prng);
    person->target = BRANDS;
    for (int b = 0; b < BRANDS; b++) {
        at -= options->targets[b];
        if (at < 0) {
            person->target = (uint8_t)b;
            break;
        }
    }
    double sigma = options->sigma;
    person->activity = exp(sigma * normal(prng) - sigma * sigma / 2);
}

static void add_visits(struct prng *prng, uint32_t person, enum visit_kind kind, double mean)
{
    uint32_t count = poisson(prng, mean * lift.persons[person].activity);
    for (uint32_t i = 0; i < count; i++) {
        if (lift.visit_count == lift.visit_cap) {
            lift.visit_cap = lift.visit_cap ? 2 * lift.visit_cap : 65536;
            lift.visits = realloc(lift.visits, lift.visit_cap * sizeof(lift.visits[0]));
            BUG_ON(!lift.visits);
        }
        lift.visits[lift.visit_count++] = (struct visit){
            .at = prng_unit(prng),
            .person = person,
            .kind = (uint8_t)kind,
            .medium = (uint8_t)pick_medium(prng, lift.persons[person].media),
            .owner = kind == VISIT_OTHER ? 3 : (uint8_t)pick(prng, lift.options.shares, 3),
            .thinned = prng_unit(prng) > 1 / lift.options.rho,
        };
    }
}

static int by_time(const void *a, const void *b)
{
    double x = ((const struct visit *)a)->at, y = ((const struct visit *)b)->at;
    return x < y ? -1 : x > y;
}

void make_population(void)
{
    const struct options *options = &lift.options;
    struct prng prng = {.state = (uint64_t)options->seed};
    lift.persons = calloc((size_t)options->persons, sizeof(lift.persons[0]));
    BUG_ON(!lift.persons);
    for (uint32_t i = 0; i < options->persons; i++) {
        make_person(&prng, &lift.persons[i]);
        add_visits(&prng, i, VISIT_VIDEO, options->video);
        add_visits(&prng, i, VISIT_OTHER, options->other);
        add_visits(&prng, i, VISIT_DISPLAY, options->display);
    }
    qsort(lift.visits, lift.visit_count, sizeof(lift.visits[0]), by_time);
}

int person_name(uint32_t person, char text[32])
{
    return snprintf(text, 32, "lift-%08x", person);
}
