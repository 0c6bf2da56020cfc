/* Every object and field of the catalog file. The loader, the JSON Schema and the reference in
 * CATALOG.md are all made from these tables. */
#include "bidder/catalog_table.h"

/* --- words ---------------------------------------------------------------------------------- */

static const struct choice no_bid_choices[] = {
    {"204", NO_BID_204}, {"empty", NO_BID_EMPTY_OBJECT}, {"nbr", NO_BID_NBR}, {NULL, 0}};
static const struct choice price_unit_choices[] = {
    {"currency", 1000000}, {"fen", 10000}, {NULL, 0}};
static const struct choice vast_choices[] = {{"4.2", false}, {"3.0", true}, {NULL, 0}};
const struct choice catalog_buying_choices[] = {{"cpd", BUYING_CPD}, {"pdb", BUYING_PDB},
                                                {"pd", BUYING_PD},   {"pa", BUYING_RTB},
                                                {"rtb", BUYING_RTB}, {NULL, 0}};
static const struct choice identity_choices[] = {
    {"person", CAP_PERSON}, {"household", CAP_HOUSEHOLD}, {NULL, 0}};
static const struct choice creative_choices[] = {{"banner", CREATIVE_BANNER},
                                                 {"video", CREATIVE_VIDEO},
                                                 {"audio", CREATIVE_AUDIO},
                                                 {"native", CREATIVE_NATIVE},
                                                 {NULL, 0}};
static const struct choice format_choices[] = {{"banner", 1 << CREATIVE_BANNER},
                                               {"video", 1 << CREATIVE_VIDEO},
                                               {"audio", 1 << CREATIVE_AUDIO},
                                               {"native", 1 << CREATIVE_NATIVE},
                                               {NULL, 0}};
static const struct choice measure_choices[] = {{"impressions", false}, {"value", true}, {NULL, 0}};

/* --- exchanges ------------------------------------------------------------------------------ */

static const struct field price_encoding_fields[] = {
    {"google", FIELD_SPECIAL, .read = read_price_encoding, .required = true,
     .schema = "{\"type\":\"object\",\"required\":[\"encryption_key\",\"integrity_key\"],"
               "\"properties\":{\"encryption_key\":{\"type\":\"string\"},"
               "\"integrity_key\":{\"type\":\"string\"},\"comment\":true},"
               "\"additionalProperties\":false}",
     .text = "win prices come encrypted: the two 32-byte keys, in base64"},
};
const struct shape shape_price_encoding =
    SHAPE("price_encoding", catalog_exchange, price_encoding_fields,
          "How the exchange hides prices in notices.");

#define ID_PATHS_SCHEMA "{\"type\":\"array\",\"items\":{\"type\":\"string\"}}"
static const struct field exchange_fields[] = {
    {"id", FIELD_ID, .required = true, AT(catalog_exchange, id), .rule = TEXT_PATH_ID,
     .text = "the name in the url: bid requests go to /openrtb2/ID"},
    {"no_bid", FIELD_CHOICE, AT(catalog_exchange, no_bid), .choices = no_bid_choices,
     .standard = NO_BID_204,
     .text = "how a no-bid looks: status 204, an empty object, or a body with a reason code"},
    {"tmax_ms", FIELD_INT, AT(catalog_exchange, tmax_us), .min = 5, .max = 10000, .scale = 1000,
     .standard = 100000, .text = "deadline when the request names none"},
    {"margin_ms", FIELD_INT, AT(catalog_exchange, margin_us), .min = 0, .max = 1000, .scale = 1000,
     .standard = 10000, .text = "taken off the deadline for the way back"},
    {"seat", FIELD_STRING, AT(catalog_exchange, seat), .rule = TEXT_ID,
     .text = "our seat: answered with every bid, and compared with wseat and bseat",
     .otherwise = "no seat"},
    {"ids", FIELD_SPECIAL, AT(catalog_exchange, ids), .read = read_id_paths,
     .schema = ID_PATHS_SCHEMA,
     .text = "where a request says who the person is, in order of preference",
     .otherwise = "device.ifa, device.ext.oaid, device.didmd5, device.dpidmd5, user.buyeruid"},
    {"household_ids", FIELD_SPECIAL, AT(catalog_exchange, household_ids), .read = read_id_paths,
     .schema = ID_PATHS_SCHEMA, .text = "the same for caps with identity household (OTT)",
     .otherwise = "device.ifa, device.ip"},
    {"price_unit", FIELD_CHOICE, AT(catalog_exchange, price_unit_micros),
     .choices = price_unit_choices, .standard = 1000000,
     .text = "what 1 means in prices and floors on the wire: a unit of the currency or a fen"},
    {"price_encoding", FIELD_OBJECT, .shape = &shape_price_encoding,
     .text = "how the exchange hides prices in notices", .otherwise = "prices come plain"},
    {"response_headers", FIELD_STRINGS, AT(catalog_exchange, response_headers), .rule = TEXT_HEADER,
     .text = "headers sent with every answer, \"Name: value\"", .otherwise = "none"},
    {"max_qps", FIELD_INT, AT(catalog_exchange, max_qps), .min = 0, .max = 10000000,
     .text = "requests per second answered with more than a no-bid; 0 = no limit"},
    {"gzip", FIELD_BOOL, AT(catalog_exchange, gzip),
     .text = "accept compressed requests and compress answers"},
    {"vast", FIELD_CHOICE, AT(catalog_exchange, vast_3), .choices = vast_choices,
     .text = "version of video markup"},
    {"openrtb_version_header", FIELD_BOOL, AT(catalog_exchange, openrtb_version_header),
     .text = "answer with an x-openrtb-version header"},
};
static const struct shape shape_exchange = SHAPE("exchange", catalog_exchange, exchange_fields,
                                                 "An ad exchange or medium that sends "
                                                 "bid requests.");

