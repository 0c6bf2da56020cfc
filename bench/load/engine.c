/* One thread, one epoll. The schedule is a number: when the next request is due. What is due and
 * finds no free connection simply stays due; it is sent as soon as a connection is free and its
 * latency counts from when it was due. So the backlog needs no memory and nothing is left out.
 *
 *   |-- warm-up --|------- measured -------|- grace -|- outstanding answers, late notices -|
 *   start         measure_start            measure_end  stop
 */
#include "bench/load/engine.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "bench/load/conn.h"
#include "bench/load/zipf.h"
#include "bidder/base/bug.h"
#include "bidder/base/clock.h"

#define SECOND_NS       1000000000
#define TICK_NS         5000000
#define CONNECT_NS      ((int64_t)3 * SECOND_NS)
#define RESPONSE_MAX    (256 * 1024)
#define EVENTS_PER_WAKE 128
#define SENDS_PER_WAKE  256 /* then look at answers again, however large the backlog */

static const char *const outcome_names[OUTCOMES] = {
    "bid", "no_bid", "other_status", "timeout", "closed", "malformed", "unsent"};

struct engine {
    const struct options *options;
    struct templates *templates;
    struct engine_result *result;
    struct conn_pool bidder;
    struct conn_pool notices;
    struct notice_queue queue;
    bool has_notices;
    int epoll_fd;
    struct prng prng;
    struct zipf zipf;
    uint64_t request; /* number of the next one; starts at the seed */
    double next_ns;   /* when it is due */
    double gap_ns;
    int64_t measure_start_ns;
    int64_t measure_end_ns;
    int64_t stop_ns; /* nothing is sent after it */
    int64_t tick_ns;
    int64_t second_ns; /* when the current second of the progress ends */
    struct hist second;
    uint64_t second_bids;
    uint64_t second_failures;
    int64_t shown;
};

static volatile sig_atomic_t interrupted;

static void on_signal(int number)
{
    (void)number;
    interrupted = 1;
}

const char *outcome_name(enum outcome outcome)
{
    return outcome_names[outcome];
}

static bool is_measured(const struct engine *engine, int64_t planned_ns)
{
    return planned_ns >= engine->measure_start_ns && planned_ns < engine->measure_end_ns;
}

static void count(struct engine *engine, const struct conn *conn, enum outcome outcome,
                  unsigned status, int64_t now_ns)
{
    uint64_t latency = (uint64_t)(now_ns - conn->planned_ns);
    hist_add(&engine->second, latency);
    engine->second_bids += outcome == OUTCOME_BID;
    engine->second_failures += outcome > OUTCOME_NO_BID;
    if (is_measured(engine, conn->planned_ns)) {
        struct engine_result *result = engine->result;
        hist_add(&result->planned, latency);
        hist_add(&result->service, (uint64_t)(now_ns - conn->sent_ns));
        hist_add(&result->late, (uint64_t)(conn->sent_ns - conn->planned_ns));
        result->outcomes[outcome]++;
        result->statuses[status]++;
    }
}

/* A protobuf BidResponse with a seatbid (field 2) behind its id (field 1), or JSON with an impid.
 */
static bool has_bid(struct str body)
{
    if (body.len && body.ptr[0] == 0x0a) {
        size_t at = 2 + (size_t)(unsigned char)(body.len > 1 ? body.ptr[1] : 0);
        return at < body.len && body.ptr[at] == 0x12;
    }
    return body.len && memmem(body.ptr, body.len, "\"impid\"", 7);
}

static void on_answer(void *context, struct conn *conn, const struct response *response)
{
    struct engine *engine = context;
    int64_t now_ns = clock_mono_ns();
    bool is_bid = response->status == 200 && has_bid(response->body);
    enum outcome outcome = is_bid                                               ? OUTCOME_BID
                           : response->status == 200 || response->status == 204 ? OUTCOME_NO_BID
                                                                                : OUTCOME_STATUS;
    count(engine, conn, outcome, response->status < 600 ? response->status : 599, now_ns);
    engine->result->answer_bytes += response->consumed;
    if (UNLIKELY(engine->shown < engine->options->show)) {
        engine->shown++;
        printf("%.*s\n", (int)response->consumed, conn->in);
    }
    if (is_bid && engine->has_notices) {
        notice_queue_take(&engine->queue, response->body, now_ns);
    }
}

static void on_no_answer(void *context, struct conn *conn, enum conn_failure failure)
{
    static const enum outcome outcomes[CONN_FAILURES] = {
        [CONN_FAILED_TIMEOUT] = OUTCOME_TIMEOUT,
        [CONN_FAILED_CLOSED] = OUTCOME_CLOSED,
        [CONN_FAILED_RESPONSE] = OUTCOME_MALFORMED,
    };
    count(context, conn, outcomes[failure], 0, clock_mono_ns());
}

