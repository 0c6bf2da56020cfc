/* Nanoseconds per bid request decoded: the fast decoder, the cJSON oracle (its strict pass
 * included), and what cJSON alone takes to parse into an arena.
 *
 *   build/release/bench/bench_decode [FILE.json ...]
 *
 * Rounds of all decoders alternate, so that a change of clock speed hits them alike; the median
 * round counts. Ratios travel between machines, nanoseconds do not. */
#include <stdio.h>
#include <stdlib.h>

#include <cjson/cJSON.h>

#include "bidder/base/bug.h"
#include "bidder/base/clock.h"
#include "proto/openrtb.h"

#define ROUNDS         21
#define ROUND_US       10000
#define DECODES_A_LOOK 16 /* between two looks at the clock */

static struct arena arena;
static struct bid_request request;

static void *cjson_malloc(size_t bytes)
{
    return arena_alloc(&arena, bytes);
}

static void cjson_free(void *pointer)
{
    (void)pointer;
}

static enum bidreq_reject cjson_parse_only(struct str body, struct arena *unused,
                                           struct bid_request *ignored)
{
    (void)unused;
    (void)ignored;
    cJSON_Hooks hooks = {.malloc_fn = cjson_malloc, .free_fn = cjson_free};
    cJSON_InitHooks(&hooks);
    return cJSON_ParseWithLength(body.ptr, body.len) ? BIDREQ_OK : BIDREQ_NOT_JSON;
}

static const struct {
    const char *name;
    enum bidreq_reject (*decode)(struct str, struct arena *, struct bid_request *);
} decoders[] = {
    {"fast", openrtb_json_decode},
    {"cjson oracle", openrtb_cjson_decode},
    {"cjson parse only", cjson_parse_only},
};

static double round_ns(size_t which, struct str body)
{
    int64_t started = clock_mono_us(), now;
    int64_t done = 0;
    do {
        for (int i = 0; i < DECODES_A_LOOK; i++) {
            arena_reset(&arena);
            enum bidreq_reject reject = decoders[which].decode(body, &arena, &request);
            BUG_ON(reject == BIDREQ_NO_MEMORY);
        }
        done += DECODES_A_LOOK;
        now = clock_mono_us();
    } while (now - started < ROUND_US);
    return (double)(now - started) * 1000.0 / (double)done;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void bench(const char *path)
{
    FILE *file = fopen(path, "rb");
    if (!file) {
        perror(path);
        return;
    }
    static char data[1 << 20];
    struct str body = {.ptr = data, .len = fread(data, 1, sizeof(data), file)};
    fclose(file);
    double ns[COUNT_OF(decoders)][ROUNDS];
    for (int round = 0; round < ROUNDS; round++) {
        for (size_t i = 0; i < COUNT_OF(decoders); i++) {
            ns[i][round] = round_ns(i, body);
        }
    }
    printf("%s: %zu B, %s\n", path, body.len,
           bidreq_reject_name(openrtb_json_decode(body, &arena, &request)));
    for (size_t i = 0; i < COUNT_OF(decoders); i++) {
        qsort(ns[i], ROUNDS, sizeof(ns[i][0]), by_value);
        printf("  %-18s %8.0f ns  x%.2f  %7.0f MB/s\n", decoders[i].name, ns[i][ROUNDS / 2],
               ns[i][ROUNDS / 2] / ns[0][ROUNDS / 2],
               (double)body.len * 1000.0 / ns[i][ROUNDS / 2]);
    }
}

int main(int argc, char **argv)
{
    BUG_ON(!arena_init(&arena, 1 << 20, 1 << 26));
    static char own[] = "tests/data/openrtb/pdb_video_deals.json";
    char *standard[] = {argv[0], own};
    char **paths = argc > 1 ? argv : standard;
    int count = argc > 1 ? argc : 2;
    for (int i = 1; i < count; i++) {
        bench(paths[i]);
    }
    return 0;
}
