#include "bidder/supervisor.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bidder/admin.h"
#include "bidder/admin_pages.h"
#include "bidder/base/bug.h"
#include "bidder/base/log.h"
#include "bidder/server.h"
#include "bidder/worker.h"

METRIC_DEFINE(supervisor, SUPERVISOR_METRICS);

#define SHORT_LIFE_US      (5 * SECOND_US)
#define RESTART_FIRST_US   50000
#define RESTART_LONGEST_US (5 * SECOND_US)
#define KILL_AFTER_US      SECOND_US /* beyond the workers' own drain timeout */

static void start_worker(struct place *place);
static void end_if_all_gone(struct supervisor *supervisor);

/* --- workers -------------------------------------------------------------------------------- */

bool supervisor_send(struct supervisor *supervisor, unsigned worker, enum control_type type,
                     uint64_t id, struct str payload)
{
    struct place *place = &supervisor->places[worker];
    if (place->state != PLACE_UP ||
        (type == CONTROL_CALL && !control_has_room(&place->control, payload.len))) {
        return false;
    }
    control_send(&place->control, type, id, payload);
    return true;
}

unsigned supervisor_workers_up(const struct supervisor *supervisor)
{
    unsigned up = 0;
    for (unsigned i = 0; i < supervisor->workers; i++) {
        up += supervisor->places[i].state == PLACE_UP;
    }
    return up;
}

static void on_message(void *context, enum control_type type, uint64_t id, struct str payload)
{
    struct place *place = context;
    struct supervisor *supervisor = place->supervisor;
    switch (type) {
    case CONTROL_READY:
        place->state = PLACE_UP;
        if (supervisor->draining) {
            control_send(&place->control, CONTROL_DRAIN, 0, STR_NONE);
        } else if (supervisor->rollout.last_generation || supervisor->rollout.state) {
            rollout_on_worker_up(&supervisor->rollout, place->index);
        } else if (supervisor_workers_up(supervisor) == supervisor->workers) {
            rollout_boot(&supervisor->rollout);
        }
        return;
    case CONTROL_PREPARED:
        rollout_on_prepared(&supervisor->rollout, place->index, id, payload);
        return;
    case CONTROL_ACTIVATED:
        rollout_on_activated(&supervisor->rollout, place->index, id);
        return;
    case CONTROL_REPLY:
        admin_on_reply(supervisor->admin, place->index, id, payload);
        return;
    case CONTROL_PREPARE:
    case CONTROL_ACTIVATE:
    case CONTROL_DRAIN:
    case CONTROL_CALL:
        break; /* these go the other way */
    }
    BUG_ON(true);
}

/* The channel closes when the worker ends, however it ends; SIGCHLD brings the exit code. */
static void on_closed(void *context)
{
    struct place *place = context;
    place->state = PLACE_ENDING;
    rollout_on_worker_gone(&place->supervisor->rollout, place->index);
    admin_on_worker_gone(place->supervisor->admin, place->index);
}

/* In the child: nothing of the parent may stay open but what the worker was given. The parent's
 * event base is abandoned, not freed: freeing it would take the parent's descriptors out of the
 * epoll instance both processes share. */
static void keep_only(int a, int b)
{
    int low = a < b ? a : b, high = a < b ? b : a;
    close_range(3, (unsigned)low - 1, 0);
    if (high - low > 1) {
        close_range((unsigned)low + 1, (unsigned)high - 1, 0);
    }
    close_range((unsigned)high + 1, ~0u, 0);
}

static void run_child(struct place *place, int channel)
{
    keep_only(place->listener,
              channel); /* signals stay blocked; the worker has its own signalfds */
    /* exit, not _exit: the leak checker looks at workers too. */
    exit(worker_run(place->supervisor->config, place->index, place->listener, channel));
}

static void start_worker(struct place *place)
{
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair)) {
        log_error("socketpair: %s", strerror(errno));
        loop_timer_start(&place->restart, RESTART_LONGEST_US);
        return;
    }
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        run_child(place, pair[1]);
    }
    close(pair[1]);
    if (pid < 0) {
        log_error("fork: %s", strerror(errno));
        close(pair[0]);
        loop_timer_start(&place->restart, RESTART_LONGEST_US);
        return;
    }
    place->pid = pid;
    place->state = PLACE_STARTING;
    place->started_us = clock_mono_us();
    place->control.message = on_message;
    place->control.closed = on_closed;
    place->control.context = place;
    control_open(&place->control, &place->supervisor->loop, pair[0]);
}

