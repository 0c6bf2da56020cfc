/* Reads, and what all parts of the store share.
 *
 *   freq_read_start --> RUNNING --all replies or deadline--> READY --finish--> FREE
 *                          \--finish--> ABANDONED --all replies or deadline--> FREE
 *
 * The callbacks of Redis point into pooled objects, so an object goes back to its pool only when
 * the last of them has come; Redis gives each command exactly one, at its deadline at the latest.
 */
#include "frequency/freq_private.h"

#include <stdlib.h>

#include "bidder/base/bug.h"
#include "bidder/base/clock.h"
#include "bidder/base/crypto.h"

#define NOTES_PER_READ 2

const char *freq_error_name(enum freq_error error)
{
    static const char *const names[FREQ_ERROR_COUNT] = {
        "late",       "disconnected", "refused", "oom",   "readonly",
        "wrong_type", "busy",         "other",   "shape", "memory"};
    return (unsigned)error < FREQ_ERROR_COUNT ? names[error] : "?";
}

/* --- shared --------------------------------------------------------------------------------- */

void freq_count(struct freq_store *store, enum freq_error error)
{
    store->stats.errors[error]++;
}

enum freq_error freq_error_of(const struct redis_value *value)
{
    static const struct {
        struct str word;
        enum freq_error error;
    } known[] = {{{"OOM", 3}, FREQ_ERROR_OOM},
                 {{"READONLY", 8}, FREQ_ERROR_READONLY},
                 {{"WRONGTYPE", 9}, FREQ_ERROR_WRONG_TYPE},
                 {{"LOADING", 7}, FREQ_ERROR_BUSY},
                 {{"BUSY", 4}, FREQ_ERROR_BUSY},
                 {{"MISCONF", 7}, FREQ_ERROR_BUSY},
                 {{"MASTERDOWN", 10}, FREQ_ERROR_BUSY},
                 {{"NOREPLICAS", 10}, FREQ_ERROR_BUSY},
                 {{"CLUSTERDOWN", 11}, FREQ_ERROR_BUSY},
                 {{"TRYAGAIN", 8}, FREQ_ERROR_BUSY},
                 {{"MOVED", 5}, FREQ_ERROR_BUSY},
                 {{"ASK", 3}, FREQ_ERROR_BUSY}};
    struct str rest = value->text;
    struct str word = str_cut(&rest, ' ');
    for (size_t i = 0; i < COUNT_OF(known); i++) {
        if (str_eq(word, known[i].word)) {
            return known[i].error;
        }
    }
    return FREQ_ERROR_OTHER;
}

bool freq_usable(struct freq_store *store, enum redis_result result,
                 const struct redis_value *value)
{
    switch (result) {
    case REDIS_OK:
        if (value->type == REDIS_ERROR) {
            freq_count(store, freq_error_of(value));
            return false;
        }
        return true;
    case REDIS_LATE:
        freq_count(store, FREQ_ERROR_LATE);
        return false;
    case REDIS_DISCONNECTED:
        freq_count(store, FREQ_ERROR_DISCONNECTED);
        return false;
    case REDIS_OVERLOADED:
        freq_count(store, FREQ_ERROR_REFUSED);
        return false;
    }
    return false;
}

void freq_store_arrived(struct freq_store *store)
{
    BUG_ON(store->outstanding == 0);
    store->outstanding--;
}

static void store_free(struct freq_store *store)
{
    for (uint32_t i = 0; store->reads && i < store->options.max_reads; i++) {
        free(store->reads[i].slab.items);
    }
    for (uint32_t i = 0; store->ops && i < store->options.max_reads; i++) {
        free(store->ops[i].slab.items);
    }
    free(store->reads);
    free(store->ops);
    free(store->notes);
    free(store);
}

void freq_store_maybe_free(struct freq_store *store)
{
    if (store->dying && store->outstanding == 0) {
        store_free(store);
    }
}

struct str freq_str(const char *bytes, size_t len)
{
    return (struct str){.ptr = bytes, .len = len};
}

