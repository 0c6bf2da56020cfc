/* Walks a JSON text and calls back on every scalar with its path. For finding fields in requests
 * (once, at load time) and in bid responses; it is lenient and no validator. */
#pragma once

#include <stdbool.h>

#include "bidder/base/str.h"

#define JSON_WALK_DEPTH 32

enum json_kind { JSON_STRING, JSON_NUMBER, JSON_OTHER };

struct json_scalar {
    enum json_kind kind;
    struct str value; /* what stands between the quotes, still escaped; or the bare token */
    unsigned depth;   /* of the path; a member of the top-level object has 1 */
    /* The key of each level from the top; an array's elements have an empty key. */
    const struct str *path;
    unsigned element; /* how many objects were opened before, at any level: tells siblings apart */
};

typedef void (*json_scalar_fn)(void *context, const struct json_scalar *scalar);

/* False when the text is no JSON object or deeper than JSON_WALK_DEPTH. The views given to the
 * callback point into the text. */
bool json_walk(struct str text, json_scalar_fn on_scalar, void *context);

/* Is the path of this scalar "a.b.c"? An array level is written "[]". */
bool json_path_is(const struct json_scalar *scalar, const char *dotted);
