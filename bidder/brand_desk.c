/* Owns: per rotation the exposures given, by rotation ref, so that they survive a reload. */
#include "bidder/brand_desk.h"

#include <math.h>
#include <stdlib.h>

#include "bidder/base/bug.h"
#include "bidder/base/prng.h"
#include "pacing/rotation.h"

/* Exposures after which a deficit is forgotten. */
#define DEFICIT_WINDOW_EXPOSURES 10000

struct rotation_slot {
    uint32_t ref;
    struct rotation_state state;
    uint32_t share_ppm[ROTATION_MAX_BRANDS];
    uint32_t brand_refs[ROTATION_MAX_BRANDS];
    uint32_t count;
};

struct brand_desk {
    struct rotation_slot *slots; /* owned; index = catalog rotation */
    uint32_t slot_count;
    uint32_t *rotation_of_deal; /* owned; by catalog deal; CATALOG_NONE */
    bool *rotates;              /* owned; by catalog brand */
    uint32_t brand_count;
    const struct creative_counts *counts; /* borrowed; NULL: nothing is learned */
};

struct brand_desk *brand_desk_create(void)
{
    return calloc(1, sizeof(struct brand_desk));
}

void brand_desk_destroy(struct brand_desk **desk)
{
    if (*desk) {
        free((*desk)->slots);
        free((*desk)->rotation_of_deal);
        free((*desk)->rotates);
        free(*desk);
        *desk = NULL;
    }
}

static void fill_slot(struct rotation_slot *slot, const struct brand_desk *old,
                      const struct catalog *catalog, const struct catalog_rotation *rotation)
{
    slot->ref = rotation->ref;
    slot->count =
        rotation->share_count < ROTATION_MAX_BRANDS ? rotation->share_count : ROTATION_MAX_BRANDS;
    for (uint32_t i = 0; i < slot->count; i++) {
        slot->share_ppm[i] = rotation->shares[i].share_ppm;
        slot->brand_refs[i] = catalog->brands[rotation->shares[i].brand].ref;
    }
    for (uint32_t i = 0; i < old->slot_count; i++) {
        const struct rotation_slot *before = &old->slots[i];
        if (before->ref == slot->ref && before->count == slot->count &&
            memcmp(before->brand_refs, slot->brand_refs, sizeof(slot->brand_refs)) == 0) {
            slot->state = before->state;
        }
    }
}

bool brand_desk_configure(struct brand_desk *desk, const struct catalog *catalog)
{
    struct brand_desk next = {.slot_count = catalog->rotation_count,
                              .brand_count = catalog->brand_count,
                              .counts = desk->counts};
    next.slots = calloc(catalog->rotation_count + 1, sizeof(*next.slots));
    next.rotation_of_deal = malloc((catalog->deal_count + 1) * sizeof(*next.rotation_of_deal));
    next.rotates = calloc(catalog->brand_count + 1, sizeof(*next.rotates));
    if (!next.slots || !next.rotation_of_deal || !next.rotates) {
        free(next.slots);
        free(next.rotation_of_deal);
        free(next.rotates);
        return false;
    }
    for (uint32_t i = 0; i < catalog->deal_count; i++) {
        next.rotation_of_deal[i] = CATALOG_NONE;
    }
    for (uint32_t r = 0; r < catalog->rotation_count; r++) {
        const struct catalog_rotation *rotation = &catalog->rotations[r];
        fill_slot(&next.slots[r], desk, catalog, rotation);
        for (uint32_t i = 0; i < rotation->deals.count; i++) {
            next.rotation_of_deal[rotation->deals.items[i]] = r;
        }
        for (uint32_t i = 0; i < rotation->share_count; i++) {
            next.rotates[rotation->shares[i].brand] = true;
        }
    }
    free(desk->slots);
    free(desk->rotation_of_deal);
    free(desk->rotates);
    *desk = next;
    return true;
}

static int brand_position(const struct catalog_rotation *rotation, uint32_t brand)
{
    for (uint32_t i = 0; i < rotation->share_count && i < ROTATION_MAX_BRANDS; i++) {
        if (rotation->shares[i].brand == brand) {
            return (int)i;
        }
    }
    return ROTATION_NO_BRAND;
}

/* Position of the brand of this rotation that the person saw last. */
static int last_touched(const struct rotation_slot *slot, const struct catalog_rotation *rotation,
                        const struct freq_view *view, int64_t now_s)
{
    uint32_t last;
    int64_t time_s = 0;
    if (view->outcome != FREQ_KNOWN || !freq_last_brand(view, slot->brand_refs, slot->count, now_s,
                                                        rotation->window_s, &last, &time_s)) {
        return ROTATION_NO_BRAND;
    }
    for (uint32_t i = 0; i < slot->count; i++) {
        if (slot->brand_refs[i] == last) {
            return (int)i;
        }
    }
    return ROTATION_NO_BRAND;
}

