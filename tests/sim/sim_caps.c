/* The cap code against an exact model. Workers bid for the same persons through the real decision,
 * reservation and confirmation code; the store underneath delays, refuses, pauses and breaks off;
 * workers are killed and replaced; notices come late and twice, to any worker.
 *
 *   sim_caps [SEED [RUNS]]
 *
 * Held after each run, per record:
 *   - what was confirmed in time never exceeds max in any window, nor comes closer than the
 * interval
 *   - every auction got exactly one answer
 *   - what a worker that lives was told is in every record it belongs to
 *   - when all is quiet, the code grants a further exposure exactly when the model does: no
 *     reservation stays behind, no exposure is forgotten
 *   - no notice brings back what a person saw before it was forgotten
 *   - every record has a TTL, and lives as long as each bid in it may be confirmed */
#include "tests/sim/fake_redis.h"

#include "frequency/freq_store.h"
#include "frequency/person_admin.h"

#define WORKERS   3
#define PERSONS   3
#define KEYS      (2 * PERSONS)
#define MAX_BIDS  4096
#define MAX_SHOWN 1024
#define HOLD_S    30
#define SKEW_S    2
#define LINES     3
#define KEEP_S    (7200 + 3600) /* two hours for notices, one for Redis */

/* --- catalog -------------------------------------------------------------------------------- */

static const struct cap caps[] = {
    {.id = {"minute", 6}, .max = 2, .window = CAP_ROLLING, .window_s = 60},
    {.id = {"life", 4}, .max = 5, .window = CAP_LIFETIME},
    {.id = {"gap", 3}, .window = CAP_LIFETIME, .min_interval_s = 20},
};
static const uint32_t of_line[LINES][3] = {{0, 1}, {1, 2}, {0}};
static const struct cap_book_entry lines[LINES] = {
    {1, {of_line[0], 2}}, {2, {of_line[1], 2}}, {3, {of_line[2], 1}}};
static struct cap_book book;

/* --- state ---------------------------------------------------------------------------------- */

struct worker {
    struct redis client;
    struct freq_store *store;
    int64_t skew_s;
    bool alive;
};

struct bid {
    uint32_t worker, line, person;
    bool forgotten; /* the person, since the bid */
    bool halfway; /* under way at a deletion: written before it, or behind; the next one will see */
    struct freq_read *read;
    struct freq_ticket ticket;
    bool running, abandoned;
    int answers;
    struct freq_store *told; /* took the first confirming notice; NULL: none, or killed since */
};

/* What the server was told was shown: the model. */
struct shown {
    struct fake_arg key, field;
    uint32_t time_s, line;
    bool in_time; /* confirmed while its reservation stood */
};

static struct {
    struct worker workers[256]; /* killed ones stay in their place */
    uint32_t worker_count, alive[WORKERS];
    struct bid bids[MAX_BIDS];
    uint32_t bid_count;
    struct shown shown[MAX_SHOWN];
    uint32_t shown_count;
    bool linked[PERSONS];
    uint64_t seed, reserved, lost, late, failed, exposures, kills, forgotten, problems;
    bool quiet;
} sim;

#define PROBLEM(...)                                                                               \
    do {                                                                                           \
        sim.problems++;                                                                            \
        fprintf(stderr, "seed %llu: ", (unsigned long long)sim.seed);                              \
        fprintf(stderr, __VA_ARGS__);                                                              \
        fputc('\n', stderr);                                                                       \
    } while (0)

static uint64_t dice(uint64_t sides)
{
    return prng_below(&fake.prng, sides);
}

static int64_t true_s(void)
{
    return fake.now_us / 1000000;
}

static uint32_t read_be(const char *bytes)
{
    uint32_t value = 0;
    for (int i = 0; i < 4; i++) {
        value = value << 8 | (unsigned char)bytes[i];
    }
    return value;
}

static bool names_field(const struct freq_ticket *ticket, const struct fake_arg *field)
{
    return read_be(field->bytes) == ticket->time_s && read_be(field->bytes + 3) << 8 == ticket->salt
                                                                                            << 8;
}

