/* The fields of OpenRTB 2.5 and 2.6 that decide, object by object. See openrtb_fields.h. */
#include "proto/openrtb_fields.h"

#include "bidder/base/bug.h"
#include "proto/openrtb_wire.h"

/* F(struct, "name", KIND, member) and, with an inner table, T(..., table). */
#define F(type, name_, kind_, member)                                                              \
    {                                                                                              \
        .name = {name_, sizeof(name_) - 1}, .kind = FIELD_##kind_,                                 \
        .offset = offsetof(type, member)                                                           \
    }
#define T(type, name_, kind_, member, table_)                                                      \
    {                                                                                              \
        .name = {name_, sizeof(name_) - 1}, .kind = FIELD_##kind_,                                 \
        .offset = offsetof(type, member), .table = &(table_), .arg = BIDREQ_MAX_LIST               \
    }
/* An object whose members land in the struct we are in. */
#define HERE(name_, kind_, table_)                                                                 \
    {                                                                                              \
        .name = {name_, sizeof(name_) - 1}, .kind = FIELD_##kind_, .table = &(table_)              \
    }
#define FIELDS(fields_) .fields = (fields_), .count = COUNT_OF(fields_)

/* --- small shared objects ------------------------------------------------------------------ */

static struct field durfloor_fields[] = {
    F(struct bidreq_durfloor, "mindur", COUNT, min_s),
    F(struct bidreq_durfloor, "maxdur", COUNT, max_s),
    F(struct bidreq_durfloor, "bidfloor", PRICE, bidfloor_micros),
};
static struct field_table durfloor_table = {FIELDS(durfloor_fields),
                                            .size = sizeof(struct bidreq_durfloor),
                                            .enter = openrtb_default_durfloor};

static struct field geo_fields[] = {
    F(struct bidreq_geo, "lat", DEGREES, lat_micro),
    F(struct bidreq_geo, "lon", DEGREES, lon_micro),
    F(struct bidreq_geo, "country", TEXT, country),
    F(struct bidreq_geo, "region", TEXT, region),
    F(struct bidreq_geo, "city", TEXT, city),
    F(struct bidreq_geo, "zip", TEXT, zip),
    F(struct bidreq_geo, "metro", TEXT, metro),
    F(struct bidreq_geo, "type", COUNT, type),
    F(struct bidreq_geo, "utcoffset", INT, utcoffset),
};
static struct field_table geo_table = {FIELDS(geo_fields)};

/* --- imp ----------------------------------------------------------------------------------- */

static struct field size_fields[] = {
    F(struct bidreq_size, "w", COUNT, w),           F(struct bidreq_size, "h", COUNT, h),
    F(struct bidreq_size, "wratio", COUNT, wratio), F(struct bidreq_size, "hratio", COUNT, hratio),
    F(struct bidreq_size, "wmin", COUNT, wmin),
};
static struct field_table size_table = {FIELDS(size_fields), .size = sizeof(struct bidreq_size)};

static struct field banner_fields[] = {
    F(struct bidreq_banner, "w", COUNT, w),
    F(struct bidreq_banner, "h", COUNT, h),
    T(struct bidreq_banner, "format", OBJECTS, format, size_table),
    F(struct bidreq_banner, "btype", INTS, btype),
    F(struct bidreq_banner, "battr", INTS, battr),
    F(struct bidreq_banner, "api", INTS, api),
    F(struct bidreq_banner, "mimes", TEXTS, mimes),
    F(struct bidreq_banner, "pos", COUNT, pos),
};
static struct field_table banner_table = {
    FIELDS(banner_fields), .size = sizeof(struct bidreq_banner), .enter = openrtb_default_banner};

