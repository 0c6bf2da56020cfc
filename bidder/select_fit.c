/* Does a creative run on an impression? One check per format; what the exchange does not list, it
 * does not support; a list it does not send says nothing. Pure.
 *
 * Sizes: a banner must match exactly or by a flexible ratio. Video scales in the player, so its
 * size is no criterion; its bitrate is, when both sides say one. */
#include "bidder/markup.h"
#include "bidder/select_internal.h"

#include "bidder/base/bug.h"

/* --- mime types ---------------------------------------------------------------------------- */

static struct str mime_essence(struct str mime)
{
    mime = str_trim(str_cut(&mime, ';'));
    return str_eq_nocase(mime, STR("image/jpg")) ? STR("image/jpeg") : mime;
}

bool select_mimes_allow(const struct str_list *mimes, struct str mime)
{
    if (mimes->count == 0) {
        return true;
    }
    for (uint32_t i = 0; i < mimes->count; i++) { /* nearly always one is just that */
        if (str_eq(mimes->items[i], mime)) {
            return true;
        }
    }
    mime = mime_essence(mime);
    for (uint32_t i = 0; i < mimes->count; i++) {
        struct str listed = mime_essence(mimes->items[i]);
        if (str_eq_nocase(listed, mime) || str_eq(listed, STR("*/*"))) {
            return true;
        }
        if (listed.len > 2 && listed.ptr[listed.len - 1] == '*' && mime.len >= listed.len &&
            str_eq_nocase((struct str){mime.ptr, listed.len - 1},
                          (struct str){listed.ptr, listed.len - 1})) {
            return true;
        }
    }
    return false;
}

struct str select_image_mime(struct str url)
{
    static const struct {
        struct str suffix, mime;
    } known[] = {
        {{".png", 4}, {"image/png", 9}},    {{".jpg", 4}, {"image/jpeg", 10}},
        {{".jpeg", 5}, {"image/jpeg", 10}}, {{".gif", 4}, {"image/gif", 9}},
        {{".webp", 5}, {"image/webp", 10}}, {{".svg", 4}, {"image/svg+xml", 13}},
        {{".avif", 5}, {"image/avif", 10}},
    };
    url = str_cut(&url, '?');
    url = str_cut(&url, '#');
    for (size_t i = 0; i < COUNT_OF(known); i++) {
        struct str suffix = known[i].suffix;
        if (url.len > suffix.len &&
            str_eq_nocase((struct str){url.ptr + url.len - suffix.len, suffix.len}, suffix)) {
            return known[i].mime;
        }
    }
    return STR_NONE;
}

/* --- shared checks ------------------------------------------------------------------------- */

static enum select_miss apis_and_attributes(const struct catalog_creative *creative,
                                            const struct int_list *api,
                                            const struct int_list *battr, struct buf *detail)
{
    for (uint32_t i = 0; i < creative->apis.count; i++) {
        if (!select_ints_have(api, creative->apis.items[i])) {
            SELECT_DETAIL(detail, "api %d is not supported", creative->apis.items[i]);
            return SELECT_CREATIVE;
        }
    }
    for (uint32_t i = 0; i < creative->attr.count; i++) {
        if (select_ints_have(battr, creative->attr.items[i])) {
            SELECT_DETAIL(detail, "attribute %d is in battr", creative->attr.items[i]);
            return SELECT_BATTR;
        }
    }
    return SELECT_OK;
}

/* wlang "zh" covers "zh-CN". A creative of unknown language is not on an allow list. */
static bool language_allowed(const struct str_list *wlang, struct str language)
{
    for (uint32_t i = 0; i < wlang->count; i++) {
        struct str listed = str_trim(wlang->items[i]);
        if (listed.len && language.len >= listed.len &&
            str_eq_nocase((struct str){language.ptr, listed.len}, listed) &&
            (language.len == listed.len || language.ptr[listed.len] == '-' ||
             language.ptr[listed.len] == '_')) {
            return true;
        }
    }
    return wlang->count == 0;
}

/* --- banner -------------------------------------------------------------------------------- */

static bool size_fits(const struct bidreq_size *size, int32_t w, int32_t h)
{
    if (size->w > 0 && size->h > 0) {
        return size->w == w && size->h == h;
    }
    return size->wratio > 0 && size->hratio > 0 && w > 0 && h > 0 &&
           (int64_t)w * size->hratio == (int64_t)h * size->wratio && w >= size->wmin;
}

bool select_banner_size_fits(const struct bidreq_banner *banner, int32_t w, int32_t h)
{
    bool said = false;
    for (uint32_t i = 0; i < banner->format.count; i++) {
        const struct bidreq_size *size = &banner->format.items[i];
        if (size_fits(size, w, h)) {
            return true;
        }
        said |= (size->w > 0 && size->h > 0) || (size->wratio > 0 && size->hratio > 0);
    }
    if (banner->w > 0 && banner->h > 0) {
        return banner->w == w && banner->h == h;
    }
    return !said;
}

