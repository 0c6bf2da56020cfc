/* From impressions to offers: which lines match, which of them may take part, what each would pay.
 */
#include "bidder/auction_internal.h"

#include "bidder/base/bug.h"
#include "bidder/base/hash.h"
#include "bidder/base/prng.h"
#include "bidder/target.h"
#include "pacing/pacer.h"
#include "pacing/return_quota.h"

/* Lines looked at per impression; more matches are counted and left out. */
#define MAX_MATCHES 1024

enum no_bid_reason auction_reason_of_select(enum select_miss miss)
{
    static const enum no_bid_reason reasons[SELECT_MISS_COUNT] = {
        [SELECT_OK] = NO_BID_NONE,
        [SELECT_SEAT] = NO_BID_SEAT,
        [SELECT_DEAL] = NO_BID_DEAL,
        [SELECT_DEAL_DOMAIN] = NO_BID_DEAL_DOMAIN,
        [SELECT_BADV] = NO_BID_ADVERTISER_BLOCKED,
        [SELECT_BCAT] = NO_BID_CATEGORY_BLOCKED,
        [SELECT_LANGUAGE] = NO_BID_LANGUAGE,
        [SELECT_BAPP] = NO_BID_APP_BLOCKED,
        [SELECT_CREATIVE] = NO_BID_CREATIVE,
        [SELECT_BATTR] = NO_BID_ATTRIBUTE_BLOCKED,
        [SELECT_SECURE] = NO_BID_NOT_SECURE,
        [SELECT_CURRENCY] = NO_BID_CURRENCY,
        [SELECT_PRICE_FLOOR] = NO_BID_BELOW_FLOOR,
    };
    return reasons[miss];
}

int64_t auction_line_price(struct auction *auction, const struct bidreq_imp *imp,
                           const struct catalog_line *line)
{
    const struct predict_model *model = auction->desk->model;
    if (line->goal == GOAL_NONE || !model || !line->creative_count) {
        return line->bid_cpm_micros;
    }
    const struct catalog *catalog = auction->catalog;
    if (!auction->features_ready) {
        predict_prepare(&auction->features, catalog->exchanges[auction->exchange].id,
                        &auction->request, tz_hour_of_week(&catalog->tz, auction->now_s));
        auction->features_ready = true;
    }
    int64_t rate_ppb = predict_rate_ppb(
        model, line->goal == GOAL_CPC ? PREDICT_CLICK : PREDICT_ACTION, &auction->features, imp,
        line->id, catalog->creatives[line->creatives[0].creative].id);
    int64_t cpm_micros = predict_cpm_micros(line->goal_micros, rate_ppb);
    bool limited = line->bid_cpm_micros && cpm_micros > line->bid_cpm_micros;
    return limited ? line->bid_cpm_micros : cpm_micros;
}

/* CPD and PDB are paced by their deals; everything else takes part in a share of the requests. */
bool auction_participates(const struct auction *auction, const struct catalog_line *line)
{
    struct pacer *pacer = auction->desk->desks.pacer;
    if (!pacer || !line->budgets.count) {
        return true;
    }
    uint64_t hash = prng_mix(auction->request_hash ^ (uint64_t)line->ref << 32);
    if (auction->test || !auction->answer) { /* explained only */
        return pacer_would_participate(pacer, line->budgets.items, line->budgets.count, hash);
    }
    return pacer_participates(pacer, line->budgets.items, line->budgets.count, hash);
}

static bool find_pushes(struct auction *auction, const struct imp_deals *deals,
                        struct decision *decision)
{
    const struct bidreq_imp *imp = decision->imp;
    if (!imp->deals.count) {
        return true;
    }
    decision->pushes = arena_calloc(&auction->arena, imp->deals.count, sizeof(*decision->pushes));
    if (!decision->pushes) {
        return false;
    }
    for (uint32_t i = 0; i < imp->deals.count; i++) {
        uint32_t deal = deals->deals[i];
        if (deal != CATALOG_NONE && auction->catalog->deals[deal].buying <= BUYING_PDB &&
            imp_deals_first(deals, deal) == i) { /* named twice it is still one push */
            decision->pushes[decision->push_count++] =
                (struct guaranteed_push){.deal = deal, .wire = &imp->deals.items[i]};
            if (auction->desk->desks.quota && !auction->test && !auction->pushes_counted) {
                return_quota_note_push(auction->desk->desks.quota, deal, auction->now_s);
            }
        }
    }
    return true;
}

