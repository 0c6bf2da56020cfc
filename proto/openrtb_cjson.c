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

#include <cjson/cJSON.h>

#include "bidder/base/json.h"
#include "proto/openrtb_wire.h"

struct oracle {
    struct arena *arena;
    struct openrtb_wire *wire;
    bool too_large;
    bool no_memory;
};

/* --- parsing ------------------------------------------------------------------------------- */

static struct arena *hook_arena;

static void *hook_malloc(size_t bytes)
{
    return arena_alloc(hook_arena, bytes);
}

static void hook_free(void *pointer)
{
    (void)pointer; /* goes with the arena */
}

/* The texts of all numbers, in the order of the document. */
static bool collect_numbers(struct json_reader *r, struct str_list *numbers)
{
    struct str key, text;
    void *item;
    switch (json_peek(r)) {
    case JSON_OBJECT:
        json_object_begin(r);
        while (json_object_next(r, &key)) {
            collect_numbers(r, numbers);
        }
        break;
    case JSON_ARRAY:
        json_array_begin(r);
        while (json_array_next(r)) {
            collect_numbers(r, numbers);
        }
        break;
    case JSON_NUMBER:
        if (json_read_number(r, &text)) {
            if (openrtb_push(r->arena, numbers, sizeof(text), UINT32_MAX, &item) !=
                OPENRTB_PUSHED) {
                json_fail(r, JSON_ERROR_MEMORY);
                break;
            }
            *(struct str *)item = arena_strdup(r->arena, text);
            if (!((struct str *)item)->ptr) {
                json_fail(r, JSON_ERROR_MEMORY);
            }
        }
        break;
    default:
        json_skip(r);
        break;
    }
    return !r->error;
}

static void hang_numbers(cJSON *item, struct str **next)
{
    for (; item; item = item->next) {
        if (cJSON_IsNumber(item)) {
            item->valuestring = (char *)(uintptr_t)(*next)++->ptr;
        }
        hang_numbers(item->child, next);
    }
}

/* NULL and the reason when the text is not valid or the arena is full. */
static cJSON *parse(struct str text, struct arena *arena, enum json_error *error)
{
    struct json_reader r;
    struct str_list numbers = {0};
    json_reader_init(&r, text, arena, BIDREQ_MAX_DEPTH);
    collect_numbers(&r, &numbers);
    json_finish(&r);
    *error = r.error;
    if (r.error) {
        return NULL;
    }
    cJSON_Hooks hooks = {.malloc_fn = hook_malloc, .free_fn = hook_free};
    hook_arena = arena;
    cJSON_InitHooks(&hooks);
    cJSON *tree = cJSON_ParseWithLength(text.ptr, text.len);
    cJSON_InitHooks(NULL);
    if (!tree) {
        *error = JSON_ERROR_MEMORY; /* the strict reader found it valid */
        return NULL;
    }
    hang_numbers(tree, &numbers.items);
    return tree;
}

/* --- values -------------------------------------------------------------------------------- */

static const cJSON *get(const cJSON *object, const char *name)
{
    return cJSON_GetObjectItemCaseSensitive(object, name); /* the first of duplicates */
}

static const cJSON *get_object(const cJSON *object, const char *name)
{
    const cJSON *item = get(object, name);
    return cJSON_IsObject(item) ? item : NULL;
}

static struct str text_of(struct oracle *o, const cJSON *item)
{
    if (!cJSON_IsString(item) && !cJSON_IsNumber(item)) {
        return STR_NONE;
    }
    struct str text = str_from(item->valuestring);
    if (cJSON_IsString(item) && text.len > BIDREQ_MAX_TEXT) {
        o->too_large = true;
        return STR_NONE;
    }
    return text;
}

static void get_text(struct oracle *o, const cJSON *object, const char *name, struct str *to)
{
    struct str text = text_of(o, get(object, name));
    if (text.len) {
        *to = text;
    }
}

static bool number_of(const cJSON *item, struct str *number)
{
    if (cJSON_IsBool(item)) {
        *number = cJSON_IsTrue(item) ? STR("1") : STR("0");
        return true;
    }
    if (!cJSON_IsNumber(item) && !cJSON_IsString(item)) {
        return false;
    }
    *number = str_trim(str_from(item->valuestring));
    return json_number_valid(*number);
}

