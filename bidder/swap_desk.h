/* Swaps on guaranteed deals: who could use an impression that its owner cannot (流量交换). One per
 * worker.
 *
 * On traffic owned by brand i, with a person in the target audience of j and not in that of i, j
 * may have the impression when the ledger between the two allows. Person in both, in neither, or
 * unknown: it stays with i. Inside one advertiser the audiences are our own segments; between
 * advertisers a DMP that both named says who is in which (its answers come with the person's
 * record, or are asked for). */
#pragma once

#include "bidder/catalog.h"
#include "frequency/freq.h"
#include "pacing/swap.h"

struct swap_desk;

/* A brand that may have the impression, and what lending it means. */
struct swap_partner {
    uint32_t brand;
    uint32_t swap; /* catalog index */
    int side;      /* 0: the first brand of the swap lends */
    int64_t amount;
    int64_t owed; /* what the owner of the deal owes the partner: the largest comes first */
};
#define SWAP_MAX_PARTNERS 8

/* book is borrowed. NULL when memory is out. */
struct swap_desk *swap_desk_create(struct swap_book *book);
void swap_desk_destroy(struct swap_desk **desk);
bool swap_desk_configure(struct swap_desk *desk, const struct catalog *catalog, int64_t now_s);

/* Partners that may have an impression of the deal for this person, most owed first; at most
 * SWAP_MAX_PARTNERS. amount_micros: what the impression costs, for swaps by value. desk may be
 * NULL. */
uint32_t swap_desk_partners(const struct swap_desk *desk, const struct catalog *catalog,
                            uint32_t deal, const struct freq_view *view, int64_t cost_micros,
                            int64_t now_s, struct swap_partner partners[SWAP_MAX_PARTNERS]);
/* The guaranteed lines of a brand: those it can show on lent impressions. */
struct index_list swap_desk_lines(const struct swap_desk *desk, uint32_t brand);

/* Lent: the bid for partner goes out. Taken back: it did not become an impression after all. */
void swap_desk_give(struct swap_desk *desk, const struct swap_partner *partner);
void swap_desk_undo(struct swap_desk *desk, const struct swap_partner *partner);
/* A loss notice for a lent impression of the deal, shown by brand (refs as in tokens). */
void swap_desk_lost(struct swap_desk *desk, const struct catalog *catalog, uint32_t deal_ref,
                    uint32_t brand_ref, int64_t cost_micros);

/* Does a swap on this deal hinge on what a DMP has not said yet? Then which DMP, about which
 * audiences (catalog indexes). */
struct swap_question {
    uint32_t dmp;
    uint32_t audiences[2];
};
bool swap_desk_question(const struct swap_desk *desk, const struct catalog *catalog, uint32_t deal,
                        const struct freq_view *view, int64_t now_s,
                        struct swap_question *question);
