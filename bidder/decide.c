/* Owns nothing; the context's desks own what is counted here. */
#include "bidder/decide.h"

#include "bidder/base/bug.h"
#include "bidder/base/prng.h"
#include "bidder/brand_desk.h"
#include "bidder/target.h"
#include "pacing/return_quota.h"

static void miss(const struct decide_context *context, struct decision *decision, uint32_t line,
                 enum no_bid_reason reason)
{
    if (reason > decision->reason) {
        decision->reason = reason;
    }
    if (context->note) {
        context->note(context->note_owner, line, reason);
    }
}

/* --- one person, one line ------------------------------------------------------------------- */

/* The line's rule for persons whose counts cannot be used. */
static enum no_bid_reason decide_without_counts(const struct freq_view *view,
                                                const struct catalog_line *line, bool *uncapped)
{
    bool capped = line->caps.count > 0 || line->new_reach_only;
    if (!capped) {
        return NO_BID_NONE;
    }
    *uncapped = true;
    if (view->outcome == FREQ_NO_PERSON) {
        return line->no_id == NO_ID_ALLOW && !line->new_reach_only ? NO_BID_NONE : NO_BID_NO_ID;
    }
    if (line->on_store_error == STORE_ERROR_ALLOW) {
        return NO_BID_NONE;
    }
    return view->outcome == FREQ_LATE ? NO_BID_STORE_LATE : NO_BID_STORE_DOWN;
}

static bool is_muted(const struct decide_context *context, const struct catalog_line *line)
{
    const struct freq_view *view = context->view;
    if (!view->muted_count) {
        return false;
    }
    const struct catalog *catalog = context->catalog;
    const struct catalog_advertiser *advertiser = &catalog->advertisers[line->advertiser];
    for (uint32_t m = 0; m < view->muted_count; m++) {
        if (view->muted[m] == catalog->brands[line->brand].ref32) {
            return true;
        }
        for (uint32_t c = 0; c < advertiser->categories.count; c++) {
            if (view->muted[m] == cap_ref32(advertiser->categories.items[c])) {
                return true;
            }
        }
    }
    return false;
}

static void detail_verdict(const struct freq_verdict *verdict, struct buf *detail)
{
    if (!detail) {
        return;
    }
    if (!verdict->cap) {
        buf_printf(detail, "the person's own limit: %u contacts today", verdict->count);
        return;
    }
    const struct cap *cap = verdict->cap;
    buf_printf(detail, "cap %.*s: ", STR_ARG(cap->id));
    if (verdict->kind == FREQ_TOO_SOON) {
        buf_printf(detail, "last exposure %lld s ago, min_interval %lld s",
                   (long long)verdict->since_s, (long long)cap->min_interval_s);
        return;
    }
    buf_printf(detail, "%u of %u exposures in ", verdict->count, cap->max);
    switch (cap->window) {
    case CAP_ROLLING:
        buf_printf(detail, "the last %lld s", (long long)cap->window_s);
        break;
    case CAP_CALENDAR_DAY:
        BUF_PUT_LITERAL(detail, "this calendar day");
        break;
    case CAP_CALENDAR_WEEK:
        BUF_PUT_LITERAL(detail, "this calendar week");
        break;
    case CAP_CALENDAR_MONTH:
        BUF_PUT_LITERAL(detail, "this calendar month");
        break;
    case CAP_LIFETIME:
        BUF_PUT_LITERAL(detail, "the person's lifetime");
        break;
    }
}

static enum no_bid_reason verdict_reason(const struct freq_verdict *verdict)
{
    switch (verdict->kind) {
    case FREQ_OPEN:
        return NO_BID_NONE;
    case FREQ_AT_CAP:
        return NO_BID_AT_CAP;
    case FREQ_TOO_SOON:
        return NO_BID_TOO_SOON;
    case FREQ_AT_OWN_PREFERENCE:
        return NO_BID_OWN_PREFERENCE;
    }
    return NO_BID_AT_CAP;
}