static bool contains(struct str text, struct str part)
{
    for (size_t i = 0; i + part.len <= text.len; i++) {
        if (str_eq_nocase((struct str){text.ptr + i, part.len}, part)) {
            return true;
        }
    }
    return false;
}

static bool banner_mime_allowed(const struct bidreq_banner *banner,
                                const struct catalog_creative *creative)
{
    if (banner->mimes.count == 0 || select_mimes_allow(&banner->mimes, STR("text/html"))) {
        return true;
    }
    if (creative->html.len) {
        return select_mimes_allow(&banner->mimes, STR("application/javascript")) ||
               select_mimes_allow(&banner->mimes, STR("text/javascript"));
    }
    struct str mime = select_image_mime(creative->image);
    return mime.len && select_mimes_allow(&banner->mimes, mime);
}

/* btype: 1 text, 2 image with a link, 3 script, 4 iframe. */
static bool banner_type_blocked(const struct bidreq_banner *banner,
                                const struct catalog_creative *creative)
{
    if (banner->btype.count == 0) {
        return false;
    }
    if (creative->html.len == 0) {
        return select_ints_have(&banner->btype, 2);
    }
    return select_ints_have(&banner->btype, 3) ||
           (select_ints_have(&banner->btype, 4) && contains(creative->html, STR("<iframe")));
}

static enum select_miss banner_fits(const struct bidreq_banner *banner,
                                    const struct catalog_creative *creative, struct buf *detail)
{
    if (!banner) {
        SELECT_DETAIL(detail, "no banner is offered");
        return SELECT_CREATIVE;
    }
    if (!select_banner_size_fits(banner, creative->w, creative->h)) {
        SELECT_DETAIL(detail, "size %dx%d is not taken", creative->w, creative->h);
        return SELECT_CREATIVE;
    }
    if (!banner_mime_allowed(banner, creative)) {
        SELECT_DETAIL(detail, "its MIME type is not in banner.mimes");
        return SELECT_CREATIVE;
    }
    if (banner_type_blocked(banner, creative)) {
        SELECT_DETAIL(detail, "its banner type is in btype");
        return SELECT_CREATIVE;
    }
    return apis_and_attributes(creative, &banner->api, &banner->battr, detail);
}

/* --- video and audio ----------------------------------------------------------------------- */

bool select_mime_is_streaming(struct str mime)
{
    mime = mime_essence(mime);
    return str_eq_nocase(mime, STR("application/x-mpegurl")) ||
           str_eq_nocase(mime, STR("application/vnd.apple.mpegurl")) ||
           str_eq_nocase(mime, STR("application/dash+xml"));
}

static bool duration_fits(const struct bidreq_av *av, int32_t duration_s, struct buf *detail)
{
    if (av->poddur > 0 && duration_s > av->poddur) {
        SELECT_DETAIL(detail, "%d s does not fit a pod of %d s", duration_s, av->poddur);
        return false;
    }
    if (av->rqddurs.count) {
        if (!select_ints_have(&av->rqddurs, duration_s)) {
            SELECT_DETAIL(detail, "%d s is not in rqddurs", duration_s);
            return false;
        }
        return true;
    }
    if (duration_s < av->minduration || duration_s > av->maxduration) {
        SELECT_DETAIL(detail, "%d s is not in %d..%d s", duration_s, av->minduration,
                      av->maxduration);
        return false;
    }
    return true;
}

static enum select_miss av_fits(const struct bidreq_av *av, const struct catalog_creative *creative,
                                struct buf *detail)
{
    if (!av) {
        SELECT_DETAIL(detail, "no %s is offered",
                      creative->type == CREATIVE_AUDIO ? "audio" : "video");
        return SELECT_CREATIVE;
    }
    if (!select_mimes_allow(&av->mimes, creative->mime)) {
        SELECT_DETAIL(detail, "%.*s is not in mimes", STR_ARG(creative->mime));
        return SELECT_CREATIVE;
    }
    if (!duration_fits(av, creative->duration_s, detail)) {
        return SELECT_CREATIVE;
    }
    if (markup_vast_protocol(&av->protocols, false) == 0) {
        SELECT_DETAIL(detail, "none of the protocols is an inline VAST");
        return SELECT_CREATIVE;
    }
    if (av->linearity == 2) {
        SELECT_DETAIL(detail, "only non-linear ads are taken");
        return SELECT_CREATIVE;
    }
    if (creative->bitrate_kbps > 0 &&
        (creative->bitrate_kbps < av->minbitrate || creative->bitrate_kbps > av->maxbitrate)) {
        SELECT_DETAIL(detail, "%d kbit/s is not in %d..%d", creative->bitrate_kbps, av->minbitrate,
                      av->maxbitrate);
        return SELECT_CREATIVE;
    }
    if (av->delivery.count) { /* 1 streaming, 2 progressive, 3 download */
        bool streaming = select_mime_is_streaming(creative->mime);
        if (!(streaming
                  ? select_ints_have(&av->delivery, 1)
                  : select_ints_have(&av->delivery, 2) || select_ints_have(&av->delivery, 3))) {
            SELECT_DETAIL(detail, "%s delivery is not supported",
                          streaming ? "streaming" : "progressive");
            return SELECT_CREATIVE;
        }
    }
    return apis_and_attributes(creative, &av->api, &av->battr, detail);
}

