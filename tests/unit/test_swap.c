#include "tests/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "bidder/base/prng.h"
#include "pacing/swap.h"
#include "pacing/swap_state.h"

/* A Redis of this test's own: one ledger, commands answered later, or not at all. */
#define MAX_PENDING 64
static struct swap_step_ledger ledger;
static struct {
    struct swap_step step;
    redis_fn *done;
    void *owner;
} pending[MAX_PENDING];
static int pending_count, arg_at;
static int64_t args[SWAP_STEP_ARGS];

void redis_begin(struct redis *redis, uint32_t count)
{
    (void)redis;
    CHECK_INT(count, 4 + SWAP_STEP_ARGS);
    arg_at = 0;
}

void redis_arg(struct redis *redis, struct str arg)
{
    (void)redis;
    (void)arg;
}

void redis_arg_i64(struct redis *redis, int64_t value)
{
    (void)redis;
    args[arg_at++] = value;
}

bool redis_send(struct redis *redis, struct str key, int64_t deadline_us, redis_fn *done,
                void *owner)
{
    (void)redis;
    (void)deadline_us;
    CHECK_STR(key, "s:{00000007}");
    if (pending_count == MAX_PENDING) {
        return false;
    }
    pending[pending_count].step = (struct swap_step){.owner = (uint32_t)args[0],
                                                     .life = args[1],
                                                     .seq = args[2],
                                                     .limit = args[3],
                                                     .least = args[4],
                                                     .used = {args[5], args[6]},
                                                     .held = {args[7], args[8]},
                                                     .undo = {args[9], args[10]},
                                                     .want = {args[11], args[12]}};
    pending[pending_count].done = done;
    pending[pending_count++].owner = owner;
    return true;
}

static void check_bounds(int64_t limit)
{
    int64_t x = ledger.given[0] - ledger.given[1];
    CHECK(x + ledger.out[0] + ledger.unknown[0] <= limit);
    CHECK(-x + ledger.out[1] + ledger.unknown[1] <= limit);
    CHECK(ledger.out[0] >= 0 && ledger.out[1] >= 0);
}

/* Answers pending command i; with some luck its answer, or the command itself, is lost. */
static void answer(struct prng *prng, int i, bool lossy)
{
    uint64_t luck = lossy ? prng_below(prng, 20) : 19;
    __typeof__(pending[0]) command = pending[i];
    pending[i] = pending[--pending_count];
    struct swap_step_reply reply;
    char text[256];
    if (luck != 0) {
        swap_step_apply(&ledger, &command.step, &reply);
    }
    if (luck <= 1) {
        command.done(command.owner, REDIS_LATE, NULL);
        return;
    }
    int len =
        snprintf(text, sizeof(text), "%lld %lld %lld %lld %lld %lld %lld", (long long)reply.seq,
                 (long long)reply.grant[0], (long long)reply.grant[1], (long long)reply.given[0],
                 (long long)reply.given[1], (long long)reply.out[0], (long long)reply.out[1]);
    struct redis_value value = {.type = REDIS_STRING, .text = {text, (size_t)len}};
    command.done(command.owner, REDIS_OK, &value);
}

#define WORKERS 4

static void drop_pending_of(struct swap_book *book, struct swap_book **books)
{
    /* A killed worker's answers go nowhere; commands already sent may still be applied. */
    (void)book;
    (void)books;
    for (int i = 0; i < pending_count; i++) {
        struct swap_step_reply reply;
        swap_step_apply(&ledger, &pending[i].step, &reply);
        pending[i].done(pending[i].owner, REDIS_DISCONNECTED, NULL);
    }
    pending_count = 0;
}

/* Steps of a killed worker that are still on their way: applied whenever, answered to nobody. */
static struct swap_step stray[MAX_PENDING];
static int stray_count;

static void stray_pending_of(uint32_t owner)
{
    for (int i = 0; i < pending_count;) {
        if (pending[i].step.owner == owner && stray_count < MAX_PENDING) {
            stray[stray_count++] = pending[i].step;
            pending[i] = pending[--pending_count];
        } else {
            i++;
        }
    }
}

static void apply_stray(void)
{
    struct swap_step_reply reply;
    if (stray_count) {
        swap_step_apply(&ledger, &stray[--stray_count], &reply);
    }
}

static void state_path(int worker, char path[64])
{
    snprintf(path, 64, "/tmp/test_swap-%d-%d.state", (int)getpid(), worker);
}

