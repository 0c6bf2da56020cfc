/* Loading catalogs in tests. */
#pragma once

#include <stdlib.h>

#include "bidder/catalog_load.h"

struct loaded {
    enum status status;
    struct catalog *catalog; /* NULL unless STATUS_OK */
    struct problem_list problems;
    struct arena arena;
    struct buf text; /* of the file */
    struct buf out;
    struct str printed; /* problems as printed, of file "f" */
};

static inline void load_text(struct loaded *loaded, struct str text)
{
    *loaded = (struct loaded){.status = STATUS_NO_MEMORY};
    buf_init(&loaded->text, 1u << 30);
    buf_init(&loaded->out, 1u << 24);
    if (!arena_init(&loaded->arena, 65536, 1u << 26)) {
        abort();
    }
    problem_list_init(&loaded->problems, &loaded->arena);
    /* Exactly as large as the text, so that ASan sees a read one byte too far. */
    char *copy = malloc(text.len ? text.len : 1);
    if (text.len) {
        memcpy(copy, text.ptr, text.len);
    }
    loaded->status =
        catalog_load((struct str){copy, text.len}, NULL, 1, &loaded->catalog, &loaded->problems);
    free(copy); /* a snapshot must not look into the text */
    problem_list_print(&loaded->problems, STR("f"), &loaded->out);
    loaded->printed = buf_str(&loaded->out);
}

static inline struct str read_whole_file(const char *path, struct buf *out)
{
    FILE *file = fopen(path, "rb");
    if (!file) {
        perror(path);
        abort();
    }
    for (char *to; (to = buf_reserve(out, 65536)) != NULL;) {
        size_t got = fread(to, 1, 65536, file);
        out->len += got;
        if (got == 0) {
            break;
        }
    }
    fclose(file);
    return buf_str(out);
}

static inline void load_file(struct loaded *loaded, const char *path)
{
    struct buf text;
    buf_init(&text, 1u << 30);
    load_text(loaded, read_whole_file(path, &text));
    buf_deinit(&loaded->text);
    loaded->text = text;
}

static inline void unload(struct loaded *loaded)
{
    catalog_release(&loaded->catalog);
    problem_list_deinit(&loaded->problems);
    arena_deinit(&loaded->arena);
    buf_deinit(&loaded->text);
    buf_deinit(&loaded->out);
}
