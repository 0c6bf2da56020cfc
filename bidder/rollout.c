#include "bidder/rollout.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bidder/admin.h"
#include "bidder/base/bug.h"
#include "bidder/base/log.h"
#include "bidder/control.h"
#include "bidder/supervisor.h"

#define PATH_BYTES     4096
#define PROBLEMS_BYTES (8u << 20)

const char *rollout_result_text(unsigned result)
{
    static const char *const texts[ROLLOUT_RESULT_COUNT] = {"activated", "refused"};
    return texts[result];
}

void rollout_init(struct rollout *rollout, struct supervisor *supervisor)
{
    *rollout = (struct rollout){.supervisor = supervisor};
    rollout->workers = calloc(supervisor->workers, sizeof(*rollout->workers));
    BUG_ON(!rollout->workers);
    buf_init(&rollout->problems, PROBLEMS_BYTES);
}

void rollout_deinit(struct rollout *rollout)
{
    free(rollout->workers);
    buf_deinit(&rollout->problems);
}

/* --- files ---------------------------------------------------------------------------------- */

static void state_path(const struct rollout *rollout, const char *name, char path[PATH_BYTES])
{
    int len = snprintf(path, PATH_BYTES, "%s/%s", rollout->supervisor->config->state_dir, name);
    BUG_ON(len < 0);
    if (len >= PATH_BYTES) {
        path[0] = '\0'; /* opens nothing */
    }
}

static enum status write_next(const struct rollout *rollout, struct str text)
{
    char path[PATH_BYTES];
    state_path(rollout, "catalog.next.json", path);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0640);
    bool good = fd >= 0;
    while (good && text.len) {
        ssize_t written = write(fd, text.ptr, text.len);
        good = written > 0 || (written < 0 && errno == EINTR);
        if (written > 0) {
            text.ptr += written;
            text.len -= (size_t)written;
        }
    }
    good = good && fsync(fd) == 0;
    if (!good) {
        log_error("%s: %s", path, strerror(errno));
    }
    if (fd >= 0) {
        close(fd);
    }
    return good ? STATUS_OK : STATUS_IO;
}

