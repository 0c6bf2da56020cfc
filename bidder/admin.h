/* The admin port: health, metrics, catalog, reports and whatever else modules register. It is
 * served by the supervisor, so it answers while workers are busy or dead; what only a worker knows
 * is asked from one or all of them over the control channel.
 *
 *   curl --> supervisor --HERE--> handler
 *                     '--ANY_WORKER / EVERY_WORKER--> control --> worker: handler --> reply
 *
 * Health and metrics need no token (the port is loopback unless told otherwise). What writes needs
 * "Authorization: Bearer <admin_token>", and is refused when no token is configured; what costs a
 * worker time or tells of plans needs it when one is configured. Who has no right is told so by the
 * head alone: the body is not read. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "bidder/base/str.h"
#include "bidder/http.h"

struct admin;
struct config;
struct loop;
struct supervisor;
struct server;

/* One request to an endpoint, in the process that handles it. The views live until the reply. */
struct admin_call {
    enum http_method method; /* HEAD arrives as GET */
    struct str path, query, body;
    /* private */
    void (*finish)(struct admin_call *call, int status, const char *content_type, struct str body);
    void *owner;
    uint64_t id;
};
/* Answers, exactly once, now or later; call is gone afterwards. body is copied. */
void admin_reply(struct admin_call *call, int status, const char *content_type, struct str body);
void admin_reply_text(struct admin_call *call, int status, const char *text);

enum admin_where {
    ADMIN_HERE,        /* context: struct supervisor * */
    ADMIN_ANY_WORKER,  /* context: struct worker *; the first one that is up */
    ADMIN_EVERY_WORKER /* all that are up; JSON replies are joined into an array, others in turn */
};

enum admin_right {
    ADMIN_OPEN,    /* everybody who reaches the port */
    ADMIN_GUARDED, /* the token, when one is configured */
    ADMIN_WRITES   /* the token; refused when none is configured */
};

struct admin_endpoint {
    const char *path;
    unsigned methods; /* bits of enum http_method */
    enum admin_right right;
    enum admin_where where;
    void (*handle)(void *context, struct admin_call *call);
    const char *help;
    bool takes_catalogs; /* bodies up to max_catalog; else up to max_body, as a bid request */
};
/* endpoint must outlive the process; before any fork, so that all processes know it. */
void admin_register(const struct admin_endpoint *endpoint);

/* --- in the supervisor ---------------------------------------------------------------------- */

/* fd listens and becomes the admin's. */
struct admin *admin_create(struct loop *loop, const struct config *config,
                           struct supervisor *supervisor, int fd);
void admin_destroy(struct admin **admin);
/* A worker answered a call, or will not any more. */
void admin_on_reply(struct admin *admin, unsigned worker, uint64_t id, struct str payload);
void admin_on_worker_gone(struct admin *admin, unsigned worker);

/* --- in a worker ---------------------------------------------------------------------------- */

struct control;
/* Handles a CONTROL_CALL: finds the endpoint, calls it, sends the CONTROL_REPLY. */
void admin_serve_call(struct control *control, void *worker, uint64_t id, struct str payload);
