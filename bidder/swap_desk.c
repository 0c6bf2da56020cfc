/* Owns: per catalog deal the swaps its owner takes part in, per brand its guaranteed lines. Rights
 * and ledgers are the swap book's. */
#include "bidder/swap_desk.h"

#include <stdlib.h>

#include "bidder/base/bug.h"

struct swap_desk {
    struct swap_book *book;   /* borrowed */
    struct arena arena;       /* what the adopted catalog made; reset at configure */
    struct index_list *swaps; /* by brand: swaps it is part of */
    struct index_list *lines; /* by brand: guaranteed lines */
    uint32_t brand_count;
};

#define DESK_BLOCK_BYTES (64 * 1024)
#define DESK_LIMIT_BYTES (64 * 1024 * 1024)

struct swap_desk *swap_desk_create(struct swap_book *book)
{
    struct swap_desk *desk = calloc(1, sizeof(*desk));
    if (desk && !arena_init(&desk->arena, DESK_BLOCK_BYTES, DESK_LIMIT_BYTES)) {
        free(desk);
        desk = NULL;
    }
    if (desk) {
        desk->book = book;
    }
    return desk;
}

void swap_desk_destroy(struct swap_desk **desk)
{
    if (*desk) {
        arena_deinit(&(*desk)->arena);
        free(*desk);
        *desk = NULL;
    }
}

/* --- configure ------------------------------------------------------------------------------ */

static bool lendable(const struct catalog_line *line)
{
    return line->buying <= BUYING_PDB && line->enabled;
}

/* Per brand a list of the items whose brands say so: counted first, then filled. */
static struct index_list *
lists_by_brand(struct arena *arena, const struct catalog *catalog, uint32_t item_count,
               bool (*holds)(const struct catalog *, uint32_t item, uint32_t brand))
{
    struct index_list *lists = arena_calloc(arena, catalog->brand_count + 1, sizeof(*lists));
    for (uint32_t b = 0; lists && b < catalog->brand_count; b++) {
        uint32_t count = 0;
        for (uint32_t i = 0; i < item_count; i++) {
            count += holds(catalog, i, b);
        }
        uint32_t *items = arena_alloc(arena, (count + 1) * sizeof(*items));
        if (!items) {
            return NULL;
        }
        lists[b].items = items;
        for (uint32_t i = 0; i < item_count; i++) {
            if (holds(catalog, i, b)) {
                items[lists[b].count++] = i;
            }
        }
    }
    return lists;
}

static bool swap_has_brand(const struct catalog *catalog, uint32_t swap, uint32_t brand)
{
    return catalog->swaps[swap].brands[0] == brand || catalog->swaps[swap].brands[1] == brand;
}

/* One pass over the lines, not one per brand: a catalog may have many of both. */
static struct index_list *lines_by_brand(struct arena *arena, const struct catalog *catalog)
{
    struct index_list *lists = arena_calloc(arena, catalog->brand_count + 1, sizeof(*lists));
    uint32_t *counts = arena_calloc(arena, catalog->brand_count + 1, sizeof(*counts));
    if (!lists || !counts) {
        return NULL;
    }
    for (uint32_t i = 0; i < catalog->line_count; i++) {
        counts[catalog->lines[i].brand] += lendable(&catalog->lines[i]);
    }
    for (uint32_t b = 0; b < catalog->brand_count; b++) {
        lists[b].items = arena_alloc(arena, (counts[b] + 1) * sizeof(uint32_t));
        if (!lists[b].items) {
            return NULL;
        }
    }
    for (uint32_t i = 0; i < catalog->line_count; i++) {
        struct index_list *list = &lists[catalog->lines[i].brand];
        if (lendable(&catalog->lines[i])) {
            ((uint32_t *)(uintptr_t)list->items)[list->count++] = i;
        }
    }
    return lists;
}

/* By value: a typical impression costs what the dearest deal of the two brands does. */
static int64_t typical_micros(const struct catalog *catalog, const struct catalog_swap *swap)
{
    int64_t dearest = 1000;
    for (uint32_t d = 0; d < catalog->deal_count; d++) {
        const struct catalog_deal *deal = &catalog->deals[d];
        if ((deal->owner == swap->brands[0] || deal->owner == swap->brands[1]) &&
            deal->cpm_micros > dearest) {
            dearest = deal->cpm_micros;
        }
    }
    return (dearest + 999) / 1000;
}

bool swap_desk_configure(struct swap_desk *desk, const struct catalog *catalog, int64_t now_s)
{
    arena_reset(&desk->arena);
    desk->brand_count = 0;
    desk->swaps = lists_by_brand(&desk->arena, catalog, catalog->swap_count, swap_has_brand);
    desk->lines = lines_by_brand(&desk->arena, catalog);
    struct swap_plan *plans = arena_calloc(&desk->arena, catalog->swap_count + 1, sizeof(*plans));
    if (!desk->swaps || !desk->lines || !plans) {
        return false;
    }
    for (uint32_t i = 0; i < catalog->swap_count; i++) {
        const struct catalog_swap *swap = &catalog->swaps[i];
        int64_t unit = swap->by_value ? typical_micros(catalog, swap) : 1;
        plans[i] = (struct swap_plan){.ref = swap->ref,
                                      .limit = swap_limit_base(swap->planned_impressions) * unit,
                                      .unit = unit,
                                      .start_s = swap->start_s,
                                      .end_s = swap->end_s};
    }
    if (swap_book_configure(desk->book, plans, catalog->swap_count, now_s) != STATUS_OK) {
        return false;
    }
    desk->brand_count = catalog->brand_count;
    return true;
}

/* --- choosing ------------------------------------------------------------------------------- */

struct index_list swap_desk_lines(const struct swap_desk *desk, uint32_t brand)
{
    return desk && brand < desk->brand_count ? desk->lines[brand] : (struct index_list){0};
}

