/* Writing and reading signed tokens. Pure. The layout is drawn in token.h; inside it all numbers
 * are little-endian:
 *
 *   first   auction 8, imp_hash 2, flight 4, flags 2
 *   rest    exchange 4, line 4, brand 4, creative 4, bid_s 4, expires_s - bid_s (varint),
 *           price (varint), cost (varint), shape 1: [deal 4], [ticket]
 *   ticket  time_s - bid_s (zigzag varint), salt 4, brand 4, [line 4, creative 4], [mask 2],
 *           16 for each key
 *   shape   bits 0-3 key count, 4 deal given, 5 the ticket has a line or creative of its own,
 *           6 household mask given */
#include "bidder/token.h"

#include "bidder/base/bug.h"

#define VERSION      1u
#define TAG_BYTES    (CRYPTO_MAC_BYTES / 2)
#define SIGNED_MAX   (1 + CRYPTO_BLOCK + 76 + FREQ_MAX_RECORDS * PERSON_KEY_BYTES)
#define SHAPE_KEYS   15u
#define SHAPE_DEAL   16u
#define SHAPE_REFS   32u
#define SHAPE_MASK   64u
#define SHAPE_UNUSED 128u

_Static_assert(FREQ_MAX_RECORDS <= SHAPE_KEYS, "the key count has four bits");
_Static_assert((SIGNED_MAX + TAG_BYTES + 2) / 3 * 4 <= TOKEN_MAX_TEXT, "a full token must fit");

void token_keys_derive(struct token_keys *keys, struct str secret)
{
    struct crypto_key master;
    uint8_t derived[CRYPTO_MAC_BYTES];
    crypto_key_init(&master, secret.ptr, secret.len);
    crypto_mac(&master, "notice token signature", 22, derived);
    crypto_key_init(&keys->mac, derived, sizeof(derived));
    crypto_mac(&master, "notice token seal", 17, derived);
    crypto_cipher_init(&keys->seal, derived);
}

/* --- writing --------------------------------------------------------------------------------- */

static uint8_t *put_le(uint8_t *to, uint64_t value, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i++) {
        *to++ = (uint8_t)(value >> 8 * i);
    }
    return to;
}

static uint8_t *put_varint(uint8_t *to, uint64_t value)
{
    for (; value >= 128; value >>= 7) {
        *to++ = (uint8_t)(value | 128);
    }
    *to++ = (uint8_t)value;
    return to;
}

static uint8_t *put_ticket(uint8_t *to, const struct notice_token *token, unsigned shape)
{
    const struct freq_ticket *ticket = &token->ticket;
    int64_t later_s = (int64_t)ticket->time_s - token->bid_s;
    to = put_varint(to, (uint64_t)later_s << 1 ^ (uint64_t)(later_s >> 63));
    to = put_le(to, ticket->salt, 4);
    to = put_le(to, ticket->refs.brand, 4);
    if (shape & SHAPE_REFS) {
        to = put_le(to, ticket->refs.line, 4);
        to = put_le(to, ticket->refs.creative, 4);
    }
    if (shape & SHAPE_MASK) {
        to = put_le(to, ticket->household_mask, 2);
    }
    for (unsigned i = 0; i < ticket->key_count; i++) {
        memcpy(to, ticket->keys[i].bytes, PERSON_KEY_BYTES);
        to += PERSON_KEY_BYTES;
    }
    return to;
}

