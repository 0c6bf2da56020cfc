/* Values and imps out of protobuf messages. See openrtb_pb_value.h. */
#include "proto/openrtb_pb_value.h"

#include "bidder/base/utf8.h"

/* Rounded half away from zero and saturated; false for NaN. A double is what the wire has: this is
 * the one place where a price is one. */
bool pb_micros(double value, int64_t *micros)
{
    if (value != value) {
        return false;
    }
    if (value >= 9.2e12 || value <= -9.2e12) {
        *micros = value > 0 ? INT64_MAX : INT64_MIN;
        return true;
    }
    double scaled = value * 1e6;
    *micros = (int64_t)(scaled < 0 ? scaled - 0.5 : scaled + 0.5);
    return true;
}

struct str pb_text(struct pb *pb, const char *c_string)
{
    struct str text = str_from(c_string);
    if (text.len > BIDREQ_MAX_TEXT) {
        pb->too_large = true;
        return STR_NONE;
    }
    return utf8_valid(text) ? text : STR_NONE;
}

void pb_get_text(struct pb *pb, const char *c_string, struct str *to)
{
    struct str text = pb_text(pb, c_string);
    if (text.len) {
        *to = text;
    }
}

void *pb_push(struct pb *pb, void *list, size_t size, uint32_t max)
{
    void *item = NULL;
    enum openrtb_push pushed = openrtb_push(pb->arena, list, size, max, &item);
    pb->too_large |= pushed == OPENRTB_FULL;
    pb->no_memory |= pushed == OPENRTB_NO_MEMORY;
    return pushed == OPENRTB_PUSHED ? item : NULL;
}

void pb_push_text(struct pb *pb, struct str_list *list, struct str text)
{
    struct str *item = text.len ? pb_push(pb, list, sizeof(*item), BIDREQ_MAX_LIST) : NULL;
    if (item) {
        *item = text;
    }
}

void pb_get_texts(struct pb *pb, char *const *texts, size_t count, struct str_list *list)
{
    for (size_t i = 0; i < count && !pb->too_large; i++) {
        pb_push_text(pb, list, pb_text(pb, texts[i]));
    }
}

void pb_get_keywords(struct pb *pb, const char *c_string, struct str_list *list)
{
    struct str text = pb_text(pb, c_string);
    while (text.len) {
        pb_push_text(pb, list, str_trim(str_cut(&text, ',')));
    }
}

void pb_get_kwarray(struct pb *pb, char *const *texts, size_t count, struct str_list *list)
{
    for (size_t i = 0; i < count && !pb->too_large; i++) {
        pb_get_keywords(pb, texts[i], list);
    }
}

void pb_get_ints(struct pb *pb, int32_t *ints, size_t count, struct int_list *list)
{
    if (count > BIDREQ_MAX_LIST) {
        pb->too_large = true;
        return;
    }
    *list = (struct int_list){.items = ints, .count = (uint32_t)count}; /* already in the arena */
}

void pb_get_durfloors(struct pb *pb, Openrtb__BidRequest__DurFloors *const *messages, size_t count,
                      struct bidreq_durfloors *list)
{
    for (size_t i = 0; i < count && !pb->too_large; i++) {
        struct bidreq_durfloor *floor = pb_push(pb, list, sizeof(*floor), BIDREQ_MAX_LIST);
        if (floor) {
            openrtb_default_durfloor(floor);
            GET_COUNT(floor->min_s, messages[i], mindur);
            GET_COUNT(floor->max_s, messages[i], maxdur);
            GET_PRICE(floor->bidfloor_micros, messages[i], bidfloor);
        }
    }
}

void *pb_make(struct pb *pb, bool wanted, size_t size)
{
    void *made = wanted ? arena_calloc(pb->arena, 1, size) : NULL;
    pb->no_memory |= wanted && !made;
    return made;
}

/* --- imp ----------------------------------------------------------------------------------- */

static struct bidreq_banner *read_banner(struct pb *pb, const Openrtb__BidRequest__Banner *m)
{
    struct bidreq_banner *banner = pb_make(pb, m != NULL, sizeof(*banner));
    if (!banner) {
        return NULL;
    }
    openrtb_default_banner(banner);
    GET_COUNT(banner->w, m, w);
    GET_COUNT(banner->h, m, h);
    GET_COUNT(banner->pos, m, pos);
    GET_INTS(pb, &banner->btype, m, btype);
    GET_INTS(pb, &banner->battr, m, battr);
    GET_INTS(pb, &banner->api, m, api);
    GET_TEXTS(pb, &banner->mimes, m, mimes);
    for (size_t i = 0; i < m->n_format && !pb->too_large; i++) {
        struct bidreq_size *size = pb_push(pb, &banner->format, sizeof(*size), BIDREQ_MAX_LIST);
        if (size) {
            GET_COUNT(size->w, m->format[i], w);
            GET_COUNT(size->h, m->format[i], h);
            GET_COUNT(size->wratio, m->format[i], wratio);
            GET_COUNT(size->hratio, m->format[i], hratio);
            GET_COUNT(size->wmin, m->format[i], wmin);
        }
    }
    return banner;
}

