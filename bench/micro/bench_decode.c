/* Nanoseconds per bid request decoded: the fast decoder, the cJSON oracle (its strict pass
 * included), what cJSON alone takes to parse into an arena; for a .pb file the protobuf decoder.
 *
 *   build/release/bench/bench_decode [FILE.json | FILE.pb ...]
 *
 * x is the ratio to the first line of all. Rounds of all decoders alternate, so that a change of
 * clock speed hits them alike; the median round counts. Ratios travel between machines, nanoseconds
 * do not. */
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
    bool pb; /* for .pb files; the others for JSON */
    enum bidreq_reject (*decode)(struct str, struct arena *, struct bid_request *);
} decoders[] = {
    {"fast", false, openrtb_json_decode},
    {"cjson oracle", false, openrtb_cjson_decode},
    {"cjson parse only", false, cjson_parse_only},
    {"protobuf", true, openrtb_pb_decode},
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
    bool pb = strlen(path) > 3 && strcmp(path + strlen(path) - 3, ".pb") == 0;
    double ns[COUNT_OF(decoders)][ROUNDS];
    for (int round = 0; round < ROUNDS; round++) {
        for (size_t i = 0; i < COUNT_OF(decoders); i++) {
            ns[i][round] = decoders[i].pb == pb ? round_ns(i, body) : 0;
        }
    }
    printf("%s: %zu B\n", path, body.len);
    for (size_t i = 0; i < COUNT_OF(decoders); i++) {
        static double first;
        if (decoders[i].pb != pb) {
            continue;
        }
        qsort(ns[i], ROUNDS, sizeof(ns[i][0]), by_value);
        double median = ns[i][ROUNDS / 2];
        first = first > 0 ? first : median;
        printf("  %-18s %8.0f ns  x%.2f  %7.0f MB/s\n", decoders[i].name, median, median / first,
               (double)body.len * 1000.0 / median);
    }
}

int main(int argc, char **argv)
{
    BUG_ON(!arena_init(&arena, 1 << 20, 1 << 26));
    static char json[] = "tests/data/openrtb/pdb_video_deals.json";
    static char pb[] = "tests/data/openrtb/pdb_video_deals.pb";
    char *standard[] = {argv[0], json, pb};
    char **paths = argc > 1 ? argv : standard;
    int count = argc > 1 ? argc : 3;
    for (int i = 1; i < count; i++) {
        bench(paths[i]);
    }
    return 0;
}
