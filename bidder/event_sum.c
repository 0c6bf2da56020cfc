/* Two open-addressing tables that double when half full: accounts, and fingerprints of impressions
 * that were settled (8 bytes each: a million impressions are 16 MB). */
#include "bidder/event_sum.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bidder/base/bug.h"
#include "bidder/base/hash.h"
#include "bidder/base/log.h"
#include "bidder/event_log_repair.h"

#define FIRST_SLOTS 1024

struct event_sums {
    struct event_sum *accounts; /* owned; ref 0 = free */
    uint64_t *seen;             /* owned; 0 = free */
    size_t account_slots, account_count, seen_slots, seen_count;
    uint64_t duplicates;
    int64_t since_us; /* of the first file read of one owner */
};

struct event_sums *event_sums_create(void)
{
    struct event_sums *sums = calloc(1, sizeof(*sums));
    if (!sums) {
        return NULL;
    }
    sums->account_slots = sums->seen_slots = FIRST_SLOTS;
    sums->accounts = calloc(FIRST_SLOTS, sizeof(sums->accounts[0]));
    sums->seen = calloc(FIRST_SLOTS, sizeof(sums->seen[0]));
    if (!sums->accounts || !sums->seen) {
        event_sums_destroy(&sums);
    }
    return sums;
}

void event_sums_destroy(struct event_sums **sums)
{
    if (*sums) {
        free((*sums)->accounts);
        free((*sums)->seen);
        free(*sums);
        *sums = NULL;
    }
}

static uint64_t *seen_slot(uint64_t *seen, size_t slots, uint64_t mark)
{
    size_t at = (size_t)mark & (slots - 1);
    while (seen[at] && seen[at] != mark) {
        at = (at + 1) & (slots - 1);
    }
    return &seen[at];
}

static struct event_sum *account_slot(struct event_sum *accounts, size_t slots, uint32_t ref,
                                      uint32_t owner, uint32_t date)
{
    uint32_t key[3] = {ref, owner, date};
    size_t at = (size_t)hash_bytes(key, sizeof(key), 0) & (slots - 1);
    while (accounts[at].ref &&
           (accounts[at].ref != ref || accounts[at].owner != owner || accounts[at].date != date)) {
        at = (at + 1) & (slots - 1);
    }
    return &accounts[at];
}

static bool grow_seen(struct event_sums *sums)
{
    size_t slots = sums->seen_slots * 2;
    uint64_t *seen = calloc(slots, sizeof(seen[0]));
    if (!seen) {
        return false;
    }
    for (size_t i = 0; i < sums->seen_slots; i++) {
        if (sums->seen[i]) {
            *seen_slot(seen, slots, sums->seen[i]) = sums->seen[i];
        }
    }
    free(sums->seen);
    sums->seen = seen;
    sums->seen_slots = slots;
    return true;
}

static bool grow_accounts(struct event_sums *sums)
{
    size_t slots = sums->account_slots * 2;
    struct event_sum *accounts = calloc(slots, sizeof(accounts[0]));
    if (!accounts) {
        return false;
    }
    for (size_t i = 0; i < sums->account_slots; i++) {
        const struct event_sum *sum = &sums->accounts[i];
        if (sum->ref) {
            *account_slot(accounts, slots, sum->ref, sum->owner, sum->date) = *sum;
        }
    }
    free(sums->accounts);
    sums->accounts = accounts;
    sums->account_slots = slots;
    return true;
}

static bool add_to(struct event_sums *sums, uint32_t ref, uint32_t owner, uint32_t date,
                   int64_t used)
{
    if (sums->account_count * 2 >= sums->account_slots && !grow_accounts(sums)) {
        return false;
    }
    struct event_sum *sum = account_slot(sums->accounts, sums->account_slots, ref, owner, date);
    if (!sum->ref) {
        *sum = (struct event_sum){.ref = ref, .owner = owner, .date = date};
        sums->account_count++;
    }
    /* Of a damaged record with a right checksum: not worth a trap. */
    if (__builtin_add_overflow(sum->used, used, &sum->used)) {
        sum->used = INT64_MAX;
    }
    return true;
}