static void on_set(const struct fake_hash *hash, const struct fake_arg *field, uint8_t value_len)
{
    if (value_len != 11) {
        return; /* a reservation, or of the profile */
    }
    for (uint32_t i = 0; i < sim.shown_count; i++) {
        if (fake_arg_eq(&sim.shown[i].key, &hash->key) && fake_arg_eq(&sim.shown[i].field, field)) {
            return; /* a repeated notice */
        }
    }
    for (uint32_t i = 0; i < sim.bid_count; i++) {
        const struct freq_ticket *ticket = &sim.bids[i].ticket;
        if (sim.bids[i].forgotten && ticket->key_count && names_field(ticket, field)) {
            PROBLEM("bid %u: its person was forgotten, and it came back", i);
        }
    }
    BUG_ON(sim.shown_count == MAX_SHOWN);
    struct shown *shown = &sim.shown[sim.shown_count++];
    *shown = (struct shown){.key = hash->key, .field = *field, .time_s = read_be(field->bytes)};
    shown->in_time = true_s() < (int64_t)shown->time_s + HOLD_S - 2 * SKEW_S;
    for (uint32_t i = 0; i < hash->count; i++) {
        if (fake_arg_eq(&hash->pairs[i].field, field)) {
            shown->line = read_be(hash->pairs[i].value.bytes);
        }
    }
    sim.exposures++;
}

/* --- bids ----------------------------------------------------------------------------------- */

static struct person_key key_of(uint32_t number)
{
    struct person_key key = {{0}};
    memset(key.bytes, 'k', sizeof(key.bytes));
    key.bytes[0] = 0x80;
    key.bytes[1] = (uint8_t)number;
    /* The end of life that bids ask for moves on while the run lasts (freq_end_s). */
    key.bytes[PERSON_KEY_BYTES - 2] = 6;
    key.bytes[PERSON_KEY_BYTES - 1] = (uint8_t)(200 - 20 * number);
    return key;
}

static struct fake_arg record_of(const struct person_key *key)
{
    struct fake_arg record = {.len = PERSON_KEY_BYTES};
    memcpy(record.bytes, key->bytes, PERSON_KEY_BYTES);
    return record;
}

static struct worker *any_worker(void)
{
    return &sim.workers[sim.alive[dice(WORKERS)]];
}

static struct cap_list caps_of(uint32_t line)
{
    return lines[line].caps;
}

static void bid_end(struct bid *bid)
{
    if (bid->running) {
        freq_read_finish(&bid->read);
        bid->running = false;
    }
}

static void on_notice(void *context, uint64_t confirmed)
{
    struct bid *bid = context;
    struct freq_store *store = any_worker()->store;
    if (confirmed) {
        bid->told = bid->told || bid->forgotten || bid->halfway ? bid->told : store;
        freq_confirm(store, &bid->ticket, book.retention_s);
    } else {
        freq_release(store, &bid->ticket);
    }
}

/* The bid went out; the exchange tells us what came of it, perhaps twice. */
static void send_notices(struct bid *bid)
{
    int64_t in_time_us = (int64_t)(HOLD_S - 10) * 1000000;
    uint64_t fate = dice(10);
    if (fate == 9) {
        return; /* no word ever again */
    }
    uint64_t shown = fate < 7;
    int64_t at_us = fake.now_us + 1000 + (int64_t)dice((uint64_t)in_time_us);
    fake_at(at_us, on_notice, bid, shown);
    for (int i = 0; i < 2 && dice(4) == 0; i++) {
        fake_at(at_us + (int64_t)dice(3 * (uint64_t)in_time_us), on_notice, bid, shown);
    }
    if (shown && dice(40) == 0) { /* and once in a while too late to be held against us */
        fake_at(at_us + 2 * in_time_us, on_notice, bid, shown);
    }
}

static bool try_reserve(struct bid *bid, const struct freq_view *view);

static void on_reserved(void *owner, enum freq_reserve_result result,
                        const struct freq_verdict *verdict)
{
    struct bid *bid = owner;
    if (!bid->running || bid->abandoned || bid->answers++ ||
        (verdict != NULL) != (result == FREQ_LOST_RACE)) {
        PROBLEM("an answer too many to a reservation");
    }
    sim.reserved += result == FREQ_RESERVED;
    sim.lost += result == FREQ_LOST_RACE;
    sim.late += result == FREQ_RESERVE_LATE;
    sim.failed += result == FREQ_RESERVE_FAILED;
    if (result == FREQ_RESERVED && !sim.quiet) {
        send_notices(bid);
    } else if (result == FREQ_RESERVED) {
        bid->line = LINES; /* granted */
    }
    bid_end(bid);
}

