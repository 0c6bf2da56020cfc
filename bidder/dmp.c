/* Owns: per DMP up to DMP_CONNECTIONS libevent HTTP connections and its breaker; a pool of queries.
 *
 *   query: FREE -> ASKED -> answered in time ----------------------------> FREE
 *                     '---> deadline passed, the auction was told: LATE -> answered or failed: FREE
 */
#include "bidder/dmp.h"

#include <event2/buffer.h>
#include <event2/http.h>
#include <event2/http_struct.h>
#include <event2/keyvalq_struct.h>
#include <stdlib.h>

#include "bidder/base/bug.h"
#include "bidder/base/json.h"
#include "bidder/base/log.h"

#define DMP_CONNECTIONS  8
#define DMP_QUERIES      256
#define DMP_ANSWER_BYTES 16384
#define DMP_GIVE_UP_US   200000 /* a late answer is worth waiting for this long */
/* One that trickles in later is not kept: the person may have been forgotten meanwhile. */
#define DMP_LEARN_US         500000
#define DMP_BREAKER_FAILURES 5
#define DMP_BREAKER_MIN_US   1000000
#define DMP_BREAKER_MAX_US   30000000

METRIC_DEFINE(dmp, DMP_METRICS);

struct dmp {
    struct str id, url; /* heap copies, one block */
    char *texts;
    uint32_t ref;
    char *host; /* in texts */
    char *path;
    uint16_t port;
    struct evhttp_connection *connections[DMP_CONNECTIONS];
    bool busy[DMP_CONNECTIONS];
    uint32_t failures;
    int64_t breaker_us, open_until_us;
};

enum query_state { QUERY_FREE, QUERY_ASKED, QUERY_LATE };

struct dmp_query {
    struct dmp_desk *desk;
    struct dmp_query *next_free;
    struct dmp *dmp;
    int connection;
    enum query_state state;
    struct loop_timer deadline;
    int64_t asked_us;
    struct person_key key;
    uint32_t audience_refs[DMP_MAX_AUDIENCES];
    uint32_t count;
    dmp_fn *done;
    void *owner;
};

struct dmp_desk {
    struct loop *loop;
    dmp_learned_fn *learned;
    void *learned_owner;
    struct dmp **dmps; /* owned; by catalog index */
    uint32_t dmp_count;
    struct dmp_query queries[DMP_QUERIES];
    struct dmp_query *free;
    struct arena arena; /* of the answer being read */
};

const char *dmp_result_label(unsigned index)
{
    static const char *const names[DMP_RESULT_COUNT] = {"answered", "late", "unavailable",
                                                        "bad_answer"};
    BUG_ON(index >= DMP_RESULT_COUNT);
    return names[index];
}

/* --- queries -------------------------------------------------------------------------------- */

static void query_free(struct dmp_query *query)
{
    struct dmp_desk *desk = query->desk;
    loop_timer_stop(&query->deadline);
    query->dmp->busy[query->connection] = false;
    query->state = QUERY_FREE;
    query->next_free = desk->free;
    desk->free = query;
}

/* Tells the auction, once. */
static void query_tell(struct dmp_query *query, enum dmp_result result, uint32_t in)
{
    if (query->state != QUERY_ASKED) {
        return;
    }
    query->state = QUERY_LATE;
    metric_add(&dmp_metrics, DMP_RESULTS, result, 1);
    query->done(query->owner, result, in);
}

static void on_deadline(void *context)
{
    struct dmp_query *query = context;
    query_tell(query, DMP_LATE, 0);
}

static void note_failure(struct dmp *dmp)
{
    if (++dmp->failures < DMP_BREAKER_FAILURES) {
        return;
    }
    dmp->breaker_us = dmp->breaker_us ? dmp->breaker_us * 2 : DMP_BREAKER_MIN_US;
    if (dmp->breaker_us > DMP_BREAKER_MAX_US) {
        dmp->breaker_us = DMP_BREAKER_MAX_US;
    }
    dmp->open_until_us = clock_mono_us() + dmp->breaker_us;
    dmp->failures = 0;
    log_warn("dmp %.*s keeps failing: not asked for %lld ms", STR_ARG(dmp->id),
             (long long)(dmp->breaker_us / 1000));
}