enum no_bid_reason decide_person(const struct decide_context *context,
                                 const struct catalog_line *line, bool *uncapped,
                                 struct buf *detail)
{
    const struct freq_view *view = context->view;
    *uncapped = false;
    if (is_muted(context, line)) {
        return NO_BID_MUTED;
    }
    if (line->targeting.has_audiences &&
        !audience_expr_matches(context->catalog, &line->targeting.audiences, view->segments,
                               view->segment_count)) {
        if (detail) {
            buf_printf(detail, "the person has %u segments, none of the wanted combination",
                       view->segment_count);
        }
        return NO_BID_AUDIENCE;
    }
    if (view->outcome != FREQ_KNOWN) {
        enum no_bid_reason reason = decide_without_counts(view, line, uncapped);
        if (reason && detail) {
            buf_printf(detail, "counts: %s, person: %s", freq_outcome_name(view->outcome),
                       person_absence_name(view->absence));
        }
        return reason;
    }
    struct freq_verdict verdict =
        freq_check(&context->catalog->book, view, line->caps, (struct cap_list){0}, context->now_s);
    if (verdict.kind != FREQ_OPEN) {
        detail_verdict(&verdict, detail);
        return verdict_reason(&verdict);
    }
    if (line->new_reach_only) {
        uint32_t count =
            freq_widest_count(&context->catalog->book, view, line->caps, context->now_s);
        if (count) {
            if (detail) {
                buf_printf(detail, "%u exposures under the joint cap", count);
            }
            return NO_BID_ALREADY_REACHED;
        }
    }
    return NO_BID_NONE;
}

/* --- the creative --------------------------------------------------------------------------- */

static bool creative_open(const struct decide_context *context,
                          const struct catalog_creative *creative)
{
    if (!creative->caps.count || context->view->outcome != FREQ_KNOWN) {
        return true;
    }
    struct cap_list caps = {.items = creative->caps.items, .count = creative->caps.count};
    return freq_check(&context->catalog->book, context->view, (struct cap_list){0}, caps,
                      context->now_s)
               .kind == FREQ_OPEN;
}

/* Sequence: the person's n-th exposure of the line shows the n-th creative; the last one stays. */
static bool sequence_allows(const struct decide_context *context, const struct catalog_line *line,
                            uint32_t position)
{
    uint32_t seen = freq_line_count(context->view, line->ref, context->now_s);
    uint32_t wanted = seen < line->creative_count ? seen : line->creative_count - 1;
    return position == wanted;
}

enum no_bid_reason decide_creative(const struct decide_context *context, const struct offer *offer,
                                   uint32_t *creative)
{
    const struct catalog *catalog = context->catalog;
    const struct catalog_line *line = &catalog->lines[offer->line];
    enum no_bid_reason reason = NO_BID_CREATIVE;
    uint64_t total = 0;
    uint32_t chosen = CATALOG_NONE;
    uint64_t draw = prng_mix(context->request_hash ^ line->ref);
    for (uint32_t i = 0; i < offer->creative_count; i++) {
        uint32_t position = offer->creatives[i];
        const struct line_creative *option = &line->creatives[position];
        if (option->targeting && !target_matches(catalog, option->targeting, context->exchange,
                                                 context->request, context->now_s)) {
            continue;
        }
        if (line->sequence && !sequence_allows(context, line, position)) {
            continue;
        }
        if (!creative_open(context, &catalog->creatives[option->creative])) {
            reason = NO_BID_CREATIVE_AT_CAP;
            continue;
        }
        /* Weighted draw in one pass: the i-th replaces the choice with probability w_i / sum. */
        uint32_t weight = brand_desk_creative_weight(context->brands, line, position);
        total += weight;
        draw = prng_mix(draw);
        __extension__ typedef unsigned __int128 wide;
        if (chosen == CATALOG_NONE || (uint64_t)(((wide)draw * total) >> 64) < weight) {
            chosen = option->creative;
        }
    }
    *creative = chosen;
    return chosen == CATALOG_NONE ? reason : NO_BID_NONE;
}

/* --- choosing ------------------------------------------------------------------------------- */

static enum no_bid_reason budget_reason(enum budget_answer answer)
{
    switch (answer) {
    case BUDGET_OK:
        return NO_BID_NONE;
    case BUDGET_SPENT:
        return NO_BID_BUDGET_SPENT;
    case BUDGET_NO_LEASE:
        return NO_BID_BUDGET_NO_LEASE;
    case BUDGET_BUSY:
    case BUDGET_ANSWER_COUNT:
        break;
    }
    return NO_BID_BUDGET_BUSY;
}

int64_t decide_cost_micros(const struct offer *offer)
{
    return offer->buying == BUYING_CPD ? 0 : (offer->cost_cpm_micros + 999) / 1000;
}

static bool keeps_exposures(const struct decide_context *context, const struct catalog_line *line,
                            uint32_t creative)
{
    return line->caps.count || line->sequence || context->view->max_contacts_per_day ||
           context->catalog->creatives[creative].caps.count ||
           brand_desk_rotates(context->brands, line->brand);
}