static void on_notice_answer(void *context, struct conn *conn, const struct response *response)
{
    struct engine *engine = context;
    hist_add(&engine->result->notice, (uint64_t)(clock_mono_ns() - conn->sent_ns));
    engine->result->notice_statuses[response->status < 600 ? response->status : 599]++;
}

static void on_notice_failure(void *context, struct conn *conn, enum conn_failure failure)
{
    struct engine *engine = context;
    (void)conn;
    (void)failure;
    engine->result->notice_failures++;
}

/* --- sending --- */

static void send_one(struct engine *engine, int64_t planned_ns, int64_t now_ns)
{
    struct templates *templates = engine->templates;
    uint64_t pick =
        templates->pick_count > 1 ? prng_below(&engine->prng, templates->pick_count) : 0;
    struct template *item = &templates->items[templates->picks[pick]];
    uint64_t person = item->slot_count ? zipf_next(&engine->zipf, &engine->prng) : 0;
    template_patch(item, engine->request++, person, (uint64_t)engine->options->person_salt);
    engine->result->due += is_measured(engine, planned_ns);
    conn_pool_send(&engine->bidder, item->bytes, item->len, planned_ns, now_ns);
}

static void plan_next(struct engine *engine)
{
    double gap = engine->gap_ns;
    if (engine->options->poisson) {
        gap *= -log(1 - prng_unit(&engine->prng));
    }
    engine->next_ns += gap;
}

static void send_due(struct engine *engine)
{
    int64_t now_ns = clock_mono_ns();
    bool is_closed_loop = engine->options->saturate;
    for (int i = 0; i < SENDS_PER_WAKE && conn_pool_has_idle(&engine->bidder); i++) {
        if (now_ns >= engine->stop_ns) {
            return;
        }
        if (is_closed_loop) {
            send_one(engine, now_ns, now_ns);
        } else {
            int64_t due_ns = (int64_t)engine->next_ns;
            if (due_ns > now_ns || due_ns >= engine->measure_end_ns) {
                return;
            }
            send_one(engine, due_ns, now_ns);
            plan_next(engine);
        }
        now_ns = clock_mono_ns();
    }
}

static void send_notices(struct engine *engine, int64_t now_ns)
{
    while (engine->has_notices && notice_queue_due_ns(&engine->queue) <= now_ns &&
           conn_pool_has_idle(&engine->notices)) {
        struct str request = notice_queue_first(&engine->queue);
        conn_pool_send(&engine->notices, request.ptr, request.len,
                       notice_queue_due_ns(&engine->queue), now_ns);
        notice_queue_pop(&engine->queue);
    }
}

/* --- waiting --- */

static void end_second(struct engine *engine)
{
    struct engine_result *result = engine->result;
    struct hist *hist = &engine->second;
    struct engine_second second = {
        .answers = (uint32_t)hist->count,
        .p50_us = (uint32_t)(hist_quantile(hist, 0.5) / 1000),
        .p99_us = (uint32_t)(hist_quantile(hist, 0.99) / 1000),
        .max_us = (uint32_t)(hist->max / 1000),
    };
    if (result->second_count < ENGINE_SECONDS_MAX) {
        result->seconds[result->second_count++] = second;
    }
    bool is_shown = engine->options->progress || isatty(STDERR_FILENO);
    if (is_shown) {
        fprintf(stderr,
                "%4u s  %7u/s  p50 %u us  p99 %u us  max %u us  bids %.0f%%  failed %" PRIu64
                "%s\n",
                result->second_count, second.answers, second.p50_us, second.p99_us, second.max_us,
                hist->count ? 100.0 * (double)engine->second_bids / (double)hist->count : 0,
                engine->second_failures,
                engine->second_ns <= engine->measure_start_ns ? "  (warm-up)" : "");
    }
    *hist = (struct hist){0};
    engine->second_bids = engine->second_failures = 0;
    engine->second_ns += SECOND_NS;
}

static void tick(struct engine *engine, int64_t now_ns)
{
    if (now_ns < engine->tick_ns) {
        return;
    }
    engine->tick_ns = now_ns + TICK_NS;
    conn_pool_tick(&engine->bidder, now_ns);
    if (engine->has_notices) {
        conn_pool_tick(&engine->notices, now_ns);
    }
    if (now_ns >= engine->second_ns && now_ns < engine->stop_ns + SECOND_NS) {
        end_second(engine);
    }
}

