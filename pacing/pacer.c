/* Carries counts and states between this worker and Redis. Owns its budgets and leads; borrows
 * redis, ledger, and the catalog's timezone and names. Outlives its destruction until the last
 * answer came. */
#include "pacing/pacer.h"

#include <stdlib.h>
#include <string.h>

#include "bidder/base/bug.h"
#include "bidder/base/clock.h"
#include "bidder/base/prng.h"

#define TELL_US     5000000
#define LEAD_US     10000000 /* the throttle's tick */
#define ASLEEP_US   (1800 * (int64_t)1000000)
#define TIMEOUT_US  1000000
#define LEAD_MS     25000
#define KEY_TTL_S   (60 * 86400)
#define MAX_CALLS   128
#define PROBES      32 /* requests let through before anything is known: they teach the cost */
#define STATE_BYTES 16384

struct paced {
    uint32_t ref;
    uint32_t p; /* of THROTTLE_ONE */
    int64_t eligible, participated;
    int64_t told_eligible;
    int64_t next_us, ticked_us, seen_us; /* seen: when a request was last noticed */
    struct pacer_lead *lead;             /* owned; NULL while another worker leads */
    bool limited;                        /* has a limit to pace against */
    bool pending;
    struct pacer_state state; /* as last published; date 0 = nothing read yet */
    struct pacer_budget budget;
    struct str name; /* borrowed */
};

struct call {
    struct pacer *pacer;
    uint32_t index, ref;
    struct call *next_free;
};

struct pacer {
    struct redis *redis;
    struct budget_ledger *ledger;
    uint32_t owner;
    struct paced *budgets; /* owned */
    uint32_t count, cursor;
    const struct tz *tz;
    struct buf text;
    struct call calls[MAX_CALLS];
    struct call *free_call;
    uint32_t under_way;
    bool destroyed;
};

/* Tells one worker's counts. Answers {leads, state} to a follower; to the leader also the curve and
 * every worker's counts: {1, state, curve, field, value, ...}. */
static const char tell_script[] =
    "local k, me = KEYS[1], ARGV[1]\n"
    "redis.call('HSET', k, 'w' .. me, ARGV[2])\n"
    "redis.call('EXPIRE', k, ARGV[4])\n"
    "local t = redis.call('TIME')\n"
    "local now = t[1] * 1000 + math.floor(t[2] / 1000)\n"
    "local l = redis.call('HGET', k, 'l')\n"
    "local who, till = '', 0\n"
    "if l then who, till = string.match(l, '^(%d+) (%d+)$') end\n"
    "local s = redis.call('HGET', k, 's') or ''\n"
    "if who ~= me and now < (tonumber(till) or 0) then return {0, s} end\n"
    "redis.call('HSET', k, 'l', string.format('%s %.0f', me, now + ARGV[3]))\n"
    "local out = {1, s, redis.call('HGET', k, 'c') or ''}\n"
    "local all = redis.call('HGETALL', k)\n"
    "for i = 1, #all, 2 do\n"
    "  if string.sub(all[i], 1, 1) == 'w' then\n"
    "    out[#out + 1] = string.sub(all[i], 2)\n"
    "    out[#out + 1] = all[i + 1]\n"
    "  end\n"
    "end\n"
    "return out\n";

struct pacer *pacer_create(struct redis *redis, struct budget_ledger *ledger, uint32_t owner)
{
    struct pacer *pacer = calloc(1, sizeof(*pacer));
    if (!pacer) {
        return NULL;
    }
    pacer->redis = redis;
    pacer->ledger = ledger;
    pacer->owner = owner;
    buf_init(&pacer->text, STATE_BYTES);
    for (int i = 0; i < MAX_CALLS; i++) {
        pacer->calls[i].pacer = pacer;
        pacer->calls[i].next_free = pacer->free_call;
        pacer->free_call = &pacer->calls[i];
    }
    return pacer;
}

static void free_budgets(struct paced *budgets, uint32_t count)
{
    for (uint32_t i = 0; budgets && i < count; i++) {
        pacer_lead_destroy(&budgets[i].lead);
    }
    free(budgets);
}

void pacer_destroy(struct pacer **owner)
{
    struct pacer *pacer = *owner;
    *owner = NULL;
    if (!pacer) {
        return;
    }
    free_budgets(pacer->budgets, pacer->count);
    buf_deinit(&pacer->text);
    pacer->destroyed = true;
    if (!pacer->under_way) {
        free(pacer);
    }
}

