/* Requests in, answers out: formats, gzip, load shedding, rate limits; notices. */
#include "bidder/bidding_internal.h"

#include "bidder/base/bug.h"
#include "bidder/http_text.h"

#define GZIP_LEAST_BYTES 256

static bool wire_format_of(struct str content_type, enum wire_format *format)
{
    static const struct {
        struct str type;
        enum wire_format format;
    } types[] = {
        {{"application/json", 16}, WIRE_JSON},
        {{"application/x-protobuf", 22}, WIRE_PROTOBUF},
        {{"application/octet-stream", 24}, WIRE_PROTOBUF},
        {{"application/protobuf", 20}, WIRE_PROTOBUF},
        {{"text/plain", 10}, WIRE_JSON},
        {{"application/x-www-form-urlencoded", 33}, WIRE_JSON}, /* curl -d */
    };
    *format = WIRE_JSON;
    for (size_t i = 0; content_type.len && i < COUNT_OF(types); i++) {
        if (http_media_type_is(content_type, types[i].type)) {
            *format = types[i].format;
            return true;
        }
    }
    return content_type.len == 0;
}

/* An answer is compressed when the exchange has it in its profile, the request accepts it, and it
 * is long enough to gain. */
static void compress_answer(struct bidding *bidding, uint64_t ticket, bool agreed,
                            struct http_response *response)
{
    const struct http_request *http = server_request_of(bidding->worker->server, ticket);
    if (!agreed || response->body.len < GZIP_LEAST_BYTES || !http ||
        !http_accepts_gzip(http->fields[HTTP_ACCEPT_ENCODING])) {
        return;
    }
    buf_reset(&bidding->deflated);
    if (gzip_deflate(bidding->gzip, response->body, &bidding->deflated) == STATUS_OK) {
        response->content_encoding = STR("gzip");
        response->body = buf_str(&bidding->deflated);
    }
}

static bool on_answer(void *owner, uint64_t ticket, const struct auction_answer *answer)
{
    struct bidding *bidding = owner;
    struct str headers = STR_NONE;
    /* An auction that began before a reload may belong to an exchange that has moved or is gone. */
    uint32_t exchange = str_table_get(&bidding->catalog->exchange_by_id, answer->exchange->id);
    if (exchange != STR_TABLE_NONE) {
        const struct exchange_state *state = &bidding->exchanges[exchange];
        headers = (struct str){state->headers, state->headers_len};
    }
    struct http_response response = {
        .status = answer->status,
        .content_type = answer->content_type,
        .headers = headers,
        .body = answer->body,
    };
    compress_answer(bidding, ticket, answer->exchange->gzip, &response);
    return server_respond(bidding->worker->server, ticket, &response);
}

static bool over_rate(struct bidding *bidding, uint32_t exchange)
{
    struct exchange_state *state = &bidding->exchanges[exchange];
    if (!bidding->catalog->exchanges[exchange].max_qps) {
        return false;
    }
    if (state->tokens_micros < SECOND_US) {
        return true;
    }
    state->tokens_micros -= SECOND_US;
    return false;
}

/* Undoes Content-Encoding. 0, or the status to answer with. */
static int decode_body(struct bidding *bidding, const struct http_request *http, bool agreed,
                       struct str *body)
{
    struct str encoding = http->fields[HTTP_CONTENT_ENCODING];
    *body = http->body;
    if (encoding.len == 0 || str_eq_nocase(encoding, STR("identity"))) {
        return 0;
    }
    if (!agreed || !str_eq_nocase(encoding, STR("gzip"))) {
        return 415;
    }
    buf_reset(&bidding->inflated);
    enum status status =
        gzip_inflate(bidding->gzip, http->body, (size_t)bidding->worker->config->max_body_bytes,
                     &bidding->inflated);
    *body = buf_str(&bidding->inflated);
    return status == STATUS_OK ? 0 : status == STATUS_LIMIT ? 413 : 400;
}

static void start_auction(struct bidding *bidding, const struct server_request *request,
                          struct auction_call *call)
{
    const struct http_request *http = request->http;
    bool agreed = bidding->catalog->exchanges[call->exchange].gzip;
    int refused = decode_body(bidding, http, agreed, &call->body);
    if (refused) {
        server_respond_status(bidding->worker->server, request->ticket, refused);
        return;
    }
    call->lent = call->body.ptr != http->body.ptr; /* the next request inflates to the same place */
    auction_start(bidding->auctions, call);
}

void bidding_exchange(struct bidding *bidding, const struct server_request *request, struct str id)
{
    struct server *server = bidding->worker->server;
    struct auction_call call = {.received_us = request->received_us,
                                .answer = on_answer,
                                .owner = bidding,
                                .handle = request->ticket};
    if (!bidding->catalog) {
        server_respond_status(server, request->ticket, 503);
        return;
    }
    call.exchange = str_table_get(&bidding->catalog->exchange_by_id, id);
    if (call.exchange == STR_TABLE_NONE) {
        server_respond_status(server, request->ticket, 404);
    } else if (!wire_format_of(request->http->fields[HTTP_CONTENT_TYPE], &call.format)) {
        server_respond_status(server, request->ticket, 415);
    } else if (request->lag_us > bidding->worker->config->shed_lag_us) {
        auction_shed(bidding->auctions, &call, NO_BID_OVERLOADED);
    } else if (over_rate(bidding, call.exchange)) {
        auction_shed(bidding->auctions, &call, NO_BID_RATE_LIMITED);
    } else {
        start_auction(bidding, request, &call);
    }
}

void bidding_ready(struct bidding *bidding, const struct server_request *request, struct str id)
{
    struct server *server = bidding->worker->server;
    if (!bidding->catalog) {
        server_respond_status(server, request->ticket, 503);
    } else if (str_table_get(&bidding->catalog->exchange_by_id, id) == STR_TABLE_NONE) {
        server_respond_status(server, request->ticket, 404);
    } else {
        server_respond(server, request->ticket,
                       &(struct http_response){
                           .status = 200, .content_type = STR("text/plain"), .body = STR("1")});
    }
}

/* --- notices -------------------------------------------------------------------------------- */

void bidding_answer_notice(void *context, uint64_t ticket, const struct notice_reply *reply)
{
    struct bidding *bidding = context;
    const struct http_response response = {
        .status = reply->status,
        .content_type = reply->content_type,
        .headers = reply->headers,
        .body = reply->body,
    };
    server_respond(bidding->worker->server, ticket, &response);
}

void bidding_notice(struct bidding *bidding, const struct server_request *request)
{
    struct notice_reply reply;
    const struct http_request *http = request->http;
    struct server *server = bidding->worker->server;
    if (!bidding->catalog) {
        server_respond_status(server, request->ticket, 503);
        return;
    }
    if (notice_handle(bidding->notices, http->path, http->query, clock_wall_us(), request->ticket,
                      &reply) != STATUS_OK) {
        server_respond_status(server, request->ticket, 404);
    } else if (reply.status != NOTICE_LATER) {
        bidding_answer_notice(bidding, request->ticket, &reply);
    }
}