static struct swap_book *book_create(int worker, int64_t life, struct swap_state **state)
{
    char path[64];
    struct swap_book *book = swap_book_create(NULL, (uint32_t)worker + 1, life);
    if (state) {
        state_path(worker, path);
        *state = swap_state_open(path);
        CHECK(*state != NULL);
        CHECK(swap_state_open(path) == NULL); /* only one goes on from it */
        swap_book_resume(book, *state);
    }
    return book;
}

/* Random traffic until the flight's end. Returns the true balance: what was given, in all lives. */
static int64_t run_with(uint64_t seed, bool crashes, bool resume, int bias_percent, int64_t *gives)
{
    struct swap_state *states[WORKERS] = {NULL};
    stray_count = 0;
    struct prng prng = {.state = seed};
    struct swap_book *books[WORKERS];
    struct swap_plan plan = {.ref = 7, .limit = 100, .unit = 1, .start_s = 0, .end_s = 1000};
    int64_t truth = 0, life = 1;
    memset(&ledger, 0, sizeof(ledger));
    pending_count = 0;
    *gives = 0;
    for (int w = 0; w < WORKERS; w++) {
        char path[64];
        state_path(w, path);
        (void)unlink(path);
        books[w] = book_create(w, life, resume ? &states[w] : NULL);
        CHECK_INT(swap_book_configure(books[w], &plan, 1, 0), STATUS_OK);
    }
    for (int64_t t = 0; t < 1000 * 100; t++) { /* 10 ms steps */
        int64_t now_us = t * 10000, now_s = now_us / 1000000;
        int w = (int)prng_below(&prng, WORKERS);
        int side = prng_below(&prng, 100) >= (uint64_t)bias_percent;
        if (swap_may_give(books[w], 0, side, 1)) {
            swap_give(books[w], 0, side, 1);
            truth += side ? -1 : 1;
            (*gives)++;
            if (prng_below(&prng, 50) == 0) { /* lost: the truth goes back now, the ledger later */
                swap_undo(books[w], 0, side, 1);
                truth -= side ? -1 : 1;
            }
        }
        /* Beyond the bound by at most the losses the ledger has not heard of yet. */
        CHECK(llabs(truth) <= 105);
        swap_tick(books[prng_below(&prng, WORKERS)], now_us, now_s);
        if (pending_count && prng_below(&prng, 3) == 0) {
            answer(&prng, (int)prng_below(&prng, (uint64_t)pending_count), crashes);
        }
        if (prng_below(&prng, 200) == 0) {
            apply_stray();
        }
        if (now_s < 900) {
            check_bounds(100);
        }
        if (crashes && now_s < 900 && prng_below(&prng, 10000) == 0) {
            if (resume) {
                stray_pending_of((uint32_t)w + 1);
                swap_state_close(&states[w]); /* the kernel keeps what was written either way */
            } else {
                drop_pending_of(books[w], books);
            }
            swap_book_destroy(&books[w]);
            books[w] = book_create(w, ++life, resume ? &states[w] : NULL);
            CHECK_INT(swap_book_configure(books[w], &plan, 1, now_s), STATUS_OK);
        }
    }
    for (int i = 0; i < 200; i++) {
        for (int w = 0; w < WORKERS; w++) {
            swap_tick(books[w], (100000 + i * 200) * 10000ll, 1000);
        }
        while (pending_count) {
            answer(&prng, 0, false);
        }
    }
    for (int w = 0; w < WORKERS; w++) {
        char path[64];
        state_path(w, path);
        swap_state_close(&states[w]);
        swap_book_destroy(&books[w]);
        (void)unlink(path);
    }
    return truth;
}

static int64_t run(uint64_t seed, bool crashes, int bias_percent, int64_t *gives)
{
    return run_with(seed, crashes, false, bias_percent, gives);
}

TEST(the_bound_holds_with_four_workers_and_both_sides_keep_swapping)
{
    int64_t gives;
    int64_t balance = run(1, false, 50, &gives);
    CHECK(llabs(balance) <= 100);
    CHECK(gives > 10000);
    CHECK_INT(ledger.out[0] + ledger.out[1], 0); /* every right came back at the flight's end */
}

TEST(one_sided_traffic_stops_at_the_bound)
{
    int64_t gives;
    int64_t balance = run(2, false, 100, &gives);
    CHECK(balance > 90 && balance <= 104); /* losses are taken back and lent again */
    CHECK(ledger.given[0] <= 100);
}

