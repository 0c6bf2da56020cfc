#include "bidder/route.h"

#include "bidder/base/bug.h"
#include "bidder/bidding.h"
#include "bidder/worker.h"

struct route {
    struct str prefix;
    bool whole; /* the path is the prefix; else rest is what follows it, not empty */
    unsigned methods;
    const char *allow;
    void (*handle)(struct worker *worker, const struct server_request *request, struct str rest);
};

static void handle_exchange(struct worker *worker, const struct server_request *request,
                            struct str rest)
{
    bidding_exchange(worker->bidding, request, rest);
}

static void handle_notice(struct worker *worker, const struct server_request *request,
                          struct str rest)
{
    (void)rest;
    bidding_notice(worker->bidding, request);
}

/* For load balancers: this worker takes requests. */
static void handle_health(struct worker *worker, const struct server_request *request,
                          struct str rest)
{
    (void)rest;
    server_respond(worker->server, request->ticket,
                   &(struct http_response){
                       .status = 200, .content_type = STR("text/plain"), .body = STR("ok\n")});
}

static const struct route routes[] = {
    {{"/openrtb2/", 10}, false, HTTP_POST, "Allow: POST\r\n", handle_exchange},
    {{"/notice/", 8},
     false,
     HTTP_GET | HTTP_HEAD | HTTP_POST,
     "Allow: GET, HEAD, POST\r\n",
     handle_notice},
    {{"/healthz", 8}, true, HTTP_GET | HTTP_HEAD, "Allow: GET, HEAD\r\n", handle_health},
};

void route_request(void *context, const struct server_request *request)
{
    struct worker *worker = context;
    struct str path = request->http->path;
    if (request->http->method == HTTP_UNKNOWN) {
        server_respond_status(worker->server, request->ticket, 501);
        return;
    }
    for (unsigned i = 0; i < COUNT_OF(routes); i++) {
        const struct route *route = &routes[i];
        if (!str_starts(path, route->prefix) || route->whole != (path.len == route->prefix.len)) {
            continue;
        }
        if (!(route->methods & request->http->method)) {
            server_respond(
                worker->server, request->ticket,
                &(struct http_response){.status = 405, .headers = str_from(route->allow)});
            return;
        }
        struct str rest = {path.ptr + route->prefix.len, path.len - route->prefix.len};
        route->handle(worker, request, rest);
        return;
    }
    server_respond_status(worker->server, request->ticket, 404);
}
