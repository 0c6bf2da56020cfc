/* Reservations: write, then read back, in one pipeline per record.
 *
 * A record that the read did not find is made by one command, field and end of life at once:
 *
 *   RESTORE key end <hash of my field> ABSTTL    OK: mine is the first, nobody else is in
 *                                                BUSYKEY: somebody was there before; as below
 *
 * Nothing need be read back: what was answered OK held nothing but mine, and whoever writes later
 * writes as below, behind mine, and sees it. No half-made record is left when a connection breaks.
 *
 *   EXPIREAT key end GT        only where no other bid asked for this end before (freq_end_s)
 *   HSETNX key field value     mine is in; behind EXPIREAT, so that a field vouches for the end
 *   EXPIREAT key end NX        only when nothing is known of the record: it may be new
 *   HGETALL key                who else is in
 *
 * Redis does commands one after the other. Of two bidders at the last place at least the later one
 * sees both exposures, so it suffices that whoever finds the cap full without its own gives back:
 * no script. Only when the cap is full and others stand behind ours in the answer, their order
 * matters, and a third trip asks whether it can be trusted:
 *
 *   OBJECT ENCODING key
 *
 * A hash in one block (listpack) answers in the order of insertion; then only those before mine
 * count against mine, and of n racing bidders exactly those that fit stay. In a large record (hash
 * table) the order says nothing: all others count, and all racers may have to leave. A listpack may
 * have become a hash table since it was read, but never the other way round.
 */
#include "frequency/freq_private.h"

#include "bidder/base/bug.h"
#include "bidder/base/clock.h"

#define MAX_STALE_PER_RESERVE 16
/* A record with a confirmed exposure lives at least CAP_BOOK_LEAST_RETENTION_S from then. */
#define SURE_LIFE_S (CAP_BOOK_LEAST_RETENTION_S - 3600)

static void op_free(struct freq_op *op)
{
    op->next = op->store->free_ops;
    op->store->free_ops = op;
}

void freq_ops_abandon(struct freq_read *read)
{
    while (read->ops) {
        struct freq_op *op = read->ops;
        read->ops = op->next;
        op->read = NULL;
    }
}

static void op_detach(struct freq_op *op)
{
    struct freq_op **at = &op->read->ops;
    while (*at != op) {
        at = &(*at)->next;
    }
    *at = op->next;
}

/* Takes our field back wherever it was, or may have been, written. */
static void undo(struct freq_op *op)
{
    op->store->stats.undone++;
    freq_remove(op->store, &op->ticket, op->written);
}

/* --- the verdict ---------------------------------------------------------------------------- */

/* Where our own exposure stands in a record; its count when it is not there. */
static uint32_t find_own(const struct freq_record *record, const struct freq_ticket *ticket)
{
    uint32_t at = 0;
    while (at < record->exposure_count && (record->exposures[at].salt != ticket->salt ||
                                           record->exposures[at].time_s != ticket->time_s)) {
        at++;
    }
    return at;
}

static void swap_with_last(struct freq_record *record, uint32_t at)
{
    struct freq_exposure ours = record->exposures[at];
    record->exposures[at] = record->exposures[record->exposure_count - 1];
    record->exposures[record->exposure_count - 1] = ours;
}

/* Checks the caps against those who count against us: who was there before where the order is known,
 * else all others. False: our own field is missing. */
