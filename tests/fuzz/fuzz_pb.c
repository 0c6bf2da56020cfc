/* Any bytes as a protobuf bid request; once in plenty of memory, once in hardly any. What decodes
 * must dump, and decode to the same again. */
#include <stdint.h>
#include <stdlib.h>

#include "bidder/base/bug.h"
#include "proto/bidreq_dump.h"
#include "proto/openrtb.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct arena arena, small;
static struct buf first, second;

static enum bidreq_reject decode(struct str body, struct arena *in, struct buf *out)
{
    struct bid_request request;
    arena_reset(in);
    buf_reset(out);
    enum bidreq_reject reject = openrtb_pb_decode(body, in, &request);
    if (reject == BIDREQ_OK) {
        bidreq_dump(&request, BIDREQ_DUMP_ALL, out);
    }
    return reject;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!arena.first) {
        BUG_ON(!arena_init(&arena, 1 << 20, 1 << 26));
        BUG_ON(!arena_init(&small, 4096, 4096));
        buf_init(&first, 1 << 26);
        buf_init(&second, 1 << 26);
    }
    struct str body = {.ptr = (const char *)data, .len = size};
    enum bidreq_reject reject = decode(body, &arena, &first);
    BUG_ON(reject == BIDREQ_NO_MEMORY && size < 65536);
    enum bidreq_reject cramped = decode(body, &small, &second);
    BUG_ON(cramped != reject && cramped != BIDREQ_NO_MEMORY);
    BUG_ON(cramped == BIDREQ_OK && !str_eq(buf_str(&first), buf_str(&second)));
    return 0;
}
