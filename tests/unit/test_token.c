#include "bidder/token.h"

#include "bidder/base/clock.h"
#include "bidder/base/prng.h"
#include "tests/test.h"

static struct token_keys keys;
static const uint64_t seed = 20261122;

__attribute__((constructor)) static void derive(void)
{
    token_keys_derive(&keys, STR("a test deployment's secret"));
}

static void fill(struct prng *prng, void *bytes, size_t len)
{
    uint8_t *to = bytes;
    while (len--) {
        *to++ = (uint8_t)prng_next(prng);
    }
}

static struct notice_token sample(struct prng *prng, unsigned key_count)
{
    struct notice_token token = {
        .auction = (uint64_t)7 << 40 | prng_below(prng, 1ull << 40),
        .imp_hash = (uint16_t)prng_next(prng),
        .exchange_ref = (uint32_t)prng_next(prng),
        .line_ref = (uint32_t)prng_next(prng),
        .deal_ref = prng_below(prng, 2) ? (uint32_t)prng_next(prng) : 0,
        .brand_ref = (uint32_t)prng_next(prng),
        .creative_ref = (uint32_t)prng_next(prng),
        .bid_s = 1795000000,
        .expires_s = 1795000000 + (uint32_t)prng_below(prng, 90000),
        .price_micros = (int64_t)prng_below(prng, 100000000),
        .cost_micros = (int64_t)prng_below(prng, 100000),
        .flight = (uint32_t)prng_next(prng),
        .flags = (uint16_t)prng_below(prng, 64),
    };
    if (key_count) {
        token.ticket = (struct freq_ticket){
            .key_count = (uint8_t)key_count,
            .time_s = token.bid_s - 2 + (uint32_t)prng_below(prng, 5),
            .salt = (uint32_t)prng_next(prng),
            .refs = {.line = token.line_ref,
                     .brand = (uint32_t)prng_next(prng),
                     .creative = token.creative_ref},
        };
        fill(prng, token.ticket.keys, key_count * sizeof(token.ticket.keys[0]));
    }
    return token;
}

static struct str text_of(const struct token_text *out, enum token_audience audience)
{
    return (struct str){.ptr = out->text[audience], .len = out->len[audience]};
}

static bool same(const struct notice_token *a, const struct notice_token *b)
{
    const struct freq_ticket *s = &a->ticket, *t = &b->ticket;
    return a->auction == b->auction && a->imp_hash == b->imp_hash &&
           a->exchange_ref == b->exchange_ref && a->line_ref == b->line_ref &&
           a->deal_ref == b->deal_ref && a->brand_ref == b->brand_ref &&
           a->creative_ref == b->creative_ref && a->expires_s == b->expires_s &&
           a->bid_s == b->bid_s && a->price_micros == b->price_micros &&
           a->cost_micros == b->cost_micros && a->flight == b->flight && a->flags == b->flags &&
           s->key_count == t->key_count && s->household_mask == t->household_mask &&
           s->time_s == t->time_s && s->salt == t->salt && s->refs.line == t->refs.line &&
           s->refs.brand == t->refs.brand && s->refs.creative == t->refs.creative &&
           !memcmp(s->keys, t->keys, s->key_count * sizeof(s->keys[0]));
}

TEST(round_trip)
{
    struct prng prng = {seed};
    for (int i = 0; i < 2000; i++) {
        struct notice_token token = sample(&prng, (unsigned)i % (FREQ_MAX_RECORDS + 1)), read;
        if (token.ticket.key_count && i % 3 == 0) {
            token.ticket.refs.line += (uint32_t)i & 1;
            token.ticket.refs.creative += (uint32_t)i & 2;
            token.ticket.household_mask = (uint16_t)(1u << (token.ticket.key_count - 1));
        }
        struct token_text out;
        token_write(&keys, &token, &out);
        for (int audience = 0; audience < 2; audience++) {
            struct str text = text_of(&out, audience);
            CHECK_INT(token_read(&keys, audience, text, &read), STATUS_OK);
            CHECK(same(&token, &read));
        }
    }
}

TEST(extreme_values)
{
    struct notice_token token = {.auction = UINT64_MAX,
                                 .imp_hash = UINT16_MAX,
                                 .exchange_ref = UINT32_MAX,
                                 .line_ref = UINT32_MAX,
                                 .deal_ref = UINT32_MAX,
                                 .brand_ref = UINT32_MAX,
                                 .creative_ref = UINT32_MAX,
                                 .expires_s = UINT32_MAX,
                                 .price_micros = INT64_MAX,
                                 .cost_micros = INT64_MAX,
                                 .flight = UINT32_MAX,
                                 .flags = UINT16_MAX,
                                 .ticket = {.key_count = FREQ_MAX_RECORDS,
                                            .household_mask = UINT16_MAX,
                                            .time_s = UINT32_MAX,
                                            .salt = UINT32_MAX}};
    struct notice_token read;
    struct token_text out;
    memset(token.ticket.keys, 0xff, sizeof(token.ticket.keys));
    token_write(&keys, &token, &out);
    CHECK(out.len[0] <= TOKEN_MAX_TEXT);
    CHECK_INT(token_read(&keys, TOKEN_CLIENT, text_of(&out, TOKEN_CLIENT), &read), STATUS_OK);
    CHECK(same(&token, &read));
    token = (struct notice_token){0};
    token_write(&keys, &token, &out);
    CHECK_INT(token_read(&keys, TOKEN_EXCHANGE, text_of(&out, TOKEN_EXCHANGE), &read), STATUS_OK);
    CHECK(same(&token, &read));
}