static void on_restart(void *context)
{
    struct place *place = context;
    if (!place->supervisor->draining) {
        start_worker(place);
    }
}

static void describe_end(const struct place *place, int status)
{
    if (WIFSIGNALED(status)) {
        log_error("worker %u (%d) was ended by signal %d", place->index, (int)place->pid,
                  WTERMSIG(status));
    } else if (WEXITSTATUS(status)) {
        log_error("worker %u (%d) ended with %d", place->index, (int)place->pid,
                  WEXITSTATUS(status));
    } else {
        log_info("worker %u (%d) ended", place->index, (int)place->pid);
    }
}

static void on_worker_end(struct place *place, int status)
{
    struct supervisor *supervisor = place->supervisor;
    describe_end(place, status);
    if (place->control.fd >= 0) {
        control_close(&place->control);
        on_closed(place);
    }
    place->state = PLACE_EMPTY;
    place->pid = 0;
    if (supervisor->draining) {
        end_if_all_gone(supervisor);
        return;
    }
    METRIC_INC(supervisor_metrics, SUPERVISOR_RESTARTS);
    bool short_life = clock_mono_us() - place->started_us < SHORT_LIFE_US;
    place->failures = short_life ? place->failures + 1 : 0;
    int64_t wait_us = 0;
    if (place->failures > 1) {
        unsigned doublings = place->failures - 2 < 8 ? place->failures - 2 : 8;
        wait_us = (int64_t)RESTART_FIRST_US << doublings;
    }
    loop_timer_start(&place->restart, wait_us < RESTART_LONGEST_US ? wait_us : RESTART_LONGEST_US);
}

static void reap(struct supervisor *supervisor)
{
    int status;
    pid_t pid;
    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        for (unsigned i = 0; i < supervisor->workers; i++) {
            if (supervisor->places[i].pid == pid) {
                on_worker_end(&supervisor->places[i], status);
            }
        }
    }
}

/* --- the end -------------------------------------------------------------------------------- */

static void end_if_all_gone(struct supervisor *supervisor)
{
    for (unsigned i = 0; i < supervisor->workers; i++) {
        if (supervisor->places[i].pid) {
            return;
        }
    }
    loop_stop(&supervisor->loop);
}

static void on_drain_limit(void *context)
{
    struct supervisor *supervisor = context;
    for (unsigned i = 0; i < supervisor->workers; i++) {
        if (supervisor->places[i].pid) {
            log_error("worker %u does not end: killed", i);
            kill(supervisor->places[i].pid, SIGKILL);
        }
    }
}

static void drain(struct supervisor *supervisor)
{
    if (supervisor->draining) {
        return;
    }
    supervisor->draining = true;
    for (unsigned i = 0; i < supervisor->workers; i++) {
        struct place *place = &supervisor->places[i];
        close(place->listener); /* the worker empties its queue and closes the last copy */
        place->listener = -1;
        loop_timer_stop(&place->restart);
        if (place->state == PLACE_UP) {
            control_send(&place->control, CONTROL_DRAIN, 0, STR_NONE);
        }
    }
    loop_timer_start(&supervisor->drain_limit,
                     supervisor->config->drain_timeout_us + KILL_AFTER_US);
    end_if_all_gone(supervisor);
}

void supervisor_fail(struct supervisor *supervisor)
{
    supervisor->exit_code = 1;
    drain(supervisor);
}

static void on_signal(void *context, int number)
{
    struct supervisor *supervisor = context;
    if (number == SIGCHLD) {
        reap(supervisor);
    } else if (number == SIGHUP) {
        log_info("SIGHUP: the catalog is read again");
        rollout_reload(&supervisor->rollout);
    } else {
        log_info("signal %d: draining", number);
        drain(supervisor);
    }
}

/* --- the start ------------------------------------------------------------------------------ */

