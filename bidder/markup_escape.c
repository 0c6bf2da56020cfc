/* Texts made harmless for the place they stand in.
 *
 *   XML text, attribute   < > & " '      and characters XML has no way to write
 *   HTML attribute        the same five; the result is ASCII-safe in single and double quotes
 *   url inside any        percent-encoded first, then escaped for its place
 *
 * Nearly all ids and urls need nothing: they are looked through sixteen bytes at a time and stand
 * where they are. Only the others are copied, into as much arena as the worst text would take. */
#include "bidder/markup_internal.h"

#include "bidder/base/scan.h"

#define XML_GROWTH 6 /* &quot; */
#define URL_GROWTH 3 /* %20 */
#define AMP_GROWTH 5 /* &amp; */

struct buf markup_fixed_buf(struct markup_work *work, size_t bytes)
{
    struct buf buf = {.data = arena_alloc(work->input->arena, bytes), .cap = bytes, .limit = bytes};
    if (!buf.data) {
        work->failed = true;
        buf = (struct buf){.failed = true};
    }
    return buf;
}

struct str markup_form_value(struct markup_work *work, struct str text)
{
    if (work->form == MARKUP_PLAIN || !text.len) {
        return text;
    }
    size_t size = text.len; /* to the byte: catalogs hold many of these */
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.ptr[i];
        size += c < 0x20 ? 5 : c == '"' || c == '\\';
    }
    if (size == text.len) {
        return text;
    }
    struct buf json = markup_fixed_buf(work, size);
    buf_put_json_escaped(&json, text);
    return buf_str(&json);
}

/* --- XML ----------------------------------------------------------------------------------- */

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

static void put_xml_escaped(struct buf *out, struct str text)
{
    size_t from = 0, at = 0;
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

struct str markup_xml_value(struct markup_work *work, struct str text)
{
    if (!text.len || scan_markup(text.ptr, text.ptr + text.len) == text.ptr + text.len) {
        return text;
    }
    struct buf xml = markup_fixed_buf(work, XML_GROWTH * text.len);
    put_xml_escaped(&xml, text);
    return markup_form_value(work, buf_str(&xml));
}

/* --- urls ---------------------------------------------------------------------------------- */

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

/* No quote, backslash or control is left in it: a JSON string as it is. */
struct str markup_url_value(struct markup_work *work, struct str url)
{
    if (!url.len || scan_url(url.ptr, url.ptr + url.len) == url.ptr + url.len) {
        return url;
    }
    struct buf encoded = markup_fixed_buf(work, URL_GROWTH * url.len);
    markup_put_url(&encoded, url);
    return buf_str(&encoded);
}

struct str markup_attribute_url_value(struct markup_work *work, struct str url)
{
    struct str rest = markup_url_value(work, url);
    if (!rest.len || !memchr(rest.ptr, '&', rest.len)) {
        return rest;
    }
    struct buf escaped = markup_fixed_buf(work, AMP_GROWTH * rest.len);
    for (const char *amp; (amp = memchr(rest.ptr, '&', rest.len)) != NULL;) {
        size_t before = (size_t)(amp - rest.ptr);
        buf_put(&escaped, rest.ptr, before);
        BUF_PUT_LITERAL(&escaped, "&amp;");
        rest = (struct str){amp + 1, rest.len - before - 1};
    }
    buf_put_str(&escaped, rest);
    return buf_str(&escaped);
}
