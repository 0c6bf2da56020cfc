/* Carries the ledger's steps to Redis and the answers back. Owns the core; borrows redis. A ledger
 * that is destroyed while answers are outstanding lives on, deaf, until the last one came. */
#include "pacing/budget.h"

#include <stdlib.h>

#include "bidder/base/bug.h"
#include "bidder/base/clock.h"
#include "bidder/base/log.h"
#include "pacing/budget_core.h"

#define RIPEN_DEFAULT_US 1500000
#define STEP_TIMEOUT_US  500000
#define MAX_CALLS        512 /* steps under way at once */

struct budget_call {
    struct budget_ledger *ledger;
    uint32_t account;
    struct budget_call *next_free;
};

struct budget_ledger {
    struct budget_core *core; /* owned */
    struct redis *redis;      /* borrowed */
    struct budget_call calls[MAX_CALLS];
    struct budget_call *free_call;
    uint32_t under_way;
    uint64_t disconnects;
    uint64_t bad_replies;
    bool destroyed;
};

struct budget_ledger *budget_ledger_create(struct redis *redis,
                                           const struct budget_options *options)
{
    struct budget_ledger *ledger = calloc(1, sizeof(*ledger));
    if (!ledger) {
        return NULL;
    }
    struct budget_core_options core = {.owner = options->owner,
                                       .life = clock_wall_us(),
                                       .max_flights = options->max_flights,
                                       .win_timeout_us = options->win_timeout_us,
                                       .sync_interval_us = options->sync_interval_us,
                                       .ripen_us = options->ripen_us ? options->ripen_us
                                                                     : RIPEN_DEFAULT_US};
    core.ripen_us = core.ripen_us > 0 ? core.ripen_us : 0;
    ledger->core = budget_core_create(&core);
    if (!ledger->core) {
        free(ledger);
        return NULL;
    }
    ledger->redis = redis;
    ledger->disconnects = redis_stats(redis)->disconnects;
    for (int i = 0; i < MAX_CALLS; i++) {
        ledger->calls[i].ledger = ledger;
        ledger->calls[i].next_free = ledger->free_call;
        ledger->free_call = &ledger->calls[i];
    }
    return ledger;
}

void budget_ledger_destroy(struct budget_ledger **owner)
{
    struct budget_ledger *ledger = *owner;
    *owner = NULL;
    if (!ledger) {
        return;
    }
    budget_core_destroy(&ledger->core);
    ledger->destroyed = true;
    if (!ledger->under_way) {
        free(ledger);
    }
}

/* --- steps ----------------------------------------------------------------------------------- */

static void note_disconnects(struct budget_ledger *ledger)
{
    uint64_t disconnects = redis_stats(ledger->redis)->disconnects;
    if (disconnects != ledger->disconnects) {
        ledger->disconnects = disconnects;
        budget_core_on_disconnect(ledger->core);
    }
}

static void on_answer(void *owner, enum redis_result result, const struct redis_value *value)
{
    struct budget_call *call = owner;
    struct budget_ledger *ledger = call->ledger;
    ledger->under_way--;
    if (ledger->destroyed) {
        if (!ledger->under_way) {
            free(ledger);
        }
        return;
    }
    call->next_free = ledger->free_call;
    ledger->free_call = call;
    int64_t now_us = clock_mono_us();
    struct budget_step_reply reply;
    if (result == REDIS_OK && value->type == REDIS_STRING &&
        budget_step_parse(value->text, &reply)) {
        budget_core_on_reply(ledger->core, call->account, &reply, now_us);
        return;
    }
    if (result == REDIS_OK && ledger->bad_replies++ % 1000 == 0) {
        log_warn("budget: Redis answered a lease step with: %.*s",
                 value->text.len > 200 ? 200 : (int)value->text.len,
                 value->text.len ? value->text.ptr : "(nothing)");
    }
    if (result == REDIS_DISCONNECTED) {
        budget_core_on_disconnect(ledger->core);
    }
    budget_core_on_lost(ledger->core, call->account, now_us);
}

