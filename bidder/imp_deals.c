#include "bidder/imp_deals.h"

#include "bidder/base/prng.h"

bool imp_deals_resolve(struct imp_deals *deals, const struct catalog *catalog, uint32_t exchange,
                       const struct bidreq_imp *imp, struct arena *arena)
{
    uint32_t count = imp->deals.count, size = 4;
    *deals = (struct imp_deals){.imp = imp};
    if (!count) {
        return true;
    }
    while (size < 2 * count) {
        size *= 2;
    }
    uint32_t *of = arena_alloc(arena, (2 * (size_t)count + size) * sizeof(*of));
    if (!of) {
        return false;
    }
    uint32_t *next = of + count, *heads = next + count;
    memset(heads, 0xff, size * sizeof(*heads)); /* CATALOG_NONE */
    for (uint32_t i = count; i-- > 0;) {        /* backwards: each chain begins with the first */
        of[i] = catalog_find_deal(catalog, exchange, imp->deals.items[i].id);
        next[i] = CATALOG_NONE;
        if (of[i] != CATALOG_NONE) {
            uint32_t *head = &heads[prng_mix(of[i]) & (size - 1)];
            next[i] = *head;
            *head = i;
        }
    }
    deals->deals = of;
    deals->next = next;
    deals->heads = heads;
    deals->mask = size - 1;
    return true;
}

/* Chains hold all deals of one hash. */
static uint32_t first_of(const struct imp_deals *deals, uint32_t position, uint32_t deal)
{
    while (position != CATALOG_NONE && deals->deals[position] != deal) {
        position = deals->next[position];
    }
    return position;
}

uint32_t imp_deals_first(const struct imp_deals *deals, uint32_t deal)
{
    return deals->heads ? first_of(deals, deals->heads[prng_mix(deal) & deals->mask], deal)
                        : CATALOG_NONE;
}

uint32_t imp_deals_after(const struct imp_deals *deals, uint32_t position)
{
    return first_of(deals, deals->next[position], deals->deals[position]);
}
