/* Cutting off what a killed worker left half written. */
#pragma once

#include <stdint.h>

#include "bidder/base/str.h"

/* Is this the name of an event log file? */
bool event_log_is_name(struct str name);
/* Looks at every event log file in the folder that nobody holds and that was not ended in order;
 * cuts torn tails and ends them. Returns the bytes cut off. */
int64_t event_log_repair(int folder);
