/* Numbers 1..n where k comes up in proportion to 1/k^s: few persons are seen very often, most
 * seldom. No table, so ten million persons cost nothing: rejection-inversion, W. Hoermann and
 * G. Derflinger, "Rejection-inversion to generate variates from monotone discrete distributions",
 * ACM TOMACS 6(3), 1996. */
#pragma once

#include <math.h>
#include <stdint.h>

#include "bidder/base/prng.h"

struct zipf {
    double n;
    double s; /* 0: uniform */
    double area_low;
    double area_high;
    double accept; /* below this distance no further check is needed */
};

/* Integral of x^-s, chosen so that it is continuous at s = 1. */
static inline double zipf_area(const struct zipf *zipf, double x)
{
    double rest = 1 - zipf->s;
    return fabs(rest) < 1e-9 ? log(x) : expm1(rest * log(x)) / rest;
}

static inline double zipf_area_inverse(const struct zipf *zipf, double area)
{
    double rest = 1 - zipf->s;
    return fabs(rest) < 1e-9 ? exp(area) : exp(log1p(fmax(area * rest, -1)) / rest);
}

static inline void zipf_init(struct zipf *zipf, uint64_t n, double s)
{
    *zipf = (struct zipf){.n = (double)n, .s = s};
    zipf->area_low = zipf_area(zipf, 1.5) - 1;
    zipf->area_high = zipf_area(zipf, (double)n + 0.5);
    zipf->accept = 2 - zipf_area_inverse(zipf, zipf_area(zipf, 2.5) - pow(2, -s));
}

static inline uint64_t zipf_next(const struct zipf *zipf, struct prng *prng)
{
    if (zipf->s <= 0) {
        return 1 + prng_below(prng, (uint64_t)zipf->n);
    }
    for (;;) {
        double area = zipf->area_high + prng_unit(prng) * (zipf->area_low - zipf->area_high);
        double x = zipf_area_inverse(zipf, area);
        double k = floor(x + 0.5);
        k = k < 1 ? 1 : k > zipf->n ? zipf->n : k;
        if (k - x <= zipf->accept || area >= zipf_area(zipf, k + 0.5) - exp(-zipf->s * log(k))) {
            return (uint64_t)k;
        }
    }
}