static bool judge(struct freq_op *op, struct freq_verdict *verdict)
{
    struct freq_view others = {.outcome = FREQ_KNOWN, .record_count = op->ticket.key_count};
    others.max_contacts_per_day = op->read ? op->read->view.max_contacts_per_day : 0;
    uint32_t own[FREQ_MAX_RECORDS];
    uint16_t swapped = 0;
    for (uint32_t i = 0; i < others.record_count; i++) {
        struct freq_record *record = &op->records[i];
        record->exposures = op->slab.items + op->offsets[i];
        own[i] = find_own(record, &op->ticket);
        if (own[i] == record->exposure_count && !record->overflow) {
            return false;
        }
        others.records[i] = *record;
        if (op->ordered & 1u << i) {
            others.records[i].exposure_count = own[i];
        } else if (own[i] < record->exposure_count) { /* ours to the end, and left out */
            swap_with_last(record, own[i]);
            swapped |= (uint16_t)(1u << i);
            others.records[i].exposure_count--;
        }
    }
    *verdict = freq_check(op->book, &others, op->line_caps, op->creative_caps, op->now_s);
    if (verdict->kind == FREQ_OPEN && op->first_only) {
        verdict->count = freq_widest_count(op->book, &others, op->line_caps, op->now_s);
        verdict->kind = verdict->count ? FREQ_AT_CAP : FREQ_OPEN;
    }
    for (uint32_t i = 0; i < others.record_count; i++) {
        if (swapped & 1u << i) { /* the order may still be asked for */
            swap_with_last(&op->records[i], own[i]);
        }
    }
    return true;
}

/* For the next candidate: without ours, but with those behind us. */
static void forget_own(struct freq_op *op)
{
    for (uint32_t i = 0; i < op->ticket.key_count; i++) {
        struct freq_record *record = &op->records[i];
        uint32_t at = find_own(record, &op->ticket);
        if (at < record->exposure_count) {
            record->exposures[at] = record->exposures[--record->exposure_count];
        }
    }
}

/* A record that had been read, and so had a TTL, may have gone before we wrote; then ours made a new
 * one, and is the first in it. */
static void mend_ttl(struct freq_op *op, uint32_t i)
{
    const struct freq_record *record = &op->records[i];
    bool made = record->field_count == record->exposure_count && find_own(record, &op->ticket) == 0;
    if (made && op->assumed & 1u << i) {
        const struct person_key *key = &op->ticket.keys[i];
        freq_send_expire_at(op->store, freq_codec_key(key),
                            freq_end_s(op->store, key, op->ticket.time_s, op->hold_s), STR("NX"), 0,
                            NULL, NULL);
    }
}

/* The read's view becomes what we just saw. */
static void refresh_view(struct freq_op *op)
{
    struct freq_read *read = op->read;
    struct freq_slab slab = read->slab;
    read->slab = op->slab;
    op->slab = slab;
    read->view.record_count = op->ticket.key_count;
    memcpy(read->view.records, op->records, op->ticket.key_count * sizeof(op->records[0]));
    /* Linked ids are records now. */
    read->links.count = 0;
}

static void on_order(void *owner, enum redis_result result, const struct redis_value *value);

/* Whether an answer's order decides: then asks whether it can be trusted, once. */
static bool ask_order(struct freq_op *op)
{
    struct redis *redis = op->store->redis;
    if (op->order_asked || !op->read) {
        return false;
    }
    op->order_asked = true;
    for (uint32_t i = 0; i < op->ticket.key_count; i++) {
        struct str key = freq_codec_key(&op->ticket.keys[i]);
        if (find_own(&op->records[i], &op->ticket) + 1 >= op->records[i].exposure_count) {
            continue; /* nobody behind us */
        }
        redis_begin(redis, 3);
        redis_arg(redis, STR("OBJECT"));
        redis_arg(redis, STR("ENCODING"));
        redis_arg(redis, key);
        op->side_parts[i] = (struct freq_part){.whole = op, .record = (uint8_t)i};
        op->pending += freq_send(op->store, key, op->deadline_us, on_order, &op->side_parts[i]);
    }
    return op->pending > 0;
}

