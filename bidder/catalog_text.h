/* What texts of a catalog must look like: one table for the loader, the JSON Schema and the docs.
 */
#pragma once

#include "bidder/catalog_reader.h"

struct text_rule_info {
    bool (*check)(struct str text);
    int fold; /* kept in 1 = upper, -1 = lower case, 0 = as written */
    const char *expected;
    const char
        *pattern; /* ECMA 262 regular expression, not looser than needed by check; NULL: any */
};
extern const struct text_rule_info text_rules[TEXT_RULE_COUNT];

static inline char str_ascii_upper(char c)
{
    return c >= 'a' && c <= 'z' ? (char)(c - ('a' - 'A')) : c;
}

bool reader_read_choice(struct catalog_reader *reader, const struct json_value *value,
                        const struct choice *choices, int64_t *chosen);
/* 604800 -> 7d */
void catalog_put_duration(struct buf *out, int64_t seconds);