static void get_int(const cJSON *object, const char *name, int32_t *to)
{
    struct str number;
    if (number_of(get(object, name), &number)) {
        *to = json_number_to_i32(number);
    }
}

static void get_count(const cJSON *object, const char *name, int32_t *to)
{
    int32_t value = -1;
    get_int(object, name, &value);
    *to = value >= 0 ? value : *to;
}

static void get_flag(const cJSON *object, const char *name, int32_t *to)
{
    int32_t value = -1;
    get_int(object, name, &value);
    *to = value >= 0 ? value > 0 : *to;
}

static void get_bool(const cJSON *object, const char *name, bool *to)
{
    int32_t value = *to;
    get_flag(object, name, &value);
    *to = value != 0;
}

static void get_price(const cJSON *object, const char *name, int64_t *to)
{
    struct str number;
    if (number_of(get(object, name), &number) && json_number_to_micros(number) >= 0) {
        *to = json_number_to_micros(number);
    }
}

static void get_degrees(const cJSON *object, const char *name, int64_t *to)
{
    struct str number;
    if (number_of(get(object, name), &number)) {
        *to = json_number_to_micros(number);
    }
}

/* --- lists --------------------------------------------------------------------------------- */

static void *push(struct oracle *o, void *list, size_t size, uint32_t max)
{
    void *item = NULL;
    enum openrtb_push pushed = openrtb_push(o->arena, list, size, max, &item);
    o->too_large |= pushed == OPENRTB_FULL;
    o->no_memory |= pushed == OPENRTB_NO_MEMORY;
    return pushed == OPENRTB_PUSHED ? item : NULL;
}

/* The items of an array, or the value itself in place of one. */
static const cJSON *first_item(const cJSON *value)
{
    return cJSON_IsArray(value) ? value->child : value;
}

static const cJSON *next_item(const cJSON *value, const cJSON *item)
{
    return cJSON_IsArray(value) ? item->next : NULL;
}

#define FOREACH_ITEM(item, value)                                                                  \
    for (const cJSON *item = first_item(value); item; item = next_item(value, item))
#define FOREACH_OBJECT(item, value)                                                                \
    FOREACH_ITEM(item, value)                                                                      \
    if (cJSON_IsObject(item))

static void push_text(struct oracle *o, struct str_list *list, struct str text)
{
    struct str *item = text.len ? push(o, list, sizeof(*item), BIDREQ_MAX_LIST) : NULL;
    if (item) {
        *item = text;
    }
}

static void get_texts(struct oracle *o, const cJSON *object, const char *name,
                      struct str_list *list)
{
    const cJSON *value = get(object, name);
    FOREACH_ITEM(item, value)
    {
        push_text(o, list, text_of(o, item));
    }
}

static void get_keywords(struct oracle *o, const cJSON *object, const char *name,
                         struct str_list *list)
{
    const cJSON *value = get(object, name);
    FOREACH_ITEM(item, value)
    {
        struct str text = text_of(o, item);
        while (text.len) {
            push_text(o, list, str_trim(str_cut(&text, ',')));
        }
    }
}

static void get_ints(struct oracle *o, const cJSON *object, const char *name, struct int_list *list)
{
    const cJSON *value = get(object, name);
    FOREACH_ITEM(item, value)
    {
        struct str number;
        int32_t *to = number_of(item, &number) ? push(o, list, sizeof(*to), BIDREQ_MAX_LIST) : NULL;
        if (to) {
            *to = json_number_to_i32(number);
        }
    }
}

static void get_durfloors(struct oracle *o, const cJSON *object, struct bidreq_durfloors *list)
{
    const cJSON *value = get(object, "durfloors");
    FOREACH_OBJECT(item, value)
    {
        struct bidreq_durfloor *floor = push(o, list, sizeof(*floor), BIDREQ_MAX_LIST);
        if (floor) {
            openrtb_default_durfloor(floor);
            get_count(item, "mindur", &floor->min_s);
            get_count(item, "maxdur", &floor->max_s);
            get_price(item, "bidfloor", &floor->bidfloor_micros);
        }
    }
}

static void *make(struct oracle *o, const cJSON *object, size_t size)
{
    void *made = object ? arena_calloc(o->arena, 1, size) : NULL;
    o->no_memory |= object && !made;
    return made;
}

