/* Prints every field of the model that does not hold its default. Written out by hand, apart from
 * the decoders' tables, so that a wrong line there shows as a difference. */
#include "proto/bidreq_dump.h"

#include <stdio.h>

/* Where we are: the path printed before each field. */
struct dump {
    struct buf *out;
    char path[96];
    size_t path_len;
};

static void name_line(struct dump *d, const char *name)
{
    buf_put(d->out, d->path, d->path_len);
    buf_put(d->out, name, strlen(name));
    BUF_PUT_LITERAL(d->out, " = ");
}

static void text_value(struct dump *d, struct str text)
{
    buf_put_char(d->out, '"');
    buf_put_json_escaped(d->out, text);
    buf_put_char(d->out, '"');
}

static void put_text(struct dump *d, const char *name, struct str text)
{
    if (text.len) {
        name_line(d, name);
        text_value(d, text);
        buf_put_char(d->out, '\n');
    }
}

static void put_int(struct dump *d, const char *name, int64_t value, int64_t absent)
{
    if (value != absent) {
        name_line(d, name);
        buf_put_i64(d->out, value);
        buf_put_char(d->out, '\n');
    }
}

static void put_micros(struct dump *d, const char *name, int64_t micros)
{
    if (micros) {
        name_line(d, name);
        buf_put_micros(d->out, micros);
        buf_put_char(d->out, '\n');
    }
}

static void put_texts(struct dump *d, const char *name, struct str_list list)
{
    if (!list.count) {
        return;
    }
    name_line(d, name);
    for (uint32_t i = 0; i < list.count; i++) {
        buf_put(d->out, ", ", i ? 2 : 0);
        text_value(d, list.items[i]);
    }
    buf_put_char(d->out, '\n');
}

static void put_ints(struct dump *d, const char *name, struct int_list list)
{
    if (!list.count) {
        return;
    }
    name_line(d, name);
    for (uint32_t i = 0; i < list.count; i++) {
        buf_put(d->out, ", ", i ? 2 : 0);
        buf_put_i64(d->out, list.items[i]);
    }
    buf_put_char(d->out, '\n');
}

/* Enters "name[index]." (index < 0: "name."); returns what to give to leave. */
static size_t enter(struct dump *d, const char *name, int64_t index)
{
    size_t before = d->path_len;
    int more = index < 0 ? snprintf(d->path + before, sizeof(d->path) - before, "%s.", name)
                         : snprintf(d->path + before, sizeof(d->path) - before, "%s[%d].", name,
                                    (int)index);
    if (more > 0 && (size_t)more < sizeof(d->path) - before) {
        d->path_len += (size_t)more;
    }
    return before;
}

static void leave(struct dump *d, size_t before)
{
    d->path_len = before;
}

static void dump_durfloors(struct dump *d, const struct bidreq_durfloors *list)
{
    for (uint32_t i = 0; i < list->count; i++) {
        const struct bidreq_durfloor *floor = &list->items[i];
        name_line(d, "durfloors");
        buf_put_i64(d->out, floor->min_s);
        BUF_PUT_LITERAL(d->out, "..");
        buf_put_i64(d->out, floor->max_s);
        BUF_PUT_LITERAL(d->out, ": ");
        buf_put_micros(d->out, floor->bidfloor_micros);
        buf_put_char(d->out, '\n');
    }
}

static void dump_banner(struct dump *d, const struct bidreq_banner *banner)
{
    if (!banner) {
        return;
    }
    size_t before = enter(d, "banner", -1);
    put_int(d, "present", 1, 0);
    put_int(d, "w", banner->w, 0);
    put_int(d, "h", banner->h, 0);
    for (uint32_t i = 0; i < banner->format.count; i++) {
        const struct bidreq_size *size = &banner->format.items[i];
        size_t outer = enter(d, "format", i);
        put_int(d, "w", size->w, 0);
        put_int(d, "h", size->h, 0);
        put_int(d, "wratio", size->wratio, 0);
        put_int(d, "hratio", size->hratio, 0);
        put_int(d, "wmin", size->wmin, 0);
        leave(d, outer);
    }
    put_int(d, "formats", banner->format.count, 0);
    put_ints(d, "btype", banner->btype);
    put_ints(d, "battr", banner->battr);
    put_ints(d, "api", banner->api);
    put_texts(d, "mimes", banner->mimes);
    put_int(d, "pos", banner->pos, -1);
    leave(d, before);
}