static uint64_t mark_of(uint64_t auction, uint32_t imp_hash)
{
    uint64_t parts[2] = {auction, imp_hash};
    uint64_t mark = hash_bytes(parts, sizeof(parts), 0);
    return mark + (mark == 0);
}

bool event_sums_has(const struct event_sums *sums, uint64_t auction, uint32_t imp_hash)
{
    return *seen_slot(sums->seen, sums->seen_slots, mark_of(auction, imp_hash)) != 0;
}

enum status event_sums_mark(struct event_sums *sums, uint64_t auction, uint32_t imp_hash)
{
    if (sums->seen_count * 2 >= sums->seen_slots && !grow_seen(sums)) {
        return STATUS_NO_MEMORY;
    }
    uint64_t mark = mark_of(auction, imp_hash);
    uint64_t *slot = seen_slot(sums->seen, sums->seen_slots, mark);
    sums->seen_count += *slot == 0;
    *slot = mark;
    return STATUS_OK;
}

int64_t event_sums_since_us(const struct event_sums *sums)
{
    return sums->since_us;
}

enum status event_sums_add(struct event_sums *sums, const struct event_record *event)
{
    if (event->kind != EVENT_SETTLE) {
        return STATUS_OK;
    }
    if (event_sums_has(sums, event->auction, event->imp_hash)) {
        sums->duplicates++;
        return STATUS_OK;
    }
    enum status status = event_sums_mark(sums, event->auction, event->imp_hash);
    return status ? status : event_sums_count(sums, event);
}

enum status event_sums_count(struct event_sums *sums, const struct event_record *event)
{
    if (event->kind != EVENT_SETTLE) {
        return STATUS_OK;
    }
    for (uint32_t i = 0; i < event->budget_count; i++) {
        int64_t used = event->impressions >> i & 1 ? 1 : event->cost_micros;
        if (!event->budgets[i]) {
            continue;
        }
        if (!add_to(sums, event->budgets[i], event->owner, 0, used) ||
            (event->date && !add_to(sums, event->budgets[i], event->owner, event->date, used))) {
            return STATUS_NO_MEMORY;
        }
    }
    return STATUS_OK;
}

void event_sums_each(const struct event_sums *sums,
                     void (*fn)(void *context, const struct event_sum *sum), void *context)
{
    for (size_t i = 0; i < sums->account_slots; i++) {
        if (sums->accounts[i].ref) {
            fn(context, &sums->accounts[i]);
        }
    }
}

uint64_t event_sums_duplicates(const struct event_sums *sums)
{
    return sums->duplicates;
}

uint64_t event_sums_settled(const struct event_sums *sums)
{
    return sums->seen_count;
}

/* --- files ----------------------------------------------------------------------------------- */

static enum status read_bytes(struct str bytes,
                              enum status (*fn)(void *context, const struct event_record *event),
                              void *context, bool *bad, size_t *offset)
{
    struct str rest = bytes;
    struct event_record event;
    char scratch[EVENT_MAX_BYTES];
    enum event_read result;
    enum status status = STATUS_OK;
    while (!status && (result = event_record_next(&rest, &event, scratch)) == EVENT_READ_OK) {
        status = fn(context, &event);
    }
    *bad = !status && result == EVENT_READ_BAD;
    *offset = bytes.len - rest.len;
    return status;
}

enum status event_file_each(const char *path,
                            enum status (*fn)(void *context, const struct event_record *event),
                            void *context, bool *bad, size_t *offset)
{
    struct stat info;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    *bad = false;
    *offset = 0;
    if (fd < 0 || fstat(fd, &info) || !S_ISREG(info.st_mode)) {
        if (fd >= 0) {
            close(fd);
        }
        return STATUS_IO;
    }
    size_t size = (size_t)info.st_size;
    enum status status = STATUS_OK;
    if (size) {
        char *bytes = mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0);
        status = bytes == MAP_FAILED
                     ? STATUS_IO
                     : read_bytes((struct str){bytes, size}, fn, context, bad, offset);
        if (bytes != MAP_FAILED) {
            munmap(bytes, size);
        }
    }
    close(fd);
    return status;
}

