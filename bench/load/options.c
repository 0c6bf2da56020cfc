/* Reads the command line against the table below. */
#include "bench/load/options.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "bidder/base/bug.h"
#include "bidder/base/str.h"

enum option_type { OPTION_FLAG, OPTION_INTEGER, OPTION_REAL, OPTION_TEXT, OPTION_LIST };

struct option_row {
    const char *name;
    enum option_type type;
    size_t offset;
    const char *unit;
    const char *initial; /* NULL: none */
    double low;
    double high;
    const char *text;
};

#define ROW(name_, type_, member_, unit_, initial_, low_, high_, text_)                            \
    {                                                                                              \
        .name = (name_), .type = (type_), .offset = offsetof(struct options, member_),             \
        .unit = (unit_), .initial = (initial_), .low = (low_), .high = (high_), .text = (text_)    \
    }
#define FLAG(name_, member_, text_) ROW(name_, OPTION_FLAG, member_, "", NULL, 0, 1, text_)
#define TEXT(name_, member_, unit_, initial_, text_)                                               \
    ROW(name_, OPTION_TEXT, member_, unit_, initial_, 0, 0, text_)
#define INTEGER(name_, member_, unit_, initial_, low_, high_, text_)                               \
    ROW(name_, OPTION_INTEGER, member_, unit_, initial_, low_, high_, text_)
#define REAL(name_, member_, unit_, initial_, low_, high_, text_)                                  \
    ROW(name_, OPTION_REAL, member_, unit_, initial_, low_, high_, text_)

static const struct option_row rows[] = {
    REAL("rate", rate, "R", "1000", 0.1, 2e6, "requests per second to send (open loop)"),
    FLAG("poisson", poisson, "exponential gaps between requests instead of constant ones"),
    FLAG("saturate", saturate, "closed loop: each connection sends as soon as it was answered"),
    REAL("duration", duration_s, "S", "10", 0.01, 1e6, "seconds measured"),
    REAL("warmup", warmup_s, "S", "1", 0, 1e6, "seconds before that, not measured"),
    REAL("grace", grace_ms, "MS", "-1", -1, 600000,
         "what was due may still be sent this long after the end; -1: 1% of the duration, at "
         "most 1 s"),
    INTEGER("connections", connections, "N", "16", 1, 10000,
            "keep-alive connections, one request outstanding on each"),
    INTEGER("timeout", timeout_ms, "MS", "1000", 1, 600000,
            "a later answer counts as a timeout; the connection is opened anew"),
    INTEGER("pin", pin, "CPU", "-1", -1, 4095, "run on this core only"),
    ROW("body", OPTION_LIST, bodies, "PATH[=W]", NULL, 0, 0,
        "request body, or a folder of them; with weight W (1..100); repeatable"),
    ROW("header", OPTION_LIST, headers, "'K: V'", NULL, 0, 0, "a further header; repeatable"),
    TEXT("content-type", content_type, "TYPE", NULL,
         "default: application/x-protobuf for *.pb, else application/json"),
    INTEGER("persons", persons, "N", "1000000", 1, 1e15, "persons the device ids are drawn from"),
    REAL("zipf", zipf, "S", "0.8", 0, 4, "person k is seen in proportion to 1/k^S; 0: all alike"),
    INTEGER("person-salt", person_salt, "N", "1", 0, 1e15,
            "another salt makes other persons; the same salt the same ones in every run"),
    INTEGER("seed", seed, "N", "0", 0, 9e15,
            "of request ids, arrivals, persons and wins; 0: from the clock; printed"),
    REAL("win-rate", win_rate, "P", "0", 0, 1, "share of the bids that win and are notified"),
    FLAG("loss", loss, "send the lurl of the bids that do not win"),
    REAL("notice-delay", notice_delay_ms, "MS", "100", 0, 3.6e6, "from bid to notice"),
    INTEGER("notice-connections", notice_connections, "N", "4", 1, 1000, "for notices only"),
    TEXT("notice-to", notice_to, "HOST:PORT", NULL,
         "where notices go; default: the bidder's address, whatever their url says"),
    INTEGER("notice-buffer", notice_buffer_mb, "MB", "64", 1, 65536,
            "room for notices that wait for their delay; what does not fit is counted"),
    REAL("clearing", clearing, "R", "0.8", 0, 1, "clearing price as a share of the bid price"),
    REAL("duplicate", duplicate, "P", "0", 0, 1, "share of the notices that are sent twice"),
    TEXT("json", json, "FILE", NULL, "write the results as JSON"),
    TEXT("svg", svg, "FILE", NULL, "draw latency over percentile"),
    FLAG("progress", progress, "a line per second on standard error (default on a terminal)"),
    INTEGER("show", show, "N", "0", 0, 1e6, "print the first N answers"),
    FLAG("i-know", i_know, "allow addresses beyond this machine"),
    FLAG("help", help, "this text"),
    FLAG("version", version, "the version"),
};

