#include "pacing/pacer_lead.h"

#include <stdlib.h>
#include <string.h>

#include "bidder/base/bug.h"

#define TICK_S        10
#define SLOT_S        900
#define FRESH_S       30 /* older counts say nothing about what is in flight now */
#define MAX_OWNERS    4096
#define MAX_FLOW      (1ll << 50) /* amounts of one tick, as the throttle may be told */
#define MAX_REMAINING (1ll << 53)
#define LEARN_AFTER_S 3300 /* an hour seen for less teaches nothing */

struct heard {
    uint32_t owner;
    bool fresh;
    struct pacer_counts last;
};

struct pacer_lead {
    struct pacer_state state;
    struct plan_curve curve, planned_curve;
    struct plan_day day;         /* made from planned_curve: what is learned does not move it */
    struct pacer_budget planned; /* what day and target were made from */
    struct heard *heard;         /* owned */
    uint32_t heard_count, heard_room;
    struct throttle_input since; /* sums since the last tick, in the budget's unit */
    int64_t spent, spent_total, in_flight;
    int64_t ticked_s;
    int hour; /* of the week, being learned; -1 = none */
    int64_t hour_since_s, hour_eligible;
};

const char *pacer_reason_name(enum pacer_reason reason)
{
    static const char *const names[PACER_REASON_COUNT] = {
        "on_plan", "starting", "wide_open", "no_traffic", "ahead", "spent", "not_now"};
    return (unsigned)reason < PACER_REASON_COUNT ? names[reason] : "?";
}

const char *pacer_reason_text(enum pacer_reason reason)
{
    static const char *const texts[PACER_REASON_COUNT] = {
        "on plan",
        "the throttle is still opening",
        "takes part in every matching request: needs more traffic, price or audience",
        "no matching requests arrive",
        "ahead of plan: the throttle is closing",
        "the day's target is spent",
        "outside the flight or the hours it may spend in",
    };
    return (unsigned)reason < PACER_REASON_COUNT ? texts[reason] : "?";
}

/* --- texts: integers with a space between ----------------------------------------------------- */

static void put_all(struct buf *out, const int64_t *values, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (i) {
            buf_put_char(out, ' ');
        }
        buf_put_i64(out, values[i]);
    }
}

static bool parse_all(struct str text, int64_t *values, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (!str_to_i64(str_cut(&text, ' '), &values[i]) || values[i] < -(1ll << 56) ||
            values[i] > 1ll << 56) {
            return false;
        }
    }
    return text.len == 0;
}

#define COUNTS 10
void pacer_counts_put(struct buf *out, const struct pacer_counts *c)
{
    const int64_t values[COUNTS] = {c->date,        c->eligible, c->participated, c->committed,
                                    c->closed,      c->settled,  c->in_flight,    c->spent,
                                    c->spent_total, c->now_s};
    put_all(out, values, COUNTS);
}

bool pacer_counts_parse(struct str text, struct pacer_counts *c)
{
    int64_t v[COUNTS];
    if (!parse_all(text, v, COUNTS)) {
        return false;
    }
    for (size_t i = 0; i < COUNTS; i++) {
        if (v[i] < 0) {
            return false;
        }
    }
    *c = (struct pacer_counts){v[0], v[1], v[2], v[3], v[4], v[5], v[6], v[7], v[8], v[9]};
    return true;
}

#define STATES 23
void pacer_state_put(struct buf *out, const struct pacer_state *s)
{
    const struct throttle *t = &s->throttle;
    const int64_t values[STATES] = {s->date,         s->now_s,           s->p,
                                    s->target,       s->planned,         s->spent,
                                    s->in_flight,    s->forecast,        s->base_total,
                                    s->since_s,      s->reason,          t->p,
                                    t->outage_ticks, t->commit.over,     t->commit.under,
                                    t->win.over,     t->win.under,       t->load.over,
                                    t->load.under,   t->load_short.over, t->load_short.under,
                                    t->pending,      s->expected};
    put_all(out, values, STATES);
}