TEST(the_bound_holds_with_lost_answers_and_killed_workers)
{
    for (uint64_t seed = 10; seed < 30; seed++) {
        int64_t gives;
        (void)run(seed, true, 60, &gives);
        CHECK(gives > 500);
    }
}

TEST(with_their_state_killed_workers_lose_no_right_and_the_ledger_is_the_truth)
{
    for (uint64_t seed = 40; seed < 60; seed++) {
        int64_t gives;
        int64_t truth = run_with(seed, true, true, 60, &gives);
        CHECK(gives > 500);
        CHECK_INT(ledger.unknown[0] + ledger.unknown[1], 0);
        CHECK_INT(ledger.out[0] + ledger.out[1], 0);
        CHECK_INT(ledger.given[0] - ledger.given[1] - ledger.undo[0] + ledger.undo[1], truth);
    }
}

TEST(a_state_that_is_not_ours_or_not_current_starts_from_nothing)
{
    static const char *const texts[] = {"", "something else", "JCSWAP1\0another boot"};
    char path[64];
    state_path(9, path);
    for (size_t i = 0; i < COUNT_OF(texts); i++) {
        FILE *file = fopen(path, "w");
        CHECK(file != NULL);
        fwrite(texts[i], 1, i == 2 ? 20 : strlen(texts[i]), file);
        fclose(file);
        struct swap_state *state = swap_state_open(path);
        CHECK(state != NULL);
        CHECK_INT(swap_state_entry(state, 7)->life, 0);
        swap_state_entry(state, 8)->life = 5;
        swap_state_close(&state);
        state = swap_state_open(path);
        CHECK_INT(swap_state_entry(state, 8)->life, 5);
        swap_state_close(&state);
    }
    (void)unlink(path);
    CHECK(swap_state_open("/nowhere/at/all") == NULL);
}

TEST(a_state_older_than_the_ledger_starts_a_new_life)
{
    char path[64];
    struct swap_state *state;
    struct swap_plan plan = {.ref = 7, .limit = 100, .unit = 1, .start_s = 0, .end_s = 1000};
    memset(&ledger, 0, sizeof(ledger));
    pending_count = 0;
    state_path(0, path);
    (void)unlink(path);
    struct swap_book *book = book_create(0, 3, &state);
    struct swap_step step = {.owner = 1, .life = 5, .seq = 4, .limit = 100, .least = 1};
    struct swap_step_reply reply;
    struct prng prng = {.state = 1};
    swap_step_apply(&ledger, &step, &reply); /* a process without the state, meanwhile */
    CHECK_INT(swap_book_configure(book, &plan, 1, 0), STATUS_OK);
    for (int i = 0; i < 40 && !swap_may_give(book, 0, 0, 1); i++) {
        swap_tick(book, i * 1000000ll, i);
        while (pending_count) {
            answer(&prng, 0, false);
        }
    }
    CHECK(swap_may_give(book, 0, 0, 1));
    swap_state_close(&state);
    swap_book_destroy(&book);
    (void)unlink(path);
}

TEST(the_limit_shrinks_over_the_last_tenth_of_the_flight)
{
    CHECK_INT(swap_limit_base(0), 100);
    CHECK_INT(swap_limit_base(50000), 500);
    CHECK_INT(swap_limit(500, 0, 1000, 0), 500);
    CHECK_INT(swap_limit(500, 0, 1000, 900), 500);
    CHECK_INT(swap_limit(500, 0, 1000, 950), 250);
    CHECK_INT(swap_limit(500, 0, 1000, 1000), 0);
    CHECK_INT(swap_limit(500, 0, 1000, 2000), 0);
}

TEST(a_repeated_step_answers_as_the_first_and_changes_nothing)
{
    memset(&ledger, 0, sizeof(ledger));
    struct swap_step step = {
        .owner = 1, .life = 1, .seq = 1, .limit = 100, .least = 1, .want = {30, 5}};
    struct swap_step_reply first, second;
    swap_step_apply(&ledger, &step, &first);
    struct swap_step_ledger before = ledger;
    swap_step_apply(&ledger, &step, &second);
    CHECK(memcmp(&before, &ledger, sizeof(before)) == 0);
    CHECK(memcmp(&first, &second, sizeof(first)) == 0);
    CHECK_INT(first.grant[0], 30);
    step.life = 0; /* an older life is ignored */
    step.seq = 9;
    swap_step_apply(&ledger, &step, &second);
    CHECK(memcmp(&before, &ledger, sizeof(before)) == 0);
    CHECK_INT(second.grant[0], 0);
}
