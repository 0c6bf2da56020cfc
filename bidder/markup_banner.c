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
    BUF_PUT_LITERAL(out, "\" target=\"_blank\" rel=\"noopener\"><img src=\"" MARK_URL
                         "\" width=\"" MARK_W "\" height=\"" MARK_H
                         "\" alt=\"\" style=\"border:0;display:block\"></a>");
    markup_put_pixel_template(base, out);
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

bool markup_prepare(struct catalog_creative *creative, struct arena *arena)
{
    if (creative->type != CREATIVE_BANNER || !creative->html.len) {
        return true;
    }
    uint32_t count = count_clicks(creative->html) + 1;
    struct str *plain = arena_calloc(arena, count, sizeof(*plain));
    struct str *json = arena_calloc(arena, count, sizeof(*json));
    struct buf escaped;
    buf_init(&escaped, 6 * creative->html.len);
    struct str rest = creative->html;
    bool ok = plain && json;
    for (uint32_t i = 0; ok && i < count; i++) {
        plain[i] = cut_at_click(&rest);
        buf_reset(&escaped);
        buf_put_json_escaped(&escaped, plain[i]);
        json[i] = buf_failed(&escaped) ? STR_NONE : arena_strdup(arena, buf_str(&escaped));
        ok = json[i].ptr != NULL;
    }
    buf_deinit(&escaped);
    creative->html_parts[MARKUP_PLAIN] = (struct str_list){plain, count};
    creative->html_parts[MARKUP_JSON] = (struct str_list){json, count};
    return ok;
}

/* part, click url, part, ..., pixel */
static struct bid_text make_html(struct markup_work *work)
{
    const struct markup_templates *templates = work->input->templates;
    const struct str_list *parts = &work->input->creative->html_parts[work->form];
    const struct markup_template *click = &templates->click[work->form];
    const struct markup_template *pixel = &templates->pixel[work->form];
    BUG_ON(!parts->count); /* markup_prepare was forgotten */
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
    if (creative->html.len) {
        return make_html(work);
    }
    work->values[HOLE_URL] = markup_attribute_url_value(work, creative->image);
    work->values[HOLE_W] = markup_number_value(work, creative->w);
    work->values[HOLE_H] = markup_number_value(work, creative->h);
    return markup_fill(work, &work->input->templates->image[work->form]);
}
