/* The book of one worker: rights held per pair, reports on their way. Owns its pairs. A pair that a
 * reload drops keeps its place until its last report came back. */
#include "pacing/swap.h"

#include <stdlib.h>
#include <string.h>

#include "bidder/base/bug.h"
#include "bidder/base/log.h"
#include "pacing/swap_state.h"

#define REPORT_US      1000000 /* what was given is told at least this often */
#define ASK_US         100000  /* how soon after running dry more is asked for */
#define RETRY_US       500000
#define LEASE_PART     64 /* a lease is this part of the limit, or a few rights */
#define LEASE_MOST     16 /* at most this part, however fast they go */
#define PAY_BACK_PART  8  /* of its debt, a worker asks for at once when the flight ends */
#define REPLY_LIMIT_US 1000000

struct swap_pair {
    struct swap_book *book;
    struct swap_plan plan;
    bool pending;    /* a step is on its way; sent is what it said */
    bool dropped;    /* no plan names it */
    bool refused[2]; /* a give was refused for want of rights since the last step */
    struct swap_step sent;
    struct swap_saved *saved; /* mapped; NULL: a killed worker's rights are lost */
    int64_t life, seq;
    int64_t used[2], held[2], undo[2];
    int64_t level[2]; /* rights kept at hand; grows while they run out between two steps */
    int64_t given[2]; /* all workers */
    int64_t limit;
    int64_t next_us, sent_us;
    bool resend; /* the answer did not come: the same words again */
};

struct swap_book {
    struct redis *redis; /* borrowed */
    uint32_t owner;
    int64_t life;
    struct swap_state *state; /* borrowed; may be NULL */
    bool draining;
    struct swap_pair **pairs; /* owned; by plan index */
    uint32_t count;
};

struct swap_book *swap_book_create(struct redis *redis, uint32_t owner, int64_t life)
{
    struct swap_book *book = calloc(1, sizeof(*book));
    if (book) {
        book->redis = redis;
        book->owner = owner;
        book->life = life;
    }
    return book;
}

void swap_book_destroy(struct swap_book **book)
{
    if (*book) {
        for (uint32_t i = 0; i < (*book)->count; i++) {
            free((*book)->pairs[i]);
        }
        free((*book)->pairs);
        free(*book);
        *book = NULL;
    }
}

static struct swap_pair *find_pair(const struct swap_book *book, uint32_t ref)
{
    for (uint32_t i = 0; i < book->count; i++) {
        if (book->pairs[i]->plan.ref == ref) {
            return book->pairs[i];
        }
    }
    return NULL;
}

void swap_book_resume(struct swap_book *book, struct swap_state *state)
{
    BUG_ON(book->count);
    book->state = state;
}

/* What was given in the life before, and not told, is told with the first step; that step holds no
 * rights, so those of before come back. Steps of before that are still on their way are older. */
static void take_up(struct swap_pair *pair, struct swap_book *book, uint32_t ref)
{
    pair->life = book->life;
    pair->saved = book->state ? swap_state_entry(book->state, ref) : NULL;
    if (pair->saved && pair->saved->life) {
        pair->life = pair->saved->life;
        pair->seq = pair->saved->seq;
        memcpy(pair->used, pair->saved->used, sizeof(pair->used));
        memcpy(pair->undo, pair->saved->undo, sizeof(pair->undo));
    } else if (pair->saved) {
        pair->saved->life = book->life;
    }
}

enum status swap_book_configure(struct swap_book *book, const struct swap_plan *plans,
                                uint32_t count, int64_t now_s)
{
    /* Pairs that are gone stay behind the others until they have reported. */
    struct swap_pair **pairs = calloc(count + book->count + 1, sizeof(struct swap_pair *));
    if (!pairs) {
        return STATUS_NO_MEMORY;
    }
    for (uint32_t i = 0; i < count; i++) {
        struct swap_pair *pair = find_pair(book, plans[i].ref);
        if (!pair && !(pair = calloc(1, sizeof(*pair)))) {
            for (uint32_t n = 0; n < i; n++) {
                if (!find_pair(book, pairs[n]->plan.ref)) {
                    free(pairs[n]);
                }
            }
            free(pairs);
            return STATUS_NO_MEMORY;
        }
        pairs[i] = pair;
    }
    uint32_t total = count;
    for (uint32_t o = 0; o < book->count; o++) {
        bool stays = false;
        for (uint32_t i = 0; i < count; i++) {
            stays |= pairs[i] == book->pairs[o];
        }
        if (!stays) {
            book->pairs[o]->dropped = true;
            pairs[total++] = book->pairs[o];
        }
    }
    for (uint32_t i = 0; i < count; i++) {
        if (!pairs[i]->book) {
            take_up(pairs[i], book, plans[i].ref);
        }
        pairs[i]->book = book;
        pairs[i]->plan = plans[i];
        pairs[i]->dropped = false;
        pairs[i]->limit = swap_limit(plans[i].limit, plans[i].start_s, plans[i].end_s, now_s);
    }
    free(book->pairs);
    book->pairs = pairs;
    book->count = total;
    return STATUS_OK;
}

