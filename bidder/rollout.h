/* One catalog at a time from a file or the admin port to all workers, in two phases: every worker
 * prepares it in the background; only when all of them could, all activate it. So a bad catalog
 * never replaces a good one, and workers never differ for longer than one message takes.
 *
 *   IDLE --start--> PREPARING --all prepared--> ACTIVATING --all activated--> IDLE
 *                       | one could not                                        ^
 *                       '--> problems to the caller ---------------------------'
 *
 * Files in state_dir:
 *   catalog.next.json     offered, being prepared
 *   catalog.active.json   what all workers have; a restarted worker loads it
 *
 * A worker accepts connections from its first ACTIVATE on: generation 0 says that there is no
 * catalog. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "bidder/base/buf.h"
#include "bidder/base/str.h"

struct admin_call;
struct supervisor;

enum rollout_state { ROLLOUT_IDLE, ROLLOUT_PREPARING, ROLLOUT_ACTIVATING };
enum rollout_result { ROLLOUT_ACTIVATED, ROLLOUT_REFUSED, ROLLOUT_RESULT_COUNT };
const char *rollout_result_text(unsigned result);

/* What one worker has said. */
struct rollout_worker {
    bool waiting; /* for its answer in this phase */
    uint64_t prepared, activated;
};

struct rollout {
    struct supervisor *supervisor;
    enum rollout_state state;
    uint64_t generation;            /* of the catalog on its way */
    uint64_t last_generation;       /* given out so far */
    uint64_t active_generation;     /* 0: none */
    struct rollout_worker *workers; /* owned */
    unsigned left;
    bool failed, first, again; /* again: another SIGHUP came meanwhile */
    struct admin_call *call;   /* who asked; NULL: the start or SIGHUP */
    struct buf problems;       /* JSON of the first worker that answered with any */
};

void rollout_init(struct rollout *rollout, struct supervisor *supervisor);
void rollout_deinit(struct rollout *rollout);
/* The configured catalog, or the one activated last when that is newer. All workers are up. */
void rollout_boot(struct rollout *rollout);
/* The configured file again (SIGHUP). */
void rollout_reload(struct rollout *rollout);
/* A catalog from the admin port; answers the call. */
void rollout_offer(struct rollout *rollout, struct admin_call *call);

void rollout_on_prepared(struct rollout *rollout, unsigned worker, uint64_t generation,
                         struct str payload);
void rollout_on_activated(struct rollout *rollout, unsigned worker, uint64_t generation);
void rollout_on_worker_up(struct rollout *rollout, unsigned worker);
void rollout_on_worker_gone(struct rollout *rollout, unsigned worker);
