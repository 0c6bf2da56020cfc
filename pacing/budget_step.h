/* The lease step: the one atomic thing that happens to an account in Redis. Pure; the same rule is
 * written twice, as a Lua script for Redis and in C for simulations, and a test runs both.
 *
 * A hash per account; an account is one limit: a total, or one local day's.
 *
 *   b:{ref}:t          the total              ref = 8 hex digits of catalog_budget.ref; the braces
 *   b:{ref}:20261122   a local day            keep a budget's accounts in one cluster slot
 *
 *   S  settled, all owners          <owner>  "life seq used lease grant extra" of one worker
 *   O  out: leased, all owners
 *   X  extra, all owners (pushes)   H        no grants before this second (after a regress)
 *
 * A worker reports absolute numbers: what it ever used and what it still holds. So
 *     S += used - used';  O += lease - lease';  grant = max(0, min(want, cap - S - O));  O += grant
 * (' = as recorded) is the same step as with differences, but a report that Redis lost, or an older
 * Redis that came back, is put right by the next one. seq makes a repeated report answer as the
 * first did. life names one run of a worker: an older run is fenced off.
 * Invariant: S + O <= cap, unless the cap was lowered or late wins were booked. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "bidder/base/redis.h"
#include "bidder/base/str.h"

#define BUDGET_STEP_MAX_AMOUNT (1ll << 53) /* Lua's numbers are exact up to here */
#define BUDGET_STEP_HOLD_S     10
#define BUDGET_KEY_MAX         40

struct budget_step_key {
    char kind; /* 'b' a budget, 'r' returns of a deal */
    uint32_t ref;
    int32_t date; /* yyyymmdd local; 0 = the total */
};

struct budget_step {
    struct budget_step_key key;
    uint32_t owner;
    bool recover; /* the first word of a life: tells what is recorded, changes nothing else */
    int64_t life, seq;
    int64_t used;  /* ever, by this owner in all its lives */
    int64_t lease; /* held now, before a grant */
    int64_t extra; /* ever */
    int64_t want;
    int64_t least; /* less than this is of no use: then nothing is granted */
    int64_t cap;
};

enum budget_step_kind {
    BUDGET_STEP_DONE,
    BUDGET_STEP_RECOVERED,
    BUDGET_STEP_STALE, /* older than what is recorded: ignored */
    BUDGET_STEP_FENCED /* a later life of this owner exists */
};

struct budget_step_reply {
    enum budget_step_kind kind;
    int64_t life, seq, used, lease, grant, own_extra; /* the owner's record */
    int64_t settled, out, extra;                      /* all owners */
    int64_t owners;
    bool regress; /* the record was older than the report: data was lost and is put right */
};

/* Key text into text; returns its length. */
size_t budget_step_key_text(const struct budget_step_key *key, char text[BUDGET_KEY_MAX]);

/* EVAL budget_step_script 1 KEY then BUDGET_STEP_ARGS arguments, see budget_step_args. */
extern const char budget_step_script[];
#define BUDGET_STEP_ARGS 11
/* The arguments behind the key, as integers; the TTL is the last. */
void budget_step_args(const struct budget_step *step, int64_t args[BUDGET_STEP_ARGS]);
/* The script's answer. False when it is not one. */
bool budget_step_parse(struct str text, struct budget_step_reply *reply);

/* Queues the step; done gets the text to parse. False: it could not be queued, done is not called.
 */
bool budget_step_send(const struct budget_step *step, struct redis *redis, int64_t timeout_us,
                      redis_fn *done, void *owner);

/* --- the same in C: what a simulated Redis does ---------------------------------------------- */

#define BUDGET_STEP_MODEL_OWNERS 8
struct budget_step_account {
    int64_t settled, out, extra, hold_s;
    struct {
        uint32_t owner; /* 0 = free */
        int64_t life, seq, used, lease, grant, extra;
    } records[BUDGET_STEP_MODEL_OWNERS];
};
void budget_step_apply(struct budget_step_account *account, const struct budget_step *step,
                       int64_t now_s, struct budget_step_reply *reply);
