/* Owns its accounts and flights (heap, at setup and configure); borrows nothing but the timezone
 * of the catalog last configured. */
#include "pacing/budget_core.h"

#include <stdlib.h>

#include "bidder/base/bug.h"
#include "bidder/base/prng.h"
#include "pacing/budget_internal.h"

struct budget_core *budget_core_create(const struct budget_core_options *options)
{
    BUG_ON(!options->owner || options->max_flights > 1u << 28 || options->win_timeout_us <= 0);
    struct budget_core *core = calloc(1, sizeof(*core));
    if (!core) {
        return NULL;
    }
    core->options = *options;
    core->life = options->life;
    core->flight_mask = 15;
    while (core->flight_mask + 1 < options->max_flights) {
        core->flight_mask = core->flight_mask * 2 + 1;
    }
    core->flights = calloc((size_t)core->flight_mask + 1, sizeof(*core->flights));
    if (!core->flights) {
        budget_core_destroy(&core);
        return NULL;
    }
    /* Names of flights start anywhere, so that a notice for a former life hardly meets a flight
     * of this one. */
    core->head = (uint32_t)prng_mix((uint64_t)options->life ^ options->owner);
    core->head += core->head == 0;
    core->tail = core->head;
    return core;
}

void budget_core_destroy(struct budget_core **core)
{
    if (!*core) {
        return;
    }
    free((*core)->flights);
    free((*core)->accounts);
    free((*core)->active);
    free((*core)->buckets);
    free((*core)->plans);
    free(*core);
    *core = NULL;
}

/* --- moving money --------------------------------------------------------------------------- */

static int64_t amount_on(const struct budget_account *account, int64_t amount_micros)
{
    return account->impressions ? 1 : amount_micros;
}

/* Spend that no commitment covers any more. Lease first; what is beyond it is overdrawn and shows
 * in Redis as settled without having been out. */
static void book_uncovered(struct budget_core *core, struct budget_account *account, int64_t amount,
                           bool former_life)
{
    account->used += amount;
    account->flow.settled += amount;
    core->stats.late_amount += amount;
    int64_t *sources[3] = {former_life ? &account->orphan : &account->free,
                           former_life ? &account->free : NULL, NULL};
    for (int i = 0; sources[i] && amount; i++) {
        int64_t part = *sources[i] < amount ? *sources[i] : amount;
        *sources[i] -= part;
        amount -= part;
    }
    core->stats.overdrawn += amount;
    budget_core_activate(core, account);
}

static void close_commitment(struct budget_core *core, const struct budget_flight *flight,
                             bool settled, int64_t price_micros)
{
    for (uint32_t i = 0; i < flight->count; i++) {
        struct budget_account *account = &core->accounts[flight->accounts[i]];
        int64_t amount = amount_on(account, flight->amount_micros);
        int64_t price = settled ? amount_on(account, price_micros) : 0;
        account->committed -= amount;
        account->used += price;
        account->free += amount - price;
        account->flow.closed += amount;
        account->flow.settled += price;
        budget_core_activate(core, account);
    }
}

/* --- the bid path ---------------------------------------------------------------------------- */

/* Room on the account, or the answer why not. What was asked for steers the next lease. */
static enum budget_answer check_account(struct budget_core *core, struct budget_account *account,
                                        int64_t amount_micros)
{
    int64_t amount = amount_on(account, amount_micros);
    account->price = amount;
    if (LIKELY(account->free >= amount)) {
        return BUDGET_OK;
    }
    account->asked = account->asked > amount ? account->asked : amount;
    budget_core_activate(core, account);
    if (account->settled_all + amount > account->cap) {
        return BUDGET_SPENT;
    }
    account->moved += amount; /* leases follow what is wanted: else they grow from a first bid up */
    return BUDGET_NO_LEASE;
}

enum budget_answer budget_core_commit(struct budget_core *core, const uint32_t *budgets,
                                      uint32_t count, int64_t amount_micros, int64_t now_us,
                                      uint32_t *flight_id)
{
    BUG_ON(amount_micros < 0);
    struct budget_flight *flight = &core->flights[core->head & core->flight_mask];
    if (UNLIKELY(core->stopped || core->stats.fenced || flight->state == FLIGHT_COMMITTED)) {
        core->stats.refused[BUDGET_BUSY]++;
        return BUDGET_BUSY;
    }
    uint32_t accounts[BUDGET_CORE_MAX_PER_BID], used = 0;
    for (uint32_t i = 0; i < count; i++) {
        BUG_ON(budgets[i] >= core->plan_count);
        const struct budget_slot *plan = &core->plans[budgets[i]];
        for (int k = 0; k < 2; k++) {
            if (plan->account[k] == BUDGET_CORE_NONE) {
                continue;
            }
            BUG_ON(used == BUDGET_CORE_MAX_PER_BID);
            enum budget_answer answer =
                check_account(core, &core->accounts[plan->account[k]], amount_micros);
            if (answer != BUDGET_OK) {
                core->stats.refused[answer]++;
                return answer;
            }
            accounts[used++] = plan->account[k];
        }
    }
    *flight = (struct budget_flight){.id = core->head,
                                     .state = FLIGHT_COMMITTED,
                                     .count = (uint8_t)used,
                                     .amount_micros = amount_micros,
                                     .at_us = now_us};
    for (uint32_t i = 0; i < used; i++) {
        struct budget_account *account = &core->accounts[accounts[i]];
        int64_t amount = amount_on(account, amount_micros);
        account->free -= amount;
        account->committed += amount;
        account->moved += amount;
        account->flow.committed += amount;
        account->last_commit_us = now_us;
        flight->accounts[i] = accounts[i];
        flight->generations[i] = account->generation;
        budget_core_activate(core, account);
    }
    core->stats.commits++;
    *flight_id = core->head++;
    core->head += core->head == 0; /* no flight is called 0 */
    return BUDGET_OK;
}