static void op_complete(struct freq_op *op)
{
    struct freq_store *store = op->store;
    struct freq_verdict verdict = {.kind = FREQ_OPEN};
    enum freq_reserve_result result = FREQ_RESERVED;
    if (op->failed || op->late) {
        result = op->failed ? FREQ_RESERVE_FAILED : FREQ_RESERVE_LATE;
    } else if (!judge(op, &verdict)) {
        freq_count(store, FREQ_ERROR_SHAPE);
        result = FREQ_RESERVE_FAILED;
    } else if (verdict.kind != FREQ_OPEN) {
        if (ask_order(op)) {
            return; /* it comes back here */
        }
        result = FREQ_LOST_RACE;
    }
    for (uint32_t i = 0; i < op->ticket.key_count && result <= FREQ_LOST_RACE; i++) {
        mend_ttl(op, i);
    }
    if (result == FREQ_LOST_RACE) {
        forget_own(op);
    }
    if (result != FREQ_RESERVED || !op->read) {
        undo(op);
    }
    store->stats.reserved += result == FREQ_RESERVED;
    store->stats.lost_races += result == FREQ_LOST_RACE;
    store->stats.reserves_late += result == FREQ_RESERVE_LATE;
    store->stats.reserves_failed += result == FREQ_RESERVE_FAILED;
    if (!op->read) {
        op_free(op);
        return;
    }
    if (result == FREQ_RESERVED || result == FREQ_LOST_RACE) {
        refresh_view(op);
    }
    freq_reserve_fn *done = op->done;
    void *owner = op->owner;
    op_detach(op);
    op_free(op);
    done(owner, result, result == FREQ_LOST_RACE ? &verdict : NULL);
}

/* --- replies -------------------------------------------------------------------------------- */

static void part_arrived(struct freq_op *op)
{
    struct freq_store *store = op->store;
    if (--op->pending == 0) {
        op_complete(op);
    }
    freq_store_maybe_free(store);
}

static bool part_usable(struct freq_op *op, enum redis_result result,
                        const struct redis_value *value)
{
    freq_store_arrived(op->store);
    bool usable = freq_usable(op->store, result, value);
    op->late = op->late || result == REDIS_LATE;
    op->failed = op->failed || (!usable && result != REDIS_LATE);
    return usable;
}

static void on_written(void *owner, enum redis_result result, const struct redis_value *value)
{
    struct freq_part *part = owner;
    struct freq_op *op = part->whole;
    if (part_usable(op, result, value)) {
        if (value->type != REDIS_INT || value->integer != 1) {
            /* Another exposure of the same second and salt: it is not ours to take back. */
            freq_count(op->store, FREQ_ERROR_SHAPE);
            op->written &= (uint16_t) ~(1u << part->record);
            op->failed = true;
        }
    } else if (result == REDIS_OK) {
        op->written &= (uint16_t) ~(1u << part->record); /* refused by Redis: nothing there */
    }
    part_arrived(op);
}

static void on_reread(void *owner, enum redis_result result, const struct redis_value *value)
{
    struct freq_part *part = owner;
    struct freq_op *op = part->whole;
    if (part_usable(op, result, value) && !op->failed) {
        op->offsets[part->record] = op->slab.used;
        enum status status = freq_codec_record(value, &op->slab, &op->records[part->record], NULL);
        if (status != STATUS_OK) {
            freq_count(op->store,
                       status == STATUS_NO_MEMORY ? FREQ_ERROR_MEMORY : FREQ_ERROR_SHAPE);
            op->failed = true;
        }
    }
    part_arrived(op);
}

/* Only what it may have failed with: the field must not promise an end that was not set. */
static void on_extended(void *owner, enum redis_result result, const struct redis_value *value)
{
    struct freq_part *part = owner;
    struct freq_op *op = part->whole;
    (void)part_usable(op, result, value);
    part_arrived(op);
}

/* The record is new and holds our exposure, nothing else. */
static void take_own(struct freq_op *op, uint32_t i)
{
    const struct freq_exposure own = {.refs = op->ticket.refs,
                                      .time_s = op->ticket.time_s,
                                      .hold_s = op->hold_s,
                                      .salt = op->ticket.salt};
    op->offsets[i] = op->slab.used;
    if (freq_slab_add(&op->slab, &own)) {
        op->records[i].field_count = op->records[i].exposure_count = 1;
    } else {
        freq_count(op->store, FREQ_ERROR_MEMORY);
        op->failed = true;
    }
}

