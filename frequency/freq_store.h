/* Opening and closing the frequency store of a worker, and its counters. */
#pragma once

#include "bidder/base/redis.h"
#include "frequency/freq.h"

struct freq_store_options {
    uint32_t max_reads; /* pool size: reads in flight at once */
    int64_t timeout_us; /* a read's own limit, inside the auction's deadline */
    int64_t notice_s;   /* a bid's notices come at most so long after it; 0 = two hours */
};

/* Why the store could not be read or written: one counter each. */
enum freq_error {
    FREQ_ERROR_LATE,         /* no reply in time */
    FREQ_ERROR_DISCONNECTED, /* connection lost with the command on its way */
    FREQ_ERROR_REFUSED,      /* not sent: not connected, breaker open, or too much in flight */
    FREQ_ERROR_OOM,          /* Redis: maxmemory reached */
    FREQ_ERROR_READONLY,     /* Redis: a replica */
    FREQ_ERROR_WRONG_TYPE,   /* Redis: something else lies under the key */
    FREQ_ERROR_BUSY,         /* Redis: loading, busy, no disk, cluster down, try again */
    FREQ_ERROR_OTHER,        /* Redis: any other error */
    FREQ_ERROR_SHAPE,        /* a reply that is not what was asked for */
    FREQ_ERROR_MEMORY,       /* ours */
    FREQ_ERROR_COUNT
};
const char *freq_error_name(enum freq_error error);

struct freq_stats {
    uint64_t reads[FREQ_OUTCOME_COUNT];
    uint64_t reads_abandoned; /* finished before the reply came */
    uint64_t reserved, lost_races, reserves_late, reserves_failed;
    uint64_t undone;            /* reservations taken back by ourselves */
    uint64_t confirms;          /* asked for */
    uint64_t confirms_stored;   /* and acknowledged by Redis */
    uint64_t confirms_revived;  /* of these: the reservation had run out already */
    uint64_t confirms_restored; /* of these: written anew, for Redis may have lost it */
    uint64_t confirms_retried;
    uint64_t confirms_lost; /* given up */
    uint64_t confirms_void; /* nothing to confirm: forgotten, withdrawn or lost since the bid */
    uint64_t releases;
    uint64_t pool_exhausted;
    uint64_t overflows; /* records with more than FREQ_MAX_EXPOSURES */
    uint64_t links_cut; /* persons with more links than are followed */
    uint64_t unordered; /* reservations checked without Redis's order (large records) */
    uint64_t profile_unknown;
    uint64_t stale_removed; /* expired reservations and exposures deleted */
    uint64_t errors[FREQ_ERROR_COUNT];
};

/* redis is borrowed and outlives the store. NULL when memory is out. */
struct freq_store *freq_store_create(struct redis *redis, const struct freq_store_options *options);
/* Reads and reservations in flight are abandoned. The redis must still exist. */
void freq_store_destroy(struct freq_store **store);
const struct freq_stats *freq_store_stats(const struct freq_store *store);
/* Confirms and removals that wait for Redis to come back; for tests and for draining. */
uint32_t freq_store_waiting(const struct freq_store *store);
