/* A server and its clients in one thread, turn by turn: no sleeps, no second process. */
#include "tests/test.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bidder/base/bug.h"
#include "bidder/server.h"

#define TICKETS 64

struct fixture {
    struct loop loop;
    struct server *server;
    struct sockaddr_in address;
    bool later; /* the handler only notes the ticket */
    uint64_t tickets[TICKETS];
    const struct http_request *requests[TICKETS];
    unsigned ticket_count;
    unsigned handled;
    size_t answer_bytes; /* of a body beyond the path */
    bool drained;
    int64_t handle_us; /* a busy handler */
    int64_t lag_us;    /* the longest that a request had waited */
};

static void answer(struct fixture *fixture, uint64_t ticket, const struct http_request *http)
{
    struct buf body;
    buf_init(&body, 1 << 24);
    buf_put_str(&body, http->path);
    buf_put_char(&body, ' ');
    buf_put_str(&body, http->body);
    for (size_t i = 0; i < fixture->answer_bytes; i++) {
        buf_put_char(&body, 'z');
    }
    server_respond(fixture->server, ticket,
                   &(struct http_response){.status = 200, .body = buf_str(&body)});
    buf_deinit(&body);
}

static void handle(void *context, const struct server_request *request)
{
    struct fixture *fixture = context;
    fixture->handled++;
    fixture->lag_us = request->lag_us > fixture->lag_us ? request->lag_us : fixture->lag_us;
    for (int64_t end_us = clock_mono_us() + fixture->handle_us; clock_mono_us() < end_us;) {
    }
    if (fixture->later) {
        BUG_ON(fixture->ticket_count == TICKETS);
        fixture->requests[fixture->ticket_count] = request->http;
        fixture->tickets[fixture->ticket_count++] = request->ticket;
        return;
    }
    answer(fixture, request->ticket, request->http);
}

static void on_drained(void *context)
{
    ((struct fixture *)context)->drained = true;
}

static void setup(struct fixture *fixture, void (*change)(struct server_options *))
{
    *fixture = (struct fixture){.later = false};
    BUG_ON(loop_init(&fixture->loop));
    struct server_options options = server_options_default();
    options.handler = handle;
    options.context = fixture;
    options.max_connections = 8;
    if (change) {
        change(&options);
    }
    BUG_ON(server_create(&fixture->loop, &options, &fixture->server));
    struct buf error;
    buf_init(&error, 1000);
    int fd = server_bind("127.0.0.1:0", true, &error);
    BUG_ON(fd < 0);
    socklen_t len = sizeof(fixture->address);
    BUG_ON(getsockname(fd, (struct sockaddr *)&fixture->address, &len));
    BUG_ON(server_listen(fixture->server, fd));
    buf_deinit(&error);
}

static void teardown(struct fixture *fixture)
{
    server_destroy(&fixture->server);
    loop_deinit(&fixture->loop);
}

static int client_open(struct fixture *fixture)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    BUG_ON(fd < 0 || connect(fd, (struct sockaddr *)&fixture->address, sizeof(fixture->address)));
    return fd;
}

static void client_send(int fd, const char *text)
{
    BUG_ON(send(fd, text, strlen(text), MSG_NOSIGNAL) != (ssize_t)strlen(text));
}

static void turns(struct fixture *fixture, int count)
{
    for (int i = 0; i < count; i++) {
        loop_turn(&fixture->loop, false);
    }
}

/* What has come so far, with "<end>" behind it when the server has sent FIN. */
static const char *client_read(int fd)
{
    static char text[1 << 16];
    size_t len = 0;
    for (;;) {
        ssize_t got = recv(fd, text + len, sizeof(text) - 8 - len, MSG_DONTWAIT);
        if (got <= 0) {
            snprintf(text + len, 8, "%s", got == 0 ? "<end>" : errno == EAGAIN ? "" : "<rst>");
            return text;
        }
        len += (size_t)got;
    }
}

