/* Cross checks of campaigns, line items and creatives. */
#include "bidder/base/bug.h"
#include "bidder/catalog_reader.h"

/* --- campaigns and their dates -------------------------------------------------------------- */

static void check_campaign(struct catalog_reader *reader, uint32_t index)
{
    const struct catalog_campaign *campaign = &reader->catalog->campaigns[index];
    const struct json_value *end = reader_at(reader, ENTITY_CAMPAIGN, index, "end");
    if (campaign->start_s && campaign->end_s && campaign->end_s <= campaign->start_s) {
        reader_error(reader, end, "ends before it starts");
    } else if (campaign->end_s && campaign->end_s <= reader->now_s) {
        reader_warn(reader, end, "this campaign is over");
    }
    if (!campaign->line_count) {
        reader_warn(reader, reader_at(reader, ENTITY_CAMPAIGN, index, "id"),
                    "has no line items: it buys nothing");
    }
}

static void check_line_dates(struct catalog_reader *reader, uint32_t index)
{
    const struct catalog_line *line = &reader->catalog->lines[index];
    const struct catalog_campaign *campaign = &reader->catalog->campaigns[line->campaign];
    const struct json_value *source = reader->sets[ENTITY_LINE].sources[index];
    const struct json_value *start = json_dom_get(source, STR("start"));
    const struct json_value *end = json_dom_get(source, STR("end"));
    if ((!start && !end) || !campaign->start_s || !campaign->end_s || !line->start_s ||
        !line->end_s) {
        return;
    }
    bool early = start && line->start_s < campaign->start_s;
    bool late = end && line->end_s > campaign->end_s;
    if (early) {
        reader_error(reader, start, "starts before its campaign \"%.*s\" does",
                     STR_ARG(campaign->id));
    }
    if (late) {
        reader_error(reader, end, "ends after its campaign \"%.*s\" does", STR_ARG(campaign->id));
    }
    if (line->end_s <= line->start_s && !early && !late) {
        reader_error(reader, end ? end : start, "ends before it starts");
    }
}

/* --- line items ----------------------------------------------------------------------------- */

/* The mode as written: "pa" buys like rtb, but through deals. */
static bool said_private_auction(const struct catalog_reader *reader, uint32_t line)
{
    const struct json_value *buying =
        json_dom_get(reader->sets[ENTITY_LINE].sources[line], STR("buying"));
    return buying && buying->type == JSON_STRING && str_eq(buying->text, STR("pa"));
}

static void check_line_deals(struct catalog_reader *reader, uint32_t index)
{
    const struct catalog *catalog = reader->catalog;
    const struct catalog_line *line = &catalog->lines[index];
    const struct json_value *source = reader->sets[ENTITY_LINE].sources[index];
    const struct json_value *deals = json_dom_get(source, STR("deals"));
    bool private = said_private_auction(reader, index);
    if ((line->buying != BUYING_RTB || private) && (!deals || !deals->count)) {
        reader_error(reader, deals ? deals : source, "buys %s, which needs \"deals\"",
                     private ? "pa" : buying_mode_name(line->buying));
        return;
    }
    for (uint32_t i = 0; i < line->deals.count; i++) {
        const struct catalog_deal *deal = &catalog->deals[line->deals.items[i]];
        /* Items that did not resolve are not in the list; then the list is where to point. */
        const struct json_value *at = deals->count == line->deals.count ? &deals->items[i] : deals;
        if (deal->buying != line->buying) {
            reader_error(reader, at, "deal \"%.*s\" is bought as %s, this line item buys %s",
                         STR_ARG(deal->id), buying_mode_name(deal->buying),
                         buying_mode_name(line->buying));
        }
    }
}

static void check_line_price(struct catalog_reader *reader, uint32_t index)
{
    const struct catalog_line *line = &reader->catalog->lines[index];
    const struct json_value *source = reader->sets[ENTITY_LINE].sources[index];
    static const char *const auction_only[] = {"bid_cpm", "goal", "shading"};
    if (line->buying == BUYING_RTB) {
        if (!json_dom_get(source, STR("bid_cpm")) && !json_dom_get(source, STR("goal"))) {
            reader_error(reader, source, "\"bid_cpm\" is missing: rtb needs a price or a \"goal\"");
        }
        return;
    }
    for (size_t i = 0; i < COUNT_OF(auction_only); i++) {
        const struct json_value *value = json_dom_get(source, str_from(auction_only[i]));
        if (value) {
            reader_warn(reader, value, "has no effect: %s is bought at the deal's price",
                        buying_mode_name(line->buying));
        }
    }
    const struct json_value *new_reach = json_dom_get(source, STR("new_reach_only"));
    if (line->new_reach_only && line->buying <= BUYING_PDB) {
        reader_error(reader, new_reach, "is for pd and rtb: a guaranteed buy cannot choose");
    }
}