static void wait_until(struct engine *engine, int64_t until_ns)
{
    struct epoll_event events[EVENTS_PER_WAKE];
    int64_t now_ns = clock_mono_ns();
    int64_t wait_ns = until_ns > now_ns ? until_ns - now_ns : 0;
    struct timespec timeout = {.tv_sec = wait_ns / SECOND_NS, .tv_nsec = wait_ns % SECOND_NS};
    int got = epoll_pwait2(engine->epoll_fd, events, EVENTS_PER_WAKE, &timeout, NULL);
    for (int i = 0; i < got; i++) {
        conn_on_event(events[i].data.ptr, events[i].events);
    }
}

/* When something is to be done that no answer announces. */
static int64_t next_wake_ns(struct engine *engine)
{
    int64_t wake_ns = engine->tick_ns;
    if (!engine->options->saturate && conn_pool_has_idle(&engine->bidder) &&
        engine->next_ns < (double)engine->measure_end_ns) {
        int64_t due_ns = (int64_t)engine->next_ns;
        wake_ns = due_ns < wake_ns ? due_ns : wake_ns;
    }
    if (engine->has_notices && conn_pool_has_idle(&engine->notices)) {
        int64_t due_ns = notice_queue_due_ns(&engine->queue);
        wake_ns = due_ns < wake_ns ? due_ns : wake_ns;
    }
    return wake_ns;
}

static bool turn(struct engine *engine)
{
    int64_t now_ns = clock_mono_ns();
    tick(engine, now_ns);
    send_due(engine);
    send_notices(engine, now_ns);
    wait_until(engine, next_wake_ns(engine));
    return !interrupted;
}

/* --- setup and the phases --- */

static enum status connect_all(struct engine *engine)
{
    int64_t give_up_ns = clock_mono_ns() + CONNECT_NS;
    engine->next_ns = INFINITY;
    engine->stop_ns = 0; /* nothing is sent yet */
    engine->second_ns = INT64_MAX;
    while (engine->bidder.up < engine->bidder.count && clock_mono_ns() < give_up_ns) {
        if (!turn(engine) || (!engine->bidder.up && engine->bidder.connect_failures >
                                                        2 * (uint64_t)engine->bidder.count)) {
            break;
        }
    }
    return engine->bidder.up ? STATUS_OK : STATUS_IO;
}

static void schedule(struct engine *engine)
{
    const struct options *options = engine->options;
    int64_t start_ns = clock_mono_ns();
    int64_t duration_ns = (int64_t)(options->duration_s * SECOND_NS);
    /* What was due at the very end may still leave; a server that keeps up needs no more. */
    int64_t grace_ns = duration_ns / 100 < SECOND_NS ? duration_ns / 100 : SECOND_NS;
    if (options->grace_ms >= 0) {
        grace_ns = (int64_t)(options->grace_ms * 1e6);
    }
    engine->measure_start_ns = start_ns + (int64_t)(options->warmup_s * SECOND_NS);
    engine->measure_end_ns = engine->measure_start_ns + duration_ns;
    engine->stop_ns = engine->measure_end_ns + (options->saturate ? 0 : grace_ns);
    engine->second_ns = start_ns + SECOND_NS;
    engine->gap_ns = SECOND_NS / options->rate;
    engine->next_ns = (double)start_ns;
}

/* Requests that were due and never left: their wait so far is a lower bound of their latency. */
static void count_unsent(struct engine *engine)
{
    int64_t now_ns = clock_mono_ns();
    int64_t end_ns =
        interrupted && now_ns < engine->measure_end_ns ? now_ns : engine->measure_end_ns;
    while (!engine->options->saturate && engine->next_ns < (double)end_ns) {
        int64_t due_ns = (int64_t)engine->next_ns;
        if (is_measured(engine, due_ns)) {
            engine->result->due++;
            engine->result->outcomes[OUTCOME_UNSENT]++;
            hist_add(&engine->result->planned, (uint64_t)(now_ns - due_ns));
        }
        plan_next(engine);
    }
    engine->result->measured_s = (double)(end_ns - engine->measure_start_ns) / SECOND_NS;
    engine->next_ns = INFINITY;
    engine->stop_ns = now_ns;
}

static void drain(struct engine *engine)
{
    int64_t timeout_ns = engine->options->timeout_ms * 1000000 + 2 * TICK_NS;
    int64_t until_ns = clock_mono_ns() + timeout_ns;
    while (conn_pool_outstanding(&engine->bidder) && clock_mono_ns() < until_ns) {
        if (!turn(engine)) {
            break;
        }
    }
    until_ns = clock_mono_ns() + timeout_ns + engine->queue.delay_ns;
    while (engine->has_notices && clock_mono_ns() < until_ns &&
           (engine->queue.used || conn_pool_outstanding(&engine->notices))) {
        if (!turn(engine)) {
            break;
        }
    }
    while (engine->has_notices && engine->queue.used) {
        engine->result->notices_unsent++;
        notice_queue_pop(&engine->queue);
    }
}

