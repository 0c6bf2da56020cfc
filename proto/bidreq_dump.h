/* The model as text, one field a line: "imp[0].video.minduration = 5". For tests, which compare
 * decoders by it, and for people who ask what we understood of a request. */
#pragma once

#include "bidder/base/buf.h"
#include "proto/bidreq.h"

enum bidreq_dump_what {
    BIDREQ_DUMP_ALL,     /* raw ids and addresses, too: tests only */
    BIDREQ_DUMP_PRIVATE, /* ids of people and devices, addresses and places are left out */
};

/* Appends to out; fields that hold their default are left out. */
void bidreq_dump(const struct bid_request *request, enum bidreq_dump_what what, struct buf *out);
