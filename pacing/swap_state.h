/* What a worker has lent, kept where a killed process leaves it: a file that is mapped into memory,
 * so that giving writes a number there and no system call is made. The next process of the same
 * worker goes on with the numbers of the last one, in the same life of the ledger's record: what
 * that gave without telling Redis is told, and the rights it held come back.
 *
 *   <path>:  head: magic, boot id, clean | one entry per ledger, in order of first use
 *
 * The file is locked while its process lives: two never go on from one state. It is not synced: it
 * survives a killed process, not a machine that goes down, which may have lost the last seconds.
 * After another boot it therefore counts only when it was closed in order; else the rights of
 * before stay lost (Z in pacing/swap.h). */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define SWAP_STATE_ENTRIES 1024

struct swap_saved {
    uint32_t ref; /* of the ledger; 0 = free */
    uint32_t spare;
    int64_t life, seq; /* seq: the last step that may have been sent */
    int64_t used[2], undo[2];
};

struct swap_state;

/* NULL: it cannot be made, or another process has it (errno). */
struct swap_state *swap_state_open(const char *path);
/* In order: all that was given has been told, or is in here. */
void swap_state_close(struct swap_state **state);
/* The entry of a ledger; a new one is zero except for its ref. NULL: all are taken. */
struct swap_saved *swap_state_entry(struct swap_state *state, uint32_t ref);
