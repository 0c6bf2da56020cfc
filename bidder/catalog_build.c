/* From what was read to what the request path uses: which caps count what, flights, budgets, the
 * lines of a deal, metric rows, lookups. */
#include "bidder/base/bug.h"
#include "bidder/bid_members.h"
#include "bidder/catalog_reader.h"
#include "bidder/markup.h"
#include "bidder/target.h"

/* --- caps ----------------------------------------------------------------------------------- */

static int compare_pairs(const void *a, const void *b)
{
    const struct cap_pair *left = a, *right = b;
    if (left->entity != right->entity) {
        return left->entity < right->entity ? -1 : 1;
    }
    return left->cap < right->cap ? -1 : left->cap > right->cap;
}

/* Sorted and without doubles: naming a cap twice, by entity and by cap, is no mistake. */
static void sort_pairs(struct cap_pairs *pairs)
{
    if (!pairs->count) {
        return;
    }
    qsort(pairs->items, pairs->count, sizeof(pairs->items[0]), compare_pairs);
    uint32_t kept = 1;
    for (uint32_t i = 1; i < pairs->count; i++) {
        if (compare_pairs(&pairs->items[i], &pairs->items[kept - 1]) != 0) {
            pairs->items[kept++] = pairs->items[i];
        }
    }
    pairs->count = kept;
}

/* Gives each entity its caps. lists: the first entity's member, the others stride bytes on. */
static void spread_pairs(struct catalog_reader *reader, enum entity_kind kind, void *lists,
                         size_t stride)
{
    struct cap_pairs *pairs = &reader->cap_pairs[kind];
    sort_pairs(pairs);
    uint32_t *caps = reader_keep(reader, pairs->count, sizeof(*caps));
    for (uint32_t i = 0; i < pairs->count && caps; i++) {
        struct index_list *list =
            (struct index_list *)((char *)lists + pairs->items[i].entity * stride);
        caps[i] = pairs->items[i].cap;
        list->items = list->count ? list->items : &caps[i];
        list->count++;
    }
}

/* Both ascending without doubles; so is the result, which may be one of the two itself. */
static struct index_list merge(struct catalog_reader *reader, struct index_list a,
                               struct index_list b)
{
    if (!a.count || !b.count) {
        return a.count ? a : b;
    }
    uint32_t *items = reader_keep(reader, a.count + b.count, sizeof(*items));
    uint32_t count = 0;
    for (uint32_t i = 0, j = 0; items && (i < a.count || j < b.count);) {
        uint32_t left = i < a.count ? a.items[i] : UINT32_MAX;
        uint32_t right = j < b.count ? b.items[j] : UINT32_MAX;
        items[count++] = left < right ? left : right;
        i += left <= right;
        j += right <= left;
    }
    return (struct index_list){.items = items, .count = count};
}

static struct index_list brand_caps(struct catalog_reader *reader, uint32_t brand)
{
    const struct catalog *catalog = reader->catalog;
    if (brand == CATALOG_NONE) {
        return (struct index_list){0};
    }
    uint32_t advertiser = catalog->brands[brand].advertiser;
    return merge(reader, catalog->brands[brand].caps, catalog->advertisers[advertiser].caps);
}

void reader_build_caps(struct catalog_reader *reader)
{
    struct catalog *catalog = reader->catalog;
    reader->own_line_caps =
        reader_scrap(reader, catalog->line_count, sizeof(*reader->own_line_caps));
    if (!reader->own_line_caps) {
        return;
    }
    spread_pairs(reader, ENTITY_ADVERTISER, &catalog->advertisers->caps,
                 sizeof(*catalog->advertisers));
    spread_pairs(reader, ENTITY_BRAND, &catalog->brands->caps, sizeof(*catalog->brands));
    spread_pairs(reader, ENTITY_CAMPAIGN, &catalog->campaigns->caps, sizeof(*catalog->campaigns));
    spread_pairs(reader, ENTITY_CREATIVE, &catalog->creatives->caps, sizeof(*catalog->creatives));
    spread_pairs(reader, ENTITY_LINE, reader->own_line_caps, sizeof(*reader->own_line_caps));
    for (uint32_t c = 0; c < catalog->campaign_count && !reader->no_memory; c++) {
        const struct catalog_campaign *campaign = &catalog->campaigns[c];
        struct index_list shared =
            merge(reader, campaign->caps, brand_caps(reader, campaign->brand));
        for (uint32_t i = 0; i < campaign->line_count; i++) {
            uint32_t line = campaign->first_line + i;
            struct index_list all = merge(reader, reader->own_line_caps[line], shared);
            catalog->lines[line].caps = (struct cap_list){.items = all.items, .count = all.count};
        }
    }
}

