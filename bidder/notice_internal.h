/* Shared by notice_desk.c (what comes in), notice_apply.c (claims and what follows) and
 * notice_inbox.c (which worker; signs of life). */
#pragma once

#include "bidder/notice_desk.h"

#define NOTICE_TEXT_BYTES 640  /* "<event>/<token>?<query>" of a notice for another worker */
#define NOTICE_MAX_OWNERS 4096 /* workers alive or just gone, over all machines */
#define NOTICE_RETRY_US   500000
#define NOTICE_RECENT     16384 /* fingerprints of notices this worker has just finished */
#define NOTICE_KEY_BYTES  48
#define NOTICE_NAME_BYTES 64 /* of an op, as claims have it */
#define NOTICE_BIT_BILLED 15

enum notice_step {
    NOTICE_STEP_FREE,
    NOTICE_STEP_COUNT,   /* set the event's bit; first: report */
    NOTICE_STEP_BILL,    /* claim the money; first: settle */
    NOTICE_STEP_LOSS,    /* set the bit, look at the others; nothing shown: release */
    NOTICE_STEP_FORWARD, /* into the inbox of the worker that made the bid */
};

/* An inbox that is being read: texts stay in Redis until what they ask for is done. */
struct notice_box {
    struct notice_desk *desk;
    uint32_t owner; /* whose inbox */
    uint32_t open;  /* texts of the last batch that are not done */
    bool reading;   /* a batch is on its way */
    bool full;      /* the last one was: there is more */
};

/* One thing a notice still has to do; waits for Redis, in flight or until it is tried again. */
struct notice_op {
    struct notice_desk *desk;
    struct notice_op *next; /* free list, or list of those that wait */
    enum notice_step step;
    enum notice_event event;
    bool retried;
    bool asked;             /* ticket waits for an answer until this is done */
    uint32_t claim_s;       /* part of its name */
    struct notice_box *box; /* where its text lies, or NULL */
    uint64_t ticket;
    uint64_t id;
    int64_t price_micros, cost_micros;
    struct notice_token token;
    uint32_t text_len;
    char text[NOTICE_TEXT_BYTES];
};

/* Line items and creatives of the catalog by ref. */
struct notice_ref {
    uint32_t ref, index;
};

struct notice_desk {
    struct notice_deps deps;
    struct notice_options options;
    int64_t now_us, mono_us; /* of the last call in */
    uint64_t life;           /* random: this life of the worker */
    uint64_t next_id;
    struct notice_op *ops; /* owned array */
    struct notice_op *free;
    struct notice_op *waiting, **waiting_tail;
    uint32_t pending;
    uint32_t in_flight; /* callbacks that Redis still owes us */
    bool closing;       /* destroyed; freed with the last of them */
    int64_t retry_us;
    int64_t warned_us; /* the last time an error reply was logged, mono */

    /* notice_inbox.c */
    int64_t sign_us;   /* next sign of life, mono */
    int64_t owners_us; /* when owners were read, mono; 0 = never */
    uint32_t owner_count;
    struct notice_owner {
        uint32_t owner;
        int64_t seen_s;
    } owners[NOTICE_MAX_OWNERS]; /* ascending owner */
    struct notice_box own, adopted;

    struct notice_due {
        uint64_t ticket;
        enum notice_event event;
    } * due; /* owned: answers for the end of this turn */
    uint32_t due_count;

    uint64_t generation;                  /* of the catalog behind the refs */
    struct notice_ref *lines, *creatives; /* owned; ascending ref */
    uint32_t line_count, creative_count;
    char headers[2200]; /* of the last reply */

    uint64_t recent[NOTICE_RECENT];
};

/* notice_desk.c */
/* Parses and verifies; on success *notice and *token are set. */
bool notice_open(struct notice_desk *desk, struct str path, struct str query, struct notice *notice,
                 struct notice_token *token, enum notice_refusal *refusal);
const struct catalog *notice_catalog(struct notice_desk *desk);
/* NULL when the catalog has it no more. */
const struct catalog_line *notice_line(struct notice_desk *desk, uint32_t ref);
const struct catalog_creative *notice_creative(struct notice_desk *desk, uint32_t ref);
struct report_row notice_row(const struct notice_token *token);
void notice_event_fill(const struct notice_op *op, enum event_kind kind,
                       struct event_record *event);
/* Prices the notice: fills price and cost. */
enum notice_price_kind notice_price_op(struct notice_op *op, struct str raw);

/* Every command with a callback is sent and every callback begins through these. False: the desk
 * was destroyed meanwhile, and may be gone. */
bool notice_send(struct notice_desk *desk, struct str key, redis_fn *done, void *owner);
bool notice_landed(struct notice_desk *desk);

/* What is done at the end of this turn may be told to whoever waits for it. */
void notice_answer_later(struct notice_desk *desk, uint64_t ticket, enum notice_event event);

/* notice_apply.c */
struct notice_op *notice_op_borrow(struct notice_desk *desk, const struct notice *notice,
                                   const struct notice_token *token);
void notice_op_return(struct notice_op *op);
/* Sends the op's command; when that does not work the op waits and is tried again. */
void notice_op_start(struct notice_op *op);
void notice_op_wait(struct notice_op *op);
void notice_retry(struct notice_desk *desk);
bool notice_recent(struct notice_desk *desk, const struct notice_token *token, unsigned event);
void notice_recent_add(struct notice_desk *desk, const struct notice_token *token, unsigned event);

/* notice_inbox.c */
bool notice_owner_alive(const struct notice_desk *desk, uint32_t owner);
void notice_forward(struct notice_op *op);
/* The text in the op is done: it leaves the inbox. */
void notice_inbox_done(struct notice_box *box, const struct notice_op *op);
void notice_inbox_tick(struct notice_desk *desk);
