/* The fields of a bid that its creative and its campaign decide: the same in every bid of theirs. In
 * JSON they are encoded when the catalog loads. */
#pragma once

#include "bidder/auction.h"

/* Once, when the catalog loads, into its arena. False when that is full. */
bool bid_members_prepare(struct catalog *catalog);

/* Fills them in, as the encoder of the format wants them: views into the catalog. */
void bid_members_fill(const struct catalog *catalog, uint32_t line, uint32_t creative,
                      enum wire_format format, struct bid *bid);
