/* Shared by the files of an auction (auction.c, auction_answer.c, auction_note.c, explain.c). */
#pragma once

#include "bidder/auction.h"
#include "bidder/base/buf.h"
#include "bidder/predict.h"
#include "pacing/shading.h"

/* A stage's end time, for the histograms. */
enum auction_stage {
    STAGE_DECODE,
    STAGE_SELECT,
    STAGE_READ,
    STAGE_DECIDE,
    STAGE_RESERVE,
    STAGE_ENCODE,
    STAGE_TOTAL,
    STAGE_COUNT
};

struct auction {
    struct auction_desk *desk;
    struct auction *next_free;
    struct catalog *catalog; /* reference held while running */
    uint32_t exchange;
    enum wire_format format;
    auction_answer_fn *answer;
    void *answer_owner;
    uint64_t handle;

    struct arena arena; /* reset when the auction ends */
    struct str body;    /* borrowed until the answer (explain: a copy in the arena) */
    struct bid_request request;
    struct person person;
    uint64_t id; /* owner << 40 | sequence */
    uint64_t request_hash;
    int64_t received_us, deadline_us; /* monotonic, as the next two */
    int64_t now_us;                   /* when the last stage ended, or a wait */
    int64_t stage_ns;                 /* when the last stage ended */
    int64_t now_s;                    /* wall clock */

    struct decision *decisions; /* one per impression */
    struct freq_read *read;     /* NULL when nothing was read */
    const struct freq_view *view;
    uint32_t reservations_pending;
    enum no_bid_reason reason; /* farthest so far */
    bool test;
    bool pushes_counted; /* towards their deals' return quota */
    bool features_ready;
    struct predict_request features; /* of the request, for lines with a goal */
};

struct auction_desk {
    struct auction_options options;
    struct auction_desks desks;
    struct crypto_key person_secret;
    struct token_keys token_keys;
    struct catalog *catalog;           /* own reference */
    const struct predict_model *model; /* borrowed; NULL = none */
    struct shading *shading;           /* owned; by line slot, CATALOG_MAX_LINES of them */
    struct auction *pool;              /* owned array */
    struct auction *free;
    struct explain *explaining; /* one at a time; NULL = none */
    uint32_t running;
    uint64_t sequence;
    struct markup_templates *markup; /* owned */
    struct buf scratch;              /* of the encoder */
    struct buf out;
};

/* auction_select.c: the decisions of all impressions, with their offers. *anything: there is
 * something to decide. False when the arena is full. */
bool auction_select(struct auction *auction, bool *anything);

/* auction_answer.c: fills desk->out with the bids of all decisions; returns how many. */
uint32_t auction_encode_bids(struct auction *auction);
/* Fills desk->out with the exchange's no-bid form; returns the HTTP status. */
int auction_encode_no_bid(struct auction *auction, enum no_bid_reason reason);

/* auction_note.c: metrics, event records, report counters. The only file that knows them. */
/* A stage has ended. Reads the clock: now_us is the time from here on. */
void auction_note_stage(struct auction *auction, enum auction_stage stage);
/* The answer has been handed over: the end of encoding, and of all stages. */
void auction_note_answer(struct auction *auction, const struct auction_answer *answer);
void auction_note_reject(struct auction *auction, enum bidreq_reject reject);
void auction_note_line(void *auction, uint32_t line, enum no_bid_reason reason);
void auction_note_pushes(struct auction *auction, const struct decision *decision);
void auction_note_bid(struct auction *auction, const struct decision *decision);
void auction_note_end(struct auction *auction, const struct auction_answer *answer, bool sent);
void auction_note_shed(const struct catalog_exchange *exchange, enum no_bid_reason reason);
void auction_note_running(const struct auction_desk *desk);
void auction_note_truncated(struct auction *auction);

/* An answer has the request's format. */
static inline struct str auction_content_type(enum wire_format format)
{
    return format == WIRE_JSON ? STR("application/json") : STR("application/x-protobuf");
}

/* explain.c: gives up the explanation under way; its done is called. */
void explain_stop(struct auction_desk *desk);

/* auction.c, used by the others. */
/* From and back to the pool; NULL when every auction is running. */
struct auction *auction_borrow(struct auction_desk *desk);
void auction_return(struct auction *auction);
/* The desks of budgets, returns, brands and swaps know the catalog of now, by its indexes. An
 * auction whose catalog is not that one must not ask them. */
bool auction_is_current(const struct auction *auction);
/* Goes on with the catalog of now; what was selected before means nothing any more. False: that
 * catalog has no such exchange. */
bool auction_renew_catalog(struct auction *auction);
struct decide_context auction_decide_context(struct auction *auction);
/* Does the pacing throttle let the line take part in this request? */
bool auction_participates(const struct auction *auction, const struct catalog_line *line);
void auction_give_back(struct auction *auction, struct decision *decision);
enum no_bid_reason auction_reason_of_select(enum select_miss miss);
/* What an open line would pay, CPM in the catalog's currency: its bid_cpm, or what its goal is
 * worth by the model, at most bid_cpm when both are given. */
int64_t auction_line_price(struct auction *auction, const struct bidreq_imp *imp,
                           const struct catalog_line *line);