/* What video and audio messages share by name. */
#define GET_AV(pb, av, m)                                                                          \
    do {                                                                                           \
        GET_TEXTS((pb), &(av)->mimes, (m), mimes);                                                 \
        GET_COUNT((av)->minduration, (m), minduration);                                            \
        GET_COUNT((av)->maxduration, (m), maxduration);                                            \
        GET_INTS((pb), &(av)->rqddurs, (m), rqddurs);                                              \
        GET_INTS((pb), &(av)->protocols, (m), protocols);                                          \
        GET_INTS((pb), &(av)->api, (m), api);                                                      \
        GET_INTS((pb), &(av)->battr, (m), battr);                                                  \
        GET_INTS((pb), &(av)->delivery, (m), delivery);                                            \
        GET_INT((av)->startdelay, (m), startdelay);                                                \
        GET_COUNT((av)->minbitrate, (m), minbitrate);                                              \
        GET_COUNT((av)->maxbitrate, (m), maxbitrate);                                              \
        pb_get_text((pb), (m)->podid, &(av)->podid);                                               \
        GET_INT((av)->podseq, (m), podseq);                                                        \
        GET_INT((av)->slotinpod, (m), slotinpod);                                                  \
        GET_COUNT((av)->poddur, (m), poddur);                                                      \
        GET_COUNT((av)->maxseq, (m), maxseq);                                                      \
        GET_PRICE((av)->mincpmpersec_micros, (m), mincpmpersec);                                   \
        pb_get_durfloors((pb), (m)->durfloors, (m)->n_durfloors, &(av)->durfloors);                \
    } while (0)

static struct bidreq_av *read_video(struct pb *pb, const Openrtb__BidRequest__Video *m)
{
    struct openrtb_av *outer = pb_make(pb, m != NULL, sizeof(*outer));
    if (!outer) {
        return NULL;
    }
    struct bidreq_av *av = &outer->av;
    openrtb_default_av(outer);
    GET_AV(pb, av, m);
    GET_COUNT(outer->protocol, m, protocol);
    GET_COUNT(av->w, m, w);
    GET_COUNT(av->h, m, h);
    GET_COUNT(av->plcmt, m, plcmt);
    GET_COUNT(av->placement, m, placement);
    GET_COUNT(av->linearity, m, linearity);
    GET_FLAG(av->skip, m, skip);
    GET_COUNT(av->pos, m, pos);
    return av;
}

static struct bidreq_av *read_audio(struct pb *pb, const Openrtb__BidRequest__Audio *m)
{
    struct openrtb_av *outer = pb_make(pb, m != NULL, sizeof(*outer));
    if (!outer) {
        return NULL;
    }
    openrtb_default_av(outer);
    GET_AV(pb, &outer->av, m);
    return &outer->av;
}

static void read_asset(struct pb *pb, const Openrtb__NativeRequest__Asset *m,
                       struct bidreq_asset *asset)
{
    openrtb_default_asset(asset);
    GET_INT(asset->id, m, id);
    GET_FLAG(asset->required, m, required);
    if (m->title) {
        asset->kind = BIDREQ_ASSET_TITLE;
        GET_COUNT(asset->len, m->title, len);
    } else if (m->img) {
        asset->kind = BIDREQ_ASSET_IMAGE;
        GET_COUNT(asset->type, m->img, type);
        GET_COUNT(asset->w, m->img, w);
        GET_COUNT(asset->h, m->img, h);
        GET_COUNT(asset->wmin, m->img, wmin);
        GET_COUNT(asset->hmin, m->img, hmin);
        GET_TEXTS(pb, &asset->mimes, m->img, mimes);
    } else if (m->video) {
        asset->kind = BIDREQ_ASSET_VIDEO;
        GET_TEXTS(pb, &asset->mimes, m->video, mimes);
        GET_COUNT(asset->minduration, m->video, minduration);
        GET_COUNT(asset->maxduration, m->video, maxduration);
        GET_INTS(pb, &asset->protocols, m->video, protocols);
    } else if (m->data) {
        asset->kind = BIDREQ_ASSET_DATA;
        GET_COUNT(asset->type, m->data, type);
        GET_COUNT(asset->len, m->data, len);
    }
}

