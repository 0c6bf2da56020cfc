/* One pushed deal (CPD, PDB): a swap partner, the lines that want the person, or the least harmful.
 */
#include "bidder/decide_internal.h"

#include "bidder/base/bug.h"
#include "bidder/brand_desk.h"
#include "bidder/target.h"

/* The lines of one guaranteed deal that want this person, as the brand desk chooses among them. */
#define DECIDE_MAX_RIVALS 32

static uint32_t find_rivals(const struct decide_context *context, struct decision *decision,
                            const struct guaranteed_push *push, struct brand_rival *rivals)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < decision->offer_count; i++) {
        const struct offer *offer = &decision->offers[i];
        if (offer->deal != push->deal || offer->wire_deal != push->wire) {
            continue;
        }
        uint32_t creative;
        bool uncapped;
        enum no_bid_reason reason = decide_eligible(context, offer, &creative, &uncapped);
        if (reason) {
            decide_miss(context, decision, offer->line, reason);
        } else if (count < DECIDE_MAX_RIVALS) {
            rivals[count++] = (struct brand_rival){
                .offer = offer,
                .brand = context->catalog->lines[offer->line].brand,
                .creative = creative,
                .uncapped = uncapped,
            };
        }
    }
    return count;
}

bool decide_guaranteed(const struct decide_context *context, struct decision *decision,
                       const struct guaranteed_push *push)
{
    struct brand_rival rivals[DECIDE_MAX_RIVALS];
    uint32_t count = find_rivals(context, decision, push, rivals);
    while (count) {
        uint32_t i = brand_desk_choose(context->brands, context->catalog, push->deal, context->view,
                                       rivals, count, context->now_s);
        BUG_ON(i >= count);
        struct brand_rival rival = rivals[i];
        struct decide_choice choice = {rival.offer, rival.creative, rival.offer->line,
                                       rival.uncapped};
        enum no_bid_reason reason = decide_take(context, decision, &choice);
        if (!reason) {
            return true;
        }
        decide_miss(context, decision, rival.offer->line, reason);
        rivals[i] = rivals[--count]; /* without money it is out; ask again among the others */
        for (; i + 1 < count && rivals[i].offer > rivals[i + 1].offer; i++) {
            struct brand_rival later = rivals[i];
            rivals[i] = rivals[i + 1];
            rivals[i + 1] = later; /* keep catalog order: ties go by it */
        }
    }
    return false;
}

/* --- swaps ---------------------------------------------------------------------------------- */

static bool line_is_on(const struct decide_context *context, const struct catalog_line *line)
{
    return line->enabled && context->now_s >= line->start_s && context->now_s < line->end_s &&
           target_matches(context->catalog, &line->targeting, context->exchange, context->request,
                          context->now_s);
}

static bool lend(const struct decide_context *context, struct decision *decision,
                 const struct guaranteed_push *push, const struct swap_partner *partner,
                 uint32_t payer, uint32_t line)
{
    struct offer *offer = arena_alloc(context->arena, sizeof(*offer));
    struct decide_choice choice = {.offer = offer, .payer = payer};
    if (!offer || !line_is_on(context, &context->catalog->lines[line]) ||
        select_offer_on_deal(decision->on, line, push->deal, push->wire, offer) != SELECT_OK ||
        decide_eligible(context, offer, &choice.creative, &choice.uncapped) != NO_BID_NONE ||
        decide_take(context, decision, &choice) != NO_BID_NONE) {
        return false;
    }
    decision->swapped = true;
    decision->partner = *partner;
    if (!context->test) {
        swap_desk_give(context->swaps, partner);
    }
    return true;
}

/* A person who is worth something to a swap partner of the deal's owner, and nothing to the owner.
 */
bool decide_swap(const struct decide_context *context, struct decision *decision,
                 const struct guaranteed_push *push)
{
    const struct catalog *catalog = context->catalog;
    const struct catalog_deal *deal = &catalog->deals[push->deal];
    struct swap_partner partners[SWAP_MAX_PARTNERS];
    uint32_t payer = context->swaps ? catalog_deal_payer(catalog, deal) : CATALOG_NONE;
    if (payer == CATALOG_NONE) {
        return false;
    }
    uint32_t count = swap_desk_partners(context->swaps, catalog, push->deal, context->view,
                                        (deal->cpm_micros + 999) / 1000, context->now_s, partners);
    for (uint32_t p = 0; p < count; p++) {
        struct index_list lines = swap_desk_lines(context->swaps, partners[p].brand);
        for (uint32_t i = 0; i < lines.count; i++) {
            if (lend(context, decision, push, &partners[p], payer, lines.items[i])) {
                return true;
            }
        }
    }
    return false;
}