/* --- advertisers, brands, audiences --------------------------------------------------------- */

static const struct field brand_fields[] = {
    ID_FIELD(catalog_brand, "unique among all brands"),
    {"audience", FIELD_REF, AT(catalog_brand, audience), .target = ENTITY_AUDIENCE,
     .text = "its target audience (TA), for swaps and reports", .otherwise = "none"},
    CAPS_FIELD("caps that count every exposure of the brand"),
};
static const struct shape shape_brand =
    SHAPE("brand", catalog_brand, brand_fields, "A brand of an advertiser.");

static const struct field advertiser_fields[] = {
    ID_FIELD(catalog_advertiser, "unique among advertisers"),
    {"domain", FIELD_STRING, .required = true, AT(catalog_advertiser, domain), .rule = TEXT_DOMAIN,
     .text = "the advertiser's domain: sent as adomain, and compared with badv"},
    {"categories", FIELD_STRINGS, AT(catalog_advertiser, categories), .rule = TEXT_ANY,
     .text = "categories of its ads, compared with bcat", .otherwise = "none"},
    {"cattax", FIELD_INT, AT(catalog_advertiser, cattax), .min = 1, .max = 1000, .standard = 1,
     .text = "taxonomy of the categories (OpenRTB list; 1 = IAB content categories 1.0)"},
    CAPS_FIELD("caps that count every exposure of the advertiser"),
    {"brands", FIELD_ENTITIES, .target = ENTITY_BRAND, .shape = &shape_brand, .text = "its brands",
     .otherwise = "none"},
};
static const struct shape shape_advertiser =
    SHAPE("advertiser", catalog_advertiser, advertiser_fields, "An advertiser and its brands.");

#define SEGMENTS_SCHEMA "{\"type\":\"array\",\"items\":{\"type\":\"string\",\"minLength\":1}}"
static const struct field audience_fields[] = {
    ID_FIELD(catalog_audience, "unique among audiences"),
    {"any", FIELD_SPECIAL, AT(catalog_audience, expr.any_segments), .read = read_segments,
     .schema = SEGMENTS_SCHEMA, .text = "segments of which a person must have one",
     .otherwise = "no condition"},
    {"all", FIELD_SPECIAL, AT(catalog_audience, expr.all_segments), .read = read_segments,
     .schema = SEGMENTS_SCHEMA, .text = "segments a person must have", .otherwise = "no condition"},
    {"none", FIELD_SPECIAL, AT(catalog_audience, expr.none_segments), .read = read_segments,
     .schema = SEGMENTS_SCHEMA, .text = "segments a person must not have",
     .otherwise = "no condition"},
    {"any_audiences", FIELD_REFS, AT(catalog_audience, expr.any_audiences),
     .target = ENTITY_AUDIENCE, .text = "audiences of which a person must be in one",
     .otherwise = "no condition"},
    {"all_audiences", FIELD_REFS, AT(catalog_audience, expr.all_audiences),
     .target = ENTITY_AUDIENCE, .text = "audiences a person must be in",
     .otherwise = "no condition"},
    {"none_audiences", FIELD_REFS, AT(catalog_audience, expr.none_audiences),
     .target = ENTITY_AUDIENCE, .text = "audiences a person must not be in",
     .otherwise = "no condition"},
};
static const struct shape shape_audience =
    SHAPE("audience", catalog_audience, audience_fields,
          "A set of people by the segments they have; all conditions must hold.");

