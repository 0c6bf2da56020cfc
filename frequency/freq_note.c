/* Confirming and releasing reservations, as notices ask for it.
 *
 *   confirm: HSET {key}c field value (without hold) | EXPIRE NX | EXPIRE GT | GET {key}f
 *            for each key; a mark that is not older than the bid: HDEL of what was just written
 *   hold:    HSETNX {key}c field value (with hold) | EXPIRE NX | EXPIRE GT      for each key
 *   release: HDEL {key}c field
 *
 * A confirm names its field, so it may be sent twice. One that Redis did not acknowledge waits in a
 * list and is sent again when Redis answers; an exposure that was shown must not be forgotten.
 * Except by who asked for it: whoever forgets a person writes the mark, then deletes; so either the
 * deletion comes behind our write, or we see the mark behind it and take the write back. A
 * removal that could not be sent waits there too, for a while: the reservation runs out anyway. */
#include "frequency/freq_private.h"

#include "bidder/base/bug.h"
#include "bidder/base/clock.h"

#define CONFIRM_TIMEOUT_US 2000000
#define RETRY_EVERY_US     50000
#define RETRY_AT_ONCE      64
#define REMOVAL_GIVE_UP_US ((int64_t)120 * 1000000)
#define GIVE_UP_US         ((int64_t)3600 * 1000000)

static void note_free(struct freq_note *note)
{
    note->next = note->store->free_notes;
    note->store->free_notes = note;
}

static void note_wait(struct freq_note *note)
{
    struct freq_store *store = note->store;
    note->next = NULL;
    *store->waiting_tail = note;
    store->waiting_tail = &note->next;
    store->waiting_count++;
}

static struct freq_note *waiting_take(struct freq_store *store)
{
    struct freq_note *note = store->waiting;
    if (note) {
        store->waiting = note->next;
        store->waiting_tail = store->waiting ? store->waiting_tail : &store->waiting;
        store->waiting_count--;
    }
    return note;
}

static void note_complete(struct freq_note *note)
{
    struct freq_store *store = note->store;
    if (note->forgotten) {
        struct freq_ticket ticket = note->ticket;
        store->stats.confirms_void++;
        note_free(note);
        freq_remove(store, &ticket, UINT16_MAX);
        return;
    }
    if (!note->failed) {
        store->stats.confirms_stored++;
        note_free(note);
        if (store->waiting) {
            freq_notes_retry(store);
        }
        return;
    }
    if (note->hopeless || store->dying || clock_mono_us() - note->first_us > GIVE_UP_US) {
        store->stats.confirms_lost++;
        note_free(note);
        return;
    }
    note_wait(note);
}

static void on_confirmed(void *owner, enum redis_result result, const struct redis_value *value)
{
    struct freq_note *note = owner;
    struct freq_store *store = note->store;
    freq_store_arrived(store);
    if (!freq_usable(store, result, value)) {
        note->failed = true;
        note->hopeless =
            note->hopeless || (result == REDIS_OK && freq_error_of(value) == FREQ_ERROR_WRONG_TYPE);
    } else if (value->type != REDIS_INT) {
        freq_count(store, FREQ_ERROR_SHAPE);
        note->failed = note->hopeless = true;
    } else {
        store->stats.confirms_revived += value->integer == 1;
    }
    if (--note->pending == 0) {
        note_complete(note);
    }
    freq_store_maybe_free(store);
}

static void on_mark(void *owner, enum redis_result result, const struct redis_value *value)
{
    struct freq_note *note = owner;
    struct freq_store *store = note->store;
    int64_t until_s;
    freq_store_arrived(store);
    if (!freq_usable(store, result, value)) {
        note->failed = true;
    } else if (value->type == REDIS_STRING && str_to_i64(value->text, &until_s)) {
        note->forgotten = note->forgotten || note->ticket.time_s <= until_s;
    }
    if (--note->pending == 0) {
        note_complete(note);
    }
    freq_store_maybe_free(store);
}

static void send_mark(struct freq_note *note, const struct person_key *person_key,
                      int64_t deadline_us)
{
    struct redis *redis = note->store->redis;
    char key[FREQ_KEY_BYTES];
    freq_codec_key(person_key, 'f', key);
    redis_begin(redis, 2);
    redis_arg(redis, STR("GET"));
    redis_arg(redis, freq_str(key, sizeof(key)));
    if (freq_send(note->store, key, deadline_us, on_mark, note)) {
        note->pending++;
    } else {
        note->failed = true;
    }
}

static void send_confirm(struct freq_store *store, const struct person_key *person_key,
                         const struct freq_ticket *ticket, int64_t ttl_s, struct freq_note *note)
{
    struct redis *redis = store->redis;
    char key[FREQ_KEY_BYTES], field[FREQ_FIELD_BYTES], value[FREQ_RESERVED_BYTES];
    freq_codec_key(person_key, 'c', key);
    freq_codec_field(ticket->time_s, ticket->salt, field);
    size_t value_len = freq_codec_value(&ticket->refs, 0, value);
    redis_begin(redis, 4);
    redis_arg(redis, STR("HSET"));
    redis_arg(redis, freq_str(key, sizeof(key)));
    redis_arg(redis, freq_str(field, sizeof(field)));
    redis_arg(redis, freq_str(value, value_len));
    int64_t deadline_us = note ? clock_mono_us() + CONFIRM_TIMEOUT_US : 0;
    if (!freq_send(store, key, deadline_us, note ? on_confirmed : NULL, note)) {
        if (note) {
            note->failed = true;
        }
        return;
    }
    if (note) {
        note->pending++;
    }
    /* NX for a record that has no TTL yet, GT for one that would end sooner. */
    freq_send_expire(store, key, ttl_s, STR("NX"));
    freq_send_expire(store, key, ttl_s, STR("GT"));
    if (note) {
        send_mark(note, person_key, deadline_us);
    }
}