/* --- imp ----------------------------------------------------------------------------------- */

static struct bidreq_banner *read_banner(struct oracle *o, const cJSON *object)
{
    struct bidreq_banner *banner = make(o, object, sizeof(*banner));
    if (!banner) {
        return NULL;
    }
    openrtb_default_banner(banner);
    get_count(object, "w", &banner->w);
    get_count(object, "h", &banner->h);
    const cJSON *formats = get(object, "format");
    FOREACH_OBJECT(item, formats)
    {
        struct bidreq_size *size = push(o, &banner->format, sizeof(*size), BIDREQ_MAX_LIST);
        if (size) {
            get_count(item, "w", &size->w);
            get_count(item, "h", &size->h);
            get_count(item, "wratio", &size->wratio);
            get_count(item, "hratio", &size->hratio);
            get_count(item, "wmin", &size->wmin);
        }
    }
    get_ints(o, object, "btype", &banner->btype);
    get_ints(o, object, "battr", &banner->battr);
    get_ints(o, object, "api", &banner->api);
    get_texts(o, object, "mimes", &banner->mimes);
    get_count(object, "pos", &banner->pos);
    return banner;
}

static struct bidreq_av *read_av(struct oracle *o, const cJSON *object, bool video)
{
    struct openrtb_av *outer = make(o, object, sizeof(*outer));
    if (!outer) {
        return NULL;
    }
    struct bidreq_av *av = &outer->av;
    openrtb_default_av(outer);
    get_texts(o, object, "mimes", &av->mimes);
    get_count(object, "minduration", &av->minduration);
    get_count(object, "maxduration", &av->maxduration);
    get_ints(o, object, "rqddurs", &av->rqddurs);
    get_ints(o, object, "protocols", &av->protocols);
    get_ints(o, object, "api", &av->api);
    get_ints(o, object, "battr", &av->battr);
    get_ints(o, object, "delivery", &av->delivery);
    get_int(object, "startdelay", &av->startdelay);
    get_count(object, "minbitrate", &av->minbitrate);
    get_count(object, "maxbitrate", &av->maxbitrate);
    get_text(o, object, "podid", &av->podid);
    get_int(object, "podseq", &av->podseq);
    get_int(object, "slotinpod", &av->slotinpod);
    get_count(object, "poddur", &av->poddur);
    get_count(object, "maxseq", &av->maxseq);
    get_price(object, "mincpmpersec", &av->mincpmpersec_micros);
    get_durfloors(o, object, &av->durfloors);
    if (video) {
        get_count(object, "protocol", &outer->protocol);
        get_count(object, "w", &av->w);
        get_count(object, "h", &av->h);
        get_count(object, "plcmt", &av->plcmt);
        get_count(object, "placement", &av->placement);
        get_count(object, "linearity", &av->linearity);
        get_flag(object, "skip", &av->skip);
        get_count(object, "pos", &av->pos);
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
        get_count(part, "len", &read.len);
        break;
    case BIDREQ_ASSET_IMAGE:
        get_count(part, "type", &read.type);
        get_count(part, "w", &read.w);
        get_count(part, "h", &read.h);
        get_count(part, "wmin", &read.wmin);
        get_count(part, "hmin", &read.hmin);
        get_texts(o, part, "mimes", &read.mimes);
        break;
    case BIDREQ_ASSET_VIDEO:
        get_texts(o, part, "mimes", &read.mimes);
        get_count(part, "minduration", &read.minduration);
        get_count(part, "maxduration", &read.maxduration);
        get_ints(o, part, "protocols", &read.protocols);
        break;
    case BIDREQ_ASSET_DATA:
        get_count(part, "type", &read.type);
        get_count(part, "len", &read.len);
        break;
    case BIDREQ_ASSET_UNKNOWN:
        break;
    }
    openrtb_asset_adopt(asset, &read, kind);
}