static bool try_reserve(struct bid *bid, const struct freq_view *view)
{
    struct worker *worker = &sim.workers[bid->worker];
    int64_t now_s = true_s() + worker->skew_s;
    struct cap_list none = {NULL, 0};
    if (freq_check(&book, view, caps_of(bid->line), none, now_s).kind != FREQ_OPEN) {
        return false;
    }
    struct exposure_refs refs = {.line = bid->line + 1, .brand = 9, .creative = 8};
    bid->answers = 0;
    return freq_reserve(worker->store, bid->read, &book, caps_of(bid->line), none, refs, HOLD_S,
                        false, now_s, fake.now_us + 8000, &bid->ticket, on_reserved,
                        bid) == STATUS_OK;
}

static void on_read(void *owner, struct freq_read *read, const struct freq_view *view)
{
    struct bid *bid = owner;
    if (!bid->running || bid->abandoned || bid->answers++ || read != bid->read) {
        PROBLEM("an answer too many to a read");
    }
    if (view->outcome != FREQ_KNOWN || !try_reserve(bid, view)) {
        bid_end(bid);
    }
}

/* The auction ran out of time and leaves. */
static void on_abandon(void *context, uint64_t number)
{
    struct bid *bid = context;
    (void)number;
    bid->abandoned = bid->running;
    bid_end(bid);
}

static struct bid *bid_start(struct worker *worker, uint32_t person_number, uint64_t ids,
                             uint32_t line)
{
    BUG_ON(sim.bid_count == MAX_BIDS);
    struct bid *bid = &sim.bids[sim.bid_count++];
    struct person person = {.key_count = 0};
    *bid = (struct bid){.worker = (uint32_t)(worker - sim.workers),
                        .line = line,
                        .person = person_number,
                        .running = true};
    for (uint32_t i = 0; i < 2; i++) {
        if (ids & 1u << i) {
            person.keys[person.key_count++] = key_of(2 * person_number + i);
        }
    }
    bid->read = freq_read_start(worker->store, &person, true_s() + worker->skew_s,
                                fake.now_us + 8000, on_read, bid);
    bid->running = bid->read != NULL;
    return bid;
}

static void on_request(void *context, uint64_t number)
{
    (void)context;
    uint32_t person = (uint32_t)(number % PERSONS);
    for (uint64_t i = 0, burst = 1 + dice(4) * dice(2); i < burst; i++) {
        struct bid *bid = bid_start(any_worker(), person, 1 + dice(3), (uint32_t)dice(LINES));
        if (dice(20) == 0) {
            fake_at(fake.now_us + (int64_t)dice(3000), on_abandon, bid, 0);
        }
    }
}

/* --- faults --------------------------------------------------------------------------------- */

static void worker_start(uint32_t place)
{
    BUG_ON(sim.worker_count == COUNT_OF(sim.workers));
    struct worker *worker = &sim.workers[sim.worker_count];
    struct freq_store_options options = {.max_reads = 64, .timeout_us = 10000};
    fake_client_init(&worker->client);
    worker->skew_s = (int64_t)dice(2 * SKEW_S + 1) - SKEW_S;
    worker->store = freq_store_create(&worker->client, &options);
    BUG_ON(!worker->store);
    sim.alive[place] = sim.worker_count++;
}

static void on_kill(void *context, uint64_t place)
{
    (void)context;
    struct worker *worker = &sim.workers[sim.alive[place]];
    worker->client.down = true; /* it does not get to send anything on its way out */
    for (uint32_t i = 0; i < sim.bid_count; i++) {
        struct bid *bid = &sim.bids[i];
        if (bid->running && bid->worker == sim.alive[place]) {
            bid->abandoned = true;
            bid_end(bid);
        }
        bid->told = bid->told == worker->store ? NULL : bid->told;
    }
    freq_store_destroy(&worker->store);
    fake_kill(&worker->client);
    sim.kills++;
    worker_start((uint32_t)place);
}

static void on_break(void *context, uint64_t place)
{
    (void)context;
    fake_break(&sim.workers[sim.alive[place]].client);
}

