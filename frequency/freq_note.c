/* Confirming and releasing reservations, as notices ask for it.
 *
 *   confirm: a script: where key has the field, its value loses the hold, and the record lives
 *            at least ttl from now; where it has not, nothing       for each key
 *   hold:    HSETNX key field value (with hold) | EXPIRE         for each key
 *   release: HDEL key field
 *
 * Whatever may be confirmed was written when the bid was made, and stays for as long as a notice
 * may come (freq_keep_s), counted or not. So a field that is not there was taken away: by whoever
 * forgot the person, by a withdrawn consent, or by a loss notice; and nothing is written behind
 * them, though nothing remembers them. Except when this worker lost a connection to Redis since the
 * bid: a Redis that went down may have lost the field, and a cap is not passed for that.
 *
 * The script is named by its SHA-1, and sent in full to a Redis that does not know it (NOSCRIPT):
 * after a start, a failover or SCRIPT FLUSH.
 *
 * A confirm names its field, so it may be sent twice. One that Redis did not acknowledge waits in a
 * list and is sent again when Redis answers; an exposure that was shown must not be forgotten. A
 * removal that could not be sent waits there too, for a while: the reservation runs out anyway. */
#include "frequency/freq_private.h"

#include "bidder/base/bug.h"
#include "bidder/base/clock.h"

#define CONFIRM_TIMEOUT_US 2000000
#define RETRY_EVERY_US     50000
#define RETRY_AT_ONCE      64
#define REMOVAL_GIVE_UP_US ((int64_t)120 * 1000000)
#define GIVE_UP_US         ((int64_t)FREQ_CONFIRM_GIVE_UP_S * 1000000)

/* KEYS key  ARGV field, value, ttl, whether to write what is not there. 0: there is no such
 * field; -1: it was confirmed before; -2: it was not there, and is now; else the seconds it was
 * reserved for. One step, for the field may go at any moment. */
static const char confirm_script[] =
    "local k,f,t=KEYS[1],ARGV[1],ARGV[3] local v=redis.call('HGET',k,f)\n"
    "if not v and (ARGV[4]=='0' or redis.call('HEXISTS',k,'w')==1) then return 0 end\n"
    "if v and #v~=13 then return -1 end\n"
    "redis.call('HSET',k,f,ARGV[2])\n"
    "if redis.call('EXPIRE',k,t,'GT')==0 then redis.call('EXPIRE',k,t,'NX') end\n"
    "return v and v:byte(12)*256+v:byte(13) or -2\n";
_Static_assert(FREQ_RESERVED_BYTES == 13, "as in the script");

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

static void note_send(struct freq_note *note);

