/* The pure parts of jointcap-load. They are no part of the library, so they are compiled in here.
 */
#include "bench/load/json_walk.c"
#include "bench/load/notice.c"
#include "bench/load/response.c"
#include "bench/load/template.c"
#include "bench/load/zipf.h"

#include <unistd.h>

#include "tests/test.h"

/* --- responses --- */

/* Reads a copy, so that chunks may be joined in place. */
static enum response_result read_copy(const char *text, size_t len, bool at_eof,
                                      struct response *response, char *copy)
{
    memcpy(copy, text, len);
    return response_read(copy, len, at_eof, response);
}

static void check_whole(const char *text, unsigned status, const char *body, bool keep_alive)
{
    size_t len = strlen(text);
    char copy[1024];
    struct response response;
    for (size_t cut = 0; cut < len; cut++) {
        CHECK_INT(read_copy(text, cut, false, &response, copy), RESPONSE_PARTIAL);
        CHECK_INT(read_copy(text, cut, true, &response, copy), RESPONSE_BAD);
    }
    CHECK_INT(read_copy(text, len, false, &response, copy), RESPONSE_DONE);
    CHECK_INT(response.status, status);
    CHECK_STR(response.body, body);
    CHECK_INT(response.keep_alive, keep_alive);
    CHECK_INT(response.consumed, len);
}

TEST(response_with_length)
{
    check_whole(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nCONTENT-length:  5 \r\n\r\nhello",
        200, "hello", true);
    check_whole("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi", 200, "hi",
                false);
    check_whole("HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi", 200, "hi", false);
    check_whole("HTTP/1.1 204 No Content\r\n\r\n", 204, "", true);
    check_whole("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx", 200,
                "x", true);
}

TEST(response_in_chunks)
{
    check_whole("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
                "4\r\nWiki\r\n6;name=value\r\npedia \r\nE\r\nin \r\n\r\nchunks.\r\n0\r\n\r\n",
                200, "Wikipedia in \r\n\r\nchunks.", true);
    check_whole("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nTrailer: x\r\n\r\n", 200,
                "", true);
}

TEST(response_until_close)
{
    const char text[] = "HTTP/1.1 200 OK\r\n\r\nall of it";
    char copy[64];
    struct response response;
    CHECK_INT(read_copy(text, sizeof(text) - 1, false, &response, copy), RESPONSE_PARTIAL);
    CHECK_INT(read_copy(text, sizeof(text) - 1, true, &response, copy), RESPONSE_DONE);
    CHECK_STR(response.body, "all of it");
    CHECK(!response.keep_alive);
}

TEST(response_refuses)
{
    static const char *const texts[] = {
        "SSH-2.0-OpenSSH\r\n\r\n",
        "HTTP/1.1 2x0 OK\r\n\r\n",
        "HTTP/1.1 099 OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1x\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n",
    };
    char copy[128];
    struct response response;
    for (size_t i = 0; i < COUNT_OF(texts); i++) {
        CHECK_INT(read_copy(texts[i], strlen(texts[i]), false, &response, copy), RESPONSE_BAD);
    }
}

/* --- JSON --- */

struct seen {
    const char *want;
    struct str value;
    unsigned count;
};

static void on_seen(void *context, const struct json_scalar *scalar)
{
    struct seen *seen = context;
    if (json_path_is(scalar, seen->want)) {
        seen->value = scalar->value;
        seen->count++;
    }
}

static struct seen find_path(const char *text, const char *want)
{
    struct seen seen = {.want = want};
    CHECK(json_walk(str_from(text), on_seen, &seen));
    return seen;
}

static const char json_text[] =
    " {\"id\":\"a\\\"b\", \"imp\" : [ {\"id\":\"1\",\"t\":[ ]} , {\"id\":\"2\"} ], \"e\":{},"
    "\"device\":{\"id\":\"no\",\"n\":-1.5e3,\"geo\":{\"x\":null}},\"list\":[[1],[2,true]]}";

TEST(json_walk_paths)
{
    CHECK_STR(find_path(json_text, "id").value, "a\\\"b");
    CHECK_INT(find_path(json_text, "id").count, 1);
    CHECK_INT(find_path(json_text, "imp.[].id").count, 2);
    CHECK_STR(find_path(json_text, "imp.[].id").value, "2");
    CHECK_STR(find_path(json_text, "device.n").value, "-1.5e3");
    CHECK_STR(find_path(json_text, "device.geo.x").value, "null");
    CHECK_INT(find_path(json_text, "list.[].[]").count, 3);
    CHECK_INT(find_path(json_text, "list").count, 0);
    CHECK_INT(find_path(json_text, "device").count, 0);
}

