/* Replies parsed by hiredis's reader straight into struct redis_value in an arena: no allocation
 * per reply once the arena is warm. Internal to the redis modules. */
#pragma once

#include <hiredis/read.h>

#include "bidder/base/arena.h"
/* hiredis and we both have these names; theirs are not needed behind this line. */
#undef REDIS_OK
#undef REDIS_ERR
#include "bidder/base/redis.h"

/* A reply that needs more is not one of ours: the connection is dropped. */
#define REDIS_REPLY_LIMIT_BYTES ((size_t)16 << 20)

struct redis_reply_reader {
    redisReader *reader; /* owned */
    struct arena arena;  /* of the reply being read */
};

bool redis_reply_reader_init(struct redis_reply_reader *in) MUST_USE;
void redis_reply_reader_deinit(struct redis_reply_reader *in);
/* Bytes from the wire. False: broken protocol, too large, or no memory; drop the connection. */
bool redis_reply_feed(struct redis_reply_reader *in, const char *bytes, size_t len) MUST_USE;
/* 1 and *value: a reply, valid until redis_reply_done. 0: more bytes needed. -1: broken. */
int redis_reply_next(struct redis_reply_reader *in, const struct redis_value **value);
void redis_reply_done(struct redis_reply_reader *in);

/* RESP of one command; begin(args), then args x arg. */
void redis_command_begin(struct buf *out, uint32_t args);
void redis_command_arg(struct buf *out, struct str arg);
