/* The first byte is the size of the pieces, the rest what a client sends. However it is cut, the
 * reader must come to the same requests and the same error. */
#include <stdint.h>
#include <stdlib.h>

#include "bidder/base/bug.h"
#include "bidder/base/hash.h"
#include "bidder/http.h"

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size);

static const struct http_limits limits = {
    .line_bytes = 300, .head_bytes = 700, .header_count = 12, .body_bytes = 200};

struct outcome {
    enum http_result last;
    int status;
    unsigned requests;
    uint64_t digest; /* of everything the requests said */
};

static void note(struct outcome *outcome, struct str view)
{
    outcome->digest = hash_bytes(view.ptr, view.len, outcome->digest + view.len);
}

static void note_request(struct outcome *outcome, const struct http_request *request)
{
    outcome->requests++;
    outcome->digest += request->method * 2u + request->keep_alive;
    note(outcome, request->path);
    note(outcome, request->query);
    note(outcome, request->body);
    for (unsigned i = 0; i < HTTP_FIELD_COUNT; i++) {
        note(outcome, request->fields[i]);
    }
}

static struct outcome play(const uint8_t *input, size_t size, size_t step)
{
    struct outcome outcome = {.last = HTTP_PARTIAL};
    struct http_reader reader;
    char *data = NULL;
    size_t len = 0, fed = 0;
    http_reader_init(&reader, &limits);
    while (outcome.last != HTTP_BAD && fed < size) {
        size_t piece = size - fed < step ? size - fed : step;
        char *grown = realloc(data, len + piece);
        BUG_ON(!grown);
        data = grown;
        memcpy(data + len, input + fed, piece);
        len += piece;
        fed += piece;
        while (len && (outcome.last = http_read(&reader, data, &len)) == HTTP_DONE) {
            note_request(&outcome, &reader.request);
            BUG_ON(reader.consumed > len || reader.consumed == 0);
            len -= reader.consumed;
            memmove(data, data + reader.consumed, len);
            http_reader_init(&reader, &limits);
        }
    }
    outcome.status = outcome.last == HTTP_BAD ? reader.status : 0;
    free(data);
    return outcome;
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size)
{
    if (size < 2) {
        return 0;
    }
    struct outcome whole = play(input + 1, size - 1, size);
    struct outcome pieces = play(input + 1, size - 1, (size_t)input[0] % 32 + 1);
    BUG_ON(whole.requests != pieces.requests || whole.digest != pieces.digest ||
           whole.status != pieces.status);
    return 0;
}