/* 1 = in the brand's target audience, 0 = not, -1 = unknown. */
static int in_audience(const struct catalog *catalog, const struct catalog_swap *swap,
                       uint32_t brand, const struct freq_view *view)
{
    uint32_t audience = catalog->brands[brand].audience;
    if (audience == CATALOG_NONE) {
        return -1;
    }
    if (swap->cross_advertiser) {
        return swap->dmp == CATALOG_NONE
                   ? -1
                   : freq_find_answer(view, cap_ref32(catalog->dmps[swap->dmp].id),
                                      cap_ref32(catalog->audiences[audience].id));
    }
    if (view->outcome != FREQ_KNOWN || !view->segment_count) {
        return -1;
    }
    return audience_expr_matches(catalog, &catalog->audiences[audience].expr, view->segments,
                                 view->segment_count);
}

static bool swap_runs(const struct catalog_swap *swap, int64_t now_s)
{
    return now_s >= swap->start_s && now_s < swap->end_s &&
           (!swap->cross_advertiser || swap->consent);
}

/* Swaps of the deal's owner; empty when the deal has none. */
static struct index_list swaps_of_deal(const struct swap_desk *desk, const struct catalog *catalog,
                                       uint32_t deal)
{
    uint32_t owner = catalog->deals[deal].owner;
    return desk && owner < desk->brand_count ? desk->swaps[owner] : (struct index_list){0};
}

static struct swap_partner partner_of(const struct swap_desk *desk, const struct catalog *catalog,
                                      uint32_t index, uint32_t owner, int64_t cost_micros)
{
    const struct catalog_swap *swap = &catalog->swaps[index];
    int side = swap->brands[0] == owner ? 0 : 1;
    int64_t balance = swap_balance(desk->book, index);
    return (struct swap_partner){
        .brand = swap->brands[1 - side],
        .swap = index,
        .side = side,
        .amount = swap->by_value ? cost_micros : 1,
        .owed = side == 0 ? -balance : balance,
    };
}

uint32_t swap_desk_partners(const struct swap_desk *desk, const struct catalog *catalog,
                            uint32_t deal, const struct freq_view *view, int64_t cost_micros,
                            int64_t now_s, struct swap_partner partners[SWAP_MAX_PARTNERS])
{
    struct index_list swaps = swaps_of_deal(desk, catalog, deal);
    uint32_t owner = catalog->deals[deal].owner, count = 0;
    for (uint32_t i = 0; i < swaps.count && count < SWAP_MAX_PARTNERS; i++) {
        const struct catalog_swap *swap = &catalog->swaps[swaps.items[i]];
        if (!swap_runs(swap, now_s) || in_audience(catalog, swap, owner, view) != 0) {
            continue;
        }
        struct swap_partner partner = partner_of(desk, catalog, swaps.items[i], owner, cost_micros);
        if (in_audience(catalog, swap, partner.brand, view) != 1 ||
            !swap_may_give(desk->book, partner.swap, partner.side, partner.amount)) {
            continue;
        }
        uint32_t at = count++;
        for (; at && partners[at - 1].owed < partner.owed; at--) {
            partners[at] = partners[at - 1];
        }
        partners[at] = partner;
    }
    return count;
}

bool swap_desk_question(const struct swap_desk *desk, const struct catalog *catalog, uint32_t deal,
                        const struct freq_view *view, int64_t now_s, struct swap_question *question)
{
    struct index_list swaps = swaps_of_deal(desk, catalog, deal);
    uint32_t owner = catalog->deals[deal].owner;
    for (uint32_t i = 0; i < swaps.count; i++) {
        const struct catalog_swap *swap = &catalog->swaps[swaps.items[i]];
        if (!swap->cross_advertiser || swap->dmp == CATALOG_NONE || !swap_runs(swap, now_s)) {
            continue;
        }
        struct swap_partner partner = partner_of(desk, catalog, swaps.items[i], owner, 1);
        int own = in_audience(catalog, swap, owner, view);
        int other = in_audience(catalog, swap, partner.brand, view);
        /* Known answers that already rule the swap out make the rest not worth asking for. */
        if (own == 1 || other == 0 || (own == 0 && other == 1) ||
            catalog->brands[owner].audience == CATALOG_NONE ||
            catalog->brands[partner.brand].audience == CATALOG_NONE) {
            continue;
        }
        *question = (struct swap_question){.dmp = swap->dmp,
                                           .audiences = {catalog->brands[owner].audience,
                                                         catalog->brands[partner.brand].audience}};
        return true;
    }
    return false;
}

/* --- the ledger ----------------------------------------------------------------------------- */

void swap_desk_give(struct swap_desk *desk, const struct swap_partner *partner)
{
    swap_give(desk->book, partner->swap, partner->side, partner->amount);
}

void swap_desk_undo(struct swap_desk *desk, const struct swap_partner *partner)
{
    swap_undo(desk->book, partner->swap, partner->side, partner->amount);
}

void swap_desk_lost(struct swap_desk *desk, const struct catalog *catalog, uint32_t deal_ref,
                    uint32_t brand_ref, int64_t cost_micros)
{
    for (uint32_t d = 0; desk && d < catalog->deal_count; d++) {
        if (catalog->deals[d].ref != deal_ref) {
            continue;
        }
        struct index_list swaps = swaps_of_deal(desk, catalog, d);
        for (uint32_t i = 0; i < swaps.count; i++) {
            struct swap_partner partner =
                partner_of(desk, catalog, swaps.items[i], catalog->deals[d].owner, cost_micros);
            if (catalog->brands[partner.brand].ref == brand_ref) {
                swap_desk_undo(desk, &partner);
                return;
            }
        }
    }
}