static bool send_behind(struct freq_op *op, uint32_t i, const struct freq_record *known);

/* Not made: because it is there by now, or because this Redis lets nobody do so (a command that is
 * renamed or forbidden), which is asked once. Then as for any record, inside the same deadline. */
static void on_created(void *owner, enum redis_result result, const struct redis_value *value)
{
    struct freq_part *part = owner;
    struct freq_op *op = part->whole;
    bool exists =
        result == REDIS_OK && value->type == REDIS_ERROR && str_starts(value->text, STR("BUSYKEY"));
    bool refused = !exists && result == REDIS_OK && value->type == REDIS_ERROR &&
                   freq_error_of(value) == FREQ_ERROR_OTHER;
    if (exists || refused) {
        freq_store_arrived(op->store);
        op->store->no_restore = op->store->no_restore || refused;
        op->written &= (uint16_t) ~(1u << part->record);
        if (!op->late) {
            op->failed = op->failed || !op->read || !send_behind(op, part->record, NULL);
        }
    } else if (part_usable(op, result, value)) {
        if (value->type == REDIS_STATUS && str_eq(value->text, STR("OK"))) {
            take_own(op, part->record);
        } else {
            freq_count(op->store, FREQ_ERROR_SHAPE);
            op->failed = true;
        }
    } else if (result == REDIS_OK) {
        op->written &= (uint16_t) ~(1u << part->record);
    }
    part_arrived(op);
}

static void on_order(void *owner, enum redis_result result, const struct redis_value *value)
{
    struct freq_part *part = owner;
    struct freq_op *op = part->whole;
    freq_store_arrived(op->store);
    op->late = op->late || result == REDIS_LATE;
    bool ordered = result == REDIS_OK && value->type == REDIS_STRING &&
                   (str_eq(value->text, STR("listpack")) || str_eq(value->text, STR("ziplist")));
    op->ordered |= (uint16_t)(ordered ? 1u << part->record : 0);
    op->store->stats.unordered += !ordered;
    part_arrived(op);
}

/* --- sending -------------------------------------------------------------------------------- */

static bool is_stale(const struct freq_op *op, const struct freq_exposure *exposure)
{
    int64_t kept_s =
        exposure->hold_s ? freq_keep_s(op->store, exposure->hold_s) : op->book->retention_s;
    return exposure->time_s + kept_s < op->now_s;
}

/* Deletes what no cap can count any more. Behind our own write, so that the record stays. */
static void send_stale(struct freq_op *op, const struct freq_record *record, struct str key)
{
    const struct freq_exposure *stale[MAX_STALE_PER_RESERVE];
    uint32_t count = 0;
    for (uint32_t i = 0; i < record->exposure_count && count < COUNT_OF(stale); i++) {
        if (is_stale(op, &record->exposures[i])) {
            stale[count++] = &record->exposures[i];
        }
    }
    if (!count) {
        return;
    }
    struct redis *redis = op->store->redis;
    redis_begin(redis, 2 + count);
    redis_arg(redis, STR("HDEL"));
    redis_arg(redis, key);
    for (uint32_t i = 0; i < count; i++) {
        char field[FREQ_FIELD_BYTES];
        freq_codec_field(stale[i]->time_s, stale[i]->salt, field);
        redis_arg(redis, freq_str(field, sizeof(field)));
    }
    if (freq_send(op->store, key, 0, NULL, NULL)) {
        op->store->stats.stale_removed += count;
    }
}