bool pacer_state_parse(struct str text, struct pacer_state *s)
{
    int64_t v[STATES];
    if (!parse_all(text, v, STATES) || v[2] < 0 || v[2] > THROTTLE_ONE || v[10] < 0 ||
        v[10] >= PACER_REASON_COUNT || v[11] < 0 || v[11] > THROTTLE_ONE || v[12] < 0 ||
        v[12] > UINT32_MAX) {
        return false;
    }
    for (size_t i = 13; i < STATES; i++) {
        if (v[i] < 0 && i != 21) { /* pending may be unknown */
            return false;
        }
    }
    *s = (struct pacer_state){.date = v[0],
                              .now_s = v[1],
                              .p = v[2],
                              .target = v[3],
                              .planned = v[4],
                              .spent = v[5],
                              .in_flight = v[6],
                              .forecast = v[7],
                              .base_total = v[8],
                              .since_s = v[9],
                              .reason = v[10],
                              .expected = v[22],
                              .throttle = {.pending = v[21],
                                           .p = (uint32_t)v[11],
                                           .outage_ticks = (uint32_t)v[12],
                                           .commit = {v[13], v[14]},
                                           .win = {v[15], v[16]},
                                           .load = {v[17], v[18]},
                                           .load_short = {v[19], v[20]}}};
    return true;
}

void pacer_curve_put(struct buf *out, const struct plan_curve *curve)
{
    int64_t values[PLAN_HOURS_OF_WEEK];
    for (int i = 0; i < PLAN_HOURS_OF_WEEK; i++) {
        values[i] = curve->per_hour[i];
    }
    put_all(out, values, PLAN_HOURS_OF_WEEK);
}

bool pacer_curve_parse(struct str text, struct plan_curve *curve)
{
    int64_t values[PLAN_HOURS_OF_WEEK];
    if (!parse_all(text, values, PLAN_HOURS_OF_WEEK)) {
        return false;
    }
    for (int i = 0; i < PLAN_HOURS_OF_WEEK; i++) {
        if (values[i] < 0 || values[i] > UINT32_MAX) {
            return false;
        }
    }
    for (int i = 0; i < PLAN_HOURS_OF_WEEK; i++) {
        curve->per_hour[i] = (uint32_t)values[i];
    }
    return true;
}

/* --- leading --------------------------------------------------------------------------------- */

struct pacer_lead *pacer_lead_create(void)
{
    return calloc(1, sizeof(struct pacer_lead));
}

void pacer_lead_destroy(struct pacer_lead **lead)
{
    if (*lead) {
        free((*lead)->heard);
        free(*lead);
        *lead = NULL;
    }
}

const struct plan_curve *pacer_lead_curve(const struct pacer_lead *lead)
{
    return &lead->curve;
}

void pacer_lead_begin(struct pacer_lead *lead, struct str state, struct str curve)
{
    lead->heard_count = 0;
    lead->hour = -1;
    lead->ticked_s = 0;
    lead->day.count = 0;
    lead->spent = lead->spent_total = 0;
    lead->since = (struct throttle_input){0};
    if (!pacer_state_parse(state, &lead->state)) {
        lead->state = (struct pacer_state){0};
        throttle_init(&lead->state.throttle);
    }
    if (!pacer_curve_parse(curve, &lead->curve)) {
        memset(&lead->curve, 0, sizeof(lead->curve));
        lead->state.throttle.load = (struct throttle_ratio){0}; /* it was measured against it */
        lead->state.throttle.load_short = (struct throttle_ratio){0};
    }
}

static struct heard *find_heard(struct pacer_lead *lead, uint32_t owner)
{
    for (uint32_t i = 0; i < lead->heard_count; i++) {
        if (lead->heard[i].owner == owner) {
            return &lead->heard[i];
        }
    }
    return NULL;
}

static struct heard *add_heard(struct pacer_lead *lead, uint32_t owner)
{
    if (lead->heard_count == lead->heard_room) {
        uint32_t room = lead->heard_room ? lead->heard_room * 2 : 8;
        struct heard *grown =
            room <= MAX_OWNERS ? realloc(lead->heard, room * sizeof(*grown)) : NULL;
        if (!grown) {
            return NULL; /* this worker's counts are missed: the throttle sees less traffic */
        }
        lead->heard = grown;
        lead->heard_room = room;
    }
    struct heard *heard = &lead->heard[lead->heard_count++];
    *heard = (struct heard){.owner = owner};
    return heard;
}

/* A counter that fell began anew: its worker was restarted, or its day did. */
static int64_t grown_by(int64_t now, int64_t before)
{
    return now >= before ? now - before : now;
}

void pacer_lead_hear(struct pacer_lead *lead, uint32_t owner, const struct pacer_counts *counts,
                     int64_t now_s)
{
    struct heard *heard = find_heard(lead, owner);
    if (heard) {
        struct throttle_input *since = &lead->since;
        int64_t eligible = grown_by(counts->eligible, heard->last.eligible);
        since->eligible += eligible;
        lead->hour_eligible += eligible;
        since->participated += grown_by(counts->participated, heard->last.participated);
        since->committed += grown_by(counts->committed, heard->last.committed);
        since->closed += grown_by(counts->closed, heard->last.closed);
        since->settled += grown_by(counts->settled, heard->last.settled);
    } else {
        heard = add_heard(lead, owner); /* its past is not ours to count */
    }
    if (heard) {
        heard->last = *counts;
        heard->fresh = now_s - counts->now_s < FRESH_S;
    }
}

