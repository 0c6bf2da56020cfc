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
#include <arpa/inet.h>
#include <inttypes.h>
#include <math.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "bidder/base/bug.h"
#include "bidder/base/clock.h"
#include "bidder/base/crypto.h"
#include "bidder/base/prng.h"
#include "frequency/person.h"

#define MEDIA        6
#define BRANDS       4 /* a b c of the group, x of another advertiser */
#define MAX_BATCH    64
#define RESPONSE_CAP 65536
#define MAX_COUNT    20

struct options {
    int64_t persons, seed, batch, port, dmp_port;
    double overlap, video, other, display, rho, sigma;
    double seconds; /* the week takes at least so long */
    int push_all;   /* 0: only 1 in rho visits is pushed, as where nothing can be returned */
    double shares[3], targets[BRANDS];
    const char *secret;
};

struct visitor {
    uint8_t media;  /* bits */
    uint8_t target; /* whose target audience: 0..3, 4 = nobody's */
    double activity;
    uint8_t seen[BRANDS];
};

enum visit_kind { VISIT_VIDEO, VISIT_OTHER, VISIT_DISPLAY };

struct visit {
    double at; /* of the week */
    uint32_t person;
    uint8_t kind, medium, owner;
    bool thinned; /* not pushed where nothing can be returned */
};

