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

#define ALLOW_POST "Allow: POST\r\n"

/* POST <exchange>, or GET <exchange>/ready. */
static void handle_exchange(struct worker *worker, const struct server_request *request,
                            struct str rest)
{
    static const struct str suffix = {"/ready", 6};
    struct str id = {rest.ptr, rest.len > suffix.len ? rest.len - suffix.len : 0};
    if (request->http->method == HTTP_POST) {
        bidding_exchange(worker->bidding, request, rest);
    } else if (id.len && str_eq((struct str){rest.ptr + id.len, suffix.len}, suffix)) {
        bidding_ready(worker->bidding, request, id);
    } else {
        server_respond(worker->server, request->ticket,
                       &(struct http_response){.status = 405, .headers = STR(ALLOW_POST)});
    }
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
    {{"/openrtb2/", 10}, false, HTTP_POST | HTTP_GET | HTTP_HEAD, ALLOW_POST, handle_exchange},
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