static void drop_line(struct auction *auction, struct decision *decision, uint32_t line,
                      enum no_bid_reason reason)
{
    if (reason > decision->reason) {
        decision->reason = reason;
    }
    auction_note_line(auction, line, reason);
}

/* In an open first-price auction, a line that asks for it bids what it takes. */
static void shade(const struct auction *auction, const struct catalog_line *line,
                  struct offer *offer)
{
    if (!line->shading || auction->request.at != 1 || offer->deal != CATALOG_NONE) {
        return;
    }
    const struct shading *shading = &auction->desk->shading[line->slot];
    int64_t price_micros = shading_price(shading, offer->price_micros, offer->floor_micros);
    __extension__ typedef __int128 wide;
    if (price_micros < offer->price_micros) { /* what it costs shrinks alike, rounded up */
        offer->cost_cpm_micros =
            (int64_t)(((wide)offer->cost_cpm_micros * price_micros + offer->price_micros - 1) /
                      offer->price_micros);
        offer->price_micros = price_micros;
    }
}

/* Offers of all lines that match the impression. False when the arena is full. */
static bool select_imp(struct auction *auction, struct target_request *target,
                       struct decision *decision)
{
    const struct catalog *catalog = auction->catalog;
    uint32_t lines[MAX_MATCHES];
    bool truncated = false;
    struct select_imp *on = arena_alloc(&auction->arena, sizeof(*on));
    if (!on ||
        !select_imp_prepare(on, catalog, auction->exchange, &auction->request, decision->imp,
                            &auction->arena) ||
        !find_pushes(auction, &on->deals, decision)) {
        return false;
    }
    decision->on = on;
    uint32_t count = target_find(catalog, target, &on->deals, lines, MAX_MATCHES, &truncated);
    if (truncated) {
        auction_note_truncated(auction);
    }
    if (!count) {
        return true;
    }
    decision->offers = arena_alloc(&auction->arena, count * sizeof(*decision->offers));
    if (!decision->offers) {
        return false;
    }
    for (uint32_t i = 0; i < count; i++) {
        const struct catalog_line *line = &catalog->lines[lines[i]];
        if (line->buying > BUYING_PDB && !auction_participates(auction, line)) {
            drop_line(auction, decision, lines[i], NO_BID_THROTTLED);
            continue;
        }
        struct offer *offer = &decision->offers[decision->offer_count];
        enum select_miss miss = select_offer(
            on, lines[i], auction_line_price(auction, decision->imp, line), offer, NULL);
        if (miss) {
            drop_line(auction, decision, lines[i], auction_reason_of_select(miss));
        } else {
            shade(auction, line, offer);
            decision->offer_count++;
        }
    }
    select_rank(decision->offers, decision->offer_count, auction->request_hash, catalog);
    return true;
}

/* Two impressions of one request with one hash would be one to the notices. */
static bool imp_hash_taken(const struct decision *decisions, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        if (decisions[i].imp_hash == decisions[count].imp_hash) {
            return true;
        }
    }
    return false;
}

bool auction_select(struct auction *auction, bool *anything)
{
    uint32_t count = auction->request.imp.count;
    auction->decisions = arena_calloc(&auction->arena, count, sizeof(*auction->decisions));
    struct target_request *target = target_request_prepare(
        auction->catalog, auction->exchange, &auction->request, auction->now_s, &auction->arena);
    if (!auction->decisions || !target) {
        auction->decisions = NULL;
        return false;
    }
    for (uint32_t i = 0; i < count; i++) {
        struct decision *decision = &auction->decisions[i];
        decision->imp = &auction->request.imp.items[i];
        decision->imp_hash = (uint16_t)hash_str(decision->imp->id);
        decision->line = CATALOG_NONE;
        while (imp_hash_taken(auction->decisions, i)) {
            decision->imp_hash++;
        }
    }
    for (uint32_t i = 0; i < count; i++) {
        struct decision *decision = &auction->decisions[i];
        if (!select_imp(auction, target, decision)) {
            return false;
        }
        *anything |= decision->offer_count || decision->push_count;
        if (decision->reason > auction->reason) {
            auction->reason = decision->reason;
        }
    }
    auction->pushes_counted = true;
    return true;
}