/* --- must fill ------------------------------------------------------------------------------ */

/* Harm of showing the line once more: more exposures in the widest cap is worse; equal counts: a
 * younger last exposure is worse. */
struct harm {
    uint32_t count;
    int64_t last_s;
};

static struct harm harm_of(const struct decide_context *context, const struct catalog_line *line)
{
    struct harm harm = {.count = 0, .last_s = 0};
    if (context->view->outcome != FREQ_KNOWN) {
        return harm;
    }
    uint32_t brand_ref = context->catalog->brands[line->brand].ref, found;
    harm.count =
        freq_widest_count(&context->catalog->book, context->view, line->caps, context->now_s);
    (void)freq_last_brand(context->view, &brand_ref, 1, context->now_s,
                          context->catalog->book.retention_s, &found, &harm.last_s);
    return harm;
}

static bool less_harm(struct harm a, struct harm b)
{
    return a.count != b.count ? a.count < b.count : a.last_s < b.last_s;
}

/* The creative of a forced impression: the deal's default one when it fits, else the line's first.
 */
static uint32_t forced_creative(const struct decide_context *context,
                                const struct decision *decision, const struct offer *offer)
{
    const struct catalog *catalog = context->catalog;
    uint32_t standard = catalog->deals[offer->deal].default_creative;
    if (standard != CATALOG_NONE &&
        select_creative_fits(catalog, context->request, decision->imp,
                             &catalog->creatives[standard], NULL) == SELECT_OK) {
        return standard;
    }
    return catalog->lines[offer->line].creatives[offer->creatives[0]].creative;
}

#define MUST_FILL_MAX 64 /* lines of one deal that are weighed */

static bool has_offer_of(const struct offer *const *offers, uint32_t count, uint32_t line)
{
    for (uint32_t i = 0; i < count; i++) {
        if (offers[i]->line == line) {
            return true;
        }
    }
    return false;
}

/* All lines of the deal that could be shown at all: those that had offered, then those whose
 * targeting does not want this impression, for it has to be filled all the same. */
static uint32_t fill_offers(const struct decide_context *context, const struct decision *decision,
                            const struct guaranteed_push *push, const struct offer **offers)
{
    const struct catalog *catalog = context->catalog;
    uint32_t count = 0;
    for (uint32_t i = 0; i < decision->offer_count && count < MUST_FILL_MAX; i++) {
        const struct offer *offer = &decision->offers[i];
        if (offer->deal == push->deal && offer->wire_deal == push->wire) {
            offers[count++] = offer;
        }
    }
    struct index_list lines = catalog->deals[push->deal].lines;
    for (uint32_t i = 0; i < lines.count && count < MUST_FILL_MAX; i++) {
        const struct catalog_line *line = &catalog->lines[lines.items[i]];
        struct offer *offer = has_offer_of(offers, count, lines.items[i]) || !line->enabled ||
                                      context->now_s < line->start_s ||
                                      context->now_s >= line->end_s
                                  ? NULL
                                  : arena_alloc(context->arena, sizeof(*offer));
        if (offer && select_offer_on_deal(decision->on, lines.items[i], push->deal, push->wire,
                                          offer) == SELECT_OK) {
            offers[count++] = offer;
        }
    }
    return count;
}

bool decide_must_fill(const struct decide_context *context, struct decision *decision,
                      const struct guaranteed_push *push)
{
    const struct offer *offers[MUST_FILL_MAX];
    uint32_t count = fill_offers(context, decision, push, offers);
    while (count) {
        uint32_t best = 0;
        struct harm least = harm_of(context, &context->catalog->lines[offers[0]->line]);
        for (uint32_t i = 1; i < count; i++) {
            struct harm harm = harm_of(context, &context->catalog->lines[offers[i]->line]);
            if (less_harm(harm, least)) {
                best = i;
                least = harm;
            }
        }
        const struct offer *offer = offers[best];
        struct decide_choice choice = {offer, forced_creative(context, decision, offer),
                                       offer->line, context->view->outcome != FREQ_KNOWN};
        enum no_bid_reason reason = decide_take(context, decision, &choice);
        if (!reason) {
            decision->forced = true;
            decision->reserve = false; /* nothing to check: it must be shown */
            return true;
        }
        decide_miss(context, decision, offer->line, reason);
        memmove(&offers[best], &offers[best + 1], (--count - best) * sizeof(offers[0]));
    }
    return false;
}