/* What all workers together have spent and have in flight on the day of the plan. */
static void add_up(struct pacer_lead *lead, int64_t date, bool daily)
{
    lead->in_flight = 0;
    int64_t spent = 0, total = lead->spent_total;
    for (uint32_t i = 0; i < lead->heard_count; i++) {
        const struct heard *heard = &lead->heard[i];
        total = heard->last.spent_total > total ? heard->last.spent_total : total;
        if (heard->last.date != date) {
            continue;
        }
        spent = heard->last.spent > spent ? heard->last.spent : spent;
        lead->in_flight += heard->fresh ? heard->last.in_flight : 0;
    }
    lead->spent_total = total;
    lead->spent = daily ? spent : total - lead->state.base_total;
}

static int64_t date_of(const struct tz *tz, int64_t now_s)
{
    struct tz_local local;
    tz_to_local(tz, now_s, &local);
    return local.year * 10000 + local.month * 100 + local.day;
}

/* A new day, a changed budget, a new pacer: plans what is left of the day. */
static void plan_day(struct pacer_lead *lead, const struct pacer_budget *budget,
                     const struct tz *tz, int64_t date, int64_t now_s)
{
    struct pacer_state *state = &lead->state;
    if (state->date != date) {
        bool yesterday = state->date != 0; /* then the day is known from its first second */
        add_up(lead, date, budget->daily != 0);
        state->since_s = yesterday ? tz_day_start_s(tz, now_s, 0) : now_s;
        int64_t spent_today = budget->daily && lead->spent < lead->spent_total ? lead->spent : 0;
        state->base_total = lead->spent_total - spent_today;
        state->date = date;
    }
    struct plan_options options = {.mode = budget->mode,
                                   .flight_start_s = budget->start_s,
                                   .flight_end_s = budget->end_s,
                                   .curve = &lead->curve};
    memcpy(options.hourly_share, budget->hourly_share, sizeof(options.hourly_share));
    plan_day_build(&lead->day, &options, tz, now_s);
    state->target =
        plan_day_target(&lead->curve, tz, now_s, budget->start_s, budget->end_s, budget->total != 0,
                        budget->total - state->base_total, budget->daily);
    throttle_rescale(&state->throttle, state->expected,
                     plan_curve_expect(&lead->curve, tz_hour_of_week(tz, state->now_s)));
    throttle_replan(&state->throttle);
    lead->planned_curve = lead->curve;
    lead->planned = *budget;
}

/* first: nothing was known before, not even how much traffic there is. */
static bool learn_hour(struct pacer_lead *lead, const struct tz *tz, int64_t now_s, bool *first)
{
    *first = false;
    int hour = tz_hour_of_week(tz, now_s);
    if (hour == lead->hour) {
        return false;
    }
    bool whole = lead->hour >= 0 && now_s - lead->hour_since_s >= LEARN_AFTER_S &&
                 now_s - lead->hour_since_s < 2 * LEARN_AFTER_S;
    if (whole) {
        int64_t seen = lead->hour_eligible < UINT32_MAX ? lead->hour_eligible : UINT32_MAX;
        *first = plan_curve_is_blank(&lead->curve);
        plan_curve_learn(&lead->curve, lead->hour, (uint32_t)seen);
    }
    lead->hour = hour;
    lead->hour_since_s = now_s;
    lead->hour_eligible = 0;
    return whole;
}

/* F counted from where this plan began: a budget that appears at noon spends from noon on. */
static int64_t planned_by(const struct pacer_lead *lead, int64_t now_s)
{
    __extension__ typedef __int128 wide;
    int64_t from = plan_day_spend(&lead->day, lead->state.since_s);
    int64_t share = plan_day_spend(&lead->day, now_s);
    if (from >= PLAN_ONE) {
        return lead->state.target;
    }
    return (int64_t)((wide)lead->state.target * (share - from) / (PLAN_ONE - from));
}

