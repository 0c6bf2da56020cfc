/* What freq_store.c, freq_reserve.c and freq_note.c share. Nobody else includes this. */
#pragma once

#include "bidder/base/crypto.h"
#include "bidder/base/prng.h"
#include "frequency/freq_codec.h"
#include "frequency/freq_store.h"

/* A confirm that Redis does not acknowledge is tried so long. */
#define FREQ_CONFIRM_GIVE_UP_S 3600
/* Clocks differ, commands wait their turn. */
#define FREQ_KEEP_SLACK_S 60
/* A record's end of life is rounded up to a multiple of this (freq_end_s). */
#define FREQ_END_STEP_S 1800
/* Of freq_store_options.notice_s. */
#define FREQ_NOTICE_STANDARD_S 7200

struct freq_op;

enum freq_read_state { READ_FREE, READ_RUNNING, READ_READY, READ_ABANDONED };

/* The owner of one command in flight: which part of what it answers. */
struct freq_part {
    void *whole; /* struct freq_read or struct freq_op */
    uint8_t record;
};

struct freq_read {
    struct freq_store *store;
    struct freq_read *next_free;
    enum freq_read_state state;
    bool failed;
    freq_read_fn *done;
    void *owner;
    int64_t now_s;
    uint32_t pending;    /* callbacks still to come */
    struct freq_op *ops; /* reservations that use this read */
    struct freq_links links;
    struct freq_part parts[FREQ_MAX_RECORDS];
    uint32_t offsets[FREQ_MAX_RECORDS]; /* of each record in the slab */
    struct freq_slab slab;
    struct freq_view view;
};

/* One reservation on its way. */
struct freq_op {
    struct freq_store *store;
    struct freq_op *next;   /* free list, or further ones of the read */
    struct freq_read *read; /* NULL: abandoned */
    freq_reserve_fn *done;
    void *owner;
    const struct cap_book *book;
    struct cap_list line_caps, creative_caps;
    int64_t now_s;
    uint16_t hold_s;
    bool first_only;
    uint32_t pending;
    int64_t deadline_us;
    bool late, failed, order_asked;
    struct freq_ticket ticket;
    uint16_t written; /* bit i: keys[i] holds our field */
    uint16_t ordered; /* bit i: the reply's order says who was first */
    uint16_t assumed; /* bit i: the read saw the record, so it has a TTL, or had one */
    struct freq_part write_parts[FREQ_MAX_RECORDS];
    struct freq_part read_parts[FREQ_MAX_RECORDS];
    struct freq_part side_parts[FREQ_MAX_RECORDS]; /* of EXPIREAT, later of OBJECT */
    uint32_t offsets[FREQ_MAX_RECORDS];
    struct freq_record records[FREQ_MAX_RECORDS];
    struct freq_slab slab;
};

/* A confirm until Redis has it, or a field to be deleted once Redis can be reached. */
struct freq_note {
    struct freq_store *store;
    struct freq_note *next; /* free list or waiting list */
    struct freq_ticket ticket;
    int64_t ttl_s;
    int64_t first_us; /* when it was asked for */
    uint32_t pending;
    bool removal;
    bool failed, hopeless;
    bool found; /* one record at least has it */
    bool whole; /* Redis did not know the script: send it in full */
    bool again; /* and at once, when all answers are in */
};

struct freq_store {
    struct redis *redis; /* borrowed */
    struct freq_store_options options;
    struct freq_stats stats;
    struct prng prng;                  /* salts */
    char confirm_sha[CRYPTO_SHA1_HEX]; /* by which Redis knows the script */
    bool no_restore;                   /* this Redis does not let us: records are made by hand */
    uint64_t outstanding;              /* callbacks that Redis owes us */
    bool dying;                        /* destroyed; the last callback frees */
    struct freq_read *reads;           /* owned pools and their free lists */
    struct freq_read *free_reads;
    struct freq_op *ops;
    struct freq_op *free_ops;
    struct freq_note *notes;
    struct freq_note *free_notes;
    struct freq_note *waiting, **waiting_tail; /* to be sent again when Redis answers */
    uint32_t waiting_count;
    int64_t retry_at_us;
    uint64_t disconnects; /* of Redis, as last looked at */
    int64_t doubt_s;      /* Redis may have lost what was written until then */
};

