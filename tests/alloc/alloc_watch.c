/* A library to preload: counts allocations by the place they are made from. Owns a table in a file
 * that the watching script maps too (ALLOC_WATCH names it): the script says which process counts
 * and reads the sites; nothing is sent, no signal is needed.
 *
 *   file   head { pid watched, base and end of the program's text, total, lost | sites[] }
 *   site   frames of the caller; inserted once, found again by comparing frames
 *
 * "Ours" means that the innermost frame is the program's own: libraries are linked dynamically. One
 * thread of the watched process counts; another one's allocations (loading a catalog) would be
 * mixed in, so none is loaded meanwhile. */
#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <link.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define MAX_SITES  256
#define MAX_FRAMES 12
#define OWN_FRAMES 2 /* note, and the wrapper that was called */

struct site {
    uint64_t count, bytes;
    uint64_t frames[MAX_FRAMES]; /* innermost first; 0 behind the last */
    char object[64];             /* where the innermost lies */
};

struct watch {
    uint64_t pid; /* written by the script; 0: nobody counts */
    uint64_t text_begin, text_end;
    uint64_t total, lost; /* lost: more sites than MAX_SITES */
    struct site sites[MAX_SITES];
};

static struct watch *watch;
static __thread bool inside;

/* dlsym may itself allocate before it has found us the real ones. */
static char early[16384];
static size_t early_used;

static void *early_alloc(size_t bytes)
{
    size_t need = (bytes + 15) & ~(size_t)15;
    if (need > sizeof(early) - early_used) {
        return NULL;
    }
    void *piece = early + early_used;
    early_used += need;
    return piece;
}

static bool is_early(const void *piece)
{
    return (const char *)piece >= early && (const char *)piece < early + sizeof(early);
}

static void *real(const char *name)
{
    inside = true;
    void *found = dlsym(RTLD_NEXT, name);
    inside = false;
    return found;
}

/* --- the table ------------------------------------------------------------------------------ */

static int take_program(struct dl_phdr_info *info, size_t size, void *context)
{
    struct watch *into = context;
    (void)size;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *header = &info->dlpi_phdr[i];
        if (header->p_type == PT_LOAD) {
            uint64_t end = info->dlpi_addr + header->p_vaddr + header->p_memsz;
            into->text_begin = info->dlpi_addr;
            into->text_end = end > into->text_end ? end : into->text_end;
        }
    }
    return 1; /* the program comes first; no other is wanted */
}

static __attribute__((constructor)) void watch_setup(void)
{
    const char *path = getenv("ALLOC_WATCH");
    int fd = path ? open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600) : -1;
    if (fd < 0 || ftruncate(fd, sizeof(*watch)) != 0) {
        return;
    }
    void *mapped = mmap(NULL, sizeof(*watch), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (mapped == MAP_FAILED) {
        return;
    }
    void *frame;
    inside = true;
    backtrace(&frame, 1); /* loads libgcc now, which allocates */
    dl_iterate_phdr(take_program, mapped);
    inside = false;
    watch = mapped;
}

static __attribute__((noinline)) void note(size_t bytes)
{
    void *frames[MAX_FRAMES + OWN_FRAMES];
    inside = true;
    int count = backtrace(frames, MAX_FRAMES + OWN_FRAMES) - OWN_FRAMES;
    uint64_t own[MAX_FRAMES] = {0};
    for (int i = 0; i < count; i++) {
        own[i] = (uint64_t)(uintptr_t)frames[i + OWN_FRAMES];
    }
    watch->total++;
    struct site *site = watch->sites, *end = site + MAX_SITES;
    while (site < end && site->count && memcmp(site->frames, own, sizeof(own)) != 0) {
        site++;
    }
    if (site == end) {
        watch->lost++;
    } else {
        if (!site->count) {
            Dl_info info;
            memcpy(site->frames, own, sizeof(own));
            if (count > 0 && dladdr(frames[OWN_FRAMES], &info) && info.dli_fname) {
                size_t len = strlen(info.dli_fname);
                size_t keep = len < sizeof(site->object) ? len : sizeof(site->object) - 1;
                memcpy(site->object, info.dli_fname + len - keep, keep);
            }
        }
        site->count++;
        site->bytes += bytes;
    }
    inside = false;
}

static inline bool watched(void)
{
    return watch && !inside && watch->pid && watch->pid == (uint64_t)getpid();
}

/* --- what is counted ------------------------------------------------------------------------ */

void *malloc(size_t bytes)
{
    static void *(*next)(size_t);
    if (!next) {
        if (inside) {
            return early_alloc(bytes);
        }
        *(void **)&next = real("malloc");
    }
    if (watched()) {
        note(bytes);
    }
    return next(bytes);
}

void *calloc(size_t count, size_t size)
{
    static void *(*next)(size_t, size_t);
    if (!next) {
        if (inside) {
            return early_alloc(count * size); /* static memory is zero */
        }
        *(void **)&next = real("calloc");
    }
    if (watched()) {
        note(count * size);
    }
    return next(count, size);
}

void *realloc(void *old, size_t bytes)
{
    static void *(*next)(void *, size_t);
    if (!next) {
        *(void **)&next = real("realloc");
    }
    if (is_early(old)) {
        void *moved = malloc(bytes);
        size_t left = (size_t)(early + sizeof(early) - (char *)old);
        if (moved) {
            memcpy(moved, old, bytes < left ? bytes : left);
        }
        return moved;
    }
    if (watched()) {
        note(bytes);
    }
    return next(old, bytes);
}

int posix_memalign(void **piece, size_t align, size_t bytes)
{
    static int (*next)(void **, size_t, size_t);
    if (!next) {
        *(void **)&next = real("posix_memalign");
    }
    if (watched()) {
        note(bytes);
    }
    return next(piece, align, bytes);
}

void *aligned_alloc(size_t align, size_t bytes)
{
    static void *(*next)(size_t, size_t);
    if (!next) {
        *(void **)&next = real("aligned_alloc");
    }
    if (watched()) {
        note(bytes);
    }
    return next(align, bytes);
}

void free(void *piece)
{
    static void (*next)(void *);
    if (is_early(piece)) {
        return;
    }
    if (!next) {
        *(void **)&next = real("free");
    }
    next(piece);
}
