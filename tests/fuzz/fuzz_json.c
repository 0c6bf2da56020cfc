/* Any bytes as a JSON bid request: the fast decoder and the oracle say the same. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bidder/base/bug.h"
#include "bidder/base/json_dom.h"
#include "bidder/base/json_text.h"
#include "proto/bidreq_dump.h"
#include "proto/openrtb.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct arena arena;
static struct buf fast, slow;

typedef enum bidreq_reject decode_fn(struct str, struct arena *, struct bid_request *);

static void decode(decode_fn *fn, struct str body, struct buf *out)
{
    struct bid_request request;
    arena_reset(&arena);
    buf_reset(out);
    enum bidreq_reject reject = fn(body, &arena, &request);
    buf_put_str(out, str_from(bidreq_reject_name(reject)));
    buf_put_char(out, '\n');
    if (reject == BIDREQ_OK) {
        bidreq_dump(&request, BIDREQ_DUMP_ALL, out);
    }
}

/* cJSON's strings end at a NUL. Also as \\u0000 inside a native.request text. */
static bool has_nul_escape(struct str body)
{
    for (size_t i = 0; i + 5 <= body.len; i++) {
        if (memcmp(body.ptr + i, "u0000", 5) == 0) {
            return true;
        }
    }
    return false;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!arena.first) {
        BUG_ON(!arena_init(&arena, 1 << 20, 1 << 26));
        buf_init(&fast, 1 << 26);
        buf_init(&slow, 1 << 26);
    }
    struct str body = {.ptr = (const char *)data, .len = size};
    decode(openrtb_json_decode, body, &fast);
    if (!has_nul_escape(body)) {
        decode(openrtb_cjson_decode, body, &slow);
        if (!str_eq(buf_str(&fast), buf_str(&slow))) {
            fprintf(stderr, "--- fast\n%.*s--- oracle\n%.*s", STR_ARG(buf_str(&fast)),
                    STR_ARG(buf_str(&slow)));
            abort();
        }
    }
    /* The tree accepts what the reader accepts. */
    arena_reset(&arena);
    struct json_reader r;
    json_reader_init(&r, body, &arena, 64);
    json_skip(&r);
    bool valid = json_finish(&r);
    BUG_ON(valid != (json_dom_parse(body, &arena, 64, NULL) != NULL));
    /* So does the request path's walk. */
    struct json_text text;
    const char *at = json_text_begin(&text, body, &arena, 64);
    at = *at == '{' ? json_text_skip(&text, at) : at;
    BUG_ON(json_text_finish(&text, at) != valid || text.error != r.error);
    return 0;
}
