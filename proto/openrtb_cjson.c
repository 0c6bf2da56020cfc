/* The oracle: the same meaning as openrtb_json.c, arrived at another way. cJSON builds its tree in
 * the arena; each object is then read by hand-written lines, not by the decoder's tables.
 *
 * cJSON takes bodies that are not JSON (it skips control bytes, reads 01, checks no UTF-8), so the
 * strict reader looks first. It also keeps numbers as doubles; the strict pass therefore notes
 * every number's text, and a walk over the tree hangs it back as the item's valuestring. A text
 * with \u0000 ends there for cJSON: comparisons leave those out.
 *
 * Not thread-safe (cJSON's hooks are global) and slow. Tests, fuzzing and benches only. */
#include "proto/openrtb.h"

#include "proto/openrtb_cjson_value.h"

/* --- imp ----------------------------------------------------------------------------------- */

static struct bidreq_banner *read_banner(struct oracle *o, const cJSON *object)
{
    struct bidreq_banner *banner = oracle_make(o, object, sizeof(*banner));
    if (!banner) {
        return NULL;
    }
    openrtb_default_banner(banner);
    oracle_get_count(object, "w", &banner->w);
    oracle_get_count(object, "h", &banner->h);
    const cJSON *formats = oracle_get(object, "format");
    FOREACH_OBJECT(item, formats)
    {
        struct bidreq_size *size = oracle_push(o, &banner->format, sizeof(*size), BIDREQ_MAX_LIST);
        if (size) {
            oracle_get_count(item, "w", &size->w);
            oracle_get_count(item, "h", &size->h);
            oracle_get_count(item, "wratio", &size->wratio);
            oracle_get_count(item, "hratio", &size->hratio);
            oracle_get_count(item, "wmin", &size->wmin);
        }
    }
    oracle_get_ints(o, object, "btype", &banner->btype);
    oracle_get_ints(o, object, "battr", &banner->battr);
    oracle_get_ints(o, object, "api", &banner->api);
    oracle_get_texts(o, object, "mimes", &banner->mimes);
    oracle_get_count(object, "pos", &banner->pos);
    return banner;
}

static struct bidreq_av *read_av(struct oracle *o, const cJSON *object, bool video)
{
    struct openrtb_av *outer = oracle_make(o, object, sizeof(*outer));
    if (!outer) {
        return NULL;
    }
    struct bidreq_av *av = &outer->av;
    openrtb_default_av(outer);
    oracle_get_texts(o, object, "mimes", &av->mimes);
    oracle_get_count(object, "minduration", &av->minduration);
    oracle_get_count(object, "maxduration", &av->maxduration);
    oracle_get_ints(o, object, "rqddurs", &av->rqddurs);
    oracle_get_ints(o, object, "protocols", &av->protocols);
    oracle_get_ints(o, object, "api", &av->api);
    oracle_get_ints(o, object, "battr", &av->battr);
    oracle_get_ints(o, object, "delivery", &av->delivery);
    oracle_get_int(object, "startdelay", &av->startdelay);
    oracle_get_count(object, "minbitrate", &av->minbitrate);
    oracle_get_count(object, "maxbitrate", &av->maxbitrate);
    oracle_get_text(o, object, "podid", &av->podid);
    oracle_get_int(object, "podseq", &av->podseq);
    oracle_get_int(object, "slotinpod", &av->slotinpod);
    oracle_get_count(object, "poddur", &av->poddur);
    oracle_get_count(object, "maxseq", &av->maxseq);
    oracle_get_price(object, "mincpmpersec", &av->mincpmpersec_micros);
    oracle_get_durfloors(o, object, &av->durfloors);
    if (video) {
        oracle_get_count(object, "protocol", &outer->protocol);
        oracle_get_count(object, "w", &av->w);
        oracle_get_count(object, "h", &av->h);
        oracle_get_count(object, "plcmt", &av->plcmt);
        oracle_get_count(object, "placement", &av->placement);
        oracle_get_count(object, "linearity", &av->linearity);
        oracle_get_flag(object, "skip", &av->skip);
        oracle_get_count(object, "pos", &av->pos);
    }
    return av;
}

