/* Seeded pseudo-random numbers, for jitter, sampling and simulations; never for secrets.
 * splitmix64: Steele, Lea, Flood, "Fast splittable pseudorandom number generators", 2014. */
#pragma once

#include <stdint.h>

struct prng {
    uint64_t state;
};

static inline uint64_t prng_mix(uint64_t z)
{
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return z ^ (z >> 31);
}

static inline uint64_t prng_next(struct prng *prng)
{
    prng->state += 0x9e3779b97f4a7c15ull;
    return prng_mix(prng->state);
}

/* Uniform in [0, bound), bound > 0 (multiply-shift; bias below 2^-32 for bound < 2^32). */
static inline uint64_t prng_below(struct prng *prng, uint64_t bound)
{
    __extension__ typedef unsigned __int128 wide;
    return (uint64_t)(((wide)prng_next(prng) * bound) >> 64);
}

/* Uniform in [0, 1), 53 bits. */
static inline double prng_unit(struct prng *prng)
{
    return (double)(prng_next(prng) >> 11) * 0x1p-53;
}