uint32_t brand_desk_choose(const struct brand_desk *desk, const struct catalog *catalog,
                           uint32_t deal, const struct freq_view *view,
                           const struct brand_rival *rivals, uint32_t count, int64_t now_s)
{
    BUG_ON(count == 0);
    if (!desk || desk->rotation_of_deal[deal] == CATALOG_NONE) {
        return 0;
    }
    uint32_t r = desk->rotation_of_deal[deal];
    const struct catalog_rotation *rotation = &catalog->rotations[r];
    const struct rotation_slot *slot = &desk->slots[r];
    uint32_t eligible = 0;
    for (uint32_t i = 0; i < count; i++) {
        int position = brand_position(rotation, rivals[i].brand);
        if (position != ROTATION_NO_BRAND) {
            eligible |= (uint32_t)1 << position;
        }
    }
    int chosen = rotation_choose(&slot->state, slot->share_ppm, slot->count, eligible,
                                 last_touched(slot, rotation, view, now_s));
    for (uint32_t i = 0; i < count && chosen != ROTATION_NO_BRAND; i++) {
        if (brand_position(rotation, rivals[i].brand) == chosen) {
            return i;
        }
    }
    return 0; /* only brands outside the rotation want it */
}

/* The rotation slot and position that a bid for brand on the deal counts in; NULL when none. */
static struct rotation_slot *counted_in(struct brand_desk *desk, const struct catalog *catalog,
                                        uint32_t deal, uint32_t brand, int *position)
{
    if (!desk || deal == CATALOG_NONE || desk->rotation_of_deal[deal] == CATALOG_NONE) {
        return NULL;
    }
    uint32_t r = desk->rotation_of_deal[deal];
    *position = brand_position(&catalog->rotations[r], brand);
    return *position == ROTATION_NO_BRAND ? NULL : &desk->slots[r];
}

void brand_desk_note(struct brand_desk *desk, const struct catalog *catalog, uint32_t deal,
                     uint32_t brand)
{
    int position;
    struct rotation_slot *slot = counted_in(desk, catalog, deal, brand, &position);
    if (slot) {
        rotation_note(&slot->state, slot->share_ppm, slot->count, (uint32_t)position,
                      DEFICIT_WINDOW_EXPOSURES);
    }
}

void brand_desk_undo(struct brand_desk *desk, const struct catalog *catalog, uint32_t deal,
                     uint32_t brand)
{
    int position;
    struct rotation_slot *slot = counted_in(desk, catalog, deal, brand, &position);
    if (slot) {
        rotation_undo(&slot->state, (uint32_t)position);
    }
}

void brand_desk_lost(struct brand_desk *desk, const struct catalog *catalog, uint32_t deal_ref,
                     uint32_t brand_ref)
{
    uint32_t deal = 0, brand = 0;
    while (deal < catalog->deal_count && catalog->deals[deal].ref != deal_ref) {
        deal++;
    }
    while (brand < catalog->brand_count && catalog->brands[brand].ref != brand_ref) {
        brand++;
    }
    if (deal < catalog->deal_count && brand < catalog->brand_count) {
        brand_desk_undo(desk, catalog, deal, brand);
    }
}

bool brand_desk_rotates(const struct brand_desk *desk, uint32_t brand)
{
    return desk && brand < desk->brand_count && desk->rotates[brand];
}

void brand_desk_set_counts(struct brand_desk *desk, const struct creative_counts *counts)
{
    desk->counts = counts;
}

double brand_desk_creative_score(const struct brand_desk *desk, const struct catalog *catalog,
                                 const struct catalog_line *line, uint32_t position, uint64_t seed)
{
    const struct line_creative *option = &line->creatives[position];
    uint64_t draw = prng_mix(seed + position);
    if (desk && desk->counts && line->best_performing) {
        uint32_t creative_ref = catalog->creatives[option->creative].ref;
        return creative_draw(creative_counts_get(desk->counts, line->ref, creative_ref), draw);
    }
    /* The highest u^(1/w) is option i with probability w_i / sum (Efraimidis and Spirakis, 2006);
     * the logarithm keeps the order. */
    struct prng prng = {.state = draw};
    double unit = 1 - prng_unit(&prng);
    return log(unit) / (option->weight ? option->weight : 1);
}
