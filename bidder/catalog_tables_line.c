/* The part of the catalog file that planners touch most: campaigns, line items, targeting. The
 * tables are used as catalog_tables.c says. */
#include "bidder/catalog_table.h"

static const struct choice unit_choices[] = {{"money", false}, {"impressions", true}, {NULL, 0}};
static const struct choice pacing_choices[] = {{"even", PACING_EVEN},
                                               {"ahead", PACING_AHEAD},
                                               {"asap", PACING_ASAP},
                                               {"hourly", PACING_HOURLY},
                                               {NULL, 0}};
static const struct choice no_id_choices[] = {
    {"skip", NO_ID_SKIP}, {"allow", NO_ID_ALLOW}, {NULL, 0}};
static const struct choice store_error_choices[] = {
    {"no_bid", STORE_ERROR_NO_BID}, {"allow", STORE_ERROR_ALLOW}, {NULL, 0}};
/* OpenRTB List: Device Types; a "mobile" of old requests may be a phone or a tablet. */
static const struct choice device_choices[] = {{"mobile", 1 << 1 | 1 << 4 | 1 << 5},
                                               {"pc", 1 << 2},
                                               {"tv", 1 << 3},
                                               {"phone", 1 << 4 | 1 << 1},
                                               {"tablet", 1 << 5 | 1 << 1},
                                               {"connected", 1 << 6},
                                               {"stb", 1 << 7},
                                               {"ooh", 1 << 8},
                                               {NULL, 0}};
/* OpenRTB List: Connection Types. */
static const struct choice connection_choices[] = {
    {"ethernet", 1 << 1},
    {"wifi", 1 << 2},
    {"cellular", 1 << 3 | 1 << 4 | 1 << 5 | 1 << 6 | 1 << 7},
    {"2g", 1 << 4},
    {"3g", 1 << 5},
    {"4g", 1 << 6},
    {"5g", 1 << 7},
    {NULL, 0}};

/* --- targeting ------------------------------------------------------------------------------ */

static const struct field circle_fields[] = {
    {"lat", FIELD_MICROS, .required = true, AT(geo_circle, lat_micro), .min = MICROS(-90),
     .max = MICROS(90), .text = "degrees north"},
    {"lon", FIELD_MICROS, .required = true, AT(geo_circle, lon_micro), .min = MICROS(-180),
     .max = MICROS(180), .text = "degrees east"},
    {"radius_m", FIELD_INT, .required = true, AT(geo_circle, radius_m), .min = 1, .max = 1000000,
     .text = "metres"},
};
static const struct shape shape_circle =
    SHAPE("circle", geo_circle, circle_fields, "Everything within a distance of a point.");

static const struct field geo_fields[] = {
    {"countries", FIELD_STRINGS, AT(targeting, countries), .rule = TEXT_COUNTRY,
     .text = "ISO 3166 alpha-3", .otherwise = "any"},
    {"regions", FIELD_STRINGS, AT(targeting, regions), .rule = TEXT_ANY,
     .text = "as the exchanges send them", .otherwise = "any"},
    {"cities", FIELD_STRINGS, AT(targeting, cities), .rule = TEXT_ANY,
     .text = "as the exchanges send them", .otherwise = "any"},
    {"circles", FIELD_OBJECTS, AT(targeting, circles), .shape = &shape_circle,
     .text = "around points", .otherwise = "any"},
};
static const struct shape shape_geo =
    SHAPE("geo", targeting, geo_fields, "Places; a request matches when any of them contains it.");

static const struct field media_fields[] = {
    {"allow", FIELD_STRINGS, AT(targeting, media_allow), .rule = TEXT_MEDIUM,
     .text = "only on these app bundles or domains (with their subdomains)", .otherwise = "any"},
    {"deny", FIELD_STRINGS, AT(targeting, media_deny), .rule = TEXT_MEDIUM,
     .text = "never on these", .otherwise = "none"},
};
static const struct shape shape_media = SHAPE("media", targeting, media_fields, "Apps and sites.");

static const struct field category_fields[] = {
    {"allow", FIELD_STRINGS, AT(targeting, categories_allow), .rule = TEXT_ANY,
     .text = "only beside content of these categories", .otherwise = "any"},
    {"deny", FIELD_STRINGS, AT(targeting, categories_deny), .rule = TEXT_ANY,
     .text = "never beside these", .otherwise = "none"},
    {"cattax", FIELD_INT, AT(targeting, cattax), .min = 1, .max = 1000, .standard = 1,
     .text = "their taxonomy"},
};
static const struct shape shape_categories = SHAPE(
    "categories", targeting, category_fields, "Content categories; a parent covers its children.");

static const struct field daypart_fields[] = {
    {"days", FIELD_STRING, AT(read_daypart, days), .rule = TEXT_ANY, .text = "\"mon-fri,sun\"",
     .otherwise = "all"},
    {"hours", FIELD_STRING, AT(read_daypart, hours), .rule = TEXT_ANY,
     .text = "\"18-24,0-2\": from, and up to but without; local hours", .otherwise = "0-24"},
};
const struct shape shape_daypart =
    SHAPE("daypart", read_daypart, daypart_fields, "Hours of days in the catalog's timezone.");

