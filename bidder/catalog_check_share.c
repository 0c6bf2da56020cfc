/* Cross checks of what brands share: rotations and traffic swaps. */
#include "bidder/base/bug.h"
#include "bidder/catalog_reader.h"

/* --- rotations ------------------------------------------------------------------------------ */

static bool brand_buys_on(const struct catalog *catalog, uint32_t brand,
                          const struct index_list *deals)
{
    for (uint32_t d = 0; d < deals->count; d++) {
        const struct index_list *lines = &catalog->deals[deals->items[d]].lines;
        for (uint32_t i = 0; i < lines->count; i++) {
            if (catalog->lines[lines->items[i]].brand == brand) {
                return true;
            }
        }
    }
    return false;
}

static void check_rotation(struct catalog_reader *reader, uint32_t index, uint32_t *taken)
{
    const struct catalog *catalog = reader->catalog;
    const struct catalog_rotation *rotation = &catalog->rotations[index];
    const struct json_value *deals = reader_at(reader, ENTITY_ROTATION, index, "deals");
    const struct json_value *brands = reader_at(reader, ENTITY_ROTATION, index, "brands");
    if (deals->type == JSON_ARRAY && !deals->count) {
        reader_error(reader, deals, "expected at least one deal");
    }
    for (uint32_t i = 0; i < rotation->deals.count; i++) {
        uint32_t deal = rotation->deals.items[i];
        const struct json_value *at =
            deals->count == rotation->deals.count ? &deals->items[i] : deals;
        if (taken[deal]) {
            reader_error(reader, at, "deal \"%.*s\" is already in rotation \"%.*s\"",
                         STR_ARG(catalog->deals[deal].id),
                         STR_ARG(catalog->rotations[taken[deal] - 1].id));
        } else {
            taken[deal] = index + 1;
        }
    }
    for (uint32_t i = 0; i < rotation->share_count; i++) {
        uint32_t brand = rotation->shares[i].brand;
        const struct json_value *at =
            brands->count == rotation->share_count ? &brands->items[i] : brands;
        if (brand != CATALOG_NONE && rotation->deals.count &&
            !brand_buys_on(catalog, brand, &rotation->deals)) {
            reader_error(reader, at, "brand \"%.*s\" has no line item on the rotation's deals",
                         STR_ARG(catalog->brands[brand].id));
        }
    }
}

void reader_check_rotations(struct catalog_reader *reader)
{
    uint32_t *taken = reader_scrap(reader, reader->catalog->deal_count, sizeof(*taken));
    for (uint32_t i = 0; i < reader->catalog->rotation_count && taken; i++) {
        check_rotation(reader, i, taken);
    }
}

/* --- swaps ---------------------------------------------------------------------------------- */

static bool contains(const uint32_t *items, uint32_t count, uint32_t wanted)
{
    for (uint32_t i = 0; i < count; i++) {
        if (items[i] == wanted) {
            return true;
        }
    }
    return false;
}

static bool contains_all(const uint32_t *items, uint32_t count, const uint32_t *wanted,
                         uint32_t wanted_count)
{
    for (uint32_t i = 0; i < wanted_count; i++) {
        if (!contains(items, count, wanted[i])) {
            return false;
        }
    }
    return wanted_count > 0;
}

/* Everyone in a is kept out of b: what a asks for, b refuses. Sound, not complete. */
static bool refuses(const struct catalog *catalog, uint32_t a, uint32_t b)
{
    const struct audience_expr *in = &catalog->audiences[a].expr;
    const struct audience_expr *out = &catalog->audiences[b].expr;
    if (contains(out->none_audiences.items, out->none_audiences.count, a) ||
        contains_all(out->none_segments, out->none_segment_count, in->any_segments,
                     in->any_segment_count) ||
        contains_all(out->none_audiences.items, out->none_audiences.count, in->any_audiences.items,
                     in->any_audiences.count)) {
        return true;
    }
    for (uint32_t i = 0; i < in->all_segment_count; i++) {
        if (contains(out->none_segments, out->none_segment_count, in->all_segments[i])) {
            return true;
        }
    }
    for (uint32_t i = 0; i < in->all_audiences.count; i++) {
        if (contains(out->none_audiences.items, out->none_audiences.count,
                     in->all_audiences.items[i])) {
            return true;
        }
    }
    return false;
}

