#include "bidder/worker.h"

#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bidder/admin.h"
#include "bidder/base/bug.h"
#include "bidder/base/log.h"
#include "bidder/bidding.h"
#include "bidder/catalog.h"
#include "bidder/route.h"

METRIC_DEFINE(worker, WORKER_METRICS);

#define TICK_US   SECOND_US
#define HEALTH_US 50000 /* how old what /readyz says of Redis may be */

/* --- catalog -------------------------------------------------------------------------------- */

static const struct catalog *current_catalog(void *context)
{
    struct worker *worker = context;
    return bidding_catalog(worker->bidding);
}

static void on_prepared(void *context, uint64_t generation, bool good, struct str problems)
{
    struct worker *worker = context;
    struct buf payload;
    buf_init(&payload, problems.len + 1);
    buf_put_char(&payload, good ? '0' : '1');
    buf_put_str(&payload, problems);
    metric_observe(&worker_metrics, WORKER_LOADED, 0, (uint64_t)worker->reload.took_ns);
    control_send(&worker->control, CONTROL_PREPARED, generation, buf_str(&payload));
    buf_deinit(&payload);
}

/* Connections are accepted from the first catalog on: until then they wait in the queue. */
static void start_listening(struct worker *worker)
{
    if (worker->listener >= 0 && !worker->draining) {
        BUG_ON(server_listen(worker->server, worker->listener));
        worker->listener = -1;
        metric_set(&worker_metrics, WORKER_UP, 0, 1);
    }
}

static void activate(struct worker *worker, uint64_t generation)
{
    if (generation) {
        struct catalog *catalog = reload_take(&worker->reload, generation);
        if (!catalog) { /* replaced by a later one that is being prepared: that one will come */
            log_warn("catalog generation %llu is not there", (unsigned long long)generation);
            return;
        }
        bidding_set_catalog(worker->bidding, catalog);
        worker->generation = generation;
        metric_set(&worker_metrics, WORKER_GENERATION, 0, generation);
    }
    start_listening(worker);
    control_send(&worker->control, CONTROL_ACTIVATED, generation, STR_NONE);
}

/* --- the end -------------------------------------------------------------------------------- */

static void on_drained(void *context)
{
    struct worker *worker = context;
    loop_stop(&worker->loop);
}

static void on_drain_limit(void *context)
{
    struct worker *worker = context;
    log_warn("drain_timeout: %u connections are closed", server_open_connections(worker->server));
    loop_stop(&worker->loop);
}

static void drain(struct worker *worker)
{
    if (worker->draining) {
        return;
    }
    start_listening(worker); /* so that what waits in the queue is answered */
    worker->draining = true;
    metric_set(&worker_metrics, WORKER_UP, 0, 0);
    loop_timer_start(&worker->drain_limit, worker->config->drain_timeout_us);
    int64_t grace_us = worker->config->drain_grace_us;
    if (grace_us > worker->config->drain_timeout_us / 2) {
        grace_us = worker->config->drain_timeout_us / 2;
    }
    server_drain(worker->server, grace_us, on_drained, worker);
}

/* --- supervisor and signals ----------------------------------------------------------------- */

static void on_message(void *context, enum control_type type, uint64_t id, struct str payload)
{
    struct worker *worker = context;
    switch (type) {
    case CONTROL_PREPARE:
        reload_prepare(&worker->reload, id, payload);
        return;
    case CONTROL_ACTIVATE:
        activate(worker, id);
        return;
    case CONTROL_DRAIN:
        drain(worker);
        return;
    case CONTROL_CALL:
        admin_serve_call(&worker->control, worker, id, payload);
        return;
    case CONTROL_READY:
    case CONTROL_PREPARED:
    case CONTROL_ACTIVATED:
    case CONTROL_REPLY:
        break; /* these go the other way */
    }
    BUG_ON(true);
}

static void on_closed(void *context)
{
    log_warn("the supervisor has gone");
    drain(context);
}

static void on_signal(void *context, int number)
{
    if (number != SIGHUP) { /* the supervisor's; a terminal sends it to all */
        drain(context);
    }
}

/* --- the second ----------------------------------------------------------------------------- */

static uint64_t resident_bytes(void)
{
    char text[128];
    FILE *file = fopen("/proc/self/statm", "re");
    size_t len = file ? fread(text, 1, sizeof(text), file) : 0;
    if (file) {
        fclose(file);
    }
    struct str rest = {text, len};
    int64_t pages = 0;
    str_cut(&rest, ' ');
    return str_to_i64(str_cut(&rest, ' '), &pages) ? (uint64_t)pages * (uint64_t)getpagesize() : 0;
}

static void on_tick(void *context)
{
    struct worker *worker = context;
    loop_timer_start(&worker->tick, TICK_US);
    bidding_tick(worker->bidding);
    metric_set(&worker_metrics, WORKER_RESIDENT, 0, resident_bytes());
}

static void on_health(void *context)
{
    struct worker *worker = context;
    loop_timer_start(&worker->health, HEALTH_US);
    metric_set(&worker_metrics, WORKER_REDIS_UP, 0, bidding_redis_is_up(worker->bidding));
}

/* --- life ----------------------------------------------------------------------------------- */

