/* The rules all decoders share: defaults, lists, old and new places, checks. See openrtb_wire.h. */
#include "proto/openrtb_wire.h"

#include "bidder/base/bug.h"

#define DEGREES_ABSENT INT64_MIN

bool openrtb_list_grow(struct arena *arena, struct openrtb_list *list, size_t size)
{
    size_t capacity = list->count ? (size_t)list->count * 2 : OPENRTB_FIRST_ITEMS;
    void *items = arena_alloc(arena, capacity * size);
    if (!items) {
        return false;
    }
    if (list->count) {
        memcpy(items, list->items, list->count * size);
    }
    list->items = items;
    return true;
}

/* --- defaults ------------------------------------------------------------------------------ */

void openrtb_default_imp(void *object)
{
    struct bidreq_imp *imp = object;
    imp->bidfloorcur = STR("USD");
    imp->secure = -1;
    imp->qty_micros = 1000000;
}

void openrtb_default_deal(void *object)
{
    struct bidreq_deal *deal = object;
    deal->bidfloorcur = STR("USD");
}

void openrtb_default_banner(void *object)
{
    struct bidreq_banner *banner = object;
    banner->pos = -1;
}

void openrtb_default_av(void *object)
{
    struct bidreq_av *av = &((struct openrtb_av *)object)->av;
    av->maxduration = INT32_MAX;
    av->startdelay = INT32_MIN;
    av->plcmt = av->placement = av->linearity = av->skip = av->pos = -1;
    av->maxbitrate = INT32_MAX;
}

void openrtb_default_native(void *object)
{
    struct bidreq_native *native = &((struct openrtb_native *)object)->native;
    native->ver = STR("1.2");
    native->malformed = true; /* until usable markup is found */
}

void openrtb_default_asset(void *object)
{
    struct bidreq_asset *asset = object;
    asset->kind = BIDREQ_ASSET_UNKNOWN;
    asset->maxduration = INT32_MAX;
}

void openrtb_default_durfloor(void *object)
{
    struct bidreq_durfloor *durfloor = object;
    durfloor->max_s = INT32_MAX;
}

static void default_media(struct openrtb_media *media)
{
    media->media.cattax = media->media.content_cattax = 1;
    media->media.content_livestream = -1;
}

static void default_geo(struct bidreq_geo *geo)
{
    geo->lat_micro = geo->lon_micro = DEGREES_ABSENT;
    geo->utcoffset = INT32_MIN;
}

static void default_regs(struct bidreq_regs *regs)
{
    regs->coppa = regs->gdpr = regs->gpc = -1;
}

void openrtb_wire_init(struct openrtb_wire *wire, struct arena *arena)
{
    memset(wire, 0, sizeof(*wire));
    wire->request.arena = arena;
    wire->request.at = 2;
    wire->request.cattax = 1;
    wire->request.device.dnt = wire->request.device.lmt = -1;
    wire->request.source.fd = wire->request.source.schain_complete = -1;
    wire->schain.complete = wire->old_schain.complete = -1;
    default_geo(&wire->request.device.geo);
    default_geo(&wire->user_geo);
    default_regs(&wire->request.regs);
    default_regs(&wire->old_regs);
    default_media(&wire->site);
    default_media(&wire->app);
    default_media(&wire->dooh);
}

/* --- native -------------------------------------------------------------------------------- */

void openrtb_asset_adopt(struct bidreq_asset *asset, const struct bidreq_asset *part,
                         enum bidreq_asset_kind kind)
{
    if (kind >= asset->kind) {
        return;
    }
    int32_t id = asset->id;
    bool required = asset->required;
    *asset = *part;
    asset->id = id;
    asset->required = required;
    asset->kind = kind;
}

void openrtb_native_adopt(struct openrtb_native *to, const struct openrtb_markup *markup)
{
    struct bidreq_native *native = &to->native;
    const struct bidreq_native *from = NULL;
    if (markup) {
        from = markup->root ? markup->root : &markup->top;
    }
    if (!from || !from->assets.count) {
        return; /* stays malformed */
    }
    to->markup_ver = from->ver;
    native->assets.items = from->assets.items;
    native->assets.count = from->assets.count;
    native->eventtrackers.items = from->eventtrackers.items;
    native->eventtrackers.count = from->eventtrackers.count;
    native->has_root = markup->root != NULL;
    native->malformed = false;
}

/* --- merging ------------------------------------------------------------------------------- */

static void fill_text(struct str *text, struct str from)
{
    if (!text->len) {
        *text = from;
    }
}

static void fill_flag(int32_t *flag, int32_t from)
{
    if (*flag == -1) {
        *flag = from;
    }
}

static void fill_texts(struct str_list *list, struct str_list from)
{
    if (!list->count) {
        *list = from;
    }
}

static bool finish_point(struct bidreq_geo *geo)
{
    geo->has_point = geo->lat_micro >= -90000000 && geo->lat_micro <= 90000000 &&
                     geo->lon_micro >= -180000000 && geo->lon_micro <= 180000000;
    if (!geo->has_point) {
        geo->lat_micro = geo->lon_micro = 0;
    }
    return geo->has_point;
}

