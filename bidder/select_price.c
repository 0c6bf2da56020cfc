/* What an offer costs: currency, floors, price by buying mode. Integer micros; floors round up,
 * bids round down. Pure. */
#include "bidder/select_internal.h"

#include "bidder/base/bug.h"

__extension__ typedef __int128 wide_int;

/* micros * numerator / denominator of a price (>= 0), saturating. */
static int64_t scale(int64_t micros, int64_t numerator, int64_t denominator, bool up)
{
    if (LIKELY(numerator == denominator)) { /* an exchange that counts in whole units */
        return micros;
    }
    wide_int product = (wide_int)micros * numerator + (up ? denominator - 1 : 0);
    wide_int result = product / denominator;
    return result > INT64_MAX ? INT64_MAX : (int64_t)result;
}

static int64_t unit_of(const struct catalog_exchange *exchange)
{
    return exchange->price_unit_micros > 0 ? exchange->price_unit_micros : 1000000;
}

int64_t select_wire_price(const struct catalog_exchange *exchange, int64_t micros)
{
    return micros <= 0 ? 0 : scale(micros, 1000000, unit_of(exchange), false);
}

int64_t select_real_price(const struct catalog_exchange *exchange, int64_t wire_micros)
{
    return wire_micros <= 0 ? 0 : scale(wire_micros, unit_of(exchange), 1000000, true);
}

/* --- currency ------------------------------------------------------------------------------ */

static bool rate_known(const struct catalog *catalog, struct str code)
{
    int64_t ignored;
    return catalog_from_own_currency(catalog, code, 0, &ignored);
}

/* Collects the currency all stated floors share. False: they differ. */
static bool floors_agree(const struct bid_request *request, struct str *shared)
{
    *shared = STR_NONE;
    for (uint32_t i = 0; i < request->imp.count; i++) {
        const struct bidreq_imp *imp = &request->imp.items[i];
        for (uint32_t d = 0; d <= imp->deals.count; d++) {
            bool is_imp = d == imp->deals.count;
            int64_t micros = is_imp ? imp->bidfloor_micros : imp->deals.items[d].bidfloor_micros;
            struct str code = is_imp ? imp->bidfloorcur : imp->deals.items[d].bidfloorcur;
            if (micros <= 0) {
                continue;
            }
            if (shared->len == 0) {
                *shared = code;
            } else if (!str_eq_nocase(*shared, code)) {
                return false;
            }
        }
    }
    return shared->len != 0;
}

bool select_currency(const struct catalog *catalog, const struct bid_request *request,
                     struct str *currency)
{
    const struct str_list *cur = &request->cur;
    if (cur->count == 1) {
        *currency = cur->items[0];
        return rate_known(catalog, *currency);
    }
    struct str shared;
    if (floors_agree(request, &shared) && (cur->count == 0 || select_strs_have(cur, shared)) &&
        rate_known(catalog, shared)) {
        *currency = shared;
        return true;
    }
    if (cur->count == 0 || select_strs_have(cur, catalog->currency)) {
        *currency = catalog->currency;
        return true;
    }
    for (uint32_t i = 0; i < cur->count; i++) {
        if (rate_known(catalog, cur->items[i])) {
            *currency = cur->items[i];
            return true;
        }
    }
    return false;
}

/* --- floors -------------------------------------------------------------------------------- */

struct floor {
    int64_t wire_micros;
    struct str currency;
};

static int64_t floor_by_duration(int64_t per_second, const struct bidreq_durfloors *durfloors,
                                 int32_t duration_s)
{
    int64_t floor = 0;
    for (uint32_t i = 0; i < durfloors->count; i++) {
        const struct bidreq_durfloor *range = &durfloors->items[i];
        if (duration_s >= range->min_s && duration_s <= range->max_s &&
            range->bidfloor_micros > floor) {
            floor = range->bidfloor_micros;
        }
    }
    if (per_second > 0 && duration_s > 0) {
        int64_t total = scale(per_second, duration_s, 1, true);
        floor = total > floor ? total : floor;
    }
    return floor;
}