static void read_markup(struct oracle *o, const cJSON *object, struct bidreq_native *markup)
{
    get_text(o, object, "ver", &markup->ver);
    const cJSON *assets = get(object, "assets");
    FOREACH_OBJECT(item, assets)
    {
        struct bidreq_asset *asset = push(o, &markup->assets, sizeof(*asset), BIDREQ_MAX_LIST);
        if (asset) {
            openrtb_default_asset(asset);
            get_int(item, "id", &asset->id);
            get_bool(item, "required", &asset->required);
            read_asset_part(o, get_object(item, "title"), BIDREQ_ASSET_TITLE, asset);
            read_asset_part(o, get_object(item, "img"), BIDREQ_ASSET_IMAGE, asset);
            read_asset_part(o, get_object(item, "video"), BIDREQ_ASSET_VIDEO, asset);
            read_asset_part(o, get_object(item, "data"), BIDREQ_ASSET_DATA, asset);
        }
    }
    const cJSON *trackers = get(object, "eventtrackers");
    FOREACH_OBJECT(item, trackers)
    {
        struct bidreq_eventtracker *tracker =
            push(o, &markup->eventtrackers, sizeof(*tracker), BIDREQ_MAX_LIST);
        if (tracker) {
            get_count(item, "event", &tracker->event);
            get_ints(o, item, "methods", &tracker->methods);
        }
    }
}

static struct bidreq_native *read_native(struct oracle *o, const cJSON *object)
{
    struct openrtb_native *outer = make(o, object, sizeof(*outer));
    if (!outer) {
        return NULL;
    }
    struct bidreq_native *native = &outer->native;
    openrtb_default_native(outer);
    get_text(o, object, "ver", &native->ver);
    get_ints(o, object, "api", &native->api);
    get_ints(o, object, "battr", &native->battr);
    bool too_large = o->too_large;
    o->too_large = false;
    const cJSON *request = get(object, "request");
    if (cJSON_IsString(request)) {
        enum json_error error;
        request = parse(str_from(request->valuestring), o->arena, &error);
        o->no_memory |= error == JSON_ERROR_MEMORY;
    }
    if (cJSON_IsObject(request)) {
        struct openrtb_markup markup = {.root = NULL};
        read_markup(o, request, &markup.top);
        markup.root = make(o, get_object(request, "native"), sizeof(*markup.root));
        if (markup.root) {
            read_markup(o, get_object(request, "native"), markup.root);
        }
        openrtb_native_adopt(outer, o->too_large ? NULL : &markup);
    }
    o->too_large = too_large;
    return native;
}

static void read_pmp(struct oracle *o, const cJSON *pmp, struct bidreq_imp *imp)
{
    get_bool(pmp, "private_auction", &imp->private_auction);
    const cJSON *deals = get(pmp, "deals");
    FOREACH_OBJECT(item, deals)
    {
        struct bidreq_deal *deal = push(o, &imp->deals, sizeof(*deal), BIDREQ_MAX_LIST);
        if (deal) {
            openrtb_default_deal(deal);
            get_text(o, item, "id", &deal->id);
            get_price(item, "bidfloor", &deal->bidfloor_micros);
            get_text(o, item, "bidfloorcur", &deal->bidfloorcur);
            get_count(item, "at", &deal->at);
            get_flag(item, "guar", &deal->guar);
            get_texts(o, item, "wseat", &deal->wseat);
            get_texts(o, item, "wadomain", &deal->wadomain);
            get_price(item, "mincpmpersec", &deal->mincpmpersec_micros);
            get_durfloors(o, item, &deal->durfloors);
        }
    }
}

