/* From a matching line to an offer, and the order of offers. Pure; memory is the request's arena.
 *
 *   line + impression -> usable deals (or open) -> blocks -> creatives that fit
 *                     -> per deal: currency, floors, price -> the best deal */
#include "bidder/select.h"

#include "bidder/base/bug.h"
#include "bidder/base/prng.h"
#include "bidder/select_internal.h"

const char *select_miss_name(enum select_miss miss)
{
    static const char *const names[SELECT_MISS_COUNT] = {
        "ok",   "not_offered", "seat",  "deal_domain", "badv",     "bcat",  "language",
        "bapp", "creative",    "battr", "secure",      "currency", "floor",
    };
    return (unsigned)miss < SELECT_MISS_COUNT ? names[miss] : "?";
}

/* --- deals --------------------------------------------------------------------------------- */

/* Is there a way to buy at all? The miss of the deal that got furthest, otherwise. */
static enum select_miss find_way(struct select_context *context)
{
    const struct bidreq_imp *imp = context->imp;
    struct buf *detail = context->detail;
    if (context->line->deals.count == 0) {
        if (imp->private_auction) {
            SELECT_DETAIL(detail, "private auction: deals only");
            return SELECT_DEAL;
        }
        return SELECT_OK;
    }
    enum select_miss furthest = SELECT_DEAL;
    const struct imp_deals *offered = &context->on->deals;
    for (uint32_t i = 0; i < context->line->deals.count; i++) {
        uint32_t at = imp_deals_first(offered, context->line->deals.items[i]);
        for (; at != CATALOG_NONE; at = imp_deals_after(offered, at)) {
            enum select_miss miss = select_deal_open(context, &imp->deals.items[at]);
            if (!miss) {
                return SELECT_OK;
            }
            furthest = miss > furthest ? miss : furthest;
        }
    }
    if (furthest == SELECT_DEAL) {
        SELECT_DETAIL(detail, "none of its deals is offered");
    }
    return furthest;
}

/* --- creatives ----------------------------------------------------------------------------- */

static enum select_miss creative_usable(const struct select_context *context,
                                        const struct catalog_creative *creative)
{
    enum select_miss miss = SELECT_OK;
    if (creative->categories.count) {
        miss = select_advertiser_allowed(context->catalog, context->request,
                                         context->line->advertiser, creative, context->detail);
    }
    if (!miss) {
        miss = select_app_allowed(context, creative);
    }
    return miss ? miss
                : select_creative_fits(context->catalog, context->request, context->imp, creative,
                                       context->detail);
}

/* Positions of the creatives that can run; the miss of the one that got furthest if none can. */
static enum select_miss fit_creatives(struct select_context *context, uint16_t *positions,
                                      uint32_t *count)
{
    const struct catalog_line *line = context->line;
    struct buf *detail = context->detail;
    enum select_miss furthest = SELECT_CREATIVE;
    bool first = true;
    *count = 0;
    context->detail = NULL;
    for (uint32_t i = 0; i < line->creative_count && i <= UINT16_MAX; i++) {
        enum select_miss miss =
            creative_usable(context, &context->catalog->creatives[line->creatives[i].creative]);
        if (!miss) {
            positions[(*count)++] = (uint16_t)i;
        }
        furthest = first || miss > furthest ? miss : furthest;
        first = false;
    }
    context->detail = detail;
    if (*count) {
        return SELECT_OK;
    }
    for (uint32_t i = 0; detail && i < line->creative_count; i++) {
        const struct catalog_creative *creative =
            &context->catalog->creatives[line->creatives[i].creative];
        buf_printf(detail, "%s%.*s: ", i ? "; " : "", STR_ARG(creative->id));
        if (creative_usable(context, creative) == SELECT_OK) {
            BUG_ON(true);
        }
    }
    return furthest;
}

/* select_advertiser_allowed without a creative. Lines that match together are often of one
 * advertiser, so its answer is kept. */
static enum select_miss advertiser_allowed(const struct select_context *context)
{
    struct select_imp *on = context->on;
    uint32_t advertiser = context->line->advertiser;
    if (on->advertiser != advertiser || context->detail) {
        on->advertiser = advertiser;
        on->advertiser_miss = select_advertiser_allowed(context->catalog, context->request,
                                                        advertiser, NULL, context->detail);
    }
    return on->advertiser_miss;
}

