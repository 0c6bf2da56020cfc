/* One line against one impression, dimension by dimension, with the reason. The oracle of
 * target_find and what explain prints. Pure. */
#include "bidder/base/bug.h"
#include "bidder/target.h"
#include "bidder/target_rules.h"

const char *target_miss_name(enum target_miss miss)
{
    static const char *const names[TARGET_MISS_COUNT] = {
        "ok",         "disabled", "dates", "exchange", "deal",     "format",   "device",
        "connection", "os",       "geo",   "media",    "category", "language", "daypart",
    };
    return (unsigned)miss < TARGET_MISS_COUNT ? names[miss] : "?";
}

/* The targeting dimensions in the order of enum target_miss. */
static enum target_miss match_targeting(const struct catalog *catalog,
                                        const struct targeting *targeting,
                                        const struct bid_request *request, int64_t now_s)
{
    const struct bidreq_device *device = &request->device;
    return !target_rule_device(targeting, device)              ? TARGET_DEVICE
           : !target_rule_connection(targeting, device)        ? TARGET_CONNECTION
           : !target_rule_os(targeting, device)                ? TARGET_OS
           : !target_rule_geo(targeting, &device->geo)         ? TARGET_GEO
           : !target_rule_media(targeting, &request->media)    ? TARGET_MEDIA
           : !target_rule_category(targeting, &request->media) ? TARGET_CATEGORY
           : !target_rule_language(targeting, request)         ? TARGET_LANGUAGE
           : !target_rule_daypart(targeting, tz_hour_of_week(&catalog->tz, now_s)) ? TARGET_DAYPART
                                                                                   : TARGET_OK;
}

static enum target_miss find_miss(const struct catalog *catalog, uint32_t exchange,
                                  const struct bid_request *request, const struct bidreq_imp *imp,
                                  const struct catalog_line *line, int64_t now_s)
{
    return !line->enabled                                      ? TARGET_DISABLED
           : now_s < line->start_s || now_s >= line->end_s     ? TARGET_DATES
           : !target_rule_exchange(&line->targeting, exchange) ? TARGET_EXCHANGE
           : !target_rule_deal(catalog, exchange, imp, line)   ? TARGET_DEAL
           : !target_rule_format(catalog, imp, line)
               ? TARGET_FORMAT
               : match_targeting(catalog, &line->targeting, request, now_s);
}

static void put_list(struct buf *detail, const char *name, const struct str_list *list)
{
    if (list->count == 0) {
        return;
    }
    buf_printf(detail, "; %s", name);
    for (uint32_t i = 0; i < list->count; i++) {
        if (i == 8) {
            buf_printf(detail, " and %u more", list->count - i);
            return;
        }
        buf_printf(detail, " %.*s", STR_ARG(list->items[i]));
    }
}

static void put_geo(struct buf *detail, const struct targeting *targeting,
                    const struct bidreq_geo *geo)
{
    buf_printf(detail, "country \"%.*s\" region \"%.*s\" city \"%.*s\"", STR_ARG(geo->country),
               STR_ARG(geo->region), STR_ARG(geo->city));
    put_list(detail, "countries", &targeting->countries);
    put_list(detail, "regions", &targeting->regions);
    put_list(detail, "cities", &targeting->cities);
    if (targeting->circle_count && !target_has_point(geo)) {
        buf_printf(detail, "; %u circles, no coordinates", targeting->circle_count);
    }
    for (uint32_t i = 0; target_has_point(geo) && i < targeting->circle_count && i < 8; i++) {
        const struct geo_circle *circle = &targeting->circles[i];
        buf_printf(
            detail, "; %.0f m from a circle of %lld m",
            target_distance_m(circle->lat_micro, circle->lon_micro, geo->lat_micro, geo->lon_micro),
            (long long)circle->radius_m);
    }
}

static void put_deals(struct buf *detail, const struct catalog *catalog,
                      const struct catalog_line *line, const struct bidreq_imp *imp)
{
    if (line->deals.count == 0) {
        BUF_PUT_LITERAL(detail, "private auction, the line has no deal");
        return;
    }
    buf_printf(detail, "offered:%s", imp->deals.count ? "" : " none");
    for (uint32_t i = 0; i < imp->deals.count && i < 8; i++) {
        buf_printf(detail, " %.*s", STR_ARG(imp->deals.items[i].id));
    }
    BUF_PUT_LITERAL(detail, "; the line's:");
    for (uint32_t i = 0; i < line->deals.count && i < 8; i++) {
        buf_printf(detail, " %.*s", STR_ARG(catalog->deals[line->deals.items[i]].id));
    }
}