static void read_imp(struct oracle *o, const cJSON *object, struct bidreq_imp *imp)
{
    openrtb_default_imp(imp);
    get_text(o, object, "id", &imp->id);
    imp->banner = read_banner(o, get_object(object, "banner"));
    imp->video = read_av(o, get_object(object, "video"), true);
    imp->audio = read_av(o, get_object(object, "audio"), false);
    imp->native = read_native(o, get_object(object, "native"));
    read_pmp(o, get_object(object, "pmp"), imp);
    get_text(o, object, "tagid", &imp->tagid);
    get_price(object, "bidfloor", &imp->bidfloor_micros);
    get_text(o, object, "bidfloorcur", &imp->bidfloorcur);
    get_flag(object, "secure", &imp->secure);
    get_flag(object, "instl", &imp->instl);
    get_flag(object, "rwdd", &imp->rwdd);
    get_count(object, "ssai", &imp->ssai);
    get_count(object, "exp", &imp->exp);
    get_price(get_object(object, "qty"), "multiplier", &imp->qty_micros);
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
    get_text(o, object, "id", &media->id);
    get_text(o, object, "name", &media->name);
    get_text(o, object, "domain", &media->domain);
    get_text(o, object, "page", &media->page);
    get_text(o, object, "bundle", &media->bundle);
    get_texts(o, object, "cat", &media->cat);
    get_texts(o, object, "sectioncat", &media->sectioncat);
    get_texts(o, object, "pagecat", &media->pagecat);
    get_count(object, "cattax", &media->cattax);
    get_keywords(o, object, "keywords", &media->keywords);
    get_keywords(o, object, "kwarray", &outer->kwarray);
    const cJSON *publisher = get_object(object, "publisher");
    get_text(o, publisher, "id", &media->publisher_id);
    get_text(o, publisher, "domain", &media->publisher_domain);
    const cJSON *content = get_object(object, "content");
    get_text(o, content, "id", &media->content_id);
    get_text(o, content, "title", &media->content_title);
    get_text(o, content, "series", &media->content_series);
    get_text(o, content, "language", &media->content_language);
    get_texts(o, content, "cat", &media->content_cat);
    get_count(content, "cattax", &media->content_cattax);
    get_count(content, "len", &media->content_len);
    get_flag(content, "livestream", &media->content_livestream);
}