/* The advertiser's own categories only count for creatives that bring none. */
static enum select_miss advertiser_usable(const struct select_context *context)
{
    const struct catalog_line *line = context->line;
    for (uint32_t i = 0; i < line->creative_count; i++) {
        if (context->catalog->creatives[line->creatives[i].creative].categories.count == 0) {
            return advertiser_allowed(context);
        }
    }
    return SELECT_OK;
}

/* --- offers -------------------------------------------------------------------------------- */

/* Buying order first; then, it is the same impression, the cheaper way; then the wire's order. */
static bool offer_better(const struct offer *a, const struct offer *b)
{
    return a->buying != b->buying               ? a->buying < b->buying
           : a->price_micros != b->price_micros ? a->price_micros < b->price_micros
                                                : a->wire_deal < b->wire_deal;
}

/* The offer through one wire deal; creatives: room for those that fit. */
static enum select_miss price_deal(const struct select_context *context, int64_t price_cpm_micros,
                                   struct offer *offer, const uint16_t *fitting, uint32_t fit_count)
{
    offer->buying = context->catalog->deals[offer->deal].buying;
    offer->creative_count = fit_count;
    memcpy(offer->creatives, fitting, fit_count * sizeof(*fitting));
    return select_price_offer(context, price_cpm_micros, offer);
}

static enum select_miss price_best_deal(const struct select_context *context,
                                        int64_t price_cpm_micros, struct offer *offer,
                                        const uint16_t *fitting, uint32_t fit_count,
                                        uint16_t *spare)
{
    const struct index_list *deals = &context->line->deals;
    const struct imp_deals *offered = &context->on->deals;
    struct offer best = *offer;
    bool found = false;
    enum select_miss furthest = SELECT_CURRENCY;
    struct select_context quiet = *context;
    for (uint32_t i = 0; i < deals->count; i++) {
        uint32_t at = imp_deals_first(offered, deals->items[i]);
        for (; at != CATALOG_NONE; at = imp_deals_after(offered, at)) {
            struct offer tried = *offer;
            tried.deal = deals->items[i];
            tried.wire_deal = &context->imp->deals.items[at];
            tried.creatives = spare;
            quiet.detail = NULL;
            if (select_deal_open(&quiet, tried.wire_deal)) {
                continue;
            }
            quiet.detail = found ? NULL : context->detail;
            enum select_miss miss =
                price_deal(&quiet, price_cpm_micros, &tried, fitting, fit_count);
            if (miss) {
                furthest = miss > furthest ? miss : furthest;
            } else if (!found || offer_better(&tried, &best)) {
                memcpy(offer->creatives, spare, tried.creative_count * sizeof(*spare));
                tried.creatives = offer->creatives;
                best = tried;
                found = true;
            }
        }
    }
    if (!found) {
        return furthest;
    }
    *offer = best;
    return SELECT_OK;
}

static enum select_miss price_offer(const struct select_context *context, int64_t price_cpm_micros,
                                    uint16_t *fitting, uint32_t fit_count, uint16_t *copies,
                                    struct offer *offer)
{
    offer->currency = context->on->currency;
    if (!offer->currency.len) {
        SELECT_DETAIL(context->detail, "no currency of cur has a rate");
        return SELECT_CURRENCY;
    }
    if (context->line->deals.count) {
        offer->creatives = copies;
        return price_best_deal(context, price_cpm_micros, offer, fitting, fit_count,
                               copies + fit_count);
    }
    offer->buying = context->line->buying;
    offer->creatives = fitting;
    offer->creative_count = fit_count;
    return select_price_offer(context, price_cpm_micros, offer);
}

bool select_imp_prepare(struct select_imp *on, const struct catalog *catalog, uint32_t exchange,
                        const struct bid_request *request, const struct bidreq_imp *imp,
                        struct arena *arena)
{
    BUG_ON(exchange >= catalog->exchange_count);
    *on = (struct select_imp){
        .catalog = catalog,
        .exchange = exchange,
        .request = request,
        .arena = arena,
        .advertiser = CATALOG_NONE,
    };
    on->seats = select_request_seats(request, catalog->exchanges[exchange].seat, NULL);
    if (!select_currency(catalog, request, &on->currency)) {
        on->currency = STR_NONE;
    }
    return imp_deals_resolve(&on->deals, catalog, exchange, imp, arena);
}

static struct select_context context_of(struct select_imp *on, uint32_t line, struct buf *detail)
{
    BUG_ON(line >= on->catalog->line_count);
    const struct catalog_line *it = &on->catalog->lines[line];
    return (struct select_context){.on = on,
                                   .catalog = on->catalog,
                                   .exchange = &on->catalog->exchanges[on->exchange],
                                   .request = on->request,
                                   .imp = on->deals.imp,
                                   .line = it,
                                   .advertiser = &on->catalog->advertisers[it->advertiser],
                                   .detail = detail};
}

