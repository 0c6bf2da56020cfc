/* Counters that modules keep in plain structs, exported once a second. */
#pragma once

#include "bidder/base/metric.h"
#include "bidder/base/redis.h"
#include "frequency/freq_store.h"
#include "pacing/budget.h"

enum freq_event {
    FREQ_EVENT_RESERVED,
    FREQ_EVENT_LOST_RACE,
    FREQ_EVENT_RESERVE_LATE,
    FREQ_EVENT_RESERVE_FAILED,
    FREQ_EVENT_UNDONE,
    FREQ_EVENT_CONFIRM,
    FREQ_EVENT_CONFIRM_STORED,
    FREQ_EVENT_CONFIRM_REVIVED,
    FREQ_EVENT_CONFIRM_RETRIED,
    FREQ_EVENT_CONFIRM_LOST,
    FREQ_EVENT_CONFIRM_VOID,
    FREQ_EVENT_CONFIRM_RESTORED,
    FREQ_EVENT_RELEASE,
    FREQ_EVENT_STALE_REMOVED,
    FREQ_EVENT_OVERFLOW,
    FREQ_EVENT_POOL_EXHAUSTED,
    FREQ_EVENT_COUNT
};
const char *bidding_freq_event_label(unsigned index);
const char *bidding_freq_outcome_label(unsigned index);
const char *bidding_freq_error_label(unsigned index);

enum redis_event {
    REDIS_EVENT_COMMAND,
    REDIS_EVENT_REPLY,
    REDIS_EVENT_ERROR,
    REDIS_EVENT_LATE,
    REDIS_EVENT_SWALLOWED,
    REDIS_EVENT_DISCONNECT,
    REDIS_EVENT_RECONNECT,
    REDIS_EVENT_OVERLOADED,
    REDIS_EVENT_MOVED,
    REDIS_EVENT_ASKED,
    REDIS_EVENT_COUNT
};
const char *bidding_redis_event_label(unsigned index);

enum budget_event {
    BUDGET_EVENT_COMMIT,
    BUDGET_EVENT_SETTLED,
    BUDGET_EVENT_RELEASED,
    BUDGET_EVENT_EXPIRED,
    BUDGET_EVENT_LATE_WIN,
    BUDGET_EVENT_DUPLICATE,
    BUDGET_EVENT_UNKNOWN,
    BUDGET_EVENT_STEP,
    BUDGET_EVENT_GRANT,
    BUDGET_EVENT_STALE,
    BUDGET_EVENT_REGRESS,
    BUDGET_EVENT_LOST_STEP,
    BUDGET_EVENT_BAD_REPLY,
    BUDGET_EVENT_COUNT
};
const char *bidding_budget_event_label(unsigned index);

#define BIDDING_METRICS(X)                                                                         \
    X(BIDDING_READY, METRIC_GAUGE, "jointcap_workers_ready", NULL, NULL, 1,                        \
      "Workers with a catalog, Redis and their first budget leases.")                              \
    X(BIDDING_FREQ_READS, METRIC_COUNTER, "jointcap_frequency_reads_total", "outcome",             \
      bidding_freq_outcome_label, FREQ_OUTCOME_COUNT, "Reads of a person, by outcome.")            \
    X(BIDDING_FREQ_EVENTS, METRIC_COUNTER, "jointcap_frequency_events_total", "event",             \
      bidding_freq_event_label, FREQ_EVENT_COUNT, "Reservations, confirms and releases.")          \
    X(BIDDING_FREQ_ERRORS, METRIC_COUNTER, "jointcap_frequency_errors_total", "error",             \
      bidding_freq_error_label, FREQ_ERROR_COUNT, "Why counts could not be read or written.")      \
    X(BIDDING_REDIS_EVENTS, METRIC_COUNTER, "jointcap_redis_events_total", "event",                \
      bidding_redis_event_label, REDIS_EVENT_COUNT, "Redis commands, replies and connections.")    \
    X(BIDDING_BUDGET_EVENTS, METRIC_COUNTER, "jointcap_budget_events_total", "event",              \
      bidding_budget_event_label, BUDGET_EVENT_COUNT, "Commitments, settlements and lease steps.") \
    X(BIDDING_BUDGET_FENCED, METRIC_GAUGE, "jointcap_budget_fenced", NULL, NULL, 1,                \
      "Workers whose owner number is used by a later run: they commit nothing.")
METRIC_DECLARE(bidding, BIDDING_METRICS);

/* What was exported before: counters of a worker that was restarted go on from where they were. */
struct bidding_exported {
    struct freq_stats freq;
    struct redis_stats redis;
    struct budget_stats budget;
};
void bidding_export(struct bidding_exported *exported, const struct freq_stats *freq,
                    const struct redis_stats *redis, const struct budget_stats *budget);