/* --- giving --------------------------------------------------------------------------------- */

bool swap_may_give(const struct swap_book *book, uint32_t index, int side, int64_t amount)
{
    BUG_ON(index >= book->count || side < 0 || side > 1);
    struct swap_pair *pair = book->pairs[index];
    if (pair->held[side] >= amount && !pair->dropped && !book->draining) {
        return true;
    }
    pair->refused[side] = true;
    return false;
}

void swap_give(struct swap_book *book, uint32_t index, int side, int64_t amount)
{
    struct swap_pair *pair = book->pairs[index];
    BUG_ON(pair->held[side] < amount || amount < 0);
    pair->held[side] -= amount;
    pair->used[side] += amount;
    if (pair->saved) {
        pair->saved->used[side] = pair->used[side];
    }
}

void swap_undo(struct swap_book *book, uint32_t index, int side, int64_t amount)
{
    BUG_ON(index >= book->count || side < 0 || side > 1 || amount < 0);
    struct swap_pair *pair = book->pairs[index];
    pair->undo[side] += amount;
    if (pair->saved) {
        pair->saved->undo[side] = pair->undo[side];
    }
}

int64_t swap_balance(const struct swap_book *book, uint32_t index)
{
    const struct swap_pair *pair = book->pairs[index];
    return pair->given[0] - pair->given[1];
}

void swap_view(const struct swap_book *book, uint32_t index, struct swap_view *view)
{
    const struct swap_pair *pair = book->pairs[index];
    *view = (struct swap_view){.given = {pair->given[0], pair->given[1]},
                               .limit = pair->limit,
                               .held = {pair->held[0], pair->held[1]}};
}

/* --- leases --------------------------------------------------------------------------------- */

/* The ledger has heard of a later life than ours, which a process without our state led. */
static void start_over(struct swap_pair *pair)
{
    int64_t next = pair->life + 1;
    pair->life = pair->book->life > next ? pair->book->life : next;
    pair->seq = 0;
    for (int i = 0; i < 2; i++) {
        pair->used[i] = pair->held[i] = pair->undo[i] = 0;
    }
    if (pair->saved) {
        *pair->saved = (struct swap_saved){.ref = pair->plan.ref, .life = pair->life};
    }
}

static void on_reply(void *owner, enum redis_result result, const struct redis_value *value)
{
    struct swap_pair *pair = owner;
    struct swap_step_reply reply;
    pair->pending = false;
    if (result != REDIS_OK || value->type != REDIS_STRING ||
        !swap_step_parse(value->text, &reply)) {
        if (result == REDIS_OK) {
            log_warn("swap ledger %08x: unexpected answer: %.*s", (unsigned)pair->plan.ref,
                     STR_ARG(value->text));
        }
        pair->resend = true; /* it may have been applied: only the same words are safe */
        return;
    }
    pair->resend = false;
    if (reply.seq != pair->sent.seq) {
        start_over(pair);
    }
    for (int i = 0; i < 2; i++) {
        pair->held[i] += reply.seq == pair->sent.seq ? reply.grant[i] : 0;
        pair->given[i] = reply.given[i];
    }
}

