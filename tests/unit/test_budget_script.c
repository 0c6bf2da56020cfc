/* The lease step in Lua, on a real redis-server, against the same step in C: random reports,
 * repeats, forgotten records, fenced runs; the answers must be equal to the letter. */
#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "bidder/base/bug.h"
#include "bidder/base/prng.h"
#include "pacing/budget_step.h"
#include "tests/test.h"

static struct {
    char folder[64], path[96];
    pid_t pid;
    int fd;
} server;

static bool dial(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof(address.sun_path), "%s", server.path);
    server.fd = socket(AF_UNIX, SOCK_STREAM, 0);
    if (server.fd >= 0 && connect(server.fd, (struct sockaddr *)&address, sizeof(address)) == 0) {
        return true;
    }
    if (server.fd >= 0) {
        close(server.fd);
    }
    server.fd = -1;
    return false;
}

static void stop_server(void)
{
    if (server.pid > 0) {
        kill(server.pid, SIGKILL);
        waitpid(server.pid, NULL, 0);
    }
    if (server.fd >= 0) {
        close(server.fd);
    }
    unlink(server.path);
    rmdir(server.folder);
}

static bool start_server(void)
{
    snprintf(server.folder, sizeof(server.folder), "/tmp/jointcap-redis-XXXXXX");
    server.fd = -1;
    if (!mkdtemp(server.folder)) {
        return false;
    }
    snprintf(server.path, sizeof(server.path), "%s/redis.sock", server.folder);
    server.pid = fork();
    if (server.pid == 0) {
        if (freopen("/dev/null", "w", stdout)) {
            execlp("redis-server", "redis-server", "--port", "0", "--unixsocket", server.path,
                   "--save", "", "--dir", server.folder, (char *)NULL);
        }
        _exit(127);
    }
    for (int i = 0; i < 500 && server.pid > 0; i++) {
        if (dial()) {
            return true;
        }
        struct timespec pause = {.tv_nsec = 20000000};
        nanosleep(&pause, NULL);
    }
    return false;
}

static size_t put_arg(char *out, size_t room, const char *text)
{
    int len = snprintf(out, room, "$%zu\r\n%s\r\n", strlen(text), text);
    BUG_ON(len < 0 || (size_t)len >= room);
    return (size_t)len;
}

/* Sends a command of C strings; the reply's line or bulk text into reply. */
static bool command(const char *const *args, int count, char *reply, size_t room)
{
    char out[16384];
    size_t len = (size_t)snprintf(out, sizeof(out), "*%d\r\n", count);
    for (int i = 0; i < count; i++) {
        len += put_arg(out + len, sizeof(out) - len, args[i]);
    }
    if (write(server.fd, out, len) != (ssize_t)len) {
        return false;
    }
    size_t got = 0;
    for (;;) {
        ssize_t more = read(server.fd, reply + got, room - 1 - got);
        if (more <= 0) {
            return false;
        }
        got += (size_t)more;
        reply[got] = 0;
        char *end = strstr(reply, "\r\n");
        if (end && reply[0] != '$') {
            return true;
        }
        if (end && got >= (size_t)(end - reply) + 4 + strtoul(reply + 1, NULL, 10)) {
            size_t text = strtoul(reply + 1, NULL, 10);
            memmove(reply, end + 2, text);
            reply[text] = 0;
            return true;
        }
    }
}

static bool eval(const struct budget_step *step, char *reply, size_t room)
{
    char key[BUDGET_KEY_MAX], texts[BUDGET_STEP_ARGS][24];
    const char *args[4 + BUDGET_STEP_ARGS] = {"EVAL", budget_step_script, "1", key};
    size_t len = budget_step_key_text(&step->key, key);
    key[len] = 0;
    int64_t values[BUDGET_STEP_ARGS];
    budget_step_args(step, values);
    for (int i = 0; i < BUDGET_STEP_ARGS; i++) {
        snprintf(texts[i], sizeof(texts[i]), "%" PRId64, values[i]);
        args[4 + i] = texts[i];
    }
    return command(args, 4 + BUDGET_STEP_ARGS, reply, room);
}