static enum status copy_to_next(const struct rollout *rollout, const char *path)
{
    struct buf text;
    buf_init(&text, (size_t)rollout->supervisor->config->max_catalog_bytes);
    /* Not blocking: a pipe that nobody writes into must not stop the supervisor. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    struct stat kind = {0};
    bool regular = fd >= 0 && fstat(fd, &kind) == 0 && S_ISREG(kind.st_mode);
    ssize_t got = regular ? 1 : -1;
    while (got > 0) {
        char *at = buf_reserve(&text, 64 * 1024);
        got = at ? read(fd, at, 64 * 1024) : -1;
        text.len += got > 0 ? (size_t)got : 0;
    }
    enum status status = STATUS_IO;
    if (got < 0) {
        log_error("catalog %s: %s", path,
                  fd >= 0 && !regular ? "not a regular file"
                  : buf_failed(&text) ? "larger than max_catalog"
                                      : strerror(errno));
    } else {
        status = write_next(rollout, buf_str(&text));
    }
    if (fd >= 0) {
        close(fd);
    }
    buf_deinit(&text);
    return status;
}

/* --- the two phases ------------------------------------------------------------------------- */

static void finish(struct rollout *rollout, enum rollout_result result)
{
    struct supervisor *supervisor = rollout->supervisor;
    bool activated = result == ROLLOUT_ACTIVATED;
    struct str problems = rollout->problems.len ? buf_str(&rollout->problems) : STR("{}");
    metric_add(&supervisor_metrics, SUPERVISOR_ROLLOUTS, result, 1);
    rollout->state = ROLLOUT_IDLE;
    if (activated) {
        log_info("catalog: generation %llu is active", (unsigned long long)rollout->generation);
    } else {
        log_error("catalog: refused%s; problems: %.*s", rollout->first ? "" : ", the old one stays",
                  problems.len > 800 ? 800 : (int)problems.len, problems.ptr);
    }
    struct admin_call *call = rollout->call;
    rollout->call = NULL;
    if (call) {
        struct buf body;
        buf_init(&body, PROBLEMS_BYTES + 1000);
        buf_printf(&body, "{\"activated\":%s,\"generation\":%llu,\"workers\":%u,\"problems\":",
                   activated ? "true" : "false", (unsigned long long)rollout->active_generation,
                   supervisor_workers_up(supervisor));
        buf_put_str(&body, problems);
        BUF_PUT_LITERAL(&body, "}\n");
        admin_reply(call, activated ? 200 : 422, "application/json", buf_str(&body));
        buf_deinit(&body);
    }
    if (!activated && rollout->first) {
        supervisor_fail(supervisor);
    }
    rollout->first = false;
    for (unsigned i = 0; activated && i < supervisor->workers; i++) {
        if (rollout->workers[i].activated != rollout->active_generation) {
            rollout_on_worker_up(rollout, i); /* it came up between the phases */
        }
    }
    if (rollout->again) {
        rollout->again = false;
        rollout_reload(rollout);
    }
}

static void send_all(struct rollout *rollout, enum control_type type, struct str payload)
{
    rollout->left = 0;
    for (unsigned i = 0; i < rollout->supervisor->workers; i++) {
        struct rollout_worker *worker = &rollout->workers[i];
        bool concerned = type == CONTROL_PREPARE || worker->prepared == rollout->generation;
        worker->waiting = concerned && supervisor_send(rollout->supervisor, i, type,
                                                       rollout->generation, payload);
        rollout->left += worker->waiting;
    }
}

static void prepare_all(struct rollout *rollout)
{
    char path[PATH_BYTES];
    state_path(rollout, "catalog.next.json", path);
    rollout->state = ROLLOUT_PREPARING;
    rollout->generation = ++rollout->last_generation;
    rollout->failed = false;
    buf_reset(&rollout->problems);
    send_all(rollout, CONTROL_PREPARE, str_from(path));
    if (!rollout->left) {
        BUF_PUT_LITERAL(&rollout->problems,
                        "{\"errors\":1,\"problems\":[{\"text\":\"no worker is up\"}]}");
        finish(rollout, ROLLOUT_REFUSED);
    }
}

static void phase_done(struct rollout *rollout)
{
    if (rollout->state == ROLLOUT_ACTIVATING) {
        finish(rollout, ROLLOUT_ACTIVATED);
        return;
    }
    char next[PATH_BYTES], active[PATH_BYTES];
    state_path(rollout, "catalog.next.json", next);
    state_path(rollout, "catalog.active.json", active);
    if (!rollout->failed && rename(next, active)) {
        log_error("%s: %s", active, strerror(errno));
        rollout->failed = true;
    }
    if (rollout->failed) {
        finish(rollout, ROLLOUT_REFUSED);
        return;
    }
    rollout->state = ROLLOUT_ACTIVATING;
    rollout->active_generation = rollout->generation;
    send_all(rollout, CONTROL_ACTIVATE, STR_NONE);
    if (!rollout->left) {
        finish(rollout, ROLLOUT_ACTIVATED); /* workers that come up load the active file */
    }
}

static void one_done(struct rollout *rollout, unsigned worker)
{
    if (rollout->state != ROLLOUT_IDLE && rollout->workers[worker].waiting) {
        rollout->workers[worker].waiting = false;
        if (--rollout->left == 0) {
            phase_done(rollout);
        }
    }
}

/* --- where catalogs come from --------------------------------------------------------------- */

void rollout_reload(struct rollout *rollout)
{
    const char *path = rollout->supervisor->config->catalog;
    if (!*path) {
        log_warn("no catalog is configured: nothing to reload");
    } else if (rollout->state != ROLLOUT_IDLE) {
        rollout->again = true;
    } else if (copy_to_next(rollout, path) == STATUS_OK) {
        prepare_all(rollout);
    }
}

void rollout_boot(struct rollout *rollout)
{
    char active[PATH_BYTES];
    struct stat configured, last;
    const char *path = rollout->supervisor->config->catalog;
    state_path(rollout, "catalog.active.json", active);
    bool has_configured = *path && stat(path, &configured) == 0;
    bool has_last = stat(active, &last) == 0;
    if (has_last && (!*path || (has_configured && last.st_mtime > configured.st_mtime))) {
        log_info("catalog: the one activated last is newer than the configured one");
        path = active;
    }
    if (!*path) {
        log_warn("no catalog is configured: every request is a no-bid until one is loaded");
        for (unsigned i = 0; i < rollout->supervisor->workers; i++) {
            rollout_on_worker_up(rollout, i);
        }
        return;
    }
    rollout->first = true;
    if (copy_to_next(rollout, path)) {
        supervisor_fail(rollout->supervisor);
        return;
    }
    log_info("catalog: loading %s", path);
    prepare_all(rollout);
}

void rollout_offer(struct rollout *rollout, struct admin_call *call)
{
    if (rollout->state != ROLLOUT_IDLE) {
        admin_reply_text(call, 409, "another catalog is being loaded\n");
    } else if (write_next(rollout, call->body)) {
        admin_reply_text(call, 500, "state_dir cannot be written\n");
    } else {
        rollout->call = call;
        prepare_all(rollout);
    }
}

/* --- what workers say ----------------------------------------------------------------------- */

void rollout_on_prepared(struct rollout *rollout, unsigned worker, uint64_t generation,
                         struct str payload)
{
    BUG_ON(payload.len == 0);
    bool good = payload.ptr[0] == '0';
    struct str problems = {payload.ptr + 1, payload.len - 1};
    rollout->workers[worker].prepared = good ? generation : 0;
    if (rollout->state == ROLLOUT_PREPARING && generation == rollout->generation) {
        if (!rollout->problems.len) {
            buf_put_str(&rollout->problems, problems);
        }
        rollout->failed |= !good;
        one_done(rollout, worker);
    } else if (generation == rollout->active_generation && good) {
        /* A worker that came up later. */
        supervisor_send(rollout->supervisor, worker, CONTROL_ACTIVATE, generation, STR_NONE);
    } else if (!good) {
        log_error("worker %u cannot load the active catalog: %.*s", worker,
                  problems.len > 800 ? 800 : (int)problems.len, problems.ptr);
        supervisor_send(rollout->supervisor, worker, CONTROL_DRAIN, 0, STR_NONE); /* try again */
    }
}

void rollout_on_activated(struct rollout *rollout, unsigned worker, uint64_t generation)
{
    rollout->workers[worker].activated = generation;
    if (rollout->state == ROLLOUT_ACTIVATING && generation == rollout->generation) {
        one_done(rollout, worker);
    }
}

void rollout_on_worker_up(struct rollout *rollout, unsigned worker)
{
    char path[PATH_BYTES];
    if (rollout->active_generation) {
        state_path(rollout, "catalog.active.json", path);
        supervisor_send(rollout->supervisor, worker, CONTROL_PREPARE, rollout->active_generation,
                        str_from(path));
    } else if (!rollout->first) {
        supervisor_send(rollout->supervisor, worker, CONTROL_ACTIVATE, 0, STR_NONE);
    }
}

void rollout_on_worker_gone(struct rollout *rollout, unsigned worker)
{
    one_done(rollout, worker); /* its replacement loads what the others have */
    rollout->workers[worker] = (struct rollout_worker){.waiting = false};
}