static int by_ref(const void *a, const void *b)
{
    uint32_t x = (*(struct paced *const *)a)->ref, y = (*(struct paced *const *)b)->ref;
    return (x > y) - (x < y);
}

/* Moves what an older catalog's budgets learned to the budgets of the same ref. */
static bool keep_states(struct pacer *pacer, struct paced *budgets, uint32_t count)
{
    struct paced **sorted = calloc(pacer->count + 1, sizeof(struct paced *));
    if (!sorted) {
        return false;
    }
    for (uint32_t i = 0; i < pacer->count; i++) {
        sorted[i] = &pacer->budgets[i];
    }
    qsort(sorted, pacer->count, sizeof(struct paced *), by_ref);
    for (uint32_t i = 0; i < count; i++) {
        struct paced *now = &budgets[i];
        struct paced **found = bsearch(&now, sorted, pacer->count, sizeof(struct paced *), by_ref);
        if (found) {
            struct paced *old = *found;
            struct paced next = *old;
            next.budget = now->budget;
            next.limited = now->limited;
            next.name = now->name;
            next.pending = false; /* its answer finds the index changed and is dropped */
            old->lead = NULL;
            *now = next;
        }
        now->p = !now->limited || now->budget.mode == PLAN_ASAP ? THROTTLE_ONE : now->p;
    }
    free(sorted);
    return true;
}

enum status pacer_configure(struct pacer *pacer, const struct pacer_plan *plans, uint32_t count,
                            const struct tz *tz)
{
    struct paced *budgets = calloc(count + 1, sizeof(*budgets));
    if (!budgets) {
        return STATUS_NO_MEMORY;
    }
    for (uint32_t i = 0; i < count; i++) {
        struct paced *paced = &budgets[i];
        paced->ref = plans[i].ref;
        paced->name = plans[i].name;
        paced->p = THROTTLE_START;
        paced->limited = plans[i].budget.total || plans[i].budget.daily;
        /* Field by field: budgets are compared as bytes, padding included. */
        paced->budget.mode = plans[i].budget.mode;
        memcpy(paced->budget.hourly_share, plans[i].budget.hourly_share,
               sizeof(paced->budget.hourly_share));
        paced->budget.total = plans[i].budget.total;
        paced->budget.daily = plans[i].budget.daily;
        paced->budget.impressions = plans[i].budget.impressions;
        paced->budget.start_s = plans[i].budget.start_s;
        paced->budget.end_s = plans[i].budget.end_s;
    }
    if (!keep_states(pacer, budgets, count)) {
        free(budgets);
        return STATUS_NO_MEMORY;
    }
    free_budgets(pacer->budgets, pacer->count);
    pacer->budgets = budgets;
    pacer->count = count;
    pacer->tz = tz;
    return STATUS_OK;
}

/* --- the bid path ---------------------------------------------------------------------------- */

bool pacer_would_participate(const struct pacer *pacer, const uint32_t *budgets, uint32_t count,
                             uint64_t hash)
{
    bool in = true;
    for (uint32_t i = 0; i < count; i++) {
        BUG_ON(budgets[i] >= pacer->count);
        const struct paced *paced = &pacer->budgets[budgets[i]];
        bool probe = paced->eligible < PROBES && !paced->state.date;
        in &= probe || throttle_participates(paced->p, hash);
    }
    return in;
}

bool pacer_participates(struct pacer *pacer, const uint32_t *budgets, uint32_t count, uint64_t hash)
{
    bool in = pacer_would_participate(pacer, budgets, count, hash);
    for (uint32_t i = 0; i < count; i++) {
        pacer->budgets[budgets[i]].eligible++;
        pacer->budgets[budgets[i]].participated += in;
    }
    return in;
}

/* --- telling and hearing --------------------------------------------------------------------- */

static struct str key_of(uint32_t ref, char text[24])
{
    int len = snprintf(text, 24, "pace:{%08x}", (unsigned)ref);
    return (struct str){.ptr = text, .len = (size_t)len};
}

