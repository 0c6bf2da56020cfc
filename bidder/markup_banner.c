/* Banner markup: an image inside a link, or the creative's own HTML, and the impression pixel.
 * Pure: appends to a buffer. Tracking urls need no escaping in an attribute: the base is checked
 * configuration and the rest is a path of url-safe bytes. */
#include "bidder/markup_internal.h"

/* A url of the catalog as an HTML attribute's value. */
static void put_escaped_url(struct str url, struct buf *out)
{
    size_t from = 0;
    if (url.len == 0) {
        return; /* ptr may be NULL */
    }
    for (size_t i = 0; i < url.len; i++) { /* & only: markup_put_url encodes the others */
        if (url.ptr[i] == '&') {
            markup_put_url(out, (struct str){url.ptr + from, i - from});
            BUF_PUT_LITERAL(out, "&amp;");
            from = i + 1;
        }
    }
    markup_put_url(out, (struct str){url.ptr + from, url.len - from});
}

static void put_image(const struct markup_input *input, struct buf *out)
{
    const struct catalog_creative *creative = input->creative;
    BUF_PUT_LITERAL(out, "<a href=\"");
    markup_put_client_url(&input->urls, "click", out);
    BUF_PUT_LITERAL(out, "\" target=\"_blank\" rel=\"noopener\"><img src=\"");
    put_escaped_url(creative->image, out);
    BUF_PUT_LITERAL(out, "\" width=\"");
    buf_put_i64(out, creative->w);
    BUF_PUT_LITERAL(out, "\" height=\"");
    buf_put_i64(out, creative->h);
    BUF_PUT_LITERAL(out, "\" alt=\"\" style=\"border:0;display:block\"></a>");
}

/* The creative's HTML with every {CLICK} replaced. */
static void put_html(const struct markup_input *input, struct buf *out)
{
    static const struct str mark = {"{CLICK}", 7};
    struct str html = input->creative->html;
    size_t from = 0, at = 0;
    while (at + mark.len <= html.len) {
        if (html.ptr[at] != '{' || memcmp(html.ptr + at, mark.ptr, mark.len) != 0) {
            at++;
            continue;
        }
        buf_put(out, html.ptr + from, at - from);
        markup_put_client_url(&input->urls, "click", out);
        at += mark.len;
        from = at;
    }
    buf_put(out, html.ptr + from, html.len - from);
}

void markup_put_banner(const struct markup_input *input, struct buf *out)
{
    if (input->creative->html.len) {
        put_html(input, out);
    } else {
        put_image(input, out);
    }
    BUF_PUT_LITERAL(out, "<img src=\"");
    markup_put_client_url(&input->urls, "impression", out);
    BUF_PUT_LITERAL(out, "\" width=\"1\" height=\"1\" alt=\"\" style=\"position:absolute\">");
}
