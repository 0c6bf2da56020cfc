/* The options of jointcap-load, as one table: name, type, default, range, text. --help is printed
 * from it. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "bidder/base/status.h"

#define OPTIONS_LIST_MAX 256

struct options_list {
    unsigned count;
    const char *items[OPTIONS_LIST_MAX];
};

/* The texts point into argv. */
struct options {
    const char *url;
    double rate;
    bool poisson;
    bool saturate;
    double duration_s;
    double warmup_s;
    double grace_ms; /* < 0: by the duration */
    int64_t connections;
    int64_t timeout_ms;
    int64_t pin;
    struct options_list bodies;
    struct options_list headers;
    const char *content_type;
    int64_t persons;
    double zipf;
    int64_t person_salt;
    int64_t seed;
    double win_rate;
    bool loss;
    double notice_delay_ms;
    int64_t notice_connections;
    const char *notice_to;
    int64_t notice_buffer_mb;
    double clearing;
    double duplicate;
    const char *json;
    const char *svg;
    bool progress;
    int64_t show;
    bool i_know;
    bool help;
    bool version;
};

/* STATUS_INVALID after saying on standard error what is wrong. */
enum status options_parse(struct options *options, int argc, char **argv) MUST_USE;
void options_print_help(FILE *out);