/* {"in":["ta-young"]}: bits of the audiences asked for. False: not such a document. */
static bool parse_answer(struct dmp_desk *desk, const struct dmp_query *query, struct str body,
                         uint32_t *in)
{
    struct json_reader reader;
    struct str key, name;
    bool found = false;
    arena_reset(&desk->arena);
    json_reader_init(&reader, body, &desk->arena, 8);
    *in = 0;
    json_object_begin(&reader);
    while (json_object_next(&reader, &key)) {
        if (found || !str_eq(key, STR("in"))) {
            json_skip(&reader);
            continue;
        }
        found = true;
        json_array_begin(&reader);
        while (json_array_next(&reader)) {
            if (!json_read_string(&reader, &name)) {
                break;
            }
            uint32_t ref = cap_ref32(name);
            for (uint32_t i = 0; i < query->count; i++) {
                *in |= query->audience_refs[i] == ref ? 1u << i : 0;
            }
        }
    }
    return json_finish(&reader) && found;
}

static bool is_json(struct evhttp_request *request)
{
    const char *type =
        evhttp_find_header(evhttp_request_get_input_headers(request), "Content-Type");
    return type && strncmp(type, "application/json", 16) == 0 &&
           (type[16] == '\0' || type[16] == ';' || type[16] == ' ');
}

static void on_answer(struct evhttp_request *request, void *context)
{
    struct dmp_query *query = context;
    struct dmp_desk *desk = query->desk;
    loop_woke(desk->loop);
    int code = request ? evhttp_request_get_response_code(request) : 0;
    uint32_t in = 0;
    if (code == 0) { /* connection refused, lost, timed out, or the answer was too large */
        note_failure(query->dmp);
        query_tell(query, DMP_UNAVAILABLE, 0);
        query_free(query);
        return;
    }
    struct evbuffer *body = evhttp_request_get_input_buffer(request);
    size_t len = evbuffer_get_length(body);
    struct str text = {(const char *)evbuffer_pullup(body, -1), len};
    metric_observe(&dmp_metrics, DMP_TIMES, 0,
                   (uint64_t)(clock_mono_us() - query->asked_us) * 1000);
    if (code != 200 || !is_json(request) || !parse_answer(desk, query, text, &in)) {
        note_failure(query->dmp);
        query_tell(query, DMP_BAD_ANSWER, 0);
    } else {
        query->dmp->failures = 0;
        query->dmp->breaker_us = 0;
        if (clock_mono_us() - query->asked_us < DMP_LEARN_US) {
            desk->learned(desk->learned_owner, &query->key, query->dmp->ref, query->audience_refs,
                          query->count, in);
        }
        query_tell(query, DMP_ANSWERED, in);
    }
    query_free(query);
}

static struct evhttp_connection *idle_connection(struct dmp_desk *desk, struct dmp *dmp, int *index)
{
    for (int i = 0; i < DMP_CONNECTIONS; i++) {
        if (dmp->busy[i]) {
            continue;
        }
        if (!dmp->connections[i]) {
            struct evhttp_connection *made =
                evhttp_connection_base_new(desk->loop->base, NULL, dmp->host, dmp->port);
            if (!made) {
                return NULL;
            }
            struct timeval give_up = {.tv_usec = DMP_GIVE_UP_US};
            evhttp_connection_set_timeout_tv(made, &give_up);
            evhttp_connection_set_max_body_size(made, DMP_ANSWER_BYTES);
            evhttp_connection_set_max_headers_size(made, DMP_ANSWER_BYTES);
            evhttp_connection_set_retries(made, 0);
            dmp->connections[i] = made;
        }
        *index = i;
        return dmp->connections[i];
    }
    return NULL;
}