/* --- frequency caps ------------------------------------------------------------------------- */

static const struct field cap_member_fields[] = {
    {"advertisers", FIELD_SPECIAL, .target = ENTITY_ADVERTISER, .read = read_cap_members,
     .schema = ID_LIST_SCHEMA, .text = "advertisers whose exposures count", .otherwise = "none"},
    {"brands", FIELD_SPECIAL, .target = ENTITY_BRAND, .read = read_cap_members,
     .schema = ID_LIST_SCHEMA, .text = "brands whose exposures count", .otherwise = "none"},
    {"campaigns", FIELD_SPECIAL, .target = ENTITY_CAMPAIGN, .read = read_cap_members,
     .schema = ID_LIST_SCHEMA, .text = "campaigns whose exposures count", .otherwise = "none"},
    {"line_items", FIELD_SPECIAL, .target = ENTITY_LINE, .read = read_cap_members,
     .schema = ID_LIST_SCHEMA, .text = "line items whose exposures count", .otherwise = "none"},
    {"creatives", FIELD_SPECIAL, .target = ENTITY_CREATIVE, .read = read_cap_members,
     .schema = ID_LIST_SCHEMA, .text = "creatives whose exposures count", .otherwise = "none"},
};
const struct shape shape_cap_members =
    SHAPE("cap_members", cap, cap_member_fields,
          "A named set that shares one count, whatever media it buys on.");

static const struct field cap_fields[] = {
    ID_FIELD(cap, "unique among frequency caps"),
    {"max", FIELD_INT, AT(cap, max), .min = 1, .max = 10000,
     .text = "exposures allowed inside the window", .otherwise = "no limit (min_interval only)"},
    {"window", FIELD_SPECIAL, AT(cap, window), .read = read_window,
     .schema = "{\"oneOf\":[{\"const\":\"lifetime\"},"
               "{\"type\":\"object\",\"required\":[\"rolling\"],\"properties\":"
               "{\"rolling\":{\"$ref\":\"#/$defs/duration\"}},\"additionalProperties\":false},"
               "{\"type\":\"object\",\"required\":[\"calendar\"],\"properties\":{\"calendar\":"
               "{\"enum\":[\"day\",\"week\",\"month\"]}},\"additionalProperties\":false}]}",
     .text = "the time counted: {\"rolling\": \"7d\"}, {\"calendar\": \"day|week|month\"} in the "
             "catalog's timezone, or \"lifetime\"",
     .otherwise = "required with max"},
    {"min_interval", FIELD_DURATION, AT(cap, min_interval_s), .min = 1, .max = 366 * DAY_S,
     .text = "least time between two exposures", .otherwise = "none"},
    {"identity", FIELD_CHOICE, AT(cap, identity), .choices = identity_choices,
     .text = "count per person, or per household (OTT)"},
    {"members", FIELD_OBJECT, .shape = &shape_cap_members,
     .text = "what the cap counts, besides the entities that name it in frequency_caps",
     .otherwise = "only those that name it"},
};
static const struct shape shape_cap = SHAPE(
    "frequency_cap", cap, cap_fields, "So many exposures per person and window, across all media.");

/* --- deals ---------------------------------------------------------------------------------- */