/* --- lines ---------------------------------------------------------------------------------- */

struct str reader_budget_name(const struct catalog_reader *reader, uint32_t index,
                              char name[READER_BUDGET_NAME_BYTES])
{
    const struct read_budget *read = &reader->budgets[index];
    struct str id = reader->sets[read->kind].ids[read->index];
    int length = snprintf(name, READER_BUDGET_NAME_BYTES, "%s:%.*s",
                          read->kind == ENTITY_LINE ? "line" : "campaign", STR_ARG(id));
    BUG_ON(length >= READER_BUDGET_NAME_BYTES); /* ids are shorter */
    return (struct str){name, (size_t)length};
}

/* Puts budgets into the snapshot, campaigns' and lines' alike, and into the lists of lines. */
static void build_budgets(struct catalog_reader *reader)
{
    struct catalog *catalog = reader->catalog;
    uint32_t count = reader->budget_count;
    catalog->budgets = reader_keep(reader, count, sizeof(*catalog->budgets));
    uint32_t *of_campaign = reader_scrap(reader, catalog->campaign_count, sizeof(uint32_t));
    uint32_t *of_line = reader_scrap(reader, catalog->line_count, sizeof(uint32_t));
    uint32_t *lists = reader_keep(reader, 2 * (size_t)catalog->line_count, sizeof(*lists));
    if (!catalog->budgets || !of_campaign || !of_line || !lists) {
        return;
    }
    catalog->budget_count = count;
    for (uint32_t i = 0; i < count; i++) {
        const struct read_budget *read = &reader->budgets[i];
        bool line = read->kind == ENTITY_LINE;
        struct catalog_budget *budget = &catalog->budgets[i];
        char name[READER_BUDGET_NAME_BYTES];
        *budget = read->budget;
        budget->name = reader_keep_str(reader, reader_budget_name(reader, i, name));
        budget->ref = reader_budget_ref(budget->name, budget->impressions);
        budget->start_s =
            line ? catalog->lines[read->index].start_s : catalog->campaigns[read->index].start_s;
        budget->end_s =
            line ? catalog->lines[read->index].end_s : catalog->campaigns[read->index].end_s;
        (line ? of_line : of_campaign)[read->index] = i + 1; /* 0 = none */
    }
    for (uint32_t i = 0; i < catalog->line_count; i++) {
        struct catalog_line *line = &catalog->lines[i];
        line->budgets.items = lists;
        if (of_line[i]) {
            lists[line->budgets.count++] = of_line[i] - 1;
        }
        if (of_campaign[line->campaign]) {
            lists[line->budgets.count++] = of_campaign[line->campaign] - 1;
        }
        lists += line->budgets.count;
    }
}

static void build_deal_lines(struct catalog_reader *reader)
{
    struct catalog *catalog = reader->catalog;
    uint32_t total = 0;
    for (uint32_t i = 0; i < catalog->line_count; i++) {
        for (uint32_t d = 0; d < catalog->lines[i].deals.count; d++) {
            catalog->deals[catalog->lines[i].deals.items[d]].lines.count++;
            total++;
        }
    }
    uint32_t *items = reader_keep(reader, total, sizeof(*items));
    if (!items) {
        return;
    }
    uint32_t *fill = reader_scrap(reader, catalog->deal_count, sizeof(*fill));
    uint32_t used = 0;
    for (uint32_t d = 0; d < catalog->deal_count && fill; d++) {
        catalog->deals[d].lines.items = items + used;
        fill[d] = used;
        used += catalog->deals[d].lines.count;
    }
    for (uint32_t i = 0; i < catalog->line_count && fill; i++) {
        for (uint32_t d = 0; d < catalog->lines[i].deals.count; d++) {
            items[fill[catalog->lines[i].deals.items[d]]++] = i;
        }
    }
}