static struct floor floor_of(const struct bidreq_imp *imp, const struct bidreq_deal *deal,
                             const struct catalog_creative *creative)
{
    const struct bidreq_av *av = creative->type == CREATIVE_VIDEO   ? imp->video
                                 : creative->type == CREATIVE_AUDIO ? imp->audio
                                                                    : NULL;
    if (deal && deal->bidfloor_micros > 0) {
        return (struct floor){deal->bidfloor_micros, deal->bidfloorcur};
    }
    if (deal && av) {
        int64_t micros =
            floor_by_duration(deal->mincpmpersec_micros, &deal->durfloors, creative->duration_s);
        if (micros > 0) {
            return (struct floor){micros, deal->bidfloorcur};
        }
    }
    if (av) {
        int64_t micros =
            floor_by_duration(av->mincpmpersec_micros, &av->durfloors, creative->duration_s);
        if (micros > 0) {
            return (struct floor){micros, imp->bidfloorcur};
        }
    }
    return (struct floor){imp->bidfloor_micros, imp->bidfloorcur};
}

/* The floor in the currency of the bid; false when a rate is missing. */
static bool floor_in_currency(const struct select_context *context, struct floor floor,
                              struct str currency, int64_t *micros)
{
    int64_t real = select_real_price(context->exchange, floor.wire_micros);
    if (real == 0 || str_eq_nocase(floor.currency, currency)) {
        *micros = real;
        return true;
    }
    int64_t own, unit;
    if (!catalog_to_own_currency(context->catalog, floor.currency, real, &own) ||
        !catalog_from_own_currency(context->catalog, currency, own, micros)) {
        return false;
    }
    /* The second step rounded down; go up until it covers the floor again. A coarse currency needs
     * one step, a fine one (many of its micros to one of ours) none. */
    if (catalog_to_own_currency(context->catalog, currency, *micros, &unit) && unit < own) {
        *micros += 1;
    }
    return true;
}

/* --- price --------------------------------------------------------------------------------- */

static const struct catalog_creative *creative_at(const struct select_context *context,
                                                  uint16_t position)
{
    return &context->catalog->creatives[context->line->creatives[position].creative];
}

/* The highest floor among the offer's creatives. */
static enum select_miss highest_floor(const struct select_context *context,
                                      const struct offer *offer, int64_t *highest)
{
    *highest = 0;
    for (uint32_t i = 0; i < offer->creative_count; i++) {
        struct floor floor =
            floor_of(context->imp, offer->wire_deal, creative_at(context, offer->creatives[i]));
        int64_t micros;
        if (!floor_in_currency(context, floor, offer->currency, &micros)) {
            SELECT_DETAIL(context->detail, "no rate for the floor's currency %.*s",
                          STR_ARG(floor.currency));
            return SELECT_CURRENCY;
        }
        *highest = micros > *highest ? micros : *highest;
    }
    return SELECT_OK;
}

/* Keeps the creatives whose floor the price reaches. */
static enum select_miss keep_affordable(const struct select_context *context, struct offer *offer)
{
    uint32_t kept = 0;
    int64_t lowest = INT64_MAX;
    offer->floor_micros = 0;
    for (uint32_t i = 0; i < offer->creative_count; i++) {
        struct floor floor =
            floor_of(context->imp, offer->wire_deal, creative_at(context, offer->creatives[i]));
        int64_t micros;
        if (!floor_in_currency(context, floor, offer->currency, &micros)) {
            SELECT_DETAIL(context->detail, "no rate for the floor's currency %.*s",
                          STR_ARG(floor.currency));
            return SELECT_CURRENCY;
        }
        lowest = micros < lowest ? micros : lowest;
        if (micros > offer->price_micros) {
            continue;
        }
        offer->creatives[kept++] = offer->creatives[i];
        offer->floor_micros = micros > offer->floor_micros ? micros : offer->floor_micros;
    }
    if (kept == 0) {
        if (UNLIKELY(context->detail)) {
            BUF_PUT_LITERAL(context->detail, "price ");
            buf_put_micros(context->detail, offer->price_micros);
            BUF_PUT_LITERAL(context->detail, " is below the floor ");
            buf_put_micros(context->detail, lowest);
            buf_printf(context->detail, " %.*s", STR_ARG(offer->currency));
        }
        return SELECT_PRICE_FLOOR;
    }
    offer->creative_count = kept;
    return SELECT_OK;
}

