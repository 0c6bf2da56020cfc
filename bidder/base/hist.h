/* Log-linear latency histogram: 32 steps per power of two, so every value is kept within 3.2%;
 * 0 to 2^40 - 1 (in the unit of the caller), larger ones count in the last step.
 * A plain struct without pointers: it may lie in shared memory with one writer. */
#pragma once

#include <stdint.h>

#define HIST_SUB_BITS 5
#define HIST_SUB      (1 << HIST_SUB_BITS)
#define HIST_MAX_BITS 40
#define HIST_STEPS    ((HIST_MAX_BITS - HIST_SUB_BITS + 1) * HIST_SUB)

struct hist {
    uint64_t count;
    uint64_t sum;
    uint64_t max;
    uint64_t steps[HIST_STEPS];
};

static inline unsigned hist_step(uint64_t value)
{
    if (value < HIST_SUB) {
        return (unsigned)value;
    }
    unsigned high = 63 - (unsigned)__builtin_clzll(value);
    if (high >= HIST_MAX_BITS) {
        return HIST_STEPS - 1;
    }
    unsigned shift = high - HIST_SUB_BITS;
    return (shift + 1) * HIST_SUB + (unsigned)((value >> shift) & (HIST_SUB - 1));
}

/* The largest value that falls into the step. */
static inline uint64_t hist_step_top(unsigned step)
{
    if (step < HIST_SUB) {
        return step;
    }
    unsigned shift = step / HIST_SUB - 1;
    return (((uint64_t)(step % HIST_SUB) + HIST_SUB + 1) << shift) - 1;
}

static inline void hist_add(struct hist *hist, uint64_t value)
{
    hist->count++;
    hist->sum += value;
    hist->max = value > hist->max ? value : hist->max;
    hist->steps[hist_step(value)]++;
}

void hist_merge(struct hist *into, const struct hist *from);
/* The value that a fraction (0..1) of the samples do not exceed; 0 when there are none. Never
 * above the largest sample. */
uint64_t hist_quantile(const struct hist *hist, double fraction);