static void finish_geo(struct bidreq_geo *geo, struct bidreq_geo *user)
{
    if (!finish_point(geo) && finish_point(user)) {
        geo->has_point = true;
        geo->lat_micro = user->lat_micro;
        geo->lon_micro = user->lon_micro;
    }
    fill_text(&geo->country, user->country);
    fill_text(&geo->region, user->region);
    fill_text(&geo->city, user->city);
    fill_text(&geo->zip, user->zip);
    fill_text(&geo->metro, user->metro);
    geo->utcoffset = geo->utcoffset == INT32_MIN ? user->utcoffset : geo->utcoffset;
    geo->type = geo->type ? geo->type : user->type;
}

/* A request is about one place; where several are sent the app goes first (it knows its bundle),
 * then site, then dooh. */
static void finish_media(struct openrtb_wire *wire)
{
    struct openrtb_media *media = wire->app.media.kind    ? &wire->app
                                  : wire->site.media.kind ? &wire->site
                                                          : &wire->dooh;
    fill_texts(&media->media.keywords, media->kwarray);
    if (media->media.kind != BIDREQ_APP) {
        media->media.bundle = STR_NONE;
    }
    if (media->media.kind != BIDREQ_SITE) {
        media->media.page = STR_NONE;
    }
    wire->request.media = media->media;
}

static void finish_people(struct openrtb_wire *wire)
{
    struct bidreq_user *user = &wire->request.user;
    fill_texts(&user->keywords, wire->user_kwarray);
    fill_text(&user->consent, wire->old_user.consent);
    if (!user->eids.count) {
        user->eids.items = wire->old_user.eids.items;
        user->eids.count = wire->old_user.eids.count;
    }
    struct bidreq_regs *regs = &wire->request.regs;
    fill_flag(&regs->gdpr, wire->old_regs.gdpr);
    fill_flag(&regs->gpc, wire->old_regs.gpc);
    fill_text(&regs->us_privacy, wire->old_regs.us_privacy);
    fill_text(&regs->gpp, wire->old_regs.gpp);
    if (!regs->gpp_sid.count) {
        regs->gpp_sid = wire->old_regs.gpp_sid;
    }
    struct bidreq_source *source = &wire->request.source;
    const struct openrtb_schain *schain = wire->schain.present ? &wire->schain : &wire->old_schain;
    source->has_schain = schain->present;
    source->schain_complete = schain->complete;
    source->schain.items = schain->nodes.items;
    source->schain.count = schain->nodes.count;
}

static bool has_int(struct int_list list, int32_t value)
{
    for (uint32_t i = 0; i < list.count; i++) {
        if (list.items[i] == value) {
            return true;
        }
    }
    return false;
}

/* The deprecated single protocol joins the list. */
static enum bidreq_reject finish_av(struct arena *arena, struct bidreq_av *av)
{
    void *item;
    if (!av) {
        return BIDREQ_OK;
    }
    int32_t protocol = ((struct openrtb_av *)av)->protocol;
    if (!protocol || has_int(av->protocols, protocol)) {
        return BIDREQ_OK;
    }
    enum openrtb_push pushed =
        openrtb_push(arena, &av->protocols, sizeof(int32_t), BIDREQ_MAX_LIST, &item);
    if (pushed != OPENRTB_PUSHED) {
        return pushed == OPENRTB_FULL ? BIDREQ_TOO_LARGE : BIDREQ_NO_MEMORY;
    }
    *(int32_t *)item = protocol;
    return BIDREQ_OK;
}

static enum bidreq_reject check_imps(const struct bid_request *request)
{
    for (uint32_t i = 0; i < request->imp.count; i++) {
        if (!request->imp.items[i].id.len) {
            return BIDREQ_NO_IMP_ID;
        }
    }
    for (uint32_t i = 1; i < request->imp.count; i++) { /* BIDREQ_MAX_IMPS bounds the square */
        for (uint32_t j = 0; j < i; j++) {
            if (str_eq(request->imp.items[i].id, request->imp.items[j].id)) {
                return BIDREQ_DUPLICATE_IMP_ID;
            }
        }
    }
    return BIDREQ_OK;
}

enum bidreq_reject openrtb_wire_finish(struct openrtb_wire *wire, struct bid_request *request)
{
    finish_media(wire);
    finish_geo(&wire->request.device.geo, &wire->user_geo);
    finish_people(wire);
    enum bidreq_reject reject = BIDREQ_OK;
    for (uint32_t i = 0; i < wire->request.imp.count && !reject; i++) {
        struct bidreq_imp *imp = &wire->request.imp.items[i];
        imp->qty_micros = imp->qty_micros ? imp->qty_micros : 1000000;
        if (imp->native && ((struct openrtb_native *)imp->native)->markup_ver.len) {
            imp->native->ver = ((struct openrtb_native *)imp->native)->markup_ver;
        }
        reject = finish_av(wire->request.arena, imp->video);
        reject = reject ? reject : finish_av(wire->request.arena, imp->audio);
    }
    *request = wire->request;
    if (reject) {
        return reject;
    }
    if (!request->id.len) {
        return BIDREQ_NO_ID;
    }
    return request->imp.count ? check_imps(request) : BIDREQ_NO_IMP;
}

bool openrtb_is_ping(struct str body)
{
    char significant[2];
    size_t count = 0;
    for (size_t i = 0; i < body.len; i++) {
        char c = body.ptr[i];
        if (c == ' ' || c == '\n' || c == '\r' || c == '\t') {
            continue;
        }
        if (count == 2) {
            return false;
        }
        significant[count++] = c;
    }
    return (count == 1 && significant[0] == '1') ||
           (count == 2 && significant[0] == '{' && significant[1] == '}');
}