static enum status open_listeners(struct supervisor *supervisor)
{
    const struct config *config = supervisor->config;
    struct buf text;
    enum status status = STATUS_OK;
    buf_init(&text, 4096);
    char address[256];
    snprintf(address, sizeof(address), "%s", config->listen);
    for (unsigned i = 0; i < supervisor->workers && !status; i++) {
        struct place *place = &supervisor->places[i];
        buf_reset(&text);
        place->listener = server_bind(address, true, &text);
        if (place->listener < 0) {
            status = STATUS_IO;
        } else if (i == 0) { /* port 0: the others take the port that the first one got */
            buf_reset(&text);
            server_bound_address(place->listener, &text);
            snprintf(address, sizeof(address), "%.*s", STR_ARG(buf_str(&text)));
        }
    }
    if (!status) {
        buf_reset(&text);
        supervisor->admin_listener = server_bind(config->admin, false, &text);
        status = supervisor->admin_listener < 0 ? STATUS_IO : STATUS_OK;
    }
    if (status) {
        log_error("%.*s", STR_ARG(buf_str(&text)));
    } else {
        buf_reset(&text);
        server_bound_address(supervisor->admin_listener, &text);
        log_info("bidding on %s, admin on %.*s, %u workers", address, STR_ARG(buf_str(&text)),
                 supervisor->workers);
        if (!str_starts(str_from(config->public_url), STR("https://"))) {
            log_warn("public_url = %s is not https: impressions that demand secure markup get "
                     "insecure notice urls",
                     config->public_url);
        }
    }
    buf_deinit(&text);
    return status;
}

/* The directory and its missing parents. */
static enum status make_state_dir(const char *path)
{
    char part[4096];
    size_t len = strlen(path);
    if (len == 0 || len >= sizeof(part)) {
        log_error("state_dir is not set");
        return STATUS_INVALID;
    }
    for (size_t i = 1; i <= len; i++) {
        if (path[i] == '/' || path[i] == '\0') {
            memcpy(part, path, i);
            part[i] = '\0';
            if (mkdir(part, 0750) && errno != EEXIST) {
                break;
            }
        }
    }
    if (access(path, W_OK | X_OK)) {
        log_error("state_dir %s: %s", path, strerror(errno));
        return STATUS_IO;
    }
    return STATUS_OK;
}

static enum status setup(struct supervisor *supervisor)
{
    static const int numbers[] = {SIGTERM, SIGINT, SIGHUP, SIGCHLD};
    const struct config *config = supervisor->config;
    enum status status = make_state_dir(config->state_dir);
    if (status || (status = open_listeners(supervisor))) {
        return status;
    }
    worker_register();
    admin_pages_register();
    metric_register(&supervisor_metrics);
    status = metric_setup(supervisor->workers + 1);
    if (status || (status = loop_init(&supervisor->loop))) {
        log_error("start: %s", status_name(status));
        return status;
    }
    metric_use_slot(supervisor->workers);
    metric_set(&supervisor_metrics, SUPERVISOR_STARTED, 0, (uint64_t)(clock_wall_us() / SECOND_US));
    signal(SIGPIPE, SIG_IGN);
    for (unsigned i = 0; i < COUNT_OF(numbers); i++) {
        status = loop_signal_start(&supervisor->signals[i], &supervisor->loop, numbers[i],
                                   on_signal, supervisor);
        if (status) {
            log_error("signalfd: %s", strerror(errno));
            return status;
        }
    }
    loop_timer_init(&supervisor->drain_limit, &supervisor->loop, on_drain_limit, supervisor);
    rollout_init(&supervisor->rollout, supervisor);
    supervisor->admin =
        admin_create(&supervisor->loop, config, supervisor, supervisor->admin_listener);
    return supervisor->admin ? STATUS_OK : STATUS_NO_MEMORY;
}

static void teardown(struct supervisor *supervisor)
{
    for (unsigned i = 0; i < COUNT_OF(supervisor->signals); i++) {
        loop_signal_stop(&supervisor->signals[i]);
    }
    admin_destroy(&supervisor->admin);
    rollout_deinit(&supervisor->rollout);
    loop_deinit(&supervisor->loop);
    metric_teardown();
}

int supervisor_run(const struct config *config)
{
    static struct supervisor supervisor; /* static: children find their copy at the same place */
    supervisor.config = config;
    supervisor.workers = (unsigned)config->workers;
    supervisor.started_us = clock_mono_us();
    for (unsigned i = 0; i < supervisor.workers; i++) {
        supervisor.places[i] = (struct place){
            .supervisor = &supervisor, .index = i, .listener = -1, .control = {.fd = -1}};
    }
    if (config->mlock && mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT)) {
        log_warn("mlock: %s", strerror(errno)); /* inherited by no fork: workers do it again */
    }
    if (setup(&supervisor)) {
        return 1;
    }
    for (unsigned i = 0; i < supervisor.workers; i++) {
        struct place *place = &supervisor.places[i];
        loop_timer_init(&place->restart, &supervisor.loop, on_restart, place);
        start_worker(place);
    }
    loop_run(&supervisor.loop);
    log_info("ended");
    teardown(&supervisor);
    return supervisor.exit_code;
}
