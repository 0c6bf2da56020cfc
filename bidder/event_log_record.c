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

/* A field that is 0 is left out: absent and 0 mean the same. */
#define FILL(field, value)                                                                         \
    do {                                                                                           \
        message.field = (value);                                                                   \
        message.has_##field = message.field != 0;                                                  \
    } while (0)

bool event_record_put(struct buf *out, const struct event_record *event)
{
    char account[128];
    uint32_t budgets[EVENT_MAX_BUDGETS];
    Jointcap__Event message = JOINTCAP__EVENT__INIT;
    FILL(kind, event->kind);
    FILL(time_us, (uint64_t)event->time_us);
    FILL(auction, event->auction);
    FILL(imp, event->imp_hash);
    FILL(exchange, event->exchange_ref);
    FILL(line, event->line_ref);
    FILL(deal, event->deal_ref);
    FILL(brand, event->brand_ref);
    FILL(creative, event->creative_ref);
    FILL(bid_s, event->bid_s);
    FILL(price, event->price_micros);
    FILL(cost, event->cost_micros);
    FILL(flight, event->flight);
    FILL(flags, event->flags);
    FILL(reason, event->reason);
    FILL(other_brand, event->other_brand_ref);
    FILL(sequence, event->sequence);
    FILL(used, event->used);
    FILL(returned, event->returned);
    FILL(granted, event->granted);
    FILL(owner, event->owner);
    FILL(billable, event->billable);
    FILL(date, event->date);
    FILL(impressions, event->impressions);
    BUG_ON(event->budget_count > EVENT_MAX_BUDGETS);
    memcpy(budgets, event->budgets, event->budget_count * sizeof(budgets[0]));
    message.n_budget = event->budget_count;
    message.budget = budgets;
    if (event->account.len && event->account.len < sizeof(account)) {
        memcpy(account, event->account.ptr, event->account.len);
        account[event->account.len] = 0;
        message.account = account;
    }
    size_t len = jointcap__event__get_packed_size(&message);
    uint8_t *to = len <= EVENT_MAX_BYTES ? (uint8_t *)buf_reserve(out, FRAME_BYTES + len) : NULL;
    if (!to) {
        out->failed = false; /* nothing of it was added: the buffer is whole */
        return false;
    }
    jointcap__event__pack(&message, to + FRAME_BYTES);
    put_le32(to, (uint32_t)len);
    put_le32(to + 4, crc32c(0, to + FRAME_BYTES, len));
    out->len += FRAME_BYTES + len;
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
