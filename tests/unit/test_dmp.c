#include "tests/test.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bidder/dmp.h"

/* A DMP that answers each connection's request with a fixed text after a pause, in a thread. */
struct fake {
    int fd;
    uint16_t port;
    const char *answer; /* NULL: close without a word */
    int pause_ms;
    int asked;
    char last[2048];
    pthread_t thread;
};

static void *serve(void *argument)
{
    struct fake *fake = argument;
    for (;;) {
        int client = accept(fake->fd, NULL, NULL);
        if (client < 0) {
            return NULL;
        }
        for (;;) {
            size_t len = 0;
            while (len < sizeof(fake->last) - 1 && !(len && fake->last[len - 1] == '}')) {
                ssize_t n = recv(client, fake->last + len, sizeof(fake->last) - 1 - len, 0);
                if (n <= 0) {
                    break;
                }
                len += (size_t)n;
            }
            if (!len) {
                break;
            }
            fake->last[len] = '\0';
            __atomic_add_fetch(&fake->asked, 1, __ATOMIC_SEQ_CST);
            usleep((useconds_t)fake->pause_ms * 1000);
            if (!fake->answer ||
                send(client, fake->answer, strlen(fake->answer), MSG_NOSIGNAL) < 0) {
                break;
            }
        }
        close(client);
    }
}

static void fake_start(struct fake *fake)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t size = sizeof(address);
    fake->fd = socket(AF_INET, SOCK_STREAM, 0);
    CHECK(bind(fake->fd, (struct sockaddr *)&address, size) == 0 && listen(fake->fd, 16) == 0);
    getsockname(fake->fd, (struct sockaddr *)&address, &size);
    fake->port = ntohs(address.sin_port);
    pthread_create(&fake->thread, NULL, serve, fake);
}

static void fake_stop(struct fake *fake)
{
    shutdown(fake->fd, SHUT_RDWR);
    pthread_join(fake->thread, NULL);
    close(fake->fd);
}

static struct catalog_audience audiences[] = {{.id = {"ta-a", 4}}, {.id = {"ta-b", 4}}};

struct outcome {
    int calls, learned;
    enum dmp_result result;
    uint32_t in, learned_in;
};

static void on_done(void *owner, enum dmp_result result, uint32_t in)
{
    struct outcome *outcome = owner;
    outcome->calls++;
    outcome->result = result;
    outcome->in = in;
}

static struct outcome *learner;

static void on_learned(void *owner, const struct person_key *key, uint32_t dmp_ref,
                       const uint32_t *refs, uint32_t count, uint32_t in)
{
    (void)owner;
    CHECK(key->bytes[0] == 0xab && dmp_ref == cap_ref32(STR("acme")) && count == 2);
    CHECK(refs[1] == cap_ref32(STR("ta-b")));
    learner->learned++;
    learner->learned_in = in;
}

static char url[64];
static struct catalog_dmp dmps[1];

static struct catalog catalog_for(uint16_t port)
{
    snprintf(url, sizeof(url), "http://127.0.0.1:%u/audience", port);
    dmps[0] = (struct catalog_dmp){.id = STR("acme"), .url = str_from(url)};
    return (struct catalog){
        .audiences = audiences, .audience_count = 2, .dmps = dmps, .dmp_count = 1};
}

static void turns_until(struct loop *loop, int64_t us)
{
    int64_t end = clock_mono_us() + us;
    while (clock_mono_us() < end) {
        loop_turn(loop, false);
        usleep(500);
    }
}

/* Asks once, lets wait_us pass. */
static struct outcome ask(struct fake *fake, int times, int64_t deadline_us, int64_t wait_us)
{
    struct outcome outcome = {.result = DMP_RESULT_COUNT};
    struct loop loop;
    struct person_key key = {.bytes = {0xab, 1}};
    uint32_t both[] = {0, 1};
    fake_start(fake);
    struct catalog catalog = catalog_for(fake->port);
    CHECK(loop_init(&loop) == STATUS_OK);
    learner = &outcome;
    struct dmp_desk *desk = dmp_desk_create(&loop, on_learned, NULL);
    CHECK(desk && dmp_desk_configure(desk, &catalog));
    for (int i = 0; i < times; i++) {
        if (dmp_ask(desk, &catalog, 0, &key, both, 2, clock_mono_us() + deadline_us, on_done,
                    &outcome)) {
            turns_until(&loop, wait_us);
        }
    }
    CHECK(dmp_desk_configure(desk, &catalog)); /* stays: keeps what is in flight */
    dmp_desk_destroy(&desk);
    loop_deinit(&loop);
    fake_stop(fake);
    return outcome;
}

#define ANSWER(type, length, body)                                                                 \
    "HTTP/1.1 200 OK\r\nContent-Type: " type "\r\nContent-Length: " length "\r\n\r\n" body

TEST(an_answer_in_time_is_told_and_learned_over_one_connection)
{
    struct fake fake = {.answer = ANSWER("application/json", "15", "{\"in\":[\"ta-b\"]}")};
    struct outcome outcome = ask(&fake, 3, 1000000, 100000);
    CHECK_INT(outcome.calls, 3);
    CHECK_INT(outcome.result, DMP_ANSWERED);
    CHECK_INT(outcome.in, 2);
    CHECK_INT(outcome.learned, 3);
    CHECK(strstr(fake.last, "{\"person\":\"ab01000000000000000000000000\","
                            "\"audiences\":[\"ta-a\",\"ta-b\"]}"));
}

TEST(a_late_answer_is_late_for_the_auction_and_still_learned)
{
    struct fake fake = {.answer = ANSWER("application/json", "15", "{\"in\":[\"ta-a\"]}"),
                        .pause_ms = 60};
    struct outcome outcome = ask(&fake, 1, 5000, 150000);
    CHECK_INT(outcome.calls, 1);
    CHECK_INT(outcome.result, DMP_LATE);
    CHECK_INT(outcome.learned, 1);
    CHECK_INT(outcome.learned_in, 1);
}

TEST(lies_are_bad_answers)
{
    static const char *const lies[] = {
        ANSWER("text/html", "15", "{\"in\":[\"ta-a\"]}"),
        ANSWER("application/json", "9", "{\"in\":[\"t"),
        ANSWER("application/json", "2", "{}"),
        ANSWER("application/json", "10", "{\"in\":true}"),
        ANSWER("application/json", "4", "null"),
        "HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 204 No Content\r\n\r\n",
    };
    for (size_t i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
        struct fake fake = {.answer = lies[i]};
        struct outcome outcome = ask(&fake, 1, 300000, 60000);
        CHECK_INT(outcome.calls, 1);
        CHECK_INT(outcome.result, DMP_BAD_ANSWER);
        CHECK_INT(outcome.learned, 0);
    }
}

TEST(no_http_or_too_much_of_it_is_unavailable)
{
    static const char *const noise[] = {NULL, "\x01\x02garbage\r\n\r\n",
                                        ANSWER("application/json", "99999999", "{")};
    for (size_t i = 0; i < sizeof(noise) / sizeof(noise[0]); i++) {
        struct fake fake = {.answer = noise[i]};
        struct outcome outcome = ask(&fake, 1, 1000000, 300000);
        CHECK_INT(outcome.calls, 1);
        CHECK_INT(outcome.result, DMP_UNAVAILABLE);
    }
}

TEST(the_breaker_opens_after_failures)
{
    struct fake fake = {.answer = "HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n"};
    struct outcome outcome = ask(&fake, 12, 300000, 30000);
    CHECK_INT(fake.asked, 5);
    CHECK_INT(outcome.calls, 5);
}