void reader_build_lines(struct catalog_reader *reader)
{
    struct catalog *catalog = reader->catalog;
    for (uint32_t i = 0; i < catalog->line_count; i++) {
        struct catalog_line *line = &catalog->lines[i];
        const struct catalog_campaign *campaign = &catalog->campaigns[line->campaign];
        line->start_s = line->start_s ? line->start_s : campaign->start_s;
        line->end_s = line->end_s ? line->end_s : campaign->end_s;
        line->ref = cap_ref32(line->id);
    }
    build_budgets(reader);
    build_deal_lines(reader);
}

/* --- the finished snapshot ------------------------------------------------------------------ */

/* A line keeps its metric row over reloads. A new line takes the first row the previous catalog
 * did not use at all, so that the row of a line just dropped is not continued by another at once;
 * only when there is none, a dropped one's. */
static void assign_slots(struct catalog_reader *reader)
{
    struct catalog *catalog = reader->catalog;
    const struct catalog *previous = reader->previous;
    enum { FREE, DROPPED, KEPT };
    uint8_t *rows = reader_scrap(reader, CATALOG_MAX_LINES, 1);
    bool *has = reader_scrap(reader, catalog->line_count, sizeof(*has));
    if (!rows || !has) {
        return;
    }
    for (uint32_t i = 0; previous && i < previous->line_count; i++) {
        rows[previous->lines[i].slot] = DROPPED;
    }
    for (uint32_t i = 0; previous && i < catalog->line_count; i++) {
        uint32_t old = str_table_get(&previous->line_by_id, catalog->lines[i].id);
        if (old != STR_TABLE_NONE) {
            catalog->lines[i].slot = previous->lines[old].slot;
            rows[catalog->lines[i].slot] = KEPT;
            has[i] = true;
        }
    }
    uint32_t next = 0;
    int accept = FREE;
    for (uint32_t i = 0; i < catalog->line_count; i++) {
        while (!has[i] && (next == CATALOG_MAX_LINES || rows[next] != accept)) {
            if (next == CATALOG_MAX_LINES) {
                BUG_ON(accept == DROPPED); /* there are as many rows as lines may be */
                accept = DROPPED;
                next = 0;
            } else {
                next++;
            }
        }
        if (!has[i]) {
            catalog->lines[i].slot = next++;
        }
    }
}

/* A household's record costs as much to read and reserve as a person's, so nobody looks for
 * households until a cap counts them. Their counts begin with that cap. */
static void drop_unused_households(struct catalog *catalog)
{
    for (uint32_t i = 0; i < catalog->cap_count; i++) {
        if (catalog->caps[i].identity == CAP_HOUSEHOLD) {
            return;
        }
    }
    for (uint32_t i = 0; i < catalog->exchange_count; i++) {
        catalog->exchanges[i].household_id_count = 0;
    }
}