void options_print_help(FILE *out)
{
    fputs(
        "usage: jointcap-load [options] http://HOST:PORT/PATH\n\n"
        "Sends bid requests to a bidder and measures its answers. Latency counts from the moment\n"
        "a request was planned to be sent: when all connections are busy the wait counts too, so\n"
        "a stalled server cannot hide behind requests that were never sent. Beside it stands the\n"
        "service time, from the actual send. Each request gets a fresh request id and the ids of\n"
        "a person; win and loss notices of the bids are fed back.\n\n",
        out);
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        char left[40];
        snprintf(left, sizeof(left), "--%s %s", rows[i].name, rows[i].unit);
        fprintf(out, "  %-26s %s", left, rows[i].text);
        fprintf(out, rows[i].initial ? " [%s]\n" : "\n", rows[i].initial);
    }
    fputs("\nexit code: 0 done, 1 failed, 2 wrong usage, 3 less than 99% of the rate delivered\n\n"
          "examples:\n"
          "  jointcap-load --body request.json --rate 2000 http://127.0.0.1:8080/openrtb2/demo\n"
          "  jointcap-load --body requests/ --saturate --pin 1 --win-rate 0.3 --json out.json \\\n"
          "      --svg out.svg http://127.0.0.1:8080/openrtb2/demo\n",
          out);
}

static bool set_number(const struct option_row *row, void *target, const char *text)
{
    char *end;
    double value = strtod(text, &end);
    if (end == text || *end || !(value >= row->low && value <= row->high)) {
        fprintf(stderr, "jointcap-load: --%s takes %g to %g, not \"%s\"\n", row->name, row->low,
                row->high, text);
        return false;
    }
    if (row->type == OPTION_REAL) {
        *(double *)target = value;
    } else {
        *(int64_t *)target = (int64_t)value;
    }
    return true;
}

static bool set(struct options *options, const struct option_row *row, const char *text)
{
    void *target = (char *)options + row->offset;
    switch (row->type) {
    case OPTION_FLAG:
        *(bool *)target = true;
        return true;
    case OPTION_INTEGER:
    case OPTION_REAL:
        return set_number(row, target, text);
    case OPTION_TEXT:
        *(const char **)target = text;
        return true;
    case OPTION_LIST: {
        struct options_list *list = target;
        if (list->count == OPTIONS_LIST_MAX) {
            fprintf(stderr, "jointcap-load: more than %d --%s\n", OPTIONS_LIST_MAX, row->name);
            return false;
        }
        list->items[list->count++] = text;
        return true;
    }
    }
    return false;
}

static const struct option_row *find(struct str name)
{
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        if (str_eq(name, str_from(rows[i].name))) {
            return &rows[i];
        }
    }
    return NULL;
}

/* One argument, with its value behind = or in the next one; *i moves on. */
static bool take(struct options *options, int argc, char **argv, int *i)
{
    const char *argument = argv[*i];
    if (argument[0] != '-' || argument[1] != '-') {
        if (options->url) {
            fprintf(stderr, "jointcap-load: one url only, not also \"%s\"\n", argument);
            return false;
        }
        options->url = argument;
        return true;
    }
    const char *equals = strchr(argument, '=');
    struct str name = str_from(argument + 2);
    if (equals) {
        name.len = (size_t)(equals - argument) - 2;
    }
    const struct option_row *row = find(name);
    if (!row) {
        fprintf(stderr, "jointcap-load: unknown option \"%s\"; see --help\n", argument);
        return false;
    }
    const char *value = equals ? equals + 1 : NULL;
    if (row->type == OPTION_FLAG) {
        if (value) {
            fprintf(stderr, "jointcap-load: --%s takes no value\n", row->name);
            return false;
        }
    } else if (!value) {
        if (*i + 1 >= argc) {
            fprintf(stderr, "jointcap-load: --%s needs a value\n", row->name);
            return false;
        }
        value = argv[++*i];
    }
    return set(options, row, value ? value : "");
}

enum status options_parse(struct options *options, int argc, char **argv)
{
    *options = (struct options){0};
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        if (rows[i].initial) {
            BUG_ON(!set(options, &rows[i], rows[i].initial));
        }
    }
    for (int i = 1; i < argc; i++) {
        if (!take(options, argc, argv, &i)) {
            return STATUS_INVALID;
        }
    }
    if (options->help || options->version) {
        return STATUS_OK;
    }
    if (!options->url || !options->bodies.count) {
        fputs("jointcap-load: needs a url and at least one --body; see --help\n", stderr);
        return STATUS_INVALID;
    }
    return STATUS_OK;
}