static void put_question(struct evbuffer *out, const struct catalog *catalog,
                         const struct person_key *key, const uint32_t *audiences, uint32_t count)
{
    struct buf text;
    buf_init(&text, 65536);
    BUF_PUT_LITERAL(&text, "{\"person\":\"");
    for (int i = 0; i < PERSON_KEY_BYTES; i++) {
        buf_printf(&text, "%02x", key->bytes[i]);
    }
    BUF_PUT_LITERAL(&text, "\",\"audiences\":[");
    for (uint32_t i = 0; i < count; i++) {
        BUF_PUT_LITERAL(&text, "\"");
        buf_put_json_escaped(&text, catalog->audiences[audiences[i]].id);
        buf_put_str(&text, i + 1 < count ? STR("\",") : STR("\""));
    }
    BUF_PUT_LITERAL(&text, "]}");
    evbuffer_add(out, text.data, text.len);
    buf_deinit(&text);
}

bool dmp_ask(struct dmp_desk *desk, const struct catalog *catalog, uint32_t index,
             const struct person_key *key, const uint32_t *audiences, uint32_t count,
             int64_t deadline_us, dmp_fn *done, void *owner)
{
    BUG_ON(count > DMP_MAX_AUDIENCES || index >= desk->dmp_count);
    struct dmp *dmp = desk->dmps[index];
    struct dmp_query *query = desk->free;
    int64_t now_us = clock_mono_us();
    int at = -1;
    struct evhttp_connection *connection =
        query && now_us >= dmp->open_until_us ? idle_connection(desk, dmp, &at) : NULL;
    struct evhttp_request *request = connection ? evhttp_request_new(on_answer, query) : NULL;
    if (!request || deadline_us <= now_us) {
        if (request) {
            evhttp_request_free(request);
        }
        metric_add(&dmp_metrics, DMP_RESULTS, DMP_UNAVAILABLE, 1);
        return false;
    }
    desk->free = query->next_free;
    query->dmp = dmp;
    query->connection = at;
    query->state = QUERY_LATE; /* until it is on its way: a failure now is told by returning */
    query->asked_us = now_us;
    query->key = *key;
    query->count = count;
    query->done = done;
    query->owner = owner;
    for (uint32_t i = 0; i < count; i++) {
        query->audience_refs[i] = cap_ref32(catalog->audiences[audiences[i]].id);
    }
    put_question(evhttp_request_get_output_buffer(request), catalog, key, audiences, count);
    struct evkeyvalq *headers = evhttp_request_get_output_headers(request);
    evhttp_add_header(headers, "Host", dmp->host);
    evhttp_add_header(headers, "Content-Type", "application/json");
    dmp->busy[at] = true;
    METRIC_INC(dmp_metrics, DMP_ASKED);
    if (evhttp_make_request(connection, request, EVHTTP_REQ_POST, dmp->path) != 0 &&
        query->state != QUERY_FREE) {
        query_free(query);
    }
    if (query->state == QUERY_FREE) { /* on_answer has run, or never will */
        metric_add(&dmp_metrics, DMP_RESULTS, DMP_UNAVAILABLE, 1);
        return false;
    }
    query->state = QUERY_ASKED;
    loop_timer_start(&query->deadline, deadline_us - now_us);
    return true;
}

/* --- setup ---------------------------------------------------------------------------------- */

static void dmp_free(struct dmp_desk *desk, struct dmp *dmp)
{
    if (!dmp) {
        return;
    }
    for (int i = 0; i < DMP_CONNECTIONS; i++) {
        if (dmp->connections[i]) {
            evhttp_connection_free(dmp->connections[i]); /* forgets what is pending, silently */
        }
    }
    for (int i = 0; i < DMP_QUERIES; i++) {
        struct dmp_query *query = &desk->queries[i];
        if (query->state != QUERY_FREE && query->dmp == dmp) {
            query_tell(query, DMP_UNAVAILABLE, 0);
            query_free(query);
        }
    }
    free(dmp->texts);
    free(dmp);
}

