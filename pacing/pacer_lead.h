/* What the elected pacer of one budget does with everybody's counts: plan, throttle, forecast, and
 * why the budget is behind. Pure: texts in, texts out. pacer.c carries them.
 *
 *   worker counts   "date eligible participated committed closed settled in_flight spent
 *                    spent_total now_s": cumulative; spent as that worker last heard of all
 *   state           what the pacer publishes and the next pacer goes on from
 *   curve           168 numbers: eligible requests per hour of the local week                   */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "bidder/base/buf.h"
#include "bidder/base/str.h"
#include "pacing/plan.h"
#include "pacing/throttle.h"

enum pacer_reason {
    PACER_ON_PLAN,
    PACER_STARTING,  /* the throttle is still opening */
    PACER_WIDE_OPEN, /* takes part in everything: too little traffic, price or audience too low */
    PACER_NO_TRAFFIC,
    PACER_AHEAD,
    PACER_SPENT,
    PACER_NOT_NOW, /* outside its flight, or an hour without a share */
    PACER_REASON_COUNT
};
const char *pacer_reason_name(enum pacer_reason reason); /* "on_plan" */
const char *pacer_reason_text(enum pacer_reason reason); /* for people */

struct pacer_counts {
    int64_t date, eligible, participated, committed, closed, settled, in_flight, spent, spent_total,
        now_s;
};
void pacer_counts_put(struct buf *out, const struct pacer_counts *counts);
bool pacer_counts_parse(struct str text, struct pacer_counts *counts);

struct pacer_state {
    int64_t date;    /* yyyymmdd of the plan; 0 = none yet */
    int64_t now_s;   /* when it was made */
    int64_t p;       /* of THROTTLE_ONE */
    int64_t target;  /* to be spent today */
    int64_t planned; /* by now */
    int64_t spent;   /* today */
    int64_t in_flight;
    int64_t forecast;   /* spent by the day's end, as things go */
    int64_t base_total; /* of the total, spent before today */
    int64_t since_s;    /* the plan starts here: a pacer that knew no earlier state */
    int64_t reason;     /* enum pacer_reason */
    int64_t expected;   /* requests, by the plan, of the hour of now_s: what load is measured by */
    struct throttle throttle;
};
void pacer_state_put(struct buf *out, const struct pacer_state *state);
bool pacer_state_parse(struct str text, struct pacer_state *state);

void pacer_curve_put(struct buf *out, const struct plan_curve *curve);
bool pacer_curve_parse(struct str text, struct plan_curve *curve);

struct pacer_budget {
    enum plan_mode mode;
    uint16_t hourly_share[24];
    bool impressions;     /* unit of both: */
    int64_t total, daily; /* 0 = none */
    int64_t start_s, end_s;
};

/* Kept only by the worker that leads the budget. Heap. */
struct pacer_lead;

struct pacer_lead *pacer_lead_create(void);
void pacer_lead_destroy(struct pacer_lead **lead);
/* Takes over: state and curve as last published (empty texts: none). */
void pacer_lead_begin(struct pacer_lead *lead, struct str state, struct str curve);
/* Another worker's counts; owner names it. Call for all, then tick. */
void pacer_lead_hear(struct pacer_lead *lead, uint32_t owner, const struct pacer_counts *counts,
                     int64_t now_s);
/* Every 10 s. *state is what to publish. True when the curve learned and is to be published too. */
bool pacer_lead_tick(struct pacer_lead *lead, const struct pacer_budget *budget,
                     const struct tz *tz, int64_t now_s, struct pacer_state *state);
const struct plan_curve *pacer_lead_curve(const struct pacer_lead *lead);