static void fill_counts(const struct pacer *pacer, uint32_t index, int64_t now_s,
                        struct pacer_counts *counts)
{
    const struct paced *paced = &pacer->budgets[index];
    struct budget_view total = {0}, daily = {0};
    bool has_total = budget_view(pacer->ledger, index, false, &total);
    const struct budget_view *flow = budget_view(pacer->ledger, index, true, &daily) ? &daily
                                     : has_total                                     ? &total
                                                                                     : &daily;
    *counts = (struct pacer_counts){.date = budget_ledger_date(pacer->ledger),
                                    .eligible = paced->eligible,
                                    .participated = paced->participated,
                                    .committed = flow->flow.committed,
                                    .closed = flow->flow.closed,
                                    .settled = flow->flow.settled,
                                    .in_flight = flow->committed,
                                    .spent = daily.settled > 0 ? daily.settled : 0,
                                    .spent_total = total.settled > 0 ? total.settled : 0,
                                    .now_s = now_s};
}

static void publish(struct pacer *pacer, const struct paced *paced, bool with_curve)
{
    char text[24];
    struct str key = key_of(paced->ref, text);
    buf_reset(&pacer->text);
    pacer_state_put(&pacer->text, &paced->state);
    size_t split = pacer->text.len;
    if (with_curve) {
        pacer_curve_put(&pacer->text, pacer_lead_curve(paced->lead));
    }
    if (buf_failed(&pacer->text)) {
        return;
    }
    struct str all = buf_str(&pacer->text);
    redis_begin(pacer->redis, with_curve ? 6 : 4);
    redis_arg(pacer->redis, STR("HSET"));
    redis_arg(pacer->redis, key);
    redis_arg(pacer->redis, STR("s"));
    redis_arg(pacer->redis, (struct str){.ptr = all.ptr, .len = split});
    if (with_curve) {
        redis_arg(pacer->redis, STR("c"));
        redis_arg(pacer->redis, (struct str){.ptr = all.ptr + split, .len = all.len - split});
    }
    (void)redis_send(pacer->redis, key, clock_mono_us() + TIMEOUT_US, NULL, NULL);
}

static void lead_on(struct pacer *pacer, struct paced *paced, const struct redis_value *value,
                    int64_t now_us)
{
    int64_t now_s = clock_wall_us() / 1000000;
    if (!paced->lead) {
        paced->lead = pacer_lead_create();
        if (!paced->lead) {
            return; /* the lead runs out and somebody else takes it */
        }
        pacer_lead_begin(paced->lead, value->items[1].text, value->items[2].text);
        paced->ticked_us = now_us - LEAD_US;
    }
    for (uint32_t i = 3; i + 1 < value->count; i += 2) {
        int64_t owner;
        struct pacer_counts counts;
        if (str_to_i64(value->items[i].text, &owner) && owner > 0 && owner <= UINT32_MAX &&
            pacer_counts_parse(value->items[i + 1].text, &counts)) {
            pacer_lead_hear(paced->lead, (uint32_t)owner, &counts, now_s);
        }
    }
    if (now_us - paced->ticked_us >= LEAD_US - TELL_US / 2) {
        paced->ticked_us = now_us;
        bool learned =
            pacer_lead_tick(paced->lead, &paced->budget, pacer->tz, now_s, &paced->state);
        publish(pacer, paced, learned);
    }
}

static bool is_tell_answer(const struct redis_value *value)
{
    if (value->type != REDIS_ARRAY || value->count < 2 || value->items[0].type != REDIS_INT) {
        return false;
    }
    for (uint32_t i = 1; i < value->count; i++) {
        if (value->items[i].type != REDIS_STRING) {
            return false;
        }
    }
    return !value->items[0].integer || value->count >= 3;
}

static void on_told(void *owner, enum redis_result result, const struct redis_value *value)
{
    struct call *call = owner;
    struct pacer *pacer = call->pacer;
    pacer->under_way--;
    if (pacer->destroyed) {
        if (!pacer->under_way) {
            free(pacer);
        }
        return;
    }
    call->next_free = pacer->free_call;
    pacer->free_call = call;
    struct paced *paced = call->index < pacer->count ? &pacer->budgets[call->index] : NULL;
    if (!paced || paced->ref != call->ref) {
        return; /* a new catalog came between */
    }
    paced->pending = false;
    if (result != REDIS_OK || !is_tell_answer(value)) {
        return;
    }
    if (value->items[0].integer) {
        lead_on(pacer, paced, value, clock_mono_us());
    } else {
        pacer_lead_destroy(&paced->lead);
        struct pacer_state state;
        if (pacer_state_parse(value->items[1].text, &state)) {
            paced->state = state;
        }
    }
    if (paced->limited && paced->budget.mode != PLAN_ASAP && paced->state.date) {
        paced->p = (uint32_t)paced->state.p;
    }
}