static const struct field audience_term_fields[] = {
    {"any", FIELD_REFS, AT(audience_expr, any_audiences), .target = ENTITY_AUDIENCE,
     .text = "in at least one of these", .otherwise = "no condition"},
    {"all", FIELD_REFS, AT(audience_expr, all_audiences), .target = ENTITY_AUDIENCE,
     .text = "in all of these", .otherwise = "no condition"},
    {"none", FIELD_REFS, AT(audience_expr, none_audiences), .target = ENTITY_AUDIENCE,
     .text = "in none of these", .otherwise = "no condition"},
};
const struct shape shape_audience_terms =
    SHAPE("audience_terms", audience_expr, audience_term_fields, "Who the person must be.");

static const struct field targeting_fields[] = {
    {"exchanges", FIELD_REFS, AT(targeting, exchanges), .target = ENTITY_EXCHANGE,
     .text = "only on these", .otherwise = "any"},
    {"geo", FIELD_OBJECT, .shape = &shape_geo, .text = "places", .otherwise = "anywhere"},
    {"devices", FIELD_BITS, AT(targeting, devices), .choices = device_choices,
     .text = "kinds of devices", .otherwise = "any"},
    {"connections", FIELD_BITS, AT(targeting, connections), .choices = connection_choices,
     .text = "kinds of connections", .otherwise = "any"},
    {"os", FIELD_STRINGS, AT(targeting, os), .rule = TEXT_LOWER,
     .text = "operating systems as exchanges name them", .otherwise = "any"},
    {"media", FIELD_OBJECT, .shape = &shape_media, .text = "apps and sites", .otherwise = "any"},
    {"categories", FIELD_OBJECT, .shape = &shape_categories, .text = "content", .otherwise = "any"},
    {"languages", FIELD_STRINGS, AT(targeting, languages), .rule = TEXT_LOWER,
     .text = "of the content or the device, such as \"zh\"", .otherwise = "any"},
    {"dayparts", FIELD_SPECIAL,
     .schema = "{\"type\":\"array\",\"items\":{\"$ref\":\"#/$defs/daypart\"}}",
     AT(targeting, dayparts), .shape = &shape_daypart, .read = read_dayparts,
     .text = "hours of the week; any of them", .otherwise = "always"},
    {"audiences", FIELD_SPECIAL, AT(targeting, audiences), .shape = &shape_audience_terms,
     .read = read_audience_terms, .text = "who the person must be", .otherwise = "anyone"},
};
const struct shape shape_targeting =
    SHAPE("targeting", targeting, targeting_fields,
          "What a request must be like; every field given must match.");

/* --- campaigns and line items --------------------------------------------------------------- */

static const struct field budget_fields[] = {
    {"total", FIELD_MICROS, AT(catalog_budget, total), .min = MICROS(1), .max = MAX_MONEY,
     .text = "for the whole flight", .otherwise = "no limit"},
    {"daily", FIELD_MICROS, AT(catalog_budget, daily), .min = MICROS(1), .max = MAX_MONEY,
     .text = "for each local day", .otherwise = "no limit"},
    {"unit", FIELD_CHOICE, AT(catalog_budget, impressions), .choices = unit_choices,
     .text = "what total and daily count; another unit is a new budget, with nothing spent"},
    {"pacing", FIELD_CHOICE, AT(catalog_budget, pacing), .choices = pacing_choices,
     .text = "spread evenly over the day, ahead of it, as fast as possible, or by hourly shares"},
    {"hourly", FIELD_SPECIAL, AT(catalog_budget, hourly_share), .read = read_hourly,
     .schema = "{\"type\":\"array\",\"minItems\":24,\"maxItems\":24,\"items\":"
               "{\"type\":\"number\",\"minimum\":0}}",
     .text = "24 shares of the day, from hour 0; any numbers", .otherwise = "none"},
};
const struct shape shape_budget =
    SHAPE("budget", catalog_budget, budget_fields, "How much may be spent; never exceeded.");

static const struct field goal_fields[] = {
    {"cpc", FIELD_MICROS, AT(read_goal_amounts, cpc), .min = 1, .max = MICROS(1000000),
     .text = "bid for clicks at this cost per click", .otherwise = "none"},
    {"cpa", FIELD_MICROS, AT(read_goal_amounts, cpa), .min = 1, .max = MICROS(1000000),
     .text = "bid for conversions at this cost per conversion", .otherwise = "none"},
};
const struct shape shape_goal = SHAPE("goal", read_goal_amounts, goal_fields,
                                      "What an rtb line item bids for; one of the two.");