static void read_markup(struct pb *pb, const Openrtb__NativeRequest *m,
                        struct openrtb_native *native)
{
    struct openrtb_markup markup = {.root = NULL};
    bool too_large = pb->too_large;
    pb->too_large = false;
    pb_get_text(pb, m->ver, &markup.top.ver);
    for (size_t i = 0; i < m->n_assets && !pb->too_large; i++) {
        struct bidreq_asset *asset =
            pb_push(pb, &markup.top.assets, sizeof(*asset), BIDREQ_MAX_LIST);
        if (asset) {
            read_asset(pb, m->assets[i], asset);
        }
    }
    for (size_t i = 0; i < m->n_eventtrackers && !pb->too_large; i++) {
        struct bidreq_eventtracker *tracker =
            pb_push(pb, &markup.top.eventtrackers, sizeof(*tracker), BIDREQ_MAX_LIST);
        if (tracker) {
            GET_COUNT(tracker->event, m->eventtrackers[i], event);
            GET_INTS(pb, &tracker->methods, m->eventtrackers[i], methods);
        }
    }
    openrtb_native_adopt(native, pb->too_large ? NULL : &markup);
    pb->too_large = too_large;
}

static struct bidreq_native *read_native(struct pb *pb, const Openrtb__BidRequest__Native *m)
{
    struct openrtb_native *native = pb_make(pb, m != NULL, sizeof(*native));
    if (!native) {
        return NULL;
    }
    openrtb_default_native(native);
    pb_get_text(pb, m->ver, &native->native.ver);
    GET_INTS(pb, &native->native.api, m, api);
    GET_INTS(pb, &native->native.battr, m, battr);
    if (m->request_native) {
        read_markup(pb, m->request_native, native);
    } else if (m->request) {
        pb->no_memory |= !openrtb_markup_decode(str_from(m->request), pb->arena, native);
    }
    return &native->native;
}

static void read_pmp(struct pb *pb, const Openrtb__BidRequest__Pmp *pmp, struct bidreq_imp *imp)
{
    GET_FLAG(imp->private_auction, pmp, private_auction);
    for (size_t i = 0; i < pmp->n_deals && !pb->too_large; i++) {
        const Openrtb__BidRequest__Deal *m = pmp->deals[i];
        struct bidreq_deal *deal = pb_push(pb, &imp->deals, sizeof(*deal), BIDREQ_MAX_LIST);
        if (deal) {
            openrtb_default_deal(deal);
            pb_get_text(pb, m->id, &deal->id);
            GET_PRICE(deal->bidfloor_micros, m, bidfloor);
            pb_get_text(pb, m->bidfloorcur, &deal->bidfloorcur);
            GET_COUNT(deal->at, m, at);
            GET_FLAG(deal->guar, m, guar);
            GET_TEXTS(pb, &deal->wseat, m, wseat);
            GET_TEXTS(pb, &deal->wadomain, m, wadomain);
            GET_PRICE(deal->mincpmpersec_micros, m, mincpmpersec);
            pb_get_durfloors(pb, m->durfloors, m->n_durfloors, &deal->durfloors);
        }
    }
}

void pb_read_imp(struct pb *pb, const Openrtb__BidRequest__Imp *m, struct bidreq_imp *imp)
{
    openrtb_default_imp(imp);
    pb_get_text(pb, m->id, &imp->id);
    imp->banner = read_banner(pb, m->banner);
    imp->video = read_video(pb, m->video);
    imp->audio = read_audio(pb, m->audio);
    imp->native = read_native(pb, m->native);
    if (m->pmp) {
        read_pmp(pb, m->pmp, imp);
    }
    pb_get_text(pb, m->tagid, &imp->tagid);
    GET_PRICE(imp->bidfloor_micros, m, bidfloor);
    pb_get_text(pb, m->bidfloorcur, &imp->bidfloorcur);
    GET_FLAG(imp->secure, m, secure);
    GET_FLAG(imp->instl, m, instl);
    GET_FLAG(imp->rwdd, m, rwdd);
    GET_COUNT(imp->ssai, m, ssai);
    GET_COUNT(imp->exp, m, exp);
    if (m->qty) {
        GET_PRICE(imp->qty_micros, m->qty, multiplier);
    }
}
