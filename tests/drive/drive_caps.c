/* Drives the real frequency store against a real Redis at a steady rate and reports as JSON lines:
 * what was asked, what was answered, how often an answer came twice, and all counters.
 *
 *   drive_caps ADDRESS [--persons N] [--rate PER_S] [--seconds S] [--max CAP] [--timeout-us N]
 *              [--seed N] [--burst N] [--hold S]
 *
 * Ends after --seconds, or at SIGTERM; what is on its way is waited for either way.
 * Each decision: read a person, and when no cap is hit reserve, then confirm 3 in 4 (twice, now and
 * then) and release the rest. One line every 100 ms and one at the end ("final": true). Persons are
 * numbered by --seed, so that two drivers with one seed compete for the same ones. */
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "bidder/base/bug.h"
#include "bidder/base/log.h"
#include "bidder/base/loop.h"
#include "bidder/base/prng.h"
#include "frequency/freq_store.h"

#define MAX_RUNNING 4096

struct options {
    const char *address;
    int64_t persons, rate, seconds, max, timeout_us, seed, burst, hold_s;
};

struct decision {
    struct freq_read *read;
    struct freq_ticket ticket;
    bool running;
    int answers; /* of the step that is waited for */
    uint32_t person;
};

static struct {
    struct options options;
    struct loop loop;
    struct redis *redis;
    struct freq_store *store;
    struct cap_book book;
    struct prng prng;
    struct decision decisions[MAX_RUNNING];
    uint32_t next;
    uint64_t started, refused, reads[FREQ_OUTCOME_COUNT], reserves[4], capped, wrong;
    int64_t begin_us, last_line_us;
    struct loop_timer timer;
} drive;

static const struct cap caps[1] = {{.id = {"cap", 3}, .window = CAP_LIFETIME}};
static struct cap cap_used[1];
static const uint32_t cap_items[1] = {0};
static const struct cap_list line_caps = {cap_items, 1};
static const struct cap_list no_caps = {NULL, 0};
static const struct cap_book_entry line_entries[1] = {{7, {cap_items, 1}}};

static void print_line(bool final)
{
    const struct freq_stats *s = freq_store_stats(drive.store);
    const struct redis_stats *r = redis_stats(drive.redis);
    printf("{\"final\":%s,\"started\":%llu,\"refused\":%llu,\"wrong\":%llu,\"capped\":%llu",
           final ? "true" : "false", (unsigned long long)drive.started,
           (unsigned long long)drive.refused, (unsigned long long)drive.wrong,
           (unsigned long long)drive.capped);
    uint64_t running = 0;
    for (uint32_t i = 0; i < MAX_RUNNING; i++) {
        running += drive.decisions[i].running;
    }
    const struct {
        const char *name;
        uint64_t value;
    } counters[] = {
        {"running", running},
        {"up", redis_is_up(drive.redis)},
        {"known", drive.reads[FREQ_KNOWN]},
        {"late", drive.reads[FREQ_LATE]},
        {"unavailable", drive.reads[FREQ_UNAVAILABLE]},
        {"reserved", drive.reserves[FREQ_RESERVED]},
        {"lost", drive.reserves[FREQ_LOST_RACE]},
        {"reserve_late", drive.reserves[FREQ_RESERVE_LATE]},
        {"reserve_failed", drive.reserves[FREQ_RESERVE_FAILED]},
        {"confirms", s->confirms},
        {"confirms_stored", s->confirms_stored},
        {"confirms_revived", s->confirms_revived},
        {"confirms_retried", s->confirms_retried},
        {"confirms_lost", s->confirms_lost},
        {"confirms_void", s->confirms_void},
        {"confirms_restored", s->confirms_restored},
        {"waiting", freq_store_waiting(drive.store)},
        {"releases", s->releases},
        {"undone", s->undone},
        {"unordered", s->unordered},
        {"stale_removed", s->stale_removed},
        {"redis_commands", r->commands},
        {"redis_late", r->late},
        {"redis_swallowed", r->swallowed},
        {"redis_stalls", r->stalls},
        {"redis_refused", r->refused},
        {"redis_broken", r->broken},
        {"redis_disconnects", r->disconnects},
        {"redis_reconnects", r->reconnects},
        {"redis_moved", r->moved},
        {"redis_asked", r->asked},
    };
    for (size_t i = 0; i < COUNT_OF(counters); i++) {
        printf(",\"%s\":%llu", counters[i].name, (unsigned long long)counters[i].value);
    }
    for (int i = 0; i < FREQ_ERROR_COUNT; i++) {
        printf(",\"error_%s\":%llu", freq_error_name((enum freq_error)i),
               (unsigned long long)s->errors[i]);
    }
    printf("}\n");
    fflush(stdout);
}