bool freq_send(struct freq_store *store, struct str key, int64_t deadline_us, redis_fn *done,
               void *owner)
{
    if (!redis_send(store->redis, key, deadline_us, done, owner)) {
        freq_count(store, FREQ_ERROR_REFUSED);
        return false;
    }
    store->outstanding += done != NULL;
    return true;
}

bool freq_send_hgetall(struct freq_store *store, struct str key, int64_t deadline_us,
                       redis_fn *done, void *owner)
{
    redis_begin_with(store->redis, STR("*2\r\n$7\r\nHGETALL\r\n"), 1);
    redis_arg(store->redis, key);
    return freq_send(store, key, deadline_us, done, owner);
}

bool freq_send_hdel(struct freq_store *store, struct str key, uint32_t time_s, uint32_t salt)
{
    char field[FREQ_FIELD_BYTES];
    freq_codec_field(time_s, salt, field);
    redis_begin(store->redis, 3);
    redis_arg(store->redis, STR("HDEL"));
    redis_arg(store->redis, key);
    redis_arg(store->redis, freq_str(field, sizeof(field)));
    return freq_send(store, key, 0, NULL, NULL);
}

bool freq_send_expire_at(struct freq_store *store, struct str key, int64_t end_s,
                         struct str condition, int64_t deadline_us, redis_fn *done, void *owner)
{
    redis_begin_with(store->redis, STR("*4\r\n$8\r\nEXPIREAT\r\n"), 3);
    redis_arg(store->redis, key);
    redis_arg_i64(store->redis, end_s);
    redis_arg(store->redis, condition);
    return freq_send(store, key, deadline_us, done, owner);
}

void freq_begin_hsetnx(struct freq_store *store, const struct freq_ticket *ticket, uint32_t i,
                       uint16_t hold_s)
{
    struct redis *redis = store->redis;
    char field[FREQ_FIELD_BYTES], value[FREQ_RESERVED_BYTES];
    freq_codec_field(ticket->time_s, ticket->salt, field);
    size_t value_len = freq_codec_value(&ticket->refs, hold_s, value);
    redis_begin_with(redis, STR("*4\r\n$6\r\nHSETNX\r\n"), 3);
    redis_arg(redis, freq_codec_key(&ticket->keys[i]));
    redis_arg(redis, freq_str(field, sizeof(field)));
    redis_arg(redis, freq_str(value, value_len));
}

void freq_begin_restore(struct freq_store *store, const struct freq_ticket *ticket, uint32_t i,
                        uint16_t hold_s)
{
    struct redis *redis = store->redis;
    char field[FREQ_FIELD_BYTES], value[FREQ_RESERVED_BYTES], dump[FREQ_DUMP_BYTES];
    BUG_ON(hold_s == 0);
    freq_codec_field(ticket->time_s, ticket->salt, field);
    (void)freq_codec_value(&ticket->refs, hold_s, value);
    freq_codec_dump(field, value, dump);
    redis_begin_with(redis, STR("*5\r\n$7\r\nRESTORE\r\n"), 4);
    redis_arg(redis, freq_codec_key(&ticket->keys[i]));
    redis_arg_i64(redis, 1000 * freq_end_s(store, &ticket->keys[i], ticket->time_s, hold_s));
    redis_arg(redis, freq_str(dump, sizeof(dump)));
    redis_arg(redis, STR("ABSTTL"));
}

/* --- reads ---------------------------------------------------------------------------------- */

static void read_free(struct freq_read *read)
{
    struct freq_store *store = read->store;
    read->state = READ_FREE;
    read->next_free = store->free_reads;
    store->free_reads = read;
}

/* All parts are in: the records of the view get their places in the slab. */
static void view_finish(struct freq_read *read)
{
    struct freq_view *view = &read->view;
    struct freq_store *store = read->store;
    if (read->failed) {
        view->record_count = 0;
        return;
    }
    if (view->withdrawn) { /* the person is none to us */
        view->outcome = FREQ_NO_PERSON;
        view->record_count = view->segment_count = 0;
        read->links.count = 0;
        return;
    }
    for (uint32_t i = 0; i < view->record_count; i++) {
        view->records[i].exposures = read->slab.items + read->offsets[i];
        store->stats.overflows += view->records[i].overflow;
    }
    store->stats.links_cut += read->links.more;
    freq_codec_sort_segments(view);
}

