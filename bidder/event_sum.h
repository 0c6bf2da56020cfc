/* Adding settle records up: what the event log says was spent of every budget. For start-up
 * (budget_reconcile) and for jointcapctl reconcile. Uses the heap; not for the request path. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "bidder/base/status.h"
#include "bidder/event_log.h"

struct event_sums;

/* NULL when memory is out. */
struct event_sums *event_sums_create(void);
void event_sums_destroy(struct event_sums **sums);

/* Adds a record if it is a settlement; an impression that is there already is counted a duplicate
 * and not added. STATUS_NO_MEMORY. */
enum status event_sums_add(struct event_sums *sums, const struct event_record *event) MUST_USE;
/* The same without looking for duplicates. */
enum status event_sums_count(struct event_sums *sums, const struct event_record *event) MUST_USE;
/* All that is known from a folder. owner 0: every record of every worker's files, on top of the
 * totals that each worker's oldest file begins with. Else: that worker's newest totals and what was
 * settled since, without reading older files. Files that end torn or damaged are read as far as
 * they are good, with a warning in the log. STATUS_IO: no such folder. */
enum status event_sums_add_folder(struct event_sums *sums, const char *dir,
                                  uint32_t owner) MUST_USE;
/* One account of one owner: date 0 = the total, else a local day. used is in the budget's unit. */
struct event_sum {
    uint32_t ref, owner;
    uint32_t date;
    int64_t used;
};
/* In no particular order. */
void event_sums_each(const struct event_sums *sums,
                     void (*fn)(void *context, const struct event_sum *sum), void *context);
/* Is a settlement of the impression among what event_sums_add or add_folder saw? */
bool event_sums_has(const struct event_sums *sums, uint64_t auction, uint32_t imp_hash);
/* Enters one, without amounts. */
enum status event_sums_mark(struct event_sums *sums, uint64_t auction, uint32_t imp_hash) MUST_USE;
/* When the oldest file that add_folder read of one owner was opened; 0 = none was read. */
int64_t event_sums_since_us(const struct event_sums *sums);
uint64_t event_sums_duplicates(const struct event_sums *sums);
uint64_t event_sums_settled(const struct event_sums *sums);

/* Calls fn for each record of a file; stops at the end or at damage (*bad, *offset: where; a torn
 * tail is not bad). STATUS_IO: cannot be read. */
enum status event_file_each(const char *path,
                            enum status (*fn)(void *context, const struct event_record *event),
                            void *context, bool *bad, size_t *offset) MUST_USE;