static int64_t now_s(void)
{
    return clock_wall_us() / 1000000;
}

static void end(struct decision *decision)
{
    freq_read_finish(&decision->read);
    decision->running = false;
}

static void on_reserved(void *owner, enum freq_reserve_result result,
                        const struct freq_verdict *verdict)
{
    struct decision *decision = owner;
    drive.wrong += !decision->running || decision->answers++ != 0;
    drive.wrong += (verdict != NULL) != (result == FREQ_LOST_RACE);
    drive.reserves[result]++;
    if (result == FREQ_RESERVED) {
        uint64_t dice = prng_below(&drive.prng, 8);
        if (dice < 6) {
            freq_confirm(drive.store, &decision->ticket, drive.book.retention_s);
        } else {
            freq_release(drive.store, &decision->ticket);
        }
        if (dice == 0) { /* the exchange repeats itself */
            freq_confirm(drive.store, &decision->ticket, drive.book.retention_s);
        }
    }
    end(decision);
}

static void on_read(void *owner, struct freq_read *read, const struct freq_view *view)
{
    struct decision *decision = owner;
    drive.wrong += !decision->running || decision->answers++ != 0 || read != decision->read;
    drive.reads[view->outcome]++;
    if (view->outcome != FREQ_KNOWN) {
        end(decision);
        return;
    }
    if (freq_check(&drive.book, view, line_caps, no_caps, now_s()).kind != FREQ_OPEN) {
        drive.capped++;
        end(decision);
        return;
    }
    decision->answers = 0;
    struct exposure_refs refs = {.line = 7, .creative = 8, .brand = 9};
    if (freq_reserve(drive.store, read, &drive.book, line_caps, no_caps, refs,
                     (uint16_t)drive.options.hold_s, false, now_s(), INT64_MAX, &decision->ticket,
                     on_reserved, decision) != STATUS_OK) {
        drive.refused++;
        end(decision);
    }
}

static void decide(uint32_t number)
{
    struct decision *decision = &drive.decisions[drive.next++ % MAX_RUNNING];
    drive.started++;
    if (decision->running) {
        drive.refused++;
        return;
    }
    struct person person = {.key_count = 1};
    uint64_t bits[2] = {prng_mix((uint64_t)drive.options.seed << 32 | number),
                        prng_mix(~((uint64_t)drive.options.seed << 32 | number))};
    memcpy(person.keys[0].bytes, bits, PERSON_KEY_BYTES);
    person.keys[0].bytes[0] |= 0x80;
    *decision = (struct decision){.running = true, .person = number};
    decision->read = freq_read_start(drive.store, &person, now_s(), INT64_MAX, on_read, decision);
    if (!decision->read) {
        drive.refused++;
        decision->running = false;
    }
}

static void on_tick(void *context)
{
    (void)context;
    int64_t passed_us = clock_mono_us() - drive.begin_us;
    uint64_t due = (uint64_t)(passed_us * drive.options.rate / 1000000);
    if (passed_us > drive.options.seconds * 1000000) {
        loop_stop(&drive.loop);
        return;
    }
    while (drive.started < due) {
        uint32_t number = (uint32_t)prng_below(&drive.prng, (uint64_t)drive.options.persons);
        for (int64_t i = 0; i < drive.options.burst; i++) {
            decide(number);
        }
    }
    if (passed_us - drive.last_line_us >= 100000) {
        drive.last_line_us = passed_us;
        print_line(false);
    }
    loop_timer_start(&drive.timer, 1000);
}