static void dump_av(struct dump *d, const char *name, const struct bidreq_av *av)
{
    if (!av) {
        return;
    }
    size_t before = enter(d, name, -1);
    put_int(d, "present", 1, 0);
    put_texts(d, "mimes", av->mimes);
    put_int(d, "minduration", av->minduration, 0);
    put_int(d, "maxduration", av->maxduration, INT32_MAX);
    put_ints(d, "rqddurs", av->rqddurs);
    put_ints(d, "protocols", av->protocols);
    put_ints(d, "api", av->api);
    put_ints(d, "battr", av->battr);
    put_ints(d, "delivery", av->delivery);
    put_int(d, "startdelay", av->startdelay, INT32_MIN);
    put_int(d, "w", av->w, 0);
    put_int(d, "h", av->h, 0);
    put_int(d, "plcmt", av->plcmt, -1);
    put_int(d, "placement", av->placement, -1);
    put_int(d, "linearity", av->linearity, -1);
    put_int(d, "skip", av->skip, -1);
    put_int(d, "pos", av->pos, -1);
    put_int(d, "minbitrate", av->minbitrate, 0);
    put_int(d, "maxbitrate", av->maxbitrate, INT32_MAX);
    put_text(d, "podid", av->podid);
    put_int(d, "podseq", av->podseq, 0);
    put_int(d, "slotinpod", av->slotinpod, 0);
    put_int(d, "poddur", av->poddur, 0);
    put_int(d, "maxseq", av->maxseq, 0);
    put_micros(d, "mincpmpersec", av->mincpmpersec_micros);
    dump_durfloors(d, &av->durfloors);
    leave(d, before);
}

static void dump_asset(struct dump *d, const struct bidreq_asset *asset)
{
    static const char *const kinds[] = {"title", "img", "video", "data", "unknown"};
    put_int(d, "id", asset->id, INT64_MIN);
    put_int(d, "required", asset->required, 0);
    put_text(d, "kind", str_from(kinds[asset->kind]));
    put_int(d, "type", asset->type, 0);
    put_int(d, "len", asset->len, 0);
    put_int(d, "w", asset->w, 0);
    put_int(d, "h", asset->h, 0);
    put_int(d, "wmin", asset->wmin, 0);
    put_int(d, "hmin", asset->hmin, 0);
    put_texts(d, "mimes", asset->mimes);
    put_int(d, "minduration", asset->minduration, 0);
    put_int(d, "maxduration", asset->maxduration, INT32_MAX);
    put_ints(d, "protocols", asset->protocols);
}

static void dump_native(struct dump *d, const struct bidreq_native *native)
{
    if (!native) {
        return;
    }
    size_t before = enter(d, "native", -1);
    put_text(d, "ver", native->ver);
    put_ints(d, "api", native->api);
    put_ints(d, "battr", native->battr);
    put_int(d, "has_root", native->has_root, 0);
    put_int(d, "malformed", native->malformed, 0);
    for (uint32_t i = 0; i < native->assets.count; i++) {
        size_t outer = enter(d, "assets", i);
        dump_asset(d, &native->assets.items[i]);
        leave(d, outer);
    }
    for (uint32_t i = 0; i < native->eventtrackers.count; i++) {
        size_t outer = enter(d, "eventtrackers", i);
        put_int(d, "event", native->eventtrackers.items[i].event, INT64_MIN);
        put_ints(d, "methods", native->eventtrackers.items[i].methods);
        leave(d, outer);
    }
    leave(d, before);
}

static void dump_deal(struct dump *d, const struct bidreq_deal *deal)
{
    put_text(d, "id", deal->id);
    put_micros(d, "bidfloor", deal->bidfloor_micros);
    put_text(d, "bidfloorcur", deal->bidfloorcur);
    put_int(d, "at", deal->at, 0);
    put_int(d, "guar", deal->guar, 0);
    put_texts(d, "wseat", deal->wseat);
    put_texts(d, "wadomain", deal->wadomain);
    put_micros(d, "mincpmpersec", deal->mincpmpersec_micros);
    dump_durfloors(d, &deal->durfloors);
}

