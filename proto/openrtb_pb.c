/* OpenRTB protobuf -> struct bid_request, through protobuf-c with its memory in the arena.
 *
 * The schema has no recursion, so nesting is bounded by it; what inflates (many empty messages) is
 * bounded by the arena. A text that is not UTF-8 counts as absent, because it may be answered in.
 */
#include "proto/openrtb.h"

#include "bidder/base/utf8.h"
#include "proto/openrtb.pb-c.h"
#include "proto/openrtb_wire.h"

struct pb {
    struct arena *arena;
    struct openrtb_wire *wire;
    bool no_memory;
    bool too_large;
};

static void *pb_alloc(void *data, size_t size)
{
    struct pb *pb = data;
    void *piece = arena_alloc(pb->arena, size);
    pb->no_memory |= !piece;
    return piece;
}

static void pb_free(void *data, void *pointer)
{
    (void)data;
    (void)pointer; /* goes with the arena */
}

/* --- values: has_x and x of a message ------------------------------------------------------ */

#define GET_INT(to, message, field)                                                                \
    do {                                                                                           \
        if ((message)->has_##field) {                                                              \
            (to) = (message)->field;                                                               \
        }                                                                                          \
    } while (0)

#define GET_COUNT(to, message, field)                                                              \
    do {                                                                                           \
        if ((message)->has_##field && (message)->field >= 0) {                                     \
            (to) = (message)->field;                                                               \
        }                                                                                          \
    } while (0)

#define GET_FLAG(to, message, field)                                                               \
    do {                                                                                           \
        if ((message)->has_##field && (message)->field >= 0) {                                     \
            (to) = (message)->field != 0;                                                          \
        }                                                                                          \
    } while (0)

#define GET_PRICE(to, message, field)                                                              \
    do {                                                                                           \
        int64_t micros_;                                                                           \
        if ((message)->has_##field && micros_of((message)->field, &micros_) && micros_ >= 0) {     \
            (to) = micros_;                                                                        \
        }                                                                                          \
    } while (0)

/* Rounded half away from zero and saturated; false for NaN. A double is what the wire has: this is
 * the one place where a price is one. */
static bool micros_of(double value, int64_t *micros)
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

static struct str text_of(struct pb *pb, const char *c_string)
{
    struct str text = str_from(c_string);
    if (text.len > BIDREQ_MAX_TEXT) {
        pb->too_large = true;
        return STR_NONE;
    }
    return utf8_valid(text) ? text : STR_NONE;
}

static void get_text(struct pb *pb, const char *c_string, struct str *to)
{
    struct str text = text_of(pb, c_string);
    if (text.len) {
        *to = text;
    }
}

static void *push(struct pb *pb, void *list, size_t size, uint32_t max)
{
    void *item = NULL;
    enum openrtb_push pushed = openrtb_push(pb->arena, list, size, max, &item);
    pb->too_large |= pushed == OPENRTB_FULL;
    pb->no_memory |= pushed == OPENRTB_NO_MEMORY;
    return pushed == OPENRTB_PUSHED ? item : NULL;
}

static void push_text(struct pb *pb, struct str_list *list, struct str text)
{
    struct str *item = text.len ? push(pb, list, sizeof(*item), BIDREQ_MAX_LIST) : NULL;
    if (item) {
        *item = text;
    }
}

