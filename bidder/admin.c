#include "bidder/admin.h"

#include <stdlib.h>

#include "bidder/base/bug.h"
#include "bidder/base/crypto.h"
#include "bidder/base/log.h"
#include "bidder/config.h"
#include "bidder/control.h"
#include "bidder/http_text.h"
#include "bidder/server.h"
#include "bidder/supervisor.h"

#define ADMIN_ENDPOINTS_MAX   64
#define ADMIN_CONNECTIONS_MAX 256
#define ADMIN_TIMEOUT_US      (10 * MINUTE_US) /* a catalog of 100,000 lines takes its time */

static const struct admin_endpoint *endpoints[ADMIN_ENDPOINTS_MAX];
static unsigned endpoint_count;

/* A call that waits for workers. */
struct fanout {
    struct fanout *next;
    uint64_t id, ticket;
    bool waiting[SUPERVISOR_WORKERS_MAX];
    unsigned left, replies;
    bool every;
    int status;
    bool json;
    struct buf body; /* owned */
};

struct admin {
    struct loop *loop;
    const struct config *config;
    struct supervisor *supervisor;
    struct server *server; /* owned */
    struct fanout *fanouts;
    uint64_t last_id;
};

void admin_register(const struct admin_endpoint *endpoint)
{
    BUG_ON(endpoint_count == ADMIN_ENDPOINTS_MAX);
    endpoints[endpoint_count++] = endpoint;
}

/* *allowed: what the path takes, 0 when there is no such path. */
static const struct admin_endpoint *find_endpoint(struct str path, enum http_method method,
                                                  unsigned *allowed)
{
    const struct admin_endpoint *found = NULL;
    *allowed = 0;
    for (unsigned i = 0; i < endpoint_count; i++) {
        if (str_eq(str_from(endpoints[i]->path), path)) {
            *allowed |= endpoints[i]->methods;
            found = endpoints[i]->methods & method ? endpoints[i] : found;
        }
    }
    return found;
}

void admin_reply(struct admin_call *call, int status, const char *content_type, struct str body)
{
    call->finish(call, status, content_type, body);
}

void admin_reply_text(struct admin_call *call, int status, const char *text)
{
    admin_reply(call, status, "text/plain; charset=utf-8", str_from(text));
}

/* --- fan-out to workers --------------------------------------------------------------------- */

/* call   [ u32 method | u32 path length | u32 query length | path | query | body ]
 * reply  [ u32 status | u32 content type length | content type | body ] */
static void encode_call(struct buf *out, const struct http_request *http, enum http_method method)
{
    uint32_t head[3] = {method, (uint32_t)http->path.len, (uint32_t)http->query.len};
    buf_put(out, head, sizeof(head));
    buf_put_str(out, http->path);
    buf_put_str(out, http->query);
    buf_put_str(out, http->body);
}

static struct str take(struct str *rest, size_t len)
{
    BUG_ON(len > rest->len);
    struct str head = {rest->ptr, len};
    rest->ptr += len;
    rest->len -= len;
    return head;
}

static void finish_fanout(struct admin *admin, struct fanout *fanout)
{
    struct fanout **at = &admin->fanouts;
    while (*at != fanout) {
        at = &(*at)->next;
    }
    *at = fanout->next;
    struct http_response response = {.status = fanout->status};
    if (!fanout->replies) {
        response.status = 503;
        response.content_type = STR("text/plain; charset=utf-8");
        response.body = STR("no worker is up\n");
    } else {
        if (fanout->json && fanout->every) {
            BUF_PUT_LITERAL(&fanout->body, "]");
        }
        response.content_type =
            fanout->json ? STR("application/json") : STR("text/plain; charset=utf-8");
        response.body = buf_str(&fanout->body);
    }
    server_respond(admin->server, fanout->ticket, &response);
    buf_deinit(&fanout->body);
    free(fanout);
}

static void take_reply(struct fanout *fanout, struct str payload)
{
    uint32_t head[2];
    memcpy(head, take(&payload, sizeof(head)).ptr, sizeof(head));
    struct str type = take(&payload, head[1]);
    bool first = fanout->replies++ == 0;
    fanout->json = http_media_type_is(type, STR("application/json"));
    fanout->status = first || (int)head[0] > fanout->status ? (int)head[0] : fanout->status;
    if (fanout->every && fanout->json) {
        buf_put_char(&fanout->body, first ? '[' : ',');
    }
    buf_put_str(&fanout->body, payload);
}

static void reply_came(struct admin *admin, unsigned worker, uint64_t id, const struct str *payload)
{
    for (struct fanout *fanout = admin->fanouts, *next; fanout; fanout = next) {
        next = fanout->next;
        if (!fanout->waiting[worker] || (id && fanout->id != id)) {
            continue;
        }
        fanout->waiting[worker] = false;
        if (payload) {
            take_reply(fanout, *payload);
        }
        if (--fanout->left == 0) {
            finish_fanout(admin, fanout);
        }
    }
}

