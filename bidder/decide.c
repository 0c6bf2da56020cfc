/* Who gets one impression. Owns nothing; the context's desks own what is counted here. */
#include "bidder/decide_internal.h"

#include "bidder/base/bug.h"
#include "bidder/brand_desk.h"
#include "pacing/return_quota.h"

void decide_miss(const struct decide_context *context, struct decision *decision, uint32_t line,
                 enum no_bid_reason reason)
{
    if (reason > decision->reason) {
        decision->reason = reason;
    }
    if (context->note) {
        context->note(context->note_owner, line, reason);
    }
}

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

enum no_bid_reason decide_take(const struct decide_context *context, struct decision *decision,
                               const struct decide_choice *choice)
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
enum no_bid_reason decide_eligible(const struct decide_context *context, const struct offer *offer,
                                   uint32_t *creative, bool *uncapped)
{
    const struct catalog_line *line = &context->catalog->lines[offer->line];
    enum no_bid_reason reason = decide_person(context, line, uncapped, NULL);
    return reason ? reason : decide_creative(context, offer, creative, uncapped);
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
        enum no_bid_reason reason = decide_eligible(context, offer, &creative, &uncapped);
        if (!reason) {
            struct decide_choice choice = {offer, creative, offer->line, uncapped};
            reason = decide_take(context, decision, &choice);
        }
        if (reason) {
            decide_miss(context, decision, offer->line, reason);
        }
    }
}

static bool may_return(const struct decide_context *context, const struct guaranteed_push *push)
{
    /* A test is not counted as a push: it takes nothing from the allowance and is filled. */
    return !context->test && context->quota &&
           context->catalog->deals[push->deal].buying == BUYING_PDB &&
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
        if (!push->returned && decide_must_fill(context, decision, push)) {
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
    decide_miss(context, decision, lost, reason);
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
            (void)decide_must_fill(context, decision, push);
        }
        return;
    }
}