static uint8_t *put_rest(uint8_t *to, const struct notice_token *token)
{
    const struct freq_ticket *ticket = &token->ticket;
    unsigned shape = ticket->key_count | (token->deal_ref ? SHAPE_DEAL : 0);
    if (ticket->key_count) {
        bool same =
            ticket->refs.line == token->line_ref && ticket->refs.creative == token->creative_ref;
        shape |= same ? 0 : SHAPE_REFS;
        shape |= ticket->household_mask ? SHAPE_MASK : 0;
    }
    to = put_le(to, token->exchange_ref, 4);
    to = put_le(to, token->line_ref, 4);
    to = put_le(to, token->brand_ref, 4);
    to = put_le(to, token->creative_ref, 4);
    to = put_le(to, token->bid_s, 4);
    to = put_varint(to, token->expires_s - token->bid_s);
    to = put_varint(to, (uint64_t)token->price_micros);
    to = put_varint(to, (uint64_t)token->cost_micros);
    *to++ = (uint8_t)shape;
    if (shape & SHAPE_DEAL) {
        to = put_le(to, token->deal_ref, 4);
    }
    return ticket->key_count ? put_ticket(to, token, shape) : to;
}

void token_write(const struct token_keys *keys, const struct notice_token *token,
                 struct token_text *out)
{
    uint8_t bytes[SIGNED_MAX + TAG_BYTES], first[CRYPTO_BLOCK], mac[CRYPTO_MAC_BYTES];
    BUG_ON(token->price_micros < 0 || token->cost_micros < 0 || token->expires_s < token->bid_s);
    BUG_ON(token->ticket.key_count > FREQ_MAX_RECORDS);
    uint8_t *at = put_le(first, token->auction, 8);
    at = put_le(at, token->imp_hash, 2);
    at = put_le(at, token->flight, 4);
    put_le(at, token->flags, 2);

    bytes[0] = VERSION;
    crypto_cipher_encrypt(&keys->seal, first, bytes + 1);
    uint8_t *rest = bytes + 1 + CRYPTO_BLOCK;
    uint8_t *end = put_rest(rest, token);
    crypto_cipher_ctr(&keys->seal, bytes + 1, rest, (size_t)(end - rest));
    crypto_mac(&keys->mac, bytes, (size_t)(end - bytes), mac);
    /* The texts differ in the tag only: what is before it in whole groups is encoded once. */
    size_t size = (size_t)(end - bytes) + TAG_BYTES, shared = (size_t)(end - bytes) / 3;
    memcpy(end, mac, TAG_BYTES);
    out->len[TOKEN_EXCHANGE] = crypto_base64_encode(bytes, size, out->text[TOKEN_EXCHANGE]);
    memcpy(end, mac + TAG_BYTES, TAG_BYTES);
    memcpy(out->text[TOKEN_CLIENT], out->text[TOKEN_EXCHANGE], 4 * shared);
    out->len[TOKEN_CLIENT] =
        4 * shared + crypto_base64_encode(bytes + 3 * shared, size - 3 * shared,
                                          out->text[TOKEN_CLIENT] + 4 * shared);
}

/* --- reading --------------------------------------------------------------------------------- */

/* Running over the end sticks: at becomes NULL and everything reads as 0. */
struct reader {
    const uint8_t *at, *end;
};

static uint64_t get_le(struct reader *in, unsigned bytes)
{
    uint64_t value = 0;
    if (!in->at || (size_t)(in->end - in->at) < bytes) {
        in->at = NULL;
        return 0;
    }
    for (unsigned i = 0; i < bytes; i++) {
        value |= (uint64_t)*in->at++ << 8 * i;
    }
    return value;
}

/* At most 63 bits, so that the value is an int64. */
static uint64_t get_varint(struct reader *in)
{
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 63; shift += 7) {
        uint64_t byte = get_le(in, 1);
        value |= (byte & 127) << shift;
        if (byte < 128) {
            return value;
        }
    }
    in->at = NULL;
    return 0;
}