void admin_on_reply(struct admin *admin, unsigned worker, uint64_t id, struct str payload)
{
    reply_came(admin, worker, id, &payload);
}

void admin_on_worker_gone(struct admin *admin, unsigned worker)
{
    reply_came(admin, worker, 0, NULL);
}

static void fan_out(struct admin *admin, const struct admin_endpoint *endpoint,
                    const struct server_request *request, enum http_method method)
{
    struct fanout *fanout = calloc(1, sizeof(*fanout));
    if (!fanout) {
        server_respond_status(admin->server, request->ticket, 503);
        return;
    }
    fanout->id = ++admin->last_id;
    fanout->ticket = request->ticket;
    fanout->every = endpoint->where == ADMIN_EVERY_WORKER;
    buf_init(&fanout->body, CONTROL_MAX_BYTES);
    fanout->next = admin->fanouts;
    admin->fanouts = fanout;
    struct buf call;
    buf_init(&call, CONTROL_MAX_BYTES);
    encode_call(&call, request->http, method);
    unsigned workers = (unsigned)admin->config->workers;
    for (unsigned i = 0; i < workers && (fanout->every || !fanout->left); i++) {
        if (supervisor_send(admin->supervisor, i, CONTROL_CALL, fanout->id, buf_str(&call))) {
            fanout->waiting[i] = true;
            fanout->left++;
        }
    }
    buf_deinit(&call);
    if (!fanout->left) {
        finish_fanout(admin, fanout);
    }
}

/* --- in a worker ---------------------------------------------------------------------------- */

static void finish_in_worker(struct admin_call *call, int status, const char *content_type,
                             struct str body)
{
    struct buf reply;
    buf_init(&reply, CONTROL_MAX_BYTES);
    uint32_t head[2] = {(uint32_t)status, (uint32_t)strlen(content_type)};
    buf_put(&reply, head, sizeof(head));
    buf_put(&reply, content_type, head[1]);
    buf_put_str(&reply, body);
    if (buf_failed(&reply)) {
        log_warn("admin: a reply is too large and is cut");
        reply.failed = false;
    }
    if (!control_has_room(call->owner, reply.len)) {
        static const char busy[] = "too many answers wait: ask again\n";
        head[0] = 503;
        buf_reset(&reply);
        buf_put(&reply, head, sizeof(head));
        buf_put(&reply, content_type, head[1]);
        BUF_PUT_LITERAL(&reply, busy);
    }
    control_send(call->owner, CONTROL_REPLY, call->id, buf_str(&reply));
    buf_deinit(&reply);
    free(call);
}

void admin_serve_call(struct control *control, void *worker, uint64_t id, struct str payload)
{
    /* One block: the call and the bytes its views point into. */
    struct admin_call *call = malloc(sizeof(*call) + payload.len);
    BUG_ON(!call);
    char *bytes = (char *)(call + 1);
    memcpy(bytes, payload.ptr, payload.len);
    struct str rest = {bytes, payload.len};
    uint32_t head[3];
    memcpy(head, take(&rest, sizeof(head)).ptr, sizeof(head));
    *call = (struct admin_call){.method = (enum http_method)head[0],
                                .finish = finish_in_worker,
                                .owner = control,
                                .id = id};
    call->path = take(&rest, head[1]);
    call->query = take(&rest, head[2]);
    call->body = rest;
    unsigned allowed;
    const struct admin_endpoint *endpoint = find_endpoint(call->path, call->method, &allowed);
    BUG_ON(!endpoint); /* the supervisor has the same table */
    endpoint->handle(worker, call);
}

/* --- in the supervisor ---------------------------------------------------------------------- */

static void finish_here(struct admin_call *call, int status, const char *content_type,
                        struct str body)
{
    struct admin *admin = call->owner;
    server_respond(admin->server, call->id,
                   &(struct http_response){
                       .status = status, .content_type = str_from(content_type), .body = body});
    free(call);
}

static bool token_is_right(const struct admin *admin, struct str authorization)
{
    struct str token = str_from(admin->config->admin_token);
    struct str scheme = str_cut(&authorization, ' ');
    authorization = str_trim(authorization);
    return token.len && str_eq_nocase(scheme, STR("bearer")) && authorization.len == token.len &&
           crypto_equal(authorization.ptr, token.ptr, token.len);
}

static bool refuse(struct http_response *refusal, int status, const char *headers, const char *text)
{
    *refusal = (struct http_response){.status = status,
                                      .content_type = STR("text/plain; charset=utf-8"),
                                      .headers = str_from(headers),
                                      .body = str_from(text)};
    return false;
}