static void get_texts(struct pb *pb, char *const *texts, size_t count, struct str_list *list)
{
    for (size_t i = 0; i < count && !pb->too_large; i++) {
        push_text(pb, list, text_of(pb, texts[i]));
    }
}
#define GET_TEXTS(pb, list, message, field)                                                        \
    get_texts((pb), (message)->field, (message)->n_##field, (list))

static void get_keywords(struct pb *pb, const char *c_string, struct str_list *list)
{
    struct str text = text_of(pb, c_string);
    while (text.len) {
        push_text(pb, list, str_trim(str_cut(&text, ',')));
    }
}

static void get_kwarray(struct pb *pb, char *const *texts, size_t count, struct str_list *list)
{
    for (size_t i = 0; i < count && !pb->too_large; i++) {
        get_keywords(pb, texts[i], list);
    }
}

static void get_ints(struct pb *pb, int32_t *ints, size_t count, struct int_list *list)
{
    if (count > BIDREQ_MAX_LIST) {
        pb->too_large = true;
        return;
    }
    *list = (struct int_list){.items = ints, .count = (uint32_t)count}; /* already in the arena */
}
#define GET_INTS(pb, list, message, field)                                                         \
    get_ints((pb), (message)->field, (message)->n_##field, (list))

static void get_durfloors(struct pb *pb, Openrtb__BidRequest__DurFloors *const *messages,
                          size_t count, struct bidreq_durfloors *list)
{
    for (size_t i = 0; i < count && !pb->too_large; i++) {
        struct bidreq_durfloor *floor = push(pb, list, sizeof(*floor), BIDREQ_MAX_LIST);
        if (floor) {
            openrtb_default_durfloor(floor);
            GET_COUNT(floor->min_s, messages[i], mindur);
            GET_COUNT(floor->max_s, messages[i], maxdur);
            GET_PRICE(floor->bidfloor_micros, messages[i], bidfloor);
        }
    }
}

static void *make(struct pb *pb, bool wanted, size_t size)
{
    void *made = wanted ? arena_calloc(pb->arena, 1, size) : NULL;
    pb->no_memory |= wanted && !made;
    return made;
}

/* --- imp ----------------------------------------------------------------------------------- */

static struct bidreq_banner *read_banner(struct pb *pb, const Openrtb__BidRequest__Banner *m)
{
    struct bidreq_banner *banner = make(pb, m != NULL, sizeof(*banner));
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
        struct bidreq_size *size = push(pb, &banner->format, sizeof(*size), BIDREQ_MAX_LIST);
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
        get_text((pb), (m)->podid, &(av)->podid);                                                  \
        GET_INT((av)->podseq, (m), podseq);                                                        \
        GET_INT((av)->slotinpod, (m), slotinpod);                                                  \
        GET_COUNT((av)->poddur, (m), poddur);                                                      \
        GET_COUNT((av)->maxseq, (m), maxseq);                                                      \
        GET_PRICE((av)->mincpmpersec_micros, (m), mincpmpersec);                                   \
        get_durfloors((pb), (m)->durfloors, (m)->n_durfloors, &(av)->durfloors);                   \
    } while (0)

static struct bidreq_av *read_video(struct pb *pb, const Openrtb__BidRequest__Video *m)
{
    struct openrtb_av *outer = make(pb, m != NULL, sizeof(*outer));
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
    struct openrtb_av *outer = make(pb, m != NULL, sizeof(*outer));
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
    get_text(pb, m->ver, &markup.top.ver);
    for (size_t i = 0; i < m->n_assets && !pb->too_large; i++) {
        struct bidreq_asset *asset = push(pb, &markup.top.assets, sizeof(*asset), BIDREQ_MAX_LIST);
        if (asset) {
            read_asset(pb, m->assets[i], asset);
        }
    }
    for (size_t i = 0; i < m->n_eventtrackers && !pb->too_large; i++) {
        struct bidreq_eventtracker *tracker =
            push(pb, &markup.top.eventtrackers, sizeof(*tracker), BIDREQ_MAX_LIST);
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
    struct openrtb_native *native = make(pb, m != NULL, sizeof(*native));
    if (!native) {
        return NULL;
    }
    openrtb_default_native(native);
    get_text(pb, m->ver, &native->native.ver);
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
        struct bidreq_deal *deal = push(pb, &imp->deals, sizeof(*deal), BIDREQ_MAX_LIST);
        if (deal) {
            openrtb_default_deal(deal);
            get_text(pb, m->id, &deal->id);
            GET_PRICE(deal->bidfloor_micros, m, bidfloor);
            get_text(pb, m->bidfloorcur, &deal->bidfloorcur);
            GET_COUNT(deal->at, m, at);
            GET_FLAG(deal->guar, m, guar);
            GET_TEXTS(pb, &deal->wseat, m, wseat);
            GET_TEXTS(pb, &deal->wadomain, m, wadomain);
            GET_PRICE(deal->mincpmpersec_micros, m, mincpmpersec);
            get_durfloors(pb, m->durfloors, m->n_durfloors, &deal->durfloors);
        }
    }
}

static void read_imp(struct pb *pb, const Openrtb__BidRequest__Imp *m, struct bidreq_imp *imp)
{
    openrtb_default_imp(imp);
    get_text(pb, m->id, &imp->id);
    imp->banner = read_banner(pb, m->banner);
    imp->video = read_video(pb, m->video);
    imp->audio = read_audio(pb, m->audio);
    imp->native = read_native(pb, m->native);
    if (m->pmp) {
        read_pmp(pb, m->pmp, imp);
    }
    get_text(pb, m->tagid, &imp->tagid);
    GET_PRICE(imp->bidfloor_micros, m, bidfloor);
    get_text(pb, m->bidfloorcur, &imp->bidfloorcur);
    GET_FLAG(imp->secure, m, secure);
    GET_FLAG(imp->instl, m, instl);
    GET_FLAG(imp->rwdd, m, rwdd);
    GET_COUNT(imp->ssai, m, ssai);
    GET_COUNT(imp->exp, m, exp);
    if (m->qty) {
        GET_PRICE(imp->qty_micros, m->qty, multiplier);
    }
}

/* --- site, app, dooh ----------------------------------------------------------------------- */

static void read_inside(struct pb *pb, const Openrtb__BidRequest__Publisher *publisher,
                        const Openrtb__BidRequest__Content *content, struct bidreq_media *media)
{
    if (publisher) {
        get_text(pb, publisher->id, &media->publisher_id);
        get_text(pb, publisher->domain, &media->publisher_domain);
    }
    if (!content) {
        return;
    }
    get_text(pb, content->id, &media->content_id);
    get_text(pb, content->title, &media->content_title);
    get_text(pb, content->series, &media->content_series);
    get_text(pb, content->language, &media->content_language);
    GET_TEXTS(pb, &media->content_cat, content, cat);
    GET_COUNT(media->content_cattax, content, cattax);
    GET_COUNT(media->content_len, content, len);
    GET_FLAG(media->content_livestream, content, livestream);
}

/* What site and app messages share by name. */
#define GET_MEDIA(pb, outer, m)                                                                    \
    do {                                                                                           \
        GET_TEXTS((pb), &(outer)->media.cat, (m), cat);                                            \
        GET_TEXTS((pb), &(outer)->media.sectioncat, (m), sectioncat);                              \
        GET_TEXTS((pb), &(outer)->media.pagecat, (m), pagecat);                                    \
        GET_COUNT((outer)->media.cattax, (m), cattax);                                             \
        get_kwarray((pb), (m)->kwarray, (m)->n_kwarray, &(outer)->kwarray);                        \
    } while (0)

/* What all three share. */
#define GET_PLACE(pb, outer, m)                                                                    \
    do {                                                                                           \
        get_text((pb), (m)->id, &(outer)->media.id);                                               \
        get_text((pb), (m)->name, &(outer)->media.name);                                           \
        get_text((pb), (m)->domain, &(outer)->media.domain);                                       \
        get_keywords((pb), (m)->keywords, &(outer)->media.keywords);                               \
        read_inside((pb), (m)->publisher, (m)->content, &(outer)->media);                          \
    } while (0)

static void read_places(struct pb *pb, const Openrtb__BidRequest *m)
{
    struct openrtb_wire *wire = pb->wire;
    if (m->site) {
        wire->site.media.kind = BIDREQ_SITE;
        GET_PLACE(pb, &wire->site, m->site);
        GET_MEDIA(pb, &wire->site, m->site);
        get_text(pb, m->site->page, &wire->site.media.page);
    }
    if (m->app) {
        wire->app.media.kind = BIDREQ_APP;
        GET_PLACE(pb, &wire->app, m->app);
        GET_MEDIA(pb, &wire->app, m->app);
        get_text(pb, m->app->bundle, &wire->app.media.bundle);
    }
    if (m->dooh) {
        wire->dooh.media.kind = BIDREQ_DOOH;
        GET_PLACE(pb, &wire->dooh, m->dooh);
    }
}

/* --- device, user, regs, source ------------------------------------------------------------ */

static void keep_ext(struct pb *pb, struct str path, struct str value)
{
    struct bid_request *request = &pb->wire->request;
    if (value.len && request->ext.count < BIDREQ_MAX_EXT) {
        struct bidreq_ext *item = push(pb, &request->ext, sizeof(*item), BIDREQ_MAX_EXT);
        if (item) {
            *item = (struct bidreq_ext){.path = path, .value = value};
        }
    }
}

static void read_geo(struct pb *pb, const Openrtb__BidRequest__Geo *m, struct bidreq_geo *geo)
{
    if (!m) {
        return;
    }
    if (m->has_lat && !micros_of(m->lat, &geo->lat_micro)) {
        geo->lat_micro = INT64_MIN;
    }
    if (m->has_lon && !micros_of(m->lon, &geo->lon_micro)) {
        geo->lon_micro = INT64_MIN;
    }
    get_text(pb, m->country, &geo->country);
    get_text(pb, m->region, &geo->region);
    get_text(pb, m->city, &geo->city);
    get_text(pb, m->zip, &geo->zip);
    get_text(pb, m->metro, &geo->metro);
    GET_COUNT(geo->type, m, type);
    GET_INT(geo->utcoffset, m, utcoffset);
}

static void read_device(struct pb *pb, const Openrtb__BidRequest__Device *m)
{
    struct bidreq_device *device = &pb->wire->request.device;
    get_text(pb, m->ua, &device->ua);
    get_text(pb, m->ip, &device->ip);
    get_text(pb, m->ipv6, &device->ipv6);
    get_text(pb, m->make, &device->make);
    get_text(pb, m->model, &device->model);
    get_text(pb, m->os, &device->os);
    get_text(pb, m->osv, &device->osv);
    get_text(pb, m->language, &device->language);
    get_text(pb, m->carrier, &device->carrier);
    get_text(pb, m->ifa, &device->ifa);
    get_text(pb, m->didmd5, &device->didmd5);
    get_text(pb, m->didsha1, &device->didsha1);
    get_text(pb, m->dpidmd5, &device->dpidmd5);
    get_text(pb, m->dpidsha1, &device->dpidsha1);
    get_text(pb, m->macmd5, &device->macmd5);
    get_text(pb, m->macsha1, &device->macsha1);
    read_geo(pb, m->geo, &device->geo);
    GET_COUNT(device->devicetype, m, devicetype);
    GET_COUNT(device->connectiontype, m, connectiontype);
    GET_FLAG(device->dnt, m, dnt);
    GET_FLAG(device->lmt, m, lmt);
    GET_COUNT(device->w, m, w);
    GET_COUNT(device->h, m, h);
    if (m->ext) {
        keep_ext(pb, STR("device.ext.ifv"), text_of(pb, m->ext->ifv));
        keep_ext(pb, STR("device.ext.cdep"), text_of(pb, m->ext->cdep));
        keep_ext(pb, STR("device.ext.ifa_type"), text_of(pb, m->ext->ifa_type));
    }
}

static void read_eids(struct pb *pb, Openrtb__BidRequest__EID *const *eids, size_t count,
                      struct bidreq_user *user)
{
    for (size_t i = 0; i < count && !pb->too_large; i++) {
        struct bidreq_eid *eid = push(pb, &user->eids, sizeof(*eid), BIDREQ_MAX_LIST);
        if (!eid) {
            return;
        }
        get_text(pb, eids[i]->source, &eid->source);
        if (eids[i]->n_uids) {
            get_text(pb, eids[i]->uids[0]->id, &eid->id);
            GET_COUNT(eid->atype, eids[i]->uids[0], atype);
        }
    }
}

static void read_user(struct pb *pb, const Openrtb__BidRequest__User *m)
{
    struct bidreq_user *user = &pb->wire->request.user;
    get_text(pb, m->id, &user->id);
    get_text(pb, m->buyeruid, &user->buyeruid);
    get_text(pb, m->gender, &user->gender);
    get_text(pb, m->consent, &user->consent);
    GET_COUNT(user->yob, m, yob);
    get_keywords(pb, m->keywords, &user->keywords);
    get_kwarray(pb, m->kwarray, m->n_kwarray, &pb->wire->user_kwarray);
    read_eids(pb, m->eids, m->n_eids, user);
    for (size_t i = 0; i < m->n_data; i++) {
        for (size_t j = 0; j < m->data[i]->n_segment && !pb->too_large; j++) {
            push_text(pb, &user->segments, text_of(pb, m->data[i]->segment[j]->id));
        }
    }
    read_geo(pb, m->geo, &pb->wire->user_geo);
    if (m->ext) {
        keep_ext(pb, STR("user.ext.consent"), text_of(pb, m->ext->consent));
        get_text(pb, m->ext->consent, &pb->wire->old_user.consent);
        read_eids(pb, m->ext->eids, m->ext->n_eids, &pb->wire->old_user);
    }
}

static void read_regs(struct pb *pb, const Openrtb__BidRequest__Regs *m)
{
    struct bidreq_regs *regs = &pb->wire->request.regs, *old = &pb->wire->old_regs;
    GET_FLAG(regs->coppa, m, coppa);
    GET_FLAG(regs->gdpr, m, gdpr);
    get_text(pb, m->us_privacy, &regs->us_privacy);
    get_text(pb, m->gpp, &regs->gpp);
    GET_INTS(pb, &regs->gpp_sid, m, gpp_sid);
    if (m->ext) {
        GET_FLAG(old->gdpr, m->ext, gdpr);
        get_text(pb, m->ext->us_privacy, &old->us_privacy);
        struct str gpc = str_trim(text_of(pb, m->ext->gpc)); /* a text by the schema */
        old->gpc = str_eq(gpc, STR("1")) ? 1 : str_eq(gpc, STR("0")) ? 0 : -1;
    }
}

static void read_schain(struct pb *pb, const Openrtb__BidRequest__SupplyChain *m,
                        struct openrtb_schain *schain)
{
    if (!m) {
        return;
    }
    schain->present = true;
    GET_FLAG(schain->complete, m, complete);
    for (size_t i = 0; i < m->n_nodes && !pb->too_large; i++) {
        struct bidreq_schain_node *node = push(pb, &schain->nodes, sizeof(*node), BIDREQ_MAX_LIST);
        if (node) {
            get_text(pb, m->nodes[i]->asi, &node->asi);
            get_text(pb, m->nodes[i]->sid, &node->sid);
        }
    }
}

/* --- the top ------------------------------------------------------------------------------- */

static void read_top(struct pb *pb, const Openrtb__BidRequest *m)
{
    struct openrtb_wire *wire = pb->wire;
    struct bid_request *request = &wire->request;
    get_text(pb, m->id, &request->id);
    GET_FLAG(request->test, m, test);
    GET_COUNT(request->at, m, at);
    GET_COUNT(request->tmax_ms, m, tmax);
    GET_FLAG(request->allimps, m, allimps);
    GET_COUNT(request->cattax, m, cattax);
    GET_TEXTS(pb, &request->wseat, m, wseat);
    GET_TEXTS(pb, &request->bseat, m, bseat);
    GET_TEXTS(pb, &request->cur, m, cur);
    GET_TEXTS(pb, &request->wlang, m, wlang);
    GET_TEXTS(pb, &request->bcat, m, bcat);
    GET_TEXTS(pb, &request->acat, m, acat);
    GET_TEXTS(pb, &request->badv, m, badv);
    GET_TEXTS(pb, &request->bapp, m, bapp);
    for (size_t i = 0; i < m->n_imp && !pb->too_large; i++) {
        struct bidreq_imp *imp = push(pb, &request->imp, sizeof(*imp), BIDREQ_MAX_IMPS);
        if (imp) {
            read_imp(pb, m->imp[i], imp);
        }
    }
    read_places(pb, m);
    if (m->device) {
        read_device(pb, m->device);
    }
    if (m->user) {
        read_user(pb, m->user);
    }
    if (m->regs) {
        read_regs(pb, m->regs);
    }
    if (m->source) {
        get_text(pb, m->source->tid, &request->source.tid);
        GET_FLAG(request->source.fd, m->source, fd);
        read_schain(pb, m->source->schain, &wire->schain);
        if (m->source->ext) {
            read_schain(pb, m->source->ext->schain, &wire->old_schain);
        }
    }
}

enum bidreq_reject openrtb_pb_decode(struct str body, struct arena *arena,
                                     struct bid_request *request)
{
    struct openrtb_wire wire;
    openrtb_wire_init(&wire, arena);
    struct pb pb = {.arena = arena, .wire = &wire};
    ProtobufCAllocator allocator = {.alloc = pb_alloc, .free = pb_free, .allocator_data = &pb};
    *request = wire.request;
    if (!body.len) {
        return BIDREQ_PING; /* protobuf's empty message */
    }
    Openrtb__BidRequest *message =
        openrtb__bid_request__unpack(&allocator, body.len, (const uint8_t *)body.ptr);
    if (!message) {
        return pb.no_memory ? BIDREQ_NO_MEMORY : BIDREQ_NOT_JSON;
    }
    read_top(&pb, message);
    if (pb.no_memory || pb.too_large) {
        return pb.no_memory ? BIDREQ_NO_MEMORY : BIDREQ_TOO_LARGE;
    }
    return openrtb_wire_finish(&wire, request);
}
