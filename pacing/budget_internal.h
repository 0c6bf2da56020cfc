/* Shared by budget_core.c (money) and budget_lease.c (accounts, leases, steps). */
#pragma once

#include "pacing/budget_core.h"

enum budget_flight_state {
    FLIGHT_EMPTY,
    FLIGHT_COMMITTED,
    FLIGHT_SETTLED,
    FLIGHT_RELEASED,
    FLIGHT_EXPIRED
};

struct budget_flight {
    uint32_t id;
    uint8_t state; /* enum budget_flight_state */
    uint8_t count;
    int64_t amount_micros;
    int64_t at_us;
    uint32_t accounts[BUDGET_CORE_MAX_PER_BID];
    uint16_t generations[BUDGET_CORE_MAX_PER_BID];
};

/* One catalog budget: its accounts. [0] total, [1] today's. */
struct budget_slot {
    uint32_t ref;
    bool impressions;
    int64_t daily;
    uint32_t account[2];
};

struct budget_core {
    struct budget_core_options options;
    int64_t life;
    bool stopped, draining;
    struct budget_flight *flights; /* owned */
    uint32_t flight_mask;
    uint32_t head, tail; /* names of the next flight, of the oldest that may be committed */
    struct budget_account *accounts; /* owned */
    uint32_t account_count, account_room, first_free;
    uint32_t *active; /* owned, room for all accounts: those a tick must look at */
    uint32_t active_count, next_active;
    uint32_t *buckets; /* owned: open addressing, account + 1 by key */
    uint32_t bucket_mask;
    struct budget_slot *plans; /* owned */
    uint32_t plan_count;
    bool eager;          /* few enough accounts to open all of them at configure */
    const struct tz *tz; /* borrowed from the catalog */
    int32_t date;
    int64_t day_start_s, day_end_s;
    int64_t ticked_us;
    struct budget_stats stats;
};

static inline void budget_core_activate(struct budget_core *core, struct budget_account *account)
{
    if (!account->listed) {
        account->listed = true;
        core->active[core->active_count++] = (uint32_t)(account - core->accounts);
    }
}

uint32_t budget_core_find(const struct budget_core *core, const struct budget_step_key *key);
void budget_core_roll_over(struct budget_core *core, int64_t now_us, int64_t now_s);
void budget_core_apply_log(struct budget_account *account);
