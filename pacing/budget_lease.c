/* Accounts of the ledger, their leases, and the steps that keep Redis informed.
 *
 * How much is leased: what the account spent lately, for LEASE_HORIZON_US, which must outlast a
 * grant's way and its ripening. At least a float, so that the first requests of a quiet line find
 * some; near the budget's end no more than a fair share of what is left, at last single bids.
 * What lies idle goes back: at once when the budget is tight, later when it is not. */
#include <stdlib.h>

#include "bidder/base/bug.h"
#include "bidder/base/log.h"
#include "bidder/base/prng.h"
#include "pacing/budget_internal.h"

#define LEASE_HORIZON_US 3000000 /* on top of the ripening */
#define FLOAT_PART       1024    /* of the limit */
#define TIGHT_PART       64      /* less than this part of the limit is left */
#define IDLE_US          5000000
#define FORGOTTEN_US     (600 * (int64_t)1000000)
#define HEARTBEAT_US     30000000 /* a lease that lies still asks how much is left */
#define REPORT_US        1000000  /* spend alone is told this often */
#define REFUSED_US       500000
#define SPENT_US         5000000
#define LOST_US          200000
#define EAGER_ACCOUNTS   4096

static int64_t max64(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static int64_t min64(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* --- the table of accounts ------------------------------------------------------------------- */

static uint32_t *find_bucket(const struct budget_core *core, const struct budget_step_key *key)
{
    uint64_t hash = prng_mix((uint64_t)key->ref << 32 | (uint32_t)key->date);
    for (uint32_t i = (uint32_t)hash & core->bucket_mask;; i = (i + 1) & core->bucket_mask) {
        uint32_t *bucket = &core->buckets[i];
        if (!*bucket || (core->accounts[*bucket - 1].key.ref == key->ref &&
                         core->accounts[*bucket - 1].key.date == key->date)) {
            return bucket;
        }
    }
}

uint32_t budget_core_find(const struct budget_core *core, const struct budget_step_key *key)
{
    uint32_t found = core->buckets ? *find_bucket(core, key) : 0;
    return found ? found - 1 : BUDGET_CORE_NONE;
}

static void rebuild_index(struct budget_core *core)
{
    memset(core->buckets, 0, ((size_t)core->bucket_mask + 1) * sizeof(*core->buckets));
    for (uint32_t i = 0; i < core->account_count; i++) {
        if (core->accounts[i].key.kind) {
            *find_bucket(core, &core->accounts[i].key) = i + 1;
        }
    }
}

/* Room for more accounts; what fails leaves all as it was. */
static bool make_room(struct budget_core *core, uint32_t more)
{
    uint32_t need = core->account_count + more;
    if (need <= core->account_room) {
        return true;
    }
    uint32_t room = need + need / 4 + 16, buckets = 64;
    while (buckets < 2 * room) {
        buckets *= 2;
    }
    struct budget_account *accounts = realloc(core->accounts, room * sizeof(*accounts));
    core->accounts = accounts ? accounts : core->accounts;
    uint32_t *active = accounts ? realloc(core->active, room * sizeof(*active)) : NULL;
    core->active = active ? active : core->active;
    uint32_t *index = active ? calloc(buckets, sizeof(*index)) : NULL;
    if (!index) {
        return false;
    }
    free(core->buckets);
    core->buckets = index;
    core->bucket_mask = buckets - 1;
    core->account_room = room;
    rebuild_index(core);
    return true;
}

/* The account of a key, made when there is none; make_room was asked before. */
static uint32_t obtain_account(struct budget_core *core, const struct budget_step_key *key,
                               int64_t cap, bool impressions)
{
    uint32_t at = budget_core_find(core, key);
    if (at == BUDGET_CORE_NONE) {
        for (at = core->first_free; at < core->account_count && core->accounts[at].key.kind; at++) {
        }
        core->first_free = at + 1;
        BUG_ON(at >= core->account_room);
        uint16_t generation = 0;
        if (at < core->account_count) {
            generation = core->accounts[at].generation;
        } else {
            core->account_count++;
        }
        core->accounts[at] = (struct budget_account){.key = *key, .generation = generation};
        *find_bucket(core, key) = at + 1;
    }
    struct budget_account *account = &core->accounts[at];
    if (account->open ? account->cap != cap || account->closing : core->eager) {
        account->next_sync_us = 0; /* Redis is told soon */
        budget_core_activate(core, account);
    }
    account->cap = cap;
    account->impressions = impressions;
    account->closing = false;
    account->named = true;
    return at;
}

static void forget_account(struct budget_core *core, uint32_t at)
{
    uint16_t generation = core->accounts[at].generation;
    core->accounts[at] = (struct budget_account){.generation = (uint16_t)(generation + 1)};
    core->first_free = at < core->first_free ? at : core->first_free;
    rebuild_index(core);
}

/* Accounts that no plan names any more give everything back and go. */
static void close_unnamed(struct budget_core *core, int64_t now_us)
{
    for (uint32_t i = 0; i < core->account_count; i++) {
        struct budget_account *account = &core->accounts[i];
        if (account->key.kind && !account->named && !account->closing) {
            account->closing = true;
            account->closed_us = now_us;
            account->next_sync_us = 0;
            budget_core_activate(core, account);
        }
    }
}

static void set_day(struct budget_core *core, int64_t now_s)
{
    struct tz_local local;
    tz_to_local(core->tz, now_s, &local);
    core->date = local.year * 10000 + local.month * 100 + local.day;
    core->day_start_s = tz_day_start_s(core->tz, now_s, 0);
    core->day_end_s = tz_day_start_s(core->tz, now_s, 1);
}

static int64_t sane_cap(int64_t amount)
{
    return min64(amount, BUDGET_STEP_MAX_AMOUNT / 4);
}

/* --- configuration and midnight -------------------------------------------------------------- */

enum status budget_core_configure(struct budget_core *core, const struct budget_plan *plans,
                                  uint32_t count, const struct tz *tz, int64_t now_s)
{
    struct budget_slot *slots = calloc(count ? count : 1, sizeof(*slots));
    if (!slots || !make_room(core, 2 * count + 1)) {
        free(slots);
        return STATUS_NO_MEMORY;
    }
    core->tz = tz;
    core->eager = count <= EAGER_ACCOUNTS / 2;
    set_day(core, now_s);
    for (uint32_t i = 0; i < core->account_count; i++) {
        core->accounts[i].named = false;
    }
    for (uint32_t i = 0; i < count; i++) {
        struct budget_step_key key = {.kind = 'b', .ref = plans[i].ref};
        slots[i] = (struct budget_slot){.ref = plans[i].ref,
                                        .impressions = plans[i].impressions,
                                        .daily = sane_cap(plans[i].daily),
                                        .account = {BUDGET_CORE_NONE, BUDGET_CORE_NONE}};
        if (plans[i].total) {
            slots[i].account[0] =
                obtain_account(core, &key, sane_cap(plans[i].total), plans[i].impressions);
        }
        key.date = core->date;
        if (plans[i].daily) {
            slots[i].account[1] = obtain_account(core, &key, slots[i].daily, plans[i].impressions);
        }
    }
    free(core->plans);
    core->plans = slots;
    core->plan_count = count;
    close_unnamed(core, core->ticked_us);
    return STATUS_OK;
}

void budget_core_roll_over(struct budget_core *core, int64_t now_us, int64_t now_s)
{
    if (!core->tz || (now_s >= core->day_start_s && now_s < core->day_end_s)) {
        return;
    }
    if (!make_room(core, core->plan_count)) {
        return; /* yesterday's limit holds on; tried again with the next tick */
    }
    set_day(core, now_s);
    for (uint32_t i = 0; i < core->plan_count; i++) {
        struct budget_slot *slot = &core->plans[i];
        if (slot->account[1] == BUDGET_CORE_NONE) {
            continue;
        }
        core->accounts[slot->account[1]].named = false;
        struct budget_step_key key = {.kind = 'b', .ref = slot->ref, .date = core->date};
        slot->account[1] = obtain_account(core, &key, slot->daily, slot->impressions);
    }
    close_unnamed(core, now_us);
}

/* What former lives spent without telling Redis comes out of what they held. */
void budget_core_apply_log(struct budget_account *account)
{
    if (!account->open || !account->has_log || !account->unsettled) {
        return;
    }
    int64_t untold = max64(account->logged_used - account->recovered_used, 0);
    account->used += untold;
    account->orphan -= min64(untold, account->orphan);
    account->unsettled = false;
}

/* --- how much to lease ----------------------------------------------------------------------- */

static int64_t last_use_us(const struct budget_account *account)
{
    return max64(max64(account->last_commit_us, account->last_grant_us), account->opened_us);
}

static int64_t room_left(const struct budget_account *account)
{
    return account->cap - account->settled_all - account->out_all;
}

static int64_t float_of(const struct budget_account *account)
{
    return max64(max64(account->cap / FLOAT_PART, account->price), 1);
}

static int64_t lease_target(const struct budget_core *core, const struct budget_account *account)
{
    int64_t horizon_ms = (LEASE_HORIZON_US + core->options.ripen_us) / 1000;
    int64_t target = max64(account->rate / 1000 * horizon_ms, float_of(account));
    target = max64(target, 4 * account->asked);
    int64_t owners = max64(account->owners, 1);
    int64_t share = max64(room_left(account) + account->free + account->young, 0) / (2 * owners);
    return max64(min64(target, share), max64(account->asked, 1));
}

/* Unused for so long that it needs no lease until it is asked for again. */
static bool is_idle(const struct budget_account *account, int64_t now_us)
{
    int64_t idle_us = now_us - last_use_us(account);
    bool tight = room_left(account) < account->cap / TIGHT_PART;
    return idle_us > FORGOTTEN_US || (tight && idle_us > IDLE_US);
}

/* What may go back of the free lease. */
static int64_t to_return(const struct budget_core *core, const struct budget_account *account,
                         int64_t now_us)
{
    if (account->closing || core->draining || room_left(account) < 0 || is_idle(account, now_us)) {
        return account->free;
    }
    int64_t keep = lease_target(core, account);
    bool settled_down = now_us - account->last_grant_us > IDLE_US; /* the rate knows the use */
    return settled_down && account->free > 3 * keep ? account->free - keep : 0;
}

static int64_t lease_of(const struct budget_account *account)
{
    return account->free + account->young + account->committed + account->orphan;
}

/* Nothing to tell, nothing to wait for. */
static bool is_quiet(const struct budget_core *core, const struct budget_account *account,
                     int64_t now_us)
{
    if (!account->open) {
        return !core->eager && !account->pending && !account->asked && !account->used &&
               !account->closing;
    }
    return !account->pending && !account->closing && !account->young && !account->committed &&
           !account->asked && lease_of(account) == account->reported_lease &&
           account->used == account->reported_used && !account->free &&
           (is_idle(account, now_us) || room_left(account) <= 0) &&
           (!account->orphan || account->unsettled);
}

static bool may_forget(const struct budget_core *core, const struct budget_account *account,
                       int64_t now_us)
{
    if (!account->closing || account->pending || account->committed || account->free ||
        account->young) {
        return false;
    }
    if (!account->open) {
        return account->used == 0;
    }
    return account->used == account->reported_used && account->reported_lease == account->orphan &&
           (!account->orphan || account->unsettled) &&
           now_us - account->closed_us > 2 * core->options.win_timeout_us;
}

/* --- steps ----------------------------------------------------------------------------------- */

static bool wants_step(struct budget_core *core, struct budget_account *account, int64_t now_us,
                       struct budget_step *step)
{
    *step = (struct budget_step){.key = account->key,
                                 .owner = core->options.owner,
                                 .life = core->life,
                                 .seq = account->seq + 1,
                                 .extra = account->extra,
                                 .cap = account->cap};
    if (!account->open) {
        step->recover = true;
        return core->eager || account->asked || account->used;
    }
    int64_t back = to_return(core, account, now_us);
    account->free -= back;
    int64_t have = account->free + account->young;
    int64_t target = lease_target(core, account);
    bool wanted = !account->closing && !back && room_left(account) >= 0 &&
                  account->young_count < BUDGET_CORE_YOUNG &&
                  (account->asked || (have < target - target / 4 && !is_idle(account, now_us)));
    step->want = wanted ? max64(target - have, 0) : 0;
    if (account->asked > have) {
        step->want = max64(step->want, account->asked - have);
    }
    step->least = max64(max64(account->asked, account->price) - have, 0);
    if (account->closing || core->draining || room_left(account) < 0) {
        step->want = 0;
    }
    step->used = account->used;
    step->lease = lease_of(account);
    bool report = step->used != account->reported_used || step->lease != account->reported_lease;
    bool heartbeat = have && now_us - account->synced_us >= HEARTBEAT_US;
    return step->want || back || heartbeat || (report && now_us - account->synced_us >= REPORT_US);
}

static void unlist(struct budget_core *core, uint32_t position)
{
    core->accounts[core->active[position]].listed = false;
    core->active[position] = core->active[--core->active_count];
}

bool budget_core_next_step(struct budget_core *core, int64_t now_us, struct budget_step *step,
                           uint32_t *out)
{
    for (uint32_t looked = 0; looked < core->active_count;) {
        if (core->next_active >= core->active_count) {
            core->next_active = 0;
        }
        uint32_t at = core->active[core->next_active];
        struct budget_account *account = &core->accounts[at];
        if (may_forget(core, account, now_us) || is_quiet(core, account, now_us)) {
            unlist(core, core->next_active);
            if (account->closing) {
                forget_account(core, at);
            }
            continue;
        }
        core->next_active++;
        looked++;
        if (now_us < account->next_sync_us || (account->pending && !account->lost)) {
            continue;
        }
        account->next_sync_us = now_us + core->options.sync_interval_us;
        if (account->pending) {
            *step = account->sent;
        } else if (wants_step(core, account, now_us, step)) {
            account->sent = *step;
            account->asked = 0;
        } else {
            continue;
        }
        account->pending = true;
        account->lost = false;
        core->stats.steps++;
        *out = at;
        return true;
    }
    return false;
}

static void on_recovered(struct budget_core *core, struct budget_account *account,
                         const struct budget_step_reply *reply, int64_t now_us)
{
    core->life = max64(core->life, reply->life);
    account->open = true;
    account->opened_us = now_us;
    account->seq = reply->seq;
    account->used += reply->used; /* on top of late wins booked meanwhile */
    account->recovered_used = account->reported_used = reply->used;
    account->orphan = account->reported_lease = reply->lease;
    /* A record of this very life needs no log. Of a former one the log may know more than Redis,
     * also when nothing was held: a Redis that came back empty has forgotten what was spent. */
    account->unsettled = reply->seq == 0;
    account->next_sync_us = now_us;
    budget_core_apply_log(account);
}

static void take_grant(struct budget_core *core, struct budget_account *account, int64_t grant,
                       int64_t now_us)
{
    core->stats.grants++;
    account->last_grant_us = now_us;
    if (!core->options.ripen_us) {
        account->free += grant;
        return;
    }
    BUG_ON(account->young_count == BUDGET_CORE_YOUNG);
    account->young += grant;
    account->young_grants[account->young_count].amount = grant;
    account->young_grants[account->young_count++].at_us = now_us;
}

static void on_done(struct budget_core *core, struct budget_account *account,
                    const struct budget_step_reply *reply, int64_t now_us)
{
    int64_t grant = reply->grant;
    account->seq = account->sent.seq;
    account->reported_used = account->sent.used;
    account->reported_lease = account->sent.lease + grant;
    core->stats.regress += reply->regress;
    if (grant > account->sent.want || account->young_count == BUDGET_CORE_YOUNG) {
        core->stats.bad_replies++; /* not ours: the next report leaves it out */
        grant = 0;
    }
    if (grant) {
        take_grant(core, account, grant, now_us);
    } else if (account->sent.want) {
        bool spent = account->settled_all + account->sent.least >= account->cap;
        account->next_sync_us = now_us + (spent ? SPENT_US : REFUSED_US);
    }
}

void budget_core_on_reply(struct budget_core *core, uint32_t at,
                          const struct budget_step_reply *reply, int64_t now_us)
{
    BUG_ON(at >= core->account_count || !core->accounts[at].pending);
    struct budget_account *account = &core->accounts[at];
    account->pending = account->lost = false;
    account->synced_us = now_us;
    account->settled_all = reply->settled;
    account->out_all = reply->out;
    account->owners = reply->owners;
    budget_core_activate(core, account);
    switch (reply->kind) {
    case BUDGET_STEP_RECOVERED:
        if (account->sent.recover) {
            on_recovered(core, account, reply, now_us);
        }
        return;
    case BUDGET_STEP_DONE:
        if (!account->sent.recover) {
            on_done(core, account, reply, now_us);
        }
        return;
    case BUDGET_STEP_STALE:
        core->stats.stale++;
        account->seq = reply->seq;
        return;
    case BUDGET_STEP_FENCED:
        if (!core->stats.fenced) {
            log_error("another process runs with owner %u; this one stops spending",
                      (unsigned)core->options.owner);
        }
        core->stats.fenced = true;
        return;
    }
}

void budget_core_on_lost(struct budget_core *core, uint32_t at, int64_t now_us)
{
    BUG_ON(at >= core->account_count || !core->accounts[at].pending);
    core->accounts[at].lost = true;
    core->accounts[at].next_sync_us = now_us + LOST_US;
    core->stats.lost_steps++;
    budget_core_activate(core, &core->accounts[at]);
}

bool budget_core_is_drained(const struct budget_core *core)
{
    for (uint32_t i = 0; i < core->account_count; i++) {
        const struct budget_account *account = &core->accounts[i];
        if (account->key.kind && account->open &&
            (account->pending || account->free || account->young ||
             account->used != account->reported_used)) {
            return false;
        }
    }
    return true;
}

bool budget_core_is_ready(const struct budget_core *core)
{
    for (uint32_t i = 0; core->eager && i < core->account_count; i++) {
        const struct budget_account *account = &core->accounts[i];
        if (account->key.kind && !account->closing &&
            (!account->open || (!account->free && room_left(account) > 0 && !account->used))) {
            return false;
        }
    }
    return true;
}
