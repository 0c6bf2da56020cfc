/* A view of text: pointer and length, not NUL-terminated, never owning. How long it lives is said
 * where it is declared. ptr may be NULL only when len is 0. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct str {
    const char *ptr;
    size_t len;
};

#define STR(literal) ((struct str){.ptr = (literal), .len = sizeof(literal) - 1})
#define STR_NONE     ((struct str){.ptr = NULL, .len = 0})
/* printf("%.*s", STR_ARG(view)) */
#define STR_ARG(view) (int)(view).len, ((view).len ? (view).ptr : "")

static inline struct str str_from(const char *c_string)
{
    return (struct str){.ptr = c_string, .len = c_string ? strlen(c_string) : 0};
}

static inline bool str_eq(struct str a, struct str b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

static inline char str_ascii_lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c + ('a' - 'A')) : c;
}

/* ASCII case folded; other bytes compare as they are. */
static inline bool str_eq_nocase(struct str a, struct str b)
{
    if (a.len != b.len) {
        return false;
    }
    for (size_t i = 0; i < a.len; i++) {
        if (str_ascii_lower(a.ptr[i]) != str_ascii_lower(b.ptr[i])) {
            return false;
        }
    }
    return true;
}

static inline bool str_starts(struct str text, struct str prefix)
{
    return text.len >= prefix.len &&
           (prefix.len == 0 || memcmp(text.ptr, prefix.ptr, prefix.len) == 0);
}

/* Without the spaces and tabs at both ends. */
struct str str_trim(struct str text);

/* Cuts *rest at the first separator: returns what stands before it, *rest becomes what stands
 * behind it (empty at the end). */
struct str str_cut(struct str *rest, char separator);

/* The whole text as a decimal integer with optional sign. False when it is anything else or does
 * not fit; *value is then untouched. */
bool str_to_i64(struct str text, int64_t *value);

/* The whole text as a decimal number into micros (6 decimals; further ones round half away from
 * zero). No float on the way, because it decides money. False as str_to_i64. */
bool str_to_micros(struct str text, int64_t *micros);

#define STR_I64_BYTES 20 /* -9223372036854775808 */
/* The number's decimal text, a view into out. */
struct str str_of_i64(int64_t value, char out[STR_I64_BYTES]);
