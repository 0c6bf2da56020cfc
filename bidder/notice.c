/* Reading notice urls and the prices in them. Pure; nothing is kept. */
#include "bidder/notice.h"

#include "bidder/base/bug.h"

#define PRICE_MAX_TEXT 128
/* Google's private data protocol: 16 bytes start, 8 bytes price XOR HMAC-SHA-1(encryption key,
 * start), 4 bytes of HMAC-SHA-1(integrity key, price | start). The price is micros of ONE
 * impression, not of a thousand.
 * https://developers.google.com/authorized-buyers/rtb/response-guide/decrypt-price */
#define GOOGLE_START 16
#define GOOGLE_PRICE 8
#define GOOGLE_TAG   4
#define GOOGLE_BYTES (GOOGLE_START + GOOGLE_PRICE + GOOGLE_TAG)

static const struct {
    struct str word;
    enum token_audience audience;
} events[] = {
#define X(name, word, audience) {{word, sizeof(word) - 1}, audience},
    NOTICE_EVENTS(X)
#undef X
};

const char *notice_event_name(unsigned event)
{
    return event < NOTICE_EVENT_COUNT ? events[event].word.ptr : "?";
}

enum token_audience notice_event_audience(enum notice_event event)
{
    return events[event].audience;
}

const char *notice_price_kind_name(unsigned kind)
{
    static const char *const names[] = {"given",         "clipped",  "empty",   "audit",
                                        "unsubstituted", "negative", "invalid", "unsigned"};
    _Static_assert(COUNT_OF(names) == NOTICE_PRICE_KIND_COUNT, "one name each");
    return kind < NOTICE_PRICE_KIND_COUNT ? names[kind] : "?";
}

enum status notice_parse(struct str path, struct str query, struct notice *notice)
{
    static const struct str prefix = {"/notice/", 8};
    if (!str_starts(path, prefix)) {
        return STATUS_NOT_FOUND;
    }
    struct str rest = {path.ptr + prefix.len, path.len - prefix.len};
    struct str word = str_cut(&rest, '/');
    *notice = (struct notice){.event = NOTICE_EVENT_COUNT, .token = rest, .loss = -1};
    for (unsigned i = 0; i < NOTICE_EVENT_COUNT; i++) {
        if (str_eq(word, events[i].word)) {
            notice->event = i;
        }
    }
    if (notice->event == NOTICE_EVENT_COUNT || !rest.len) {
        return STATUS_INVALID;
    }
    while (query.len) {
        struct str value = str_cut(&query, '&');
        struct str name = str_cut(&value, '=');
        int64_t code;
        if (str_eq(name, STR("price"))) {
            notice->price = value;
        } else if (str_eq(name, STR("loss")) && str_to_i64(value, &code) && code >= 0 &&
                   code <= INT32_MAX) {
            notice->loss = (int32_t)code;
        }
    }
    return STATUS_OK;
}

/* --- prices ---------------------------------------------------------------------------------- */

