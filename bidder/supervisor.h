/* The parent process: owns the listening sockets, forks the workers, restarts those that die,
 * rolls catalogs out to all of them, serves the admin port, and ends everything at SIGTERM.
 *
 *                 supervisor  admin port, metrics, catalog file
 *   control ch.   /    |    \     one socket pair per worker
 *            worker worker worker   one loop, one SO_REUSEPORT listener, own Redis connections
 *
 * A listening socket belongs to the place of a worker, not to the process: the supervisor keeps a
 * copy, so connections that wait in its queue when a worker dies are taken by the next one. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "bidder/base/loop.h"
#include "bidder/base/metric.h"
#include "bidder/base/str.h"
#include "bidder/config.h"
#include "bidder/control.h"
#include "bidder/rollout.h"

#define SUPERVISOR_WORKERS_MAX 256

enum place_state {
    PLACE_EMPTY,    /* waits for the restart timer */
    PLACE_STARTING, /* forked, READY has not come */
    PLACE_UP,
    PLACE_ENDING /* its channel is closed; the process has not been reaped */
};

/* Where one worker after the other lives. */
struct place {
    struct supervisor *supervisor;
    unsigned index;
    enum place_state state;
    pid_t pid;
    int listener; /* owned */
    struct control control;
    struct loop_timer restart;
    int64_t started_us;
    unsigned failures; /* deaths in a row soon after the start */
};

struct supervisor {
    const struct config *config;
    struct loop loop;
    struct loop_signal signals[4];
    struct loop_timer drain_limit;
    struct place places[SUPERVISOR_WORKERS_MAX];
    unsigned workers;
    struct rollout rollout;
    struct admin *admin;
    int admin_listener;
    bool draining;
    int exit_code;
    int64_t started_us;
};

#define SUPERVISOR_METRICS(X)                                                                      \
    X(SUPERVISOR_RESTARTS, METRIC_COUNTER, "jointcap_worker_restarts_total", NULL, NULL, 1,        \
      "Workers that died and were replaced.")                                                      \
    X(SUPERVISOR_ROLLOUTS, METRIC_COUNTER, "jointcap_catalog_loads_total", "result",               \
      rollout_result_text, ROLLOUT_RESULT_COUNT, "Catalogs offered, by what came of them.")        \
    X(SUPERVISOR_STARTED, METRIC_GAUGE, "jointcap_start_time_seconds", NULL, NULL, 1,              \
      "When the supervisor started, seconds since 1970.")
METRIC_DECLARE(supervisor, SUPERVISOR_METRICS);

/* Runs until everything has ended; the exit code of the program. */
int supervisor_run(const struct config *config);

/* For admin.c and rollout.c. False when the worker is not up. */
bool supervisor_send(struct supervisor *supervisor, unsigned worker, enum control_type type,
                     uint64_t id, struct str payload);
unsigned supervisor_workers_up(const struct supervisor *supervisor);
/* A reason to end before it has begun: the first catalog is bad. */
void supervisor_fail(struct supervisor *supervisor);