/* What the server has answered after so many turns. */
static struct str ask(struct fixture *fixture, int fd, const char *text, int count)
{
    client_send(fd, text);
    turns(fixture, count);
    return str_from(client_read(fd));
}

#define GET(path)     "GET " path " HTTP/1.1\r\nHost: h\r\n\r\n"
#define OK(len, body) "HTTP/1.1 200 OK\r\nContent-Length: " len "\r\n\r\n" body

TEST(keep_alive_answers_one_after_the_other)
{
    struct fixture f;
    setup(&f, NULL);
    int fd = client_open(&f);
    for (int i = 0; i < 3; i++) {
        CHECK_STR(ask(&f, fd, GET("/a"), 3), OK("3", "/a "));
    }
    CHECK_INT(server_open_connections(f.server), 1);
    close(fd);
    turns(&f, 2);
    CHECK_INT(server_open_connections(f.server), 0);
    teardown(&f);
}

TEST(a_request_in_single_bytes_is_one_request)
{
    struct fixture f;
    setup(&f, NULL);
    int fd = client_open(&f);
    const char *text = "POST /b HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
                       "2\r\nhi\r\n1\r\n!\r\n0\r\n\r\n";
    for (const char *at = text; *at; at++) {
        char one[2] = {*at, '\0'};
        client_send(fd, one);
        turns(&f, 2);
    }
    CHECK_STR(str_from(client_read(fd)), OK("6", "/b hi!"));
    CHECK_INT(f.handled, 1);
    close(fd);
    teardown(&f);
}

TEST(fifty_pipelined_requests_are_answered_in_order)
{
    struct fixture f;
    setup(&f, NULL);
    for (int later = 0; later < 2; later++) {
        f.later = later;
        int fd = client_open(&f);
        char wire[8192], expected[8192];
        size_t wire_len = 0, expected_len = 0;
        for (int i = 0; i < 50; i++) {
            wire_len += (size_t)snprintf(wire + wire_len, sizeof(wire) - wire_len,
                                         "GET /%02d HTTP/1.1\r\nHost: h\r\n\r\n", i);
            expected_len += (size_t)snprintf(expected + expected_len,
                                             sizeof(expected) - expected_len, OK("4", "/%02d "), i);
        }
        client_send(fd, wire);
        turns(&f, 2);
        for (unsigned i = 0; later && i < 50; i++) {
            CHECK_INT(f.ticket_count, i + 1); /* one at a time */
            answer(&f, f.tickets[i], f.requests[i]);
            turns(&f, 1);
        }
        turns(&f, 6);
        CHECK_STR(str_from(client_read(fd)), expected);
        close(fd);
        turns(&f, 2);
    }
    teardown(&f);
}

#define CROWD 200

static void crowd_options(struct server_options *options)
{
    options->max_connections = CROWD;
}

/* 200 requests are there at once, each takes 50 us: 64 are taken as they come, and at most 20 more
 * fit into the queue's millisecond. Then it is others' turn. */
TEST(a_crowd_is_served_in_pieces_in_the_order_of_its_coming)
{
    struct fixture f;
    int fds[CROWD];
    setup(&f, crowd_options);
    for (int i = 0; i < CROWD; i++) {
        fds[i] = client_open(&f);
    }
    turns(&f, CROWD / 64 + 2); /* accepted */
    for (int i = 0; i < CROWD; i++) {
        client_send(fds[i], "GET /a HTTP/1.1\r\nHost: t\r\n\r\n");
    }
    f.handle_us = 50;
    unsigned before = 0;
    for (int turn = 0; before < CROWD; turn++) {
        if (turn > CROWD) {
            TEST_FAIL("%u of %d handled", before, CROWD);
        }
        turns(&f, 1);
        CHECK(f.handled - before <= 64 + 21);
        before = f.handled;
    }
    CHECK(f.lag_us >= 1000); /* the wait in the queue is seen */
    for (int i = 0; i < CROWD; i++) {
        CHECK(strncmp(client_read(fds[i]), "HTTP/1.1 200", 12) == 0);
        close(fds[i]);
    }
    teardown(&f);
}

