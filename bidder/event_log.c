/* The event log of one worker: a batch in memory, the file it goes to, and what happens when the
 * file does not take it. Owned by the worker; single-threaded (fsync apart, event_log_sync.c).
 *
 *   put -> batch --tick--> write -> file          rotate: hour or size
 *            ^               | fails: cut the file back to whole records, close it
 *            '-- kept -------'        ok = false; once a second a new file is tried */
#include "bidder/event_log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "bidder/base/bug.h"
#include "bidder/base/log.h"
#include "bidder/event_log_repair.h"
#include "bidder/event_log_sync.h"

#define RETRY_US      1000000
#define SYNC_EVERY_US 1000000
#define HOUR_US       (3600 * (int64_t)1000000)
#define FLUSH_BYTES   (256 * 1024) /* a batch this large is written at once */
#define MAX_SEQUENCE  99999

METRIC_DEFINE(event_log, EVENT_LOG_METRICS);

struct event_log {
    struct event_log_options options;
    char *dir; /* owned */
    struct buf batch;
    int fd;             /* -1 = no file open */
    int64_t file_bytes; /* whole records in it */
    int64_t hour;       /* since 1970 */
    uint32_t sequence;  /* of the next file in this hour */
    bool ok, unsynced;
    int64_t retry_us, sync_us; /* wall time of the next try */
    struct event_sync *sync;   /* EVENT_FSYNC_SECOND */
};

static void set_ok(struct event_log *log, bool ok, const char *what)
{
    if (!ok) {
        metric_add(&event_log_metrics, EVENT_LOG_ERRORS, 0, 1);
    }
    if (ok == log->ok) {
        return;
    }
    log->ok = ok;
    metric_set(&event_log_metrics, EVENT_LOG_FAILING, 0, !ok);
    if (ok) {
        log_info("event log in %s is written again", log->dir);
    } else {
        log_error("event log in %s: %s failed: %s; no bids on budgets until it works", log->dir,
                  what, strerror(errno));
    }
}

static void close_file(struct event_log *log)
{
    if (log->fd >= 0) {
        close(log->fd);
        log->fd = -1;
    }
}

static bool write_all(struct event_log *log, const char *bytes, size_t len)
{
    size_t done = 0;
    while (done < len) {
        ssize_t wrote = write(log->fd, bytes + done, len - done);
        if (wrote < 0 && errno == EINTR) {
            continue;
        }
        if (wrote <= 0) {
            errno = wrote == 0 ? ENOSPC : errno;
            break;
        }
        done += (size_t)wrote;
    }
    if (done == len) {
        log->file_bytes += (int64_t)len;
        log->unsynced = true;
        metric_add(&event_log_metrics, EVENT_LOG_BYTES, 0, len);
        return true;
    }
    int error = errno;
    if (ftruncate(log->fd, (off_t)log->file_bytes)) {
        log_warn("event log in %s: a torn record stays until repair: %s", log->dir,
                 strerror(errno));
    }
    errno = error;
    return false;
}

static bool write_event(struct event_log *log, const struct event_record *event)
{
    struct buf out;
    buf_init(&out, EVENT_MAX_BYTES);
    bool good = event_record_put(&out, event) && write_all(log, out.data, out.len);
    buf_deinit(&out);
    return good;
}

static void sync_file(struct event_log *log, int64_t now_us, bool closing)
{
    if (!log->unsynced || log->options.fsync == EVENT_FSYNC_OFF) {
        return;
    }
    if (log->options.fsync == EVENT_FSYNC_SECOND) {
        if (now_us < log->sync_us && !closing) {
            return;
        }
        log->sync_us = now_us + SYNC_EVERY_US;
        event_sync_request(log->sync, log->fd);
    } else if (fdatasync(log->fd)) {
        set_ok(log, false, "fsync");
        return;
    }
    log->unsynced = false;
}

static void end_file(struct event_log *log, int64_t now_us)
{
    if (log->fd >= 0) {
        if (!write_event(log, &(struct event_record){.kind = EVENT_END})) {
            metric_add(&event_log_metrics, EVENT_LOG_ERRORS, 0, 1);
        }
        sync_file(log, now_us, true);
        close_file(log);
    }
}

