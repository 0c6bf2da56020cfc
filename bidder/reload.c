/* The previous catalog is retained for the thread on the loop thread and released there too:
 * reference counts are not atomic and need not be. */
#include "bidder/reload.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "bidder/base/bug.h"
#include "bidder/base/log.h"
#include "bidder/catalog_load.h"

#define PROBLEM_TEXT_BYTES (4u << 20)
#define CATALOG_FILE_BYTES ((size_t)1 << 30)

/* One problem in the form of problem_list_print_json. */
static void put_problem(struct buf *problems, const char *what, const char *why)
{
    BUF_PUT_LITERAL(
        problems, "{\"errors\":1,\"dropped\":0,\"problems\":[{\"severity\":\"error\",\"text\":\"");
    buf_put_json_escaped(problems, str_from(what));
    BUF_PUT_LITERAL(problems, ": ");
    buf_put_json_escaped(problems, str_from(why));
    BUF_PUT_LITERAL(problems, "\"}]}");
}

static bool read_file(const char *path, struct buf *text, struct buf *problems)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t got = fd < 0 ? -1 : 1;
    while (got > 0) {
        char *at = buf_reserve(text, 256 * 1024);
        got = at ? read(fd, at, 256 * 1024) : -1;
        text->len += got > 0 ? (size_t)got : 0;
    }
    if (got < 0) {
        put_problem(problems, path, strerror(errno));
    }
    if (fd >= 0) {
        close(fd);
    }
    return got == 0;
}

/* In the builder thread. */
static void build(struct reload *reload)
{
    struct buf text;
    struct arena arena;
    struct problem_list list;
    buf_init(&text, CATALOG_FILE_BYTES);
    if (!read_file(reload->job.path, &text, &reload->problems)) {
        buf_deinit(&text);
        return;
    }
    if (!arena_init(&arena, 64 * 1024, PROBLEM_TEXT_BYTES)) {
        buf_deinit(&text);
        return;
    }
    problem_list_init(&list, &arena);
    enum status status = catalog_load(buf_str(&text), reload->previous, reload->job.generation,
                                      &reload->built, &list);
    problem_list_print_json(&list, &reload->problems);
    reload->good = status == STATUS_OK;
    if (reload->good) {
        reload->adopt(reload->built);
    } else if (list.count == 0) {
        buf_reset(&reload->problems);
        put_problem(&reload->problems, "catalog", status_name(status));
    }
    problem_list_deinit(&list);
    arena_deinit(&arena);
    buf_deinit(&text);
}

static void *thread_main(void *argument)
{
    struct reload *reload = argument;
    int64_t start_ns = clock_mono_ns();
    build(reload);
    reload->took_ns = clock_mono_ns() - start_ns;
    uint64_t one = 1;
    ssize_t written = write(reload->event_fd, &one, sizeof(one));
    BUG_ON(written != sizeof(one));
    return NULL;
}

static void start(struct reload *reload)
{
    reload->job = reload->next;
    reload->next.path = NULL;
    reload->good = false;
    reload->built = NULL;
    buf_reset(&reload->problems);
    const struct catalog *current = reload->current(reload->context);
    /* Retaining changes only the count, which is the loop thread's. */
    reload->previous = current ? catalog_retain((struct catalog *)(uintptr_t)current) : NULL;
    reload->running = true;
    int error = pthread_create(&reload->thread, NULL, thread_main, reload);
    BUG_ON(error); /* the supervisor starts a fresh worker */
}

static void collect(struct reload *reload)
{
    pthread_join(reload->thread, NULL);
    reload->running = false;
    struct catalog *previous = (struct catalog *)(uintptr_t)reload->previous;
    if (previous) {
        catalog_release(&previous);
    }
    reload->previous = NULL;
    free(reload->job.path);
    reload->job.path = NULL;
}

static void on_done(void *context, int fd, short events)
{
    (void)events;
    struct reload *reload = context;
    uint64_t count;
    if (read(fd, &count, sizeof(count)) != sizeof(count) || !reload->running) {
        return;
    }
    collect(reload);
    if (reload->good) {
        if (reload->ready) {
            catalog_release(&reload->ready);
        }
        reload->ready = reload->built;
        reload->ready_generation = reload->job.generation;
    }
    reload->prepared(reload->context, reload->job.generation, reload->good,
                     buf_str(&reload->problems));
    if (reload->next.path) {
        start(reload);
    }
}

enum status reload_init(struct reload *reload, struct loop *loop)
{
    reload->loop = loop;
    buf_init(&reload->problems, PROBLEM_TEXT_BYTES);
    reload->event_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (reload->event_fd < 0) {
        return STATUS_IO;
    }
    loop_io_init(&reload->done, loop, reload->event_fd, EV_READ | EV_PERSIST, on_done, reload);
    loop_io_start(&reload->done);
    return STATUS_OK;
}

void reload_deinit(struct reload *reload)
{
    if (reload->running) {
        collect(reload);
        if (reload->built) {
            catalog_release(&reload->built);
        }
    }
    if (reload->ready) {
        catalog_release(&reload->ready);
    }
    free(reload->next.path);
    loop_io_stop(&reload->done);
    close(reload->event_fd);
    buf_deinit(&reload->problems);
}

void reload_prepare(struct reload *reload, uint64_t generation, struct str path)
{
    free(reload->next.path);
    reload->next =
        (struct reload_job){.path = strndup(path.ptr, path.len), .generation = generation};
    BUG_ON(!reload->next.path);
    if (!reload->running) {
        start(reload);
    }
}

struct catalog *reload_take(struct reload *reload, uint64_t generation)
{
    struct catalog *catalog = reload->ready;
    if (!catalog || reload->ready_generation != generation) {
        return NULL;
    }
    reload->ready = NULL;
    return catalog;
}