static void pin_to_processor(unsigned index)
{
    cpu_set_t allowed, one;
    CPU_ZERO(&one);
    if (sched_getaffinity(0, sizeof(allowed), &allowed)) {
        return;
    }
    unsigned nth = index % (unsigned)CPU_COUNT(&allowed);
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (CPU_ISSET(cpu, &allowed) && nth-- == 0) {
            CPU_SET(cpu, &one);
            sched_setaffinity(0, sizeof(one), &one);
            return;
        }
    }
}

static enum status create_server(struct worker *worker)
{
    const struct config *config = worker->config;
    struct server_options options = server_options_default();
    options.limits.head_bytes = (uint32_t)config->max_head_bytes;
    options.limits.body_bytes = (uint64_t)config->max_body_bytes;
    options.max_connections = (uint32_t)config->max_connections;
    options.head_timeout_us = config->head_timeout_us;
    options.body_timeout_us = config->body_timeout_us;
    options.write_timeout_us = config->write_timeout_us;
    options.idle_timeout_us = config->idle_timeout_us;
    options.handler = route_request;
    options.context = worker;
    options.counted = true;
    return server_create(&worker->loop, &options, &worker->server);
}

static enum status setup(struct worker *worker)
{
    static const int numbers[] = {SIGTERM, SIGINT, SIGHUP};
    enum status status = loop_init(&worker->loop);
    if (status) {
        return status;
    }
    for (unsigned i = 0; i < COUNT_OF(numbers) && !status; i++) {
        status =
            loop_signal_start(&worker->signals[i], &worker->loop, numbers[i], on_signal, worker);
    }
    if (status) {
        return status;
    }
    loop_timer_init(&worker->tick, &worker->loop, on_tick, worker);
    loop_timer_init(&worker->health, &worker->loop, on_health, worker);
    loop_timer_init(&worker->drain_limit, &worker->loop, on_drain_limit, worker);
    worker->reload.current = current_catalog;
    worker->reload.adopt = bidding_adopt_catalog;
    worker->reload.prepared = on_prepared;
    worker->reload.context = worker;
    status = reload_init(&worker->reload, &worker->loop);
    if (status || (status = create_server(worker))) {
        return status;
    }
    worker->bidding = bidding_create(worker);
    return worker->bidding ? STATUS_OK : STATUS_INVALID;
}

static void teardown(struct worker *worker)
{
    control_close(&worker->control);
    bidding_destroy(&worker->bidding); /* first: its requests lie in the server's buffers */
    server_destroy(&worker->server);
    reload_deinit(&worker->reload);
    for (unsigned i = 0; i < COUNT_OF(worker->signals); i++) {
        loop_signal_stop(&worker->signals[i]);
    }
    loop_timer_stop(&worker->tick);
    loop_timer_stop(&worker->health);
    loop_timer_stop(&worker->drain_limit);
    loop_deinit(&worker->loop);
    if (worker->listener >= 0) {
        close(worker->listener);
    }
}

int worker_run(const struct config *config, unsigned index, int listener, int channel)
{
    static struct worker worker;
    worker = (struct worker){.config = config, .index = index, .listener = listener};
    metric_use_slot(index);
    if (config->pin) {
        pin_to_processor(index);
    }
    if (config->mlock && mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT)) {
        log_warn("mlock failed; see RLIMIT_MEMLOCK");
    }
    enum status status = setup(&worker);
    if (status) {
        log_error("worker %u cannot start: %s", index, status_name(status));
        return 1;
    }
    worker.control =
        (struct control){.message = on_message, .closed = on_closed, .context = &worker, .fd = -1};
    control_open(&worker.control, &worker.loop, channel);
    control_send(&worker.control, CONTROL_READY, 0, STR_NONE);
    on_tick(&worker);
    on_health(&worker);
    loop_run(&worker.loop);
    teardown(&worker);
    return 0;
}

/* --- what the admin port asks --------------------------------------------------------------- */

static void handle_catalog(void *context, struct admin_call *call)
{
    struct worker *worker = context;
    const struct catalog *catalog = bidding_catalog(worker->bidding);
    struct buf body;
    buf_init(&body, 4096);
    if (!catalog) {
        admin_reply(call, 404, "application/json", STR("{\"generation\":0}\n"));
        return;
    }
    buf_printf(&body,
               "{\"generation\":%llu,\"digest\":\"%016llx\",\"exchanges\":%u,\"advertisers\":%u,"
               "\"brands\":%u,\"audiences\":%u,\"frequency_caps\":%u,\"deals\":%u,\"campaigns\":%u,"
               "\"line_items\":%u,\"creatives\":%u,\"budgets\":%u,\"rotations\":%u,\"swaps\":%u,"
               "\"dmps\":%u}\n",
               (unsigned long long)worker->generation, (unsigned long long)catalog->digest,
               catalog->exchange_count, catalog->advertiser_count, catalog->brand_count,
               catalog->audience_count, catalog->cap_count, catalog->deal_count,
               catalog->campaign_count, catalog->line_count, catalog->creative_count,
               catalog->budget_count, catalog->rotation_count, catalog->swap_count,
               catalog->dmp_count);
    admin_reply(call, 200, "application/json", buf_str(&body));
    buf_deinit(&body);
}

void worker_register(void)
{
    static const struct admin_endpoint catalog = {
        "/catalog",     HTTP_GET,         ADMIN_OPEN, ADMIN_ANY_WORKER,
        handle_catalog, "what is loaded", false};
    admin_register(&catalog);
    metric_register(&server_metrics);
    metric_register(&worker_metrics);
    bidding_register();
}
