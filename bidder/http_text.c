#include "bidder/http_text.h"

#include "bidder/base/bug.h"

__extension__ const bool http_token_bytes[256] = {
    ['!'] = 1, ['#'] = 1, ['$'] = 1, ['%'] = 1,         ['&'] = 1,         ['\''] = 1,
    ['*'] = 1, ['+'] = 1, ['-'] = 1, ['.'] = 1,         ['^'] = 1,         ['_'] = 1,
    ['`'] = 1, ['|'] = 1, ['~'] = 1, ['0' ... '9'] = 1, ['A' ... 'Z'] = 1, ['a' ... 'z'] = 1,
};

bool http_is_token(struct str text)
{
    for (size_t i = 0; i < text.len; i++) {
        if (!http_is_token_byte(text.ptr[i])) {
            return false;
        }
    }
    return text.len > 0;
}

/* Eight bytes at a time: a byte below 0x20 borrows into its top bit; so does one equal to 0x7f
 * after the xor. */
bool http_is_field_value(struct str value)
{
    const uint64_t ones = 0x0101010101010101ull, tops = 0x8080808080808080ull;
    size_t i = 0;
    for (; i + 8 <= value.len; i += 8) {
        uint64_t word;
        memcpy(&word, value.ptr + i, 8);
        uint64_t is_del = word ^ (ones * 0x7f);
        if (((word - ones * 0x20) & ~word & tops) | ((is_del - ones) & ~is_del & tops)) {
            break; /* perhaps only a tab: look closer below */
        }
    }
    for (; i < value.len; i++) {
        unsigned char c = (unsigned char)value.ptr[i];
        if ((c < 0x20 && c != '\t') || c == 0x7f) {
            return false;
        }
    }
    return true;
}

static bool is_name_byte(char c)
{
    char lower = str_ascii_lower(c);
    return http_is_digit(c) || (lower >= 'a' && lower <= 'z') ||
           (c && strchr("-._~%!$&'()*+;=", c));
}

bool http_is_host(struct str text)
{
    size_t i = 0;
    if (text.len && text.ptr[0] == '[') {
        size_t start = ++i;
        while (i < text.len &&
               (http_is_hex(text.ptr[i]) || text.ptr[i] == ':' || text.ptr[i] == '.')) {
            i++;
        }
        if (i == start || i == text.len || text.ptr[i++] != ']') {
            return false;
        }
    } else {
        while (i < text.len && is_name_byte(text.ptr[i])) {
            i++;
        }
    }
    if (i == text.len) {
        return true;
    }
    if (text.ptr[i++] != ':' || text.len - i > 5) {
        return false;
    }
    while (i < text.len && http_is_digit(text.ptr[i])) {
        i++;
    }
    return i == text.len;
}

enum http_method http_method_of(struct str name)
{
    static const struct {
        struct str name;
        enum http_method method;
    } methods[] = {
        {{"POST", 4}, HTTP_POST},   {{"GET", 3}, HTTP_GET},      {{"HEAD", 4}, HTTP_HEAD},
        {{"PUT", 3}, HTTP_OTHER},   {{"DELETE", 6}, HTTP_OTHER}, {{"OPTIONS", 7}, HTTP_OTHER},
        {{"TRACE", 5}, HTTP_OTHER}, {{"PATCH", 5}, HTTP_OTHER},  {{"CONNECT", 7}, HTTP_OTHER},
    };
    for (size_t i = 0; i < COUNT_OF(methods); i++) {
        if (str_eq(methods[i].name, name)) {
            return methods[i].method;
        }
    }
    return HTTP_UNKNOWN;
}

bool http_target_trim(struct str *target)
{
    for (size_t i = 0; i < target->len; i++) {
        unsigned char c = (unsigned char)target->ptr[i];
        if (c <= ' ' || c >= 0x7f || c == '#') {
            return false;
        }
    }
    if (target->len == 0) {
        return false;
    }
    if (target->ptr[0] == '/' || str_eq(*target, STR("*"))) {
        return true;
    }
    static const struct str schemes[] = {{"http://", 7}, {"https://", 8}};
    for (size_t i = 0; i < COUNT_OF(schemes); i++) {
        size_t cut = schemes[i].len;
        if (target->len < cut || !str_eq_nocase((struct str){target->ptr, cut}, schemes[i])) {
            continue;
        }
        struct str rest = {target->ptr + cut, target->len - cut};
        const char *slash = rest.len ? memchr(rest.ptr, '/', rest.len) : NULL;
        struct str host = {rest.ptr, slash ? (size_t)(slash - rest.ptr) : rest.len};
        *target = (struct str){slash, rest.len - host.len};
        return host.len > 0 && http_is_host(host);
    }
    return false;
}

bool http_media_type_is(struct str value, struct str type)
{
    return str_eq_nocase(str_trim(str_cut(&value, ';')), type);
}

/* "0", "0.", "0.0": a weight of nothing. */
static bool weight_is_zero(struct str weight)
{
    for (size_t i = 0; i < weight.len; i++) {
        if (weight.ptr[i] != '0' && weight.ptr[i] != '.') {
            return false;
        }
    }
    return weight.len > 0;
}

bool http_accepts_gzip(struct str accept_encoding)
{
    bool any = false;
    while (accept_encoding.len) {
        struct str item = str_cut(&accept_encoding, ',');
        struct str coding = str_trim(str_cut(&item, ';'));
        struct str weight = str_trim(item);
        bool refused = weight.len > 2 && str_ascii_lower(weight.ptr[0]) == 'q' &&
                       weight.ptr[1] == '=' &&
                       weight_is_zero((struct str){weight.ptr + 2, weight.len - 2});
        if (str_eq_nocase(coding, STR("gzip")) || str_eq_nocase(coding, STR("x-gzip"))) {
            return !refused;
        }
        any |= str_eq(coding, STR("*")) && !refused;
    }
    return any;
}

bool http_query_get(struct str query, struct str name, struct str *value)
{
    while (query.len) {
        struct str pair = str_cut(&query, '&');
        struct str key = str_cut(&pair, '=');
        if (str_eq(key, name)) {
            *value = pair;
            return true;
        }
    }
    return false;
}
