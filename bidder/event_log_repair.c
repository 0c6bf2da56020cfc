/* Start-up only: reads whole files. A file in use is locked by its writer and left alone. */
#include "bidder/event_log_repair.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bidder/base/log.h"
#include "bidder/event_log.h"

#define END_RECORD_BYTES 10

bool event_log_is_name(struct str name)
{
    return str_starts(name, STR("events-")) && name.len > 11 &&
           str_eq((struct str){name.ptr + name.len - 4, 4}, STR(".log"));
}

static void end_file(int fd, size_t size)
{
    struct buf out;
    buf_init(&out, EVENT_MAX_BYTES);
    if (event_record_put(&out, &(struct event_record){.kind = EVENT_END}) &&
        pwrite(fd, out.data, out.len, (off_t)size) != (ssize_t)out.len) {
        (void)!ftruncate(fd, (off_t)size); /* the next start ends it */
    }
    buf_deinit(&out);
}

static bool ended(int fd, size_t size)
{
    char tail[END_RECORD_BYTES];
    bool end = false;
    return size >= sizeof(tail) &&
           pread(fd, tail, sizeof(tail), (off_t)(size - sizeof(tail))) == (ssize_t)sizeof(tail) &&
           event_record_valid((struct str){tail, sizeof(tail)}, &end) == sizeof(tail) && end;
}

static int64_t repair_file(int fd, const char *name)
{
    struct stat info;
    if (fstat(fd, &info) || !S_ISREG(info.st_mode) || info.st_size == 0) {
        return 0;
    }
    size_t size = (size_t)info.st_size;
    if (ended(fd, size)) {
        return 0;
    }
    char *bytes = mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (bytes == MAP_FAILED) {
        return 0;
    }
    bool end;
    size_t valid = event_record_valid((struct str){bytes, size}, &end);
    /* Damage in the middle is not a torn write: nothing behind it may be thrown away. */
    struct str rest = {bytes + valid, size - valid};
    struct event_record event;
    char scratch[EVENT_MAX_BYTES];
    bool damaged = event_record_next(&rest, &event, scratch) == EVENT_READ_BAD &&
                   rest.len > EVENT_MAX_BYTES + 8;
    munmap(bytes, size);
    if (damaged) {
        log_error("event log %s is damaged at byte %zu, far before its end: left as it is", name,
                  valid);
        return 0;
    }
    if (valid < size) {
        log_warn("event log %s: %zu bytes of a torn tail cut off", name, size - valid);
        if (ftruncate(fd, (off_t)valid)) {
            return 0;
        }
    }
    end_file(fd, valid);
    return (int64_t)(size - valid);
}

int64_t event_log_repair(int folder)
{
    int64_t cut = 0;
    int copy = dup(folder);
    DIR *entries = copy < 0 ? NULL : fdopendir(copy);
    if (!entries) {
        if (copy >= 0) {
            close(copy);
        }
        return 0;
    }
    rewinddir(entries);
    for (struct dirent *entry; (entry = readdir(entries));) {
        if (!event_log_is_name(str_from(entry->d_name))) {
            continue;
        }
        int fd = openat(folder, entry->d_name, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
        if (fd >= 0 && !flock(fd, LOCK_EX | LOCK_NB)) {
            cut += repair_file(fd, entry->d_name);
        }
        if (fd >= 0) {
            close(fd);
        }
    }
    closedir(entries);
    return cut;
}
