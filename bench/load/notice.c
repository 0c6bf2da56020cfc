/* Bids are read from JSON with json_walk, one element number per bid object, or from protobuf by
 * IAB's field numbers. A winner's nurl,
 * burl and impression urls become GET requests in a ring of bytes, in the order they are due (the
 * delay is the same for all).
 *
 *   ring: [due_ns len pad | request bytes][due_ns len pad | request bytes]...
 *         a record that does not fit before the end is preceded by one of len SKIP to the end
 */
#include "bench/load/notice.h"

#include <sys/mman.h>

#include "bench/load/json_walk.h"
#include "bench/load/pb.h"
#include "bidder/base/bug.h"

#define SKIP    UINT32_MAX
#define URL_MAX 8192

struct record {
    int64_t due_ns;
    uint32_t len;
    uint32_t pad;
};

struct bid {
    unsigned element;
    struct str id;
    struct str impid;
    struct str nurl;
    struct str burl;
    struct str lurl;
    struct str adm;
    int64_t price_micros;
};

struct reading {
    struct notice_queue *queue;
    int64_t now_ns;
    bool is_json; /* texts are escaped */
    struct str auction_id;
    struct str currency;
    struct bid bid;
};

static const char *const kind_names[NOTICE_KINDS] = {"win", "billing", "impression", "loss"};

const char *notice_kind_name(enum notice_kind kind)
{
    return kind_names[kind];
}

