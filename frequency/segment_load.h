/* Writes audience membership of many persons: batches of one script call a row, pipelined. For
 * tools; blocking, over redis_sync.
 *
 * The script looks and writes in one step, so that a person who withdraws consent meanwhile gets no
 * byte back. Ids linked to a person get the segment too. A record lives until its last segment has
 * ended (or longer, for what else it holds). */
#pragma once

#include <stdint.h>

#include "bidder/base/buf.h"
#include "bidder/base/redis.h"
#include "bidder/base/status.h"
#include "frequency/person.h"

#define SEGMENT_LOAD_BATCH 1000

struct segment_row {
    struct person_key key;
    uint32_t ref;    /* cap_ref32 of the segment's id */
    int64_t until_s; /* kept until the full hour after it (UTC); 0: taken away */
};

struct segment_task {
    struct segment_row row;
    bool linked; /* another id of a person just written */
    bool whole;  /* its node does not know the script yet: send all of it */
};

struct segment_load {
    struct redis_sync *sync; /* borrowed */
    struct buf *error;       /* borrowed */
    int64_t now_s;
    char sha[40]; /* names the script to Redis */
    struct segment_task tasks[SEGMENT_LOAD_BATCH];
    struct segment_task next[SEGMENT_LOAD_BATCH]; /* what replies gave rise to */
    uint32_t task_count, next_count;
    bool failed;
    uint64_t written;   /* rows */
    uint64_t withdrawn; /* rows of persons who withdrew consent: not written */
    uint64_t linked;    /* written for linked ids */
};

enum status segment_load_init(struct segment_load *load, struct redis_sync *sync, int64_t now_s,
                              struct buf *error) MUST_USE;
/* STATUS_IO: Redis refused or is gone, *error says how; rows since the last flush may be lost. */
enum status segment_load_add(struct segment_load *load, const struct segment_row *row) MUST_USE;
enum status segment_load_flush(struct segment_load *load) MUST_USE;