TEST(a_client_that_goes_leaves_the_request_to_its_handler)
{
    struct fixture f;
    setup(&f, NULL);
    f.later = true;
    int fd = client_open(&f);
    client_send(fd, "POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc");
    turns(&f, 3);
    CHECK_INT(f.ticket_count, 1);
    struct linger hard = {.l_onoff = 1, .l_linger = 0};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
    close(fd); /* a reset */
    turns(&f, 3);
    CHECK_STR(f.requests[0]->body, "abc");
    answer(&f, f.tickets[0], f.requests[0]);
    turns(&f, 2);
    CHECK_INT(server_open_connections(f.server), 0);
    CHECK(!server_respond_status(f.server, f.tickets[0], 204)); /* a ticket is good once */
    CHECK(!server_respond_status(f.server, 12345, 204));
    teardown(&f);
}

TEST(a_half_closed_client_gets_its_answer)
{
    struct fixture f;
    setup(&f, NULL);
    f.later = true;
    int fd = client_open(&f);
    client_send(fd, GET("/h"));
    shutdown(fd, SHUT_WR);
    turns(&f, 4);
    answer(&f, f.tickets[0], f.requests[0]);
    turns(&f, 3);
    CHECK_STR(str_from(client_read(fd)), OK("3", "/h ") "<end>");
    close(fd);
    teardown(&f);
}

TEST(a_bad_request_is_answered_and_closed_without_reset)
{
    struct fixture f;
    setup(&f, NULL);
    int fd = client_open(&f);
    CHECK_STR(ask(&f, fd, GET("/1") "GET /2 HTTP/1.1\r\nHost : h\r\n\r\n" GET("/3"), 4),
              OK("3", "/1 ") "HTTP/1.1 400 Bad Request\r\nConnection: close\r\n"
                             "Content-Length: 0\r\n\r\n<end>");
    CHECK_INT(f.handled, 1);
    client_send(fd, "more that nobody reads");
    turns(&f, 2);
    CHECK_INT(server_open_connections(f.server), 1); /* lingers until we close */
    close(fd);
    turns(&f, 2);
    CHECK_INT(server_open_connections(f.server), 0);
    teardown(&f);
}

TEST(http_1_0_and_connection_close)
{
    struct fixture f;
    setup(&f, NULL);
    int fd = client_open(&f);
    CHECK_STR(ask(&f, fd, "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", 3),
              "HTTP/1.1 200 OK\r\nConnection: keep-alive\r\n"
              "Content-Length: 2\r\n\r\n/ ");
    CHECK_STR(ask(&f, fd, "HEAD / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n" GET("/no"), 3),
              "HTTP/1.1 200 OK\r\nConnection: close\r\n"
              "Content-Length: 2\r\n\r\n<end>");
    CHECK_INT(f.handled, 2);
    close(fd);
    teardown(&f);
}

TEST(expect_gets_100_when_the_body_has_not_begun)
{
    struct fixture f;
    setup(&f, NULL);
    int fd = client_open(&f);
    const char *head = "POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\n"
                       "Content-Length: 2\r\n\r\n";
    CHECK_STR(ask(&f, fd, head, 3), "HTTP/1.1 100 Continue\r\n\r\n");
    CHECK_STR(ask(&f, fd, "ok", 2), OK("4", "/ ok"));
    client_send(fd, head);
    client_send(fd, "ok");
    turns(&f, 3);
    CHECK(strstr(client_read(fd), OK("4", "/ ok")) != NULL);
    close(fd);
    teardown(&f);
}

/* Who is called nobody is refused, and a body may have four bytes. */
static bool judge(void *context, const struct http_request *head, uint64_t *body_bytes,
                  struct http_response *refusal)
{
    (void)context;
    *body_bytes = 4;
    *refusal = (struct http_response){.status = 401, .body = STR("who?")};
    return !str_eq(head->fields[HTTP_AUTHORIZATION], STR("nobody")) &&
           str_eq(head->path, STR("/x")) && str_eq(head->query, STR("y"));
}

