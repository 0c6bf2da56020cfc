/* What planners see of budgets: limits, spent, in flight, plan, throttle, forecast, and why. */
#pragma once

#include "bidder/base/buf.h"
#include "bidder/catalog.h"
#include "pacing/budget.h"
#include "pacing/pacer.h"

/* One worker's knowledge of all budgets of the catalog (spent: of all workers, as Redis last said;
 * fresh to a second for a budget that this worker spends). One JSON object a line, or a table. */
void pacing_page_put(struct buf *out, const struct catalog *catalog,
                     const struct budget_ledger *ledger, const struct pacer *pacer, bool json);