static void build_lookups(struct catalog_reader *reader)
{
    struct catalog *catalog = reader->catalog;
    catalog->exchange_by_id = reader->sets[ENTITY_EXCHANGE].by_id;
    catalog->deal_by_id = reader->sets[ENTITY_DEAL].by_id;
    catalog->line_by_id = reader->sets[ENTITY_LINE].by_id;
    catalog->brand_by_id = reader->sets[ENTITY_BRAND].by_id;
    catalog->campaign_by_id = reader->sets[ENTITY_CAMPAIGN].by_id;
    catalog->creative_by_id = reader->sets[ENTITY_CREATIVE].by_id;
    catalog->next_deal = reader->sets[ENTITY_DEAL].same_id;
    for (uint32_t i = 0; i < catalog->exchange_count; i++) {
        catalog->exchanges[i].ref = cap_ref32(catalog->exchanges[i].id);
    }
    for (uint32_t i = 0; i < catalog->deal_count; i++) {
        catalog->deals[i].ref = cap_ref32(catalog->deals[i].id);
    }
    for (uint32_t i = 0; i < catalog->brand_count; i++) {
        catalog->brands[i].ref = cap_ref24(catalog->brands[i].id);
        catalog->brands[i].ref32 = cap_ref32(catalog->brands[i].id);
    }
    for (uint32_t i = 0; i < catalog->creative_count; i++) {
        catalog->creatives[i].ref = cap_ref32(catalog->creatives[i].id);
        reader->no_memory |= !markup_prepare(&catalog->creatives[i], &catalog->arena);
    }
    reader->no_memory |= !bid_members_prepare(catalog);
    for (uint32_t i = 0; i < catalog->rotation_count; i++) {
        catalog->rotations[i].ref = cap_ref32(catalog->rotations[i].id);
    }
    for (uint32_t i = 0; i < catalog->swap_count; i++) {
        catalog->swaps[i].ref = cap_ref32(catalog->swaps[i].id);
    }
}

static struct cap_list as_caps(struct index_list list)
{
    return (struct cap_list){.items = list.items, .count = list.count};
}

static void list_shading_lines(struct catalog_reader *reader)
{
    struct catalog *catalog = reader->catalog;
    uint32_t *items = reader_keep(reader, catalog->line_count, sizeof(*items));
    uint32_t count = 0;
    for (uint32_t i = 0; items && i < catalog->line_count; i++) {
        if (catalog->lines[i].shading) {
            items[count++] = i;
        }
    }
    catalog->shading_lines = (struct index_list){.items = items, .count = count};
}

static enum status build_book(struct catalog_reader *reader)
{
    struct catalog *catalog = reader->catalog;
    struct cap_book_entry *lines = reader_keep(reader, catalog->line_count, sizeof(*lines));
    struct cap_book_entry *brands = reader_keep(reader, catalog->brand_count, sizeof(*brands));
    struct cap_book_entry *creatives =
        reader_keep(reader, catalog->creative_count, sizeof(*creatives));
    if (!lines || !brands || !creatives) {
        return STATUS_NO_MEMORY;
    }
    for (uint32_t i = 0; i < catalog->line_count; i++) {
        lines[i] =
            (struct cap_book_entry){.ref = catalog->lines[i].ref, .caps = catalog->lines[i].caps};
    }
    for (uint32_t i = 0; i < catalog->brand_count; i++) {
        brands[i] = (struct cap_book_entry){.ref = catalog->brands[i].ref,
                                            .caps = as_caps(brand_caps(reader, i))};
    }
    for (uint32_t i = 0; i < catalog->creative_count; i++) {
        creatives[i] = (struct cap_book_entry){.ref = catalog->creatives[i].ref,
                                               .caps = as_caps(catalog->creatives[i].caps)};
    }
    if (reader->no_memory) {
        return STATUS_NO_MEMORY;
    }
    return cap_book_build(&catalog->book, &catalog->arena, &catalog->tz, catalog->caps,
                          catalog->cap_count, reader->lifetime_s, lines, catalog->line_count,
                          brands, catalog->brand_count, creatives, catalog->creative_count);
}

enum status reader_finish(struct catalog_reader *reader)
{
    drop_unused_households(reader->catalog);
    build_lookups(reader);
    assign_slots(reader);
    list_shading_lines(reader);
    enum status status = reader->no_memory ? STATUS_NO_MEMORY : build_book(reader);
    BUG_ON(status == STATUS_INVALID); /* refs that meet were refused by the checks */
    return status == STATUS_OK ? target_index_build(reader->catalog) : status;
}