static void get_ticket(struct reader *in, struct notice_token *token, unsigned shape)
{
    struct freq_ticket *ticket = &token->ticket;
    uint64_t zigzag = get_varint(in);
    ticket->time_s = token->bid_s + (uint32_t)(zigzag >> 1 ^ (0 - (zigzag & 1)));
    ticket->salt = (uint32_t)get_le(in, 4);
    ticket->refs.brand = (uint32_t)get_le(in, 4);
    ticket->refs.line = token->line_ref;
    ticket->refs.creative = token->creative_ref;
    if (shape & SHAPE_REFS) {
        ticket->refs.line = (uint32_t)get_le(in, 4);
        ticket->refs.creative = (uint32_t)get_le(in, 4);
    }
    ticket->household_mask = shape & SHAPE_MASK ? (uint16_t)get_le(in, 2) : 0;
    for (unsigned i = 0; i < ticket->key_count && in->at; i++) {
        if ((size_t)(in->end - in->at) < PERSON_KEY_BYTES) {
            in->at = NULL;
            break;
        }
        memcpy(ticket->keys[i].bytes, in->at, PERSON_KEY_BYTES);
        in->at += PERSON_KEY_BYTES;
    }
}

/* What was signed by us can be trusted to be well-formed only if nobody else has the secret: every
 * bound is checked all the same. */
static bool get_rest(struct reader *in, struct notice_token *token)
{
    token->exchange_ref = (uint32_t)get_le(in, 4);
    token->line_ref = (uint32_t)get_le(in, 4);
    token->brand_ref = (uint32_t)get_le(in, 4);
    token->creative_ref = (uint32_t)get_le(in, 4);
    token->bid_s = (uint32_t)get_le(in, 4);
    token->expires_s = token->bid_s + (uint32_t)get_varint(in);
    token->price_micros = (int64_t)get_varint(in);
    token->cost_micros = (int64_t)get_varint(in);
    unsigned shape = (unsigned)get_le(in, 1);
    token->ticket.key_count = shape & SHAPE_KEYS;
    if (token->ticket.key_count > FREQ_MAX_RECORDS || shape & SHAPE_UNUSED) {
        return false;
    }
    token->deal_ref = shape & SHAPE_DEAL ? (uint32_t)get_le(in, 4) : 0;
    if (token->ticket.key_count) {
        get_ticket(in, token, shape);
    }
    return in->at == in->end;
}

enum status token_read(const struct token_keys *keys, enum token_audience audience, struct str text,
                       struct notice_token *token)
{
    uint8_t bytes[SIGNED_MAX + TAG_BYTES], first[CRYPTO_BLOCK], mac[CRYPTO_MAC_BYTES];
    char again[TOKEN_MAX_TEXT];
    size_t len;
    if (text.len > TOKEN_MAX_TEXT || !crypto_base64_decode(text, bytes, sizeof(bytes), &len) ||
        len < 1 + CRYPTO_BLOCK + TAG_BYTES || bytes[0] != VERSION) {
        return STATUS_INVALID;
    }
    /* Only the one spelling we wrote: no padding, no other alphabet, no stray low bits. */
    if (crypto_base64_encode(bytes, len, again) != text.len || memcmp(again, text.ptr, text.len)) {
        return STATUS_INVALID;
    }
    len -= TAG_BYTES;
    crypto_mac(&keys->mac, bytes, len, mac);
    if (!crypto_equal(mac + (audience == TOKEN_CLIENT ? TAG_BYTES : 0), bytes + len, TAG_BYTES)) {
        return STATUS_DENIED;
    }
    uint8_t *rest = bytes + 1 + CRYPTO_BLOCK;
    struct reader in = {.at = rest, .end = bytes + len};
    crypto_cipher_ctr(&keys->seal, bytes + 1, rest, (size_t)(in.end - rest));
    crypto_cipher_decrypt(&keys->seal, bytes + 1, first);
    *token = (struct notice_token){0};
    if (!get_rest(&in, token)) {
        return STATUS_INVALID;
    }
    in = (struct reader){.at = first, .end = first + sizeof(first)};
    token->auction = get_le(&in, 8);
    token->imp_hash = (uint16_t)get_le(&in, 2);
    token->flight = (uint32_t)get_le(&in, 4);
    token->flags = (uint16_t)get_le(&in, 2);
    return STATUS_OK;
}
