#include "bidder/base/loop.h"

#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "bidder/base/bug.h"

/* A wait shorter than this cannot have been a sleep: the events were there already. */
#define LOOP_SLEPT_US 20

enum status loop_init(struct loop *loop)
{
    *loop = (struct loop){.base = NULL};
    struct event_config *config = event_config_new();
    if (!config) {
        return STATUS_NO_MEMORY;
    }
    /* One thread owns the loop: no locks. */
    event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK);
    loop->base = event_base_new_with_config(config);
    event_config_free(config);
    if (!loop->base) {
        return STATUS_IO;
    }
    loop->turn_us = loop->due_us = loop->before_wait_us = clock_mono_us();
    return STATUS_OK;
}

void loop_deinit(struct loop *loop)
{
    if (loop->base) {
        event_base_free(loop->base);
    }
    *loop = (struct loop){.base = NULL};
}

void loop_woke_slow(struct loop *loop)
{
    int64_t now_us = clock_mono_us();
    bool slept = now_us - loop->before_wait_us > LOOP_SLEPT_US;
    /* Without a sleep the events may have come due at any time since the last look at them. */
    loop->due_us = slept ? now_us : loop->turn_us;
    loop->turn_us = now_us;
    loop->woke = true;
}

void loop_turn(struct loop *loop, bool wait)
{
    int flags = EVLOOP_ONCE | (wait && !loop->again ? 0 : EVLOOP_NONBLOCK);
    loop->again = false;
    loop->woke = false;
    loop->before_wait_us = clock_mono_us();
    event_base_loop(loop->base, flags);
    loop_woke(loop); /* a turn without events still runs the hooks */
    loop->turns++;
    for (struct loop_hook *hook = loop->hooks, *next; hook; hook = next) {
        next = hook->next; /* a hook may remove itself */
        hook->fn(hook->context);
    }
}

void loop_run(struct loop *loop)
{
    while (!loop->stop) {
        loop_turn(loop, true);
    }
}

void loop_hook_add(struct loop *loop, struct loop_hook *hook, void (*fn)(void *), void *context)
{
    *hook = (struct loop_hook){.fn = fn, .context = context};
    struct loop_hook **tail = &loop->hooks;
    while (*tail) {
        tail = &(*tail)->next;
    }
    *tail = hook;
}

void loop_hook_remove(struct loop *loop, struct loop_hook *hook)
{
    for (struct loop_hook **at = &loop->hooks; *at; at = &(*at)->next) {
        if (*at == hook) {
            *at = hook->next;
            return;
        }
    }
}

static void on_io(evutil_socket_t fd, short events, void *argument)
{
    struct loop_io *io = argument;
    loop_woke(io->loop);
    io->fn(io->context, fd, events);
}

void loop_io_init(struct loop_io *io, struct loop *loop, int fd, short events,
                  void (*fn)(void *context, int fd, short events), void *context)
{
    io->loop = loop;
    io->fn = fn;
    io->context = context;
    BUG_ON(event_assign(&io->event, loop->base, fd, events, on_io, io));
}

void loop_io_start(struct loop_io *io)
{
    BUG_ON(event_add(&io->event, NULL));
}

void loop_io_stop(struct loop_io *io)
{
    event_del(&io->event);
}

static void on_timer(evutil_socket_t fd, short events, void *argument)
{
    (void)fd;
    (void)events;
    struct loop_timer *timer = argument;
    loop_woke(timer->loop);
    timer->fn(timer->context);
}

void loop_timer_init(struct loop_timer *timer, struct loop *loop, void (*fn)(void *context),
                     void *context)
{
    timer->loop = loop;
    timer->fn = fn;
    timer->context = context;
    BUG_ON(event_assign(&timer->event, loop->base, -1, 0, on_timer, timer));
}

void loop_timer_start(struct loop_timer *timer, int64_t after_us)
{
    after_us = after_us < 0 ? 0 : after_us;
    struct timeval after = {.tv_sec = after_us / 1000000, .tv_usec = after_us % 1000000};
    BUG_ON(event_add(&timer->event, &after));
}

void loop_timer_stop(struct loop_timer *timer)
{
    event_del(&timer->event);
}

static void on_signal(void *context, int fd, short events)
{
    (void)events;
    struct loop_signal *signal = context;
    struct signalfd_siginfo info;
    if (read(fd, &info, sizeof(info)) == sizeof(info)) {
        signal->fn(signal->context, (int)info.ssi_signo);
    }
}

enum status loop_signal_start(struct loop_signal *signal, struct loop *loop, int number,
                              void (*fn)(void *context, int number), void *context)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, number);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    signal->fn = fn;
    signal->context = context;
    signal->fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    if (signal->fd < 0) {
        return STATUS_IO;
    }
    loop_io_init(&signal->io, loop, signal->fd, EV_READ | EV_PERSIST, on_signal, signal);
    loop_io_start(&signal->io);
    return STATUS_OK;
}

void loop_signal_stop(struct loop_signal *signal)
{
    if (signal->fd >= 0) {
        loop_io_stop(&signal->io);
        close(signal->fd);
        signal->fd = -1;
    }
}