static void read_complete(struct freq_read *read)
{
    struct freq_store *store = read->store;
    view_finish(read);
    if (read->state == READ_ABANDONED) {
        store->stats.reads_abandoned++;
        read_free(read);
        return;
    }
    store->stats.reads[read->view.outcome]++;
    read->state = READ_READY;
    read->done(read->owner, read, &read->view);
}

static void read_fail(struct freq_read *read, enum freq_outcome outcome)
{
    if (!read->failed) {
        read->failed = true;
        read->view.outcome = outcome;
    }
}

static void take_part(struct freq_read *read, uint32_t part, const struct redis_value *value)
{
    struct freq_store *store = read->store;
    struct freq_record *record = &read->view.records[part];
    const struct freq_profile profile = {.now_s = read->now_s,
                                         .view = &read->view,
                                         .links = &read->links,
                                         .unknown = &store->stats.profile_unknown};
    read->offsets[part] = read->slab.used;
    enum status status =
        freq_codec_record(value, &read->slab, record, record->household ? NULL : &profile);
    if (status != STATUS_OK) {
        freq_count(store, status == STATUS_NO_MEMORY ? FREQ_ERROR_MEMORY : FREQ_ERROR_SHAPE);
        read_fail(read, FREQ_UNAVAILABLE);
    }
}

static void on_read_part(void *owner, enum redis_result result, const struct redis_value *value)
{
    struct freq_part *part = owner;
    struct freq_read *read = part->whole;
    struct freq_store *store = read->store;
    freq_store_arrived(store);
    if (!freq_usable(store, result, value)) {
        read_fail(read, result == REDIS_LATE ? FREQ_LATE : FREQ_UNAVAILABLE);
    } else if (!read->failed && read->state == READ_RUNNING) {
        take_part(read, part->record, value);
    }
    if (--read->pending == 0) {
        read_complete(read);
    }
    freq_store_maybe_free(store);
}

/* Nothing could be asked, or there was nothing to ask: the answer still comes from the loop. */
static void on_read_later(void *owner, enum redis_result result, const struct redis_value *value)
{
    struct freq_part *part = owner;
    struct freq_read *read = part->whole;
    struct freq_store *store = read->store;
    (void)result;
    (void)value;
    freq_store_arrived(store);
    if (--read->pending == 0) {
        read_complete(read);
    }
    freq_store_maybe_free(store);
}

static bool read_send(struct freq_read *read, const struct person_key *key, bool household,
                      int64_t deadline_us)
{
    struct freq_view *view = &read->view;
    struct freq_part *part = &read->parts[view->record_count];
    *part = (struct freq_part){.whole = read, .record = (uint8_t)view->record_count};
    if (!freq_send_hgetall(read->store, freq_codec_key(key), deadline_us, on_read_part, part)) {
        read_fail(read, FREQ_UNAVAILABLE);
        return false;
    }
    view->records[view->record_count++] = (struct freq_record){.key = *key, .household = household};
    read->pending++;
    return true;
}

static void read_send_all(struct freq_read *read, const struct person *person, int64_t deadline_us)
{
    for (uint8_t i = 0; i < person->key_count; i++) {
        if (!read_send(read, &person->keys[i], false, deadline_us)) {
            return;
        }
    }
    if (person->has_household) {
        (void)read_send(read, &person->household, true, deadline_us);
    }
}

static struct freq_read *read_take(struct freq_store *store)
{
    struct freq_read *read = store->free_reads;
    if (!read) {
        store->stats.pool_exhausted++;
        return NULL;
    }
    store->free_reads = read->next_free;
    read->state = READ_RUNNING;
    read->failed = false;
    read->pending = 0;
    read->ops = NULL;
    read->links = (struct freq_links){.count = 0};
    read->slab.used = 0;
    struct freq_view *view = &read->view;
    view->outcome = FREQ_KNOWN;
    view->withdrawn = false;
    view->record_count = view->segment_count = view->muted_count = view->answer_count = 0;
    view->max_contacts_per_day = 0;
    return read;
}

