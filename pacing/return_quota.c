/* Carries the quota's steps to Redis. Owns the core; borrows redis. As the budget ledger, it
 * outlives its destruction until the last answer came. */
#include "pacing/return_quota.h"

#include <stdlib.h>

#include "bidder/base/clock.h"
#include "pacing/return_core.h"

#define STEP_TIMEOUT_US 500000
#define MAX_CALLS       256
#define BEGAN_TTL_S     (2 * 86400)

struct return_call {
    struct return_quota *quota;
    uint32_t deal;
    struct budget_step step;
    struct return_call *next_free;
};

struct return_quota {
    struct return_core *core; /* owned */
    struct redis *redis;      /* borrowed */
    struct return_call calls[MAX_CALLS];
    struct return_call *free_call;
    uint32_t under_way;
    bool destroyed;
};

struct return_quota *return_quota_create(struct redis *redis,
                                         const struct return_quota_options *options)
{
    struct return_quota *quota = calloc(1, sizeof(*quota));
    if (!quota) {
        return NULL;
    }
    quota->core = return_core_create(options->owner, clock_wall_us());
    if (!quota->core) {
        free(quota);
        return NULL;
    }
    quota->redis = redis;
    for (int i = 0; i < MAX_CALLS; i++) {
        quota->calls[i].quota = quota;
        quota->calls[i].next_free = quota->free_call;
        quota->free_call = &quota->calls[i];
    }
    return quota;
}

void return_quota_destroy(struct return_quota **owner)
{
    struct return_quota *quota = *owner;
    *owner = NULL;
    if (!quota) {
        return;
    }
    return_core_destroy(&quota->core);
    quota->destroyed = true;
    if (!quota->under_way) {
        free(quota);
    }
}

static void on_began(void *owner, enum redis_result result, const struct redis_value *value)
{
    struct return_call *call = owner;
    struct return_quota *quota = call->quota;
    int64_t began_s = 0;
    quota->under_way--;
    if (quota->destroyed) {
        if (!quota->under_way) {
            free(quota);
        }
        return;
    }
    call->next_free = quota->free_call;
    quota->free_call = call;
    if (result == REDIS_OK && value->type == REDIS_NIL) {
        began_s = clock_wall_us() / 1000000; /* we are the first */
    } else if (result == REDIS_OK && value->type == REDIS_STRING) {
        (void)str_to_i64(value->text, &began_s);
    }
    if (began_s > 0) {
        return_core_on_began(quota->core, call->deal, &call->step, began_s);
    }
}

/* Takes the call over; false: it is not needed. */
static bool ask_began(struct return_call *call)
{
    struct return_quota *quota = call->quota;
    struct redis *redis = quota->redis;
    struct budget_step_key first = call->step.key;
    char text[BUDGET_KEY_MAX];
    first.kind = 'f';
    struct str key = {text, budget_step_key_text(&first, text)};
    redis_begin(redis, 7);
    redis_arg(redis, STR("SET"));
    redis_arg(redis, key);
    redis_arg_i64(redis, clock_wall_us() / 1000000);
    redis_arg(redis, STR("NX"));
    redis_arg(redis, STR("GET"));
    redis_arg(redis, STR("EX"));
    redis_arg_i64(redis, BEGAN_TTL_S);
    quota->under_way++;
    if (redis_send(redis, key, clock_mono_us() + STEP_TIMEOUT_US, on_began, call)) {
        return true;
    }
    quota->under_way--;
    return false;
}

static void on_answer(void *owner, enum redis_result result, const struct redis_value *value)
{
    struct return_call *call = owner;
    struct return_quota *quota = call->quota;
    quota->under_way--;
    if (quota->destroyed) {
        if (!quota->under_way) {
            free(quota);
        }
        return;
    }
    struct budget_step_reply reply;
    if (result == REDIS_OK && value->type == REDIS_STRING &&
        budget_step_parse(value->text, &reply)) {
        return_core_on_reply(quota->core, call->deal, &call->step, &reply, clock_mono_us());
        if (call->step.recover && ask_began(call)) {
            return;
        }
    } else {
        return_core_on_lost(quota->core, call->deal, &call->step, clock_mono_us());
    }
    call->next_free = quota->free_call;
    quota->free_call = call;
}

void return_quota_tick(struct return_quota *quota, int64_t now_us, int64_t now_s)
{
    return_core_tick(quota->core, now_us, now_s);
    if (!redis_is_up(quota->redis)) {
        return;
    }
    struct budget_step step;
    uint32_t deal;
    while (quota->free_call && return_core_next_step(quota->core, now_us, now_s, &step, &deal)) {
        struct return_call *call = quota->free_call;
        quota->free_call = call->next_free;
        call->deal = deal;
        call->step = step;
        quota->under_way++;
        if (!budget_step_send(&step, quota->redis, STEP_TIMEOUT_US, on_answer, call)) {
            quota->under_way--;
            call->next_free = quota->free_call;
            quota->free_call = call;
            return_core_on_lost(quota->core, deal, &step, now_us);
            return;
        }
    }
}

enum status return_quota_configure(struct return_quota *quota, const struct return_deal_plan *plans,
                                   uint32_t count, const struct tz *tz, int64_t now_s)
{
    return return_core_configure(quota->core, plans, count, tz, now_s);
}

void return_quota_note_push(struct return_quota *quota, uint32_t deal, int64_t now_s)
{
    (void)now_s;
    return_core_note_push(quota->core, deal);
}

bool return_quota_take(struct return_quota *quota, uint32_t deal, int64_t now_s)
{
    (void)now_s;
    return return_core_take(quota->core, deal);
}

bool return_quota_view(const struct return_quota *quota, uint32_t deal, struct return_view *view)
{
    return return_core_view(quota->core, deal, view);
}
