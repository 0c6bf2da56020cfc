/* Owns its deals (heap, at configure). */
#include "pacing/return_core.h"

#include <stdlib.h>
#include <string.h>

#include "bidder/base/bug.h"
#include "bidder/base/hash.h"
#include "pacing/return_rule.h"

#define SYNC_US      80000 /* each tick: they come every 100 ms, some a little early */
#define LOST_US      200000
#define REPORT_US    1000000
#define IDLE_US      5000000
#define FORGOTTEN_US (600 * (int64_t)1000000)
#define IDLE_LEASE   2 /* for the next push of a quiet deal */
#define MAX_LEASE    256
#define HOUR_S       3600

__extension__ typedef __int128 wide;

struct return_core {
    uint32_t owner;
    int64_t life;
    struct return_deal *deals; /* owned */
    uint32_t deal_count, next_deal;
    const struct tz *tz; /* borrowed until the next configure */
    int32_t date;
    int64_t day_start_s, day_end_s;
    int64_t ticked_us;
};

struct return_core *return_core_create(uint32_t owner, int64_t life)
{
    BUG_ON(!owner);
    struct return_core *core = calloc(1, sizeof(*core));
    if (core) {
        core->owner = owner;
        core->life = life;
    }
    return core;
}

void return_core_destroy(struct return_core **core)
{
    if (*core) {
        free((*core)->deals);
        free(*core);
        *core = NULL;
    }
}