TEST(json_walk_cut_at_every_byte)
{
    struct seen seen = {.want = "id"};
    for (size_t cut = 0; cut + 1 < sizeof(json_text); cut++) {
        char *exact = malloc(cut ? cut : 1); /* so that reading beyond the end is seen */
        memcpy(exact, json_text, cut);
        CHECK(!json_walk((struct str){.ptr = exact, .len = cut}, on_seen, &seen));
        free(exact);
    }
    char deep[200];
    memset(deep, '[', sizeof(deep));
    memcpy(deep, "{\"a\":", 5);
    CHECK(!json_walk((struct str){.ptr = deep, .len = sizeof(deep)}, on_seen, &seen));
}

/* --- templates --- */

static enum status load_one(struct templates *templates, const char *suffix, const void *bytes,
                            size_t len)
{
    char path[64];
    snprintf(path, sizeof(path), "/tmp/test_load_XXXXXX%s", suffix);
    int fd = mkstemps(path, (int)strlen(suffix));
    CHECK(fd >= 0 && write(fd, bytes, len) == (ssize_t)len);
    close(fd);
    struct options options = {.bodies = {.count = 1, .items = {path}}};
    enum status status = templates_load(templates, &options, STR("127.0.0.1:1"), STR("/p"));
    unlink(path);
    return status;
}

static struct str body_of(const struct template *item)
{
    return (struct str){.ptr = item->bytes + item->body_offset,
                        .len = item->len - item->body_offset};
}

TEST(template_json_ids)
{
    static const char body[] =
        "{\"id\":\"1\",\"imp\":[{\"id\":\"1\"}],\"device\":{\"ip\":\"1.2.3.4\",\"ifa\":"
        "\"12345678-1234-1234-1234-123456789abc\",\"didmd5\":\"\","
        "\"dpidmd5\":\"00000000000000000000000000000000\",\"didsha1\":\"abcdef\"},"
        "\"user\":{\"eids\":[{\"uids\":[{\"id\":\"abcd\"}]}]}}";
    struct templates templates;
    CHECK_INT(load_one(&templates, ".json", body, sizeof(body) - 1), STATUS_OK);
    CHECK_INT(templates.count, 1);
    CHECK_INT(templates.with_request_id, 1);
    CHECK_INT(templates.with_person, 1);
    struct template *item = &templates.items[0];
    CHECK_INT(item->slot_count, 5);
    char text[64];
    snprintf(text, sizeof(text), "Content-Length: %zu\r\n", body_of(item).len);
    CHECK(memmem(item->bytes, item->body_offset, text, strlen(text)));

    template_patch(item, 7, 5, 1);
    char first[1024], again[1024];
    BUG_ON(item->len >= sizeof(first));
    memcpy(first, item->bytes, item->len);
    CHECK(json_walk(body_of(item), on_seen, &(struct seen){.want = "id"}));
    template_patch(item, 8, 5, 1);
    memcpy(again, item->bytes, item->len);
    const struct template_slot *id = &item->slots[0];
    CHECK(memcmp(first + id->offset, again + id->offset, id->width) != 0);
    CHECK(memcmp(first + id->offset + id->width, again + id->offset + id->width,
                 item->len - id->offset - id->width) == 0);
    template_patch(item, 8, 6, 1);
    for (unsigned i = 1; i < item->slot_count; i++) {
        const struct template_slot *slot = &item->slots[i];
        CHECK(memcmp(item->bytes + slot->offset, again + slot->offset, slot->width) != 0);
    }
    /* The all-zero id stays, the UUID keeps its dashes, the address is four numbers. */
    CHECK(memmem(item->bytes, item->len, "00000000000000000000000000000000", 32));
    CHECK_INT(item->bytes[item->slots[2].offset + 8], '-');
    CHECK_INT(item->slots[1].style, SLOT_IP);
    unsigned part[4];
    memcpy(first, item->bytes + item->slots[1].offset, IP_WIDTH);
    first[IP_WIDTH] = '\0';
    CHECK_INT(sscanf(first, "%u.%u.%u.%u", &part[0], &part[1], &part[2], &part[3]), 4);
    templates_deinit(&templates);
}

TEST(template_request_ids_differ)
{
    static const char body[] = "{\"id\":\"x\"}";
    struct templates templates;
    CHECK_INT(load_one(&templates, ".json", body, sizeof(body) - 1), STATUS_OK);
    struct template *item = &templates.items[0];
    char previous[REQUEST_ID_WIDTH] = {0};
    for (uint64_t i = 0; i < 10000; i++) {
        template_patch(item, i, 1, 1);
        const char *id = item->bytes + item->slots[0].offset;
        CHECK(memcmp(previous, id, sizeof(previous)) != 0);
        memcpy(previous, id, sizeof(previous));
    }
    templates_deinit(&templates);
}