/* Whether the record surely lives until then, by what it holds. */
static bool lives_until(const struct freq_store *store, const struct freq_record *record,
                        int64_t end_s)
{
    if (record->sure_until_s > end_s) {
        return true;
    }
    for (uint32_t i = record->exposure_count; i-- > 0;) { /* mostly the youngest is the last */
        const struct freq_exposure *exposure = &record->exposures[i];
        int64_t sure_s = exposure->hold_s
                             ? freq_end_s(store, &record->key, exposure->time_s, exposure->hold_s)
                             : exposure->time_s + SURE_LIFE_S;
        if (sure_s >= end_s) {
            return true;
        }
    }
    return false;
}

static bool send_part(struct freq_op *op, struct freq_part *part, uint32_t record, struct str key,
                      redis_fn *done)
{
    *part = (struct freq_part){.whole = op, .record = (uint8_t)record};
    if (!freq_send(op->store, key, op->deadline_us, done, part)) {
        return false;
    }
    op->pending++;
    return true;
}

/* The record does not exist, as far as we know. */
static bool send_create(struct freq_op *op, uint32_t i)
{
    freq_begin_restore(op->store, &op->ticket, i, op->hold_s);
    if (!send_part(op, &op->write_parts[i], i, freq_codec_key(&op->ticket.keys[i]), on_created)) {
        return false;
    }
    op->written |= (uint16_t)(1u << i);
    return true;
}

/* The pipeline of a record that may exist; known is what the read saw of it, NULL when nothing is
 * known: a linked id, or it came up since. */
static bool send_behind(struct freq_op *op, uint32_t i, const struct freq_record *known)
{
    struct freq_store *store = op->store;
    struct str key = freq_codec_key(&op->ticket.keys[i]);
    int64_t end_s = freq_end_s(store, &op->ticket.keys[i], op->ticket.time_s, op->hold_s);
    if (!known || !lives_until(store, known, end_s)) {
        struct freq_part *part = &op->side_parts[i];
        *part = (struct freq_part){.whole = op, .record = (uint8_t)i};
        if (!freq_send_expire_at(store, key, end_s, STR("GT"), op->deadline_us, on_extended,
                                 part)) {
            return false;
        }
        op->pending++;
    }
    freq_begin_hsetnx(store, &op->ticket, i, op->hold_s);
    if (!send_part(op, &op->write_parts[i], i, key, on_written)) {
        return false;
    }
    op->written |= (uint16_t)(1u << i);
    if (known) {
        op->assumed |= (uint16_t)(1u << i);
        send_stale(op, known, key);
    } else {
        freq_send_expire_at(store, key, end_s, STR("NX"), 0, NULL, NULL);
    }
    redis_begin(store->redis, 2);
    redis_arg(store->redis, STR("HGETALL"));
    redis_arg(store->redis, key);
    return send_part(op, &op->read_parts[i], i, key, on_reread);
}

static bool send_record(struct freq_op *op, uint32_t i)
{
    const struct freq_view *view = &op->read->view;
    const struct freq_record *known = i < view->record_count ? &view->records[i] : NULL;
    if (!known || known->field_count) {
        return send_behind(op, i, known);
    }
    bool ours = op->next != NULL; /* another impression of this request is about to make it */
    return ours || op->store->no_restore ? send_behind(op, i, NULL) : send_create(op, i);
}

static void on_failed_later(void *owner, enum redis_result result, const struct redis_value *value)
{
    struct freq_part *part = owner;
    (void)result;
    (void)value;
    struct freq_op *op = part->whole;
    freq_store_arrived(op->store);
    part_arrived(op);
}

/* The records of a read and those its links name. */
static void ticket_fill(struct freq_store *store, const struct freq_read *read,
                        struct exposure_refs refs, int64_t now_s, struct freq_ticket *ticket)
{
    *ticket = (struct freq_ticket){.time_s = (uint32_t)now_s,
                                   .salt = (uint32_t)prng_next(&store->prng) & FREQ_SALT_MASK,
                                   .refs = refs};
    for (uint32_t i = 0; i < read->view.record_count; i++) {
        const struct freq_record *record = &read->view.records[i];
        ticket->keys[i] = record->key;
        ticket->household_mask |= (uint16_t)(record->household ? 1u << i : 0);
        ticket->key_count++;
    }
    for (uint8_t l = 0; l < read->links.count; l++) {
        const struct person_key *key = &read->links.keys[l];
        bool known = false;
        for (uint8_t i = 0; i < ticket->key_count; i++) {
            known = known || memcmp(&ticket->keys[i], key, sizeof(*key)) == 0;
        }
        if (!known) {
            ticket->keys[ticket->key_count++] = *key;
        }
    }
}