static void judge_heads(struct server_options *options)
{
    options->head = judge;
}

TEST(a_head_is_judged_before_its_body)
{
    static const struct {
        const char *headers;
        int status; /* 0: the body is waited for */
    } cases[] = {
        {"Content-Length: 4\r\n", 0},
        {"Content-Length: 5\r\n", 413},
        {"Authorization: nobody\r\nContent-Length: 4\r\n", 401},
        {"Authorization: nobody\r\nContent-Length: 4\r\nExpect: 100-continue\r\n", 401},
        {"Authorization: nobody\r\nTransfer-Encoding: chunked\r\n", 401},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct fixture f;
        char head[300], line[32];
        setup(&f, judge_heads);
        int fd = client_open(&f);
        snprintf(head, sizeof(head), "POST /x?y HTTP/1.1\r\nHost: h\r\n%s\r\n", cases[i].headers);
        snprintf(line, sizeof(line), "HTTP/1.1 %d ", cases[i].status);
        client_send(fd, head);
        turns(&f, 3);
        const char *answer = client_read(fd);
        if (cases[i].status) {
            CHECK(strncmp(answer, line, strlen(line)) == 0);
            CHECK(strstr(answer, "<end>") != NULL);
            CHECK_INT(f.handled, 0);
        } else {
            CHECK_STR(str_from(answer), "");
            CHECK_STR(ask(&f, fd, "body", 2), OK("7", "/x body"));
        }
        close(fd);
        teardown(&f);
    }
}

TEST(a_chunked_body_ends_at_the_limit_of_its_head)
{
    struct fixture f;
    setup(&f, judge_heads);
    int fd = client_open(&f);
    client_send(fd, "POST /x?y HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n");
    turns(&f, 3);
    client_send(fd, "3\r\nabc\r\n2\r\n");
    turns(&f, 2);
    CHECK(strncmp(client_read(fd), "HTTP/1.1 413 ", 13) == 0);
    CHECK_INT(f.handled, 0);
    close(fd);
    teardown(&f);
}

TEST(a_client_that_does_not_read_blocks_only_itself)
{
    struct fixture f;
    setup(&f, NULL);
    f.answer_bytes = 8 << 20; /* more than the socket buffers hold */
    int slow = client_open(&f), quick = client_open(&f);
    client_send(slow, GET("/s") GET("/t"));
    turns(&f, 5);
    CHECK_INT(f.handled, 1); /* the second waits until the first is sent */
    size_t got = 0;
    f.answer_bytes = 0;
    client_send(quick, GET("/q"));
    turns(&f, 2);
    CHECK_STR(str_from(client_read(quick)), OK("3", "/q "));
    for (int i = 0; i < 100000 && (f.handled < 3 || got <= 8 << 20); i++) {
        got += strlen(client_read(slow));
        turns(&f, 1);
    }
    CHECK_INT(f.handled, 3);
    CHECK(got > 8 << 20);
    close(slow);
    close(quick);
    teardown(&f);
}

static void short_timeouts(struct server_options *options)
{
    options->head_timeout_us = options->body_timeout_us = options->idle_timeout_us = 1;
    options->linger_timeout_us = 1;
    options->handle_timeout_us = 1;
}

/* Turns until the sweep has come by; bounded by a count far beyond need. */
static void turns_until_open(struct fixture *f, uint32_t open)
{
    for (int i = 0; i < 100000 && server_open_connections(f->server) != open; i++) {
        loop_turn(&f->loop, true);
    }
    CHECK_INT(server_open_connections(f->server), open);
}