struct freq_read *freq_read_start(struct freq_store *store, const struct person *person,
                                  int64_t now_s, int64_t deadline_us, freq_read_fn *done,
                                  void *owner)
{
    BUG_ON(person->key_count > PERSON_MAX_KEYS);
    if (store->waiting) {
        freq_notes_retry(store);
    }
    struct freq_read *read = read_take(store);
    if (!read) {
        return NULL;
    }
    int64_t limit_us = clock_mono_us() + store->options.timeout_us;
    read->done = done;
    read->owner = owner;
    read->now_s = now_s;
    read->view.absence = person->absence;
    if (!person->key_count && !person->has_household) {
        read->view.outcome = FREQ_NO_PERSON;
    }
    read_send_all(read, person, deadline_us < limit_us ? deadline_us : limit_us);
    if (read->pending) {
        return read;
    }
    read->parts[0] = (struct freq_part){.whole = read};
    if (!redis_later(store->redis, on_read_later, &read->parts[0])) {
        freq_count(store, FREQ_ERROR_MEMORY);
        read_free(read);
        return NULL;
    }
    store->outstanding++;
    read->pending = 1;
    return read;
}

void freq_read_finish(struct freq_read **read_at)
{
    struct freq_read *read = *read_at;
    if (!read) {
        return;
    }
    *read_at = NULL;
    BUG_ON(read->state != READ_RUNNING && read->state != READ_READY);
    if (read->state == READ_RUNNING) {
        read->state = READ_ABANDONED;
        return;
    }
    freq_ops_abandon(read);
    read_free(read);
}

/* --- life ----------------------------------------------------------------------------------- */

struct freq_store *freq_store_create(struct redis *redis, const struct freq_store_options *options)
{
    BUG_ON(options->max_reads == 0);
    struct freq_store *store = calloc(1, sizeof(*store));
    if (!store) {
        return NULL;
    }
    uint32_t count = options->max_reads, notes = NOTES_PER_READ * options->max_reads;
    store->redis = redis;
    store->options = *options;
    store->waiting_tail = &store->waiting;
    store->reads = calloc(count, sizeof(*store->reads));
    store->ops = calloc(count, sizeof(*store->ops));
    store->notes = calloc(notes, sizeof(*store->notes));
    if (!store->reads || !store->ops || !store->notes ||
        !crypto_random(&store->prng.state, sizeof(store->prng.state))) {
        store_free(store);
        return NULL;
    }
    freq_notes_setup(store);
    for (uint32_t i = count; i-- > 0;) {
        store->reads[i].store = store;
        store->reads[i].next_free = store->free_reads;
        store->free_reads = &store->reads[i];
        store->ops[i].store = store;
        store->ops[i].next = store->free_ops;
        store->free_ops = &store->ops[i];
    }
    for (uint32_t i = notes; i-- > 0;) {
        store->notes[i].store = store;
        store->notes[i].next = store->free_notes;
        store->free_notes = &store->notes[i];
    }
    return store;
}

void freq_store_destroy(struct freq_store **store_at)
{
    struct freq_store *store = *store_at;
    *store_at = NULL;
    if (!store) {
        return;
    }
    for (uint32_t i = 0; i < store->options.max_reads; i++) {
        struct freq_read *read = &store->reads[i];
        if (read->state == READ_RUNNING || read->state == READ_READY) {
            freq_read_finish(&read);
        }
    }
    store->stats.confirms_lost += store->waiting_count; /* removals among them, too */
    store->dying = true;
    freq_store_maybe_free(store);
}

const struct freq_stats *freq_store_stats(const struct freq_store *store)
{
    return &store->stats;
}

uint32_t freq_store_waiting(const struct freq_store *store)
{
    return store->waiting_count;
}