#define AV_FIELDS                                                                                  \
    F(struct bidreq_av, "mimes", TEXTS, mimes),                                                    \
        F(struct bidreq_av, "minduration", COUNT, minduration),                                    \
        F(struct bidreq_av, "maxduration", COUNT, maxduration),                                    \
        F(struct bidreq_av, "rqddurs", INTS, rqddurs),                                             \
        F(struct bidreq_av, "protocols", INTS, protocols), F(struct bidreq_av, "api", INTS, api),  \
        F(struct bidreq_av, "battr", INTS, battr),                                                 \
        F(struct bidreq_av, "delivery", INTS, delivery),                                           \
        F(struct bidreq_av, "startdelay", INT, startdelay),                                        \
        F(struct bidreq_av, "minbitrate", COUNT, minbitrate),                                      \
        F(struct bidreq_av, "maxbitrate", COUNT, maxbitrate),                                      \
        F(struct bidreq_av, "podid", TEXT, podid), F(struct bidreq_av, "podseq", INT, podseq),     \
        F(struct bidreq_av, "slotinpod", INT, slotinpod),                                          \
        F(struct bidreq_av, "poddur", COUNT, poddur),                                              \
        F(struct bidreq_av, "maxseq", COUNT, maxseq),                                              \
        F(struct bidreq_av, "mincpmpersec", PRICE, mincpmpersec_micros),                           \
        T(struct bidreq_av, "durfloors", OBJECTS, durfloors, durfloor_table)

static struct field video_fields[] = {
    AV_FIELDS,
    F(struct openrtb_av, "protocol", COUNT, protocol),
    F(struct bidreq_av, "w", COUNT, w),
    F(struct bidreq_av, "h", COUNT, h),
    F(struct bidreq_av, "plcmt", COUNT, plcmt),
    F(struct bidreq_av, "placement", COUNT, placement),
    F(struct bidreq_av, "linearity", COUNT, linearity),
    F(struct bidreq_av, "skip", FLAG, skip),
    F(struct bidreq_av, "pos", COUNT, pos),
};
static struct field_table video_table = {FIELDS(video_fields), .size = sizeof(struct openrtb_av),
                                         .enter = openrtb_default_av};

static struct field audio_fields[] = {AV_FIELDS};
static struct field_table audio_table = {FIELDS(audio_fields), .size = sizeof(struct openrtb_av),
                                         .enter = openrtb_default_av};

static struct field deal_fields[] = {
    F(struct bidreq_deal, "id", TEXT, id),
    F(struct bidreq_deal, "bidfloor", PRICE, bidfloor_micros),
    F(struct bidreq_deal, "bidfloorcur", TEXT, bidfloorcur),
    F(struct bidreq_deal, "at", COUNT, at),
    F(struct bidreq_deal, "guar", FLAG, guar),
    F(struct bidreq_deal, "wseat", TEXTS, wseat),
    F(struct bidreq_deal, "wadomain", TEXTS, wadomain),
    F(struct bidreq_deal, "mincpmpersec", PRICE, mincpmpersec_micros),
    T(struct bidreq_deal, "durfloors", OBJECTS, durfloors, durfloor_table),
};
static struct field_table deal_table = {FIELDS(deal_fields), .size = sizeof(struct bidreq_deal),
                                        .enter = openrtb_default_deal};

static struct field pmp_fields[] = {
    F(struct bidreq_imp, "private_auction", BOOL, private_auction),
    T(struct bidreq_imp, "deals", OBJECTS, deals, deal_table),
};
static struct field_table pmp_table = {FIELDS(pmp_fields)};

static struct field qty_fields[] = {F(struct bidreq_imp, "multiplier", PRICE, qty_micros)};
static struct field_table qty_table = {FIELDS(qty_fields)};

/* --- native -------------------------------------------------------------------------------- */

static struct field title_fields[] = {F(struct bidreq_asset, "len", COUNT, len)};
static struct field_table title_table = {FIELDS(title_fields)};

static struct field image_fields[] = {
    F(struct bidreq_asset, "type", COUNT, type), F(struct bidreq_asset, "w", COUNT, w),
    F(struct bidreq_asset, "h", COUNT, h),       F(struct bidreq_asset, "wmin", COUNT, wmin),
    F(struct bidreq_asset, "hmin", COUNT, hmin), F(struct bidreq_asset, "mimes", TEXTS, mimes),
};
static struct field_table image_table = {FIELDS(image_fields)};