/* What is about to be taken. */
struct choice {
    const struct offer *offer;
    uint32_t creative;
    uint32_t payer; /* line whose budgets pay */
    bool uncapped;
};

/* Commits the budget and writes the choice down. */
static enum no_bid_reason take(const struct decide_context *context, struct decision *decision,
                               const struct choice *choice)
{
    const struct offer *offer = choice->offer;
    const struct catalog_line *line = &context->catalog->lines[offer->line];
    const struct catalog_line *payer = &context->catalog->lines[choice->payer];
    uint32_t flight = 0;
    if (!context->test && payer->budgets.count) {
        enum no_bid_reason reason =
            budget_reason(budget_commit(context->ledger, payer->budgets.items, payer->budgets.count,
                                        decide_cost_micros(offer), context->now_us, &flight));
        if (reason) {
            return reason;
        }
    }
    decision->line = offer->line;
    decision->creative = choice->creative;
    decision->offer = offer;
    decision->payer = choice->payer;
    decision->flight = flight;
    decision->uncapped = choice->uncapped;
    decision->reason = NO_BID_NONE;
    decision->reserve = context->view->outcome == FREQ_KNOWN && !context->test && line->reserve &&
                        keeps_exposures(context, line, choice->creative);
    return NO_BID_NONE;
}

void decide_undo(const struct decide_context *context, struct decision *decision)
{
    if (decision->line == CATALOG_NONE) {
        return;
    }
    if (decision->flight) {
        (void)budget_release(context->ledger, decision->flight, context->now_us);
    }
    if (decision->swapped && !context->test) {
        swap_desk_undo(context->swaps, &decision->partner);
    }
    decision->line = CATALOG_NONE;
    decision->flight = 0;
    decision->swapped = false;
    decision->reserve = false;
}

/* An offer that this person may get, with its creative. */
static enum no_bid_reason eligible(const struct decide_context *context, const struct offer *offer,
                                   uint32_t *creative, bool *uncapped)
{
    const struct catalog_line *line = &context->catalog->lines[offer->line];
    enum no_bid_reason reason = decide_person(context, line, uncapped, NULL);
    return reason ? reason : decide_creative(context, offer, creative);
}

