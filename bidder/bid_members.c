/* One function says which fields a creative decides, another which a campaign does; the texts for
 * JSON are made of a bid that has nothing but these. Owns nothing: texts lie in the catalog's arena,
 * one for each creative and campaign, not for each pair of them.
 *
 *   creative      adid bundle crid [cat] attr apis language w h dur mtype
 *   campaign      adomain cid cattax
 *   advertiser    cat, for creatives that bring none */
#include "bidder/bid_members.h"

#define TEXT_LIMIT_BYTES (1 << 20) /* of one; ids and lists of a catalog are far shorter */

static enum bid_mtype mtype_of(const struct catalog_creative *creative)
{
    switch (creative->type) {
    case CREATIVE_BANNER:
        return BID_BANNER;
    case CREATIVE_VIDEO:
        return BID_VIDEO;
    case CREATIVE_AUDIO:
        return BID_AUDIO;
    case CREATIVE_NATIVE:
        return BID_NATIVE;
    }
    return BID_BANNER;
}

static void fill_creative(const struct catalog_creative *creative, struct bid *bid)
{
    bid->adid = creative->adid;
    bid->bundle = select_advertised_app(creative);
    bid->crid = creative->id;
    bid->cat = creative->categories;
    bid->attr = creative->attr;
    bid->apis = creative->apis;
    bid->language = creative->language;
    bid->w = creative->w;
    bid->h = creative->h;
    bid->dur = creative->duration_s;
    bid->mtype = mtype_of(creative);
}

static void fill_campaign(const struct catalog_campaign *campaign,
                          struct catalog_advertiser *advertiser, struct bid *bid)
{
    bid->adomain = (struct str_list){&advertiser->domain, advertiser->domain.len ? 1 : 0};
    bid->cid = campaign->id;
    bid->cattax = advertiser->cattax > 1 ? advertiser->cattax : 0;
}

/* The members of a bid as text; empty when it has none. False: no memory. */
static bool keep_members(const struct bid *bid, struct buf *text, struct arena *arena,
                         struct str *kept)
{
    buf_reset(text);
    bidresp_json_members(bid, text);
    *kept = text->len ? arena_strdup(arena, buf_str(text)) : STR_NONE;
    return !buf_failed(text) && kept->len == text->len;
}

bool bid_members_prepare(struct catalog *catalog)
{
    struct buf text;
    bool ok = true;
    buf_init(&text, TEXT_LIMIT_BYTES);
    for (uint32_t i = 0; ok && i < catalog->creative_count; i++) {
        struct bid bid = {0};
        fill_creative(&catalog->creatives[i], &bid);
        ok = keep_members(&bid, &text, &catalog->arena, &catalog->creatives[i].bid_members);
    }
    for (uint32_t i = 0; ok && i < catalog->campaign_count; i++) {
        struct catalog_campaign *campaign = &catalog->campaigns[i];
        struct bid bid = {0};
        fill_campaign(campaign, &catalog->advertisers[catalog->brands[campaign->brand].advertiser],
                      &bid);
        ok = keep_members(&bid, &text, &catalog->arena, &campaign->bid_members);
    }
    for (uint32_t i = 0; ok && i < catalog->advertiser_count; i++) {
        struct catalog_advertiser *advertiser = &catalog->advertisers[i];
        struct bid bid = {.cat = advertiser->categories};
        ok = keep_members(&bid, &text, &catalog->arena, &advertiser->bid_categories);
    }
    buf_deinit(&text);
    return ok;
}

void bid_members_fill(const struct catalog *catalog, uint32_t line, uint32_t creative,
                      enum wire_format format, struct bid *bid)
{
    const struct catalog_creative *shown = &catalog->creatives[creative];
    const struct catalog_campaign *campaign = &catalog->campaigns[catalog->lines[line].campaign];
    struct catalog_advertiser *advertiser = &catalog->advertisers[catalog->lines[line].advertiser];
    bool own_categories = shown->categories.count > 0;
    if (format == WIRE_JSON) {
        bid->members[BID_MEMBERS_CREATIVE] = shown->bid_members;
        bid->members[BID_MEMBERS_CAMPAIGN] = campaign->bid_members;
        bid->members[BID_MEMBERS_CATEGORIES] =
            own_categories ? STR_NONE : advertiser->bid_categories;
        return;
    }
    fill_creative(shown, bid);
    fill_campaign(campaign, advertiser, bid);
    bid->cat = own_categories ? shown->categories : advertiser->categories;
}
