/* A JSON document as a tree that remembers where everything stood: for files people write, where a
 * message needs line, column and JSON pointer. The request path uses json.h directly. */
#pragma once

#include "bidder/base/json.h"

struct json_member;

/* One value. All pointers lie in the arena or, as views, in the text. */
struct json_value {
    enum json_type type;
    bool boolean;    /* JSON_BOOL */
    uint32_t count;  /* of items or members */
    size_t offset;   /* of its first byte in the text */
    size_t length;   /* in bytes of the text */
    struct str text; /* JSON_STRING: unescaped; JSON_NUMBER: as written */
    union {
        struct json_value *items;    /* JSON_ARRAY */
        struct json_member *members; /* JSON_OBJECT, in the order of the text, duplicates too */
    };
};

struct json_member {
    struct str key;
    size_t key_offset; /* of its quote */
    struct json_value value;
};

struct json_dom_error {
    enum json_error error;
    size_t offset;
};

/* Parses the whole text. NULL on error, then *error (may be NULL) says what and where. */
struct json_value *json_dom_parse(struct str text, struct arena *arena, uint32_t max_depth,
                                  struct json_dom_error *error) __attribute__((warn_unused_result));

/* The first member of that name; NULL when there is none or value is no object. */
const struct json_value *json_dom_get(const struct json_value *value, struct str key);

/* The first member whose key stood before in the same object, NULL when all differ. Not
 * recursive. */
const struct json_member *json_dom_duplicate(const struct json_value *object);