static void read_asset_part(struct oracle *o, const cJSON *part, enum bidreq_asset_kind kind,
                            struct bidreq_asset *asset)
{
    if (!part) {
        return;
    }
    struct bidreq_asset read = {0};
    openrtb_default_asset(&read);
    switch (kind) {
    case BIDREQ_ASSET_TITLE:
        oracle_get_count(part, "len", &read.len);
        break;
    case BIDREQ_ASSET_IMAGE:
        oracle_get_count(part, "type", &read.type);
        oracle_get_count(part, "w", &read.w);
        oracle_get_count(part, "h", &read.h);
        oracle_get_count(part, "wmin", &read.wmin);
        oracle_get_count(part, "hmin", &read.hmin);
        oracle_get_texts(o, part, "mimes", &read.mimes);
        break;
    case BIDREQ_ASSET_VIDEO:
        oracle_get_texts(o, part, "mimes", &read.mimes);
        oracle_get_count(part, "minduration", &read.minduration);
        oracle_get_count(part, "maxduration", &read.maxduration);
        oracle_get_ints(o, part, "protocols", &read.protocols);
        break;
    case BIDREQ_ASSET_DATA:
        oracle_get_count(part, "type", &read.type);
        oracle_get_count(part, "len", &read.len);
        break;
    case BIDREQ_ASSET_UNKNOWN:
        break;
    }
    openrtb_asset_adopt(asset, &read, kind);
}

static void read_markup(struct oracle *o, const cJSON *object, struct bidreq_native *markup)
{
    oracle_get_text(o, object, "ver", &markup->ver);
    const cJSON *assets = oracle_get(object, "assets");
    FOREACH_OBJECT(item, assets)
    {
        struct bidreq_asset *asset =
            oracle_push(o, &markup->assets, sizeof(*asset), BIDREQ_MAX_LIST);
        if (asset) {
            openrtb_default_asset(asset);
            oracle_get_int(item, "id", &asset->id);
            oracle_get_bool(item, "required", &asset->required);
            read_asset_part(o, oracle_object(item, "title"), BIDREQ_ASSET_TITLE, asset);
            read_asset_part(o, oracle_object(item, "img"), BIDREQ_ASSET_IMAGE, asset);
            read_asset_part(o, oracle_object(item, "video"), BIDREQ_ASSET_VIDEO, asset);
            read_asset_part(o, oracle_object(item, "data"), BIDREQ_ASSET_DATA, asset);
        }
    }
    const cJSON *trackers = oracle_get(object, "eventtrackers");
    FOREACH_OBJECT(item, trackers)
    {
        struct bidreq_eventtracker *tracker =
            oracle_push(o, &markup->eventtrackers, sizeof(*tracker), BIDREQ_MAX_LIST);
        if (tracker) {
            oracle_get_count(item, "event", &tracker->event);
            oracle_get_ints(o, item, "methods", &tracker->methods);
        }
    }
}

static struct bidreq_native *read_native(struct oracle *o, const cJSON *object)
{
    struct openrtb_native *outer = oracle_make(o, object, sizeof(*outer));
    if (!outer) {
        return NULL;
    }
    struct bidreq_native *native = &outer->native;
    openrtb_default_native(outer);
    oracle_get_text(o, object, "ver", &native->ver);
    oracle_get_ints(o, object, "api", &native->api);
    oracle_get_ints(o, object, "battr", &native->battr);
    bool too_large = o->too_large;
    o->too_large = false;
    const cJSON *request = oracle_get(object, "request");
    if (cJSON_IsString(request)) {
        enum json_error error;
        request = oracle_parse(str_from(request->valuestring), o->arena, &error);
        o->no_memory |= error == JSON_ERROR_MEMORY;
    }
    if (cJSON_IsObject(request)) {
        struct openrtb_markup markup = {.root = NULL};
        read_markup(o, request, &markup.top);
        markup.root = oracle_make(o, oracle_object(request, "native"), sizeof(*markup.root));
        if (markup.root) {
            read_markup(o, oracle_object(request, "native"), markup.root);
        }
        openrtb_native_adopt(outer, o->too_large ? NULL : &markup);
    }
    o->too_large = too_large;
    return native;
}

static void read_pmp(struct oracle *o, const cJSON *pmp, struct bidreq_imp *imp)
{
    oracle_get_bool(pmp, "private_auction", &imp->private_auction);
    const cJSON *deals = oracle_get(pmp, "deals");
    FOREACH_OBJECT(item, deals)
    {
        struct bidreq_deal *deal = oracle_push(o, &imp->deals, sizeof(*deal), BIDREQ_MAX_LIST);
        if (deal) {
            openrtb_default_deal(deal);
            oracle_get_text(o, item, "id", &deal->id);
            oracle_get_price(item, "bidfloor", &deal->bidfloor_micros);
            oracle_get_text(o, item, "bidfloorcur", &deal->bidfloorcur);
            oracle_get_count(item, "at", &deal->at);
            oracle_get_flag(item, "guar", &deal->guar);
            oracle_get_texts(o, item, "wseat", &deal->wseat);
            oracle_get_texts(o, item, "wadomain", &deal->wadomain);
            oracle_get_price(item, "mincpmpersec", &deal->mincpmpersec_micros);
            oracle_get_durfloors(o, item, &deal->durfloors);
        }
    }
}