static void on_pause(void *context, uint64_t number)
{
    (void)context;
    int64_t until_us = fake.now_us + (int64_t)dice(4000000); /* what waits, waits in order */
    fake.pause_until_us = until_us > fake.pause_until_us ? until_us : fake.pause_until_us;
    (void)number;
}

/* What person_admin_forget does. */
static void forget_now(uint32_t person)
{
    for (uint32_t i = 0; i < fake.hash_count; i++) {
        struct fake_hash *hash = &fake.hashes[i];
        hash->count = (uint8_t)hash->key.bytes[1] / 2 == person ? 0 : hash->count;
    }
    uint32_t kept = 0;
    for (uint32_t i = 0; i < sim.shown_count; i++) {
        if ((uint8_t)sim.shown[i].key.bytes[1] / 2 != person) {
            sim.shown[kept++] = sim.shown[i];
        }
    }
    sim.shown_count = kept;
    for (uint32_t i = 0; i < sim.bid_count; i++) {
        if (sim.bids[i].person == person) {
            sim.bids[i].halfway = sim.bids[i].running;
            sim.bids[i].forgotten = !sim.bids[i].halfway;
            sim.bids[i].told = NULL;
        }
    }
    sim.linked[person] = false;
}

static void on_forget(void *context, uint64_t number)
{
    static uint64_t second;
    uint32_t person = (uint32_t)(number % PERSONS);
    if (fake.now_us < fake.pause_until_us) { /* the tool waits for Redis, too */
        fake_at(fake.pause_until_us, on_forget, context, number);
        return;
    }
    forget_now(person);
    sim.forgotten++;
    if (context != &second) {
        fake_at(fake.now_us + PERSON_ADMIN_SETTLE_US, on_forget, &second, number);
    }
}

/* Links from the start: what a tool wrote into the profiles. */
static void link_person(uint32_t person)
{
    for (uint32_t i = 0; i < 2; i++) {
        struct person_key own = key_of(2 * person + i), other = key_of(2 * person + 1 - i);
        struct fake_arg key = record_of(&own), value = {.len = 1};
        struct fake_arg field = {.len = 1 + PERSON_KEY_BYTES, .bytes = {'l'}};
        memcpy(field.bytes + 1, other.bytes, PERSON_KEY_BYTES);
        struct fake_hash *hash = fake_hash(&key, true);
        fake_set(hash, &field, &value, false);
        hash->expire_s = true_s() + 400 * 86400;
    }
    sim.linked[person] = true;
}

/* --- the model ------------------------------------------------------------------------------ */

static bool counts(const struct shown *shown, const struct fake_arg *key, uint32_t cap)
{
    const uint32_t *items = lines[shown->line - 1].caps.items;
    bool found = false;
    for (uint32_t i = 0; i < lines[shown->line - 1].caps.count; i++) {
        found = found || items[i] == cap;
    }
    return found && fake_arg_eq(&shown->key, key);
}

/* Exposures of a record inside (end - window, end], and the nearest to at_s before or at it. */
static uint32_t model_count(const struct fake_arg *key, uint32_t cap, int64_t end_s, bool in_time,
                            int64_t *nearest_s)
{
    uint32_t count = 0;
    int64_t window_s = caps[cap].window == CAP_ROLLING ? caps[cap].window_s : INT32_MAX;
    for (uint32_t i = 0; i < sim.shown_count; i++) {
        const struct shown *shown = &sim.shown[i];
        if (counts(shown, key, cap) && (!in_time || shown->in_time) && shown->time_s <= end_s) {
            count += shown->time_s > end_s - window_s;
            *nearest_s = shown->time_s > *nearest_s ? shown->time_s : *nearest_s;
        }
    }
    return count;
}

