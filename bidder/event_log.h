/* Everything that moves money or counts, as append-only records: what budgets are rebuilt from when
 * Redis or a worker is lost, and what an audit reads. One log per worker, written in batches.
 *
 *   <dir>/events-<owner>-<YYYYMMDD>T<HH>-<sequence>.log       one writer, held by flock
 *   file:    opened, totals (one write) | record record ... | end
 *   record:  length 4 LE | CRC-32C of the bytes 4 LE | protobuf Event (proto/event.proto)
 *
 * The totals are what this worker ever settled of each budget account: a start reads the newest
 * file only, and old files may be deleted.
 *
 * A file without an end record was being written when its worker died: its torn tail is cut off by
 * the next worker that starts. A write that fails is undone (the file ends at the last whole
 * record), the records stay in memory, and event_log_ok is false until a write works again. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "bidder/base/buf.h"
#include "bidder/base/metric.h"
#include "bidder/base/str.h"

/* X(NAME, number on disk, name for people) */
#define EVENT_KINDS(X)                                                                             \
    X(OPENED, 1, "opened") /* a file begins: owner; sequence: totals that follow, plus one */      \
    X(END, 2, "end")       /* a file was closed in order */                                        \
    X(BID, 3, "bid")                                                                               \
    X(WIN, 4, "win")                                                                               \
    X(LOSS, 5, "loss")                                                                             \
    X(IMPRESSION, 6, "impression")                                                                 \
    X(BILL, 7, "bill")                                                                             \
    X(CLICK, 8, "click")                                                                           \
    X(RETURN, 9, "return")  /* a pushed impression was given back */                               \
    X(FORCED, 10, "forced") /* must-fill: shown although a cap was reached */                      \
    X(SWAP, 11, "swap")     /* shown by a partner of the deal's owner */                           \
    X(SETTLE, 12, "settle") /* the ledger booked the money of an impression */                     \
    X(LEASE, 13, "lease")   /* a worker and Redis agreed on an account */                          \
    X(TOTAL, 14, "total")   /* what the owner had settled on an account before this file: used */

enum event_kind {
#define X(name, number, text) EVENT_##name = (number),
    EVENT_KINDS(X)
#undef X
        EVENT_KIND_COUNT
};
/* Static memory. */
const char *event_kind_name(unsigned kind);

#define EVENT_MAX_BUDGETS 16
#define EVENT_MAX_BYTES   4096 /* of one record; longer ones do not exist */

/* One event; fields that mean nothing for its kind are 0. See proto/event.proto for units. */
struct event_record {
    enum event_kind kind;
    int64_t time_us; /* 0 = filled in by event_log_put */
    uint64_t auction;
    uint32_t imp_hash;
    uint32_t exchange_ref, line_ref, deal_ref, brand_ref, creative_ref;
    uint32_t bid_s;
    int64_t price_micros, cost_micros;
    uint32_t flight;
    uint32_t flags;
    int32_t reason;
    uint32_t budgets[EVENT_MAX_BUDGETS]; /* refs; more than fit are not kept */
    uint32_t budget_count;
    uint32_t impressions; /* bit i: budgets[i] counts impressions */
    uint32_t date;        /* 20261122 */
    uint32_t other_brand_ref;
    struct str account; /* lease; borrowed */
    uint64_t sequence;
    int64_t used, returned, granted;
    uint32_t owner;
    bool billable;
};

/* --- records (pure) -------------------------------------------------------------------------- */

/* Appends one framed record. False when it is too large or the buffer is full: nothing was added.
 */
bool event_record_put(struct buf *out, const struct event_record *event);

enum event_read {
    EVENT_READ_OK,
    EVENT_READ_END,  /* nothing is left */
    EVENT_READ_TORN, /* the rest is shorter than a record: a write was cut off */
    EVENT_READ_BAD   /* checksum, length or message is wrong */
};
/* Reads the record at the front of *bytes and drops it from there (only on EVENT_READ_OK).
 * event->account points into memory that the next call reuses (scratch, at least
 * EVENT_MAX_BYTES). */