static void note_send(struct freq_note *note)
{
    if (note->removal) {
        struct freq_ticket ticket = note->ticket;
        bool fresh = clock_mono_us() - note->first_us < REMOVAL_GIVE_UP_US;
        note_free(note);
        if (fresh) { /* else it has run out long ago */
            freq_remove(note->store, &ticket, UINT16_MAX);
        }
        return;
    }
    note->pending = 1; /* ours, so that it does not complete while we send */
    note->failed = false;
    for (uint8_t i = 0; i < note->ticket.key_count; i++) {
        send_confirm(note->store, &note->ticket.keys[i], &note->ticket, note->ttl_s, note);
    }
    if (--note->pending == 0) {
        note_complete(note);
    }
}

void freq_notes_retry(struct freq_store *store)
{
    int64_t now_us = clock_mono_us();
    if (now_us < store->retry_at_us || !redis_is_up(store->redis)) {
        return;
    }
    store->retry_at_us = now_us + RETRY_EVERY_US;
    uint32_t count = store->waiting_count < RETRY_AT_ONCE ? store->waiting_count : RETRY_AT_ONCE;
    for (uint32_t i = 0; i < count; i++) {
        store->stats.confirms_retried++;
        note_send(waiting_take(store));
    }
}

void freq_confirm(struct freq_store *store, const struct freq_ticket *ticket, int64_t ttl_s)
{
    BUG_ON(ticket->key_count > FREQ_MAX_RECORDS);
    store->stats.confirms++;
    struct freq_note *note = store->free_notes;
    if (!note) { /* very many on their way: send it, but do not wait for the answer */
        store->stats.pool_exhausted++;
        for (uint8_t i = 0; i < ticket->key_count; i++) {
            send_confirm(store, &ticket->keys[i], ticket, ttl_s, NULL);
        }
        return;
    }
    store->free_notes = note->next;
    *note = (struct freq_note){
        .store = store, .ticket = *ticket, .ttl_s = ttl_s, .first_us = clock_mono_us()};
    note_send(note);
}

/* The keys that could not be reached become a note of their own. */
void freq_remove(struct freq_store *store, const struct freq_ticket *ticket, uint16_t mask)
{
    struct freq_ticket left = {.time_s = ticket->time_s, .salt = ticket->salt};
    for (uint8_t i = 0; i < ticket->key_count; i++) {
        char key[FREQ_KEY_BYTES];
        freq_codec_key(&ticket->keys[i], 'c', key);
        if (mask & 1u << i && !freq_send_hdel(store, key, ticket->time_s, ticket->salt)) {
            left.keys[left.key_count++] = ticket->keys[i];
        }
    }
    struct freq_note *note = left.key_count && !store->dying ? store->free_notes : NULL;
    if (note) { /* without a note it runs out by itself */
        store->free_notes = note->next;
        *note = (struct freq_note){.store = store, .ticket = left, .removal = true};
        note->first_us = clock_mono_us();
        note_wait(note);
    }
}

void freq_hold(struct freq_store *store, const struct freq_ticket *ticket, uint16_t hold_s)
{
    char key[FREQ_KEY_BYTES], field[FREQ_FIELD_BYTES], value[FREQ_RESERVED_BYTES];
    freq_codec_field(ticket->time_s, ticket->salt, field);
    size_t value_len = freq_codec_value(&ticket->refs, hold_s, value);
    for (uint8_t i = 0; i < ticket->key_count; i++) {
        freq_codec_key(&ticket->keys[i], 'c', key);
        redis_begin(store->redis, 4);
        redis_arg(store->redis, STR("HSETNX"));
        redis_arg(store->redis, freq_str(key, sizeof(key)));
        redis_arg(store->redis, freq_str(field, sizeof(field)));
        redis_arg(store->redis, freq_str(value, value_len));
        if (freq_send(store, key, 0, NULL, NULL)) {
            freq_send_expire(store, key, hold_s + FREQ_HOLD_SLACK_S, STR("NX"));
            freq_send_expire(store, key, hold_s + FREQ_HOLD_SLACK_S, STR("GT"));
        }
    }
}

void freq_release(struct freq_store *store, const struct freq_ticket *ticket)
{
    BUG_ON(ticket->key_count > FREQ_MAX_RECORDS);
    store->stats.releases++;
    freq_remove(store, ticket, UINT16_MAX);
}

void freq_learn(struct freq_store *store, const struct person_key *person_key, uint32_t dmp_ref,
                const uint32_t *audience_refs, uint32_t count, uint32_t in, int64_t now_s,
                int64_t expires_s)
{
    struct redis *redis = store->redis;
    char key[FREQ_KEY_BYTES], field[FREQ_ANSWER_FIELD_BYTES], value[FREQ_ANSWER_VALUE_BYTES];
    freq_codec_key(person_key, 'p', key);
    redis_begin(redis, 2 + 2 * count);
    redis_arg(redis, STR("HSET"));
    redis_arg(redis, freq_str(key, sizeof(key)));
    for (uint32_t i = 0; i < count; i++) {
        struct freq_answer answer = {
            .dmp_ref = dmp_ref, .audience_ref = audience_refs[i], .in = in >> i & 1};
        freq_codec_answer(&answer, (uint32_t)expires_s, field, value);
        redis_arg(redis, freq_str(field, sizeof(field)));
        redis_arg(redis, freq_str(value, sizeof(value)));
    }
    if (freq_send(store, key, 0, NULL, NULL)) {
        freq_send_expire(store, key, expires_s - now_s, STR("NX"));
        freq_send_expire(store, key, expires_s - now_s, STR("GT"));
    }
}
