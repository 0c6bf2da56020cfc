/* OpenRTB Native 1.2 responses. Pure: appends to a buffer.
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

/* The VAST document is made in place and then escaped in place: its size is known only then. */
static void put_video(const struct markup_input *input, const struct native_asset *asset,
                      const struct bidreq_asset *wanted, struct buf *out)
{
    struct markup_media media = {
        .url = asset->url,
        .mime = asset->mime,
        .w = asset->w,
        .h = asset->h,
        .duration_s = asset->duration_s,
        .protocol = markup_vast_protocol(&wanted->protocols, input->vast_3),
    };
    media.protocol = media.protocol ? media.protocol : 3;
    BUF_PUT_LITERAL(out, "\"video\":{\"vasttag\":\"");
    size_t start = out->len;
    markup_put_vast_media(input, &media, out);
    if (buf_failed(out)) {
        return;
    }
    size_t quotes = 0, length = out->len - start;
    for (size_t i = start; i < out->len; i++) {
        unsigned char c = (unsigned char)out->data[i];
        quotes += c == '"' || c == '\\' || c == '\n' || c == '\r' || c == '\t';
    }
    if (!buf_reserve(out, quotes)) {
        return;
    }
    char *from = out->data + start + length, *to = from + quotes; /* from the end, moving right */
    out->len += quotes;
    while (to > from) {
        char c = *--from;
        char plain = c == '\n' ? 'n' : c == '\r' ? 'r' : c == '\t' ? 't' : c;
        *--to = plain;
        if (c == '"' || c == '\\' || plain != c) {
            *--to = '\\';
        }
    }
    BUF_PUT_LITERAL(out, "\"}");
}

static void put_asset(const struct markup_input *input, const struct native_asset *asset,
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
        put_video(input, asset, wanted, out);
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

void markup_put_native(const struct markup_input *input, struct buf *out)
{
    const struct bidreq_native *native = input->imp->native;
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
        uint32_t filled = markup_native_fill(input->creative, wanted, &used);
        if (filled == CATALOG_NONE) {
            continue;
        }
        if (!first) {
            buf_put_char(out, ',');
        }
        first = false;
        put_asset(input, &input->creative->assets[filled], wanted, out);
    }
    BUF_PUT_LITERAL(out, "],\"link\":{\"url\":\"");
    markup_put_client_url(&input->urls, "click", out);
    bool tracker = !old && wants_event_tracker(native);
    buf_put_str(out, tracker ? STR("\"},\"eventtrackers\":[{\"event\":1,\"method\":1,\"url\":\"")
                             : STR("\"},\"imptrackers\":[\""));
    markup_put_client_url(&input->urls, "impression", out);
    buf_put_str(out, tracker ? STR("\"}]}") : STR("\"]}"));
    if (native->has_root) {
        buf_put_char(out, '}');
    }
}