static enum pacer_reason reason_of(const struct pacer_lead *lead, int64_t now_s, int64_t eligible)
{
    const struct pacer_state *state = &lead->state;
    const struct plan_day *day = &lead->day;
    int64_t near = state->target / 100;
    if (!day->count || now_s < day->start_s || now_s >= day->end_s) {
        return PACER_NOT_NOW;
    }
    if (state->spent + state->in_flight >= state->target - near / 10) {
        return PACER_SPENT;
    }
    if (state->spent > state->planned + near) {
        return PACER_AHEAD;
    }
    if (state->spent + near >= state->planned) {
        return PACER_ON_PLAN;
    }
    if (!eligible) {
        return PACER_NO_TRAFFIC;
    }
    return state->p >= THROTTLE_ONE - THROTTLE_ONE / 100 ? PACER_WIDE_OPEN : PACER_STARTING;
}

/* The throttle reckons an impression as a million, or a tenth of one that is due would be none. */
static int64_t scale_of(const struct pacer_budget *budget)
{
    return budget->impressions ? 1000000 : 1;
}

static void scale(int64_t *amount, int64_t by, int64_t most)
{
    most /= by;
    *amount = (*amount > most ? most : *amount < -most ? -most : *amount) * by;
}

static void scale_input(struct throttle_input *in, const struct pacer_budget *budget)
{
    int64_t by = scale_of(budget);
    scale(&in->committed, by, MAX_FLOW);
    scale(&in->closed, by, MAX_FLOW);
    scale(&in->settled, by, MAX_FLOW);
    scale(&in->remaining, by, MAX_REMAINING);
    scale(&in->in_flight, by, MAX_FLOW);
}

/* Spent at the day's end: the target, unless even taking part in everything falls short of it. */
static int64_t forecast(const struct pacer_lead *lead, int64_t now_s)
{
    const struct pacer_state *state = &lead->state;
    int64_t traffic =
        plan_day_traffic(&lead->day, lead->day.end_s) - plan_day_traffic(&lead->day, now_s);
    int64_t most = throttle_expect_spend(&state->throttle, traffic);
    most /= most > 0 ? scale_of(&lead->planned) : 1;
    if (most < 0 || state->spent >= state->target || most >= state->target - state->spent) {
        return state->spent > state->target ? state->spent : state->target;
    }
    return state->spent + most;
}

bool pacer_lead_tick(struct pacer_lead *lead, const struct pacer_budget *budget,
                     const struct tz *tz, int64_t now_s, struct pacer_state *out)
{
    struct pacer_state *state = &lead->state;
    bool first, learned = learn_hour(lead, tz, now_s, &first);
    int64_t date = date_of(tz, now_s);
    /* Not whenever an hour was learned: its neighbours, drawn as lines to its middle, would jump. */
    if (state->date != date || !lead->day.count || first ||
        memcmp(&lead->planned, budget, sizeof(*budget)) != 0) {
        plan_day(lead, budget, tz, date, now_s);
    }
    add_up(lead, date, budget->daily != 0);
    int64_t from_s = lead->ticked_s && lead->ticked_s < now_s ? lead->ticked_s : now_s;
    struct throttle_input *in = &lead->since;
    in->elapsed_us = (now_s - from_s) * 1000000;
    in->planned_traffic =
        plan_day_traffic(&lead->day, now_s) - plan_day_traffic(&lead->day, from_s);
    in->remaining = state->target - lead->spent;
    in->in_flight = lead->in_flight;
    in->spend_share = plan_day_spend(&lead->day, now_s);
    in->spend_share_next = plan_day_spend(&lead->day, now_s + TICK_S);
    in->traffic_next =
        plan_day_traffic(&lead->day, now_s + TICK_S) - plan_day_traffic(&lead->day, now_s);
    in->slot_s = now_s - now_s % SLOT_S; /* every timezone is off by whole quarters */
    in->slot_share_end = plan_day_spend(&lead->day, in->slot_s + SLOT_S);
    scale_input(in, budget);
    if (lead->day.count && now_s >= lead->day.start_s && now_s < lead->day.end_s) {
        throttle_tick(&state->throttle, in);
    } else {
        state->throttle.p = 0;
    }
    state->now_s = now_s;
    state->expected = plan_curve_expect(&lead->planned_curve, tz_hour_of_week(tz, now_s));
    state->p = budget->mode == PLAN_ASAP ? THROTTLE_ONE : state->throttle.p;
    state->spent = lead->spent;
    state->in_flight = lead->in_flight;
    state->planned = planned_by(lead, now_s);
    state->forecast = forecast(lead, now_s);
    state->reason = reason_of(lead, now_s, in->eligible);
    lead->since = (struct throttle_input){0};
    lead->ticked_s = now_s;
    *out = *state;
    return learned;
}
