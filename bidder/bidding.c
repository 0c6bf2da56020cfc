#include "bidder/bidding.h"

#include <stdlib.h>

#include "bidder/base/bug.h"
#include "bidder/catalog.h"
#include "bidder/http_text.h"
#include "bidder/worker.h"

struct bidding {
    struct worker *worker;   /* borrowed, outlives it */
    struct catalog *catalog; /* one reference */
};

void bidding_register(void)
{
}

void bidding_adopt_catalog(struct catalog *catalog)
{
    (void)catalog;
}

struct bidding *bidding_create(struct worker *worker)
{
    struct bidding *bidding = calloc(1, sizeof(*bidding));
    if (bidding) {
        bidding->worker = worker;
    }
    return bidding;
}

void bidding_destroy(struct bidding **out)
{
    struct bidding *bidding = *out;
    if (!bidding) {
        return;
    }
    if (bidding->catalog) {
        catalog_release(&bidding->catalog);
    }
    free(bidding);
    *out = NULL;
}

void bidding_set_catalog(struct bidding *bidding, struct catalog *catalog)
{
    if (bidding->catalog) {
        catalog_release(&bidding->catalog);
    }
    bidding->catalog = catalog;
}

const struct catalog *bidding_catalog(const struct bidding *bidding)
{
    return bidding->catalog;
}

enum body_format { BODY_JSON, BODY_PROTOBUF, BODY_UNKNOWN };

static enum body_format body_format(struct str content_type)
{
    if (content_type.len == 0 || http_media_type_is(content_type, STR("application/json")) ||
        http_media_type_is(content_type, STR("text/plain")) ||
        http_media_type_is(content_type, STR("application/x-www-form-urlencoded"))) { /* curl -d */
        return BODY_JSON;
    }
    if (http_media_type_is(content_type, STR("application/x-protobuf")) ||
        http_media_type_is(content_type, STR("application/protobuf")) ||
        http_media_type_is(content_type, STR("application/octet-stream"))) {
        return BODY_PROTOBUF;
    }
    return BODY_UNKNOWN;
}

void bidding_exchange(struct bidding *bidding, const struct server_request *request, struct str id)
{
    struct server *server = bidding->worker->server;
    const struct http_request *http = request->http;
    uint32_t exchange = STR_TABLE_NONE;
    if (bidding->catalog) {
        exchange = str_table_get(&bidding->catalog->exchange_by_id, id);
    }
    if (bidding->catalog && exchange == STR_TABLE_NONE) {
        server_respond_status(server, request->ticket, 404);
    } else if (body_format(http->fields[HTTP_CONTENT_TYPE]) == BODY_UNKNOWN ||
               http->fields[HTTP_CONTENT_ENCODING].len) {
        server_respond_status(server, request->ticket, 415);
    } else {
        server_respond_status(server, request->ticket, 204);
    }
}

void bidding_notice(struct bidding *bidding, const struct server_request *request)
{
    server_respond_status(bidding->worker->server, request->ticket, 404);
}

void bidding_tick(struct bidding *bidding)
{
    (void)bidding;
}

bool bidding_redis_is_up(const struct bidding *bidding)
{
    (void)bidding;
    return true;
}

uint32_t bidding_running(const struct bidding *bidding)
{
    (void)bidding;
    return 0;
}