/* How long what was bid stays with the person, counted or not: until no confirm can come any more.
 * A field that is gone before was taken away, and must not come back. */
static inline int64_t freq_keep_s(const struct freq_store *store, uint16_t hold_s)
{
    int64_t notice_s = store->options.notice_s ? store->options.notice_s : FREQ_NOTICE_STANDARD_S;
    int64_t least_s = hold_s == FREQ_ANNOUNCED ? 0 : hold_s;
    return (notice_s > least_s ? notice_s : least_s) + FREQ_CONFIRM_GIVE_UP_S + FREQ_KEEP_SLACK_S;
}

/* When the record may end that has such a bid of time_s. Whoever writes the bid sees to it that the
 * record lives so long before the field is in; so who finds the field knows. All bids of one
 * step of time ask for the same end, and only the first of them has to ask. Each key has steps of
 * its own, or else all records would expire in the same second. */
static inline int64_t freq_end_s(const struct freq_store *store, const struct person_key *key,
                                 int64_t time_s, uint16_t hold_s)
{
    const uint8_t *last = key->bytes + PERSON_KEY_BYTES - 2;
    int64_t phase_s = (last[0] << 8 | last[1]) % FREQ_END_STEP_S;
    int64_t least_s = time_s + freq_keep_s(store, hold_s) + phase_s;
    return least_s + FREQ_END_STEP_S - least_s % FREQ_END_STEP_S - phase_s;
}

/* Each callback of ours begins with this. */
void freq_store_arrived(struct freq_store *store);
/* Frees the store when it is dying and nothing is owed any more. Last act of each callback. */
void freq_store_maybe_free(struct freq_store *store);

/* Sends the command that was begun; counts a refusal. */
bool freq_send(struct freq_store *store, struct str key, int64_t deadline_us, redis_fn *done,
               void *owner);
void freq_count(struct freq_store *store, enum freq_error error);
/* What a callback's result is worth; counts errors. False: not a usable reply. */
bool freq_usable(struct freq_store *store, enum redis_result result,
                 const struct redis_value *value);
/* The class of an error reply. */
enum freq_error freq_error_of(const struct redis_value *value);

struct str freq_str(const char *bytes, size_t len);
/* HGETALL key, HDEL of an exposure, EXPIREAT with NX or GT. done may be NULL. */
bool freq_send_hgetall(struct freq_store *store, struct str key, int64_t deadline_us,
                       redis_fn *done, void *owner);
bool freq_send_hdel(struct freq_store *store, struct str key, uint32_t time_s, uint32_t salt);
bool freq_send_expire_at(struct freq_store *store, struct str key, int64_t end_s,
                         struct str condition, int64_t deadline_us, redis_fn *done, void *owner);

/* Begin what writes the exposure of the ticket into record i: reserved, announced, or (HSETNX only)
 * confirmed when hold_s is 0. */
void freq_begin_hsetnx(struct freq_store *store, const struct freq_ticket *ticket, uint32_t i,
                       uint16_t hold_s);
void freq_begin_restore(struct freq_store *store, const struct freq_ticket *ticket, uint32_t i,
                        uint16_t hold_s);

/* freq_reserve.c: the read goes away under its reservations. */
void freq_ops_abandon(struct freq_read *read);
/* freq_note.c: before the first confirm. */
void freq_notes_setup(struct freq_store *store);
/* freq_note.c: sends some of the waiting notes when Redis is back. */
void freq_notes_retry(struct freq_store *store);
/* Deletes the exposure from the keys of the ticket that are set in mask, now or when Redis is
 * back. */
void freq_remove(struct freq_store *store, const struct freq_ticket *ticket, uint16_t mask);