static void read_imp(struct oracle *o, const cJSON *object, struct bidreq_imp *imp)
{
    openrtb_default_imp(imp);
    oracle_get_text(o, object, "id", &imp->id);
    imp->banner = read_banner(o, oracle_object(object, "banner"));
    imp->video = read_av(o, oracle_object(object, "video"), true);
    imp->audio = read_av(o, oracle_object(object, "audio"), false);
    imp->native = read_native(o, oracle_object(object, "native"));
    read_pmp(o, oracle_object(object, "pmp"), imp);
    oracle_get_text(o, object, "tagid", &imp->tagid);
    oracle_get_price(object, "bidfloor", &imp->bidfloor_micros);
    oracle_get_text(o, object, "bidfloorcur", &imp->bidfloorcur);
    oracle_get_flag(object, "secure", &imp->secure);
    oracle_get_flag(object, "instl", &imp->instl);
    oracle_get_flag(object, "rwdd", &imp->rwdd);
    oracle_get_count(object, "ssai", &imp->ssai);
    oracle_get_count(object, "exp", &imp->exp);
    oracle_get_price(oracle_object(object, "qty"), "multiplier", &imp->qty_micros);
}

/* --- the rest ------------------------------------------------------------------------------ */

static void read_media(struct oracle *o, const cJSON *object, enum bidreq_medium kind,
                       struct openrtb_media *outer)
{
    struct bidreq_media *media = &outer->media;
    if (!object) {
        return;
    }
    media->kind = kind;
    oracle_get_text(o, object, "id", &media->id);
    oracle_get_text(o, object, "name", &media->name);
    oracle_get_text(o, object, "domain", &media->domain);
    oracle_get_text(o, object, "page", &media->page);
    oracle_get_text(o, object, "bundle", &media->bundle);
    oracle_get_texts(o, object, "cat", &media->cat);
    oracle_get_texts(o, object, "sectioncat", &media->sectioncat);
    oracle_get_texts(o, object, "pagecat", &media->pagecat);
    oracle_get_count(object, "cattax", &media->cattax);
    oracle_get_keywords(o, object, "keywords", &media->keywords);
    oracle_get_keywords(o, object, "kwarray", &outer->kwarray);
    const cJSON *publisher = oracle_object(object, "publisher");
    oracle_get_text(o, publisher, "id", &media->publisher_id);
    oracle_get_text(o, publisher, "domain", &media->publisher_domain);
    const cJSON *content = oracle_object(object, "content");
    oracle_get_text(o, content, "id", &media->content_id);
    oracle_get_text(o, content, "title", &media->content_title);
    oracle_get_text(o, content, "series", &media->content_series);
    oracle_get_text(o, content, "language", &media->content_language);
    oracle_get_texts(o, content, "cat", &media->content_cat);
    oracle_get_count(content, "cattax", &media->content_cattax);
    oracle_get_count(content, "len", &media->content_len);
    oracle_get_flag(content, "livestream", &media->content_livestream);
}

static void read_geo(struct oracle *o, const cJSON *object, struct bidreq_geo *geo)
{
    oracle_get_degrees(object, "lat", &geo->lat_micro);
    oracle_get_degrees(object, "lon", &geo->lon_micro);
    oracle_get_text(o, object, "country", &geo->country);
    oracle_get_text(o, object, "region", &geo->region);
    oracle_get_text(o, object, "city", &geo->city);
    oracle_get_text(o, object, "zip", &geo->zip);
    oracle_get_text(o, object, "metro", &geo->metro);
    oracle_get_int(object, "utcoffset", &geo->utcoffset);
    oracle_get_count(object, "type", &geo->type);
}

static void keep_scalars(struct oracle *o, const char *prefix, const cJSON *ext)
{
    struct bid_request *request = &o->wire->request;
    for (const cJSON *item = ext ? ext->child : NULL; item; item = item->next) {
        if (request->ext.count == BIDREQ_MAX_EXT) {
            return;
        }
        struct buf path;
        buf_init(&path, SIZE_MAX / 2);
        buf_put_str(&path, str_from(prefix));
        buf_put_str(&path, str_from(item->string));
        bool known = false;
        for (uint32_t i = 0; i < request->ext.count; i++) {
            known |= str_eq(request->ext.items[i].path, buf_str(&path));
        }
        struct str value = known                ? STR_NONE
                           : cJSON_IsBool(item) ? (cJSON_IsTrue(item) ? STR("true") : STR("false"))
                                                : oracle_text(o, item);
        if (value.len) {
            struct bidreq_ext *kept = oracle_push(o, &request->ext, sizeof(*kept), BIDREQ_MAX_EXT);
            struct str copy = arena_strdup(o->arena, buf_str(&path));
            o->no_memory |= !copy.ptr;
            if (kept) {
                *kept = (struct bidreq_ext){.path = copy, .value = value};
            }
        }
        buf_deinit(&path);
    }
}