/* By its head alone: is there such a page, and may this client have it? */
static bool admit(const struct admin *admin, const struct http_request *http,
                  const struct admin_endpoint **endpoint, struct http_response *refusal)
{
    enum http_method method = http->method == HTTP_HEAD ? HTTP_GET : http->method;
    unsigned allowed;
    *endpoint = find_endpoint(http->path, method, &allowed);
    if (!allowed) {
        return refuse(refusal, 404, "", "no such page; / lists all\n");
    }
    if (!*endpoint) {
        static const char *const allow[] = {"Allow: GET, HEAD\r\n", "Allow: POST\r\n",
                                            "Allow: GET, HEAD, POST\r\n"};
        return refuse(refusal, 405,
                      allow[!(allowed & HTTP_POST)  ? 0
                            : !(allowed & HTTP_GET) ? 1
                                                    : 2],
                      "");
    }
    bool configured = *admin->config->admin_token;
    enum admin_right right = (*endpoint)->right;
    if (right == ADMIN_WRITES && !configured) {
        return refuse(refusal, 403, "", "no admin_token is configured\n");
    }
    if (right != ADMIN_OPEN && configured &&
        !token_is_right(admin, http->fields[HTTP_AUTHORIZATION])) {
        return refuse(refusal, 401, "WWW-Authenticate: Bearer\r\n",
                      "the admin token is missing or wrong\n");
    }
    return true;
}

static uint64_t body_limit(const struct admin *admin, const struct admin_endpoint *endpoint)
{
    return (uint64_t)(endpoint->takes_catalogs ? admin->config->max_catalog_bytes
                                               : admin->config->max_body_bytes);
}

static bool on_head(void *context, const struct http_request *head, uint64_t *body_bytes,
                    struct http_response *refusal)
{
    const struct admin *admin = context;
    const struct admin_endpoint *endpoint;
    if (!admit(admin, head, &endpoint, refusal)) {
        return false;
    }
    *body_bytes = body_limit(admin, endpoint);
    return true;
}

static void on_request(void *context, const struct server_request *request)
{
    struct admin *admin = context;
    const struct http_request *http = request->http;
    const struct admin_endpoint *endpoint;
    struct http_response refusal;
    if (!admit(admin, http, &endpoint, &refusal)) {
        server_respond(admin->server, request->ticket, &refusal);
        return;
    }
    if (http->body.len > body_limit(admin, endpoint)) {
        server_respond_status(admin->server, request->ticket, 413);
        return;
    }
    enum http_method method = http->method == HTTP_HEAD ? HTTP_GET : http->method;
    if (endpoint->where != ADMIN_HERE) {
        fan_out(admin, endpoint, request, method);
        return;
    }
    struct admin_call *call = malloc(sizeof(*call));
    BUG_ON(!call);
    *call = (struct admin_call){.method = method,
                                .path = http->path,
                                .query = http->query,
                                .body = http->body,
                                .finish = finish_here,
                                .owner = admin,
                                .id = request->ticket};
    endpoint->handle(admin->supervisor, call);
}

static void handle_list(void *context, struct admin_call *call)
{
    (void)context;
    struct buf text;
    buf_init(&text, 1 << 20);
    buf_printf(&text, "Jointcap %s\n\n", JOINTCAP_VERSION);
    for (unsigned i = 0; i < endpoint_count; i++) {
        const struct admin_endpoint *endpoint = endpoints[i];
        buf_printf(&text, "%-5s%-6s %-20s %s\n", endpoint->methods & HTTP_GET ? "GET" : "",
                   endpoint->methods & HTTP_POST ? "POST" : "", endpoint->path, endpoint->help);
    }
    admin_reply(call, 200, "text/plain; charset=utf-8", buf_str(&text));
    buf_deinit(&text);
}

struct admin *admin_create(struct loop *loop, const struct config *config,
                           struct supervisor *supervisor, int fd)
{
    static const struct admin_endpoint list = {.path = "/",
                                               .methods = HTTP_GET,
                                               .where = ADMIN_HERE,
                                               .handle = handle_list,
                                               .help = "this list"};
    struct admin *admin = calloc(1, sizeof(*admin));
    if (!admin) {
        return NULL;
    }
    admin->loop = loop;
    admin->config = config;
    admin->supervisor = supervisor;
    admin_register(&list);
    struct server_options options = server_options_default();
    int64_t body_bytes = config->max_catalog_bytes > config->max_body_bytes
                             ? config->max_catalog_bytes
                             : config->max_body_bytes;
    options.limits.body_bytes = (uint64_t)body_bytes;
    options.max_connections = ADMIN_CONNECTIONS_MAX;
    options.out_bytes = CONTROL_MAX_BYTES;
    options.body_timeout_us = MINUTE_US;
    options.write_timeout_us = MINUTE_US;
    options.handle_timeout_us = ADMIN_TIMEOUT_US;
    options.handler = on_request;
    options.head = on_head;
    options.context = admin;
    if (server_create(loop, &options, &admin->server) || server_listen(admin->server, fd)) {
        admin_destroy(&admin);
    }
    return admin;
}

void admin_destroy(struct admin **out)
{
    struct admin *admin = *out;
    if (!admin) {
        return;
    }
    while (admin->fanouts) {
        struct fanout *fanout = admin->fanouts;
        admin->fanouts = fanout->next;
        buf_deinit(&fanout->body);
        free(fanout);
    }
    server_destroy(&admin->server);
    free(admin);
    *out = NULL;
}
