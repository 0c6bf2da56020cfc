/* Path -> handler, on the bidding port. */
#pragma once

#include "bidder/server.h"

struct worker;

/* The server's handler; context is the worker. */
void route_request(void *context, const struct server_request *request);
