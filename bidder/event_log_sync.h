/* fdatasync in a helper thread, so that the event loop never waits for a disk. */
#pragma once

#include <stdbool.h>

struct event_sync;

/* NULL when memory or threads are out. */
struct event_sync *event_sync_create(void);
/* Waits for the sync that is running. */
void event_sync_destroy(struct event_sync **sync);
/* Soon syncs what was written to fd so far. A request while one is running is merged with the next.
 */
void event_sync_request(struct event_sync *sync, int fd);
/* True once after a sync failed. */
bool event_sync_take_failure(struct event_sync *sync);