static void note_complete(struct freq_note *note)
{
    struct freq_store *store = note->store;
    if (note->again) { /* to all records: those that have it say so */
        note->again = false;
        if (!store->dying) {
            note_send(note);
            return;
        }
        note->failed = true;
    }
    if (!note->failed) {
        store->stats.confirms_stored += note->found;
        store->stats.confirms_void += !note->found;
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
    if (result == REDIS_OK && value->type == REDIS_ERROR &&
        str_starts(value->text, STR("NOSCRIPT"))) {
        note->whole = note->again = true;
    } else if (!freq_usable(store, result, value)) {
        note->failed = true;
        note->hopeless =
            note->hopeless || (result == REDIS_OK && freq_error_of(value) == FREQ_ERROR_WRONG_TYPE);
    } else if (value->type != REDIS_INT) {
        freq_count(store, FREQ_ERROR_SHAPE);
        note->failed = note->hopeless = true;
    } else {
        int64_t hold_s = value->integer;
        note->found = note->found || hold_s;
        store->stats.confirms_restored += hold_s == -2;
        store->stats.confirms_revived += hold_s > 0 && hold_s != FREQ_ANNOUNCED &&
                                         note->ticket.time_s + hold_s <= clock_wall_us() / 1000000;
    }
    if (--note->pending == 0) {
        note_complete(note);
    }
    freq_store_maybe_free(store);
}

void freq_notes_setup(struct freq_store *store)
{
    crypto_sha1_hex(freq_str(confirm_script, sizeof(confirm_script) - 1), store->confirm_sha);
}

/* May Redis have lost what was written then? */
static bool in_doubt(struct freq_store *store, const struct freq_ticket *ticket)
{
    uint64_t disconnects = redis_stats(store->redis)->disconnects;
    if (disconnects != store->disconnects) {
        store->disconnects = disconnects;
        store->doubt_s = clock_wall_us() / 1000000;
    }
    return ticket->time_s <= store->doubt_s;
}

/* note may be NULL: nobody waits, so nobody could say that Redis does not know the script. */
static void send_confirm(struct freq_store *store, const struct person_key *person_key,
                         const struct freq_ticket *ticket, int64_t ttl_s, struct freq_note *note)
{
    struct redis *redis = store->redis;
    struct str key = freq_codec_key(person_key);
    char field[FREQ_FIELD_BYTES], value[FREQ_RESERVED_BYTES];
    freq_codec_field(ticket->time_s, ticket->salt, field);
    size_t value_len = freq_codec_value(&ticket->refs, 0, value);
    bool whole = !note || note->whole;
    redis_begin(redis, 8);
    redis_arg(redis, whole ? STR("EVAL") : STR("EVALSHA"));
    redis_arg(redis, whole ? freq_str(confirm_script, sizeof(confirm_script) - 1)
                           : freq_str(store->confirm_sha, sizeof(store->confirm_sha)));
    redis_arg(redis, STR("1"));
    redis_arg(redis, key);
    redis_arg(redis, freq_str(field, sizeof(field)));
    redis_arg(redis, freq_str(value, value_len));
    redis_arg_i64(redis, ttl_s);
    redis_arg_i64(redis, in_doubt(store, ticket));
    int64_t deadline_us = note ? clock_mono_us() + CONFIRM_TIMEOUT_US : 0;
    bool sent = freq_send(store, key, deadline_us, note ? on_confirmed : NULL, note);
    if (note) {
        note->pending += sent;
        note->failed = note->failed || !sent;
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
    note->failed = note->found = false;
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
        struct str key = freq_codec_key(&ticket->keys[i]);
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

void freq_release(struct freq_store *store, const struct freq_ticket *ticket)
{
    BUG_ON(ticket->key_count > FREQ_MAX_RECORDS);
    store->stats.releases++;
    freq_remove(store, ticket, UINT16_MAX);
}

/* KEYS key  ARGV seconds to live, then field, value ... In one step: consent may be withdrawn
 * while a DMP takes its time. */
static const char learn_script[] = "local k=KEYS[1]\n"
                                   "if redis.call('HEXISTS',k,'w')==1 then return 0 end\n"
                                   "redis.call('HSET',k,unpack(ARGV,2))\n"
                                   "if redis.call('TTL',k)<tonumber(ARGV[1]) then "
                                   "redis.call('EXPIRE',k,ARGV[1]) end\n"
                                   "return 1\n";

void freq_learn(struct freq_store *store, const struct person_key *person_key, uint32_t dmp_ref,
                const uint32_t *audience_refs, uint32_t count, uint32_t in, int64_t now_s,
                int64_t expires_s)
{
    struct redis *redis = store->redis;
    struct str key = freq_codec_key(person_key);
    char field[FREQ_ANSWER_FIELD_BYTES], value[FREQ_ANSWER_VALUE_BYTES];
    redis_begin(redis, 5 + 2 * count);
    redis_arg(redis, STR("EVAL"));
    redis_arg(redis, freq_str(learn_script, sizeof(learn_script) - 1));
    redis_arg(redis, STR("1"));
    redis_arg(redis, key);
    redis_arg_i64(redis, expires_s - now_s);
    for (uint32_t i = 0; i < count; i++) {
        struct freq_answer answer = {
            .dmp_ref = dmp_ref, .audience_ref = audience_refs[i], .in = in >> i & 1};
        freq_codec_answer(&answer, (uint32_t)expires_s, field, value);
        redis_arg(redis, freq_str(field, sizeof(field)));
        redis_arg(redis, freq_str(value, sizeof(value)));
    }
    (void)freq_send(store, key, 0, NULL, NULL);
}