static void send_step(struct swap_pair *pair, int64_t now_us)
{
    struct redis *redis = pair->book->redis;
    char key[SWAP_KEY_MAX];
    int64_t args[SWAP_STEP_ARGS];
    struct str key_text = {key, swap_key_text(pair->plan.ref, key)};
    swap_step_args(&pair->sent, args);
    redis_begin(redis, 4 + SWAP_STEP_ARGS);
    redis_arg(redis, STR("EVAL"));
    redis_arg(redis, str_from(swap_step_script));
    redis_arg(redis, STR("1"));
    redis_arg(redis, key_text);
    for (int i = 0; i < SWAP_STEP_ARGS; i++) {
        redis_arg_i64(redis, args[i]);
    }
    pair->pending = redis_send(redis, key_text, now_us + REPLY_LIMIT_US, on_reply, pair);
    pair->resend = !pair->pending;
    pair->sent_us = now_us;
}

/* What a worker keeps at hand: enough for a short while, a small part of what all may give. */
static int64_t wanted(const struct swap_pair *pair, int side)
{
    int64_t level = pair->level[side];
    if (pair->dropped || pair->limit < pair->plan.limit || pair->held[side] >= level / 2) {
        /* Towards the flight's end single rights only; more for who has to pay back. */
        int64_t part = (pair->given[1 - side] - pair->given[side]) / PAY_BACK_PART;
        return pair->refused[side] && pair->held[side] < pair->plan.unit && !pair->dropped
                   ? (part > pair->plan.unit ? part : pair->plan.unit)
                   : 0;
    }
    return level - pair->held[side];
}

/* What a crash may cost is bound by the level, so it is no larger than the traffic asks for. */
static void set_level(struct swap_pair *pair, int side)
{
    int64_t least = pair->limit / LEASE_PART, most = pair->limit / LEASE_MOST;
    least = least > 4 * pair->plan.unit ? least : 4 * pair->plan.unit;
    most = most > least ? most : least;
    int64_t level = pair->refused[side]                         ? 2 * pair->level[side]
                    : pair->held[side] >= pair->level[side] / 2 ? pair->level[side] / 2
                                                                : pair->level[side];
    pair->level[side] = level < least ? least : level > most ? most : level;
}

static void make_step(struct swap_pair *pair)
{
    set_level(pair, 0);
    set_level(pair, 1);
    pair->sent = (struct swap_step){
        .owner = pair->book->owner,
        .life = pair->life,
        .seq = ++pair->seq,
        .limit = pair->limit,
        .least = 1,
    };
    if (pair->saved) {
        pair->saved->seq = pair->seq;
    }
    for (int i = 0; i < 2; i++) {
        bool over = pair->dropped || pair->book->draining;
        bool give_up = over || (pair->limit < pair->plan.limit && !pair->refused[i]);
        pair->held[i] = give_up ? 0 : pair->held[i];
        pair->sent.used[i] = pair->used[i];
        pair->sent.held[i] = pair->held[i];
        pair->sent.undo[i] = pair->undo[i];
        pair->sent.want[i] = over ? 0 : wanted(pair, i);
        pair->refused[i] = false;
    }
}

void swap_book_drain(struct swap_book *book)
{
    book->draining = true;
    for (uint32_t i = 0; i < book->count; i++) {
        book->pairs[i]->next_us = 0;
    }
}

bool swap_book_is_drained(const struct swap_book *book)
{
    for (uint32_t i = 0; i < book->count; i++) {
        const struct swap_pair *pair = book->pairs[i];
        if (pair->pending || pair->resend || pair->held[0] || pair->held[1] ||
            memcmp(pair->used, pair->sent.used, sizeof(pair->used)) != 0 ||
            memcmp(pair->undo, pair->sent.undo, sizeof(pair->undo)) != 0) {
            return false;
        }
    }
    return true;
}

void swap_tick(struct swap_book *book, int64_t now_us, int64_t now_s)
{
    for (uint32_t i = 0; i < book->count; i++) {
        struct swap_pair *pair = book->pairs[i];
        pair->limit = swap_limit(pair->plan.limit, pair->plan.start_s, pair->plan.end_s, now_s);
        if (pair->pending) {
            continue;
        }
        if (pair->resend) {
            if (now_us - pair->sent_us >= RETRY_US) {
                send_step(pair, now_us);
            }
            continue;
        }
        bool dry = pair->refused[0] || pair->refused[1];
        if (now_us < pair->next_us && !(dry && now_us - pair->sent_us >= ASK_US)) {
            continue;
        }
        pair->next_us = now_us + REPORT_US;
        make_step(pair);
        send_step(pair, now_us);
    }
}