/* A new file of this hour, locked and with its first record in it. */
static bool open_file(struct event_log *log, int64_t now_us)
{
    char path[4096];
    struct tm utc;
    time_t now_s = (time_t)(now_us / 1000000);
    gmtime_r(&now_s, &utc);
    int64_t hour = now_us / HOUR_US;
    log->sequence = hour == log->hour ? log->sequence : 1;
    log->hour = hour;
    while (log->sequence <= MAX_SEQUENCE) {
        int len = snprintf(path, sizeof(path), "%s/events-%u-%04d%02d%02dT%02d-%05u.log", log->dir,
                           log->options.owner, utc.tm_year + 1900, utc.tm_mon + 1, utc.tm_mday,
                           utc.tm_hour, log->sequence);
        if (len < 0 || (size_t)len >= sizeof(path)) {
            errno = ENAMETOOLONG;
            return false;
        }
        log->fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0640);
        if (log->fd >= 0 || errno != EEXIST) {
            break;
        }
        log->sequence++;
    }
    if (log->fd < 0) {
        return false;
    }
    log->sequence++;
    log->file_bytes = 0;
    if (flock(log->fd, LOCK_EX | LOCK_NB) ||
        !write_event(log, &(struct event_record){.kind = EVENT_OPENED,
                                                 .time_us = now_us,
                                                 .owner = log->options.owner})) {
        int error = errno;
        unlink(path);
        close_file(log);
        errno = error;
        return false;
    }
    return true;
}

static void fail(struct event_log *log, const char *what, int64_t now_us)
{
    set_ok(log, false, what);
    close_file(log);
    log->retry_us = now_us + RETRY_US;
}

struct event_log *event_log_create(const struct event_log_options *options, int64_t now_us)
{
    struct event_log *log = calloc(1, sizeof(*log));
    if (!log) {
        return NULL;
    }
    log->options = *options;
    log->fd = -1;
    log->ok = true;
    log->options.max_file_bytes = options->max_file_bytes ? options->max_file_bytes : 256 << 20;
    log->dir = strdup(options->dir);
    buf_init(&log->batch, options->max_held_bytes ? options->max_held_bytes : 8 << 20);
    if (options->fsync == EVENT_FSYNC_SECOND) {
        log->sync = event_sync_create();
    }
    if (!log->dir || (options->fsync == EVENT_FSYNC_SECOND && !log->sync)) {
        event_log_destroy(&log);
        return NULL;
    }
    if (mkdir(log->dir, 0750) && errno != EEXIST) {
        log_warn("event log: cannot make %s: %s", log->dir, strerror(errno));
    }
    int folder = open(log->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder >= 0) {
        metric_add(&event_log_metrics, EVENT_LOG_REPAIRED, 0, (uint64_t)event_log_repair(folder));
        close(folder);
    }
    if (!open_file(log, now_us)) {
        fail(log, "open", now_us);
    }
    return log;
}

void event_log_destroy(struct event_log **log)
{
    if (!*log) {
        return;
    }
    if ((*log)->fd >= 0 && write_all(*log, (*log)->batch.data, (*log)->batch.len)) {
        end_file(*log, INT64_MAX - SYNC_EVERY_US);
    }
    close_file(*log);
    event_sync_destroy(&(*log)->sync);
    buf_deinit(&(*log)->batch);
    free((*log)->dir);
    free(*log);
    *log = NULL;
}

static void write_batch(struct event_log *log, int64_t now_us)
{
    if (!write_all(log, log->batch.data, log->batch.len)) {
        fail(log, "write", now_us);
        return;
    }
    buf_reset(&log->batch);
    metric_add(&event_log_metrics, EVENT_LOG_WRITES, 0, 1);
    if (!log->ok) {
        set_ok(log, true, "");
    }
}

void event_log_put(struct event_log *log, const struct event_record *event, int64_t now_us)
{
    if (!log) {
        return;
    }
    struct event_record stamped = *event;
    stamped.time_us = event->time_us ? event->time_us : now_us;
    if (!event_record_put(&log->batch, &stamped)) {
        metric_add(&event_log_metrics, EVENT_LOG_DROPPED, 0, 1);
        return;
    }
    metric_add(&event_log_metrics, EVENT_LOG_RECORDS,
               event->kind < EVENT_KIND_COUNT ? event->kind : 0, 1);
    if (log->batch.len >= FLUSH_BYTES && log->ok && log->fd >= 0) {
        write_batch(log, now_us);
    }
}

void event_log_tick(struct event_log *log, int64_t now_us)
{
    if (!log) {
        return;
    }
    if (log->fd < 0) {
        /* A wall clock that was set back must not put the next try off. */
        if (now_us < log->retry_us && now_us > log->retry_us - 2 * RETRY_US) {
            return;
        }
        if (!open_file(log, now_us)) {
            fail(log, "open", now_us);
            return;
        }
        /* An empty batch proves nothing, but the first record of the file was written. */
        write_batch(log, now_us);
        return;
    }
    if (log->batch.len) {
        write_batch(log, now_us);
    }
    if (log->fd < 0) {
        return;
    }
    sync_file(log, now_us, false);
    if (log->sync && event_sync_take_failure(log->sync)) {
        errno = EIO;
        fail(log, "fsync", now_us);
    } else if (now_us / HOUR_US > log->hour || log->file_bytes >= log->options.max_file_bytes) {
        end_file(log, now_us);
        if (!open_file(log, now_us)) {
            fail(log, "open", now_us);
        }
    }
}

bool event_log_ok(const struct event_log *log)
{
    return !log || log->ok;
}