/* NULL: not of this ledger, or so long ago that the ring came round. */
static struct budget_flight *find_flight(struct budget_core *core, uint32_t id)
{
    struct budget_flight *flight = &core->flights[id & core->flight_mask];
    if (!id || flight->id != id || flight->state == FLIGHT_EMPTY) {
        core->stats.unknown++;
        return NULL;
    }
    return flight;
}

static enum budget_settlement settle_late(struct budget_core *core, struct budget_flight *flight,
                                          int64_t price_micros)
{
    for (uint32_t i = 0; i < flight->count; i++) {
        if (core->accounts[flight->accounts[i]].generation != flight->generations[i]) {
            core->stats.unknown++; /* the account is long closed: the caller books it late */
            flight->state = FLIGHT_EMPTY;
            return BUDGET_UNKNOWN;
        }
    }
    for (uint32_t i = 0; i < flight->count; i++) {
        struct budget_account *account = &core->accounts[flight->accounts[i]];
        book_uncovered(core, account, amount_on(account, price_micros), false);
    }
    flight->state = FLIGHT_SETTLED;
    core->stats.late_wins++;
    return BUDGET_LATE;
}

enum budget_settlement budget_core_settle(struct budget_core *core, uint32_t id,
                                          int64_t price_micros)
{
    struct budget_flight *flight = find_flight(core, id);
    if (!flight) {
        return BUDGET_UNKNOWN;
    }
    int64_t price = price_micros < 0 ? 0 : price_micros;
    price = price < flight->amount_micros ? price : flight->amount_micros;
    switch (flight->state) {
    case FLIGHT_COMMITTED:
        close_commitment(core, flight, true, price);
        flight->state = FLIGHT_SETTLED;
        core->stats.settled++;
        return BUDGET_SETTLED;
    case FLIGHT_RELEASED:
    case FLIGHT_EXPIRED:
        return settle_late(core, flight, price);
    case FLIGHT_SETTLED:
    case FLIGHT_EMPTY:
        break;
    }
    core->stats.duplicates++;
    return BUDGET_DUPLICATE;
}

enum budget_settlement budget_core_release(struct budget_core *core, uint32_t id)
{
    struct budget_flight *flight = find_flight(core, id);
    if (!flight) {
        return BUDGET_UNKNOWN;
    }
    if (flight->state != FLIGHT_COMMITTED) {
        core->stats.duplicates++;
        return BUDGET_DUPLICATE;
    }
    close_commitment(core, flight, false, 0);
    flight->state = FLIGHT_RELEASED;
    core->stats.released++;
    return BUDGET_SETTLED;
}

void budget_core_book_late(struct budget_core *core, const uint32_t *budgets, uint32_t count,
                           int64_t amount_micros, int64_t now_us)
{
    (void)now_us;
    for (uint32_t i = 0; i < count; i++) {
        BUG_ON(budgets[i] >= core->plan_count);
        for (int k = 0; k < 2; k++) {
            uint32_t at = core->plans[budgets[i]].account[k];
            if (at != BUDGET_CORE_NONE) {
                struct budget_account *account = &core->accounts[at];
                book_uncovered(core, account, amount_on(account, amount_micros), true);
            }
        }
    }
    core->stats.late_wins++;
}

int32_t budget_core_flight_date(const struct budget_core *core, uint32_t id)
{
    const struct budget_flight *flight = &core->flights[id & core->flight_mask];
    for (uint32_t i = 0; id && flight->id == id && i < flight->count; i++) {
        const struct budget_account *account = &core->accounts[flight->accounts[i]];
        if (account->generation == flight->generations[i] && account->key.date) {
            return account->key.date;
        }
    }
    return 0;
}

uint32_t budget_core_flight_refs(const struct budget_core *core, uint32_t id, uint32_t *refs,
                                 uint32_t *impressions)
{
    const struct budget_flight *flight = &core->flights[id & core->flight_mask];
    uint32_t count = 0;
    *impressions = 0;
    for (uint32_t i = 0; id && flight->id == id && i < flight->count; i++) {
        const struct budget_account *account = &core->accounts[flight->accounts[i]];
        uint32_t at = 0;
        while (at < count && refs[at] != account->key.ref) { /* a total and a day are one budget */
            at++;
        }
        if (account->generation == flight->generations[i] && at == count) {
            refs[count++] = account->key.ref;
            *impressions |= (uint32_t)account->impressions << at;
        }
    }
    return count;
}

