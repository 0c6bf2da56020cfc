/* What planners read: counters per day, line, exchange, deal and brand shown; how many different
 * persons were reached; how often each saw it. Never decides anything.
 *
 * A worker adds up in memory and sends once a second, spread over it. In Redis, one slot per day (400 days kept):
 *
 *   {r20261122}rows            set of rows: "<line>.<exchange>.<deal>.<brand>", refs in hex
 *   {r20261122}c:<row>         hash: column name -> count
 *   {r20261122}p:<row>         HyperLogLog of the persons that saw it
 *   {r20261122}t:<row>         the same, of those in the brand's target audience
 *   {r20261122}names           hash: "l<ref>" -> "line|campaign|brand", "e<ref>", "d<ref>", "b<ref>"
 *   reports                    hash: "timezone" -> the catalog's: whoever asks for today reads it
 *
 * A HyperLogLog keeps registers, not members: no person can be read out of it. Rows add up to any
 * view (campaign, brand, medium, deal, day); HyperLogLogs unite to its reach. Days are those of the
 * catalog's timezone. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "bidder/base/metric.h"
#include "bidder/base/redis.h"
#include "bidder/catalog.h"
#include "frequency/person.h"

/* X(NAME, field in Redis and column in reports, text for people) */
#define REPORT_COLUMNS(X)                                                                          \
    X(PUSHES, "pushes", "impressions of guaranteed deals offered to us")                           \
    X(RETURNS, "returns", "of these given back")                                                   \
    X(FORCED, "forced", "filled although a cap was reached")                                       \
    X(BIDS, "bids", "bids made")                                                                   \
    X(WINS, "wins", "win notices")                                                                 \
    X(LOSSES, "losses", "loss notices")                                                            \
    X(IMPRESSIONS, "impressions", "impressions shown")                                             \
    X(UNCAPPED, "uncapped", "of these decided without counts")                                     \
    X(SWAPPED, "swapped", "of these shown by a swap partner of the deal's owner")                  \
    X(ANONYMOUS, "anonymous",                                                                      \
      "of these without a person (none, or only a household): not in reach")                       \
    X(CLICKS, "clicks", "clicks")                                                                  \
    X(STARTS, "starts", "videos started")                                                          \
    X(COMPLETES, "completes", "videos played to the end")                                          \
    X(SPEND, "spend", "micros billed, catalog currency")                                           \
    X(SEEN_0, "seen_0", "impressions on persons who had seen none before (cap window)")            \
    X(SEEN_1, "seen_1", "... one")                                                                 \
    X(SEEN_2, "seen_2", "... two")                                                                 \
    X(SEEN_3, "seen_3", "... three")                                                               \
    X(SEEN_4, "seen_4", "... four")                                                                \
    X(SEEN_5, "seen_5", "... five")                                                                \
    X(SEEN_6, "seen_6", "... six")                                                                 \
    X(SEEN_7, "seen_7", "... seven")                                                               \
    X(SEEN_8, "seen_8", "... eight")                                                               \
    X(SEEN_9, "seen_9", "... nine or more")

enum report_column {
#define X(name, field, text) REPORT_##name,
    REPORT_COLUMNS(X)
#undef X
        REPORT_COLUMN_COUNT
};
const char *report_column_name(unsigned column);
#define REPORT_SEEN_STEPS (REPORT_SEEN_9 - REPORT_SEEN_0 + 1)

/* Refs as in tokens; 0 = none (a push that no line took has no line and no brand). */
struct report_row {
    uint32_t line_ref, exchange_ref, deal_ref, brand_ref;
};

struct report;

/* redis is borrowed. catalog answers the catalog of now: names and the timezone. NULL when memory
 * is out. */
struct report *report_create(struct redis *redis, const struct catalog *(*catalog)(void *context),
                             void *context);
/* What was not sent is gone (the event log has it). */
void report_destroy(struct report **report);

/* Adds to a counter; report may be NULL. No allocation, no round trip. */
void report_add(struct report *report, const struct report_row *row, enum report_column column,
                int64_t n, int64_t now_s);
/* This person saw it. in_target: is in the brand's target audience. */
void report_person(struct report *report, const struct report_row *row,
                   const struct person_key *person, bool in_target, int64_t now_s);
/* Call every 100 ms or so: sends what was added, each row once a second. now_us is monotonic. */
void report_tick(struct report *report, int64_t now_us);
/* Sends now, as far as the connection takes it: before a worker ends. */
void report_flush(struct report *report);

/* Facts about all reports. */
#define REPORT_KEY      "reports"
#define REPORT_TIMEZONE "timezone"
/* Names of the keys; day is 20261122. Returns what was appended. */
#define REPORT_ROW_TEXT 36
void report_put_key(struct buf *out, int32_t day, struct str part);
size_t report_row_text(const struct report_row *row, char text[REPORT_ROW_TEXT]);
bool report_row_parse(struct str text, struct report_row *row);

#define REPORT_METRICS(X)                                                                          \
    X(REPORT_SENT, METRIC_COUNTER, "jointcap_report_updates_total", NULL, NULL, 1,                 \
      "Report counters and persons sent to Redis")                                                 \
    X(REPORT_FAILED, METRIC_COUNTER, "jointcap_report_failures_total", NULL, NULL, 1,              \
      "Report updates that Redis did not take (counters are sent again)")                          \
    X(REPORT_FULL, METRIC_COUNTER, "jointcap_report_dropped_total", NULL, NULL, 1,                 \
      "Report updates dropped because a table was full")
METRIC_DECLARE(report, REPORT_METRICS);