/* Reading the files of one owner in the order they were written. */
struct folder_read {
    struct event_sums *sums;
    bool first;      /* totals count in the first file read, later they are in the sums already */
    uint64_t totals; /* of the file at hand: how many were announced, how many came */
    uint64_t announced;
};

static enum status add_record(void *context, const struct event_record *event)
{
    struct folder_read *read = context;
    if (event->kind == EVENT_OPENED && !read->sums->since_us) {
        read->sums->since_us = event->time_us;
    }
    if (event->kind != EVENT_TOTAL) {
        return event_sums_add(read->sums, event);
    }
    if (!read->first || event->budget_count != 1 || !event->budgets[0]) {
        return STATUS_OK;
    }
    return add_to(read->sums, event->budgets[0], event->owner, event->date, event->used)
               ? STATUS_OK
               : STATUS_NO_MEMORY;
}

static enum status count_totals(void *context, const struct event_record *event)
{
    struct folder_read *read = context;
    if (event->kind == EVENT_OPENED) {
        read->announced = event->sequence;
    } else if (event->kind == EVENT_TOTAL) {
        read->totals++;
    } else {
        return STATUS_LIMIT; /* enough seen */
    }
    return STATUS_OK;
}

/* Does the file begin with all the totals it announces? */
static bool has_totals(const char *path)
{
    struct folder_read read = {.first = false};
    bool bad;
    size_t offset;
    enum status status = event_file_each(path, count_totals, &read, &bad, &offset);
    return status != STATUS_IO && read.announced && read.totals + 1 == read.announced;
}

static enum status add_file(struct folder_read *read, const char *path)
{
    bool bad;
    size_t offset;
    enum status status = event_file_each(path, add_record, read, &bad, &offset);
    if (status == STATUS_IO) {
        log_warn("event log %s cannot be read: left out", path);
        return STATUS_OK;
    }
    if (bad) {
        log_warn("event log %s is damaged at byte %zu: read up to there", path, offset);
    }
    return status;
}

static int is_log(const struct dirent *entry)
{
    return event_log_is_name(str_from(entry->d_name));
}

/* "events-7-" of "events-7-20261122T09-00001.log" */
static struct str prefix_of(const char *name)
{
    const char *end = strchr(name + sizeof("events-") - 1, '-');
    return (struct str){name, end ? (size_t)(end - name) + 1 : strlen(name)};
}

static bool path_of(const char *dir, const char *name, char path[4096])
{
    return snprintf(path, 4096, "%s/%s", dir, name) < 4096;
}

/* names[0..count) are one owner's, in order. */
static enum status add_files(struct event_sums *sums, const char *dir, struct dirent **names,
                             int count, bool newest_only)
{
    struct folder_read read = {.sums = sums, .first = true};
    enum status status = STATUS_OK;
    char path[4096];
    int at = newest_only ? count - 1 : 0;
    while (at > 0 && !(path_of(dir, names[at]->d_name, path) && has_totals(path))) {
        at--;
    }
    for (; at < count && !status; at++) {
        if (path_of(dir, names[at]->d_name, path)) {
            status = add_file(&read, path);
            read.first = false;
        }
    }
    return status;
}

enum status event_sums_add_folder(struct event_sums *sums, const char *dir, uint32_t owner)
{
    struct dirent **names;
    char wanted[32];
    int count = scandir(dir, &names, is_log, alphasort);
    if (count < 0) {
        return STATUS_IO;
    }
    snprintf(wanted, sizeof(wanted), "events-%u-", owner);
    enum status status = STATUS_OK;
    for (int first = 0, next; first < count && !status; first = next) {
        struct str prefix = prefix_of(names[first]->d_name);
        for (next = first + 1; next < count && str_eq(prefix, prefix_of(names[next]->d_name));
             next++) {
        }
        if (!owner || str_eq(prefix, str_from(wanted))) {
            status = add_files(sums, dir, names + first, next - first, owner != 0);
        }
    }
    for (int i = 0; i < count; i++) {
        free(names[i]);
    }
    free(names);
    return status;
}