enum select_miss select_offer(struct select_imp *on, uint32_t line, int64_t price_cpm_micros,
                              struct offer *offer, struct buf *detail)
{
    struct select_context context = context_of(on, line, detail);
    *offer = (struct offer){.line = line, .deal = CATALOG_NONE};
    enum select_miss miss = SELECT_OK;
    if (context.line->deals.count == 0 && context.line->buying != BUYING_RTB) {
        SELECT_DETAIL(detail, "%s needs a deal, the line has none",
                      buying_mode_name(context.line->buying));
        return SELECT_DEAL;
    }
    if (on->seats) {
        return select_request_seats(on->request, context.exchange->seat, detail);
    }
    if ((miss = find_way(&context)) || (miss = advertiser_usable(&context))) {
        return miss;
    }
    /* Those that fit; for a line with deals also the best deal's, and those of the one tried. */
    uint32_t fit_count = 0, lists = context.line->deals.count ? 3 : 1;
    uint16_t *fitting =
        arena_alloc(on->arena, lists * (size_t)context.line->creative_count * sizeof(*fitting) + 1);
    if (!fitting) {
        SELECT_DETAIL(detail, "out of memory");
        return SELECT_CREATIVE;
    }
    miss = fit_creatives(&context, fitting, &fit_count);
    return miss ? miss
                : price_offer(&context, price_cpm_micros, fitting, fit_count, fitting + fit_count,
                              offer);
}

enum select_miss select_offer_on_deal(struct select_imp *on, uint32_t line, uint32_t deal,
                                      const struct bidreq_deal *wire_deal, struct offer *offer)
{
    struct select_context context = context_of(on, line, NULL);
    *offer = (struct offer){.line = line,
                            .deal = deal,
                            .wire_deal = wire_deal,
                            .buying = on->catalog->deals[deal].buying,
                            .currency = on->currency};
    enum select_miss miss = on->seats;
    if (miss || (miss = select_deal_open(&context, wire_deal)) ||
        (miss = advertiser_usable(&context))) {
        return miss;
    }
    offer->creatives = arena_alloc(
        on->arena, (size_t)context.line->creative_count * sizeof(*offer->creatives) + 1);
    if (!offer->creatives) {
        return SELECT_CREATIVE;
    }
    miss = fit_creatives(&context, offer->creatives, &offer->creative_count);
    if (!miss && !offer->currency.len) {
        miss = SELECT_CURRENCY;
    }
    return miss ? miss : select_price_offer(&context, 0, offer);
}

/* --- order --------------------------------------------------------------------------------- */

static bool offer_before(const struct offer *a, const struct offer *b, uint64_t seed,
                         const struct catalog *catalog)
{
    if (a->buying != b->buying) {
        return a->buying < b->buying;
    }
    if (a->price_micros != b->price_micros) {
        return a->price_micros > b->price_micros;
    }
    uint64_t hash_a = prng_mix(seed ^ catalog->lines[a->line].ref);
    uint64_t hash_b = prng_mix(seed ^ catalog->lines[b->line].ref);
    return hash_a != hash_b ? hash_a < hash_b : a->line < b->line;
}

/* Moves the offer at the root down until no child of it comes later in the order. */
static void sift_down(struct offer *offers, uint32_t root, uint32_t count, uint64_t seed,
                      const struct catalog *catalog)
{
    struct offer moving = offers[root];
    for (uint32_t child; (child = 2 * root + 1) < count; root = child) {
        if (child + 1 < count && offer_before(&offers[child], &offers[child + 1], seed, catalog)) {
            child++;
        }
        if (!offer_before(&moving, &offers[child], seed, catalog)) {
            break;
        }
        offers[root] = offers[child];
    }
    offers[root] = moving;
}

/* Heapsort: in place and without malloc, which qsort does not promise. */
void select_rank(struct offer *offers, uint32_t count, uint64_t seed, const struct catalog *catalog)
{
    for (uint32_t i = count / 2; i-- > 0;) {
        sift_down(offers, i, count, seed, catalog);
    }
    for (uint32_t end = count; end-- > 1;) {
        struct offer last = offers[end];
        offers[end] = offers[0];
        offers[0] = last;
        sift_down(offers, 0, end, seed, catalog);
    }
}
