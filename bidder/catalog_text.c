#include "bidder/catalog_text.h"

#include "bidder/catalog_values.h"

static bool is_upper(char c)
{
    return c >= 'A' && c <= 'Z';
}

static bool is_alnum(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || is_upper(c);
}

static bool check_any(struct str text)
{
    return text.len > 0 && text.len <= 65536 && !memchr(text.ptr, '\0', text.len);
}

static bool check_id(struct str text)
{
    return text.len >= 1 && text.len <= 128 && value_printable(text);
}

static bool check_path_id(struct str text)
{
    for (size_t i = 0; i < text.len; i++) {
        if (!is_alnum(text.ptr[i]) && !memchr("-_.", text.ptr[i], 3)) {
            return false;
        }
    }
    return text.len >= 1 && text.len <= 128;
}

/* "iqiyi.com" or "com.qiyi.video" or an app store's number. */
static bool check_medium(struct str text)
{
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        if (!is_alnum(c) && c != '-' && c != '_' && c != '.') {
            return false;
        }
    }
    return text.len >= 1 && text.len <= 253;
}

static bool check_letters(struct str text, size_t count)
{
    for (size_t i = 0; i < text.len; i++) {
        if (!is_upper(str_ascii_upper(text.ptr[i]))) {
            return false;
        }
    }
    return text.len == count;
}

static bool check_country(struct str text)
{
    return check_letters(text, 3);
}

static bool check_currency(struct str text)
{
    return check_letters(text, 3) && is_upper(text.ptr[0]) && is_upper(text.ptr[1]) &&
           is_upper(text.ptr[2]);
}

static bool check_mime(struct str text)
{
    const char *slash = text.len ? memchr(text.ptr, '/', text.len) : NULL;
    size_t before = slash ? (size_t)(slash - text.ptr) : 0;
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        if (i != before && !is_alnum(c) && c != '-' && c != '+' && c != '.') {
            return false;
        }
    }
    return before > 0 && before + 1 < text.len;
}

/* Headers the server writes itself. */
static bool is_reserved_header(struct str name)
{
    static const char *const reserved[] = {"content-length",    "content-type", "connection",
                                           "transfer-encoding", "date",         "content-encoding",
                                           "keep-alive",        "upgrade"};
    for (size_t i = 0; i < sizeof(reserved) / sizeof(reserved[0]); i++) {
        if (str_eq_nocase(name, str_from(reserved[i]))) {
            return true;
        }
    }
    return false;
}

static bool check_header(struct str text)
{
    struct str value = text;
    struct str name = str_cut(&value, ':');
    for (size_t i = 0; i < name.len; i++) {
        if (!is_alnum(name.ptr[i]) && name.ptr[i] != '-' && name.ptr[i] != '_') {
            return false;
        }
    }
    for (size_t i = 0; i < value.len; i++) {
        unsigned char c = (unsigned char)value.ptr[i];
        if (c < ' ' || c > 0x7e) {
            return false;
        }
    }
    return name.len > 0 && value.len > 1 && value.ptr[0] == ' ' && !is_reserved_header(name);
}

const struct text_rule_info text_rules[TEXT_RULE_COUNT] = {
    [TEXT_ANY] = {check_any, 0, "a text of 1 to 65536 bytes", "^[^\\u0000]{1,65536}$"},
    [TEXT_ID] = {check_id, 0, "an id of 1 to 128 bytes without control characters",
                 "^[^\\u0000-\\u001f\\u007f-\\u009f\\u202a-\\u202e\\u2066-\\u2069]+$"},
    [TEXT_PATH_ID] = {check_path_id, 0, "1 to 128 letters, digits or - _ .",
                      "^[A-Za-z0-9._-]{1,128}$"},
    [TEXT_URL] = {value_url, 0, "a url that starts with https:// or http://",
                  "^https?://[A-Za-z0-9\\[][^\\u0000-\\u0020\\u007f\"<>\\\\]*$"},
    [TEXT_DOMAIN] = {value_domain, -1, "a domain such as \"brand.example\"",
                     "^[A-Za-z0-9][A-Za-z0-9_-]*(\\.[A-Za-z0-9][A-Za-z0-9_-]*)+$"},
    [TEXT_MEDIUM] = {check_medium, 0, "a domain or an app bundle", "^[A-Za-z0-9._-]{1,253}$"},
    [TEXT_LOWER] = {check_any, -1, "a text of 1 to 65536 bytes", "^[^\\u0000]{1,65536}$"},
    [TEXT_COUNTRY] = {check_country, 1, "a country of three letters such as \"CHN\"",
                      "^[A-Za-z]{3}$"},
    [TEXT_CURRENCY] = {check_currency, 0, "a currency of three capital letters such as \"CNY\"",
                       "^[A-Z]{3}$"},
    [TEXT_MIME] = {check_mime, -1, "a media type such as \"video/mp4\"",
                   "^[A-Za-z0-9.+-]+/[A-Za-z0-9.+-]+$"},
    [TEXT_HEADER] = {check_header, 0,
                     "a header such as \"X-Name: value\" that the server does not set itself",
                     "^[A-Za-z0-9_-]+: [ -~]+$"},
};

void catalog_put_duration(struct buf *out, int64_t seconds)
{
    static const struct {
        int64_t seconds;
        char unit;
    } units[] = {{86400, 'd'}, {3600, 'h'}, {60, 'm'}, {1, 's'}};
    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
        if (seconds % units[i].seconds == 0) {
            buf_put_i64(out, seconds / units[i].seconds);
            buf_put_char(out, units[i].unit);
            return;
        }
    }
}