/* Formats that some deal of the line takes; 0 = any. */
static uint32_t formats_of_line(const struct catalog *catalog, const struct catalog_line *line)
{
    uint32_t formats = 0;
    for (uint32_t i = 0; i < line->deals.count; i++) {
        uint32_t here = catalog->deals[line->deals.items[i]].formats;
        if (!here) {
            return 0;
        }
        formats |= here;
    }
    return formats;
}

static void check_line_creatives(struct catalog_reader *reader, uint32_t index)
{
    static const char *const names[] = {"banner", "video", "audio", "native"};
    const struct catalog *catalog = reader->catalog;
    const struct catalog_line *line = &catalog->lines[index];
    const struct json_value *list = reader_at(reader, ENTITY_LINE, index, "creatives");
    uint32_t formats = formats_of_line(catalog, line);
    for (uint32_t i = 0; i < line->creative_count; i++) {
        const struct catalog_creative *creative = &catalog->creatives[line->creatives[i].creative];
        const struct json_value *at = list->count == line->creative_count ? &list->items[i] : list;
        if (formats && !(formats >> creative->type & 1)) {
            reader_error(reader, at,
                         "creative \"%.*s\" is %s, which none of the line's deals takes",
                         STR_ARG(creative->id), names[creative->type]);
        }
        for (uint32_t j = 0; j < i && !line->sequence; j++) {
            if (line->creatives[j].creative == line->creatives[i].creative &&
                !line->creatives[i].targeting && !line->creatives[j].targeting) {
                reader_warn(reader, at, "creative \"%.*s\" stands twice; \"weight\" says it better",
                            STR_ARG(creative->id));
                break;
            }
        }
    }
    if (line->sequence && line->best_performing) {
        reader_error(reader, reader_at(reader, ENTITY_LINE, index, "best_performing"),
                     "contradicts \"sequence\"");
    }
}

void reader_check_lines(struct catalog_reader *reader)
{
    for (uint32_t i = 0; i < reader->catalog->campaign_count; i++) {
        check_campaign(reader, i);
    }
    for (uint32_t i = 0; i < reader->catalog->line_count; i++) {
        check_line_dates(reader, i);
        check_line_deals(reader, i);
        check_line_price(reader, i);
        check_line_creatives(reader, i);
    }
}

/* --- creatives ------------------------------------------------------------------------------ */

#define BANNER (1u << CREATIVE_BANNER)
#define VIDEO  (1u << CREATIVE_VIDEO)
#define AUDIO  (1u << CREATIVE_AUDIO)
#define NATIVE (1u << CREATIVE_NATIVE)

static const struct {
    const char *name;
    unsigned needed, allowed; /* by types */
} creative_members[] = {
    {"w", BANNER | VIDEO, BANNER | VIDEO},
    {"h", BANNER | VIDEO, BANNER | VIDEO},
    {"duration", VIDEO | AUDIO, VIDEO | AUDIO},
    {"bitrate_kbps", 0, VIDEO | AUDIO},
    {"mime", VIDEO | AUDIO, VIDEO | AUDIO | BANNER},
    {"url", VIDEO | AUDIO, VIDEO | AUDIO},
    {"image", 0, BANNER},
    {"html", 0, BANNER},
    {"assets", NATIVE, NATIVE},
    {"landing", NATIVE, BANNER | VIDEO | AUDIO | NATIVE},
};

static void check_creative_members(struct catalog_reader *reader, uint32_t index)
{
    static const char *const names[] = {"a banner", "a video", "an audio ad", "a native ad"};
    const struct json_value *source = reader->sets[ENTITY_CREATIVE].sources[index];
    unsigned type = 1u << reader->catalog->creatives[index].type;
    const char *name = names[reader->catalog->creatives[index].type];
    if (!json_dom_get(source, STR("type"))) {
        return;
    }
    for (size_t i = 0; i < COUNT_OF(creative_members); i++) {
        const struct json_value *value = json_dom_get(source, str_from(creative_members[i].name));
        if (value && !(creative_members[i].allowed & type)) {
            reader_error(reader, value, "%s has no \"%s\"", name, creative_members[i].name);
        } else if (!value && creative_members[i].needed & type) {
            reader_error(reader, source, "\"%s\" is missing: %s needs it", creative_members[i].name,
                         name);
        }
    }
}

static bool mentions(struct str text, struct str wanted)
{
    for (size_t i = 0; i + wanted.len <= text.len; i++) {
        if (memcmp(text.ptr + i, wanted.ptr, wanted.len) == 0) {
            return true;
        }
    }
    return false;
}

static void check_banner(struct catalog_reader *reader, uint32_t index)
{
    const struct catalog_creative *creative = &reader->catalog->creatives[index];
    const struct json_value *source = reader->sets[ENTITY_CREATIVE].sources[index];
    bool image = json_dom_get(source, STR("image")), html = json_dom_get(source, STR("html"));
    if (image == html) {
        reader_error(reader, source, "a banner needs either \"image\" or \"html\"");
    }
    if (image && !json_dom_get(source, STR("landing"))) {
        reader_error(reader, source, "\"landing\" is missing: an image banner needs it");
    }
    if (creative->html.len && !mentions(creative->html, STR("{CLICK}"))) {
        reader_warn(reader, reader_at(reader, ENTITY_CREATIVE, index, "html"),
                    "has no {CLICK}: clicks will not be counted");
    }
}