static void decide_open(const struct decide_context *context, struct decision *decision)
{
    for (uint32_t i = 0; i < decision->offer_count; i++) {
        const struct offer *offer = &decision->offers[i];
        if (offer->buying == BUYING_CPD || offer->buying == BUYING_PDB) {
            continue;
        }
        if (decision->line != CATALOG_NONE) {
            if (context->note) {
                context->note(context->note_owner, offer->line, NO_BID_RANKED_LOWER);
            }
            continue;
        }
        uint32_t creative;
        bool uncapped;
        enum no_bid_reason reason = eligible(context, offer, &creative, &uncapped);
        if (!reason) {
            struct choice choice = {offer, creative, offer->line, uncapped};
            reason = take(context, decision, &choice);
        }
        if (reason) {
            miss(context, decision, offer->line, reason);
        }
    }
}

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
        enum no_bid_reason reason = eligible(context, offer, &creative, &uncapped);
        if (reason) {
            miss(context, decision, offer->line, reason);
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

static bool decide_guaranteed(const struct decide_context *context, struct decision *decision,
                              const struct guaranteed_push *push)
{
    struct brand_rival rivals[DECIDE_MAX_RIVALS];
    uint32_t count = find_rivals(context, decision, push, rivals);
    while (count) {
        uint32_t i = brand_desk_choose(context->brands, context->catalog, push->deal, context->view,
                                       rivals, count, context->now_s);
        BUG_ON(i >= count);
        struct brand_rival rival = rivals[i];
        struct choice choice = {rival.offer, rival.creative, rival.offer->line, rival.uncapped};
        enum no_bid_reason reason = take(context, decision, &choice);
        if (!reason) {
            return true;
        }
        miss(context, decision, rival.offer->line, reason);
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

/* The owner's line on the deal: its budgets pay for what the owner lends. */
static uint32_t owner_line(const struct catalog *catalog, const struct catalog_deal *deal)
{
    for (uint32_t i = 0; i < deal->lines.count; i++) {
        if (catalog->lines[deal->lines.items[i]].brand == deal->owner) {
            return deal->lines.items[i];
        }
    }
    return CATALOG_NONE;
}

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
    struct choice choice = {.offer = offer, .payer = payer};
    if (!offer || !line_is_on(context, &context->catalog->lines[line]) ||
        select_offer_on_deal(context->catalog, context->exchange, context->request, decision->imp,
                             line, push->deal, push->wire, context->arena, offer) != SELECT_OK ||
        eligible(context, offer, &choice.creative, &choice.uncapped) != NO_BID_NONE ||
        take(context, decision, &choice) != NO_BID_NONE) {
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
static bool decide_swap(const struct decide_context *context, struct decision *decision,
                        const struct guaranteed_push *push)
{
    const struct catalog *catalog = context->catalog;
    const struct catalog_deal *deal = &catalog->deals[push->deal];
    struct swap_partner partners[SWAP_MAX_PARTNERS];
    uint32_t payer = context->swaps ? owner_line(catalog, deal) : CATALOG_NONE;
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

/* The creative of a forced impression: the deal's default one when the line has it or has no other.
 */
static uint32_t forced_creative(const struct decide_context *context, const struct offer *offer)
{
    const struct catalog_line *line = &context->catalog->lines[offer->line];
    uint32_t fallback = context->catalog->deals[offer->deal].default_creative;
    for (uint32_t i = 0; i < offer->creative_count; i++) {
        uint32_t creative = line->creatives[offer->creatives[i]].creative;
        if (creative == fallback) {
            return fallback;
        }
    }
    return line->creatives[offer->creatives[0]].creative;
}

static bool must_fill(const struct decide_context *context, struct decision *decision,
                      const struct guaranteed_push *push)
{
    uint64_t tried_low = 0; /* offers beyond the 64th are not needed to fill one impression */
    for (;;) {
        const struct offer *best = NULL;
        uint32_t best_index = 0;
        struct harm best_harm = {0};
        for (uint32_t i = 0; i < decision->offer_count && i < 64; i++) {
            const struct offer *offer = &decision->offers[i];
            if (offer->deal != push->deal || offer->wire_deal != push->wire ||
                (tried_low >> i & 1)) {
                continue;
            }
            struct harm harm = harm_of(context, &context->catalog->lines[offer->line]);
            if (!best || less_harm(harm, best_harm)) {
                best = offer;
                best_index = i;
                best_harm = harm;
            }
        }
        if (!best) {
            return false;
        }
        tried_low |= (uint64_t)1 << best_index;
        struct choice choice = {best, forced_creative(context, best), best->line,
                                context->view->outcome != FREQ_KNOWN};
        enum no_bid_reason reason = take(context, decision, &choice);
        if (!reason) {
            decision->forced = true;
            decision->reserve = false; /* nothing to check: it must be shown */
            return true;
        }
        miss(context, decision, best->line, reason);
    }
}

static bool may_return(const struct decide_context *context, const struct guaranteed_push *push)
{
    return context->quota && context->catalog->deals[push->deal].buying == BUYING_PDB &&
           return_quota_take(context->quota, push->deal, context->now_s);
}

static void decide_pushes(const struct decide_context *context, struct decision *decision)
{
    for (uint32_t i = 0; i < decision->push_count; i++) {
        if (decide_swap(context, decision, &decision->pushes[i]) ||
            decide_guaranteed(context, decision, &decision->pushes[i])) {
            return;
        }
    }
    for (uint32_t i = 0; i < decision->push_count; i++) {
        struct guaranteed_push *push = &decision->pushes[i];
        if (!push->returned) {
            push->returned = may_return(context, push);
        }
        if (!push->returned && must_fill(context, decision, push)) {
            return;
        }
    }
}

void decide_impression(const struct decide_context *context, struct decision *decision)
{
    decision->line = CATALOG_NONE;
    decide_pushes(context, decision);
    if (decision->line == CATALOG_NONE) {
        decide_open(context, decision);
    }
}

void decide_after_lost_race(const struct decide_context *context, struct decision *decision,
                            enum no_bid_reason reason)
{
    uint32_t lost = decision->line;
    bool guaranteed = decision->offer->buying <= BUYING_PDB;
    decide_undo(context, decision);
    miss(context, decision, lost, reason);
    if (!guaranteed) {
        return;
    }
    for (uint32_t i = 0; i < decision->push_count; i++) {
        struct guaranteed_push *push = &decision->pushes[i];
        if (push->deal != decision->offer->deal) {
            continue;
        }
        push->returned = may_return(context, push);
        if (!push->returned) {
            (void)must_fill(context, decision, push);
        }
        return;
    }
}
