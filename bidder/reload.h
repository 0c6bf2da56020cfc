/* Builds catalogs in a worker without stopping it: a thread per job reads the file and builds the
 * snapshot, an eventfd tells the loop, and the loop keeps it until it is told to activate it.
 *
 *   loop thread      reload_prepare --+                       +--> prepared() ... reload_take
 *   builder thread                    '--> catalog_load ------'
 *
 * One job at a time; a job asked for meanwhile replaces the one that waits. The thread touches
 * nothing but its job. */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "bidder/base/buf.h"
#include "bidder/base/loop.h"
#include "bidder/catalog.h"

struct reload_job {
    char *path; /* owned; NULL: no job */
    uint64_t generation;
};

struct reload {
    struct loop *loop;
    struct loop_io done;
    int event_fd;
    bool running;
    pthread_t thread;
    struct reload_job job, next;
    const struct catalog *previous; /* the running job's; pinned by the owner, see reload.c */
    /* Results: written by the thread, read by the loop after the eventfd. */
    bool good;
    struct catalog *built;
    int64_t took_ns;
    struct buf problems; /* as problem_list_print_json */
    /* Kept until taken. */
    struct catalog *ready;
    uint64_t ready_generation;
    /* Which catalog is in use now; it must live until the job is done. Called on the loop. */
    const struct catalog *(*current)(void *context);
    /* In the thread: last touches to a catalog that nobody uses yet. */
    void (*adopt)(struct catalog *catalog);
    void (*prepared)(void *context, uint64_t generation, bool good, struct str problems);
    void *context;
};

/* The four last members are set by the caller first. */
enum status reload_init(struct reload *reload, struct loop *loop) MUST_USE;
/* Waits for a running job. */
void reload_deinit(struct reload *reload);
void reload_prepare(struct reload *reload, uint64_t generation, struct str path);
/* The prepared catalog; now the caller's. NULL when that generation is not there. */
struct catalog *reload_take(struct reload *reload, uint64_t generation);