static bool tell(struct pacer *pacer, uint32_t index, int64_t now_s)
{
    struct paced *paced = &pacer->budgets[index];
    struct call *call = pacer->free_call;
    char text[24];
    struct str key = key_of(paced->ref, text);
    struct pacer_counts counts;
    fill_counts(pacer, index, now_s, &counts);
    buf_reset(&pacer->text);
    pacer_counts_put(&pacer->text, &counts);
    pacer->free_call = call->next_free;
    call->index = index;
    call->ref = paced->ref;
    redis_begin(pacer->redis, 8);
    redis_arg(pacer->redis, STR("EVAL"));
    redis_arg(pacer->redis, str_from(tell_script));
    redis_arg(pacer->redis, STR("1"));
    redis_arg(pacer->redis, key);
    redis_arg_i64(pacer->redis, pacer->owner);
    redis_arg(pacer->redis, buf_str(&pacer->text));
    redis_arg_i64(pacer->redis, LEAD_MS);
    redis_arg_i64(pacer->redis, KEY_TTL_S);
    pacer->under_way++;
    paced->pending = true;
    if (!redis_send(pacer->redis, key, clock_mono_us() + TIMEOUT_US, on_told, call)) {
        pacer->under_way--;
        paced->pending = false;
        call->next_free = pacer->free_call;
        pacer->free_call = call;
        return false;
    }
    return true;
}

void pacer_tick(struct pacer *pacer, int64_t now_us, int64_t now_s)
{
    if (!pacer->tz || !redis_is_up(pacer->redis)) {
        return;
    }
    uint32_t look = pacer->count < 4096 ? pacer->count : pacer->count / 8; /* bounded work */
    for (; look && pacer->free_call; look--) {
        uint32_t index = pacer->cursor++ % pacer->count;
        pacer->cursor %= pacer->count;
        struct paced *paced = &pacer->budgets[index];
        if (paced->eligible != paced->told_eligible) {
            paced->seen_us = now_us;
        }
        bool awake = paced->seen_us && now_us - paced->seen_us < ASLEEP_US;
        if (!awake || paced->pending || now_us < paced->next_us || !paced->limited) {
            continue;
        }
        /* Workers and budgets take turns, so that Redis is not asked for all at once. */
        int64_t spread = (int64_t)(prng_mix((uint64_t)paced->ref << 32 | pacer->owner) % 1000000);
        paced->next_us = now_us + TELL_US - (paced->next_us ? 0 : spread);
        paced->told_eligible = paced->eligible;
        if (!tell(pacer, index, now_s)) {
            return;
        }
    }
}

/* --- what planners see ----------------------------------------------------------------------- */

bool pacer_view(const struct pacer *pacer, uint32_t budget, struct pacer_state *state)
{
    if (budget >= pacer->count || !pacer->budgets[budget].state.date) {
        return false;
    }
    *state = pacer->budgets[budget].state;
    return true;
}

void pacer_state_put_json(struct buf *out, struct str name, const struct pacer_state *state)
{
    BUF_PUT_LITERAL(out, "{\"budget\":\"");
    buf_put_json_escaped(out, name);
    buf_printf(out,
               "\",\"p\":%.4f,\"target\":%lld,\"planned\":%lld,\"spent\":%lld,\"in_flight\":%lld,"
               "\"forecast\":%lld,\"reason\":\"%s\",\"why\":\"%s\",\"as_of\":%lld}",
               (double)state->p / THROTTLE_ONE, (long long)state->target, (long long)state->planned,
               (long long)state->spent, (long long)state->in_flight, (long long)state->forecast,
               pacer_reason_name((enum pacer_reason)state->reason),
               pacer_reason_text((enum pacer_reason)state->reason), (long long)state->now_s);
}

void pacer_put_json(const struct pacer *pacer, struct buf *out)
{
    bool first = true;
    buf_put_char(out, '[');
    for (uint32_t i = 0; i < pacer->count; i++) {
        const struct paced *paced = &pacer->budgets[i];
        if (paced->state.date) {
            if (!first) {
                buf_put_char(out, ',');
            }
            pacer_state_put_json(out, paced->name, &paced->state);
            first = false;
        }
    }
    buf_put_char(out, ']');
}