enum event_read event_record_next(struct str *bytes, struct event_record *event, char *scratch);
/* How many bytes at the front are whole, valid records. *end: the last of them is an end record. */
size_t event_record_valid(struct str bytes, bool *end);
/* One JSON object, no line end. */
void event_put_json(struct buf *out, const struct event_record *event);

/* --- the log of a worker ---------------------------------------------------------------------- */

enum event_fsync {
    EVENT_FSYNC_OFF,    /* the kernel decides: survives a killed process, not a lost machine */
    EVENT_FSYNC_SECOND, /* once a second, by a helper thread: the loop never waits */
    EVENT_FSYNC_BATCH   /* with each batch, in the loop: costs a disk's latency each tick */
};

struct event_log_options {
    const char *dir; /* borrowed during create */
    uint32_t owner;
    int64_t max_file_bytes; /* 0 = 256 MiB */
    size_t max_held_bytes;  /* records in memory while writing fails; 0 = 8 MiB */
    enum event_fsync fsync;
};

struct event_log;

/* Repairs what earlier workers left in dir and opens a file. A log that cannot be written is
 * created all the same (event_log_ok says so). NULL when memory is out. */
struct event_log *event_log_create(const struct event_log_options *options, int64_t now_us);
/* Writes what is left and ends the file. */
void event_log_destroy(struct event_log **log);

/* Adds a record to the batch. Dropped and counted when too many are held. Never blocks. */
void event_log_put(struct event_log *log, const struct event_record *event, int64_t now_us);
/* Writes the batch; rotates; retries once a second while writing fails. Call each tick; now_us is
 * wall time. */
void event_log_tick(struct event_log *log, int64_t now_us);
/* Is there money in the batch (settlements)? Then call event_log_tick at the end of the loop's turn
 * instead of waiting: a settlement that a killed worker took along is booked nowhere. */
bool event_log_is_urgent(const struct event_log *log);
/* True, once per impression: its money was claimed at at_s by a former life of this worker, and
 * what that life wrote says that it never got to booking it. False also when that is not known. */
bool event_log_take_missed(struct event_log *log, uint64_t auction, uint32_t imp_hash,
                           int64_t at_s);
/* False: records cannot be written; no new bids on budgets then. log may be NULL (no log
 * configured): true. */
bool event_log_ok(const struct event_log *log);

#define EVENT_LOG_METRICS(X)                                                                       \
    X(EVENT_LOG_RECORDS, METRIC_COUNTER, "jointcap_event_records_total", "kind", event_kind_name,  \
      EVENT_KIND_COUNT, "Event records put into the batch, by kind")                               \
    X(EVENT_LOG_BYTES, METRIC_COUNTER, "jointcap_event_log_bytes_total", NULL, NULL, 1,            \
      "Bytes written to event log files")                                                          \
    X(EVENT_LOG_WRITES, METRIC_COUNTER, "jointcap_event_log_writes_total", NULL, NULL, 1,          \
      "Batches written")                                                                           \
    X(EVENT_LOG_ERRORS, METRIC_COUNTER, "jointcap_event_log_errors_total", NULL, NULL, 1,          \
      "Writes, opens and fsyncs that failed")                                                      \
    X(EVENT_LOG_DROPPED, METRIC_COUNTER, "jointcap_event_log_dropped_total", NULL, NULL, 1,        \
      "Records lost because too many were held while the log could not be written")                \
    X(EVENT_LOG_REPAIRED, METRIC_COUNTER, "jointcap_event_log_repaired_bytes_total", NULL, NULL,   \
      1, "Bytes of torn tails cut off at start")                                                   \
    X(EVENT_LOG_FAILING, METRIC_GAUGE, "jointcap_event_log_failing", NULL, NULL, 1,                \
      "Workers whose event log cannot be written (they do not bid on budgets)")
METRIC_DECLARE(event_log, EVENT_LOG_METRICS);
