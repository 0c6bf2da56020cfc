#include "pacing/swap_state.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <unistd.h>

#define MAGIC      "JCSWAP1"
#define BOOT_BYTES 40

struct swap_file {
    char magic[8];
    char boot[BOOT_BYTES]; /* which run of the machine wrote it */
    uint32_t clean;        /* closed in order, and on the disk */
    uint32_t spare;
    struct swap_saved entries[SWAP_STATE_ENTRIES];
};

struct swap_state {
    int fd;
    struct swap_file *file; /* mapped */
};

static void read_boot(char boot[BOOT_BYTES])
{
    memset(boot, 0, BOOT_BYTES);
    int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    if (fd >= 0) {
        ssize_t len = read(fd, boot, BOOT_BYTES - 1);
        if (len < 0) {
            memset(boot, 0, BOOT_BYTES);
        }
        close(fd);
    }
}

/* Starts from nothing unless what lies there can be gone on with. */
static void adopt(struct swap_file *file)
{
    char boot[BOOT_BYTES];
    read_boot(boot);
    bool ours = memcmp(file->magic, MAGIC, sizeof(file->magic)) == 0;
    bool same = boot[0] && memcmp(file->boot, boot, BOOT_BYTES) == 0;
    if (!ours || (!same && !file->clean)) {
        memset(file, 0, sizeof(*file));
    }
    file->clean = 0;
    memcpy(file->boot, boot, BOOT_BYTES);
    memcpy(file->magic, MAGIC, sizeof(file->magic));
}

struct swap_state *swap_state_open(const char *path)
{
    struct swap_state *state = calloc(1, sizeof(*state));
    if (!state) {
        return NULL;
    }
    state->fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0640);
    if (state->fd < 0 || flock(state->fd, LOCK_EX | LOCK_NB) ||
        ftruncate(state->fd, sizeof(struct swap_file))) {
        goto fail;
    }
    state->file =
        mmap(NULL, sizeof(*state->file), PROT_READ | PROT_WRITE, MAP_SHARED, state->fd, 0);
    if (state->file == MAP_FAILED) {
        goto fail;
    }
    adopt(state->file);
    return state;
fail:;
    int error = errno;
    if (state->fd >= 0) {
        close(state->fd);
    }
    free(state);
    errno = error;
    return NULL;
}

void swap_state_close(struct swap_state **state)
{
    if (*state) {
        struct swap_file *file = (*state)->file;
        if (msync(file, sizeof(*file), MS_SYNC) == 0) { /* first the numbers, then the word */
            file->clean = 1;
            (void)msync(file, sizeof(*file), MS_SYNC);
        }
        munmap(file, sizeof(*file));
        close((*state)->fd);
        free(*state);
        *state = NULL;
    }
}

struct swap_saved *swap_state_entry(struct swap_state *state, uint32_t ref)
{
    for (uint32_t i = 0; i < SWAP_STATE_ENTRIES; i++) {
        struct swap_saved *entry = &state->file->entries[i];
        if (entry->ref == ref || !entry->ref) {
            entry->ref = ref;
            return entry;
        }
    }
    return NULL;
}
