/* The templates of a worker, notice urls, and the choice of the kind of markup. */
#include "bidder/markup.h"

#include <stdlib.h>

#include "bidder/base/bug.h"
#include "bidder/markup_internal.h"

#define TEMPLATE_LIMIT_BYTES (64 * 1024) /* of one; the base is at most a few hundred bytes */
#define ARENA_BLOCK_BYTES    (128 * 1024)
#define ARENA_LIMIT_BYTES    (8 * 1024 * 1024)

/* --- templates ----------------------------------------------------------------------------- */

void markup_put_notice_url(struct str base, const char *event, struct buf *out)
{
    markup_put_url(out, base);
    BUF_PUT_LITERAL(out, "/notice/");
    buf_put_str(out, str_from(event));
    BUF_PUT_LITERAL(out, "/" MARK_TOKEN);
}

/* Compiles what is in text and empties it. */
static bool compile(struct markup_templates *templates, struct buf *text,
                    struct markup_template forms[MARKUP_FORM_COUNT])
{
    bool ok = markup_template_compile(text, &templates->arena, forms);
    buf_reset(text);
    return ok;
}

static bool compile_all(struct markup_templates *templates, struct str base, struct buf *text)
{
    bool ok = true;
    for (unsigned version = 0; version < VAST_VERSION_COUNT; version++) {
        for (int audio = 0; audio < 2; audio++) {
            markup_put_vast_template(base, version, audio, text);
            ok = ok && compile(templates, text, templates->vast[version][audio]);
        }
    }
    markup_put_image_template(base, text);
    ok = ok && compile(templates, text, templates->image);
    markup_put_pixel_template(base, text);
    ok = ok && compile(templates, text, templates->pixel);
    markup_put_notice_url(base, "click", text);
    ok = ok && compile(templates, text, templates->click);
    markup_put_notice_url(base, "impression", text);
    ok = ok && compile(templates, text, templates->impression);
    markup_put_notice_url(base, "win", text);
    BUF_PUT_LITERAL(text, "?price=${AUCTION_PRICE}&cur=${AUCTION_CURRENCY}");
    ok = ok && compile(templates, text, templates->win);
    markup_put_notice_url(base, "bill", text);
    BUF_PUT_LITERAL(text, "?price=${AUCTION_PRICE}&cur=${AUCTION_CURRENCY}");
    ok = ok && compile(templates, text, templates->bill);
    markup_put_notice_url(base, "loss", text);
    BUF_PUT_LITERAL(text, "?loss=${AUCTION_LOSS}&price=${AUCTION_PRICE}"
                          "&min_to_win=${AUCTION_MIN_TO_WIN}");
    ok = ok && compile(templates, text, templates->loss);
    return ok;
}

struct markup_templates *markup_templates_create(struct str base)
{
    struct markup_templates *templates = calloc(1, sizeof(*templates));
    if (!templates || !arena_init(&templates->arena, ARENA_BLOCK_BYTES, ARENA_LIMIT_BYTES)) {
        free(templates);
        return NULL;
    }
    struct buf text;
    buf_init(&text, TEMPLATE_LIMIT_BYTES);
    if (!compile_all(templates, base, &text)) {
        markup_templates_destroy(&templates);
    }
    buf_deinit(&text);
    return templates;
}

void markup_templates_destroy(struct markup_templates **templates)
{
    if (*templates) {
        arena_deinit(&(*templates)->arena);
        free(*templates);
        *templates = NULL;
    }
}

/* --- creatives ----------------------------------------------------------------------------- */

static bool prepare_form(struct markup_work *work, const struct catalog_creative *creative,
                         struct creative_markup *made)
{
    enum markup_form form = work->form;
    bool audio = creative->type == CREATIVE_AUDIO;
    struct markup_media media = {
        .url = creative->url,
        .mime = creative->mime,
        .w = audio ? 0 : creative->w,
        .h = audio ? 0 : creative->h,
        .bitrate_kbps = creative->bitrate_kbps,
        .audio = audio,
    };
    made->id[form] = markup_xml_value(work, creative->id);
    made->ad_id[form] =
        creative->adid.len ? markup_xml_value(work, creative->adid) : made->id[form];
    switch (creative->type) {
    case CREATIVE_BANNER:
        if (creative->html.len) {
            return markup_cut_html(work, creative->html, &made->html[form]);
        }
        made->media[form] = markup_image(work, creative);
        break;
    case CREATIVE_VIDEO:
    case CREATIVE_AUDIO:
        made->duration = markup_duration(work, creative->duration_s);
        made->media[form] = markup_media_file(work, &media);
        break;
    case CREATIVE_NATIVE:
        break; /* nothing of it is the same for every request */
    }
    return !work->failed;
}

bool markup_prepare(struct catalog_creative *creative, struct arena *arena)
{
    struct creative_markup *made = arena_calloc(arena, 1, sizeof(*made));
    struct markup_input input = {.arena = arena};
    struct markup_work plain = {.input = &input, .form = MARKUP_PLAIN};
    struct markup_work json = {.input = &input, .form = MARKUP_JSON};
    creative->markup = made;
    return made && prepare_form(&plain, creative, made) && prepare_form(&json, creative, made);
}

/* --- filling ------------------------------------------------------------------------------- */

struct str *markup_pieces(struct markup_work *work, uint32_t count)
{
    struct str *pieces = arena_alloc(work->input->arena, count * sizeof(*pieces));
    work->failed |= !pieces;
    return pieces;
}

struct bid_text markup_fill(struct markup_work *work, const struct markup_template *template)
{
    uint32_t count = markup_template_pieces(template);
    struct str *pieces = markup_pieces(work, count);
    if (work->failed) {
        return (struct bid_text){0};
    }
    markup_template_fill(template, work->values, pieces);
    return (struct bid_text){pieces, count};
}

static struct bid_text make_markup(struct markup_work *work)
{
    switch (work->input->creative->type) {
    case CREATIVE_BANNER:
        return markup_make_banner(work);
    case CREATIVE_VIDEO:
    case CREATIVE_AUDIO:
        return markup_make_vast(work);
    case CREATIVE_NATIVE:
        return markup_make_native(work);
    }
    BUG_ON(true);
}

bool markup_make(const struct markup_input *input, struct markup_texts *texts)
{
    const struct markup_templates *templates = input->templates;
    struct markup_work work = {.input = input, .form = input->form};
    work.values[HOLE_TOKEN] = input->client_token;
    texts->adm = make_markup(&work);
    work.values[HOLE_TOKEN] = input->exchange_token;
    texts->nurl = markup_fill(&work, &templates->win[work.form]);
    texts->burl = markup_fill(&work, &templates->bill[work.form]);
    texts->lurl = markup_fill(&work, &templates->loss[work.form]);
    return !work.failed;
}