static const struct field deal_fields[] = {
    ID_FIELD(catalog_deal, "the exchange's deal id; unique within the exchange"),
    {"exchange", FIELD_REF, .required = true, AT(catalog_deal, exchange), .target = ENTITY_EXCHANGE,
     .text = "the exchange that offers it"},
    {"buying", FIELD_CHOICE, .required = true, AT(catalog_deal, buying),
     .choices = catalog_buying_choices,
     .text = "cpd (bought-out position), pdb (guaranteed), pd (fixed price), pa (private auction)"},
    {"owner", FIELD_REF, AT(catalog_deal, owner), .target = ENTITY_BRAND,
     .text = "the brand that pays for it", .otherwise = "none"},
    {"cpm", FIELD_MICROS, AT(catalog_deal, cpm_micros), .min = 0, .max = MICROS(1000000),
     .text = "agreed price per thousand, in the catalog's currency",
     .otherwise = "the deal's floor in the request"},
    {"day_price", FIELD_MICROS, AT(catalog_deal, day_price_micros), .min = 0, .max = MAX_MONEY,
     .text = "cpd: price of a day", .otherwise = "none"},
    {"push_ratio", FIELD_MICROS, AT(catalog_deal, push_ratio_micros), .min = MICROS(1),
     .max = MICROS(10),
     .text = "pdb: requests pushed per impression bought; 1.5 allows to return a third",
     .otherwise = "1: nothing may be returned"},
    {"impressions_per_day", FIELD_INT, AT(catalog_deal, impressions_per_day), .min = 0,
     .max = 1000000000000, .text = "guaranteed impressions a day", .otherwise = "not agreed"},
    {"default_creative", FIELD_REF, AT(catalog_deal, default_creative), .target = ENTITY_CREATIVE,
     .text = "shown when an impression must be filled and no line item wants it",
     .otherwise = "none"},
    {"formats", FIELD_BITS, AT(catalog_deal, formats), .choices = format_choices,
     .text = "kinds of ads the position takes", .otherwise = "any"},
};
static const struct shape shape_deal =
    SHAPE("deal", catalog_deal, deal_fields, "A deal with a medium.");

/* --- creatives ------------------------------------------------------------------------------ */

static const struct field asset_fields[] = {
    {"kind", FIELD_SPECIAL, .required = true, AT(native_asset, kind), .read = read_asset_kind,
     .schema = "{\"enum\":[\"title\",\"icon\",\"image\",\"video\",\"sponsored\",\"desc\","
               "\"rating\",\"likes\",\"downloads\",\"price\",\"saleprice\",\"phone\",\"address\","
               "\"desc2\",\"displayurl\",\"ctatext\"]}",
     .text = "title, icon, image, video, or a kind of data (sponsored, desc, rating, ctatext ...)"},
    {"text", FIELD_STRING, AT(native_asset, text), .rule = TEXT_ANY, .text = "title or data",
     .otherwise = "none"},
    {"url", FIELD_STRING, AT(native_asset, url), .rule = TEXT_URL, .text = "image or video file",
     .otherwise = "none"},
    {"mime", FIELD_STRING, AT(native_asset, mime), .rule = TEXT_MIME, .text = "of the file",
     .otherwise = "unknown"},
    {"w", FIELD_INT, AT(native_asset, w), .min = 1, .max = 16384, .text = "pixels",
     .otherwise = "unknown"},
    {"h", FIELD_INT, AT(native_asset, h), .min = 1, .max = 16384, .text = "pixels",
     .otherwise = "unknown"},
    {"duration", FIELD_INT, AT(native_asset, duration_s), .min = 1, .max = 3600,
     .text = "seconds of a video", .otherwise = "unknown"},
};
static const struct shape shape_asset =
    SHAPE("asset", native_asset, asset_fields, "A part of a native ad.");

static const struct field creative_fields[] = {
    ID_FIELD(catalog_creative, "unique among creatives; sent as crid"),
    {"type", FIELD_CHOICE, .required = true, AT(catalog_creative, type),
     .choices = creative_choices, .text = "what it is"},
    {"w", FIELD_INT, AT(catalog_creative, w), .min = 1, .max = 16384,
     .text = "pixels; required for banner and video", .otherwise = "unknown"},
    {"h", FIELD_INT, AT(catalog_creative, h), .min = 1, .max = 16384,
     .text = "pixels; required for banner and video", .otherwise = "unknown"},
    {"duration", FIELD_INT, AT(catalog_creative, duration_s), .min = 1, .max = 3600,
     .text = "seconds; required for video and audio", .otherwise = "unknown"},
    {"bitrate_kbps", FIELD_INT, AT(catalog_creative, bitrate_kbps), .min = 1, .max = 1000000,
     .text = "of the media file", .otherwise = "unknown"},
    {"mime", FIELD_STRING, AT(catalog_creative, mime), .rule = TEXT_MIME,
     .text = "of the media file; required for video and audio", .otherwise = "unknown"},
    {"url", FIELD_STRING, AT(catalog_creative, url), .rule = TEXT_URL,
     .text = "the media file; required for video and audio", .otherwise = "none"},
    {"image", FIELD_STRING, AT(catalog_creative, image), .rule = TEXT_URL,
     .text = "banner: the image", .otherwise = "none"},
    {"html", FIELD_STRING, AT(catalog_creative, html), .rule = TEXT_ANY,
     .text = "banner: HTML5 markup with {CLICK} where the click url goes", .otherwise = "none"},
    {"landing", FIELD_STRING, AT(catalog_creative, landing), .rule = TEXT_URL,
     .text = "where a click leads; required for banner and native", .otherwise = "no click"},
    {"assets", FIELD_OBJECTS, AT(catalog_creative, assets), .shape = &shape_asset,
     .text = "native: its parts", .otherwise = "none"},
    {"attr", FIELD_INTS, AT(catalog_creative, attr), .min = 1, .max = 1000,
     .text = "creative attributes (AdCOM list), compared with battr", .otherwise = "none"},
    {"apis", FIELD_INTS, AT(catalog_creative, apis), .min = 1, .max = 1000,
     .text = "API frameworks the ad needs (AdCOM list)", .otherwise = "none"},
    {"categories", FIELD_STRINGS, AT(catalog_creative, categories), .rule = TEXT_ANY,
     .text = "categories of the ad", .otherwise = "the advertiser's"},
    {"language", FIELD_STRING, AT(catalog_creative, language), .rule = TEXT_LOWER,
     .text = "such as \"zh\"", .otherwise = "unknown"},
    {"adid", FIELD_STRING, AT(catalog_creative, adid), .rule = TEXT_ID,
     .text = "the exchange's id of the ad, where ads are reviewed beforehand", .otherwise = "none"},
    CAPS_FIELD("caps that count every exposure of the creative"),
};
static const struct shape shape_creative =
    SHAPE("creative", catalog_creative, creative_fields, "An ad.");