static void put_format(struct buf *detail, const struct catalog *catalog,
                       const struct catalog_line *line, const struct bidreq_imp *imp)
{
    static const char *const types[] = {"banner", "video", "audio", "native"};
    buf_printf(detail, "offered:%s%s%s%s", imp->banner ? " banner" : "", imp->video ? " video" : "",
               imp->audio ? " audio" : "", imp->native ? " native" : "");
    for (uint32_t i = 0; imp->banner && i < imp->banner->format.count && i < 8; i++) {
        const struct bidreq_size *size = &imp->banner->format.items[i];
        buf_printf(detail, " %dx%d", size->w, size->h);
    }
    if (imp->banner && imp->banner->w > 0) {
        buf_printf(detail, " %dx%d", imp->banner->w, imp->banner->h);
    }
    BUF_PUT_LITERAL(detail, "; creatives:");
    for (uint32_t i = 0; i < line->creative_count && i < 8; i++) {
        const struct catalog_creative *creative = &catalog->creatives[line->creatives[i].creative];
        buf_printf(detail, " %.*s %s %dx%d", STR_ARG(creative->id), types[creative->type],
                   creative->w, creative->h);
    }
}

static void put_media(struct buf *detail, const struct targeting *targeting,
                      const struct bidreq_media *media)
{
    buf_printf(detail, "bundle \"%.*s\" domain \"%.*s\"", STR_ARG(media->bundle),
               STR_ARG(target_domain(media)));
    put_list(detail, "allow", &targeting->media_allow);
    put_list(detail, "deny", &targeting->media_deny);
}

static void put_detail(struct buf *detail, enum target_miss miss, const struct catalog *catalog,
                       const struct bid_request *request, const struct bidreq_imp *imp,
                       const struct catalog_line *line, int64_t now_s)
{
    const struct targeting *targeting = &line->targeting;
    switch (miss) {
    case TARGET_DATES:
        buf_printf(detail, "now %lld, flight %lld to %lld (UTC seconds)", (long long)now_s,
                   (long long)line->start_s, (long long)line->end_s);
        return;
    case TARGET_DEAL:
        put_deals(detail, catalog, line, imp);
        return;
    case TARGET_FORMAT:
        put_format(detail, catalog, line, imp);
        return;
    case TARGET_DEVICE:
        buf_printf(detail, "devicetype %d, wanted bits %#x", request->device.devicetype,
                   targeting->devices);
        return;
    case TARGET_CONNECTION:
        buf_printf(detail, "connectiontype %d, wanted bits %#x", request->device.connectiontype,
                   targeting->connections);
        return;
    case TARGET_OS:
        buf_printf(detail, "os \"%.*s\"", STR_ARG(request->device.os));
        put_list(detail, "wanted", &targeting->os);
        return;
    case TARGET_GEO:
        put_geo(detail, targeting, &request->device.geo);
        return;
    case TARGET_MEDIA:
        put_media(detail, targeting, &request->media);
        return;
    case TARGET_CATEGORY:
        buf_printf(detail, "taxonomy %d", request->media.cattax);
        put_list(detail, "cat", &request->media.cat);
        put_list(detail, "allow", &targeting->categories_allow);
        put_list(detail, "deny", &targeting->categories_deny);
        return;
    case TARGET_LANGUAGE:
        buf_printf(detail, "language \"%.*s\"", STR_ARG(target_language(request)));
        put_list(detail, "wanted", &targeting->languages);
        return;
    case TARGET_DAYPART:
        buf_printf(detail, "hour %d of the week (%.*s) is not in its dayparts",
                   tz_hour_of_week(&catalog->tz, now_s), STR_ARG(catalog->tz.name));
        return;
    case TARGET_OK:
    case TARGET_DISABLED:
    case TARGET_EXCHANGE:
    case TARGET_MISS_COUNT:
        return;
    }
}

enum target_miss target_explain(const struct catalog *catalog, uint32_t exchange,
                                const struct bid_request *request, const struct bidreq_imp *imp,
                                uint32_t line, int64_t now_s, struct buf *detail)
{
    BUG_ON(line >= catalog->line_count);
    const struct catalog_line *asked = &catalog->lines[line];
    enum target_miss miss = find_miss(catalog, exchange, request, imp, asked, now_s);
    if (detail && miss) {
        put_detail(detail, miss, catalog, request, imp, asked, now_s);
    }
    return miss;
}

bool target_matches(const struct catalog *catalog, const struct targeting *targeting,
                    uint32_t exchange, const struct bid_request *request, int64_t now_s)
{
    return target_rule_exchange(targeting, exchange) &&
           match_targeting(catalog, targeting, request, now_s) == TARGET_OK;
}
