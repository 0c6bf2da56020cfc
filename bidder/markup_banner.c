/* Banner markup: an image inside a link, or the creative's own HTML, and the impression pixel.
 * Tracking urls need no escaping in an attribute: the base is checked configuration and the rest is
 * a path of url-safe bytes. */
#include "bidder/markup_internal.h"

#include "bidder/base/bug.h"

static const struct str click_mark = {"{CLICK}", 7};

void markup_put_pixel_template(struct str base, struct buf *out)
{
    BUF_PUT_LITERAL(out, "<img src=\"");
    markup_put_notice_url(base, "impression", out);
    BUF_PUT_LITERAL(out, "\" width=\"1\" height=\"1\" alt=\"\" style=\"position:absolute\">");
}

void markup_put_image_template(struct str base, struct buf *out)
{
    BUF_PUT_LITERAL(out, "<a href=\"");
    markup_put_notice_url(base, "click", out);
    BUF_PUT_LITERAL(out, "\" target=\"_blank\" rel=\"noopener\">" MARK_MEDIA "</a>");
    markup_put_pixel_template(base, out);
}

#define IMAGE_BYTES 128 /* without its url */

struct str markup_image(struct markup_work *work, const struct catalog_creative *creative)
{
    struct markup_work plain = {.input = work->input, .form = MARKUP_PLAIN};
    struct str url = markup_attribute_url_value(&plain, creative->image);
    struct buf out = markup_fixed_buf(&plain, IMAGE_BYTES + url.len);
    BUF_PUT_LITERAL(&out, "<img src=\"");
    buf_put_str(&out, url);
    BUF_PUT_LITERAL(&out, "\" width=\"");
    buf_put_i64(&out, creative->w);
    BUF_PUT_LITERAL(&out, "\" height=\"");
    buf_put_i64(&out, creative->h);
    BUF_PUT_LITERAL(&out, "\" alt=\"\" style=\"border:0;display:block\">");
    work->failed |= plain.failed;
    BUG_ON(!plain.failed && buf_failed(&out));
    return markup_form_value(work, buf_str(&out));
}

/* --- the creative's own HTML --------------------------------------------------------------- */

/* Cuts *rest at the next {CLICK}, as str_cut. */
static struct str cut_at_click(struct str *rest)
{
    struct str part = *rest;
    const char *at = memmem(rest->ptr, rest->len, click_mark.ptr, click_mark.len);
    if (!at) {
        *rest = STR_NONE;
        return part;
    }
    part.len = (size_t)(at - rest->ptr);
    *rest = (struct str){at + click_mark.len, rest->len - part.len - click_mark.len};
    return part;
}

static uint32_t count_clicks(struct str html)
{
    uint32_t count = 0;
    for (const char *at; (at = memmem(html.ptr, html.len, click_mark.ptr, click_mark.len));) {
        count++;
        html.len -= (size_t)(at - html.ptr) + click_mark.len;
        html.ptr = at + click_mark.len;
    }
    return count;
}

bool markup_cut_html(struct markup_work *work, struct str html, struct str_list *parts)
{
    parts->count = count_clicks(html) + 1;
    parts->items = markup_pieces(work, parts->count);
    for (uint32_t i = 0; !work->failed && i < parts->count; i++) {
        parts->items[i] = markup_form_value(work, cut_at_click(&html));
    }
    return !work->failed;
}

/* part, click url, part, ..., pixel */
static struct bid_text make_html(struct markup_work *work)
{
    const struct markup_templates *templates = work->input->templates;
    const struct str_list *parts = &work->input->creative->markup->html[work->form];
    const struct markup_template *click = &templates->click[work->form];
    const struct markup_template *pixel = &templates->pixel[work->form];
    uint32_t count = parts->count + (parts->count - 1) * markup_template_pieces(click) +
                     markup_template_pieces(pixel);
    struct str *pieces = markup_pieces(work, count), *at = pieces;
    if (work->failed) {
        return (struct bid_text){0};
    }
    *at++ = parts->items[0];
    for (uint32_t i = 1; i < parts->count; i++) {
        at = markup_template_fill(click, work->values, at);
        *at++ = parts->items[i];
    }
    markup_template_fill(pixel, work->values, at);
    return (struct bid_text){pieces, count};
}

struct bid_text markup_make_banner(struct markup_work *work)
{
    const struct catalog_creative *creative = work->input->creative;
    BUG_ON(!creative->markup);
    if (creative->html.len) {
        return make_html(work);
    }
    work->values[HOLE_MEDIA] = creative->markup->media[work->form];
    return markup_fill(work, &work->input->templates->image[work->form]);
}