TEST(template_protobuf_ids)
{
    /* id(1), tmax(8) = 120, device(5){ lmt(23) = 0, ifa(20) } */
    static const char body[] = "\x0a\x10"
                               "0123456789abcdef"
                               "\x40\x78"
                               "\x2a\x0a"
                               "\xb8\x01\x00"
                               "\xa2\x01\x04"
                               "wxyz";
    struct templates templates;
    CHECK_INT(load_one(&templates, ".pb", body, sizeof(body) - 1), STATUS_OK);
    struct template *item = &templates.items[0];
    CHECK_INT(item->slot_count, 2);
    CHECK_INT(body_of(item).len, sizeof(body) - 1);
    template_patch(item, 1, 1, 1);
    CHECK(!memmem(item->bytes, item->len, "wxyz", 4));
    CHECK(!memmem(item->bytes, item->len, "0123456789abcdef", 16));
    CHECK(memcmp(body_of(item).ptr, "\x0a\x10", 2) == 0);
    CHECK(memmem(item->bytes, item->len, "application/x-protobuf", 22));
    templates_deinit(&templates);
    for (size_t cut = 1; cut < sizeof(body) - 1; cut++) {
        if (cut == 18 || cut == 20) { /* ends between two fields */
            continue;
        }
        CHECK_INT(load_one(&templates, ".pb", body, cut), STATUS_INVALID);
        templates_deinit(&templates);
    }
}

/* --- persons --- */

TEST(zipf_frequencies)
{
    enum { PERSONS = 50, DRAWS = 200000 };
    static const double exponents[] = {0, 0.5, 1, 1.3};
    for (size_t e = 0; e < COUNT_OF(exponents); e++) {
        struct zipf zipf;
        struct prng prng = {.state = 42};
        unsigned seen[PERSONS + 1] = {0};
        zipf_init(&zipf, PERSONS, exponents[e]);
        for (int i = 0; i < DRAWS; i++) {
            uint64_t k = zipf_next(&zipf, &prng);
            BUG_ON(k < 1 || k > PERSONS);
            seen[k]++;
        }
        double sum = 0;
        for (int k = 1; k <= PERSONS; k++) {
            sum += pow(k, -exponents[e]);
        }
        for (int k = 1; k <= PERSONS; k++) {
            double want = DRAWS * pow(k, -exponents[e]) / sum;
            CHECK(fabs(seen[k] - want) < 5 * sqrt(want)); /* five standard deviations */
        }
    }
}

/* --- notices --- */

static struct notice_queue new_queue(double win_rate, size_t cap)
{
    struct notice_queue queue = {.win_rate = win_rate,
                                 .clearing_millionths = 800000,
                                 .loss = true,
                                 .delay_ns = 5,
                                 .cap = cap,
                                 .prng = {.state = 1}};
    CHECK_INT(notice_queue_init(&queue), STATUS_OK);
    return queue;
}

static void check_next(struct notice_queue *queue, const char *want)
{
    CHECK_INT(notice_queue_due_ns(queue), 105);
    if (queue->used) {
        CHECK_STR(notice_queue_first(queue), want);
        notice_queue_pop(queue);
    }
}

static const char bids[] =
    "{\"id\":\"r1\",\"cur\":\"CNY\",\"seatbid\":[{\"seat\":\"s\",\"bid\":[{\"id\":\"b1\",\"impid\":"
    "\"i1\",\"price\":12.5,\"nurl\":\"https:\\/\\/x.example\\/win?p=${AUCTION_PRICE}&c="
    "${AUCTION_CURRENCY}&a=${AUCTION_ID}\",\"lurl\":\"http://x.example/loss?r=${AUCTION_LOSS}"
    "&p=${AUCTION_PRICE}\",\"adm\":\"<VAST><Impression id=\\\"a\\\"><![CDATA[http://x.example/imp?"
    "b=${AUCTION_BID_ID}]]>\\u003c/Impression></VAST>\"},"
    "{\"impid\":\"i2\",\"price\":2,\"burl\":\"http://y.example/b?p=${AUCTION_PRICE}&${X}\","
    "\"adm\":\"<div><img src=\\\"http://y.example/pixel\\\"></div>\"}]}]}";