static void check_never_exceeded(void)
{
    for (uint32_t i = 0; i < sim.shown_count; i++) {
        const struct shown *last = &sim.shown[i];
        for (uint32_t cap = 0; cap < COUNT_OF(caps) && last->in_time; cap++) {
            int64_t before_s = INT64_MIN / 2;
            if (!counts(last, &last->key, cap)) {
                continue;
            }
            uint32_t count = model_count(&last->key, cap, last->time_s, true, &before_s);
            if (caps[cap].max && count > caps[cap].max) {
                PROBLEM("cap %s: %u exposures", caps[cap].id.ptr, count);
            }
            for (uint32_t k = 0; k < sim.shown_count && caps[cap].min_interval_s; k++) {
                const struct shown *other = &sim.shown[k];
                int64_t gap_s = (int64_t)last->time_s - other->time_s;
                if (k != i && other->in_time && counts(other, &last->key, cap) &&
                    llabs(gap_s) < caps[cap].min_interval_s) {
                    PROBLEM("cap %s: %lld s apart", caps[cap].id.ptr, (long long)gap_s);
                }
            }
        }
    }
}

static bool model_grants(uint32_t person, uint64_t ids, uint32_t line, int64_t now_s)
{
    for (uint32_t i = 0; i < 2; i++) {
        struct person_key name = key_of(2 * person + i);
        struct fake_arg key = record_of(&name);
        for (uint32_t c = 0; c < lines[line].caps.count; c++) {
            uint32_t cap = lines[line].caps.items[c];
            int64_t nearest_s = INT64_MIN / 2;
            uint32_t count = model_count(&key, cap, now_s, false, &nearest_s);
            bool asked = ids & 1u << i || sim.linked[person];
            if (asked && ((caps[cap].max && count >= caps[cap].max) ||
                          now_s - nearest_s < caps[cap].min_interval_s)) {
                return false;
            }
        }
    }
    return true;
}

static void run_until(int64_t end_us)
{
    while (fake.heap_count && fake.heap[0].at_us <= end_us) {
        fake_step();
    }
    fake.now_us = end_us;
}

/* What a worker that lives was told has been shown is in every record it belongs to. */
static void check_nothing_forgotten(void)
{
    for (uint32_t i = 0; i < sim.bid_count; i++) {
        const struct bid *bid = &sim.bids[i];
        uint32_t found = 0;
        for (uint32_t k = 0; k < sim.shown_count && bid->told; k++) {
            found += names_field(&bid->ticket, &sim.shown[k].field);
        }
        if (bid->told && found != bid->ticket.key_count) {
            PROBLEM("bid %u is confirmed in %u of %u records", i, found, bid->ticket.key_count);
        }
    }
}

static void check_lives(void)
{
    for (uint32_t i = 0; i < fake.hash_count; i++) {
        const struct fake_hash *hash = &fake.hashes[i];
        if (hash->count && !hash->expire_s) {
            PROBLEM("record %u has no TTL", i);
        }
        for (uint32_t k = 0; k < hash->count; k++) {
            const struct fake_pair *pair = &hash->pairs[k];
            int64_t left_s = hash->expire_s - read_be(pair->field.bytes);
            if (pair->field.len == 7 && left_s < KEEP_S) {
                PROBLEM("record %u ends %lld s after a bid", i, (long long)left_s);
            }
        }
    }
}

static void check_quiet(void)
{
    fake.slow = fake.refuse = 0;
    fake.pause_until_us = 0;
    sim.quiet = true;
    while (fake_step()) { /* all notices, retries and late answers */
    }
    for (uint32_t round = 0; round < 40; round++) { /* waiting notes go out with reads */
        for (uint32_t i = 0; i < WORKERS; i++) {
            bid_start(&sim.workers[sim.alive[i]], 0, 1, 0)->line = 0;
        }
        run_until(fake.now_us + 60000);
    }
    for (uint32_t i = 0; i < WORKERS; i++) {
        uint32_t waiting = freq_store_waiting(sim.workers[sim.alive[i]].store);
        if (waiting) {
            PROBLEM("%u notes still wait", waiting);
        }
    }
    run_until(fake.now_us + (int64_t)(HOLD_S + 2 * SKEW_S + 1) * 1000000);
    for (uint32_t n = 0; n < 2 * PERSONS; n++) {
        uint32_t person = n / 2, line = (uint32_t)dice(LINES);
        uint64_t ids = 1 + dice(3);
        struct worker *worker = any_worker();
        bool grants = model_grants(person, ids, line, true_s() + worker->skew_s);
        struct bid *bid = bid_start(worker, person, ids, line);
        run_until(fake.now_us + 100000);
        if ((bid->line == LINES) != grants) {
            PROBLEM("person %u ids %d line %u: the model says %s", person, (int)ids, line,
                    grants ? "yes" : "no");
        }
        run_until(fake.now_us + (int64_t)(HOLD_S + 2 * SKEW_S + 1) * 1000000);
    }
    for (uint32_t i = 0; i < sim.bid_count; i++) {
        if (sim.bids[i].running) {
            PROBLEM("bid %u was never answered", i);
        }
    }
    check_lives();
}

