/* How long a catalog of so many line items takes to load, and the memory it keeps.
 *
 *   build/release/bench/bench_catalog [FILE.json ...]
 *
 * Without files it makes catalogs of 10 to 100,000 lines of the kind a planner writes: some
 * targeting, caps on two levels, a budget, shared creatives. Each is loaded once to warm up and
 * then ROUNDS times; the median counts. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "bidder/base/bug.h"
#include "bidder/base/clock.h"
#include "bidder/catalog_load.h"

#define ROUNDS 5

/* With the prefix "af-" no two of 100,000 ids (nor their budgets) meet in their 32-bit hash, which a load refuses. */
static void make_catalog(struct buf *out, uint32_t lines)
{
    BUF_PUT_LITERAL(
        out, "{\"timezone\":\"Asia/Shanghai\",\"currency\":\"CNY\","
             "\"exchanges\":[{\"id\":\"x\"}],"
             "\"advertisers\":[{\"id\":\"a\",\"domain\":\"a.example\",\"brands\":[{\"id\":"
             "\"b\",\"frequency_caps\":[\"week\"]}]}],"
             "\"frequency_caps\":[{\"id\":\"week\",\"max\":5,\"window\":{\"rolling\":\"7d\"}},"
             "{\"id\":\"day\",\"max\":2,\"window\":{\"calendar\":\"day\"}}],"
             "\"creatives\":[{\"id\":\"i\",\"type\":\"banner\",\"w\":300,\"h\":250,\"image\":"
             "\"https://cdn.example/i.png\",\"landing\":\"https://a.example/\"}],"
             "\"campaigns\":[");
    for (uint32_t i = 0; i < lines; i++) {
        bool first = i % 20 == 0, last = i % 20 == 19 || i + 1 == lines;
        if (first) {
            buf_printf(out,
                       "%s{\"id\":\"campaign-%u\",\"brand\":\"b\",\"start\":\"2026-01-01\","
                       "\"end\":\"2035-12-31\",\"budget\":{\"total\":1000000,\"daily\":5000},"
                       "\"line_items\":[",
                       i ? "," : "", i / 20);
        }
        buf_printf(out,
                   "%s\n{\"id\":\"af-%u\",\"buying\":\"rtb\",\"bid_cpm\":%u.%02u,"
                   "\"creatives\":[\"i\"],\"frequency_caps\":[\"day\"],"
                   "\"budget\":{\"daily\":%u,\"pacing\":\"asap\"},"
                   "\"targeting\":{\"geo\":{\"regions\":[\"31\",\"%u\"]},\"devices\":[\"mobile\"],"
                   "\"media\":{\"allow\":[\"app.medium%u.example\",\"app.medium%u.example\"]},"
                   "\"dayparts\":[{\"days\":\"mon-fri\",\"hours\":\"18-24\"}]}}%s",
                   first ? "" : ",", i, 5 + i % 20, i % 100, 100 + i % 900, 11 + i % 50, i % 200,
                   (i + 7) % 200, last ? "]}" : "");
    }
    BUF_PUT_LITERAL(out, "]}");
    BUG_ON(buf_failed(out));
}

static int compare_i64(const void *a, const void *b)
{
    int64_t left = *(const int64_t *)a, right = *(const int64_t *)b;
    return left < right ? -1 : left > right;
}

/* CPU time of this process: what a busy machine changes less. */
static int64_t cpu_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static void measure(const char *name, struct str text)
{
    int64_t took_us[ROUNDS], busy_us[ROUNDS];
    size_t kept_bytes = 0;
    uint32_t lines = 0;
    for (int round = -1; round < ROUNDS; round++) {
        struct arena arena;
        struct problem_list problems;
        struct catalog *catalog = NULL;
        BUG_ON(!arena_init(&arena, 65536, (size_t)16 << 20));
        problem_list_init(&problems, &arena);
        int64_t started_us = clock_mono_us(), started_cpu_us = cpu_us();
        enum status status = catalog_load(text, NULL, 1, &catalog, &problems);
        if (round >= 0) {
            took_us[round] = clock_mono_us() - started_us;
            busy_us[round] = cpu_us() - started_cpu_us;
        }
        if (status != STATUS_OK) {
            fprintf(stderr, "%s: %s, %u errors\n", name, status_name(status), problems.error_count);
            exit(1);
        }
        kept_bytes = catalog->arena.total_bytes;
        lines = catalog->line_count;
        catalog_release(&catalog);
        problem_list_deinit(&problems);
        arena_deinit(&arena);
    }
    qsort(took_us, ROUNDS, sizeof(took_us[0]), compare_i64);
    qsort(busy_us, ROUNDS, sizeof(busy_us[0]), compare_i64);
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    double median_us = (double)took_us[ROUNDS / 2];
    printf(
        "%-16s %6u lines %6.1f MB file %8.1f ms (cpu %8.1f) %6.2f us/line, %6.1f MB kept, peak so "
        "far %ld MB\n",
        name, lines, (double)text.len / 1e6, median_us / 1e3, (double)busy_us[ROUNDS / 2] / 1e3,
        lines ? median_us / lines : 0, (double)kept_bytes / 1e6, usage.ru_maxrss / 1024);
}

static void measure_file(const char *path)
{
    struct buf text;
    buf_init(&text, (size_t)1 << 30);
    FILE *file = fopen(path, "rb");
    size_t got = file ? 1 : 0;
    while (got) {
        char *to = buf_reserve(&text, 1 << 20);
        got = to ? fread(to, 1, 1 << 20, file) : 0;
        text.len += got;
    }
    if (!file) {
        perror(path);
        exit(1);
    }
    fclose(file);
    measure(path, buf_str(&text));
    buf_deinit(&text);
}

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        measure_file(argv[i]);
    }
    for (uint32_t lines = 10; argc == 1 && lines <= 100000; lines *= 10) {
        struct buf text;
        buf_init(&text, (size_t)1 << 30);
        make_catalog(&text, lines);
        measure("made", buf_str(&text));
        buf_deinit(&text);
    }
    return 0;
}