static const struct field line_creative_fields[] = {
    {"id", FIELD_REF, .required = true, AT(line_creative, creative), .target = ENTITY_CREATIVE,
     .text = "the creative"},
    {"weight", FIELD_INT, AT(line_creative, weight), .min = 1, .max = 1000000, .standard = 1,
     .text = "how often, relative to the others"},
    {"targeting", FIELD_SPECIAL, AT(line_creative, targeting), .read = read_own_targeting,
     .shape = &shape_targeting, .text = "circumstances it is for", .otherwise = "any"},
};
const struct shape shape_line_creative =
    SHAPE("line_creative", line_creative, line_creative_fields, "A creative of a line item.");

static const struct field line_fields[] = {
    ID_FIELD(catalog_line, "unique among all line items"),
    {"buying", FIELD_CHOICE, .required = true, AT(catalog_line, buying),
     .choices = catalog_buying_choices,
     .text = "cpd, pdb, pd, pa (private auction) or rtb (open auction)"},
    {"deals", FIELD_REFS, AT(catalog_line, deals), .target = ENTITY_DEAL,
     .text = "deals it buys through; \"exchange/deal\" where several exchanges use one id",
     .otherwise = "none: the open auction"},
    {"creatives", FIELD_SPECIAL,
     .schema = "{\"type\":\"array\",\"minItems\":1,\"items\":{\"anyOf\":[{\"$ref\":\"#/$defs/"
               "id\"},{\"$ref\":\"#/$defs/line_creative\"}]}}",
     .required = true, AT(catalog_line, creatives), .read = read_line_creatives,
     .shape = &shape_line_creative, .text = "creative ids, or objects with weight and targeting"},
    {"sequence", FIELD_BOOL, AT(catalog_line, sequence),
     .text = "the n-th exposure of a person shows the n-th creative; the last one stays"},
    {"best_performing", FIELD_BOOL, AT(catalog_line, best_performing),
     .text = "learn which creative is clicked most and prefer it"},
    {"bid_cpm", FIELD_MICROS, AT(catalog_line, bid_cpm_micros), .min = 1, .max = MICROS(1000000),
     .text = "rtb and pa: the most to bid per thousand, in the catalog's currency",
     .otherwise = "required for rtb without goal"},
    {"goal", FIELD_SPECIAL, .read = read_goal, .shape = &shape_goal,
     .text = "bid for clicks or conversions instead of a fixed price", .otherwise = "none"},
    {"shading", FIELD_BOOL, AT(catalog_line, shading),
     .text = "in first-price auctions bid what is needed rather than all"},
    {"new_reach_only", FIELD_BOOL, AT(catalog_line, new_reach_only),
     .text = "only persons that the joint count has not seen"},
    {"reserve", FIELD_BOOL, AT(catalog_line, reserve), .standard = true,
     .text = "rtb: take the person's count before the bid, so that bursts cannot pass a cap"},
    {"no_id", FIELD_CHOICE, AT(catalog_line, no_id), .choices = no_id_choices,
     .text =
         "requests without the id (or household) that a cap counts: do not bid, or bid uncapped"},
    {"on_store_error", FIELD_CHOICE, AT(catalog_line, on_store_error),
     .choices = store_error_choices, .text = "when counts cannot be read: no bid, or bid uncapped"},
    CAPS_FIELD("caps that count every exposure of the line item"),
    {"budget", FIELD_SPECIAL, .read = read_budget, .shape = &shape_budget, .text = "its own budget",
     .otherwise = "only the campaign's"},
    {"start", FIELD_START, AT(catalog_line, start_s), .text = "first day",
     .otherwise = "the campaign's"},
    {"end", FIELD_END, AT(catalog_line, end_s), .text = "last day, included",
     .otherwise = "the campaign's"},
    {"targeting", FIELD_OBJECT, AT(catalog_line, targeting), .shape = &shape_targeting,
     .text = "what a request must be like", .otherwise = "anything"},
    {"enabled", FIELD_BOOL, AT(catalog_line, enabled), .standard = true,
     .text = "false: keeps it in the file without bidding"},
};
static const struct shape shape_line =
    SHAPE("line_item", catalog_line, line_fields, "One way to buy for a campaign.");

static const struct field campaign_fields[] = {
    ID_FIELD(catalog_campaign, "unique among campaigns"),
    {"brand", FIELD_REF, .required = true, AT(catalog_campaign, brand), .target = ENTITY_BRAND,
     .text = "whose campaign it is"},
    {"start", FIELD_START, .required = true, AT(catalog_campaign, start_s),
     .text = "first day, in the catalog's timezone; or an RFC 3339 time"},
    {"end", FIELD_END, .required = true, AT(catalog_campaign, end_s),
     .text = "last day, included; or the RFC 3339 time at which it ends"},
    CAPS_FIELD("caps that count every exposure of the campaign"),
    {"budget", FIELD_SPECIAL, .read = read_budget, .shape = &shape_budget,
     .text = "shared by its line items", .otherwise = "no limit"},
    {"line_items", FIELD_ENTITIES, .target = ENTITY_LINE, .shape = &shape_line,
     .text = "its line items", .otherwise = "none"},
};
const struct shape shape_campaign =
    SHAPE("campaign", catalog_campaign, campaign_fields, "A brand's campaign and its line items.");