/* --- rotations, swaps, dmps ----------------------------------------------------------------- */

static const struct field rotation_brand_fields[] = {
    {"brand", FIELD_REF, .required = true, AT(read_share, brand), .target = ENTITY_BRAND,
     .text = "the brand"},
    {"share", FIELD_MICROS, .required = true, AT(read_share, weight), .min = 1,
     .max = MICROS(1000000), .text = "its share, relative to the others'"},
};
const struct shape shape_rotation_brand =
    SHAPE("rotation_brand", read_share, rotation_brand_fields, "A brand's part of a rotation.");

static const struct field rotation_fields[] = {
    ID_FIELD(catalog_rotation, "unique among rotations"),
    {"deals", FIELD_REFS, .required = true, AT(catalog_rotation, deals), .target = ENTITY_DEAL,
     .text = "the traffic the brands share"},
    {"brands", FIELD_SPECIAL,
     .schema =
         "{\"type\":\"array\",\"minItems\":2,\"items\":{\"$ref\":\"#/$defs/rotation_brand\"}}",
     .required = true, AT(catalog_rotation, shares), .read = read_shares,
     .shape = &shape_rotation_brand,
     .text = "the brands and their shares; shares are relative and need not sum to 100"},
    {"window", FIELD_DURATION, AT(catalog_rotation, window_s), .min = 60, .max = 366 * DAY_S,
     .standard = 30 * DAY_S, .text = "how long a person's last brand counts"},
};
static const struct shape shape_rotation = SHAPE("rotation", catalog_rotation, rotation_fields,
                                                 "Brands that take turns on shared traffic.");

static const struct field swap_fields[] = {
    ID_FIELD(catalog_swap, "unique among swaps"),
    {"between", FIELD_SPECIAL, .required = true, AT(catalog_swap, brands), .read = read_between,
     .schema = "{\"type\":\"array\",\"minItems\":2,\"maxItems\":2,\"uniqueItems\":true,"
               "\"items\":{\"type\":\"string\"}}",
     .text = "the two brands; their audiences must exclude each other"},
    {"measure", FIELD_CHOICE, AT(catalog_swap, by_value), .choices = measure_choices,
     .text = "what must balance: impressions, or their value by the deals' prices"},
    {"consent", FIELD_BOOL, AT(catalog_swap, consent),
     .text = "both advertisers agreed; needed between two advertisers"},
    {"dmp", FIELD_REF, AT(catalog_swap, dmp), .target = ENTITY_DMP,
     .text = "who says which audience a person is in; needed between two advertisers",
     .otherwise = "the persons' own segments"},
    {"planned_impressions", FIELD_INT, AT(catalog_swap, planned_impressions), .min = 0,
     .max = 1000000000000,
     .text = "of the smaller brand: the balance may be off by 1% of it, or 100",
     .otherwise = "100 impressions of balance"},
    {"start", FIELD_START, AT(catalog_swap, start_s), .text = "first day",
     .otherwise = "when both brands have campaigns"},
    {"end", FIELD_END, AT(catalog_swap, end_s), .text = "last day, included; balanced by then",
     .otherwise = "when a brand's last campaign ends"},
};
static const struct shape shape_swap =
    SHAPE("swap", catalog_swap, swap_fields,
          "Two brands that lend each other traffic they cannot use, in equal volume.");

