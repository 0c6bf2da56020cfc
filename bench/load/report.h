/* The results as text, JSON and SVG. */
#pragma once

#include <stdio.h>

#include "bench/load/engine.h"

struct report {
    const struct options *options;
    const struct templates *templates;
    const struct engine_result *result;
    uint64_t seed;
};

/* The rate that was to be answered, and that was, per second of the measured time. */
double report_target(const struct report *report);
double report_delivered(const struct report *report);
/* At least 99% of what was due was answered; always true in a closed loop that was answered. */
bool report_is_delivered(const struct report *report);

void report_text(const struct report *report, FILE *out);
enum status report_json(const struct report *report, const char *path) MUST_USE;
/* plot.c */
enum status report_svg(const struct report *report, const char *path) MUST_USE;