TEST(short_enough_for_a_url)
{
    struct prng prng = {seed};
    size_t longest = 0;
    for (int i = 0; i < 2000; i++) {
        struct notice_token token = sample(&prng, 1);
        struct token_text out;
        token_write(&keys, &token, &out);
        longest = out.len[0] > longest ? out.len[0] : longest;
    }
    CHECK(longest <= 140);
}

TEST(every_bit_flip_is_refused)
{
    struct prng prng = {seed};
    struct notice_token token = sample(&prng, 2), read;
    struct token_text out;
    token_write(&keys, &token, &out);
    for (int audience = 0; audience < 2; audience++) {
        struct str text = text_of(&out, audience);
        for (size_t bit = 0; bit < text.len * 8; bit++) {
            out.text[audience][bit / 8] ^= (char)(1 << bit % 8);
            CHECK(token_read(&keys, audience, text, &read) != STATUS_OK);
            out.text[audience][bit / 8] ^= (char)(1 << bit % 8);
        }
        CHECK_INT(token_read(&keys, audience, text, &read), STATUS_OK);
    }
}

TEST(other_audience_and_other_keys_are_refused)
{
    struct prng prng = {seed};
    struct notice_token token = sample(&prng, 1), read;
    struct token_keys others;
    struct token_text out;
    token_write(&keys, &token, &out);
    token_keys_derive(&others, STR("another secret"));
    for (int audience = 0; audience < 2; audience++) {
        struct str text = text_of(&out, audience);
        CHECK_INT(token_read(&keys, !audience, text, &read), STATUS_DENIED);
        CHECK_INT(token_read(&others, audience, text, &read), STATUS_DENIED);
    }
}

TEST(cut_and_longer_texts_are_refused)
{
    struct prng prng = {seed};
    struct notice_token token = sample(&prng, 1), read;
    struct token_text out;
    token_write(&keys, &token, &out);
    struct str text = text_of(&out, TOKEN_CLIENT);
    for (size_t len = 0; len < text.len; len++) {
        char *copy = malloc(len ? len : 1); /* exactly as long, so that ASan sees an overrun */
        memcpy(copy, text.ptr, len);
        struct str cut = {.ptr = copy, .len = len};
        CHECK(token_read(&keys, TOKEN_CLIENT, cut, &read) != STATUS_OK);
        free(copy);
    }
    char longer[TOKEN_MAX_TEXT + 8];
    memset(longer, 'A', sizeof(longer));
    memcpy(longer, text.ptr, text.len);
    for (size_t len = text.len + 1; len <= sizeof(longer); len++) {
        CHECK(token_read(&keys, TOKEN_CLIENT, (struct str){longer, len}, &read) != STATUS_OK);
    }
    longer[text.len] = '=';
    CHECK(token_read(&keys, TOKEN_CLIENT, (struct str){longer, text.len + 1}, &read) != STATUS_OK);
}

TEST(garbage_is_refused)
{
    struct prng prng = {seed};
    struct notice_token read;
    char text[TOKEN_MAX_TEXT + 32];
    for (int i = 0; i < 20000; i++) {
        uint8_t bytes[300];
        size_t len = prng_below(&prng, sizeof(bytes));
        fill(&prng, bytes, len);
        bytes[0] = 1;
        if (i % 2) {
            len = crypto_base64_encode(bytes, len < 230 ? len : 230, text);
        } else {
            memcpy(text, bytes, len);
        }
        CHECK(token_read(&keys, i % 2, (struct str){text, len}, &read) != STATUS_OK);
    }
}

/* A text signed with the real key but with a payload nobody wrote must not be believed either. */
TEST(signed_garbage_is_read_within_bounds)
{
    struct prng prng = {seed};
    int accepted = 0;
    for (int i = 0; i < 20000; i++) {
        uint8_t bytes[240], mac[CRYPTO_MAC_BYTES];
        char text[TOKEN_MAX_TEXT];
        struct notice_token read;
        size_t len = 17 + prng_below(&prng, 200);
        fill(&prng, bytes, len);
        bytes[0] = 1;
        crypto_mac(&keys.mac, bytes, len, mac);
        memcpy(bytes + len, mac, 16);
        len = crypto_base64_encode(bytes, len + 16, text);
        if (!token_read(&keys, TOKEN_EXCHANGE, (struct str){text, len}, &read)) {
            accepted++;
            CHECK(read.ticket.key_count <= FREQ_MAX_RECORDS);
            CHECK(read.price_micros >= 0 && read.cost_micros >= 0);
        }
    }
    CHECK(accepted < 2000); /* most random payloads do not even have the right length */
}