static int hex_value(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    c = str_ascii_lower(c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Percent-decodes into out (PRICE_MAX_TEXT bytes). False when it does not fit. A broken escape
 * stays as it is. */
static bool percent_decode(struct str raw, char *out, struct str *text)
{
    size_t len = 0;
    for (size_t i = 0; i < raw.len; i++) {
        if (len == PRICE_MAX_TEXT) {
            return false;
        }
        int high = -1, low = -1;
        if (raw.ptr[i] == '%' && i + 2 < raw.len) {
            high = hex_value(raw.ptr[i + 1]);
            low = hex_value(raw.ptr[i + 2]);
        }
        if (high >= 0 && low >= 0) {
            out[len++] = (char)(high << 4 | low);
            i += 2;
        } else {
            out[len++] = raw.ptr[i];
        }
    }
    *text = str_trim((struct str){out, len});
    return true;
}

static bool is_macro(struct str text)
{
    for (size_t i = 0; i + 1 < text.len; i++) {
        if ((text.ptr[i] == '$' && text.ptr[i + 1] == '{') ||
            (text.ptr[i] == '%' && text.ptr[i + 1] == '%')) {
            return true;
        }
    }
    return text.len && (text.ptr[0] == '{' || text.ptr[0] == '[');
}

static enum notice_price_kind google_price(struct str text, const struct notice_price_rule *rule,
                                           int64_t *cpm_micros)
{
    uint8_t bytes[GOOGLE_BYTES], pad[CRYPTO_SHA1_BYTES], tag[CRYPTO_SHA1_BYTES];
    size_t len;
    if (!crypto_base64_decode(text, bytes, sizeof(bytes), &len) || len != GOOGLE_BYTES) {
        return NOTICE_PRICE_INVALID;
    }
    struct str start = {(const char *)bytes, GOOGLE_START};
    struct str price = {(const char *)bytes + GOOGLE_START, GOOGLE_PRICE};
    uint64_t micros = 0;
    crypto_mac_sha1(rule->encryption_key, start, STR_NONE, pad);
    for (int i = 0; i < GOOGLE_PRICE; i++) {
        bytes[GOOGLE_START + i] ^= pad[i];
        micros = micros << 8 | bytes[GOOGLE_START + i];
    }
    crypto_mac_sha1(rule->integrity_key, price, start, tag);
    if (!crypto_equal(tag, bytes + GOOGLE_START + GOOGLE_PRICE, GOOGLE_TAG)) {
        return NOTICE_PRICE_UNSIGNED;
    }
    *cpm_micros = micros > INT64_MAX / 1000 ? INT64_MAX : (int64_t)micros * 1000;
    return NOTICE_PRICE_GIVEN;
}

/* A number, or the :B64 form of one (a base64 text of a number starts with a letter). */
static bool plain_price(struct str text, int64_t *wire_micros)
{
    char decoded[PRICE_MAX_TEXT];
    size_t len;
    if (str_to_micros(text, wire_micros)) {
        return true;
    }
    return crypto_base64_decode(text, decoded, sizeof(decoded), &len) &&
           str_to_micros((struct str){decoded, len}, wire_micros);
}

static enum notice_price_kind read_price(struct str raw, const struct notice_price_rule *rule,
                                         int64_t *cpm_micros)
{
    char decoded[PRICE_MAX_TEXT];
    struct str text;
    if (!percent_decode(raw, decoded, &text)) {
        return NOTICE_PRICE_INVALID;
    }
    if (!text.len) {
        return NOTICE_PRICE_EMPTY;
    }
    if (str_eq_nocase(text, STR("AUDIT"))) {
        return NOTICE_PRICE_AUDIT;
    }
    if (is_macro(text)) {
        return NOTICE_PRICE_UNSUBSTITUTED;
    }
    if (rule->google) {
        return google_price(text, rule, cpm_micros);
    }
    int64_t wire_micros;
    if (!plain_price(text, &wire_micros)) {
        return NOTICE_PRICE_INVALID;
    }
    if (wire_micros < 0) {
        return NOTICE_PRICE_NEGATIVE;
    }
    __extension__ __int128 cpm = (__int128)wire_micros * rule->unit_micros / 1000000;
    *cpm_micros = cpm > INT64_MAX ? INT64_MAX : (int64_t)cpm;
    return NOTICE_PRICE_GIVEN;
}

enum notice_price_kind notice_price(struct str raw, const struct notice_price_rule *rule,
                                    int64_t bid_micros, int64_t *price_micros)
{
    int64_t cpm_micros = bid_micros;
    enum notice_price_kind kind = read_price(raw, rule, &cpm_micros);
    if (cpm_micros > bid_micros) {
        cpm_micros = bid_micros;
        kind = NOTICE_PRICE_CLIPPED;
    }
    *price_micros = cpm_micros;
    return kind;
}

int64_t notice_cost(int64_t cost_micros, int64_t bid_micros, int64_t price_micros)
{
    if (bid_micros <= 0 || price_micros >= bid_micros || cost_micros <= 0) {
        return cost_micros;
    }
    __extension__ __int128 cost =
        ((__int128)cost_micros * price_micros + bid_micros - 1) / bid_micros;
    return (int64_t)cost;
}
