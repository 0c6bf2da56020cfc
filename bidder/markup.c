/* Escaping, tracking urls, and the choice of the kind of markup. Pure: appends to a buffer.
 *
 * Places and their dangers:
 *   XML text, attribute   < > & " '      and characters XML has no way to write
 *   HTML attribute        the same five; the result is ASCII-safe in single and double quotes
 *   url inside any        percent-encoded first, then escaped for its place */
#include "bidder/markup.h"

#include "bidder/base/bug.h"
#include "bidder/base/scan.h"
#include "bidder/markup_internal.h"

/* --- escaping ------------------------------------------------------------------------------ */

/* Bytes of the character at text[at] when XML 1.0 has no place for it, else 0: controls but tab,
 * line feed and carriage return; U+FFFE and U+FFFF. Input is valid UTF-8. */
static size_t xml_forbidden(struct str text, size_t at)
{
    unsigned char c = (unsigned char)text.ptr[at];
    if (c < 0x20) {
        return c != '\t' && c != '\n' && c != '\r';
    }
    if (c == 0xef && at + 2 < text.len && (unsigned char)text.ptr[at + 1] == 0xbf &&
        ((unsigned char)text.ptr[at + 2] & 0xfe) == 0xbe) {
        return 3;
    }
    return 0;
}

static const char *entity_of(char c)
{
    switch (c) {
    case '<':
        return "&lt;";
    case '>':
        return "&gt;";
    case '&':
        return "&amp;";
    case '"':
        return "&quot;";
    case '\'':
        return "&#39;";
    default:
        return NULL;
    }
}

void markup_put_xml_escaped(struct buf *out, struct str text)
{
    size_t from = 0, at = 0;
    if (text.len == 0) {
        return; /* ptr may be NULL */
    }
    while (at < text.len) {
        size_t drop = xml_forbidden(text, at);
        const char *entity = drop ? "" : entity_of(text.ptr[at]);
        if (!entity) {
            at++;
            continue;
        }
        buf_put(out, text.ptr + from, at - from);
        buf_put_str(out, str_from(entity));
        at += drop ? drop : 1;
        from = at;
    }
    buf_put(out, text.ptr + from, text.len - from);
}

void markup_put_url(struct buf *out, struct str url)
{
    static const char hex[] = "0123456789ABCDEF";
    if (url.len == 0) {
        return; /* ptr may be NULL */
    }
    const char *end = url.ptr + url.len, *clean = url.ptr;
    for (const char *at = scan_url(clean, end); at < end; at = scan_url(clean, end)) {
        unsigned char c = (unsigned char)*at;
        char encoded[3] = {'%', hex[c >> 4], hex[c & 15]};
        buf_put(out, clean, (size_t)(at - clean));
        buf_put(out, encoded, sizeof(encoded));
        clean = at + 1;
    }
    buf_put(out, clean, (size_t)(end - clean));
}

/* --- tracking urls ------------------------------------------------------------------------- */

static void put_notice_url(const struct markup_urls *urls, const char *event, struct str token,
                           struct buf *out)
{
    markup_put_url(out, urls->base);
    BUF_PUT_LITERAL(out, "/notice/");
    buf_put_str(out, str_from(event));
    buf_put_char(out, '/');
    markup_put_url(out, token);
}

void markup_put_client_url(const struct markup_urls *urls, const char *event, struct buf *out)
{
    put_notice_url(urls, event, urls->client_token, out);
}

void markup_put_nurl(const struct markup_urls *urls, struct buf *out)
{
    put_notice_url(urls, "win", urls->exchange_token, out);
    BUF_PUT_LITERAL(out, "?price=${AUCTION_PRICE}&cur=${AUCTION_CURRENCY}");
}

void markup_put_burl(const struct markup_urls *urls, struct buf *out)
{
    put_notice_url(urls, "bill", urls->exchange_token, out);
    BUF_PUT_LITERAL(out, "?price=${AUCTION_PRICE}&cur=${AUCTION_CURRENCY}");
}

void markup_put_lurl(const struct markup_urls *urls, struct buf *out)
{
    put_notice_url(urls, "loss", urls->exchange_token, out);
    BUF_PUT_LITERAL(out, "?loss=${AUCTION_LOSS}&price=${AUCTION_PRICE}"
                         "&min_to_win=${AUCTION_MIN_TO_WIN}");
}

/* --- choice -------------------------------------------------------------------------------- */

int32_t markup_vast_protocol(const struct int_list *protocols, bool vast_3)
{
    static const int32_t newest_first[] = {13, 11, 7, 3, 2};
    if (protocols->count == 0) {
        return vast_3 ? 3 : 13;
    }
    int32_t best = 0;
    for (size_t i = 0; i < COUNT_OF(newest_first); i++) {
        for (uint32_t k = 0; k < protocols->count; k++) {
            if (protocols->items[k] != newest_first[i]) {
                continue;
            }
            if (vast_3 && newest_first[i] == 3) {
                return 3;
            }
            best = best ? best : newest_first[i];
        }
    }
    return best;
}

void markup_put(const struct markup_input *input, struct buf *out)
{
    switch (input->creative->type) {
    case CREATIVE_BANNER:
        markup_put_banner(input, out);
        return;
    case CREATIVE_VIDEO:
    case CREATIVE_AUDIO:
        markup_put_vast(input, out);
        return;
    case CREATIVE_NATIVE:
        markup_put_native(input, out);
        return;
    }
}