static void dump_imp(struct dump *d, const struct bidreq_imp *imp)
{
    put_text(d, "id", imp->id);
    dump_banner(d, imp->banner);
    dump_av(d, "video", imp->video);
    dump_av(d, "audio", imp->audio);
    dump_native(d, imp->native);
    put_text(d, "tagid", imp->tagid);
    put_micros(d, "bidfloor", imp->bidfloor_micros);
    put_text(d, "bidfloorcur", imp->bidfloorcur);
    put_int(d, "secure", imp->secure, -1);
    put_int(d, "instl", imp->instl, 0);
    put_int(d, "rwdd", imp->rwdd, 0);
    put_int(d, "ssai", imp->ssai, 0);
    put_int(d, "exp", imp->exp, 0);
    put_int(d, "qty_micros", imp->qty_micros, 1000000);
    put_int(d, "private_auction", imp->private_auction, 0);
    for (uint32_t i = 0; i < imp->deals.count; i++) {
        size_t before = enter(d, "deals", i);
        dump_deal(d, &imp->deals.items[i]);
        leave(d, before);
    }
}

static void dump_media(struct dump *d, const struct bidreq_media *media)
{
    static const char *const kinds[] = {"none", "site", "app", "dooh"};
    size_t before = enter(d, kinds[media->kind], -1);
    put_int(d, "present", media->kind != BIDREQ_MEDIUM_NONE, 0);
    put_text(d, "id", media->id);
    put_text(d, "name", media->name);
    put_text(d, "domain", media->domain);
    put_text(d, "page", media->page);
    put_text(d, "bundle", media->bundle);
    put_text(d, "publisher.id", media->publisher_id);
    put_text(d, "publisher.domain", media->publisher_domain);
    put_texts(d, "cat", media->cat);
    put_texts(d, "sectioncat", media->sectioncat);
    put_texts(d, "pagecat", media->pagecat);
    put_int(d, "cattax", media->cattax, 1);
    put_texts(d, "keywords", media->keywords);
    put_text(d, "content.id", media->content_id);
    put_text(d, "content.title", media->content_title);
    put_text(d, "content.series", media->content_series);
    put_text(d, "content.language", media->content_language);
    put_texts(d, "content.cat", media->content_cat);
    put_int(d, "content.cattax", media->content_cattax, 1);
    put_int(d, "content.len", media->content_len, 0);
    put_int(d, "content.livestream", media->content_livestream, -1);
    leave(d, before);
}

static void dump_device(struct dump *d, const struct bidreq_device *device, bool everything)
{
    size_t before = enter(d, "device", -1);
    const struct bidreq_geo *geo = &device->geo;
    if (everything) {
        put_text(d, "ip", device->ip);
        put_text(d, "ipv6", device->ipv6);
        put_text(d, "ifa", device->ifa);
        put_text(d, "didmd5", device->didmd5);
        put_text(d, "didsha1", device->didsha1);
        put_text(d, "dpidmd5", device->dpidmd5);
        put_text(d, "dpidsha1", device->dpidsha1);
        put_text(d, "macmd5", device->macmd5);
        put_text(d, "macsha1", device->macsha1);
        put_int(d, "geo.has_point", geo->has_point, 0);
        put_micros(d, "geo.lat", geo->lat_micro);
        put_micros(d, "geo.lon", geo->lon_micro);
        put_text(d, "geo.zip", geo->zip);
    }
    put_text(d, "ua", device->ua);
    put_text(d, "make", device->make);
    put_text(d, "model", device->model);
    put_text(d, "os", device->os);
    put_text(d, "osv", device->osv);
    put_text(d, "language", device->language);
    put_text(d, "carrier", device->carrier);
    put_text(d, "geo.country", geo->country);
    put_text(d, "geo.region", geo->region);
    put_text(d, "geo.city", geo->city);
    put_text(d, "geo.metro", geo->metro);
    put_int(d, "geo.utcoffset", geo->utcoffset, INT32_MIN);
    put_int(d, "geo.type", geo->type, 0);
    put_int(d, "devicetype", device->devicetype, 0);
    put_int(d, "connectiontype", device->connectiontype, 0);
    put_int(d, "dnt", device->dnt, -1);
    put_int(d, "lmt", device->lmt, -1);
    put_int(d, "w", device->w, 0);
    put_int(d, "h", device->h, 0);
    leave(d, before);
}

