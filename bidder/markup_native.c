/* OpenRTB Native 1.2 responses. What is in them hangs on the request's assets, so there is no template
 * of the whole: it is written into the scratch buffer, and goes from there into the arena.
 *
 * Assets carry the ids of the request; optional ones we cannot fill are left out. The impression
 * goes into eventtrackers when the request asks for an image tracker of event 1, else into
 * imptrackers, which older players understand. */
#include "bidder/base/bug.h"
#include "bidder/markup_internal.h"
#include "bidder/select_internal.h"

static void put_image(const struct native_asset *asset, struct buf *out)
{
    BUF_PUT_LITERAL(out, "\"img\":{\"url\":\"");
    markup_put_url(out, asset->url); /* no quote or backslash is left: a JSON string as it is */
    buf_put_char(out, '"');
    if (asset->w > 0 && asset->h > 0) {
        BUF_PUT_LITERAL(out, ",\"w\":");
        buf_put_i64(out, asset->w);
        BUF_PUT_LITERAL(out, ",\"h\":");
        buf_put_i64(out, asset->h);
    }
    buf_put_char(out, '}');
}

/* start: the members up to the text's opening quote. */
static void put_text(struct str start, struct str text, struct buf *out)
{
    buf_put_str(out, start);
    buf_put_json_escaped(out, text);
    BUF_PUT_LITERAL(out, "\"}");
}

static void put_pieces(const struct markup_template *template, const struct str values[HOLE_COUNT],
                       struct buf *out)
{
    buf_put_str(out, template->literals[0]);
    for (uint32_t i = 0; i < template->hole_count; i++) {
        buf_put_str(out, values[template->holes[i]]);
        buf_put_str(out, template->literals[i + 1]);
    }
}

/* A VAST document in a JSON string, whatever the form of the answer. */
static void put_video(struct markup_work *work, const struct native_asset *asset,
                      const struct bidreq_asset *wanted, struct buf *out)
{
    struct markup_media media = {
        .url = asset->url,
        .mime = asset->mime,
        .w = asset->w,
        .h = asset->h,
    };
    int32_t protocol = markup_vast_protocol(&wanted->protocols, work->input->vast_3);
    struct markup_work video = *work;
    video.form = MARKUP_JSON;
    const struct markup_template *template = markup_vast(&video, protocol, false);
    video.values[HOLE_DURATION] = markup_duration(&video, asset->duration_s);
    video.values[HOLE_MEDIA] = markup_media_file(&video, &media);
    work->failed |= video.failed;
    BUF_PUT_LITERAL(out, "\"video\":{\"vasttag\":\"");
    put_pieces(template, video.values, out);
    BUF_PUT_LITERAL(out, "\"}");
}

static void put_asset(struct markup_work *work, const struct native_asset *asset,
                      const struct bidreq_asset *wanted, struct buf *out)
{
    BUF_PUT_LITERAL(out, "{\"id\":");
    buf_put_i64(out, wanted->id);
    buf_put_char(out, ',');
    switch (asset->kind) {
    case BIDREQ_ASSET_TITLE:
        put_text(STR("\"title\":{\"text\":\""), asset->text, out);
        break;
    case BIDREQ_ASSET_DATA:
        put_text(STR("\"data\":{\"value\":\""), asset->text, out);
        break;
    case BIDREQ_ASSET_IMAGE:
        put_image(asset, out);
        break;
    case BIDREQ_ASSET_VIDEO:
        put_video(work, asset, wanted, out);
        break;
    case BIDREQ_ASSET_UNKNOWN:
        BUG_ON(true); /* never fills anything */
    }
    buf_put_char(out, '}');
}

static bool wants_event_tracker(const struct bidreq_native *native)
{
    for (uint32_t i = 0; i < native->eventtrackers.count; i++) {
        const struct bidreq_eventtracker *tracker = &native->eventtrackers.items[i];
        if (tracker->event == 1 && select_ints_have(&tracker->methods, 1)) {
            return true;
        }
    }
    return false;
}

static void put_native(struct markup_work *work, struct buf *out)
{
    const struct markup_templates *templates = work->input->templates;
    const struct catalog_creative *creative = work->input->creative;
    const struct bidreq_native *native = work->input->imp->native;
    BUG_ON(!native);
    if (native->has_root) {
        BUF_PUT_LITERAL(out, "{\"native\":");
    }
    /* We answer the version asked for up to the newest we know. */
    bool old = str_eq(native->ver, STR("1.0")) || str_eq(native->ver, STR("1")) ||
               str_eq(native->ver, STR("1.1"));
    BUF_PUT_LITERAL(out, "{\"ver\":\"");
    buf_put_str(out, old ? native->ver : STR("1.2"));
    BUF_PUT_LITERAL(out, "\",\"assets\":[");
    uint64_t used = 0;
    bool first = true;
    for (uint32_t i = 0; i < native->assets.count; i++) {
        const struct bidreq_asset *wanted = &native->assets.items[i];
        uint32_t filled = markup_native_fill(creative, wanted, &used);
        if (filled == CATALOG_NONE) {
            continue;
        }
        if (!first) {
            buf_put_char(out, ',');
        }
        first = false;
        put_asset(work, &creative->assets[filled], wanted, out);
    }
    BUF_PUT_LITERAL(out, "],\"link\":{\"url\":\"");
    put_pieces(&templates->click[MARKUP_PLAIN], work->values, out);
    bool tracker = !old && wants_event_tracker(native);
    buf_put_str(out, tracker ? STR("\"},\"eventtrackers\":[{\"event\":1,\"method\":1,\"url\":\"")
                             : STR("\"},\"imptrackers\":[\""));
    put_pieces(&templates->impression[MARKUP_PLAIN], work->values, out);
    buf_put_str(out, tracker ? STR("\"}]}") : STR("\"]}"));
    if (native->has_root) {
        buf_put_char(out, '}');
    }
}

struct bid_text markup_make_native(struct markup_work *work)
{
    struct buf *written = work->input->scratch;
    buf_reset(written);
    put_native(work, written);
    /* Twice the size will do: in JSON only quotes and backslashes are left to escape. */
    size_t size = written->len * (work->form == MARKUP_JSON ? 2 : 1);
    char *bytes = arena_alloc(work->input->arena, size);
    struct str *piece = markup_pieces(work, 1);
    work->failed |= !bytes || buf_failed(written);
    if (work->failed) {
        return (struct bid_text){0};
    }
    struct buf out = {.data = bytes, .cap = size, .limit = size};
    work->form == MARKUP_JSON ? buf_put_json_escaped(&out, buf_str(written))
                              : buf_put_str(&out, buf_str(written));
    BUG_ON(buf_failed(&out));
    *piece = buf_str(&out);
    return (struct bid_text){piece, 1};
}