/* PDB and PD: what was agreed. -1 = nothing was, the floor is the price. */
static enum select_miss agreed_price(const struct select_context *context,
                                     const struct catalog_deal *deal, struct offer *offer)
{
    const struct bidreq_deal *wire = offer->wire_deal;
    int64_t agreed = -1, fixed = -1;
    if (deal->cpm_micros > 0 &&
        !catalog_from_own_currency(context->catalog, offer->currency, deal->cpm_micros, &agreed)) {
        return SELECT_CURRENCY;
    }
    if (wire->at == 3 && wire->bidfloor_micros > 0) {
        struct floor floor = {wire->bidfloor_micros, wire->bidfloorcur};
        if (!floor_in_currency(context, floor, offer->currency, &fixed)) {
            SELECT_DETAIL(context->detail, "no rate for the deal's currency %.*s",
                          STR_ARG(wire->bidfloorcur));
            return SELECT_CURRENCY;
        }
    }
    if (fixed >= 0 && agreed >= 0 && agreed < fixed) {
        if (UNLIKELY(context->detail)) {
            BUF_PUT_LITERAL(context->detail, "agreed cpm ");
            buf_put_micros(context->detail, agreed);
            BUF_PUT_LITERAL(context->detail, " is below the deal's fixed price ");
            buf_put_micros(context->detail, fixed);
            buf_printf(context->detail, " %.*s", STR_ARG(offer->currency));
        }
        return SELECT_PRICE_FLOOR;
    }
    offer->price_micros = fixed >= 0 ? fixed : agreed;
    return SELECT_OK;
}

enum select_miss select_price_offer(const struct select_context *context, int64_t price_cpm_micros,
                                    struct offer *offer)
{
    const struct catalog_deal *deal =
        offer->deal == CATALOG_NONE ? NULL : &context->catalog->deals[offer->deal];
    enum select_miss miss = SELECT_OK;
    switch (offer->buying) {
    case BUYING_CPD:
        miss = highest_floor(context, offer, &offer->price_micros);
        break;
    case BUYING_PDB:
    case BUYING_PD:
        BUG_ON(!deal || !offer->wire_deal);
        miss = agreed_price(context, deal, offer);
        if (!miss && offer->price_micros < 0) {
            miss = highest_floor(context, offer, &offer->price_micros);
            if (!miss && offer->price_micros == 0) {
                SELECT_DETAIL(context->detail, "no cpm agreed and no floor on the wire");
                miss = SELECT_PRICE_FLOOR;
            }
        }
        break;
    case BUYING_RTB:
        if (!catalog_from_own_currency(context->catalog, offer->currency, price_cpm_micros,
                                       &offer->price_micros)) {
            miss = SELECT_CURRENCY;
        } else if (offer->price_micros <= 0) {
            SELECT_DETAIL(context->detail, "nothing to bid");
            miss = SELECT_PRICE_FLOOR;
        }
        break;
    case BUYING_MODE_COUNT:
        BUG_ON(true);
    }
    if (!miss) {
        miss = keep_affordable(context, offer);
    }
    if (miss) {
        return miss;
    }
    if (offer->buying == BUYING_CPD && deal && deal->day_price_micros > 0) {
        offer->cost_cpm_micros = 0; /* paid by the day */
        return SELECT_OK;
    }
    return catalog_to_own_currency(context->catalog, offer->currency, offer->price_micros,
                                   &offer->cost_cpm_micros)
               ? SELECT_OK
               : SELECT_CURRENCY;
}