/* --- time ------------------------------------------------------------------------------------ */

static void expire_flights(struct budget_core *core, int64_t now_us)
{
    while (core->tail != core->head) {
        struct budget_flight *flight = &core->flights[core->tail & core->flight_mask];
        if (flight->id == core->tail && flight->state == FLIGHT_COMMITTED) {
            if (now_us - flight->at_us < core->options.win_timeout_us) {
                return;
            }
            close_commitment(core, flight, false, 0);
            flight->state = FLIGHT_EXPIRED;
            core->stats.expired++;
        }
        core->tail++;
    }
}

static void ripen(struct budget_account *account, int64_t now_us, int64_t ripen_us)
{
    uint32_t ripe = 0;
    while (ripe < account->young_count && now_us - account->young_grants[ripe].at_us >= ripen_us) {
        account->young -= account->young_grants[ripe].amount;
        account->free += account->young_grants[ripe].amount;
        ripe++;
    }
    account->young_count -= ripe;
    memmove(account->young_grants, account->young_grants + ripe,
            account->young_count * sizeof(*account->young_grants));
}

/* The lease of a former life: told by the event log, and no notice can draw on it any more. */
static void free_orphan(struct budget_core *core, struct budget_account *account, int64_t now_us)
{
    if (account->orphan && !account->unsettled &&
        now_us - account->opened_us >= core->options.win_timeout_us) {
        account->free += account->orphan;
        account->orphan = 0;
    }
}

void budget_core_tick(struct budget_core *core, int64_t now_us, int64_t now_s)
{
    expire_flights(core, now_us);
    budget_core_roll_over(core, now_us, now_s);
    int64_t elapsed_us = now_us - core->ticked_us;
    core->ticked_us = now_us;
    elapsed_us = elapsed_us < 1000 ? 1000 : elapsed_us > 1000000 ? 1000000 : elapsed_us;
    for (uint32_t i = 0; i < core->active_count; i++) {
        struct budget_account *account = &core->accounts[core->active[i]];
        ripen(account, now_us, core->options.ripen_us);
        free_orphan(core, account, now_us);
        int64_t rate = account->moved * 1000000 / elapsed_us;
        account->rate += (rate - account->rate) * elapsed_us / (elapsed_us + 3000000);
        account->moved = 0;
    }
}

void budget_core_on_disconnect(struct budget_core *core)
{
    for (uint32_t i = 0; i < core->active_count; i++) {
        struct budget_account *account = &core->accounts[core->active[i]];
        core->stats.young_dropped += account->young;
        if (account->pending && !account->sent.recover) {
            account->sent.lease -= account->young; /* if it was heard, the next report says so */
        }
        account->young = 0;
        account->young_count = 0;
    }
}

void budget_core_reconcile(struct budget_core *core, uint32_t ref, int32_t date, int64_t used)
{
    struct budget_step_key key = {.kind = 'b', .ref = ref, .date = date};
    uint32_t at = budget_core_find(core, &key);
    if (at == BUDGET_CORE_NONE) {
        return;
    }
    struct budget_account *account = &core->accounts[at];
    account->logged_used = used;
    account->has_log = true;
    budget_core_apply_log(account);
    budget_core_activate(core, account);
}

void budget_core_reconcile_rest(struct budget_core *core)
{
    for (uint32_t i = 0; i < core->account_count; i++) {
        struct budget_account *account = &core->accounts[i];
        if (account->key.kind && !account->has_log) {
            account->has_log = true; /* logged_used 0: nothing untold */
            budget_core_apply_log(account);
            budget_core_activate(core, account);
        }
    }
}

void budget_core_stop(struct budget_core *core, bool stopped)
{
    core->stopped = stopped || core->draining;
}

void budget_core_drain(struct budget_core *core)
{
    core->stopped = core->draining = true;
    for (uint32_t i = 0; i < core->active_count; i++) {
        core->accounts[core->active[i]].next_sync_us = 0;
    }
}

const struct budget_stats *budget_core_stats(const struct budget_core *core)
{
    return &core->stats;
}

const struct budget_account *budget_core_account(const struct budget_core *core, uint32_t account)
{
    return account < core->account_count ? &core->accounts[account] : NULL;
}

int32_t budget_core_date(const struct budget_core *core)
{
    return core->date;
}

bool budget_core_view(const struct budget_core *core, uint32_t budget, bool daily,
                      struct budget_view *view)
{
    if (budget >= core->plan_count || core->plans[budget].account[daily] == BUDGET_CORE_NONE) {
        return false;
    }
    const struct budget_account *account = &core->accounts[core->plans[budget].account[daily]];
    *view = (struct budget_view){.known = account->open,
                                 .cap = account->cap,
                                 .settled = account->settled_all,
                                 .out = account->out_all,
                                 .free = account->free,
                                 .committed = account->committed,
                                 .used = account->used,
                                 .flow = account->flow};
    return true;
}