static int64_t max64(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static int64_t min64(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static void set_day(struct return_core *core, int64_t now_s)
{
    struct tz_local local;
    tz_to_local(core->tz, now_s, &local);
    core->date = local.year * 10000 + local.month * 100 + local.day;
    core->day_start_s = tz_day_start_s(core->tz, now_s, 0);
    core->day_end_s = tz_day_start_s(core->tz, now_s, 1);
}

/* All pushes we know of: what Redis counted, and what it has not been told yet. */
static int64_t pushed_known(const struct return_deal *deal)
{
    return deal->pushed_all + deal->pushed - deal->reported_pushed;
}

/* Until a deal has shown a whole day, it is taken for a usual one: quiet at night, most at noon. */
static const int64_t usual_shape[24] = {14, 10, 8,  8,  10, 14, 20, 30, 45, 60, 70, 72,
                                        72, 71, 69, 66, 63, 58, 54, 48, 43, 37, 32, 26};

/* A deal at the start of a day, or at first sight: nothing counted, nothing known. */
static void start_day(const struct return_core *core, struct return_deal *deal, int64_t now_s,
                      bool first_sight)
{
    struct return_deal next = {
        .key = {.kind = 'r', .ref = deal->key.ref, .date = core->date},
        .push_ratio_micros = deal->push_ratio_micros,
        .impressions_per_day = deal->impressions_per_day,
        .whole_day = now_s - core->day_start_s < HOUR_S / 6,
    };
    bool learned = !first_sight && deal->whole_day && deal->hour >= 22 && pushed_known(deal) > 1000;
    memcpy(next.shape,
           learned       ? deal->hours
           : first_sight ? usual_shape
                         : deal->shape,
           sizeof(next.shape));
    *deal = next;
}

static const struct return_deal *find_deal(const struct return_core *core, uint32_t ref)
{
    for (uint32_t i = 0; i < core->deal_count; i++) {
        if (core->deals[i].key.ref == ref) {
            return &core->deals[i];
        }
    }
    return NULL;
}

enum status return_core_configure(struct return_core *core, const struct return_deal_plan *plans,
                                  uint32_t count, const struct tz *tz, int64_t now_s)
{
    struct return_deal *deals = calloc(count ? count : 1, sizeof(*deals));
    if (!deals) {
        return STATUS_NO_MEMORY;
    }
    core->tz = tz;
    set_day(core, now_s);
    for (uint32_t i = 0; i < count; i++) {
        struct return_deal *deal = &deals[i];
        uint32_t ref = (uint32_t)hash_str(plans[i].name);
        const struct return_deal *old = find_deal(core, ref);
        deal->key.ref = ref;
        if (old && old->key.date == core->date) {
            *deal = *old;
        } else {
            start_day(core, deal, now_s, true);
        }
        deal->push_ratio_micros = plans[i].push_ratio_micros;
        deal->impressions_per_day = plans[i].impressions_per_day;
    }
    free(core->deals);
    core->deals = deals;
    core->deal_count = count;
    return STATUS_OK;
}

void return_core_note_push(struct return_core *core, uint32_t at)
{
    BUG_ON(at >= core->deal_count);
    core->deals[at].pushed++;
    core->deals[at].last_push_us = core->ticked_us;
}

bool return_core_take(struct return_core *core, uint32_t at)
{
    BUG_ON(at >= core->deal_count);
    struct return_deal *deal = &core->deals[at];
    deal->recent++;
    if (deal->push_ratio_micros <= 1000000) {
        return false;
    }
    if (deal->free <= 0) {
        deal->asked = true;
        return false;
    }
    deal->free--;
    deal->returned++;
    return true;
}

static int32_t hour_of(const struct return_core *core, int64_t now_s)
{
    int64_t hour = (now_s - core->day_start_s) / HOUR_S;
    return hour < 0 ? 0 : hour > 23 ? 23 : (int32_t)hour; /* a day of 25 hours: the last is long */
}

static void note_hour(const struct return_core *core, struct return_deal *deal, int64_t now_s)
{
    int32_t hour = hour_of(core, now_s);
    int64_t known = pushed_known(deal);
    deal->hours[deal->hour] = max64(known - deal->hour_began_at, 0);
    if (hour != deal->hour) {
        deal->hour = hour;
        deal->hour_began_at = known;
    }
}

static int64_t share_passed_ppm(const struct return_core *core, const struct return_deal *deal,
                                int64_t now_s)
{
    int32_t hour = hour_of(core, now_s);
    int64_t all = 0, before = 0;
    for (int32_t i = 0; i < 24; i++) {
        all += deal->shape[i];
        before += i < hour ? deal->shape[i] : 0;
    }
    int64_t into_s = min64(now_s - core->day_start_s - (int64_t)hour * HOUR_S, HOUR_S);
    before = before * HOUR_S + deal->shape[hour] * max64(into_s, 0);
    return all ? (int64_t)((wide)before * 1000000 / ((wide)all * HOUR_S)) : 0;
}

void return_core_tick(struct return_core *core, int64_t now_us, int64_t now_s)
{
    core->ticked_us = now_us;
    if (!core->tz) {
        return;
    }
    bool new_day = now_s < core->day_start_s || now_s >= core->day_end_s;
    if (new_day) {
        set_day(core, now_s);
    }
    for (uint32_t i = 0; i < core->deal_count; i++) {
        if (new_day) {
            start_day(core, &core->deals[i], now_s, false);
        } else {
            note_hour(core, &core->deals[i], now_s);
        }
    }
}

static int64_t allowed(const struct return_core *core, const struct return_deal *deal,
                       int64_t now_s)
{
    struct return_rule_input input = {.pushed = pushed_known(deal),
                                      .push_ratio_micros = deal->push_ratio_micros,
                                      .impressions_per_day = deal->impressions_per_day,
                                      .day_s = core->day_end_s - core->day_start_s,
                                      .elapsed_s = now_s - core->day_start_s,
                                      .ahead_s = FORGOTTEN_US / 1000000 + 30,
                                      .share_passed_ppm = share_passed_ppm(core, deal, now_s),
                                      .share_missed_ppm = deal->missed_ppm};
    return return_rule_allowed(&input);
}

/* Enough for two syncs at the pace of the last; at rest a few, if there are plenty. */
static int64_t lease_wanted(const struct return_deal *deal, int64_t room)
{
    int64_t spare = room / (4 * max64(deal->owners, 1));
    int64_t want = max64(max64(2 * deal->recent, min64(spare, 16)), 1) + deal->asked;
    return min64(want, MAX_LEASE) - deal->free;
}

static bool wants_step(const struct return_core *core, struct return_deal *deal, int64_t now_us,
                       int64_t now_s, struct budget_step *step)
{
    *step = (struct budget_step){
        .key = deal->key, .owner = core->owner, .life = core->life, .seq = deal->seq + 1};
    if (!deal->open) {
        step->recover = true;
        return true;
    }
    if (deal->began_s) {
        deal->missed_ppm = share_passed_ppm(core, deal, deal->began_s);
    } else if (!deal->whole_day && !pushed_known(deal)) { /* it begins now, for everybody */
        deal->missed_ppm = share_passed_ppm(core, deal, now_s);
    }
    step->cap = allowed(core, deal, now_s);
    int64_t room = step->cap - deal->settled_all - deal->out_all;
    int64_t idle_us = now_us - deal->last_push_us;
    if (idle_us > FORGOTTEN_US || room < 0) {
        deal->free = 0; /* somebody else may need them, or there were too many */
    } else if (idle_us > IDLE_US) {
        deal->free = min64(deal->free, IDLE_LEASE);
    }
    int64_t want = idle_us > FORGOTTEN_US ? 0 : lease_wanted(deal, room);
    step->want = want > 0 && room > 0 ? want : 0;
    step->used = deal->returned;
    step->extra = deal->pushed;
    step->lease = deal->free;
    bool due = now_us - deal->synced_us >= REPORT_US;
    bool news = deal->pushed != deal->reported_pushed || deal->free != deal->reported_lease ||
                deal->returned != deal->reported_returned;
    deal->recent = 0;
    return step->want || (news && (due || deal->asked));
}

bool return_core_next_step(struct return_core *core, int64_t now_us, int64_t now_s,
                           struct budget_step *step, uint32_t *out)
{
    for (uint32_t looked = 0; looked < core->deal_count; looked++) {
        uint32_t at = core->next_deal++ % core->deal_count;
        core->next_deal %= core->deal_count;
        struct return_deal *deal = &core->deals[at];
        if (now_us < deal->next_sync_us || (deal->pending && !deal->lost)) {
            continue;
        }
        deal->next_sync_us = now_us + SYNC_US;
        if (deal->pending) {
            *step = deal->sent;
        } else if (wants_step(core, deal, now_us, now_s, step)) {
            deal->sent = *step;
            deal->asked = false;
        } else {
            continue;
        }
        deal->pending = true;
        deal->lost = false;
        *out = at;
        return true;
    }
    return false;
}

/* The deal a step was for, if it still waits for its answer: catalogs and days change meanwhile. */
static struct return_deal *waiting_deal(struct return_core *core, uint32_t at,
                                        const struct budget_step *step)
{
    struct return_deal *deal = at < core->deal_count ? &core->deals[at] : NULL;
    if (!deal || !deal->pending || deal->sent.key.ref != step->key.ref ||
        deal->sent.key.date != step->key.date || deal->sent.seq != step->seq ||
        deal->sent.recover != step->recover) {
        return NULL;
    }
    return deal;
}

static void on_done(struct return_deal *deal, const struct budget_step_reply *reply)
{
    deal->seq = deal->sent.seq;
    deal->reported_pushed = deal->sent.extra;
    deal->reported_returned = deal->sent.used;
    deal->reported_lease = deal->sent.lease + reply->grant;
    if (reply->grant <= deal->sent.want) {
        deal->free += reply->grant;
    }
}

void return_core_on_reply(struct return_core *core, uint32_t at, const struct budget_step *step,
                          const struct budget_step_reply *reply, int64_t now_us)
{
    struct return_deal *deal = waiting_deal(core, at, step);
    if (!deal) {
        return;
    }
    deal->pending = deal->lost = false;
    deal->synced_us = now_us;
    deal->settled_all = reply->settled;
    deal->out_all = reply->out;
    deal->owners = reply->owners;
    switch (reply->kind) {
    case BUDGET_STEP_RECOVERED:
        if (!step->recover) {
            return;
        }
        core->life = max64(core->life, reply->life);
        deal->open = true;
        deal->seq = reply->seq;
        deal->pushed += reply->own_extra;
        /* What a former life held and did not give back counts as returned. */
        deal->returned += reply->used + reply->lease;
        deal->reported_pushed = reply->own_extra;
        deal->reported_returned = reply->used;
        deal->reported_lease = reply->lease;
        deal->next_sync_us = now_us;
        break;
    case BUDGET_STEP_DONE:
        if (!step->recover) {
            on_done(deal, reply);
        }
        break;
    case BUDGET_STEP_STALE:
        deal->seq = reply->seq;
        break;
    case BUDGET_STEP_FENCED: /* the ledger of budgets says so in the log and stops bidding */
        deal->next_sync_us = now_us + FORGOTTEN_US;
        break;
    }
    deal->pushed_all = reply->extra;
}

void return_core_on_began(struct return_core *core, uint32_t at, const struct budget_step *step,
                          int64_t began_s)
{
    struct return_deal *deal = at < core->deal_count ? &core->deals[at] : NULL;
    if (deal && deal->key.ref == step->key.ref && deal->key.date == step->key.date) {
        deal->began_s = began_s;
    }
}

void return_core_on_lost(struct return_core *core, uint32_t at, const struct budget_step *step,
                         int64_t now_us)
{
    struct return_deal *deal = waiting_deal(core, at, step);
    if (deal) {
        deal->lost = true;
        deal->next_sync_us = now_us + LOST_US;
    }
}

bool return_core_view(const struct return_core *core, uint32_t at, struct return_view *view)
{
    if (at >= core->deal_count) {
        return false;
    }
    const struct return_deal *deal = &core->deals[at];
    *view = (struct return_view){.known = deal->open,
                                 .pushed = pushed_known(deal),
                                 .returned =
                                     deal->settled_all + deal->returned - deal->reported_returned,
                                 .leased = deal->out_all};
    return true;
}