static void check_same(const struct budget_step_reply *lua, const struct budget_step_reply *c)
{
    CHECK_INT(lua->kind, c->kind);
    CHECK_INT(lua->life, c->life);
    CHECK_INT(lua->seq, c->seq);
    CHECK_INT(lua->used, c->used);
    CHECK_INT(lua->lease, c->lease);
    CHECK_INT(lua->grant, c->grant);
    CHECK_INT(lua->own_extra, c->own_extra);
    CHECK_INT(lua->settled, c->settled);
    CHECK_INT(lua->out, c->out);
    CHECK_INT(lua->extra, c->extra);
    CHECK_INT(lua->owners, c->owners);
    CHECK_INT(lua->regress, c->regress);
}

/* A random report: mostly the next in order, sometimes a repeat, a gap, an old or a new run. */
static void random_step(struct prng *prng, const struct budget_step_account *account,
                        struct budget_step *step)
{
    uint32_t owner = (uint32_t)prng_below(prng, 4) + 1;
    int at = 0;
    while (account->records[at].owner && account->records[at].owner != owner) {
        at++;
    }
    int64_t scale = prng_below(prng, 3) ? 1000 : 1ll << 45; /* also near Lua's limit */
    int64_t gap = prng_below(prng, 40) == 0 ? 5 : prng_below(prng, 10) == 0 ? 0 : 1;
    step->owner = owner;
    step->recover = prng_below(prng, 12) == 0 || !account->records[at].owner;
    step->life = account->records[at].life;
    step->life += prng_below(prng, 20) == 0 ? (int64_t)prng_below(prng, 7) - 3 : 0;
    step->life = step->life > 0 ? step->life : 100; /* a life is a wall clock */
    step->seq = account->records[at].seq + gap;
    step->used = account->records[at].used + (int64_t)prng_below(prng, (uint64_t)scale);
    step->lease = (int64_t)prng_below(prng, (uint64_t)scale);
    step->extra = account->records[at].extra + (int64_t)prng_below(prng, 100);
    step->want = (int64_t)prng_below(prng, (uint64_t)scale);
    step->least = (int64_t)prng_below(prng, 2) * (int64_t)prng_below(prng, (uint64_t)scale);
    step->cap = account->settled + account->out + (int64_t)prng_below(prng, (uint64_t)scale) * 2 -
                scale / 2;
    step->cap = step->cap > 0 ? step->cap : 0;
}

TEST(lua_and_c_take_the_same_step)
{
    struct prng prng = {.state = 20261122};
    printf("seed %" PRIu64 "\n", prng.state);
    if (!start_server()) {
        TEST_FAIL("no redis-server");
        stop_server();
        return;
    }
    for (uint32_t round = 0; round < 40; round++) {
        struct budget_step_account account = {0};
        struct budget_step step = {.key = {'b', round, round % 2 ? 20261122 : 0}};
        for (int i = 0; i < 150 && account.settled < 1ll << 51; i++) {
            random_step(&prng, &account, &step);
            char text[512];
            struct budget_step_reply lua, c;
            if (!eval(&step, text, sizeof(text)) || !budget_step_parse(str_from(text), &lua)) {
                TEST_FAIL("round %u step %d: %s", (unsigned)round, i, text);
                break;
            }
            /* Both hold grants back for a while after a regress: by the second they may differ. */
            if (lua.grant == 0) {
                account.hold_s = account.hold_s ? INT64_MAX : 0;
            }
            budget_step_apply(&account, &step, 1000, &c);
            check_same(&lua, &c);
        }
    }
    stop_server();
}

TEST(keys_expire_and_share_a_slot)
{
    if (!start_server()) {
        TEST_FAIL("no redis-server");
        stop_server();
        return;
    }
    struct budget_step step = {
        .key = {'b', 0xab, 20261122}, .owner = 3, .recover = true, .life = 5};
    char text[512];
    CHECK(eval(&step, text, sizeof(text)));
    const char *ttl[] = {"TTL", "b:{000000ab}:20261122"};
    CHECK(command(ttl, 2, text, sizeof(text)));
    long seconds = strtol(text + 1, NULL, 10);
    CHECK(seconds > 3 * 86400 && seconds <= 4 * 86400);
    step.key.date = 0;
    CHECK(eval(&step, text, sizeof(text)));
    const char *usage[] = {"EXISTS", "b:{000000ab}:t"};
    CHECK(command(usage, 2, text, sizeof(text)));
    CHECK(strncmp(text, ":1", 2) == 0);
    stop_server();
}
