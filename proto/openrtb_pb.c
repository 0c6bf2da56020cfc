/* OpenRTB protobuf -> struct bid_request, through protobuf-c with its memory in the arena.
 *
 * The schema has no recursion, so nesting is bounded by it; what inflates (many empty messages) is
 * bounded by the arena. A text that is not UTF-8 counts as absent, because it may be answered in.
 */
#include "proto/openrtb.h"

#include "proto/openrtb_pb_value.h"

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

/* --- site, app, dooh ----------------------------------------------------------------------- */

static void read_inside(struct pb *pb, const Openrtb__BidRequest__Publisher *publisher,
                        const Openrtb__BidRequest__Content *content, struct bidreq_media *media)
{
    if (publisher) {
        pb_get_text(pb, publisher->id, &media->publisher_id);
        pb_get_text(pb, publisher->domain, &media->publisher_domain);
    }
    if (!content) {
        return;
    }
    pb_get_text(pb, content->id, &media->content_id);
    pb_get_text(pb, content->title, &media->content_title);
    pb_get_text(pb, content->series, &media->content_series);
    pb_get_text(pb, content->language, &media->content_language);
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
        pb_get_kwarray((pb), (m)->kwarray, (m)->n_kwarray, &(outer)->kwarray);                     \
    } while (0)

/* What all three share. */
#define GET_PLACE(pb, outer, m)                                                                    \
    do {                                                                                           \
        pb_get_text((pb), (m)->id, &(outer)->media.id);                                            \
        pb_get_text((pb), (m)->name, &(outer)->media.name);                                        \
        pb_get_text((pb), (m)->domain, &(outer)->media.domain);                                    \
        pb_get_keywords((pb), (m)->keywords, &(outer)->media.keywords);                            \
        read_inside((pb), (m)->publisher, (m)->content, &(outer)->media);                          \
    } while (0)