TEST(texts_hide_the_person_and_differ)
{
    struct prng prng = {seed};
    struct notice_token token = sample(&prng, 1);
    struct token_text a, b;
    uint8_t bytes[256];
    size_t len;
    token_write(&keys, &token, &a);
    token.auction++;
    token_write(&keys, &token, &b);
    CHECK(crypto_base64_decode(text_of(&a, 0), bytes, sizeof(bytes), &len));
    for (size_t i = 0; i + 4 <= len; i++) {
        CHECK(memcmp(bytes + i, token.ticket.keys[0].bytes, 4) != 0);
    }
    size_t equal = 0;
    for (size_t i = 0; i < a.len[0]; i++) {
        equal += a.text[0][i] == b.text[0][i];
    }
    CHECK(equal < a.len[0] / 4); /* the next auction's token looks like another one */
}

TEST(cost_of_writing_and_reading)
{
    struct prng prng = {seed};
    struct notice_token token = sample(&prng, 1), read;
    struct token_text out;
    enum { ROUNDS = 20000 };
    int64_t start_ns = clock_mono_ns();
    for (int i = 0; i < ROUNDS; i++) {
        token.auction++;
        token_write(&keys, &token, &out);
    }
    int64_t written_ns = clock_mono_ns();
    int denied = 0;
    for (int i = 0; i < ROUNDS; i++) {
        denied += token_read(&keys, TOKEN_CLIENT, text_of(&out, TOKEN_CLIENT), &read) != STATUS_OK;
    }
    CHECK_INT(denied, 0);
    printf("    token_write %d ns, token_read %d ns, %zu characters\n",
           (int)((written_ns - start_ns) / ROUNDS), (int)((clock_mono_ns() - written_ns) / ROUNDS),
           out.len[0]);
}

/* NIST SP 800-38A F.5.1 (first two blocks) and RFC 2202 case 2. */
TEST(cipher_and_sha1_mac_agree_with_published_vectors)
{
    static const uint8_t key[] = {0x2b, 0x7e, 0x15, 0x16, 0x28, 0xae, 0xd2, 0xa6,
                                  0xab, 0xf7, 0x15, 0x88, 0x09, 0xcf, 0x4f, 0x3c};
    static const uint8_t start[] = {0xf0, 0xf1, 0xf2, 0xf3, 0xf4, 0xf5, 0xf6, 0xf7,
                                    0xf8, 0xf9, 0xfa, 0xfb, 0xfc, 0xfd, 0xfe, 0xff};
    static const uint8_t plain[] = {0x6b, 0xc1, 0xbe, 0xe2, 0x2e, 0x40, 0x9f, 0x96,
                                    0xe9, 0x3d, 0x7e, 0x11, 0x73, 0x93, 0x17, 0x2a,
                                    0xae, 0x2d, 0x8a, 0x57, 0x1e, 0x03, 0xac, 0x9c,
                                    0x9e, 0xb7, 0x6f, 0xac, 0x45, 0xaf, 0x8e, 0x51};
    static const uint8_t sealed[] = {0x87, 0x4d, 0x61, 0x91, 0xb6, 0x20, 0xe3, 0x26,
                                     0x1b, 0xef, 0x68, 0x64, 0x99, 0x0d, 0xb6, 0xce,
                                     0x98, 0x06, 0xf6, 0x6b, 0x79, 0x70, 0xfd, 0xff,
                                     0x86, 0x17, 0x18, 0x7b, 0xb9, 0xff, 0xfd, 0xff};
    static const uint8_t jefe[] = {0xef, 0xfc, 0xdf, 0x6a, 0xe5, 0xeb, 0x2f, 0xa2, 0xd2, 0x74,
                                   0x16, 0xd5, 0xf1, 0x84, 0xdf, 0x9c, 0x25, 0x9a, 0x7c, 0x79};
    struct crypto_cipher cipher;
    uint8_t bytes[sizeof(plain)], block[CRYPTO_BLOCK], mac[CRYPTO_SHA1_BYTES];
    crypto_cipher_init(&cipher, key);
    memcpy(bytes, plain, sizeof(plain));
    crypto_cipher_ctr(&cipher, start, bytes, sizeof(bytes));
    CHECK(!memcmp(bytes, sealed, sizeof(sealed)));
    crypto_cipher_encrypt(&cipher, plain, block);
    crypto_cipher_decrypt(&cipher, block, block);
    CHECK(!memcmp(block, plain, sizeof(block)));
    crypto_mac_sha1(STR("Jefe"), STR("what do ya want "), STR("for nothing?"), mac);
    CHECK(!memcmp(mac, jefe, sizeof(jefe)));
}