/* --- native -------------------------------------------------------------------------------- */

static uint32_t characters(struct str text)
{
    uint32_t count = 0;
    for (size_t i = 0; i < text.len; i++) {
        count += ((unsigned char)text.ptr[i] & 0xc0) != 0x80;
    }
    return count;
}

/* One side: wmin (rescaled by the client) or the exact w. */
static bool side_fits(int32_t have, int32_t exact, int32_t min)
{
    if (min > 0) {
        return have >= min;
    }
    return exact <= 0 || have == exact;
}

static bool asset_fills(const struct native_asset *have, const struct bidreq_asset *want)
{
    if (have->kind != want->kind) {
        return false;
    }
    switch (want->kind) {
    case BIDREQ_ASSET_TITLE:
        return have->text.len && (want->len <= 0 || characters(have->text) <= (uint32_t)want->len);
    case BIDREQ_ASSET_DATA:
        return have->text.len && have->type == want->type &&
               (want->len <= 0 || characters(have->text) <= (uint32_t)want->len);
    case BIDREQ_ASSET_IMAGE:
        return have->url.len && (want->type <= 0 || have->type == want->type) &&
               side_fits(have->w, want->w, want->wmin) && side_fits(have->h, want->h, want->hmin) &&
               select_mimes_allow(&want->mimes,
                                  have->mime.len ? have->mime : select_image_mime(have->url));
    case BIDREQ_ASSET_VIDEO:
        return have->url.len && select_mimes_allow(&want->mimes, have->mime) &&
               have->duration_s >= want->minduration &&
               (want->maxduration <= 0 || have->duration_s <= want->maxduration) &&
               markup_vast_protocol(&want->protocols, false) != 0;
    case BIDREQ_ASSET_UNKNOWN:
        return false;
    }
    return false;
}

uint32_t markup_native_fill(const struct catalog_creative *creative,
                            const struct bidreq_asset *asset, uint64_t *used)
{
    uint32_t again = CATALOG_NONE;
    for (uint32_t i = 0; i < creative->asset_count; i++) {
        if (!asset_fills(&creative->assets[i], asset)) {
            continue;
        }
        if (i >= 64 || !(*used >> i & 1)) {
            *used |= i < 64 ? UINT64_C(1) << i : 0;
            return i;
        }
        again = again == CATALOG_NONE ? i : again;
    }
    return again;
}

static enum select_miss native_fits(const struct bidreq_native *native,
                                    const struct catalog_creative *creative, struct buf *detail)
{
    if (!native || native->malformed || native->assets.count == 0) {
        SELECT_DETAIL(detail, native ? "the native request is unusable" : "no native is offered");
        return SELECT_CREATIVE;
    }
    uint64_t used = 0;
    uint32_t filled = 0;
    for (uint32_t i = 0; i < native->assets.count; i++) {
        const struct bidreq_asset *asset = &native->assets.items[i];
        if (markup_native_fill(creative, asset, &used) != CATALOG_NONE) {
            filled++;
        } else if (asset->required) {
            SELECT_DETAIL(detail, "the required asset %d cannot be filled", asset->id);
            return SELECT_CREATIVE;
        }
    }
    if (filled == 0) {
        SELECT_DETAIL(detail, "none of the assets can be filled");
        return SELECT_CREATIVE;
    }
    return apis_and_attributes(creative, &native->api, &native->battr, detail);
}

/* --- all of it ----------------------------------------------------------------------------- */

static enum select_miss format_fits(const struct bidreq_imp *imp,
                                    const struct catalog_creative *creative, struct buf *detail)
{
    switch (creative->type) {
    case CREATIVE_BANNER:
        return banner_fits(imp->banner, creative, detail);
    case CREATIVE_VIDEO:
        return av_fits(imp->video, creative, detail);
    case CREATIVE_AUDIO:
        return av_fits(imp->audio, creative, detail);
    case CREATIVE_NATIVE:
        return native_fits(imp->native, creative, detail);
    }
    return SELECT_CREATIVE;
}

enum select_miss select_creative_fits(const struct catalog *catalog,
                                      const struct bid_request *request,
                                      const struct bidreq_imp *imp,
                                      const struct catalog_creative *creative, struct buf *detail)
{
    (void)catalog;
    if (!language_allowed(&request->wlang, creative->language)) {
        SELECT_DETAIL(detail, "its language \"%.*s\" is not in wlang", STR_ARG(creative->language));
        return SELECT_LANGUAGE;
    }
    enum select_miss miss = format_fits(imp, creative, detail);
    if (miss) {
        return miss;
    }
    if (imp->secure != 0 && !creative->secure) {
        SELECT_DETAIL(detail, "https is needed, it has an http url");
        return SELECT_SECURE;
    }
    return SELECT_OK;
}