static void read_places(struct pb *pb, const Openrtb__BidRequest *m)
{
    struct openrtb_wire *wire = pb->wire;
    if (m->site) {
        wire->site.media.kind = BIDREQ_SITE;
        GET_PLACE(pb, &wire->site, m->site);
        GET_MEDIA(pb, &wire->site, m->site);
        pb_get_text(pb, m->site->page, &wire->site.media.page);
    }
    if (m->app) {
        wire->app.media.kind = BIDREQ_APP;
        GET_PLACE(pb, &wire->app, m->app);
        GET_MEDIA(pb, &wire->app, m->app);
        pb_get_text(pb, m->app->bundle, &wire->app.media.bundle);
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
        struct bidreq_ext *item = pb_push(pb, &request->ext, sizeof(*item), BIDREQ_MAX_EXT);
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
    if (m->has_lat && !pb_micros(m->lat, &geo->lat_micro)) {
        geo->lat_micro = INT64_MIN;
    }
    if (m->has_lon && !pb_micros(m->lon, &geo->lon_micro)) {
        geo->lon_micro = INT64_MIN;
    }
    pb_get_text(pb, m->country, &geo->country);
    pb_get_text(pb, m->region, &geo->region);
    pb_get_text(pb, m->city, &geo->city);
    pb_get_text(pb, m->zip, &geo->zip);
    pb_get_text(pb, m->metro, &geo->metro);
    GET_COUNT(geo->type, m, type);
    GET_INT(geo->utcoffset, m, utcoffset);
}

static void read_device(struct pb *pb, const Openrtb__BidRequest__Device *m)
{
    struct bidreq_device *device = &pb->wire->request.device;
    pb_get_text(pb, m->ua, &device->ua);
    pb_get_text(pb, m->ip, &device->ip);
    pb_get_text(pb, m->ipv6, &device->ipv6);
    pb_get_text(pb, m->make, &device->make);
    pb_get_text(pb, m->model, &device->model);
    pb_get_text(pb, m->os, &device->os);
    pb_get_text(pb, m->osv, &device->osv);
    pb_get_text(pb, m->language, &device->language);
    pb_get_text(pb, m->carrier, &device->carrier);
    pb_get_text(pb, m->ifa, &device->ifa);
    pb_get_text(pb, m->didmd5, &device->didmd5);
    pb_get_text(pb, m->didsha1, &device->didsha1);
    pb_get_text(pb, m->dpidmd5, &device->dpidmd5);
    pb_get_text(pb, m->dpidsha1, &device->dpidsha1);
    pb_get_text(pb, m->macmd5, &device->macmd5);
    pb_get_text(pb, m->macsha1, &device->macsha1);
    read_geo(pb, m->geo, &device->geo);
    GET_COUNT(device->devicetype, m, devicetype);
    GET_COUNT(device->connectiontype, m, connectiontype);
    GET_FLAG(device->dnt, m, dnt);
    GET_FLAG(device->lmt, m, lmt);
    GET_COUNT(device->w, m, w);
    GET_COUNT(device->h, m, h);
    if (m->ext) {
        keep_ext(pb, STR("device.ext.ifv"), pb_text(pb, m->ext->ifv));
        keep_ext(pb, STR("device.ext.cdep"), pb_text(pb, m->ext->cdep));
        keep_ext(pb, STR("device.ext.ifa_type"), pb_text(pb, m->ext->ifa_type));
    }
}

static void read_eids(struct pb *pb, Openrtb__BidRequest__EID *const *eids, size_t count,
                      struct bidreq_user *user)
{
    for (size_t i = 0; i < count && !pb->too_large; i++) {
        struct bidreq_eid *eid = pb_push(pb, &user->eids, sizeof(*eid), BIDREQ_MAX_LIST);
        if (!eid) {
            return;
        }
        pb_get_text(pb, eids[i]->source, &eid->source);
        if (eids[i]->n_uids) {
            pb_get_text(pb, eids[i]->uids[0]->id, &eid->id);
            GET_COUNT(eid->atype, eids[i]->uids[0], atype);
        }
    }
}

static void read_user(struct pb *pb, const Openrtb__BidRequest__User *m)
{
    struct bidreq_user *user = &pb->wire->request.user;
    pb_get_text(pb, m->id, &user->id);
    pb_get_text(pb, m->buyeruid, &user->buyeruid);
    pb_get_text(pb, m->gender, &user->gender);
    pb_get_text(pb, m->consent, &user->consent);
    GET_COUNT(user->yob, m, yob);
    pb_get_keywords(pb, m->keywords, &user->keywords);
    pb_get_kwarray(pb, m->kwarray, m->n_kwarray, &pb->wire->user_kwarray);
    read_eids(pb, m->eids, m->n_eids, user);
    for (size_t i = 0; i < m->n_data; i++) {
        for (size_t j = 0; j < m->data[i]->n_segment && !pb->too_large; j++) {
            pb_push_text(pb, &user->segments, pb_text(pb, m->data[i]->segment[j]->id));
        }
    }
    read_geo(pb, m->geo, &pb->wire->user_geo);
    if (m->ext) {
        keep_ext(pb, STR("user.ext.consent"), pb_text(pb, m->ext->consent));
        pb_get_text(pb, m->ext->consent, &pb->wire->old_user.consent);
        read_eids(pb, m->ext->eids, m->ext->n_eids, &pb->wire->old_user);
    }
}

static void read_regs(struct pb *pb, const Openrtb__BidRequest__Regs *m)
{
    struct bidreq_regs *regs = &pb->wire->request.regs, *old = &pb->wire->old_regs;
    GET_FLAG(regs->coppa, m, coppa);
    GET_FLAG(regs->gdpr, m, gdpr);
    pb_get_text(pb, m->us_privacy, &regs->us_privacy);
    pb_get_text(pb, m->gpp, &regs->gpp);
    GET_INTS(pb, &regs->gpp_sid, m, gpp_sid);
    if (m->ext) {
        GET_FLAG(old->gdpr, m->ext, gdpr);
        pb_get_text(pb, m->ext->us_privacy, &old->us_privacy);
        struct str gpc = str_trim(pb_text(pb, m->ext->gpc)); /* a text by the schema */
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
        struct bidreq_schain_node *node =
            pb_push(pb, &schain->nodes, sizeof(*node), BIDREQ_MAX_LIST);
        if (node) {
            pb_get_text(pb, m->nodes[i]->asi, &node->asi);
            pb_get_text(pb, m->nodes[i]->sid, &node->sid);
        }
    }
}

/* --- the top ------------------------------------------------------------------------------- */

static void read_top(struct pb *pb, const Openrtb__BidRequest *m)
{
    struct openrtb_wire *wire = pb->wire;
    struct bid_request *request = &wire->request;
    pb_get_text(pb, m->id, &request->id);
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
        struct bidreq_imp *imp = pb_push(pb, &request->imp, sizeof(*imp), BIDREQ_MAX_IMPS);
        if (imp) {
            pb_read_imp(pb, m->imp[i], imp);
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
        pb_get_text(pb, m->source->tid, &request->source.tid);
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