static enum status setup_pools(struct engine *engine, const struct engine_target *bidder,
                               const struct engine_target *notices)
{
    const struct options *options = engine->options;
    engine->bidder = (struct conn_pool){.epoll_fd = engine->epoll_fd,
                                        .address = bidder->address,
                                        .address_len = bidder->len,
                                        .count = (unsigned)options->connections,
                                        .in_cap = RESPONSE_MAX,
                                        .out_cap = engine->templates->longest,
                                        .timeout_ns = options->timeout_ms * 1000000,
                                        .context = engine,
                                        .on_response = on_answer,
                                        .on_failure = on_no_answer};
    enum status status = conn_pool_init(&engine->bidder);
    if (status != STATUS_OK || !engine->has_notices) {
        return status;
    }
    engine->notices = (struct conn_pool){.epoll_fd = engine->epoll_fd,
                                         .address = notices->address,
                                         .address_len = notices->len,
                                         .count = (unsigned)options->notice_connections,
                                         .in_cap = 65536,
                                         .out_cap = 65536,
                                         .timeout_ns = options->timeout_ms * 1000000,
                                         .context = engine,
                                         .on_response = on_notice_answer,
                                         .on_failure = on_notice_failure};
    engine->queue = (struct notice_queue){
        .win_rate = options->win_rate,
        .duplicate = options->duplicate,
        .clearing_millionths = (int64_t)(options->clearing * 1e6 + 0.5),
        .loss = options->loss,
        .delay_ns = (int64_t)(options->notice_delay_ms * 1e6),
        .cap = (size_t)options->notice_buffer_mb << 20,
        .prng = {.state = prng_next(&engine->prng)},
    };
    status = conn_pool_init(&engine->notices);
    return status == STATUS_OK ? notice_queue_init(&engine->queue) : status;
}

static double cpu_seconds(void)
{
    struct rusage usage;
    (void)getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1e-6;
}

static void run_phases(struct engine *engine)
{
    schedule(engine);
    double cpu_before = cpu_seconds();
    int64_t start_ns = clock_mono_ns();
    while (clock_mono_ns() < engine->stop_ns && turn(engine)) {
        bool is_done =
            !engine->options->saturate && engine->next_ns >= (double)engine->measure_end_ns;
        if (is_done && clock_mono_ns() >= engine->measure_end_ns) {
            break;
        }
    }
    engine->result->cpu_share =
        (cpu_seconds() - cpu_before) * SECOND_NS / (double)(clock_mono_ns() - start_ns);
    count_unsent(engine);
    drain(engine);
}

enum status engine_run(struct engine_result *result, const struct options *options,
                       struct templates *templates, const struct engine_target *bidder,
                       const struct engine_target *notices, uint64_t seed)
{
    struct engine engine = {
        .options = options,
        .templates = templates,
        .result = result,
        .has_notices = options->win_rate > 0 || options->loss,
        .epoll_fd = epoll_create1(EPOLL_CLOEXEC),
        .prng = {.state = seed},
        .request = prng_mix(seed),
    };
    *result =
        (struct engine_result){.seconds = calloc(ENGINE_SECONDS_MAX, sizeof(struct engine_second))};
    zipf_init(&engine.zipf, (uint64_t)options->persons, options->zipf);
    /* The default slack of 50 us would be added to every planned send time. */
    (void)prctl(PR_SET_TIMERSLACK, 1);
    struct sigaction action = {.sa_handler = on_signal};
    (void)sigaction(SIGINT, &action, NULL);
    (void)sigaction(SIGTERM, &action, NULL);
    enum status status = STATUS_NO_MEMORY;
    if (engine.epoll_fd < 0 || !result->seconds) {
        goto out;
    }
    status = setup_pools(&engine, bidder, notices);
    if (status == STATUS_OK) {
        status = connect_all(&engine);
    }
    if (status == STATUS_OK) {
        run_phases(&engine);
        result->connects = engine.bidder.connects;
        result->connect_failures = engine.bidder.connect_failures;
        result->notices = engine.queue.counts;
    }
out:
    conn_pool_deinit(&engine.bidder);
    conn_pool_deinit(&engine.notices);
    notice_queue_deinit(&engine.queue);
    if (engine.epoll_fd >= 0) {
        close(engine.epoll_fd);
    }
    return status;
}

void engine_result_deinit(struct engine_result *result)
{
    free(result->seconds);
    result->seconds = NULL;
}
