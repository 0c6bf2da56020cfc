/* The small grammars of HTTP: tokens, hosts, targets, media types, query strings. Pure. */
#pragma once

#include "bidder/base/str.h"
#include "bidder/http.h"

static inline bool http_is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static inline bool http_is_hex(char c)
{
    return http_is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

extern const bool http_token_bytes[256];
/* A byte of a method or a header name (RFC 9110 5.6.2). */
static inline bool http_is_token_byte(char c)
{
    return http_token_bytes[(unsigned char)c];
}

bool http_is_token(struct str text);
/* No control byte but tab. */
bool http_is_field_value(struct str value);
/* host [":" port]; host may be empty, a name, an address, or [v6]. */
bool http_is_host(struct str text);
enum http_method http_method_of(struct str name);
/* Checks a request target and cuts http://host off; empty then means "/". */
bool http_target_trim(struct str *target);

/* A media type without its parameters equals type (lower case): "application/json; charset=utf-8"
 */
bool http_media_type_is(struct str value, struct str type);
/* Accept-Encoding takes gzip: listed, or *, with a weight above 0. */
bool http_accepts_gzip(struct str accept_encoding);
/* The value of name in a query string, undecoded; false when absent. */
bool http_query_get(struct str query, struct str name, struct str *value);