static struct field asset_video_fields[] = {
    F(struct bidreq_asset, "mimes", TEXTS, mimes),
    F(struct bidreq_asset, "minduration", COUNT, minduration),
    F(struct bidreq_asset, "maxduration", COUNT, maxduration),
    F(struct bidreq_asset, "protocols", INTS, protocols),
};
static struct field_table asset_video_table = {FIELDS(asset_video_fields)};

static struct field data_fields[] = {
    F(struct bidreq_asset, "type", COUNT, type),
    F(struct bidreq_asset, "len", COUNT, len),
};
static struct field_table data_table = {FIELDS(data_fields)};

#define PART(name_, table_, kind_)                                                                 \
    {                                                                                              \
        .name = {name_, sizeof(name_) - 1}, .kind = FIELD_ASSET, .table = &(table_),               \
        .arg = (kind_)                                                                             \
    }
static struct field asset_fields[] = {
    F(struct bidreq_asset, "id", INT, id),
    F(struct bidreq_asset, "required", BOOL, required),
    PART("title", title_table, BIDREQ_ASSET_TITLE),
    PART("img", image_table, BIDREQ_ASSET_IMAGE),
    PART("video", asset_video_table, BIDREQ_ASSET_VIDEO),
    PART("data", data_table, BIDREQ_ASSET_DATA),
};
static struct field_table asset_table = {FIELDS(asset_fields), .size = sizeof(struct bidreq_asset),
                                         .enter = openrtb_default_asset};

static struct field eventtracker_fields[] = {
    F(struct bidreq_eventtracker, "event", COUNT, event),
    F(struct bidreq_eventtracker, "methods", INTS, methods),
};
static struct field_table eventtracker_table = {FIELDS(eventtracker_fields),
                                                .size = sizeof(struct bidreq_eventtracker)};

#define MARKUP_FIELDS                                                                              \
    F(struct bidreq_native, "ver", TEXT, ver),                                                     \
        T(struct bidreq_native, "assets", OBJECTS, assets, asset_table),                           \
        T(struct bidreq_native, "eventtrackers", OBJECTS, eventtrackers, eventtracker_table)

static struct field markup_inner_fields[] = {MARKUP_FIELDS};
static struct field_table markup_inner_table = {FIELDS(markup_inner_fields),
                                                .size = sizeof(struct bidreq_native)};
static struct field markup_fields[] = {
    MARKUP_FIELDS,
    T(struct openrtb_markup, "native", OBJECT, root, markup_inner_table),
};
struct field_table openrtb_markup_table = {FIELDS(markup_fields)};

static struct field native_fields[] = {
    F(struct bidreq_native, "ver", TEXT, ver),
    F(struct bidreq_native, "api", INTS, api),
    F(struct bidreq_native, "battr", INTS, battr),
    HERE("request", MARKUP, openrtb_markup_table),
};
static struct field_table native_table = {
    FIELDS(native_fields), .size = sizeof(struct openrtb_native), .enter = openrtb_default_native};

static struct field imp_fields[] = {
    F(struct bidreq_imp, "id", TEXT, id),
    T(struct bidreq_imp, "banner", OBJECT, banner, banner_table),
    T(struct bidreq_imp, "video", OBJECT, video, video_table),
    T(struct bidreq_imp, "audio", OBJECT, audio, audio_table),
    T(struct bidreq_imp, "native", OBJECT, native, native_table),
    HERE("pmp", INSIDE, pmp_table),
    F(struct bidreq_imp, "tagid", TEXT, tagid),
    F(struct bidreq_imp, "bidfloor", PRICE, bidfloor_micros),
    F(struct bidreq_imp, "bidfloorcur", TEXT, bidfloorcur),
    F(struct bidreq_imp, "secure", FLAG, secure),
    F(struct bidreq_imp, "instl", FLAG, instl),
    F(struct bidreq_imp, "rwdd", FLAG, rwdd),
    F(struct bidreq_imp, "ssai", COUNT, ssai),
    F(struct bidreq_imp, "exp", COUNT, exp),
    HERE("qty", INSIDE, qty_table),
};
static struct field_table imp_table = {FIELDS(imp_fields), .size = sizeof(struct bidreq_imp),
                                       .enter = openrtb_default_imp};

