#include "bidder/bidding_metrics.h"

#include "bidder/base/bug.h"

METRIC_DEFINE(bidding, BIDDING_METRICS);

const char *bidding_freq_event_label(unsigned index)
{
    static const char *const names[FREQ_EVENT_COUNT] = {
        "reserved",        "lost_race",     "reserve_late",   "reserve_failed",
        "undone",          "confirm",       "confirm_stored", "confirm_revived",
        "confirm_retried", "confirm_lost",  "confirm_void",   "confirm_restored",
        "release",         "stale_removed", "overflow",       "pool_exhausted"};
    BUG_ON(index >= FREQ_EVENT_COUNT);
    return names[index];
}

const char *bidding_freq_outcome_label(unsigned index)
{
    return freq_outcome_name((enum freq_outcome)index);
}

const char *bidding_freq_error_label(unsigned index)
{
    return freq_error_name((enum freq_error)index);
}

const char *bidding_redis_event_label(unsigned index)
{
    static const char *const names[REDIS_EVENT_COUNT] = {
        "command",    "reply",     "error",      "late",  "swallowed",
        "disconnect", "reconnect", "overloaded", "moved", "asked"};
    BUG_ON(index >= REDIS_EVENT_COUNT);
    return names[index];
}

const char *bidding_budget_event_label(unsigned index)
{
    static const char *const names[BUDGET_EVENT_COUNT] = {
        "commit", "settled", "released", "expired", "late_win",  "duplicate", "unknown",
        "step",   "grant",   "stale",    "regress", "lost_step", "bad_reply"};
    BUG_ON(index >= BUDGET_EVENT_COUNT);
    return names[index];
}

static void count(unsigned family, unsigned label, uint64_t now, uint64_t before)
{
    metric_add(&bidding_metrics, family, label, now - before);
}

static void export_freq(const struct freq_stats *now, const struct freq_stats *before)
{
    for (unsigned i = 0; i < FREQ_OUTCOME_COUNT; i++) {
        count(BIDDING_FREQ_READS, i, now->reads[i], before->reads[i]);
    }
    for (unsigned i = 0; i < FREQ_ERROR_COUNT; i++) {
        count(BIDDING_FREQ_ERRORS, i, now->errors[i], before->errors[i]);
    }
#define EVENT(label, field) count(BIDDING_FREQ_EVENTS, label, now->field, before->field)
    EVENT(FREQ_EVENT_RESERVED, reserved);
    EVENT(FREQ_EVENT_LOST_RACE, lost_races);
    EVENT(FREQ_EVENT_RESERVE_LATE, reserves_late);
    EVENT(FREQ_EVENT_RESERVE_FAILED, reserves_failed);
    EVENT(FREQ_EVENT_UNDONE, undone);
    EVENT(FREQ_EVENT_CONFIRM, confirms);
    EVENT(FREQ_EVENT_CONFIRM_STORED, confirms_stored);
    EVENT(FREQ_EVENT_CONFIRM_REVIVED, confirms_revived);
    EVENT(FREQ_EVENT_CONFIRM_RETRIED, confirms_retried);
    EVENT(FREQ_EVENT_CONFIRM_LOST, confirms_lost);
    EVENT(FREQ_EVENT_CONFIRM_VOID, confirms_void);
    EVENT(FREQ_EVENT_CONFIRM_RESTORED, confirms_restored);
    EVENT(FREQ_EVENT_RELEASE, releases);
    EVENT(FREQ_EVENT_STALE_REMOVED, stale_removed);
    EVENT(FREQ_EVENT_OVERFLOW, overflows);
    EVENT(FREQ_EVENT_POOL_EXHAUSTED, pool_exhausted);
#undef EVENT
}

static void export_redis(const struct redis_stats *now, const struct redis_stats *before)
{
#define EVENT(label, field) count(BIDDING_REDIS_EVENTS, label, now->field, before->field)
    EVENT(REDIS_EVENT_COMMAND, commands);
    EVENT(REDIS_EVENT_REPLY, replies);
    EVENT(REDIS_EVENT_ERROR, errors);
    EVENT(REDIS_EVENT_LATE, late);
    EVENT(REDIS_EVENT_SWALLOWED, swallowed);
    EVENT(REDIS_EVENT_DISCONNECT, disconnects);
    EVENT(REDIS_EVENT_RECONNECT, reconnects);
    EVENT(REDIS_EVENT_OVERLOADED, overloaded);
    EVENT(REDIS_EVENT_MOVED, moved);
    EVENT(REDIS_EVENT_ASKED, asked);
#undef EVENT
}

static void export_budget(const struct budget_stats *now, const struct budget_stats *before)
{
#define EVENT(label, field) count(BIDDING_BUDGET_EVENTS, label, now->field, before->field)
    EVENT(BUDGET_EVENT_COMMIT, commits);
    EVENT(BUDGET_EVENT_SETTLED, settled);
    EVENT(BUDGET_EVENT_RELEASED, released);
    EVENT(BUDGET_EVENT_EXPIRED, expired);
    EVENT(BUDGET_EVENT_LATE_WIN, late_wins);
    EVENT(BUDGET_EVENT_DUPLICATE, duplicates);
    EVENT(BUDGET_EVENT_UNKNOWN, unknown);
    EVENT(BUDGET_EVENT_STEP, steps);
    EVENT(BUDGET_EVENT_GRANT, grants);
    EVENT(BUDGET_EVENT_STALE, stale);
    EVENT(BUDGET_EVENT_REGRESS, regress);
    EVENT(BUDGET_EVENT_LOST_STEP, lost_steps);
    EVENT(BUDGET_EVENT_BAD_REPLY, bad_replies);
#undef EVENT
    metric_set(&bidding_metrics, BIDDING_BUDGET_FENCED, 0, now->fenced);
}

void bidding_export(struct bidding_exported *exported, const struct freq_stats *freq,
                    const struct redis_stats *redis, const struct budget_stats *budget)
{
    export_freq(freq, &exported->freq);
    export_redis(redis, &exported->redis);
    export_budget(budget, &exported->budget);
    exported->freq = *freq;
    exported->redis = *redis;
    exported->budget = *budget;
}
