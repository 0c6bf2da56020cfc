/* What frequency caps cost, by the real store against a real Redis.
 *
 *   bench_caps ADDRESS memory [PERSONS]          bytes per person by number of exposures
 *   bench_caps ADDRESS latency RATE SECONDS      open loop: time of the read and of the reserve
 *   bench_caps ADDRESS saturate SECONDS WORKERS  closed loop: decisions a second, Redis's CPU
 *
 * A decision is a read; in half of them a reserve follows, and every reserve is confirmed. Persons
 * know 0 to 4 exposures. Times run from the planned start of a decision to its callback. WORKERS
 * processes share the persons. Everything in the server is deleted first. */
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bidder/base/bug.h"
#include "bidder/base/hist.h"
#include "bidder/base/log.h"
#include "bidder/base/loop.h"
#include "bidder/base/prng.h"
#include "frequency/freq_store.h"

#define IN_FLIGHT     64
#define MAX_IN_FLIGHT 8192
#define PERSONS       100000
#define CAPS          4

static const char *address;
static struct loop loop;
static struct redis *redis;
static struct freq_store *store;
static struct cap_book book;
static struct cap caps[CAPS];
static const uint32_t cap_items[CAPS] = {0, 1, 2, 3};
static const struct cap_list line_caps = {cap_items, CAPS}, no_caps = {NULL, 0};
static const struct cap_book_entry line_entry[1] = {{7, {cap_items, CAPS}}};
static struct prng prng;
static struct hist read_ns, reserve_ns;
static uint64_t decisions, reserves, missed;
static bool closed_loop, stopping;
static uint32_t running;

struct decision {
    struct freq_read *read;
    struct freq_ticket ticket;
    int64_t from_ns;
    struct decision *next;
    bool reserve;
};

static struct decision pool[MAX_IN_FLIGHT], *free_decisions;

static int64_t now_s(void)
{
    return clock_wall_us() / 1000000;
}

static struct person_key key_of(uint64_t number)
{
    struct person_key key;
    uint64_t bits[2] = {prng_mix(number + 1), prng_mix(~number)};
    memcpy(key.bytes, bits, PERSON_KEY_BYTES);
    key.bytes[0] |= 0x80;
    return key;
}

static void start(int64_t from_ns);

static void end(struct decision *decision)
{
    freq_read_finish(&decision->read);
    decision->next = free_decisions;
    free_decisions = decision;
    running--;
    if (closed_loop && !stopping) {
        start(clock_mono_ns());
    }
}

static void on_reserved(void *owner, enum freq_reserve_result result,
                        const struct freq_verdict *verdict)
{
    struct decision *decision = owner;
    (void)verdict;
    if (result == FREQ_RESERVED) {
        hist_add(&reserve_ns, (uint64_t)(clock_mono_ns() - decision->from_ns));
        reserves++;
        freq_confirm(store, &decision->ticket, book.retention_s);
    } else {
        missed += result != FREQ_LOST_RACE;
    }
    end(decision);
}

static void on_read(void *owner, struct freq_read *read, const struct freq_view *view)
{
    struct decision *decision = owner;
    int64_t now_ns = clock_mono_ns();
    decisions++;
    if (view->outcome != FREQ_KNOWN) {
        missed++;
        end(decision);
        return;
    }
    hist_add(&read_ns, (uint64_t)(now_ns - decision->from_ns));
    if (!decision->reserve ||
        freq_check(&book, view, line_caps, no_caps, now_s()).kind != FREQ_OPEN) {
        end(decision);
        return;
    }
    decision->from_ns = now_ns;
    struct exposure_refs refs = {.line = 7, .creative = 8, .brand = 9};
    if (freq_reserve(store, read, &book, line_caps, no_caps, refs, 60, false, now_s(), INT64_MAX,
                     &decision->ticket, on_reserved, decision) != STATUS_OK) {
        missed++;
        end(decision);
    }
}

static void start(int64_t from_ns)
{
    struct decision *decision = free_decisions;
    struct person person = {.key_count = 1, .keys = {key_of(prng_below(&prng, PERSONS))}};
    if (!decision) {
        missed++;
        return;
    }
    free_decisions = decision->next;
    running++;
    decision->from_ns = from_ns;
    decision->reserve = prng_below(&prng, 2);
    decision->read = freq_read_start(store, &person, now_s(), INT64_MAX, on_read, decision);
    if (!decision->read) {
        missed++;
        end(decision);
    }
}