/* --- site, app, dooh ----------------------------------------------------------------------- */

static struct field publisher_fields[] = {
    F(struct bidreq_media, "id", TEXT, publisher_id),
    F(struct bidreq_media, "domain", TEXT, publisher_domain),
};
static struct field_table publisher_table = {FIELDS(publisher_fields)};

static struct field content_fields[] = {
    F(struct bidreq_media, "id", TEXT, content_id),
    F(struct bidreq_media, "title", TEXT, content_title),
    F(struct bidreq_media, "series", TEXT, content_series),
    F(struct bidreq_media, "language", TEXT, content_language),
    F(struct bidreq_media, "cat", TEXTS, content_cat),
    F(struct bidreq_media, "cattax", COUNT, content_cattax),
    F(struct bidreq_media, "len", COUNT, content_len),
    F(struct bidreq_media, "livestream", FLAG, content_livestream),
};
static struct field_table content_table = {FIELDS(content_fields)};

static struct field media_fields[] = {
    F(struct bidreq_media, "id", TEXT, id),
    F(struct bidreq_media, "name", TEXT, name),
    F(struct bidreq_media, "domain", TEXT, domain),
    F(struct bidreq_media, "page", TEXT, page),
    F(struct bidreq_media, "bundle", TEXT, bundle),
    F(struct bidreq_media, "cat", TEXTS, cat),
    F(struct bidreq_media, "sectioncat", TEXTS, sectioncat),
    F(struct bidreq_media, "pagecat", TEXTS, pagecat),
    F(struct bidreq_media, "cattax", COUNT, cattax),
    F(struct bidreq_media, "keywords", KEYWORDS, keywords),
    F(struct openrtb_media, "kwarray", KEYWORDS, kwarray),
    HERE("publisher", INSIDE, publisher_table),
    HERE("content", INSIDE, content_table),
};

static void enter_site(void *media)
{
    ((struct openrtb_media *)media)->media.kind = BIDREQ_SITE;
}

static void enter_app(void *media)
{
    ((struct openrtb_media *)media)->media.kind = BIDREQ_APP;
}

static void enter_dooh(void *media)
{
    ((struct openrtb_media *)media)->media.kind = BIDREQ_DOOH;
}

static struct field_table site_table = {FIELDS(media_fields), .enter = enter_site};
static struct field_table app_table = {FIELDS(media_fields), .enter = enter_app};
static struct field_table dooh_table = {FIELDS(media_fields), .enter = enter_dooh};

/* --- device, user, regs, source ------------------------------------------------------------ */

static struct field_table device_ext_table = {.scalars = {"device.ext.", 11}};

static struct field device_fields[] = {
    F(struct bidreq_device, "ua", TEXT, ua),
    F(struct bidreq_device, "ip", TEXT, ip),
    F(struct bidreq_device, "ipv6", TEXT, ipv6),
    F(struct bidreq_device, "make", TEXT, make),
    F(struct bidreq_device, "model", TEXT, model),
    F(struct bidreq_device, "os", TEXT, os),
    F(struct bidreq_device, "osv", TEXT, osv),
    F(struct bidreq_device, "language", TEXT, language),
    F(struct bidreq_device, "carrier", TEXT, carrier),
    F(struct bidreq_device, "ifa", TEXT, ifa),
    F(struct bidreq_device, "didmd5", TEXT, didmd5),
    F(struct bidreq_device, "didsha1", TEXT, didsha1),
    F(struct bidreq_device, "dpidmd5", TEXT, dpidmd5),
    F(struct bidreq_device, "dpidsha1", TEXT, dpidsha1),
    F(struct bidreq_device, "macmd5", TEXT, macmd5),
    F(struct bidreq_device, "macsha1", TEXT, macsha1),
    T(struct bidreq_device, "geo", INSIDE, geo, geo_table),
    F(struct bidreq_device, "devicetype", COUNT, devicetype),
    F(struct bidreq_device, "connectiontype", COUNT, connectiontype),
    F(struct bidreq_device, "dnt", FLAG, dnt),
    F(struct bidreq_device, "lmt", FLAG, lmt),
    F(struct bidreq_device, "w", COUNT, w),
    F(struct bidreq_device, "h", COUNT, h),
    HERE("ext", INSIDE, device_ext_table),
};
static struct field_table device_table = {FIELDS(device_fields)};