/* "http://host:port/path" into its parts. */
static bool dmp_parse_url(struct dmp *dmp)
{
    struct evhttp_uri *uri = evhttp_uri_parse(dmp->url.ptr);
    const char *scheme = uri ? evhttp_uri_get_scheme(uri) : NULL;
    const char *host = uri ? evhttp_uri_get_host(uri) : NULL;
    bool good = scheme && host && strcmp(scheme, "http") == 0 && host[0];
    if (good) {
        const char *path = evhttp_uri_get_path(uri);
        int port = evhttp_uri_get_port(uri);
        size_t host_len = strlen(host) + 1;
        memcpy(dmp->host, host, host_len);
        dmp->path = dmp->host + host_len;
        path = path && path[0] ? path : "/";
        memcpy(dmp->path, path, strlen(path) + 1);
        dmp->port = (uint16_t)(port > 0 ? port : 80);
    }
    if (uri) {
        evhttp_uri_free(uri);
    }
    return good;
}

static struct dmp *dmp_create(const struct catalog_dmp *config)
{
    struct dmp *dmp = calloc(1, sizeof(*dmp));
    size_t id_len = config->id.len, url_len = config->url.len;
    char *texts = calloc(1, id_len + 2 * url_len + 16);
    if (!dmp || !texts) {
        free(dmp);
        free(texts);
        return NULL;
    }
    memcpy(texts, config->id.ptr, id_len);
    memcpy(texts + id_len + 1, config->url.ptr, url_len);
    dmp->texts = texts;
    dmp->id = (struct str){texts, id_len};
    dmp->url = (struct str){texts + id_len + 1, url_len};
    dmp->host = texts + id_len + url_len + 2;
    dmp->ref = cap_ref32(config->id);
    if (!dmp_parse_url(dmp)) {
        log_warn("dmp %.*s: cannot use its url; it is not asked", STR_ARG(dmp->id));
        dmp->open_until_us = INT64_MAX;
    }
    return dmp;
}

bool dmp_desk_configure(struct dmp_desk *desk, const struct catalog *catalog)
{
    struct dmp **next = calloc(catalog->dmp_count + 1, sizeof(struct dmp *));
    if (!next) {
        return false;
    }
    for (uint32_t i = 0; i < catalog->dmp_count; i++) {
        for (uint32_t o = 0; o < desk->dmp_count && !next[i]; o++) {
            struct dmp *old = desk->dmps[o];
            if (old && str_eq(old->id, catalog->dmps[i].id) &&
                str_eq(old->url, catalog->dmps[i].url)) {
                next[i] = old;
                desk->dmps[o] = NULL;
            }
        }
        if (!next[i] && !(next[i] = dmp_create(&catalog->dmps[i]))) {
            for (uint32_t n = 0; n < i; n++) {
                dmp_free(desk, next[n]);
            }
            free(next);
            return false;
        }
    }
    for (uint32_t o = 0; o < desk->dmp_count; o++) {
        dmp_free(desk, desk->dmps[o]);
    }
    free(desk->dmps);
    desk->dmps = next;
    desk->dmp_count = catalog->dmp_count;
    return true;
}

struct dmp_desk *dmp_desk_create(struct loop *loop, dmp_learned_fn *learned, void *owner)
{
    struct dmp_desk *desk = calloc(1, sizeof(*desk));
    if (!desk || !arena_init(&desk->arena, 4096, 65536)) {
        free(desk);
        return NULL;
    }
    desk->loop = loop;
    desk->learned = learned;
    desk->learned_owner = owner;
    for (int i = 0; i < DMP_QUERIES; i++) {
        struct dmp_query *query = &desk->queries[i];
        query->desk = desk;
        loop_timer_init(&query->deadline, loop, on_deadline, query);
        query->next_free = desk->free;
        desk->free = query;
    }
    return desk;
}

void dmp_desk_destroy(struct dmp_desk **desk)
{
    if (!*desk) {
        return;
    }
    for (uint32_t i = 0; i < (*desk)->dmp_count; i++) {
        dmp_free(*desk, (*desk)->dmps[i]);
    }
    free((*desk)->dmps);
    arena_deinit(&(*desk)->arena);
    free(*desk);
    *desk = NULL;
}