static void read_geo(struct oracle *o, const cJSON *object, struct bidreq_geo *geo)
{
    get_degrees(object, "lat", &geo->lat_micro);
    get_degrees(object, "lon", &geo->lon_micro);
    get_text(o, object, "country", &geo->country);
    get_text(o, object, "region", &geo->region);
    get_text(o, object, "city", &geo->city);
    get_text(o, object, "zip", &geo->zip);
    get_text(o, object, "metro", &geo->metro);
    get_int(object, "utcoffset", &geo->utcoffset);
    get_count(object, "type", &geo->type);
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
                                                : text_of(o, item);
        if (value.len) {
            struct bidreq_ext *kept = push(o, &request->ext, sizeof(*kept), BIDREQ_MAX_EXT);
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
    get_text(o, object, "ua", &device->ua);
    get_text(o, object, "ip", &device->ip);
    get_text(o, object, "ipv6", &device->ipv6);
    get_text(o, object, "make", &device->make);
    get_text(o, object, "model", &device->model);
    get_text(o, object, "os", &device->os);
    get_text(o, object, "osv", &device->osv);
    get_text(o, object, "language", &device->language);
    get_text(o, object, "carrier", &device->carrier);
    get_text(o, object, "ifa", &device->ifa);
    get_text(o, object, "didmd5", &device->didmd5);
    get_text(o, object, "didsha1", &device->didsha1);
    get_text(o, object, "dpidmd5", &device->dpidmd5);
    get_text(o, object, "dpidsha1", &device->dpidsha1);
    get_text(o, object, "macmd5", &device->macmd5);
    get_text(o, object, "macsha1", &device->macsha1);
    read_geo(o, get_object(object, "geo"), &device->geo);
    get_count(object, "devicetype", &device->devicetype);
    get_count(object, "connectiontype", &device->connectiontype);
    get_flag(object, "dnt", &device->dnt);
    get_flag(object, "lmt", &device->lmt);
    get_count(object, "w", &device->w);
    get_count(object, "h", &device->h);
    keep_scalars(o, "device.ext.", get_object(object, "ext"));
}

static void read_eids(struct oracle *o, const cJSON *object, struct bidreq_user *user)
{
    const cJSON *eids = get(object, "eids");
    FOREACH_OBJECT(item, eids)
    {
        struct bidreq_eid *eid = push(o, &user->eids, sizeof(*eid), BIDREQ_MAX_LIST);
        if (!eid) {
            continue;
        }
        get_text(o, item, "source", &eid->source);
        const cJSON *uids = get(item, "uids");
        FOREACH_OBJECT(uid, uids)
        {
            get_text(o, uid, "id", &eid->id);
            get_count(uid, "atype", &eid->atype);
            break;
        }
    }
}

static void read_user(struct oracle *o, const cJSON *object)
{
    struct bidreq_user *user = &o->wire->request.user;
    get_text(o, object, "id", &user->id);
    get_text(o, object, "buyeruid", &user->buyeruid);
    get_text(o, object, "gender", &user->gender);
    get_text(o, object, "consent", &user->consent);
    get_count(object, "yob", &user->yob);
    get_keywords(o, object, "keywords", &user->keywords);
    get_keywords(o, object, "kwarray", &o->wire->user_kwarray);
    read_eids(o, object, user);
    const cJSON *datas = get(object, "data");
    FOREACH_OBJECT(data, datas)
    {
        const cJSON *segments = get(data, "segment");
        FOREACH_OBJECT(segment, segments)
        {
            push_text(o, &user->segments, text_of(o, get(segment, "id")));
        }
    }
    read_geo(o, get_object(object, "geo"), &o->wire->user_geo);
    const cJSON *ext = get_object(object, "ext");
    keep_scalars(o, "user.ext.", ext);
    get_text(o, ext, "consent", &o->wire->old_user.consent);
    read_eids(o, ext, &o->wire->old_user);
}

static void read_regs(struct oracle *o, const cJSON *object, struct bidreq_regs *regs)
{
    get_flag(object, "gdpr", &regs->gdpr);
    get_flag(object, "gpc", &regs->gpc);
    get_text(o, object, "us_privacy", &regs->us_privacy);
    get_text(o, object, "gpp", &regs->gpp);
    get_ints(o, object, "gpp_sid", &regs->gpp_sid);
}

static void read_schain(struct oracle *o, const cJSON *object, struct openrtb_schain *schain)
{
    if (!object) {
        return;
    }
    schain->present = true;
    get_flag(object, "complete", &schain->complete);
    const cJSON *nodes = get(object, "nodes");
    FOREACH_OBJECT(item, nodes)
    {
        struct bidreq_schain_node *node = push(o, &schain->nodes, sizeof(*node), BIDREQ_MAX_LIST);
        if (node) {
            get_text(o, item, "asi", &node->asi);
            get_text(o, item, "sid", &node->sid);
        }
    }
}

static void read_lists(struct oracle *o, const cJSON *root)
{
    struct bid_request *request = &o->wire->request;
    get_texts(o, root, "wseat", &request->wseat);
    get_texts(o, root, "bseat", &request->bseat);
    get_texts(o, root, "cur", &request->cur);
    get_texts(o, root, "wlang", &request->wlang);
    get_texts(o, root, "bcat", &request->bcat);
    get_texts(o, root, "acat", &request->acat);
    get_texts(o, root, "badv", &request->badv);
    get_texts(o, root, "bapp", &request->bapp);
}

static void read_root(struct oracle *o, const cJSON *root)
{
    struct openrtb_wire *wire = o->wire;
    struct bid_request *request = &wire->request;
    get_text(o, root, "id", &request->id);
    const cJSON *imps = get(root, "imp");
    FOREACH_OBJECT(item, imps)
    {
        struct bidreq_imp *imp = push(o, &request->imp, sizeof(*imp), BIDREQ_MAX_IMPS);
        if (imp) {
            read_imp(o, item, imp);
        }
    }
    read_media(o, get_object(root, "site"), BIDREQ_SITE, &wire->site);
    read_media(o, get_object(root, "app"), BIDREQ_APP, &wire->app);
    read_media(o, get_object(root, "dooh"), BIDREQ_DOOH, &wire->dooh);
    /* Their ext scalars go into one list, in the order of the document. */
    const cJSON *device = get_object(root, "device"), *user = get_object(root, "user");
    for (const cJSON *item = root->child; item; item = item->next) {
        if (item == device) {
            read_device(o, device);
        } else if (item == user) {
            read_user(o, user);
        }
    }
    const cJSON *regs = get_object(root, "regs");
    get_flag(regs, "coppa", &request->regs.coppa);
    read_regs(o, regs, &request->regs);
    read_regs(o, get_object(regs, "ext"), &wire->old_regs);
    const cJSON *source = get_object(root, "source");
    get_text(o, source, "tid", &request->source.tid);
    get_flag(source, "fd", &request->source.fd);
    read_schain(o, get_object(source, "schain"), &wire->schain);
    read_schain(o, get_object(get_object(source, "ext"), "schain"), &wire->old_schain);
    get_flag(root, "test", &request->test);
    get_count(root, "at", &request->at);
    get_count(root, "tmax", &request->tmax_ms);
    get_bool(root, "allimps", &request->allimps);
    get_count(root, "cattax", &request->cattax);
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
    const cJSON *root = parse(body, arena, &error);
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
