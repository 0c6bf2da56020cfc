/* The event loop of a process: libevent underneath, one thread.
 *
 * A turn is: wait for events, run their callbacks, run the end-of-turn hooks. Work that is cheaper
 * for many than for one (Redis writes, event records) is collected during a turn and done by a
 * hook, so it costs one system call a turn and no extra wait.
 *
 *        +---- wait <------------------------------+
 *        v                                         |
 *   due_us .. turn_us   callbacks ...   hooks -----+
 *
 * Embedded structs (io, timer, hook, signal) belong to their module and must be stopped before
 * their memory goes. */
#pragma once

#include <event2/event.h>
#include <event2/event_struct.h>
#include <stdbool.h>
#include <stdint.h>

#include "bidder/base/clock.h"
#include "bidder/base/status.h"

struct loop_hook;

struct loop {
    struct event_base *base; /* owned */
    struct loop_hook *hooks; /* borrowed, in the order they were added */
    int64_t turn_us;         /* when this turn's first callback ran (monotonic) */
    int64_t due_us;          /* the earliest moment at which this turn's events may have come due */
    int64_t before_wait_us;
    uint64_t turns;
    bool woke;
    bool stop;
    bool again; /* somebody has work left: do not sleep before the next turn */
};

enum status loop_init(struct loop *loop) MUST_USE;
void loop_deinit(struct loop *loop);
/* Turns until loop_stop. */
void loop_run(struct loop *loop);
/* One turn; waits only when wait is true and nobody asked for another turn. For tests too. */
void loop_turn(struct loop *loop, bool wait);
static inline void loop_stop(struct loop *loop)
{
    loop->stop = true;
}

/* Every callback that libevent calls goes through this first (the wrappers below do it). */
void loop_woke_slow(struct loop *loop);
static inline void loop_woke(struct loop *loop)
{
    if (!loop->woke) {
        loop_woke_slow(loop);
    }
}

/* How long an event that is handled now may have waited for its turn: the age of the queue in
 * front of this process. 0 when the loop had been asleep. */
static inline int64_t loop_lag_us(const struct loop *loop, int64_t now_us)
{
    return now_us > loop->due_us ? now_us - loop->due_us : 0;
}

/* Called at the end of each turn. */
struct loop_hook {
    void (*fn)(void *context);
    void *context;
    struct loop_hook *next;
};
void loop_hook_add(struct loop *loop, struct loop_hook *hook, void (*fn)(void *), void *context);
void loop_hook_remove(struct loop *loop, struct loop_hook *hook);

/* A file descriptor that is readable or writable. events: EV_READ, EV_WRITE, EV_PERSIST. */
struct loop_io {
    struct event event;
    struct loop *loop;
    void (*fn)(void *context, int fd, short events);
    void *context;
};
void loop_io_init(struct loop_io *io, struct loop *loop, int fd, short events,
                  void (*fn)(void *context, int fd, short events), void *context);
void loop_io_start(struct loop_io *io);
void loop_io_stop(struct loop_io *io);

/* A one-shot timer; start again to repeat. libevent waits in whole milliseconds, rounded up. */
struct loop_timer {
    struct event event;
    struct loop *loop;
    void (*fn)(void *context);
    void *context;
};
void loop_timer_init(struct loop_timer *timer, struct loop *loop, void (*fn)(void *context),
                     void *context);
void loop_timer_start(struct loop_timer *timer, int64_t after_us);
void loop_timer_stop(struct loop_timer *timer);

/* A signal, delivered as an ordinary callback through a signalfd. It stays blocked in this thread,
 * in threads made later and in children. (libevent's own signals allow one event base per process,
 * which a forked child that has its own base would break.) */
struct loop_signal {
    struct loop_io io;
    int fd; /* owned */
    void (*fn)(void *context, int number);
    void *context;
};
enum status loop_signal_start(struct loop_signal *signal, struct loop *loop, int number,
                              void (*fn)(void *context, int number), void *context) MUST_USE;
void loop_signal_stop(struct loop_signal *signal);