static void check_swap_audiences(struct catalog_reader *reader, uint32_t index)
{
    const struct catalog *catalog = reader->catalog;
    const struct catalog_swap *swap = &catalog->swaps[index];
    const struct json_value *between = reader_at(reader, ENTITY_SWAP, index, "between");
    uint32_t audiences[2];
    for (uint32_t i = 0; i < 2; i++) {
        const struct catalog_brand *brand = &catalog->brands[swap->brands[i]];
        audiences[i] = brand->audience;
        bool said =
            json_dom_get(reader->sets[ENTITY_BRAND].sources[swap->brands[i]], STR("audience"));
        if (!said) {
            reader_error(reader, &between->items[i],
                         "brand \"%.*s\" has no \"audience\": a swap needs both",
                         STR_ARG(brand->id));
        }
    }
    if (audiences[0] == CATALOG_NONE || audiences[1] == CATALOG_NONE) {
        return;
    }
    if (audiences[0] == audiences[1]) {
        reader_error(reader, between,
                     "both brands have the audience \"%.*s\": there is nothing to swap",
                     STR_ARG(catalog->audiences[audiences[0]].id));
    } else if (!refuses(catalog, audiences[0], audiences[1]) &&
               !refuses(catalog, audiences[1], audiences[0])) {
        reader_warn(reader, between,
                    "audiences \"%.*s\" and \"%.*s\" do not exclude each other (\"none\"): a "
                    "person in both stays with the owner of the traffic",
                    STR_ARG(catalog->audiences[audiences[0]].id),
                    STR_ARG(catalog->audiences[audiences[1]].id));
    }
}

static void check_swap_partners(struct catalog_reader *reader, uint32_t index)
{
    const struct catalog *catalog = reader->catalog;
    struct catalog_swap *swap = &catalog->swaps[index];
    const struct json_value *source = reader->sets[ENTITY_SWAP].sources[index];
    swap->cross_advertiser =
        catalog->brands[swap->brands[0]].advertiser != catalog->brands[swap->brands[1]].advertiser;
    if (!swap->cross_advertiser) {
        return;
    }
    if (!swap->consent) {
        reader_error(reader, reader_at(reader, ENTITY_SWAP, index, "consent"),
                     "the brands belong to two advertisers: \"consent\": true of both is needed");
    }
    if (!json_dom_get(source, STR("dmp"))) {
        reader_error(reader, source,
                     "\"dmp\" is missing: between two advertisers a dmp must say "
                     "which audience a person is in");
    }
}

/* From the earliest start to the latest end of a brand's campaigns. False when something about
 * them was reported already. */
static bool brand_flight(const struct catalog *catalog, uint32_t brand, bool *any, int64_t *start_s,
                         int64_t *end_s)
{
    *any = false;
    *start_s = INT64_MAX;
    *end_s = INT64_MIN;
    for (uint32_t i = 0; i < catalog->campaign_count; i++) {
        const struct catalog_campaign *campaign = &catalog->campaigns[i];
        if (campaign->brand == CATALOG_NONE) {
            return false;
        }
        if (campaign->brand != brand) {
            continue;
        }
        if (!campaign->start_s || campaign->end_s <= campaign->start_s) {
            return false;
        }
        *start_s = *start_s < campaign->start_s ? *start_s : campaign->start_s;
        *end_s = *end_s > campaign->end_s ? *end_s : campaign->end_s;
        *any = true;
    }
    return true;
}

static void check_swap_flight(struct catalog_reader *reader, uint32_t index)
{
    struct catalog_swap *swap = &reader->catalog->swaps[index];
    const struct json_value *between = reader_at(reader, ENTITY_SWAP, index, "between");
    int64_t start_s = INT64_MIN, end_s = INT64_MAX;
    for (uint32_t i = 0; i < 2; i++) {
        int64_t from_s, to_s;
        bool any;
        if (!brand_flight(reader->catalog, swap->brands[i], &any, &from_s, &to_s)) {
            return;
        }
        if (!any) {
            reader_error(reader, &between->items[i], "brand \"%.*s\" has no campaign",
                         STR_ARG(reader->catalog->brands[swap->brands[i]].id));
            return;
        }
        start_s = from_s > start_s ? from_s : start_s;
        end_s = to_s < end_s ? to_s : end_s;
    }
    swap->start_s = swap->start_s ? swap->start_s : start_s;
    swap->end_s = swap->end_s ? swap->end_s : end_s;
    if (swap->end_s <= swap->start_s) {
        const struct json_value *end =
            json_dom_get(reader->sets[ENTITY_SWAP].sources[index], STR("end"));
        reader_error(reader, end ? end : between,
                     end ? "ends before it starts"
                         : "the brands' campaigns never run at the same time");
    }
}

void reader_check_swaps(struct catalog_reader *reader)
{
    const struct catalog *catalog = reader->catalog;
    bool *asked = reader_scrap(reader, catalog->dmp_count, sizeof(*asked));
    for (uint32_t i = 0; i < catalog->swap_count && asked; i++) {
        const struct catalog_swap *swap = &catalog->swaps[i];
        if (swap->dmp != CATALOG_NONE) {
            asked[swap->dmp] = true;
        }
        if (swap->brands[0] == CATALOG_NONE || swap->brands[1] == CATALOG_NONE ||
            swap->brands[0] == swap->brands[1]) {
            continue; /* reported */
        }
        check_swap_audiences(reader, i);
        check_swap_partners(reader, i);
        check_swap_flight(reader, i);
    }
    for (uint32_t i = 0; i < catalog->dmp_count && asked; i++) {
        if (!asked[i]) {
            reader_warn(reader, reader_at(reader, ENTITY_DMP, i, "id"), "no swap asks this dmp");
        }
    }
}