static struct field uid_fields[] = {
    F(struct bidreq_eid, "id", TEXT, id),
    F(struct bidreq_eid, "atype", COUNT, atype),
};
static struct field_table uid_table = {FIELDS(uid_fields)};
static struct field eid_fields[] = {
    F(struct bidreq_eid, "source", TEXT, source),
    HERE("uids", FIRST, uid_table),
};
static struct field_table eid_table = {FIELDS(eid_fields), .size = sizeof(struct bidreq_eid)};

static struct field segment_fields[] = {F(struct bidreq_user, "id", APPEND, segments)};
static struct field_table segment_table = {FIELDS(segment_fields)};
static struct field user_data_fields[] = {HERE("segment", EACH, segment_table)};
static struct field_table user_data_table = {FIELDS(user_data_fields)};

static struct field user_ext_fields[] = {
    F(struct openrtb_wire, "consent", TEXT, old_user.consent),
    T(struct openrtb_wire, "eids", OBJECTS, old_user.eids, eid_table),
};
static struct field_table user_ext_table = {FIELDS(user_ext_fields), .scalars = {"user.ext.", 9}};

static struct field user_fields[] = {
    F(struct openrtb_wire, "id", TEXT, request.user.id),
    F(struct openrtb_wire, "buyeruid", TEXT, request.user.buyeruid),
    F(struct openrtb_wire, "gender", TEXT, request.user.gender),
    F(struct openrtb_wire, "consent", TEXT, request.user.consent),
    F(struct openrtb_wire, "yob", COUNT, request.user.yob),
    F(struct openrtb_wire, "keywords", KEYWORDS, request.user.keywords),
    F(struct openrtb_wire, "kwarray", KEYWORDS, user_kwarray),
    T(struct openrtb_wire, "eids", OBJECTS, request.user.eids, eid_table),
    T(struct openrtb_wire, "data", EACH, request.user, user_data_table),
    T(struct openrtb_wire, "geo", INSIDE, user_geo, geo_table),
    HERE("ext", INSIDE, user_ext_table),
};
static struct field_table user_table = {FIELDS(user_fields)};

static struct field regs_ext_fields[] = {
    F(struct bidreq_regs, "gdpr", FLAG, gdpr),
    F(struct bidreq_regs, "us_privacy", TEXT, us_privacy),
    F(struct bidreq_regs, "gpp", TEXT, gpp),
    F(struct bidreq_regs, "gpp_sid", INTS, gpp_sid),
    F(struct bidreq_regs, "gpc", FLAG, gpc),
};
static struct field_table regs_ext_table = {FIELDS(regs_ext_fields)};

static struct field regs_fields[] = {
    F(struct openrtb_wire, "coppa", FLAG, request.regs.coppa),
    F(struct openrtb_wire, "gdpr", FLAG, request.regs.gdpr),
    F(struct openrtb_wire, "us_privacy", TEXT, request.regs.us_privacy),
    F(struct openrtb_wire, "gpp", TEXT, request.regs.gpp),
    F(struct openrtb_wire, "gpp_sid", INTS, request.regs.gpp_sid),
    F(struct openrtb_wire, "gpc", FLAG, request.regs.gpc),
    T(struct openrtb_wire, "ext", INSIDE, old_regs, regs_ext_table),
};
static struct field_table regs_table = {FIELDS(regs_fields)};

static struct field node_fields[] = {
    F(struct bidreq_schain_node, "asi", TEXT, asi),
    F(struct bidreq_schain_node, "sid", TEXT, sid),
};
static struct field_table node_table = {FIELDS(node_fields),
                                        .size = sizeof(struct bidreq_schain_node)};

static void enter_schain(void *schain)
{
    ((struct openrtb_schain *)schain)->present = true;
}

static struct field schain_fields[] = {
    F(struct openrtb_schain, "complete", FLAG, complete),
    T(struct openrtb_schain, "nodes", OBJECTS, nodes, node_table),
};
static struct field_table schain_table = {FIELDS(schain_fields), .enter = enter_schain};