static void read_device(struct oracle *o, const cJSON *object)
{
    struct bidreq_device *device = &o->wire->request.device;
    oracle_get_text(o, object, "ua", &device->ua);
    oracle_get_text(o, object, "ip", &device->ip);
    oracle_get_text(o, object, "ipv6", &device->ipv6);
    oracle_get_text(o, object, "make", &device->make);
    oracle_get_text(o, object, "model", &device->model);
    oracle_get_text(o, object, "os", &device->os);
    oracle_get_text(o, object, "osv", &device->osv);
    oracle_get_text(o, object, "language", &device->language);
    oracle_get_text(o, object, "carrier", &device->carrier);
    oracle_get_text(o, object, "ifa", &device->ifa);
    oracle_get_text(o, object, "didmd5", &device->didmd5);
    oracle_get_text(o, object, "didsha1", &device->didsha1);
    oracle_get_text(o, object, "dpidmd5", &device->dpidmd5);
    oracle_get_text(o, object, "dpidsha1", &device->dpidsha1);
    oracle_get_text(o, object, "macmd5", &device->macmd5);
    oracle_get_text(o, object, "macsha1", &device->macsha1);
    read_geo(o, oracle_object(object, "geo"), &device->geo);
    oracle_get_count(object, "devicetype", &device->devicetype);
    oracle_get_count(object, "connectiontype", &device->connectiontype);
    oracle_get_flag(object, "dnt", &device->dnt);
    oracle_get_flag(object, "lmt", &device->lmt);
    oracle_get_count(object, "w", &device->w);
    oracle_get_count(object, "h", &device->h);
    keep_scalars(o, "device.ext.", oracle_object(object, "ext"));
}

static void read_eids(struct oracle *o, const cJSON *object, struct bidreq_user *user)
{
    const cJSON *eids = oracle_get(object, "eids");
    FOREACH_OBJECT(item, eids)
    {
        struct bidreq_eid *eid = oracle_push(o, &user->eids, sizeof(*eid), BIDREQ_MAX_LIST);
        if (!eid) {
            continue;
        }
        oracle_get_text(o, item, "source", &eid->source);
        const cJSON *uids = oracle_get(item, "uids");
        FOREACH_OBJECT(uid, uids)
        {
            oracle_get_text(o, uid, "id", &eid->id);
            oracle_get_count(uid, "atype", &eid->atype);
            break;
        }
    }
}

static void read_user(struct oracle *o, const cJSON *object)
{
    struct bidreq_user *user = &o->wire->request.user;
    oracle_get_text(o, object, "id", &user->id);
    oracle_get_text(o, object, "buyeruid", &user->buyeruid);
    oracle_get_text(o, object, "gender", &user->gender);
    oracle_get_text(o, object, "consent", &user->consent);
    oracle_get_count(object, "yob", &user->yob);
    oracle_get_keywords(o, object, "keywords", &user->keywords);
    oracle_get_keywords(o, object, "kwarray", &o->wire->user_kwarray);
    read_eids(o, object, user);
    const cJSON *datas = oracle_get(object, "data");
    FOREACH_OBJECT(data, datas)
    {
        const cJSON *segments = oracle_get(data, "segment");
        FOREACH_OBJECT(segment, segments)
        {
            oracle_push_text(o, &user->segments, oracle_text(o, oracle_get(segment, "id")));
        }
    }
    read_geo(o, oracle_object(object, "geo"), &o->wire->user_geo);
    const cJSON *ext = oracle_object(object, "ext");
    keep_scalars(o, "user.ext.", ext);
    oracle_get_text(o, ext, "consent", &o->wire->old_user.consent);
    read_eids(o, ext, &o->wire->old_user);
}

static void read_regs(struct oracle *o, const cJSON *object, struct bidreq_regs *regs)
{
    oracle_get_flag(object, "gdpr", &regs->gdpr);
    oracle_get_flag(object, "gpc", &regs->gpc);
    oracle_get_text(o, object, "us_privacy", &regs->us_privacy);
    oracle_get_text(o, object, "gpp", &regs->gpp);
    oracle_get_ints(o, object, "gpp_sid", &regs->gpp_sid);
}