/* --- a run ---------------------------------------------------------------------------------- */

static void run(uint64_t seed)
{
    fake_reset(seed);
    fake.on_set = on_set;
    sim.seed = seed;
    sim.worker_count = sim.bid_count = sim.shown_count = 0;
    sim.quiet = false;
    for (uint32_t i = 0; i < WORKERS; i++) {
        worker_start(i);
    }
    for (uint32_t i = 0; i < PERSONS; i++) {
        sim.linked[i] = false;
        if (dice(3) == 0) {
            link_person(i);
        }
    }
    bool calm = dice(4) == 0;
    fake.slow = calm ? 0 : (uint32_t)dice(40);
    fake.refuse = calm ? 0 : (uint32_t)dice(20);
    fake.no_restore = dice(8) == 0;
    int64_t span_us = (int64_t)(20 + dice(200)) * 1000000;
    for (uint64_t i = 0, count = 20 + dice(150); i < count; i++) {
        fake_at(fake.now_us + (int64_t)dice((uint64_t)span_us), on_request, NULL, dice(PERSONS));
    }
    for (uint64_t i = 0, count = calm ? 0 : dice(6); i < count; i++) {
        void (*const faults[])(void *, uint64_t) = {on_kill, on_break, on_pause};
        fake_at(fake.now_us + (int64_t)dice((uint64_t)span_us), faults[dice(3)], NULL,
                dice(WORKERS));
    }
    for (uint64_t i = 0, count = dice(2) * dice(4); i < count; i++) {
        fake_at(fake.now_us + (int64_t)dice((uint64_t)span_us), on_forget, NULL, dice(PERSONS));
    }
    run_until(fake.now_us + span_us);
    check_quiet();
    check_nothing_forgotten();
    check_never_exceeded();
    for (uint32_t i = 0; i < WORKERS; i++) {
        freq_store_destroy(&sim.workers[sim.alive[i]].store);
    }
    while (fake_step()) {
    }
    for (uint32_t i = 0; i < sim.worker_count; i++) {
        fake_client_deinit(&sim.workers[i].client);
    }
}

int main(int argc, char **argv)
{
    int64_t seed = 1, runs = 2000;
    if ((argc > 1 && !str_to_i64(str_from(argv[1]), &seed)) ||
        (argc > 2 && !str_to_i64(str_from(argv[2]), &runs))) {
        fprintf(stderr, "usage: sim_caps [SEED [RUNS]]\n");
        return 2;
    }
    if (argc == 2) {
        runs = 1;
    }
    static struct arena arena;
    static struct tz tz;
    BUG_ON(!arena_init(&arena, 4096, 1 << 20) || tz_load(STR("UTC"), &arena, &tz) != STATUS_OK);
    BUG_ON(cap_book_build(&book, &arena, &tz, caps, COUNT_OF(caps), 90 * 86400, lines, LINES, NULL,
                          0, NULL, 0) != STATUS_OK);
    uint64_t failed = 0;
    for (int64_t i = 0; i < runs; i++) {
        uint64_t before = sim.problems;
        run((uint64_t)(seed + i));
        failed += sim.problems != before;
    }
    printf("seeds %lld to %lld: %llu reserved, %llu races lost, %llu late, %llu failed, "
           "%llu exposures, %llu workers killed, %llu times forgotten\n",
           (long long)seed, (long long)(seed + runs - 1), (unsigned long long)sim.reserved,
           (unsigned long long)sim.lost, (unsigned long long)sim.late,
           (unsigned long long)sim.failed, (unsigned long long)sim.exposures,
           (unsigned long long)sim.kills, (unsigned long long)sim.forgotten);
    fake_free();
    arena_deinit(&arena);
    printf("%llu passed, %llu failed\n", (unsigned long long)((uint64_t)runs - failed),
           (unsigned long long)failed);
    return failed != 0;
}
