/* A week of a seeded population in front of the real bidder: who visits which medium when, one bid
 * request a visit, an impression for every bid; what each person saw. bench/lift/lift.py starts
 * bidder and Redis, chooses the catalog, and prints the tables.
 *
 *   drive_lift segments [OPTIONS]     prints type,id,segment of everybody (for audience load)
 *   drive_lift run [OPTIONS]          visits; prints one JSON object
 *
 * The same options give the same population and the same visits: arms differ in the catalog only.
 * Nobody is asked about twice at a time: a batch of visits ends before a person comes again, so the
 * order of a person's visits is the order of the stream. --dmp-port answers audience queries. */
#include <inttypes.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bidder/base/bug.h"
#include "bidder/base/clock.h"
#include "tests/drive/lift.h"

struct lift lift = {.options = {.persons = 6000,
                                .seed = 1,
                                .batch = 32,
                                .overlap = 0.4,
                                .video = 9,
                                .other = 3,
                                .display = 3,
                                .rho = 1.5,
                                .sigma = 0.8,
                                .push_all = 1,
                                .shares = {0.5, 0.3, 0.2},
                                .targets = {0.25, 0.2, 0.15, 0.2},
                                .secret = ""}};

/* --- HTTP ----------------------------------------------------------------------------------- */

static bool connect_all(void)
{
    struct sockaddr_in address = loopback(lift.options.port);
    for (int i = 0; i < lift.options.batch; i++) {
        int one = 1;
        lift.sockets[i] = socket(AF_INET, SOCK_STREAM, 0);
        if (connect(lift.sockets[i], (struct sockaddr *)&address, sizeof(address)) != 0) {
            perror("drive_lift: connect");
            return false;
        }
        setsockopt(lift.sockets[i], IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    }
    return true;
}

static bool send_text(int fd, const char *text, size_t len)
{
    while (len) {
        ssize_t sent = send(fd, text, len, MSG_NOSIGNAL);
        if (sent <= 0) {
            return false;
        }
        text += sent;
        len -= (size_t)sent;
    }
    return true;
}

/* The answer's body, NUL-terminated in buffer; its status, or -1. */
static int receive(int fd, char buffer[RESPONSE_CAP], char **body)
{
    size_t len = 0;
    for (;;) {
        ssize_t got = recv(fd, buffer + len, RESPONSE_CAP - 1 - len, 0);
        if (got <= 0) {
            return -1;
        }
        len += (size_t)got;
        buffer[len] = '\0';
        char *end = strstr(buffer, "\r\n\r\n");
        if (!end) {
            continue;
        }
        const char *length = strcasestr(buffer, "\r\nContent-Length:");
        size_t want = length && length < end ? strtoul(length + 17, NULL, 10) : 0;
        *body = end + 4;
        if (len - (size_t)(*body - buffer) >= want) {
            return (int)strtol(buffer + 9, NULL, 10);
        }
    }
}

/* --- visits --------------------------------------------------------------------------------- */

static bool send_visit(int fd, uint64_t number, const struct visit *visit)
{
    char name[32], imp[512], body[2048], head[256];
    person_name(visit->person, name);
    if (visit->kind == VISIT_DISPLAY) {
        snprintf(imp, sizeof(imp),
                 "{\"id\":\"1\",\"bidfloor\":1,\"bidfloorcur\":\"CNY\",\"secure\":1,"
                 "\"banner\":{\"w\":300,\"h\":250}}");
    } else {
        snprintf(imp, sizeof(imp),
                 "{\"id\":\"1\",\"video\":{\"mimes\":[\"video/mp4\"],\"maxduration\":30,"
                 "\"protocols\":[2,3,7],\"w\":640,\"h\":480,\"linearity\":1},"
                 "\"pmp\":{\"private_auction\":1,\"deals\":[{\"id\":\"D-%c-%d\",\"bidfloor\":25,"
                 "\"bidfloorcur\":\"CNY\",\"at\":3,\"guar\":1}]}}",
                 "abcx"[visit->owner], visit -> medium);
    }
    int len = snprintf(body, sizeof(body),
                       "{\"id\":\"lift-%" PRIu64 "\",\"at\":1,\"cur\":[\"CNY\"],\"tmax\":900,"
                       "\"imp\":[%s],\"site\":{\"id\":\"s\",\"domain\":\"medium-%d.example\"},"
                       "\"device\":{\"ua\":\"t\",\"ifa\":\"%s\"}}",
                       number, imp, visit->medium, name);
    int head_len = snprintf(head, sizeof(head),
                            "POST /openrtb2/x HTTP/1.1\r\nHost: b\r\n"
                            "Content-Type: application/json\r\nContent-Length: %d\r\n\r\n",
                            len);
    return send_text(fd, head, (size_t)head_len) && send_text(fd, body, (size_t)len);
}

/* The path of the url that stands between from and until, macros filled in. False: none. */
static bool notice_path(const char *text, const char *from, char until, char path[1024])
{
    const char *at = strstr(text, from);
    at = at ? strstr(at + strlen(from), "://") : NULL;
    at = at ? strchr(at + 3, '/') : NULL;
    size_t len = 0;
    for (; at && *at && *at != until && len < 1023; at++) {
        if (*at == '$' && at[1] == '{') {
            const char *end = strchr(at, '}');
            if (!end) {
                return false;
            }
            path[len++] = '8';
            at = end;
        } else {
            path[len++] = *at;
        }
    }
    path[len] = '\0';
    return len > 0;
}

/* Books what was shown. The notice goes out; *waits when an answer to it will come. */
static bool show(int fd, const struct visit *visit, const char *body, bool *waits)
{
    char path[1024], request[1200];
    const char *crid = strstr(body, "\"crid\":\"");
    int brand = crid ? (int)(strchr("abcx", crid[8]) - "abcx") : 0;
    bool video = visit->kind != VISIT_DISPLAY;
    *waits = false;
    if (!crid) {
        lift.no_bids++;
        return true;
    }
    BUG_ON(brand < 0 || brand >= BRANDS);
    struct visitor *person = &lift.persons[visit->person];
    lift.bids++;
    lift.impressions[brand]++;
    lift.in_target[brand] += person->target == brand;
    lift.cross += visit->kind != VISIT_DISPLAY && (visit->owner == 3) != (brand == 3);
    if (video) {
        lift.paid_video[visit->owner == 3]++;
    } else {
        lift.paid_display++;
    }
    person->seen[brand] = (uint8_t)(person->seen[brand] + (person->seen[brand] < 255));
    if (!(video ? notice_path(body, "<Impression", ']', path)
                : notice_path(body, "\"burl\":\"", '"', path))) {
        lift.failures++;
        return true;
    }
    int len = snprintf(request, sizeof(request), "GET %s HTTP/1.1\r\nHost: b\r\n\r\n", path);
    *waits = true;
    return send_text(fd, request, (size_t)len);
}

static bool run_batch(const struct visit *const *batch, int count, uint64_t number)
{
    static char buffer[RESPONSE_CAP];
    bool waits[MAX_BATCH];
    char *body;
    for (int i = 0; i < count; i++) {
        if (!send_visit(lift.sockets[i], number + (uint64_t)i, batch[i])) {
            return false;
        }
    }
    for (int i = 0; i < count; i++) {
        int status = receive(lift.sockets[i], buffer, &body);
        lift.requests++;
        lift.failures += status != 200 && status != 204;
        if (status < 0 || !show(lift.sockets[i], batch[i], body, &waits[i])) {
            return false;
        }
    }
    for (int i = 0; i < count; i++) {
        int status = waits[i] ? receive(lift.sockets[i], buffer, &body) : 200;
        lift.failures += status != 200 && status != 204;
        if (status < 0) {
            return false;
        }
    }
    return true;
}

static bool in_batch(const struct visit *const *batch, int count, uint32_t person)
{
    for (int i = 0; i < count; i++) {
        if (batch[i]->person == person) {
            return true;
        }
    }
    return false;
}

/* Leases, ledgers and quotas renew by the real clock: the week must not be over before they do. */
static void wait_for(double at, int64_t begun_us)
{
    int64_t left_us = begun_us + (int64_t)(at * lift.options.seconds * 1e6) - clock_mono_us();
    if (left_us > 0) {
        usleep((useconds_t)left_us);
    }
}

static bool run_visits(int64_t begun_us)
{
    const struct visit *batch[MAX_BATCH];
    int count = 0;
    bool good = true;
    for (size_t v = 0; v < lift.visit_count && good; v++) {
        const struct visit *visit = &lift.visits[v];
        if (visit->kind == VISIT_VIDEO && visit->thinned && !lift.options.push_all) {
            continue;
        }
        if (count == lift.options.batch || in_batch(batch, count, visit->person)) {
            wait_for(visit->at, begun_us);
            good = run_batch(batch, count, v);
            count = 0;
        }
        batch[count++] = visit;
    }
    return good && run_batch(batch, count, lift.visit_count);
}

/* --- results -------------------------------------------------------------------------------- */

static void print_result(int64_t took_us)
{
    uint64_t reach[BRANDS] = {0}, target_reach[BRANDS] = {0}, group = 0, group_target = 0;
    uint64_t pairs[MAX_COUNT + 1] = {0}, persons[MAX_COUNT + 1] = {0};
    for (uint32_t i = 0; i < lift.options.persons; i++) {
        const struct visitor *person = &lift.persons[i];
        uint32_t sum = 0;
        for (int b = 0; b < BRANDS; b++) {
            reach[b] += person->seen[b] > 0;
            target_reach[b] += person->seen[b] > 0 && person->target == b;
            if (b < 3) {
                pairs[person->seen[b] < MAX_COUNT ? person->seen[b] : MAX_COUNT]++;
                sum += person->seen[b];
            }
        }
        persons[sum < MAX_COUNT ? sum : MAX_COUNT]++;
        group += sum > 0;
        group_target += sum > 0 && person->target < 3;
    }
    printf("{\"visits\":%zu,\"requests\":%" PRIu64 ",\"bids\":%" PRIu64 ",\"failures\":%" PRIu64
           ",\"seconds\":%.1f,\"paid_video\":[%" PRIu64 ",%" PRIu64 "],\"paid_display\":%" PRIu64
           ",\"group\":%" PRIu64 ",\"group_target\":%" PRIu64 ",\"dmp_asked\":%" PRIu64
           ",\"cross\":%" PRIu64,
           lift.visit_count, lift.requests, lift.bids, lift.failures, (double)took_us / 1e6,
           lift.paid_video[0], lift.paid_video[1], lift.paid_display, group, group_target,
           lift.dmp_asked, lift.cross);
    const struct {
        const char *name;
        const uint64_t *items;
        int count;
    } lists[] = {{"impressions", lift.impressions, BRANDS},
                 {"in_target", lift.in_target, BRANDS},
                 {"reach", reach, BRANDS},
                 {"target_reach", target_reach, BRANDS},
                 {"pairs", pairs, MAX_COUNT + 1},
                 {"persons", persons, MAX_COUNT + 1}};
    for (size_t l = 0; l < COUNT_OF(lists); l++) {
        printf(",\"%s\":[", lists[l].name);
        for (int i = 0; i < lists[l].count; i++) {
            printf("%s%" PRIu64, i ? "," : "", lists[l].items[i]);
        }
        printf("]");
    }
    printf("}\n");
}

static void print_segments(void)
{
    char name[32];
    for (uint32_t i = 0; i < lift.options.persons; i++) {
        person_name(i, name);
        if (lift.persons[i].target < BRANDS) {
            printf("ifa,%s,seg-%c\n", name, "abcx"[lift.persons[i].target]);
        }
    }
}

static bool parse_list(const char *text, double *items, int count)
{
    char *end = NULL;
    for (int i = 0; i < count; i++) {
        items[i] = strtod(text, &end);
        if (end == text || (*end != ',' && i + 1 < count)) {
            return false;
        }
        text = end + 1;
    }
    return end && *end == '\0';
}

static bool parse_option(const char *name, const char *value)
{
    struct options *o = &lift.options;
    const struct {
        const char *name;
        int64_t *whole;
        double *real;
    } table[] = {
        {"--persons", &o->persons, NULL},   {"--seed", &o->seed, NULL},
        {"--batch", &o->batch, NULL},       {"--port", &o->port, NULL},
        {"--dmp-port", &o->dmp_port, NULL}, {"--overlap", NULL, &o->overlap},
        {"--video", NULL, &o->video},       {"--other", NULL, &o->other},
        {"--display", NULL, &o->display},   {"--rho", NULL, &o->rho},
        {"--sigma", NULL, &o->sigma},       {"--seconds", NULL, &o->seconds},
    };
    for (size_t i = 0; i < COUNT_OF(table); i++) {
        if (strcmp(name, table[i].name) == 0) {
            char *end;
            if (table[i].whole) {
                *table[i].whole = strtoll(value, &end, 10);
            } else {
                *table[i].real = strtod(value, &end);
            }
            return end != value && !*end;
        }
    }
    if (strcmp(name, "--secret") == 0) {
        o->secret = value;
        return true;
    }
    if (strcmp(name, "--push-all") == 0) {
        o->push_all = value[0] == '1';
        return true;
    }
    return strcmp(name, "--shares") == 0    ? parse_list(value, o->shares, 3)
           : strcmp(name, "--targets") == 0 ? parse_list(value, o->targets, BRANDS)
                                            : false;
}

int main(int argc, char **argv)
{
    bool good = argc >= 2 && argc % 2 == 0;
    for (int i = 2; good && i + 1 < argc; i += 2) {
        good = parse_option(argv[i], argv[i + 1]);
    }
    const struct options *o = &lift.options;
    good = good && o->persons > 0 && o->persons < 100000000 && o->batch > 0 &&
           o->batch <= MAX_BATCH && o->rho >= 1;
    if (!good) {
        fputs("usage: drive_lift segments|run [--persons N] [--seed N] [--overlap P] ...\n",
              stderr);
        return 2;
    }
    make_population();
    if (strcmp(argv[1], "segments") == 0) {
        print_segments();
        return 0;
    }
    if ((o->dmp_port && !start_dmp()) || !connect_all()) {
        return 1;
    }
    int64_t begun_us = clock_mono_us();
    good = run_visits(begun_us);
    print_result(clock_mono_us() - begun_us);
    return good ? 0 : 1;
}
