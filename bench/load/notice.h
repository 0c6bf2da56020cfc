/* Win and loss notices: found in bid responses, held back for their delay, sent as GET requests. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "bidder/base/buf.h"
#include "bidder/base/prng.h"
#include "bidder/base/status.h"
#include "bidder/base/str.h"

enum notice_kind { NOTICE_WIN, NOTICE_BILLING, NOTICE_IMPRESSION, NOTICE_LOSS, NOTICE_KINDS };

struct notice_counts {
    uint64_t bids;       /* in the responses looked at */
    uint64_t wins;       /* of them, drawn to win */
    uint64_t unreadable; /* responses with bids that could not be read */
    uint64_t no_url;     /* wins without any url to notify */
    uint64_t queued[NOTICE_KINDS];
    uint64_t no_room; /* dropped because the buffer was full */
};

struct notice_queue {
    /* configuration */
    double win_rate;
    double duplicate;
    int64_t clearing_millionths;
    bool loss;
    int64_t delay_ns;
    size_t cap;
    /* state */
    struct prng prng;
    char *ring; /* owned (mmap); records, see notice.c */
    size_t head;
    size_t tail;
    size_t used;
    struct buf text;    /* unescaped markup */
    struct buf url;     /* unescaped url */
    struct buf request; /* the GET being built */
    struct notice_counts counts;
};

enum status notice_queue_init(struct notice_queue *queue) MUST_USE;
void notice_queue_deinit(struct notice_queue *queue);

/* Draws winners among the bids of a response and queues their notices. */
void notice_queue_take(struct notice_queue *queue, struct str body, int64_t now_ns);

/* When the first notice is due; INT64_MAX when there is none. */
int64_t notice_queue_due_ns(const struct notice_queue *queue);
/* The first notice as a whole HTTP request; valid until notice_queue_pop. */
struct str notice_queue_first(const struct notice_queue *queue);
void notice_queue_pop(struct notice_queue *queue);

const char *notice_kind_name(enum notice_kind kind);