static void check_media_type(struct catalog_reader *reader, uint32_t index, struct str prefix)
{
    struct str mime = reader->catalog->creatives[index].mime;
    if (mime.len && !str_starts(mime, prefix)) {
        reader_error(reader, reader_at(reader, ENTITY_CREATIVE, index, "mime"),
                     "expected a type that starts with \"%.*s\", found \"%.*s\"", STR_ARG(prefix),
                     STR_ARG(mime));
    }
}

static void need(struct catalog_reader *reader, const struct json_value *asset, const char *name)
{
    if (asset->type == JSON_OBJECT && !json_dom_get(asset, str_from(name))) {
        reader_error(reader, asset, "\"%s\" is missing: this kind of asset needs it", name);
    }
}

static void check_native(struct catalog_reader *reader, uint32_t index)
{
    const struct catalog_creative *creative = &reader->catalog->creatives[index];
    const struct json_value *list = reader_at(reader, ENTITY_CREATIVE, index, "assets");
    if (list->type == JSON_ARRAY && !list->count) {
        reader_error(reader, list, "expected at least one asset");
    }
    for (uint32_t i = 0; i < creative->asset_count; i++) {
        const struct json_value *asset = &list->items[i];
        const struct json_value *kind = json_dom_get(asset, STR("kind"));
        if (!kind) {
            continue; /* reported */
        }
        switch (creative->assets[i].kind) {
        case BIDREQ_ASSET_TITLE:
        case BIDREQ_ASSET_DATA:
            need(reader, asset, "text");
            break;
        case BIDREQ_ASSET_IMAGE:
            need(reader, asset, "url");
            need(reader, asset, "w");
            need(reader, asset, "h");
            break;
        case BIDREQ_ASSET_VIDEO:
            need(reader, asset, "url");
            need(reader, asset, "mime");
            need(reader, asset, "duration");
            break;
        case BIDREQ_ASSET_UNKNOWN:
            break;
        }
    }
}

/* https or nothing. */
static bool url_is_secure(struct catalog_reader *reader, const struct json_value *object,
                          const char *name, struct str url)
{
    if (!url.len || str_starts(url, STR("https://"))) {
        return true;
    }
    const struct json_value *at = json_dom_get(object, str_from(name));
    reader_warn(reader, at ? at : object,
                "is not https: the creative cannot run where secure markup is asked for");
    return false;
}

static void check_secure(struct catalog_reader *reader, uint32_t index)
{
    struct catalog_creative *creative = &reader->catalog->creatives[index];
    const struct json_value *source = reader->sets[ENTITY_CREATIVE].sources[index];
    bool secure = url_is_secure(reader, source, "url", creative->url);
    secure = url_is_secure(reader, source, "image", creative->image) && secure;
    const struct json_value *list = json_dom_get(source, STR("assets"));
    for (uint32_t i = 0; i < creative->asset_count; i++) {
        secure = url_is_secure(reader, &list->items[i], "url", creative->assets[i].url) && secure;
    }
    if (mentions(creative->html, STR("http://"))) {
        reader_warn(reader, reader_at(reader, ENTITY_CREATIVE, index, "html"),
                    "contains http://: the creative cannot run where secure markup is asked for");
        secure = false;
    }
    creative->secure = secure;
}

static void warn_unused(struct catalog_reader *reader)
{
    const struct catalog *catalog = reader->catalog;
    bool *used = reader_scrap(reader, catalog->creative_count, sizeof(*used));
    if (!used) {
        return;
    }
    for (uint32_t i = 0; i < catalog->line_count; i++) {
        for (uint32_t j = 0; j < catalog->lines[i].creative_count; j++) {
            used[catalog->lines[i].creatives[j].creative] = true;
        }
    }
    for (uint32_t i = 0; i < catalog->deal_count; i++) {
        if (catalog->deals[i].default_creative != CATALOG_NONE) {
            used[catalog->deals[i].default_creative] = true;
        }
    }
    for (uint32_t i = 0; i < catalog->creative_count; i++) {
        if (!used[i]) {
            reader_warn(reader, reader_at(reader, ENTITY_CREATIVE, i, "id"),
                        "no line item or deal uses this creative");
        }
    }
}

void reader_check_creatives(struct catalog_reader *reader)
{
    for (uint32_t i = 0; i < reader->catalog->creative_count; i++) {
        check_creative_members(reader, i);
        switch (reader->catalog->creatives[i].type) {
        case CREATIVE_BANNER:
            check_banner(reader, i);
            break;
        case CREATIVE_VIDEO:
            check_media_type(reader, i, STR("video/"));
            break;
        case CREATIVE_AUDIO:
            check_media_type(reader, i, STR("audio/"));
            break;
        case CREATIVE_NATIVE:
            check_native(reader, i);
            break;
        }
        check_secure(reader, i);
    }
    warn_unused(reader);
}
