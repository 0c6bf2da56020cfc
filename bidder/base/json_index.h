/* Where the bytes of a JSON text stand that a string's reader has to look at: quotes, backslashes,
 * control bytes and bytes above 0x7f. Found for many strings at once, 64 bytes a step, before
 * anyone walks the text: the walk then knows each string's end without looking for it.
 *
 *     {"id":"a","at":2}        items: 1 4 6 8 10 13, and 16 16 16 16: the last
 *      ^  ^ ^ ^ ^  ^              byte marks the end
 *
 * The index knows nothing of the grammar: control bytes between strings (line ends) are in it too,
 * and whether a quote opens, closes or is escaped is for the walk to say. */
#pragma once

#include "bidder/base/str.h"

#define JSON_INDEX_ITEMS 1024 /* offsets wanted in one go: those of a 5 KB request */

struct json_index {
    /* A step may find 64 at once. Four ends, so that the pair of a string's quotes, and the bytes
     * of a long character, can be read without asking how many are left. */
    uint32_t items[JSON_INDEX_ITEMS + 64 + 4];
    bool whole; /* nothing behind the last one */
};

/* Fills the index with offsets of text from `from` on, until the text ends or JSON_INDEX_ITEMS are
 * found. The text has a last byte, which is not special, and less than 4 GiB. */
void json_index_fill(struct json_index *index, struct str text, size_t from);

/* The ways there are to fill it, for tests; NULL behind the last one this machine has. */
typedef void json_index_fn(struct json_index *index, struct str text, size_t from);
json_index_fn *json_index_way(unsigned number);
