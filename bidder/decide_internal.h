/* Shared by decide.c (one impression, from top to bottom) and decide_guaranteed.c (one pushed
 * deal). */
#pragma once

#include "bidder/decide.h"

/* What is about to be taken. */
struct decide_choice {
    const struct offer *offer;
    uint32_t creative;
    uint32_t payer; /* line whose budgets pay */
    bool uncapped;
};

/* A line that will not be shown: its reason counts for the impression if it got farthest. */
void decide_miss(const struct decide_context *context, struct decision *decision, uint32_t line,
                 enum no_bid_reason reason);
/* An offer that this person may get, with its creative. */
enum no_bid_reason decide_eligible(const struct decide_context *context, const struct offer *offer,
                                   uint32_t *creative, bool *uncapped);
/* Commits the budget and writes the choice down. */
enum no_bid_reason decide_take(const struct decide_context *context, struct decision *decision,
                               const struct decide_choice *choice);

/* A person who is worth something to a swap partner of the deal's owner, and nothing to the owner.
 */
bool decide_swap(const struct decide_context *context, struct decision *decision,
                 const struct guaranteed_push *push);
/* The lines of a pushed deal that want this person; the brand desk chooses among them. */
bool decide_guaranteed(const struct decide_context *context, struct decision *decision,
                       const struct guaranteed_push *push);
/* Nobody wants the person and the push may not be returned: the least harmful line all the same. */
bool decide_must_fill(const struct decide_context *context, struct decision *decision,
                      const struct guaranteed_push *push);