static void read_schain(struct oracle *o, const cJSON *object, struct openrtb_schain *schain)
{
    if (!object) {
        return;
    }
    schain->present = true;
    oracle_get_flag(object, "complete", &schain->complete);
    const cJSON *nodes = oracle_get(object, "nodes");
    FOREACH_OBJECT(item, nodes)
    {
        struct bidreq_schain_node *node =
            oracle_push(o, &schain->nodes, sizeof(*node), BIDREQ_MAX_LIST);
        if (node) {
            oracle_get_text(o, item, "asi", &node->asi);
            oracle_get_text(o, item, "sid", &node->sid);
        }
    }
}

static void read_lists(struct oracle *o, const cJSON *root)
{
    struct bid_request *request = &o->wire->request;
    oracle_get_texts(o, root, "wseat", &request->wseat);
    oracle_get_texts(o, root, "bseat", &request->bseat);
    oracle_get_texts(o, root, "cur", &request->cur);
    oracle_get_texts(o, root, "wlang", &request->wlang);
    oracle_get_texts(o, root, "bcat", &request->bcat);
    oracle_get_texts(o, root, "acat", &request->acat);
    oracle_get_texts(o, root, "badv", &request->badv);
    oracle_get_texts(o, root, "bapp", &request->bapp);
}

static void read_root(struct oracle *o, const cJSON *root)
{
    struct openrtb_wire *wire = o->wire;
    struct bid_request *request = &wire->request;
    oracle_get_text(o, root, "id", &request->id);
    const cJSON *imps = oracle_get(root, "imp");
    FOREACH_OBJECT(item, imps)
    {
        struct bidreq_imp *imp = oracle_push(o, &request->imp, sizeof(*imp), BIDREQ_MAX_IMPS);
        if (imp) {
            read_imp(o, item, imp);
        }
    }
    read_media(o, oracle_object(root, "site"), BIDREQ_SITE, &wire->site);
    read_media(o, oracle_object(root, "app"), BIDREQ_APP, &wire->app);
    read_media(o, oracle_object(root, "dooh"), BIDREQ_DOOH, &wire->dooh);
    /* Their ext scalars go into one list, in the order of the document. */
    const cJSON *device = oracle_object(root, "device"), *user = oracle_object(root, "user");
    for (const cJSON *item = root->child; item; item = item->next) {
        if (item == device) {
            read_device(o, device);
        } else if (item == user) {
            read_user(o, user);
        }
    }
    const cJSON *regs = oracle_object(root, "regs");
    oracle_get_flag(regs, "coppa", &request->regs.coppa);
    read_regs(o, regs, &request->regs);
    read_regs(o, oracle_object(regs, "ext"), &wire->old_regs);
    const cJSON *source = oracle_object(root, "source");
    oracle_get_text(o, source, "tid", &request->source.tid);
    oracle_get_flag(source, "fd", &request->source.fd);
    read_schain(o, oracle_object(source, "schain"), &wire->schain);
    read_schain(o, oracle_object(oracle_object(source, "ext"), "schain"), &wire->old_schain);
    oracle_get_flag(root, "test", &request->test);
    oracle_get_count(root, "at", &request->at);
    oracle_get_count(root, "tmax", &request->tmax_ms);
    oracle_get_bool(root, "allimps", &request->allimps);
    oracle_get_count(root, "cattax", &request->cattax);
    read_lists(o, root);
}

enum bidreq_reject openrtb_cjson_decode(struct str body, struct arena *arena,
                                        struct bid_request *request)
{
    struct openrtb_wire wire;
    openrtb_wire_init(&wire, arena);
    *request = wire.request;
    if (openrtb_is_ping(body)) {
        return BIDREQ_PING;
    }
    enum json_error error;
    const cJSON *root = oracle_parse(body, arena, &error);
    if (!root) {
        return error == JSON_ERROR_DEPTH    ? BIDREQ_TOO_DEEP
               : error == JSON_ERROR_MEMORY ? BIDREQ_NO_MEMORY
                                            : BIDREQ_NOT_JSON;
    }
    if (!cJSON_IsObject(root)) {
        return BIDREQ_NOT_OBJECT;
    }
    struct oracle o = {.arena = arena, .wire = &wire};
    read_root(&o, root);
    if (o.no_memory || o.too_large) {
        return o.no_memory ? BIDREQ_NO_MEMORY : BIDREQ_TOO_LARGE;
    }
    return openrtb_wire_finish(&wire, request);
}