static void open_store(void)
{
    static struct arena arena;
    static struct tz tz;
    for (int i = 0; i < CAPS; i++) { /* never reached: the bench is about cost */
        caps[i] = (struct cap){.max = 100000, .window = CAP_ROLLING, .window_s = (i + 1) * 604800};
    }
    BUG_ON(loop_init(&loop) != STATUS_OK || !arena_init(&arena, 65536, 1 << 20));
    BUG_ON(tz_load(STR("UTC"), &arena, &tz) != STATUS_OK);
    BUG_ON(cap_book_build(&book, &arena, &tz, caps, CAPS, 90 * 86400, line_entry, 1, NULL, 0, NULL,
                          0) != STATUS_OK);
    struct redis_options redis_options = {.address = address,
                                          .connect_timeout_us = 1000000,
                                          .command_timeout_us = 2000000,
                                          .max_in_flight = 65536};
    struct freq_store_options store_options = {.max_reads = MAX_IN_FLIGHT, .timeout_us = 2000000};
    redis = redis_create(&loop, &redis_options);
    store = redis ? freq_store_create(redis, &store_options) : NULL;
    BUG_ON(!store);
    for (uint32_t i = 0; i < MAX_IN_FLIGHT; i++) {
        pool[i].next = free_decisions;
        free_decisions = &pool[i];
    }
    prng.state = (uint64_t)clock_mono_ns() ^ (uint64_t)getpid() << 32;
    while (!redis_is_up(redis)) {
        loop_turn(&loop, true);
    }
}

static void close_store(void)
{
    freq_store_destroy(&store);
    redis_destroy(&redis);
    loop_deinit(&loop);
}

/* --- the server's own figures --------------------------------------------------------------- */

static double info(struct redis_sync *sync, const char *section, const char *name)
{
    struct str argv[] = {STR("INFO"), str_from(section)};
    const struct redis_value *value = redis_sync_command(sync, 2, argv);
    BUG_ON(!value || value->type != REDIS_STRING);
    const char *at = strstr(value->text.ptr, name);
    BUG_ON(!at);
    return strtod(at + strlen(name) + 1, NULL);
}

static double cpu_s(struct redis_sync *sync)
{
    return info(sync, "cpu", "used_cpu_user_main_thread") +
           info(sync, "cpu", "used_cpu_sys_main_thread");
}

static struct redis_sync *tool(void)
{
    struct buf error;
    buf_init(&error, 1024);
    struct redis_sync *sync = redis_sync_connect(address, 60000000, &error);
    if (!sync) {
        fprintf(stderr, "bench_caps: %.*s\n", STR_ARG(buf_str(&error)));
        exit(1);
    }
    buf_deinit(&error);
    return sync;
}

static void flush_all(struct redis_sync *sync)
{
    struct str argv[] = {STR("FLUSHALL")};
    BUG_ON(!redis_sync_command(sync, 1, argv));
}

/* Exposures for persons 0..count, most shown of them each, or a random number up to it. */
static void fill(uint64_t count, uint32_t most, bool random)
{
    for (uint64_t n = 0; n < count; n++) {
        struct freq_ticket ticket = {.keys = {key_of(n)}, .key_count = 1};
        uint32_t times = random ? (uint32_t)prng_below(&prng, most + 1) : most;
        for (uint32_t i = 0; i < times; i++) {
            ticket.time_s = (uint32_t)now_s() - i * 3600;
            ticket.salt = (uint32_t)prng_next(&prng) & 0xffffff;
            ticket.refs = (struct exposure_refs){.line = 7, .creative = 8, .brand = 9};
            freq_hold(store, NULL, &ticket, FREQ_ANNOUNCED);
            freq_confirm(store, &ticket, book.retention_s);
        }
        if (n % 500 == 499 || n + 1 == count) { /* fewer than the store can wait for at once */
            while (freq_store_stats(store)->confirms_stored < freq_store_stats(store)->confirms) {
                loop_turn(&loop, true);
            }
        }
    }
}

static void run_memory(uint64_t persons)
{
    static const uint32_t exposures[] = {1, 2, 3, 4, 8, 16};
    struct redis_sync *sync = tool();
    printf("| exposures | bytes per person |\n|---|---|\n");
    for (size_t i = 0; i < COUNT_OF(exposures); i++) {
        flush_all(sync);
        double before = info(sync, "memory", "used_memory");
        fill(persons, exposures[i], false);
        double after = info(sync, "memory", "used_memory");
        printf("| %u | %.0f |\n", exposures[i], (after - before) / (double)persons);
        fflush(stdout);
    }
    flush_all(sync);
    redis_sync_close(&sync);
}

