/* Records of the event log as bytes and as JSON. Pure; the only place that knows protobuf-c's
 * generated code for events. Reading trusts nothing: files are copied about, cut and damaged. */
#include "bidder/event_log.h"

#include <inttypes.h>

#include "bidder/base/bug.h"
#include "bidder/base/crc32c.h"
#include "proto/event.pb-c.h"

#define FRAME_BYTES 8

const char *event_kind_name(unsigned kind)
{
    switch (kind) {
#define X(name, number, text)                                                                      \
    case number:                                                                                   \
        return text;
        EVENT_KINDS(X)
#undef X
    }
    return "unknown";
}

static void put_le32(uint8_t *to, uint32_t value)
{
    for (int i = 0; i < 4; i++) {
        to[i] = (uint8_t)(value >> 8 * i);
    }
}

static uint32_t get_le32(const char *from)
{
    const uint8_t *at = (const uint8_t *)from;
    return (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

/* Written by hand: protobuf-c's general packing takes five times as long, and a bid's record is on
 * the request path. Reading is protobuf-c's, and the tests read back what is written here. A field
 * that is 0 is left out: absent and 0 mean the same. */
enum wire_type { WIRE_VARINT = 0, WIRE_FIXED64 = 1, WIRE_BYTES = 2, WIRE_FIXED32 = 5 };

#define ACCOUNT_MAX 128
#define MESSAGE_MAX 640 /* 26 fields of at most 12 bytes, 16 budgets, an account's name */

static uint8_t *put_varint(uint8_t *to, uint64_t value)
{
    for (; value >= 128; value >>= 7) {
        *to++ = (uint8_t)(value | 128);
    }
    *to++ = (uint8_t)value;
    return to;
}

static uint8_t *put_number_field(uint8_t *to, unsigned field, uint64_t value)
{
    if (value) {
        to = put_varint(to, field << 3 | WIRE_VARINT);
        to = put_varint(to, value);
    }
    return to;
}

static uint8_t *put_ref_field(uint8_t *to, unsigned field, uint32_t ref)
{
    if (ref) {
        to = put_varint(to, field << 3 | WIRE_FIXED32);
        put_le32(to, ref);
        to += 4;
    }
    return to;
}

static uint8_t *put_budgets(uint8_t *to, const struct event_record *event)
{
    if (event->budget_count) {
        to = put_varint(to, 16u << 3 | WIRE_BYTES);
        to = put_varint(to, event->budget_count * 4);
        for (uint32_t i = 0; i < event->budget_count; i++, to += 4) {
            put_le32(to, event->budgets[i]);
        }
    }
    return to;
}

static uint8_t *put_account(uint8_t *to, struct str account)
{
    if (account.len && account.len < ACCOUNT_MAX) {
        to = put_varint(to, 18u << 3 | WIRE_BYTES);
        to = put_varint(to, account.len);
        memcpy(to, account.ptr, account.len);
        to += account.len;
    }
    return to;
}

static uint8_t *put_auction(uint8_t *to, uint64_t auction)
{
    if (auction) {
        *to++ = 3u << 3 | WIRE_FIXED64;
        put_le32(to, (uint32_t)auction);
        put_le32(to + 4, (uint32_t)(auction >> 32));
        to += 8;
    }
    return to;
}

static uint8_t *put_message(uint8_t *to, const struct event_record *event)
{
    to = put_number_field(to, 1, event->kind);
    to = put_number_field(to, 2, (uint64_t)event->time_us);
    to = put_auction(to, event->auction);
    to = put_number_field(to, 4, event->imp_hash);
    to = put_ref_field(to, 5, event->exchange_ref);
    to = put_ref_field(to, 6, event->line_ref);
    to = put_ref_field(to, 7, event->deal_ref);
    to = put_ref_field(to, 8, event->brand_ref);
    to = put_ref_field(to, 9, event->creative_ref);
    to = put_number_field(to, 10, event->bid_s);
    to = put_number_field(to, 11, (uint64_t)event->price_micros);
    to = put_number_field(to, 12, (uint64_t)event->cost_micros);
    to = put_number_field(to, 13, event->flight);
    to = put_number_field(to, 14, event->flags);
    to = put_number_field(to, 15, (uint64_t)(int64_t)event->reason);
    to = put_budgets(to, event);
    to = put_ref_field(to, 17, event->other_brand_ref);
    to = put_account(to, event->account);
    to = put_number_field(to, 19, event->sequence);
    to = put_number_field(to, 20, (uint64_t)event->used);
    to = put_number_field(to, 21, (uint64_t)event->returned);
    to = put_number_field(to, 22, (uint64_t)event->granted);
    to = put_number_field(to, 23, event->owner);
    to = put_number_field(to, 24, event->billable);
    to = put_number_field(to, 25, event->date);
    return put_number_field(to, 26, event->impressions);
}

bool event_record_put(struct buf *out, const struct event_record *event)
{
    uint8_t bytes[FRAME_BYTES + MESSAGE_MAX];
    BUG_ON(event->budget_count > EVENT_MAX_BUDGETS);
    uint8_t *end = put_message(bytes + FRAME_BYTES, event);
    size_t len = (size_t)(end - bytes);
    put_le32(bytes, (uint32_t)(len - FRAME_BYTES));
    put_le32(bytes + 4, crc32c(0, bytes + FRAME_BYTES, len - FRAME_BYTES));
    char *to = buf_reserve(out, len);
    if (!to) {
        out->failed = false; /* nothing of it was added: the buffer is whole */
        return false;
    }
    memcpy(to, bytes, len);
    out->len += len;
    return true;
}

/* The frame at the front: its message in *message. */
static enum event_read frame(struct str bytes, struct str *message)
{
    if (!bytes.len) {
        return EVENT_READ_END;
    }
    if (bytes.len < FRAME_BYTES) {
        return EVENT_READ_TORN;
    }
    uint32_t len = get_le32(bytes.ptr);
    if (len == 0 || len > EVENT_MAX_BYTES) {
        return EVENT_READ_BAD;
    }
    if (bytes.len - FRAME_BYTES < len) {
        return EVENT_READ_TORN;
    }
    *message = (struct str){bytes.ptr + FRAME_BYTES, len};
    return crc32c(0, message->ptr, len) == get_le32(bytes.ptr + 4) ? EVENT_READ_OK : EVENT_READ_BAD;
}

static void from_message(const Jointcap__Event *m, struct event_record *event, char *scratch)
{
    *event = (struct event_record){
        .kind = m->kind,
        .time_us = (int64_t)m->time_us,
        .auction = m->auction,
        .imp_hash = m->imp,
        .exchange_ref = m->exchange,
        .line_ref = m->line,
        .deal_ref = m->deal,
        .brand_ref = m->brand,
        .creative_ref = m->creative,
        .bid_s = m->bid_s,
        .price_micros = m->price,
        .cost_micros = m->cost,
        .flight = m->flight,
        .flags = m->flags,
        .reason = m->reason,
        .other_brand_ref = m->other_brand,
        .sequence = m->sequence,
        .used = m->used,
        .returned = m->returned,
        .granted = m->granted,
        .owner = m->owner,
        .billable = m->billable,
        .date = m->date,
        .impressions = m->impressions,
    };
    for (size_t i = 0; i < m->n_budget && i < EVENT_MAX_BUDGETS; i++) {
        event->budgets[event->budget_count++] = m->budget[i];
    }
    if (m->account) {
        event->account = (struct str){scratch, strlen(m->account)};
        memcpy(scratch, m->account, event->account.len);
    }
}

enum event_read event_record_next(struct str *bytes, struct event_record *event, char *scratch)
{
    struct str text;
    enum event_read result = frame(*bytes, &text);
    if (result != EVENT_READ_OK) {
        return result;
    }
    Jointcap__Event *message = jointcap__event__unpack(NULL, text.len, (const uint8_t *)text.ptr);
    if (!message) {
        return EVENT_READ_BAD;
    }
    from_message(message, event, scratch);
    jointcap__event__free_unpacked(message, NULL);
    bytes->ptr += FRAME_BYTES + text.len;
    bytes->len -= FRAME_BYTES + text.len;
    return EVENT_READ_OK;
}

size_t event_record_valid(struct str bytes, bool *end)
{
    static const char end_message[] = {0x08, EVENT_END};
    struct str rest = bytes, text = STR_NONE;
    *end = false;
    while (frame(rest, &text) == EVENT_READ_OK) {
        rest.ptr += FRAME_BYTES + text.len;
        rest.len -= FRAME_BYTES + text.len;
        *end = str_eq(text, (struct str){end_message, sizeof(end_message)});
    }
    return bytes.len - rest.len;
}

/* --- JSON ------------------------------------------------------------------------------------ */

static void put_number(struct buf *out, const char *name, int64_t value)
{
    if (value) {
        buf_printf(out, ",\"%s\":%" PRId64, name, value);
    }
}

static void put_ref(struct buf *out, const char *name, uint32_t ref)
{
    if (ref) {
        buf_printf(out, ",\"%s\":\"%08" PRIx32 "\"", name, ref);
    }
}

void event_put_json(struct buf *out, const struct event_record *event)
{
    buf_printf(out, "{\"event\":\"%s\",\"time_us\":%" PRId64, event_kind_name(event->kind),
               event->time_us);
    if (event->auction) {
        buf_printf(out, ",\"auction\":\"%016" PRIx64 "\"", event->auction);
    }
    put_number(out, "imp", event->imp_hash);
    put_ref(out, "exchange", event->exchange_ref);
    put_ref(out, "line", event->line_ref);
    put_ref(out, "deal", event->deal_ref);
    put_ref(out, "brand", event->brand_ref);
    put_ref(out, "creative", event->creative_ref);
    put_ref(out, "other_brand", event->other_brand_ref);
    put_number(out, "bid_s", event->bid_s);
    put_number(out, "price_micros", event->price_micros);
    put_number(out, "cost_micros", event->cost_micros);
    put_number(out, "flight", event->flight);
    put_number(out, "flags", event->flags);
    put_number(out, "reason", event->reason);
    for (uint32_t i = 0; i < event->budget_count; i++) {
        buf_printf(out, "%s\"%08" PRIx32 "\"", i ? "," : ",\"budgets\":[", event->budgets[i]);
    }
    if (event->budget_count) {
        buf_put_char(out, ']');
    }
    if (event->account.len) {
        BUF_PUT_LITERAL(out, ",\"account\":\"");
        buf_put_json_escaped(out, event->account);
        buf_put_char(out, '"');
    }
    put_number(out, "sequence", (int64_t)event->sequence);
    put_number(out, "used", event->used);
    put_number(out, "returned", event->returned);
    put_number(out, "granted", event->granted);
    put_number(out, "owner", event->owner);
    put_number(out, "date", event->date);
    put_number(out, "impressions", event->impressions);
    if (event->billable) {
        BUF_PUT_LITERAL(out, ",\"billable\":true");
    }
    buf_put_char(out, '}');
}