static const struct field dmp_fields[] = {
    ID_FIELD(catalog_dmp, "unique among dmps"),
    {"url", FIELD_STRING, .required = true, AT(catalog_dmp, url), .rule = TEXT_URL,
     .text = "asked by HTTP which audiences a person is in"},
    {"deadline_ms", FIELD_INT, AT(catalog_dmp, deadline_us), .min = 1, .max = 100, .scale = 1000,
     .standard = 5000, .text = "no answer by then: unknown"},
    {"cache", FIELD_DURATION, AT(catalog_dmp, cache_s), .min = 1, .max = 30 * DAY_S,
     .standard = 3600, .text = "how long an answer holds"},
};
static const struct shape shape_dmp = SHAPE(
    "dmp", catalog_dmp, dmp_fields, "A data management platform that knows who is in an audience.");

/* --- the file ------------------------------------------------------------------------------- */

static const struct field root_fields[] = {
    {"$schema", FIELD_STRING, AT(catalog_root, schema), .rule = TEXT_ANY,
     .text = "for editors: the path of catalog.schema.json", .otherwise = "none"},
    {"timezone", FIELD_STRING, .required = true, AT(catalog_root, timezone), .rule = TEXT_ANY,
     .text = "IANA name, \"Asia/Shanghai\": days, weeks, hours and dates are local to it"},
    {"currency", FIELD_STRING, .required = true, AT(catalog_root, currency), .rule = TEXT_CURRENCY,
     .text = "of every amount in the file"},
    {"currencies", FIELD_SPECIAL, AT(catalog_root, unused), .read = read_currencies,
     .schema = "{\"type\":\"object\",\"propertyNames\":{\"pattern\":\"^([A-Z]{3}|comment)$\"},"
               "\"additionalProperties\":{\"$ref\":\"#/$defs/amount\"},"
               "\"properties\":{\"comment\":true}}",
     .text = "what one unit of another currency is worth: {\"USD\": 7.1}",
     .otherwise = "only the catalog's own"},
    {"lifetime_window", FIELD_DURATION, AT(catalog_root, lifetime_s), .min = DAY_S,
     .max = (int64_t)10 * 366 * DAY_S, .standard = 365 * DAY_S,
     .text = "how long exposures are kept for caps with window lifetime"},
    {"exchanges", FIELD_ENTITIES, .target = ENTITY_EXCHANGE, .shape = &shape_exchange,
     .text = "who sends bid requests", .otherwise = "none"},
    {"advertisers", FIELD_ENTITIES, .target = ENTITY_ADVERTISER, .shape = &shape_advertiser,
     .text = "advertisers and their brands", .otherwise = "none"},
    {"audiences", FIELD_ENTITIES, .target = ENTITY_AUDIENCE, .shape = &shape_audience,
     .text = "sets of people", .otherwise = "none"},
    {"frequency_caps", FIELD_ENTITIES, .target = ENTITY_CAP, .shape = &shape_cap,
     .text = "caps that entities point to", .otherwise = "none"},
    {"deals", FIELD_ENTITIES, .target = ENTITY_DEAL, .shape = &shape_deal,
     .text = "deals with media", .otherwise = "none"},
    {"campaigns", FIELD_ENTITIES, .target = ENTITY_CAMPAIGN, .shape = &shape_campaign,
     .text = "campaigns and their line items", .otherwise = "none"},
    {"creatives", FIELD_ENTITIES, .target = ENTITY_CREATIVE, .shape = &shape_creative,
     .text = "the ads", .otherwise = "none"},
    {"rotations", FIELD_ENTITIES, .target = ENTITY_ROTATION, .shape = &shape_rotation,
     .text = "brands that take turns", .otherwise = "none"},
    {"swaps", FIELD_ENTITIES, .target = ENTITY_SWAP, .shape = &shape_swap,
     .text = "brands that lend each other traffic", .otherwise = "none"},
    {"dmps", FIELD_ENTITIES, .target = ENTITY_DMP, .shape = &shape_dmp,
     .text = "data management platforms to ask", .otherwise = "none"},
};
const struct shape shape_root =
    SHAPE("catalog", catalog_root, root_fields, "Everything the bidder buys, for whom and how.");
