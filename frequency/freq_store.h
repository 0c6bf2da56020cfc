/* Opening and closing the frequency store of a worker. */
#pragma once

#include "bidder/base/redis.h"
#include "frequency/freq.h"

struct freq_store_options {
    uint32_t max_reads; /* pool size: reads in flight at once */
    int64_t timeout_us; /* a read's own limit, inside the auction's deadline */
};

/* redis is borrowed and outlives the store. NULL when memory is out. */
struct freq_store *freq_store_create(struct redis *redis, const struct freq_store_options *options);
void freq_store_destroy(struct freq_store **store);
