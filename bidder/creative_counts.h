/* Impressions and clicks per line and creative, of lines with best_performing, shared by all
 * workers through Redis. One per worker.
 *
 *   notices --note--> added here --every few seconds--> HINCRBY   cc:{<line ref>}  s<creative>
 *   choices <--get--- known here <--HGETALL-----------------------                 c<creative>
 *
 * Refs are in hex. Counts of nobody in particular; a hash lives 90 days after its last change. What
 * was added and not sent when a worker dies is lost. */
#pragma once

#include "bidder/base/redis.h"
#include "bidder/catalog.h"
#include "bidder/creative_choice.h"

struct creative_counts;

/* redis is borrowed and destroyed before the counts. NULL: memory is out. */
struct creative_counts *creative_counts_create(struct redis *redis);
void creative_counts_destroy(struct creative_counts **counts);
/* Lines that stay keep what is known of them. False when memory is out (the old ones stay). */
bool creative_counts_configure(struct creative_counts *counts, const struct catalog *catalog);

/* An impression or a click came (refs as in tokens); other lines are ignored. */
void creative_counts_note(struct creative_counts *counts, uint32_t line_ref, uint32_t creative_ref,
                          bool click);
struct creative_tally creative_counts_get(const struct creative_counts *counts, uint32_t line_ref,
                                          uint32_t creative_ref);
/* Sends and reads some lines; about ten times a second, each line comes up every few seconds. */
void creative_counts_tick(struct creative_counts *counts, int64_t now_us);
