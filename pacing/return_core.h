/* The return quota of one worker without I/O. return_quota.c carries its steps. A deal's local day
 * is an account `r:{ref}:date` of the lease step: used = returned, extra = pushed, and the limit is
 * computed from all workers' pushes as Redis last counted them: less than the truth, never more.
 * Beside it `f:{ref}:date` keeps the second at which a worker first counted the deal that day: what
 * the day brought before is not taken for pushes that did not come. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "bidder/base/status.h"
#include "pacing/budget_step.h"
#include "pacing/return_quota.h"

struct return_deal {
    struct budget_step_key key;
    int64_t push_ratio_micros, impressions_per_day;
    bool open, pending, lost, asked;
    int64_t pushed, returned, free; /* own, today */
    int64_t reported_pushed, reported_returned, reported_lease;
    int64_t pushed_all, settled_all, out_all, owners; /* as Redis last said */
    int64_t seq;
    struct budget_step sent;
    int64_t next_sync_us, synced_us, last_push_us;
    bool whole_day;        /* counted since the day began */
    int64_t began_s;       /* when anybody first counted today, as Redis keeps it; 0 = unknown */
    int64_t missed_ppm;    /* of a usual day, what passed before the first push was counted */
    int32_t hour;          /* of the day, the one hours[] is at */
    int64_t hour_began_at; /* pushes known when it began */
    int64_t hours[24];     /* pushes of today by hour: tomorrow's shape */
    int64_t shape[24];     /* of a usual day */
    int64_t recent;        /* returns wanted since the last sync */
};

struct return_core;

struct return_core *return_core_create(uint32_t owner, int64_t life);
void return_core_destroy(struct return_core **core);
enum status return_core_configure(struct return_core *core, const struct return_deal_plan *plans,
                                  uint32_t count, const struct tz *tz, int64_t now_s) MUST_USE;
void return_core_note_push(struct return_core *core, uint32_t deal);
bool return_core_take(struct return_core *core, uint32_t deal);
void return_core_tick(struct return_core *core, int64_t now_us, int64_t now_s);
/* As budget_core_next_step: exactly one of on_reply, on_lost follows. */
bool return_core_next_step(struct return_core *core, int64_t now_us, int64_t now_s,
                           struct budget_step *step, uint32_t *deal);
/* An answer for a day or a catalog gone by is ignored; so is one for a step not under way. */
void return_core_on_reply(struct return_core *core, uint32_t deal, const struct budget_step *step,
                          const struct budget_step_reply *reply, int64_t now_us);
/* Of the deal whose step was answered BUDGET_STEP_RECOVERED. */
void return_core_on_began(struct return_core *core, uint32_t deal, const struct budget_step *step,
                          int64_t began_s);
void return_core_on_lost(struct return_core *core, uint32_t deal, const struct budget_step *step,
                         int64_t now_us);
bool return_core_view(const struct return_core *core, uint32_t deal, struct return_view *view);
