/* The event log of one worker: a batch in memory, the file it goes to, and what happens when the
 * file does not take it. Owned by the worker; single-threaded (fsync apart, event_log_sync.c).
 *
 *   put -> batch --tick--> write -> file          rotate: hour or size
 *            ^               | fails: cut the file back to whole records, close it
 *            '-- kept -------'        ok = false; once a second a new file is tried */
#include "bidder/event_log.h"

#include <dirent.h>
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
#include "bidder/event_sum.h"

#define RETRY_US      1000000
#define SYNC_EVERY_US 1000000
#define HOUR_US       (3600 * (int64_t)1000000)
#define FLUSH_BYTES   (256 * 1024) /* a batch this large is written at once */
#define MAX_SEQUENCE  99999
#define STAMP_LEN     11
#define HEAD_LIMIT    ((size_t)256 << 20)
#define KEEP_DAYS     8 /* totals of local days that are over for longer are of no use */

METRIC_DEFINE(event_log, EVENT_LOG_METRICS);

struct event_log {
    struct event_log_options options;
    char *dir; /* owned */
    struct buf batch;
    int fd;             /* -1 = no file open */
    int64_t file_bytes; /* whole records in it */
    int64_t hour;       /* since 1970, of the present file */
    char stamp[16];     /* "20261122T09" in the last file's name: names never go back in time */
    uint32_t sequence;  /* of the next file with this stamp */
    struct event_sums *sums; /* owned: what this worker ever settled */
    bool ok, unsynced;
    bool urgent;               /* settlements in the batch */
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

/* --- files ----------------------------------------------------------------------------------- */

static void set_stamp(struct event_log *log, int64_t now_us)
{
    char stamp[sizeof(log->stamp)];
    struct tm utc;
    time_t now_s = (time_t)(now_us / 1000000);
    gmtime_r(&now_s, &utc);
    log->hour = now_us / HOUR_US;
    if (strftime(stamp, sizeof(stamp), "%Y%m%dT%H", &utc) && strcmp(stamp, log->stamp) > 0) {
        memcpy(log->stamp, stamp, sizeof(stamp));
        log->sequence = 1;
    }
}

/* Goes on behind the newest file that former lives of this worker left, also when older ones were
 * deleted. */
static void find_last(struct event_log *log)
{
    char prefix[32];
    int len = snprintf(prefix, sizeof(prefix), "events-%u-", log->options.owner);
    DIR *entries = opendir(log->dir);
    for (struct dirent *entry; entries && (entry = readdir(entries));) {
        struct str name = str_from(entry->d_name);
        int64_t sequence;
        if (!event_log_is_name(name) || !str_starts(name, str_from(prefix))) {
            continue;
        }
        struct str rest = {name.ptr + len, name.len - (size_t)len};
        struct str stamp = str_cut(&rest, '-');
        if (stamp.len != STAMP_LEN || !str_to_i64(str_cut(&rest, '.'), &sequence) || sequence < 1 ||
            sequence > MAX_SEQUENCE) {
            continue;
        }
        int order = memcmp(stamp.ptr, log->stamp, STAMP_LEN);
        if (order > 0 || (order == 0 && sequence >= log->sequence)) {
            memcpy(log->stamp, stamp.ptr, STAMP_LEN);
            log->sequence = (uint32_t)sequence + 1;
        }
    }
    if (entries) {
        closedir(entries);
    }
}

/* What goes into the first write of a file. */
struct head {
    struct buf *out;
    uint64_t totals;
    uint32_t oldest_date;
    bool counting, failed;
};

static void put_total(void *context, const struct event_sum *sum)
{
    struct head *head = context;
    if (sum->date && sum->date < head->oldest_date) {
        return;
    }
    head->totals++;
    if (!head->counting) {
        head->failed |= !event_record_put(head->out, &(struct event_record){.kind = EVENT_TOTAL,
                                                                            .owner = sum->owner,
                                                                            .budgets = {sum->ref},
                                                                            .budget_count = 1,
                                                                            .date = sum->date,
                                                                            .used = sum->used});
    }
}

static bool write_head(struct event_log *log, int64_t now_us)
{
    struct buf out;
    struct tm utc;
    time_t oldest_s = (time_t)(now_us / 1000000) - KEEP_DAYS * 86400;
    gmtime_r(&oldest_s, &utc);
    struct head head = {
        .out = &out,
        .counting = true,
        .oldest_date =
            (uint32_t)((utc.tm_year + 1900) * 100 + utc.tm_mon + 1) * 100 + (uint32_t)utc.tm_mday,
    };
    buf_init(&out, HEAD_LIMIT);
    event_sums_each(log->sums, put_total, &head);
    head.failed = !event_record_put(&out, &(struct event_record){.kind = EVENT_OPENED,
                                                                 .time_us = now_us,
                                                                 .owner = log->options.owner,
                                                                 .sequence = head.totals + 1});
    head.counting = false;
    event_sums_each(log->sums, put_total, &head);
    if (head.failed) {
        errno = ENOMEM;
    }
    bool good = !head.failed && write_all(log, out.data, out.len);
    buf_deinit(&out);
    return good;
}

/* A new file of this hour, locked and with its head in it. */
static bool open_file(struct event_log *log, int64_t now_us)
{
    char path[4096];
    set_stamp(log, now_us);
    while (log->sequence <= MAX_SEQUENCE) {
        int len = snprintf(path, sizeof(path), "%s/events-%u-%s-%05u.log", log->dir,
                           log->options.owner, log->stamp, log->sequence);
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
    if (flock(log->fd, LOCK_EX | LOCK_NB) || !write_head(log, now_us)) {
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
    log->sums = event_sums_create();
    if (!log->dir || !log->sums || (options->fsync == EVENT_FSYNC_SECOND && !log->sync)) {
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
        find_last(log);
        if (event_sums_add_folder(log->sums, log->dir, log->options.owner)) {
            log_error("event log in %s: what was settled before is not known", log->dir);
        }
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
    event_sums_destroy(&(*log)->sums);
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
    log->urgent = false;
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
    struct event_record stamped;
    if (!event->time_us) { /* those of a bid come with their time: it is a copy less */
        stamped = *event;
        stamped.time_us = now_us;
        event = &stamped;
    }
    if (!event_record_put(&log->batch, event)) {
        metric_add(&event_log_metrics, EVENT_LOG_DROPPED, 0, 1);
        return;
    }
    if (event_sums_count(log->sums, event)) {
        metric_add(&event_log_metrics, EVENT_LOG_ERRORS, 0, 1);
    }
    log->urgent |= event->kind == EVENT_SETTLE;
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

bool event_log_is_urgent(const struct event_log *log)
{
    return log && log->urgent && log->fd >= 0;
}

bool event_log_ok(const struct event_log *log)
{
    return !log || log->ok;
}

bool event_log_take_missed(struct event_log *log, uint64_t auction, uint32_t imp_hash, int64_t at_s)
{
    if (!log) {
        return false;
    }
    int64_t since_us = event_sums_since_us(log->sums);
    return since_us && at_s > since_us / 1000000 && !event_sums_has(log->sums, auction, imp_hash) &&
           event_sums_mark(log->sums, auction, imp_hash) == STATUS_OK;
}