static struct field source_ext_fields[] = {
    T(struct openrtb_wire, "schain", INSIDE, old_schain, schain_table),
};
static struct field_table source_ext_table = {FIELDS(source_ext_fields)};

static struct field source_fields[] = {
    F(struct openrtb_wire, "tid", TEXT, request.source.tid),
    F(struct openrtb_wire, "fd", FLAG, request.source.fd),
    T(struct openrtb_wire, "schain", INSIDE, schain, schain_table),
    HERE("ext", INSIDE, source_ext_table),
};
static struct field_table source_table = {FIELDS(source_fields)};

/* --- the top ------------------------------------------------------------------------------- */

static struct field root_fields[] = {
    F(struct bid_request, "id", TEXT, id),
    {.name = {"imp", 3},
     .kind = FIELD_OBJECTS,
     .offset = offsetof(struct bid_request, imp),
     .table = &imp_table,
     .arg = BIDREQ_MAX_IMPS},
    T(struct openrtb_wire, "site", INSIDE, site, site_table),
    T(struct openrtb_wire, "app", INSIDE, app, app_table),
    T(struct openrtb_wire, "dooh", INSIDE, dooh, dooh_table),
    T(struct openrtb_wire, "device", INSIDE, request.device, device_table),
    HERE("user", INSIDE, user_table),
    HERE("regs", INSIDE, regs_table),
    HERE("source", INSIDE, source_table),
    F(struct bid_request, "test", FLAG, test),
    F(struct bid_request, "at", COUNT, at),
    F(struct bid_request, "tmax", COUNT, tmax_ms),
    F(struct bid_request, "allimps", BOOL, allimps),
    F(struct bid_request, "wseat", TEXTS, wseat),
    F(struct bid_request, "bseat", TEXTS, bseat),
    F(struct bid_request, "cur", TEXTS, cur),
    F(struct bid_request, "wlang", TEXTS, wlang),
    F(struct bid_request, "bcat", TEXTS, bcat),
    F(struct bid_request, "acat", TEXTS, acat),
    F(struct bid_request, "badv", TEXTS, badv),
    F(struct bid_request, "bapp", TEXTS, bapp),
    F(struct bid_request, "cattax", COUNT, cattax),
};
struct field_table openrtb_root_table = {FIELDS(root_fields)};

/* --- perfect hashes ------------------------------------------------------------------------ */

static bool fill_slots(struct field_table *table)
{
    memset(table->slots, FIELD_NONE, sizeof(table->slots));
    for (uint32_t i = 0; i < table->count; i++) {
        uint32_t slot = field_slot(table->fields[i].words, table->seed);
        if (table->slots[slot] != FIELD_NONE) {
            return false;
        }
        table->slots[slot] = (uint8_t)i;
    }
    return true;
}

/* Tries multipliers until no two names share a slot: 25 names in 128 slots take about ten. */
static void find_seed(struct field_table *table)
{
    BUG_ON(table->count > 64);
    for (uint32_t i = 0; i < table->count; i++) {
        struct str name = table->fields[i].name;
        char bytes[FIELD_NAME_MAX + 1] = {0};
        BUG_ON(name.len > FIELD_NAME_MAX);
        memcpy(bytes, name.ptr, name.len);
        table->fields[i].words = field_words(bytes, name.len);
    }
    table->seed = 0x9e3779b97f4a7c15u; /* any odd number to start from */
    for (int tries = 0; !fill_slots(table); tries++) {
        BUG_ON(tries > 1000000); /* two fields of one name */
        table->seed = table->seed * 6364136223846793005u + 1442695040888963407u;
        table->seed |= 1;
    }
    for (uint32_t i = 0; i < table->count; i++) {
        struct field_table *inner = table->fields[i].table;
        if (inner && !inner->seed) {
            find_seed(inner);
        }
    }
}

/* Before main, so that decoding needs no setup call and no lock. */
__attribute__((constructor)) static void setup_tables(void)
{
    find_seed(&openrtb_root_table);
    find_seed(&openrtb_markup_table);
}