void budget_tick(struct budget_ledger *ledger, int64_t now_us, int64_t now_s)
{
    note_disconnects(ledger);
    budget_core_tick(ledger->core, now_us, now_s);
    if (!redis_is_up(ledger->redis)) {
        return;
    }
    struct budget_step step;
    uint32_t account;
    while (ledger->free_call && budget_core_next_step(ledger->core, now_us, &step, &account)) {
        struct budget_call *call = ledger->free_call;
        ledger->free_call = call->next_free;
        call->account = account;
        ledger->under_way++;
        if (!budget_step_send(&step, ledger->redis, STEP_TIMEOUT_US, on_answer, call)) {
            ledger->under_way--;
            call->next_free = ledger->free_call;
            ledger->free_call = call;
            budget_core_on_lost(ledger->core, account, now_us);
            return;
        }
    }
}

/* --- the rest is the core's ------------------------------------------------------------------ */

enum status budget_ledger_configure(struct budget_ledger *ledger, const struct budget_plan *plans,
                                    uint32_t count, const struct tz *tz, int64_t now_s)
{
    return budget_core_configure(ledger->core, plans, count, tz, now_s);
}

enum budget_answer budget_commit(struct budget_ledger *ledger, const uint32_t *budgets,
                                 uint32_t count, int64_t amount_micros, int64_t now_us,
                                 uint32_t *flight)
{
    return budget_core_commit(ledger->core, budgets, count, amount_micros, now_us, flight);
}

enum budget_settlement budget_settle(struct budget_ledger *ledger, uint32_t flight,
                                     int64_t price_micros, int64_t now_us)
{
    (void)now_us;
    return budget_core_settle(ledger->core, flight, price_micros);
}

enum budget_settlement budget_release(struct budget_ledger *ledger, uint32_t flight, int64_t now_us)
{
    (void)now_us;
    return budget_core_release(ledger->core, flight);
}

void budget_book_late(struct budget_ledger *ledger, const uint32_t *budgets, uint32_t count,
                      int64_t amount_micros, int64_t now_us)
{
    budget_core_book_late(ledger->core, budgets, count, amount_micros, now_us);
}

int32_t budget_flight_date(const struct budget_ledger *ledger, uint32_t flight)
{
    return budget_core_flight_date(ledger->core, flight);
}

uint32_t budget_flight_refs(const struct budget_ledger *ledger, uint32_t flight, uint32_t *refs,
                            uint32_t *impressions)
{
    return budget_core_flight_refs(ledger->core, flight, refs, impressions);
}

bool budget_view(const struct budget_ledger *ledger, uint32_t budget, bool daily,
                 struct budget_view *view)
{
    return budget_core_view(ledger->core, budget, daily, view);
}

const struct budget_stats *budget_stats(const struct budget_ledger *ledger)
{
    return budget_core_stats(ledger->core);
}

void budget_reconcile(struct budget_ledger *ledger, uint32_t ref, int32_t date, int64_t used)
{
    budget_core_reconcile(ledger->core, ref, date, used);
}

void budget_reconcile_rest(struct budget_ledger *ledger)
{
    budget_core_reconcile_rest(ledger->core);
}

void budget_ledger_stop(struct budget_ledger *ledger, bool stopped)
{
    budget_core_stop(ledger->core, stopped);
}

void budget_ledger_drain(struct budget_ledger *ledger)
{
    budget_core_drain(ledger->core);
}

bool budget_ledger_is_drained(const struct budget_ledger *ledger)
{
    return budget_core_is_drained(ledger->core);
}

bool budget_ledger_is_ready(const struct budget_ledger *ledger)
{
    return budget_core_is_ready(ledger->core);
}

int32_t budget_ledger_date(const struct budget_ledger *ledger)
{
    return budget_core_date(ledger->core);
}
