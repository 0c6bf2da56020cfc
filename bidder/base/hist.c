#include "bidder/base/hist.h"

void hist_merge(struct hist *into, const struct hist *from)
{
    into->count += from->count;
    into->sum += from->sum;
    into->max = from->max > into->max ? from->max : into->max;
    for (unsigned i = 0; i < HIST_STEPS; i++) {
        into->steps[i] += from->steps[i];
    }
}

uint64_t hist_quantile(const struct hist *hist, double fraction)
{
    if (!hist->count) {
        return 0;
    }
    double exact = fraction * (double)hist->count;
    uint64_t rank = (uint64_t)exact;
    rank += (double)rank < exact;
    rank = rank ? rank : 1;
    uint64_t seen = 0;
    for (unsigned i = 0; i < HIST_STEPS; i++) {
        seen += hist->steps[i];
        if (seen >= rank) {
            uint64_t top = hist_step_top(i);
            return top < hist->max ? top : hist->max;
        }
    }
    return hist->max;
}
