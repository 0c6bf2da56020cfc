/* Reading fixtures, for the tests of the wire formats. */
#pragma once

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>

#include "bidder/base/arena.h"
#include "bidder/base/buf.h"
#include "bidder/base/bug.h"
#include "proto/bidreq_dump.h"
#include "proto/openrtb.h"

typedef enum bidreq_reject decode_fn(struct str, struct arena *, struct bid_request *);

/* The file's bytes in a block of exactly their size, so that ASan sees a read one byte too far.
 * ptr is NULL when there is no such file; the caller frees it. */
static inline struct str fixture_read(const char *path)
{
    FILE *file = fopen(path, "rb");
    if (!file) {
        return STR_NONE;
    }
    fseek(file, 0, SEEK_END);
    long size = ftell(file);
    rewind(file);
    char *data = malloc(size > 0 ? (size_t)size : 1);
    BUG_ON(!data || fread(data, 1, (size_t)size, file) != (size_t)size);
    fclose(file);
    return (struct str){.ptr = data, .len = (size_t)size};
}

static inline struct str str_copy_exact(struct str text)
{
    char *copy = malloc(text.len ? text.len : 1);
    BUG_ON(!copy);
    if (text.len) {
        memcpy(copy, text.ptr, text.len);
    }
    return (struct str){.ptr = copy, .len = text.len};
}

/* Calls fn for every .json file below folder; returns how many there were. */
static inline int fixture_each(const char *folder, void (*fn)(const char *path, struct str body))
{
    struct dirent **names;
    int found = scandir(folder, &names, NULL, alphasort), count = 0;
    for (int i = 0; i < found; i++) {
        char path[1024];
        snprintf(path, sizeof(path), "%s/%s", folder, names[i]->d_name);
        size_t len = strlen(path);
        if (names[i]->d_name[0] == '.') {
            /* neither . nor .. nor hidden files */
        } else if (len > 5 && strcmp(path + len - 5, ".json") == 0) {
            struct str body = fixture_read(path);
            fn(path, body);
            free((char *)(uintptr_t)body.ptr);
            count++;
        } else {
            count += fixture_each(path, fn);
        }
        free(names[i]);
    }
    if (found >= 0) {
        free(names);
    }
    return count;
}

/* The reason, a line feed, and for a good request its dump. */
static inline void decode_dump(decode_fn *decode, struct str body, struct buf *out)
{
    struct arena arena;
    struct bid_request request;
    BUG_ON(!arena_init(&arena, 256 * 1024, 64 * 1024 * 1024));
    enum bidreq_reject reject = decode(body, &arena, &request);
    buf_reset(out);
    buf_printf(out, "%s\n", bidreq_reject_name(reject));
    if (reject == BIDREQ_OK) {
        bidreq_dump(&request, BIDREQ_DUMP_ALL, out);
    }
    arena_deinit(&arena);
}