TEST(slow_clients_get_408_and_idle_ones_are_closed)
{
    static const struct {
        const char *sent, *answer;
    } cases[] = {
        {"GET / HT", "HTTP/1.1 408 Request Timeout\r\nConnection: close\r\n"
                     "Content-Length: 0\r\n\r\n<end>"},
        {"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nab",
         "HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n<end>"},
        {"", "<end>"},
    };
    struct fixture f;
    setup(&f, short_timeouts);
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        int fd = client_open(&f);
        client_send(fd, cases[i].sent);
        turns_until_open(&f, 1);
        turns_until_open(&f, 0);
        CHECK_STR(str_from(client_read(fd)), cases[i].answer);
        close(fd);
    }
    f.later = true; /* a handler that never answers: the client is given up, the request is kept */
    int fd = client_open(&f);
    client_send(fd, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc");
    for (int i = 0; i < 100000 && !strstr(client_read(fd), "<"); i++) {
        loop_turn(&f.loop, true);
    }
    CHECK_INT(server_open_connections(f.server), 1);
    CHECK_STR(f.requests[0]->body, "abc");
    CHECK(!server_respond_status(f.server, f.tickets[0], 204));
    CHECK_INT(server_open_connections(f.server), 0);
    close(fd);
    teardown(&f);
}

TEST(connections_beyond_the_limit_are_turned_away)
{
    struct fixture f;
    setup(&f, NULL);
    int fds[9];
    for (int i = 0; i < 9; i++) {
        fds[i] = client_open(&f);
        turns(&f, 1);
    }
    CHECK_INT(server_open_connections(f.server), 8);
    CHECK(strstr(client_read(fds[8]), "503") != NULL);
    for (int i = 0; i < 9; i++) {
        close(fds[i]);
    }
    turns(&f, 2);
    CHECK_INT(server_open_connections(f.server), 0);
    teardown(&f);
}

TEST(drain_answers_what_is_under_way_and_what_waits_to_be_accepted)
{
    struct fixture f;
    setup(&f, NULL);
    f.later = true;
    int busy = client_open(&f), idle = client_open(&f);
    client_send(busy, GET("/busy"));
    turns(&f, 3);
    int queued = client_open(&f); /* not accepted yet */
    client_send(queued, GET("/queued"));
    server_drain(f.server, 3600000000, on_drained, &f);
    f.later = false;
    turns(&f, 3);
    CHECK(strstr(client_read(queued), "Connection: close\r\n") != NULL);
    answer(&f, f.tickets[0], f.requests[0]);
    turns(&f, 2);
    CHECK(strstr(client_read(busy), "Connection: close\r\n") != NULL);
    client_send(idle, GET("/idle")); /* within the grace */
    turns(&f, 2);
    CHECK(strstr(client_read(idle), "Connection: close\r\n") != NULL);
    CHECK(!f.drained);
    close(busy);
    close(idle);
    close(queued);
    turns(&f, 3);
    CHECK(f.drained);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    CHECK(connect(fd, (struct sockaddr *)&f.address, sizeof(f.address)) < 0);
    close(fd);
    teardown(&f);
}

TEST(drain_lets_idle_connections_go_after_the_grace)
{
    struct fixture f;
    setup(&f, NULL);
    int fd = client_open(&f);
    turns(&f, 2);
    server_drain(f.server, 0, on_drained, &f);
    for (int i = 0; i < 100000 && !strstr(client_read(fd), "<end>"); i++) {
        loop_turn(&f.loop, true);
    }
    close(fd);
    turns(&f, 3);
    CHECK(f.drained);
    teardown(&f);
}

TEST(addresses)
{
    struct buf error;
    buf_init(&error, 1000);
    static const char *const bad[] = {
        "",        "8080", "127.0.0.1", "127.0.0.1:x", "127.0.0.1:70000", "localhost:80",
        "[::1:80", "unix:"};
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        buf_reset(&error);
        CHECK_INT(server_bind(bad[i], false, &error), -1);
        CHECK(error.len > 0);
    }
    CHECK(server_address_is_loopback("127.0.0.1:80"));
    CHECK(server_address_is_loopback("unix:/tmp/x"));
    CHECK(!server_address_is_loopback(":80"));
    CHECK(!server_address_is_loopback("10.0.0.1:80"));
    buf_deinit(&error);
}