static void dump_user(struct dump *d, const struct bidreq_user *user, bool everything)
{
    size_t before = enter(d, "user", -1);
    if (everything) {
        put_text(d, "id", user->id);
        put_text(d, "buyeruid", user->buyeruid);
        put_text(d, "consent", user->consent);
        for (uint32_t i = 0; i < user->eids.count; i++) {
            size_t outer = enter(d, "eids", i);
            put_text(d, "source", user->eids.items[i].source);
            put_text(d, "id", user->eids.items[i].id);
            put_int(d, "atype", user->eids.items[i].atype, 0);
            leave(d, outer);
        }
    }
    put_int(d, "eids", user->eids.count, 0);
    put_text(d, "gender", user->gender);
    put_int(d, "yob", user->yob, 0);
    put_texts(d, "keywords", user->keywords);
    put_texts(d, "segments", user->segments);
    leave(d, before);
}

static void dump_rules(struct dump *d, const struct bid_request *request)
{
    const struct bidreq_regs *regs = &request->regs;
    const struct bidreq_source *source = &request->source;
    put_int(d, "regs.coppa", regs->coppa, -1);
    put_int(d, "regs.gdpr", regs->gdpr, -1);
    put_int(d, "regs.gpc", regs->gpc, -1);
    put_text(d, "regs.us_privacy", regs->us_privacy);
    put_text(d, "regs.gpp", regs->gpp);
    put_ints(d, "regs.gpp_sid", regs->gpp_sid);
    put_text(d, "source.tid", source->tid);
    put_int(d, "source.fd", source->fd, -1);
    put_int(d, "source.schain", source->has_schain, 0);
    put_int(d, "source.schain.complete", source->schain_complete, -1);
    for (uint32_t i = 0; i < source->schain.count; i++) {
        size_t before = enter(d, "source.schain.nodes", i);
        put_text(d, "asi", source->schain.items[i].asi);
        put_text(d, "sid", source->schain.items[i].sid);
        leave(d, before);
    }
    put_int(d, "source.schain.nodes", source->schain.count, 0);
}

void bidreq_dump(const struct bid_request *request, enum bidreq_dump_what what, struct buf *out)
{
    struct dump dump = {.out = out};
    struct dump *d = &dump;
    put_text(d, "id", request->id);
    put_int(d, "test", request->test, 0);
    put_int(d, "at", request->at, 2);
    put_int(d, "tmax_ms", request->tmax_ms, 0);
    put_int(d, "allimps", request->allimps, 0);
    put_texts(d, "wseat", request->wseat);
    put_texts(d, "bseat", request->bseat);
    put_texts(d, "cur", request->cur);
    put_texts(d, "wlang", request->wlang);
    put_texts(d, "bcat", request->bcat);
    put_texts(d, "acat", request->acat);
    put_texts(d, "badv", request->badv);
    put_texts(d, "bapp", request->bapp);
    put_int(d, "cattax", request->cattax, 1);
    for (uint32_t i = 0; i < request->imp.count; i++) {
        size_t before = enter(d, "imp", i);
        dump_imp(d, &request->imp.items[i]);
        leave(d, before);
    }
    dump_media(d, &request->media);
    dump_device(d, &request->device, what == BIDREQ_DUMP_ALL);
    dump_user(d, &request->user, what == BIDREQ_DUMP_ALL);
    dump_rules(d, request);
    for (uint32_t i = 0; i < request->ext.count && what == BIDREQ_DUMP_ALL; i++) {
        size_t before = enter(d, "ext", i);
        put_text(d, "path", request->ext.items[i].path);
        put_text(d, "value", request->ext.items[i].value);
        leave(d, before);
    }
}