void freq_ticket_fill(struct freq_store *store, const struct freq_read *read,
                      struct exposure_refs refs, int64_t now_s, struct freq_ticket *ticket)
{
    ticket->key_count = 0;
    if (read && !read->view.withdrawn) {
        ticket_fill(store, read, refs, now_s, ticket);
    }
}

enum status freq_reserve(struct freq_store *store, struct freq_read *read,
                         const struct cap_book *book, struct cap_list line_caps,
                         struct cap_list creative_caps, struct exposure_refs refs, uint16_t hold_s,
                         bool first_only, int64_t now_s, int64_t deadline_us,
                         struct freq_ticket *ticket, freq_reserve_fn *done, void *owner)
{
    BUG_ON(read->state != READ_READY || hold_s == 0);
    struct freq_op *op = store->free_ops;
    if (!op || !read->view.record_count) {
        store->stats.pool_exhausted += !op;
        return op ? STATUS_INVALID : STATUS_LIMIT;
    }
    store->free_ops = op->next;
    struct freq_slab slab = op->slab;
    slab.used = 0;
    *op = (struct freq_op){.store = store,
                           .read = read,
                           .next = read->ops,
                           .done = done,
                           .owner = owner,
                           .book = book,
                           .line_caps = line_caps,
                           .creative_caps = creative_caps,
                           .now_s = now_s,
                           .hold_s = hold_s,
                           .first_only = first_only,
                           .slab = slab};
    read->ops = op;
    ticket_fill(store, read, refs, now_s, &op->ticket);
    for (uint32_t i = 0; i < op->ticket.key_count; i++) {
        op->records[i] = (struct freq_record){.key = op->ticket.keys[i],
                                              .household = op->ticket.household_mask >> i & 1};
    }
    *ticket = op->ticket;
    int64_t limit_us = clock_mono_us() + store->options.timeout_us;
    op->deadline_us = deadline_us < limit_us ? deadline_us : limit_us;
    for (uint32_t i = 0; i < op->ticket.key_count && !op->failed; i++) {
        op->failed = !send_record(op, i);
    }
    if (op->pending) {
        return STATUS_OK;
    }
    op->write_parts[0] = (struct freq_part){.whole = op};
    if (!redis_later(store->redis, on_failed_later, &op->write_parts[0])) {
        op_detach(op);
        op_free(op);
        return STATUS_LIMIT;
    }
    store->outstanding++;
    op->pending = 1;
    return STATUS_OK;
}

void freq_hold(struct freq_store *store, const struct freq_read *read,
               const struct freq_ticket *ticket, uint16_t hold_s)
{
    for (uint8_t i = 0; i < ticket->key_count; i++) {
        const struct freq_record *known =
            read && i < read->view.record_count ? &read->view.records[i] : NULL;
        struct str key = freq_codec_key(&ticket->keys[i]);
        int64_t end_s = freq_end_s(store, &ticket->keys[i], ticket->time_s, hold_s);
        bool empty = known && !known->field_count;
        if (!empty && !(known && lives_until(store, known, end_s))) {
            freq_send_expire_at(store, key, end_s, STR("GT"), 0, NULL, NULL);
        }
        freq_begin_hsetnx(store, ticket, i, hold_s);
        if (freq_send(store, key, 0, NULL, NULL) && (empty || !known)) {
            freq_send_expire_at(store, key, end_s, STR("NX"), 0, NULL, NULL);
        }
    }
}