static bool parse(int argc, char **argv, struct options *options)
{
    const struct {
        const char *name;
        int64_t *value;
    } known[] = {{"--persons", &options->persons},       {"--rate", &options->rate},
                 {"--seconds", &options->seconds},       {"--max", &options->max},
                 {"--timeout-us", &options->timeout_us}, {"--seed", &options->seed},
                 {"--burst", &options->burst},           {"--hold", &options->hold_s}};
    options->address = argc > 1 ? argv[1] : NULL;
    for (int i = 2; i < argc; i += 2) {
        bool found = false;
        for (size_t k = 0; k < COUNT_OF(known) && i + 1 < argc; k++) {
            if (strcmp(argv[i], known[k].name) == 0) {
                found = str_to_i64(str_from(argv[i + 1]), known[k].value);
            }
        }
        if (!found) {
            return false;
        }
    }
    return options->address != NULL;
}

static void on_signal(void *context, int number)
{
    (void)context;
    (void)number;
    loop_stop(&drive.loop);
}

int main(int argc, char **argv)
{
    struct options *options = &drive.options;
    *options = (struct options){.persons = 1000,
                                .rate = 1000,
                                .seconds = 2,
                                .max = 3,
                                .timeout_us = 20000,
                                .seed = 1,
                                .burst = 1,
                                .hold_s = 60};
    if (!parse(argc, argv, options)) {
        fprintf(stderr, "usage: drive_caps ADDRESS [--option number] ...\n");
        return 2;
    }
    log_set_level(LOG_ERROR);
    static struct arena arena;
    static struct tz tz;
    cap_used[0] = caps[0];
    cap_used[0].max = (uint32_t)options->max;
    BUG_ON(loop_init(&drive.loop) != STATUS_OK || !arena_init(&arena, 65536, 1 << 20));
    BUG_ON(tz_load(STR("UTC"), &arena, &tz) != STATUS_OK);
    BUG_ON(cap_book_build(&drive.book, &arena, &tz, cap_used, 1, 90 * 86400, line_entries, 1, NULL,
                          0, NULL, 0) != STATUS_OK);
    struct redis_options redis_options = {.address = options->address,
                                          .connect_timeout_us = 500000,
                                          .command_timeout_us = options->timeout_us,
                                          .max_in_flight = 65536};
    struct freq_store_options store_options = {.max_reads = MAX_RUNNING,
                                               .timeout_us = options->timeout_us};
    drive.redis = redis_create(&drive.loop, &redis_options);
    drive.store = drive.redis ? freq_store_create(drive.redis, &store_options) : NULL;
    if (!drive.store) {
        fprintf(stderr, "drive_caps: cannot use %s\n", options->address);
        return 1;
    }
    drive.prng.state = (uint64_t)options->seed * 77 + (uint64_t)getpid();
    for (int i = 0; i < 500 && !redis_is_up(drive.redis); i++) {
        loop_timer_init(&drive.timer, &drive.loop, NULL, NULL);
        loop_turn(&drive.loop, false);
        usleep(2000);
    }
    loop_timer_init(&drive.timer, &drive.loop, on_tick, NULL);
    struct loop_signal terminate;
    BUG_ON(loop_signal_start(&terminate, &drive.loop, SIGTERM, on_signal, NULL) != STATUS_OK);
    drive.begin_us = clock_mono_us();
    loop_timer_start(&drive.timer, 1000);
    loop_run(&drive.loop);
    loop_timer_stop(&drive.timer);
    int64_t drained_us = clock_mono_us() + 500000; /* let answers, undos and confirms arrive */
    while (clock_mono_us() < drained_us) {
        loop_turn(&drive.loop, false);
        usleep(1000);
    }
    print_line(true);
    loop_signal_stop(&terminate);
    freq_store_destroy(&drive.store);
    redis_destroy(&drive.redis);
    loop_deinit(&drive.loop);
    arena_deinit(&arena);
    return 0;
}
