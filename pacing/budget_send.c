/* Puts lease steps on the wire. Apart from the step's rule, so that simulations need no Redis. */
#include "bidder/base/clock.h"
#include "pacing/budget_step.h"

bool budget_step_send(const struct budget_step *step, struct redis *redis, int64_t timeout_us,
                      redis_fn *done, void *owner)
{
    char text[BUDGET_KEY_MAX];
    struct str key = {.ptr = text, .len = budget_step_key_text(&step->key, text)};
    int64_t args[BUDGET_STEP_ARGS];
    budget_step_args(step, args);
    redis_begin(redis, 4 + BUDGET_STEP_ARGS);
    redis_arg(redis, STR("EVAL"));
    redis_arg(redis, str_from(budget_step_script));
    redis_arg(redis, STR("1"));
    redis_arg(redis, key);
    for (int i = 0; i < BUDGET_STEP_ARGS; i++) {
        redis_arg_i64(redis, args[i]);
    }
    return redis_send(redis, key, clock_mono_us() + timeout_us, done, owner);
}