enum status notice_queue_init(struct notice_queue *queue)
{
    /* Pages are only used once notices are waiting. */
    queue->ring = mmap(NULL, queue->cap, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    buf_init(&queue->text, 1 << 20);
    buf_init(&queue->url, URL_MAX);
    buf_init(&queue->request, 2 * URL_MAX);
    return queue->ring == MAP_FAILED ? STATUS_NO_MEMORY : STATUS_OK;
}

void notice_queue_deinit(struct notice_queue *queue)
{
    if (queue->ring && queue->ring != MAP_FAILED) {
        munmap(queue->ring, queue->cap);
    }
    buf_deinit(&queue->text);
    buf_deinit(&queue->url);
    buf_deinit(&queue->request);
}

/* --- the ring --- */

static struct record *record_at(const struct notice_queue *queue, size_t at)
{
    return (struct record *)(void *)(queue->ring + at);
}

static size_t record_size(size_t len)
{
    return (sizeof(struct record) + len + 15) & ~(size_t)15;
}

static bool ring_put(struct notice_queue *queue, struct str request, int64_t due_ns)
{
    size_t need = record_size(request.len);
    size_t to_end = queue->cap - queue->tail;
    size_t skip = to_end < need ? to_end : 0;
    if (queue->used + skip + need > queue->cap) {
        return false;
    }
    if (skip) {
        record_at(queue, queue->tail)->len = SKIP;
        queue->used += skip;
        queue->tail = 0;
    }
    struct record *record = record_at(queue, queue->tail);
    *record = (struct record){.due_ns = due_ns, .len = (uint32_t)request.len};
    memcpy(record + 1, request.ptr, request.len);
    queue->tail = (queue->tail + need) % queue->cap;
    queue->used += need;
    return true;
}

static const struct record *ring_first(const struct notice_queue *queue)
{
    if (!queue->used) {
        return NULL;
    }
    const struct record *record = record_at(queue, queue->head);
    return record->len == SKIP ? record_at(queue, 0) : record;
}

int64_t notice_queue_due_ns(const struct notice_queue *queue)
{
    const struct record *record = ring_first(queue);
    return record ? record->due_ns : INT64_MAX;
}

struct str notice_queue_first(const struct notice_queue *queue)
{
    const struct record *record = ring_first(queue);
    BUG_ON(!record);
    return (struct str){.ptr = (const char *)(record + 1), .len = record->len};
}

void notice_queue_pop(struct notice_queue *queue)
{
    BUG_ON(!queue->used);
    if (record_at(queue, queue->head)->len == SKIP) {
        queue->used -= queue->cap - queue->head;
        queue->head = 0;
    }
    size_t size = record_size(record_at(queue, queue->head)->len);
    queue->head = (queue->head + size) % queue->cap;
    queue->used -= size;
}

/* --- from bid to request --- */

static int hex_value(char c)
{
    c = str_ascii_lower(c);
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* JSON escapes away. Only what urls and markup hold: \uXXXX beyond ASCII becomes '?'. */
static struct str unescape(struct buf *into, struct str text)
{
    buf_reset(into);
    while (text.len) {
        const char *slash = memchr(text.ptr, '\\', text.len);
        size_t plain = slash ? (size_t)(slash - text.ptr) : text.len;
        buf_put(into, text.ptr, plain);
        text.ptr += plain;
        text.len -= plain;
        if (text.len < 2) {
            break;
        }
        char c = text.ptr[1];
        size_t eaten = 2;
        if (c == 'u' && text.len >= 6) {
            int high = hex_value(text.ptr[4]), low = hex_value(text.ptr[5]);
            bool is_ascii = text.ptr[2] == '0' && text.ptr[3] == '0' && high >= 0 && high < 8;
            c = is_ascii && low >= 0 ? (char)(high * 16 + low) : '?';
            eaten = 6;
        } else if (c == 'n' || c == 't' || c == 'r') {
            c = ' ';
        }
        buf_put_char(into, c);
        text.ptr += eaten;
        text.len -= eaten;
    }
    return buf_failed(into) ? STR_NONE : buf_str(into);
}

static void put_macro(struct buf *out, struct str name, const struct reading *reading, bool is_loss)
{
    const struct notice_queue *queue = reading->queue;
    if (str_eq(name, STR("AUCTION_PRICE")) || str_eq(name, STR("AUCTION_MIN_TO_WIN"))) {
        /* Prices are below 10^12 micros, so the product fits. */
        int64_t millionths = is_loss ? 1000000 : queue->clearing_millionths;
        buf_put_micros(out, reading->bid.price_micros * millionths / 1000000);
    } else if (str_eq(name, STR("AUCTION_ID"))) {
        buf_put_str(out, reading->auction_id);
    } else if (str_eq(name, STR("AUCTION_BID_ID"))) {
        buf_put_str(out, reading->bid.id);
    } else if (str_eq(name, STR("AUCTION_IMP_ID"))) {
        buf_put_str(out, reading->bid.impid);
    } else if (str_eq(name, STR("AUCTION_CURRENCY"))) {
        buf_put_str(out, reading->currency);
    } else if (str_eq(name, STR("AUCTION_LOSS"))) {
        BUF_PUT_LITERAL(out, "102"); /* lost to a higher bid */
    }
}

static void put_substituted(struct buf *out, struct str url, const struct reading *reading,
                            bool is_loss)
{
    while (url.len) {
        const char *macro = memmem(url.ptr, url.len, "${", 2);
        size_t plain = macro ? (size_t)(macro - url.ptr) : url.len;
        buf_put(out, url.ptr, plain);
        url.ptr += plain;
        url.len -= plain;
        if (!macro) {
            break;
        }
        const char *end = memchr(url.ptr, '}', url.len);
        if (!end) {
            break;
        }
        struct str name = {.ptr = url.ptr + 2, .len = (size_t)(end - url.ptr) - 2};
        put_macro(out, name, reading, is_loss);
        url.len -= (size_t)(end + 1 - url.ptr);
        url.ptr = end + 1;
    }
}

/* The url is already free of JSON escapes. */
static bool queue_url(struct reading *reading, struct str url, enum notice_kind kind)
{
    struct notice_queue *queue = reading->queue;
    const char *scheme = memmem(url.ptr, url.len, "://", 3);
    if (!scheme || url.len > URL_MAX) {
        return false;
    }
    struct str host = {.ptr = scheme + 3, .len = (size_t)(url.ptr + url.len - scheme) - 3};
    const char *slash = host.len ? memchr(host.ptr, '/', host.len) : NULL;
    struct str path = STR("/");
    if (slash) {
        path = (struct str){.ptr = slash, .len = (size_t)(host.ptr + host.len - slash)};
        host.len = (size_t)(slash - host.ptr);
    }
    struct buf *out = &queue->request;
    buf_reset(out);
    BUF_PUT_LITERAL(out, "GET ");
    put_substituted(out, path, reading, kind == NOTICE_LOSS);
    BUF_PUT_LITERAL(out, " HTTP/1.1\r\nHost: ");
    buf_put_str(out, host);
    BUF_PUT_LITERAL(out, "\r\n\r\n");
    if (buf_failed(out)) {
        return false;
    }
    bool is_twice = queue->duplicate > 0 && prng_unit(&queue->prng) < queue->duplicate;
    for (int i = 0; i < 1 + is_twice; i++) {
        if (ring_put(queue, buf_str(out), reading->now_ns + queue->delay_ns)) {
            queue->counts.queued[kind]++;
        } else {
            queue->counts.no_room++;
        }
    }
    return true;
}

static bool queue_wire_url(struct reading *reading, struct str url, enum notice_kind kind)
{
    if (reading->is_json && url.len) {
        url = unescape(&reading->queue->url, url);
    }
    return url.len && queue_url(reading, url, kind);
}

/* --- impression urls in the markup --- */

/* The text between start and end, behind *at; *at moves on. */
static bool between(struct str text, size_t *at, struct str start, struct str end,
                    struct str *found)
{
    const char *from =
        text.len > *at ? memmem(text.ptr + *at, text.len - *at, start.ptr, start.len) : NULL;
    if (!from) {
        return false;
    }
    from += start.len;
    size_t left = (size_t)(text.ptr + text.len - from);
    const char *to = memmem(from, left, end.ptr, end.len);
    if (!to) {
        return false;
    }
    *found = (struct str){.ptr = from, .len = (size_t)(to - from)};
    *at = (size_t)(to - text.ptr) + end.len;
    return true;
}

struct native_reading {
    struct reading *reading;
    bool any;
};

static void on_native_scalar(void *context, const struct json_scalar *scalar)
{
    struct native_reading *native = context;
    bool is_tracker =
        scalar->kind == JSON_STRING &&
        (json_path_is(scalar, "eventtrackers.[].url") ||
         json_path_is(scalar, "native.eventtrackers.[].url") ||
         json_path_is(scalar, "imptrackers.[]") || json_path_is(scalar, "native.imptrackers.[]"));
    if (is_tracker) {
        native->any |=
            queue_url(native->reading, unescape(&native->reading->queue->url, scalar->value),
                      NOTICE_IMPRESSION);
    }
}

static bool queue_impressions(struct reading *reading, struct str adm)
{
    if (reading->is_json) {
        adm = unescape(&reading->queue->text, adm);
    }
    struct str found, inner;
    size_t at = 0;
    bool any = false;
    if (adm.len && adm.ptr[0] == '{') {
        struct native_reading native = {.reading = reading};
        (void)json_walk(adm, on_native_scalar, &native);
        return native.any;
    }
    while (between(adm, &at, STR("<Impression"), STR("</Impression>"), &found)) {
        size_t inside = 0;
        if (between(found, &inside, STR("<![CDATA["), STR("]]>"), &inner)) {
            any |= queue_url(reading, str_trim(inner), NOTICE_IMPRESSION);
        }
    }
    while (!any && between(adm, &at, STR("<img"), STR(">"), &found)) {
        size_t inside = 0;
        if (between(found, &inside, STR("src=\""), STR("\""), &inner)) {
            any |= queue_url(reading, inner, NOTICE_IMPRESSION);
        }
    }
    return any;
}

static void end_bid(struct reading *reading)
{
    struct notice_queue *queue = reading->queue;
    struct bid *bid = &reading->bid;
    if (!bid->impid.len) {
        return;
    }
    queue->counts.bids++;
    if (prng_unit(&queue->prng) >= queue->win_rate) {
        if (queue->loss) {
            (void)queue_wire_url(reading, bid->lurl, NOTICE_LOSS);
        }
        return;
    }
    queue->counts.wins++;
    bool any = queue_wire_url(reading, bid->nurl, NOTICE_WIN);
    any |= queue_wire_url(reading, bid->burl, NOTICE_BILLING);
    any |= queue_impressions(reading, bid->adm);
    queue->counts.no_url += !any;
}

static void on_scalar(void *context, const struct json_scalar *scalar)
{
    struct reading *reading = context;
    if (scalar->depth == 1 && scalar->kind == JSON_STRING) {
        if (str_eq(scalar->path[0], STR("id"))) {
            reading->auction_id = scalar->value;
        } else if (str_eq(scalar->path[0], STR("cur"))) {
            reading->currency = scalar->value;
        }
    }
    if (scalar->depth != 5 || !str_eq(scalar->path[2], STR("bid")) ||
        !str_eq(scalar->path[0], STR("seatbid"))) {
        return;
    }
    struct bid *bid = &reading->bid;
    if (scalar->element != bid->element) {
        end_bid(reading);
        *bid = (struct bid){.element = scalar->element};
    }
    struct str key = scalar->path[4];
    if (str_eq(key, STR("price"))) {
        (void)str_to_micros(scalar->value, &bid->price_micros);
    } else if (scalar->kind != JSON_STRING) {
        return;
    } else if (str_eq(key, STR("id"))) {
        bid->id = scalar->value;
    } else if (str_eq(key, STR("impid"))) {
        bid->impid = scalar->value;
    } else if (str_eq(key, STR("nurl"))) {
        bid->nurl = scalar->value;
    } else if (str_eq(key, STR("burl"))) {
        bid->burl = scalar->value;
    } else if (str_eq(key, STR("lurl"))) {
        bid->lurl = scalar->value;
    } else if (str_eq(key, STR("adm"))) {
        bid->adm = scalar->value;
    }
}

/* Prices on the protobuf wire are doubles; the nearest micro is what was meant. */
static int64_t micros_of_double(struct str bytes)
{
    double price = 0;
    if (bytes.len == sizeof(price)) {
        memcpy(&price, bytes.ptr, sizeof(price));
    }
    return price > 0 && price < 1e6 ? (int64_t)(price * 1e6 + 0.5) : 0;
}

static bool read_bid(struct reading *reading, struct str message)
{
    struct bid *bid = &reading->bid;
    struct pb_field field;
    *bid = (struct bid){0};
    while (message.len) {
        if (!pb_next(&message, &field)) {
            return false;
        }
        switch (field.number) {
        case 1:
            bid->id = field.bytes;
            break;
        case 2:
            bid->impid = field.bytes;
            break;
        case 3:
            bid->price_micros = micros_of_double(field.bytes);
            break;
        case 5:
            bid->nurl = field.bytes;
            break;
        case 6:
            bid->adm = field.bytes;
            break;
        case 22:
            bid->burl = field.bytes;
            break;
        case 23:
            bid->lurl = field.bytes;
            break;
        default:
            break;
        }
    }
    end_bid(reading);
    return true;
}

static bool read_protobuf(struct reading *reading, struct str body)
{
    struct pb_field top, inner;
    for (struct str rest = body; rest.len;) { /* the currency stands behind the bids */
        if (!pb_next(&rest, &top)) {
            return false;
        }
        if (top.number == 1) {
            reading->auction_id = top.bytes;
        } else if (top.number == 4) {
            reading->currency = top.bytes;
        }
    }
    while (body.len && pb_next(&body, &top)) {
        struct str seat = top.bytes;
        while (top.number == 2 && seat.len) {
            if (!pb_next(&seat, &inner) || (inner.number == 1 && !read_bid(reading, inner.bytes))) {
                return false;
            }
        }
    }
    return true;
}

void notice_queue_take(struct notice_queue *queue, struct str body, int64_t now_ns)
{
    struct reading reading = {.queue = queue, .now_ns = now_ns, .currency = STR("USD")};
    reading.is_json = !body.len || body.ptr[0] != 0x0a;
    bool is_read =
        reading.is_json ? json_walk(body, on_scalar, &reading) : read_protobuf(&reading, body);
    if (!is_read) {
        queue->counts.unreadable++;
    } else if (reading.is_json) {
        end_bid(&reading);
    }
}