static void print_hist(const char *name, const struct hist *hist)
{
    printf("| %s | %llu | %.0f | %.0f | %.0f | %.0f |\n", name, (unsigned long long)hist->count,
           (double)hist_quantile(hist, 0.5) / 1e3, (double)hist_quantile(hist, 0.99) / 1e3,
           (double)hist_quantile(hist, 0.999) / 1e3, (double)hist->max / 1e3);
}

static void run_latency(int64_t rate, int64_t seconds)
{
    struct redis_sync *sync = tool();
    flush_all(sync);
    fill(PERSONS, 4, true);
    uint64_t commands = redis_stats(redis)->commands;
    double cpu = cpu_s(sync);
    int64_t began_ns = clock_mono_ns();
    for (int64_t planned = 0; planned < rate * seconds;) {
        int64_t now_ns = clock_mono_ns();
        while (planned < rate * seconds && began_ns + planned * 1000000000 / rate <= now_ns) {
            start(began_ns + planned++ * 1000000000 / rate);
        }
        loop_turn(&loop, false);
    }
    while (running) {
        loop_turn(&loop, true);
    }
    double took_s = (double)(clock_mono_ns() - began_ns) / 1e9;
    printf("%.0f decisions/s delivered of %lld, %.2f commands per decision, missed %llu, Redis "
           "%.1f us CPU per decision\n\n",
           (double)decisions / took_s, (long long)rate,
           (double)(redis_stats(redis)->commands - commands) / (double)decisions,
           (unsigned long long)missed, (cpu_s(sync) - cpu) / (double)decisions * 1e6);
    printf("| us | count | p50 | p99 | p99.9 | max |\n|---|---|---|---|---|---|\n");
    print_hist("read", &read_ns);
    print_hist("reserve", &reserve_ns);
    redis_sync_close(&sync);
}

static uint64_t saturate_worker(int64_t seconds)
{
    open_store();
    closed_loop = true;
    int64_t end_us = clock_mono_us() + seconds * 1000000;
    for (int i = 0; i < IN_FLIGHT; i++) {
        start(clock_mono_ns());
    }
    while (clock_mono_us() < end_us) {
        loop_turn(&loop, true);
    }
    stopping = true;
    while (running) {
        loop_turn(&loop, true);
    }
    close_store();
    return decisions - missed;
}

static void run_saturate(int64_t seconds, int64_t workers)
{
    struct redis_sync *sync = tool();
    int pipes[2];
    flush_all(sync);
    open_store();
    fill(PERSONS, 4, true);
    close_store();
    BUG_ON(pipe(pipes));
    double cpu = cpu_s(sync);
    int64_t began_us = clock_mono_us();
    for (int64_t i = 0; i < workers; i++) {
        if (fork() == 0) {
            uint64_t made = saturate_worker(seconds);
            _exit(write(pipes[1], &made, sizeof(made)) != sizeof(made));
        }
    }
    uint64_t all = 0, made;
    for (int64_t i = 0; i < workers && read(pipes[0], &made, sizeof(made)) == sizeof(made); i++) {
        all += made;
    }
    double took_s = (double)(clock_mono_us() - began_us) / 1e6, used_s = cpu_s(sync) - cpu;
    while (wait(NULL) > 0) {
    }
    printf("%lld workers: %.0f decisions/s; Redis busy %.0f%%, %.1f us per decision: one Redis "
           "core carries %.0f/s\n",
           (long long)workers, (double)all / took_s, used_s / took_s * 100,
           used_s / (double)all * 1e6, (double)all / used_s);
    redis_sync_close(&sync);
}

int main(int argc, char **argv)
{
    int64_t first = 0, second = 0;
    const char *mode = argc > 2 ? argv[2] : "";
    bool good = (argc <= 3 || str_to_i64(str_from(argv[3]), &first)) &&
                (argc <= 4 || str_to_i64(str_from(argv[4]), &second));
    address = argc > 1 ? argv[1] : NULL;
    log_set_level(LOG_ERROR);
    if (good && strcmp(mode, "memory") == 0) {
        open_store();
        run_memory(first > 0 ? (uint64_t)first : 200000);
        close_store();
    } else if (good && strcmp(mode, "latency") == 0 && first > 0 && second > 0) {
        open_store();
        run_latency(first, second);
        close_store();
    } else if (good && strcmp(mode, "saturate") == 0 && first > 0 && second > 0) {
        run_saturate(first, second);
    } else {
        fprintf(stderr, "usage: bench_caps ADDRESS memory [PERSONS] | latency RATE SECONDS | "
                        "saturate SECONDS WORKERS\n");
        return 2;
    }
    return 0;
}