static struct {
    struct options options;
    struct visitor *persons;
    struct visit *visits;
    size_t visit_count, visit_cap;
    int sockets[MAX_BATCH];
    uint64_t requests, bids, impressions[BRANDS], no_bids, failures, cross;
    uint64_t paid_video[2], paid_display, in_target[BRANDS]; /* paid_video: by group, by x */
    uint64_t dmp_asked;
} lift = {.options = {.persons = 6000,
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

/* Relative sizes of the six media. */
static const double media_sizes[MEDIA] = {0.28, 0.24, 0.18, 0.14, 0.10, 0.06};

/* --- the population ------------------------------------------------------------------------- */

static double normal(struct prng *prng)
{
    return sqrt(-2 * log(1 - prng_unit(prng))) * cos(2 * M_PI * prng_unit(prng));
}

static uint32_t poisson(struct prng *prng, double mean)
{
    double limit = exp(-mean), product = prng_unit(prng);
    uint32_t n = 0;
    for (; product > limit && n < 1000; n++) {
        product *= prng_unit(prng);
    }
    return n;
}

static int pick(struct prng *prng, const double *weights, int count)
{
    double sum = 0;
    for (int i = 0; i < count; i++) {
        sum += weights[i];
    }
    double at = prng_unit(prng) * sum;
    for (int i = 0; i < count - 1; i++) {
        at -= weights[i];
        if (at < 0) {
            return i;
        }
    }
    return count - 1;
}

static int pick_medium(struct prng *prng, uint8_t media)
{
    double weights[MEDIA];
    for (int i = 0; i < MEDIA; i++) {
        weights[i] = media >> i & 1 ? media_sizes[i] : 0;
    }
    int medium = pick(prng, weights, MEDIA);
    while (!(media >> medium & 1)) { /* the last one may be picked by rounding */
        medium--;
    }
    return medium;
}

/* One medium by size, and each further one with the probability overlap. */
static void make_person(struct prng *prng, struct visitor *person)
{
    const struct options *options = &lift.options;
    person->media = (uint8_t)(1u << pick(prng, media_sizes, MEDIA));
    for (int i = 0; i < MEDIA; i++) {
        if (prng_unit(prng) < options->overlap) {
            person->media = (uint8_t)(person->media | 1u << i);
        }
    }
    double at = prng_unit(prng);
    person->target = BRANDS;
    for (int b = 0; b < BRANDS; b++) {
        at -= options->targets[b];
        if (at < 0) {
            person->target = (uint8_t)b;
            break;
        }
    }
    double sigma = options->sigma;
    person->activity = exp(sigma * normal(prng) - sigma * sigma / 2);
}

static void add_visits(struct prng *prng, uint32_t person, enum visit_kind kind, double mean)
{
    uint32_t count = poisson(prng, mean * lift.persons[person].activity);
    for (uint32_t i = 0; i < count; i++) {
        if (lift.visit_count == lift.visit_cap) {
            lift.visit_cap = lift.visit_cap ? 2 * lift.visit_cap : 65536;
            lift.visits = realloc(lift.visits, lift.visit_cap * sizeof(lift.visits[0]));
            BUG_ON(!lift.visits);
        }
        lift.visits[lift.visit_count++] = (struct visit){
            .at = prng_unit(prng),
            .person = person,
            .kind = (uint8_t)kind,
            .medium = (uint8_t)pick_medium(prng, lift.persons[person].media),
            .owner = kind == VISIT_OTHER ? 3 : (uint8_t)pick(prng, lift.options.shares, 3),
            .thinned = prng_unit(prng) > 1 / lift.options.rho,
        };
    }
}

static int by_time(const void *a, const void *b)
{
    double x = ((const struct visit *)a)->at, y = ((const struct visit *)b)->at;
    return x < y ? -1 : x > y;
}

static void make_population(void)
{
    const struct options *options = &lift.options;
    struct prng prng = {.state = (uint64_t)options->seed};
    lift.persons = calloc((size_t)options->persons, sizeof(lift.persons[0]));
    BUG_ON(!lift.persons);
    for (uint32_t i = 0; i < options->persons; i++) {
        make_person(&prng, &lift.persons[i]);
        add_visits(&prng, i, VISIT_VIDEO, options->video);
        add_visits(&prng, i, VISIT_OTHER, options->other);
        add_visits(&prng, i, VISIT_DISPLAY, options->display);
    }
    qsort(lift.visits, lift.visit_count, sizeof(lift.visits[0]), by_time);
}

static int person_name(uint32_t person, char text[32])
{
    return snprintf(text, 32, "lift-%08x", person);
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

/* --- the DMP -------------------------------------------------------------------------------- */

struct member {
    struct person_key key;
    uint8_t target;
};
static struct member *members; /* ascending by key */

static int by_key(const void *a, const void *b)
{
    return memcmp(a, b, PERSON_KEY_BYTES);
}

static void make_members(void)
{
    struct crypto_key secret;
    crypto_key_init(&secret, lift.options.secret, strlen(lift.options.secret));
    members = calloc((size_t)lift.options.persons, sizeof(members[0]));
    BUG_ON(!members);
    for (uint32_t i = 0; i < lift.options.persons; i++) {
        char name[32];
        int len = person_name(i, name);
        BUG_ON(
            !person_key_of(&secret, STR("ifa"), (struct str){name, (size_t)len}, &members[i].key));
        members[i].target = lift.persons[i].target;
    }
    qsort(members, (size_t)lift.options.persons, sizeof(members[0]), by_key);
}

static int target_of(const char *body)
{
    const char *at = strstr(body, "\"person\":\"");
    struct person_key key;
    for (int i = 0; at && i < PERSON_KEY_BYTES; i++) {
        unsigned byte;
        if (sscanf(at + 10 + 2 * i, "%2x", &byte) != 1) {
            return BRANDS;
        }
        key.bytes[i] = (uint8_t)byte;
    }
    const struct member *found =
        at ? bsearch(&key, members, (size_t)lift.options.persons, sizeof(members[0]), by_key)
           : NULL;
    return found ? found->target : BRANDS;
}

/* One connection of the bidder. */
static void *serve_dmp(void *context)
{
    int fd = (int)(intptr_t)context;
    char in[8192], out[512];
    size_t len = 0;
    for (;;) {
        ssize_t got = recv(fd, in + len, sizeof(in) - 1 - len, 0);
        if (got <= 0) {
            break;
        }
        len += (size_t)got;
        in[len] = '\0';
        char *body = strstr(in, "\r\n\r\n");
        if (!body || !strstr(body, "]}")) { /* the end of a question */
            continue;
        }
        int target = target_of(body);
        char json[64];
        int json_len = target < BRANDS
                           ? snprintf(json, sizeof(json), "{\"in\":[\"ta-%c\"]}", "abcx"[target])
                           : snprintf(json, sizeof(json), "{\"in\":[]}");
        int out_len = snprintf(out, sizeof(out),
                               "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                               "Content-Length: %d\r\n\r\n%s",
                               json_len, json);
        __atomic_add_fetch(&lift.dmp_asked, 1, __ATOMIC_RELAXED);
        if (send(fd, out, (size_t)out_len, MSG_NOSIGNAL) != out_len) {
            break;
        }
        len = 0;
    }
    close(fd);
    return NULL;
}

static void *accept_dmp(void *context)
{
    int listener = (int)(intptr_t)context;
    for (;;) {
        int fd = accept(listener, NULL, NULL), one = 1;
        pthread_t thread;
        if (fd < 0) {
            return NULL;
        }
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
        if (pthread_create(&thread, NULL, serve_dmp, (void *)(intptr_t)fd) == 0) {
            pthread_detach(thread);
        }
    }
}

static struct sockaddr_in loopback(int64_t port)
{
    return (struct sockaddr_in){.sin_family = AF_INET,
                                .sin_port = htons((uint16_t)port),
                                .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)}};
}

static bool start_dmp(void)
{
    struct sockaddr_in address = loopback(lift.options.dmp_port);
    int listener = socket(AF_INET, SOCK_STREAM, 0), one = 1;
    pthread_t thread;
    make_members();
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    if (bind(listener, (struct sockaddr *)&address, sizeof(address)) != 0 ||
        listen(listener, 64) != 0 ||
        pthread_create(&thread, NULL, accept_dmp, (void *)(intptr_t)listener) != 0) {
        perror("drive_lift: the DMP cannot listen");
        return false;
    }
    pthread_detach(thread);
    return true;
}

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
