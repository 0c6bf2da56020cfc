/* Reads one HTTP/1.1 response from the bytes received so far. Pure: no I/O, no allocation, starts
 * over at each call, because a response nearly always arrives whole. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "bidder/base/str.h"

enum response_result {
    RESPONSE_PARTIAL, /* more bytes are needed */
    RESPONSE_DONE,
    RESPONSE_BAD,
};

struct response {
    unsigned status;
    bool keep_alive;
    struct str body; /* points into the bytes given; chunks are joined in place */
    size_t consumed; /* bytes of this response */
};

/* at_eof: the peer closed, which ends a body without length. Interim (1xx) responses are skipped.
 * The bytes are changed only for a chunked response that is complete. */
enum response_result response_read(char *bytes, size_t len, bool at_eof, struct response *response);
