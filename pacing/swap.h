/* Traffic swaps between two brands (流量交换): how much one has lent the other, and how much more
 * it may.
 *
 * Side 0 lends impressions of brand 0's traffic to brand 1, side 1 the other way round. A worker
 * gives only out of rights leased from Redis, so the bound holds over all workers and machines, at
 * every moment, whatever notices are lost:
 *
 *   ledger X = S0 - S1      S = given, O = rights out, Z = rights of crashed workers (maybe given)
 *   X + O0 + Z0 <= L        -X + O1 + Z1 <= L
 *
 * L = max(100, 1% of the smaller brand's planned impressions), shrinking to 0 over the last 10% of
 * the flight. Rights of a killed worker come back with its next process (pacing/swap_state.h); in Z
 * are those of which nothing is known any more: of a machine that went down, or of workers without
 * a folder for event logs. Amounts are impressions, or micros when the swap is by value (a deal's CPM / 1000
 * each). Given is counted when the bid goes out: a guaranteed deal's bid is shown. A loss notice
 * takes it back as soon as that leaves both bounds intact. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "bidder/base/redis.h"
#include "bidder/base/status.h"
#include "bidder/base/str.h"

/* --- the step: what happens to a ledger in Redis, atomically ---------------------------------- */

struct swap_step {
    uint32_t owner;
    int64_t life, seq;
    int64_t limit;
    int64_t least;   /* a smaller grant is of no use */
    int64_t used[2]; /* given, ever in this life */
    int64_t held[2]; /* rights held now */
    int64_t undo[2]; /* asked to be taken back, ever in this life */
    int64_t want[2];
};

struct swap_step_reply {
    int64_t seq;
    int64_t grant[2];
    int64_t given[2], out[2]; /* S, O + Z of all workers */
};

struct swap_step_ledger { /* the hash, for simulations */
    int64_t given[2], out[2], unknown[2], undo[2];
    struct {
        uint32_t owner;
        int64_t life, seq, used[2], held[2], undo[2], grant[2];
    } records[8];
};

/* The rule in C: what a simulated Redis does; a test holds the Lua script against it. */
void swap_step_apply(struct swap_step_ledger *ledger, const struct swap_step *step,
                     struct swap_step_reply *reply);
extern const char swap_step_script[];
#define SWAP_STEP_ARGS 13
void swap_step_args(const struct swap_step *step, int64_t args[SWAP_STEP_ARGS]);
bool swap_step_parse(struct str text, struct swap_step_reply *reply);

/* L at a moment of the flight. base = what it is before the last tenth. */
int64_t swap_limit(int64_t base, int64_t start_s, int64_t end_s, int64_t now_s);
/* max(100, 1% of planned) impressions. */
int64_t swap_limit_base(int64_t planned_impressions);

/* --- the book of a worker --------------------------------------------------------------------- */

struct swap_plan {
    uint32_t ref;  /* names the ledger in Redis */
    int64_t limit; /* base, in the swap's unit */
    int64_t unit;  /* amount of a typical impression: 1, or micros */
    int64_t start_s, end_s;
};

struct swap_view {
    int64_t given[2]; /* by all workers, as Redis last said */
    int64_t limit;    /* now */
    int64_t held[2];  /* rights of this worker */
};

struct swap_book;
struct swap_state;

/* redis is borrowed; life grows from one run of this owner to the next. NULL: memory is out. */
struct swap_book *swap_book_create(struct redis *redis, uint32_t owner, int64_t life);
void swap_book_destroy(struct swap_book **book);
/* Before the first configure: goes on where the last process of this owner was killed, and leaves
 * the same to the next. state is borrowed; without one, rights held by a killed worker are lost. */
void swap_book_resume(struct swap_book *book, struct swap_state *state);
/* No more giving; with the next ticks the rights go back. */
void swap_book_drain(struct swap_book *book);
bool swap_book_is_drained(const struct swap_book *book);
/* Plan i is what pair i means from now on; pairs that stay (by ref) keep their rights. */
enum status swap_book_configure(struct swap_book *book, const struct swap_plan *plans,
                                uint32_t count, int64_t now_s) MUST_USE;

/* Has this worker a right to lend amount from side? No round trip. */
bool swap_may_give(const struct swap_book *book, uint32_t pair, int side, int64_t amount);
void swap_give(struct swap_book *book, uint32_t pair, int side, int64_t amount);
/* The bid was lost after all. */
void swap_undo(struct swap_book *book, uint32_t pair, int side, int64_t amount);
/* Side's debt: how much the brand of the other side has received more than it gave, as last known.
 */
int64_t swap_balance(const struct swap_book *book, uint32_t pair);
void swap_view(const struct swap_book *book, uint32_t pair, struct swap_view *view);
/* Leases; about every 100 ms. */
void swap_tick(struct swap_book *book, int64_t now_us, int64_t now_s);

/* Redis key of a ledger. */
#define SWAP_KEY_MAX 24
size_t swap_key_text(uint32_t ref, char text[SWAP_KEY_MAX]);
