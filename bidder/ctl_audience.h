/* The parts of "jointcapctl audience". */
#pragma once

#include "bidder/ctl_store.h"

/* How many stored ids match an expression over segments. */
int audience_count(const struct ctl_call *call, struct ctl_store *store, const char *expression);