TEST(notices_of_winners)
{
    struct notice_queue queue = new_queue(1, 1 << 20);
    notice_queue_take(&queue, STR(bids), 100);
    CHECK_INT(queue.counts.bids, 2);
    CHECK_INT(queue.counts.wins, 2);
    check_next(&queue, "GET /win?p=10&c=CNY&a=r1 HTTP/1.1\r\nHost: x.example\r\n\r\n");
    check_next(&queue, "GET /imp?b=b1 HTTP/1.1\r\nHost: x.example\r\n\r\n");
    check_next(&queue, "GET /b?p=1.6& HTTP/1.1\r\nHost: y.example\r\n\r\n");
    check_next(&queue, "GET /pixel HTTP/1.1\r\nHost: y.example\r\n\r\n");
    CHECK_INT(notice_queue_due_ns(&queue), INT64_MAX);
    static const char native[] =
        "{\"seatbid\":[{\"bid\":[{\"impid\":\"1\",\"price\":1,\"adm\":\"{\\\"native\\\":{"
        "\\\"eventtrackers\\\":[{\\\"event\\\":1,\\\"url\\\":\\\"http://n/i\\\"}]}}\"}]}]}";
    notice_queue_take(&queue, STR(native), 100);
    check_next(&queue, "GET /i HTTP/1.1\r\nHost: n\r\n\r\n");
    CHECK_INT(queue.counts.no_url, 0);
    notice_queue_deinit(&queue);
}

TEST(notices_in_protobuf)
{
    /* id(1) "r"; seatbid(2){ bid(1){ id, impid, price 2.5, nurl, adm, burl(22) } }; cur(4) "CNY" */
    static const char bid[] = "\x0a\x01"
                              "b"
                              "\x12\x01"
                              "i"
                              "\x19\x00\x00\x00\x00\x00\x00\x04\x40"
                              "\x2a\x1b"
                              "http://x/w?${AUCTION_PRICE}"
                              "\xb2\x01\x1e"
                              "http://x/b?${AUCTION_CURRENCY}";
    char body[256], *at = body;
    size_t bid_len = sizeof(bid) - 1;
    at += snprintf(at, 8, "\x0a\x01r\x12");
    *at++ = (char)(bid_len + 2);
    *at++ = 0x0a;
    *at++ = (char)bid_len;
    memcpy(at, bid, bid_len);
    at += bid_len;
    memcpy(at,
           "\x22\x03"
           "CNY",
           5);
    size_t len = (size_t)(at + 5 - body);
    struct notice_queue queue = new_queue(1, 1 << 20);
    notice_queue_take(&queue, (struct str){.ptr = body, .len = len}, 100);
    CHECK_INT(queue.counts.bids, 1);
    check_next(&queue, "GET /w?2 HTTP/1.1\r\nHost: x\r\n\r\n");
    check_next(&queue, "GET /b?CNY HTTP/1.1\r\nHost: x\r\n\r\n");
    for (size_t cut = 4; cut < len - 5; cut++) {
        char *exact = malloc(cut);
        memcpy(exact, body, cut);
        notice_queue_take(&queue, (struct str){.ptr = exact, .len = cut}, 100);
        free(exact);
    }
    CHECK_INT(queue.counts.bids, 1);
    CHECK_INT(queue.counts.unreadable, len - 9);
    notice_queue_deinit(&queue);
}

TEST(notices_of_losers)
{
    struct notice_queue queue = new_queue(0, 1 << 20);
    notice_queue_take(&queue, STR(bids), 100);
    CHECK_INT(queue.counts.wins, 0);
    check_next(&queue, "GET /loss?r=102&p=12.5 HTTP/1.1\r\nHost: x.example\r\n\r\n");
    CHECK_INT(queue.used, 0);
    notice_queue_deinit(&queue);
}

TEST(notices_ring_wraps_and_fills)
{
    struct notice_queue queue = new_queue(1, 384);
    uint64_t popped = 0;
    for (int round = 0; round < 100; round++) {
        notice_queue_take(&queue, STR(bids), 100);
        while (queue.used > (size_t)(round % 3) * 100) {
            struct str first = notice_queue_first(&queue);
            CHECK(str_starts(first, STR("GET /")));
            CHECK(memcmp(first.ptr + first.len - 4, "\r\n\r\n", 4) == 0);
            notice_queue_pop(&queue);
            popped++;
        }
    }
    while (queue.used) {
        notice_queue_pop(&queue);
        popped++;
    }
    uint64_t queued = queue.counts.queued[NOTICE_WIN] + queue.counts.queued[NOTICE_BILLING] +
                      queue.counts.queued[NOTICE_IMPRESSION];
    CHECK_INT(popped, queued);
    CHECK(queue.counts.no_room > 0);
    CHECK_INT(queued + queue.counts.no_room, 400);
    notice_queue_deinit(&queue);
}

TEST(notices_cut_at_every_byte)
{
    struct notice_queue queue = new_queue(1, 1 << 20);
    for (size_t cut = 0; cut + 1 < sizeof(bids); cut++) {
        char *exact = malloc(cut ? cut : 1);
        memcpy(exact, bids, cut);
        notice_queue_take(&queue, (struct str){.ptr = exact, .len = cut}, 100);
        free(exact);
    }
    CHECK_INT(queue.counts.unreadable, sizeof(bids) - 1);
    notice_queue_deinit(&queue);
}
