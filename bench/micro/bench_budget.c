/* What money costs on the bid path, in nanoseconds:
 *
 *   build/release/bench/bench_budget [LINES]
 *
 * commit + settle: a bid on a line's daily, its campaign's daily and total limit, and its win.
 * participate: the throttle's answer for one candidate with two budgets.
 * The budgets are many (default 2000 lines in 200 campaigns), so that caches are cold as in life;
 * Redis is the step's C model and is not on the measured path. Median of ROUNDS. */
#include <stdio.h>
#include <stdlib.h>

#include "bidder/base/bug.h"
#include "bidder/base/clock.h"
#include "bidder/base/prng.h"
#include "pacing/budget_core.h"
#include "pacing/pacer.h"

#define ROUNDS  9
#define BIDS    200000
#define START_S (20000 * (int64_t)86400 + 3600)

static struct tz_transition utc_always = {.at_s = INT64_MIN};
static struct tz utc = {.transitions = &utc_always, .count = 1};

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void print_median(const char *what, double *ns)
{
    qsort(ns, ROUNDS, sizeof(*ns), compare);
    printf("%-28s %7.1f ns (best %.1f, worst %.1f)\n", what, ns[ROUNDS / 2], ns[0], ns[ROUNDS - 1]);
}

static void lease(struct budget_core *core, struct budget_step_account *redis, int64_t now_us)
{
    struct budget_step step;
    struct budget_step_reply reply;
    uint32_t account;
    budget_core_tick(core, now_us, START_S);
    while (budget_core_next_step(core, now_us, &step, &account)) {
        budget_step_apply(&redis[account], &step, START_S, &reply);
        budget_core_on_reply(core, account, &reply, now_us);
    }
}

static void bench_ledger(const struct budget_plan *plans, uint32_t lines, uint32_t campaigns)
{
    struct budget_core_options options = {.owner = 1,
                                          .life = 1,
                                          .max_flights = 1 << 18,
                                          .win_timeout_us = 300000000,
                                          .sync_interval_us = 100000};
    struct budget_core *core = budget_core_create(&options);
    struct budget_step_account *redis = calloc(2 * (lines + campaigns) + 1, sizeof(*redis));
    BUG_ON(!core || !redis);
    BUG_ON(budget_core_configure(core, plans, lines + campaigns, &utc, START_S) != STATUS_OK);
    uint32_t ignored;
    for (uint32_t i = 0; i < lines + campaigns; i++) { /* many: accounts open when asked */
        (void)budget_core_commit(core, &i, 1, 1, 0, &ignored);
    }
    for (int64_t at = 0; at < 20; at++) {
        lease(core, redis, at * 100000);
    }
    struct prng prng = {.state = 1};
    double ns[ROUNDS] = {0};
    uint64_t refused = 0;
    for (int round = -1; round < ROUNDS; round++) { /* the first warms up */
        int64_t began = clock_mono_ns();
        for (int i = 0; i < BIDS; i++) {
            uint32_t line = (uint32_t)prng_below(&prng, lines), flight;
            uint32_t budgets[2] = {line, lines + line % campaigns};
            if (budget_core_commit(core, budgets, 2, 1, 2000000, &flight) == BUDGET_OK) {
                (void)budget_core_settle(core, flight, 1);
            } else {
                refused++;
            }
        }
        if (round >= 0) {
            ns[round] = (double)(clock_mono_ns() - began) / BIDS;
        } else {
            refused = 0; /* the campaigns' totals were asked for the first time */
        }
        lease(core, redis, 3000000 + round * 1000000);
    }
    print_median("commit + settle, 3 accounts", ns);
    printf("%-28s %7.3f%%\n", "refused meanwhile", 100.0 * (double)refused / (BIDS * ROUNDS));
    budget_core_destroy(&core);
    free(redis);
}

static void bench_throttle(const struct pacer_plan *plans, uint32_t lines, uint32_t campaigns)
{
    struct pacer *pacer = pacer_create(NULL, NULL, 1); /* neither is touched on the bid path */
    BUG_ON(!pacer);
    BUG_ON(pacer_configure(pacer, plans, lines + campaigns, &utc) != STATUS_OK);
    struct prng prng = {.state = 1};
    double ns[ROUNDS] = {0};
    uint64_t in = 0;
    for (int round = -1; round < ROUNDS; round++) {
        int64_t began = clock_mono_ns();
        for (int i = 0; i < BIDS; i++) {
            uint64_t hash = prng_next(&prng);
            uint32_t line = (uint32_t)(hash % lines);
            uint32_t budgets[2] = {line, lines + line % campaigns};
            in += pacer_participates(pacer, budgets, 2, prng_mix(hash));
        }
        if (round >= 0) {
            ns[round] = (double)(clock_mono_ns() - began) / BIDS;
        }
    }
    print_median("participate, 2 budgets", ns);
    printf("%-28s %7.3f%%\n", "of them in", 100.0 * (double)in / (BIDS * (ROUNDS + 1)));
    pacer_destroy(&pacer);
}

int main(int argc, char **argv)
{
    uint32_t lines = argc > 1 ? (uint32_t)strtoul(argv[1], NULL, 10) : 2000;
    lines = lines < 10 ? 10 : lines;
    uint32_t campaigns = lines / 10;
    struct budget_plan *budgets = calloc(lines + campaigns, sizeof(*budgets));
    struct pacer_plan *paced = calloc(lines + campaigns, sizeof(*paced));
    BUG_ON(!budgets || !paced);
    for (uint32_t i = 0; i < lines + campaigns; i++) {
        budgets[i] = (struct budget_plan){
            .ref = i + 1, .daily = 1ll << 40, .total = i < lines ? 0 : 1ll << 45};
        paced[i] = (struct pacer_plan){.ref = i + 1, .budget = {.daily = 1ll << 40}};
    }
    printf("%u lines in %u campaigns\n", lines, campaigns);
    bench_ledger(budgets, lines, campaigns);
    bench_throttle(paced, lines, campaigns);
    free(budgets);
    free(paced);
    return 0;
}
