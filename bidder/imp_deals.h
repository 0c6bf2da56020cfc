/* What the deals of one impression mean in the catalog: looked up once, asked for every line. Both
 * ways, from the wire to the catalog and back, in the time of a look-up; so an impression with
 * hundreds of deals costs what its deals and its matching lines cost, not their product. Pure. */
#pragma once

#include "bidder/catalog.h"
#include "proto/bidreq.h"

struct imp_deals {
    const struct bidreq_imp *imp; /* borrowed */
    const uint32_t *deals;        /* by position in imp->deals: catalog deal, or CATALOG_NONE */
    /* The way back: chains of positions, in the order of the wire. */
    const uint32_t *heads; /* by hash of the catalog deal; arena, as all three */
    const uint32_t *next;  /* by position */
    uint32_t mask;
};

/* False: the arena is full. */
bool imp_deals_resolve(struct imp_deals *deals, const struct catalog *catalog, uint32_t exchange,
                       const struct bidreq_imp *imp, struct arena *arena)
    __attribute__((warn_unused_result));

/* The first position in imp->deals that means this catalog deal, and the next one behind it (the
 * wire may name a deal twice); CATALOG_NONE when there is none. */
uint32_t imp_deals_first(const struct imp_deals *deals, uint32_t deal);
uint32_t imp_deals_after(const struct imp_deals *deals, uint32_t position);
