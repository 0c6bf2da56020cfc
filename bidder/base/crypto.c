#include "bidder/base/crypto.h"

#include <nettle/ctr.h>
#include <nettle/md5.h>
#include <nettle/memops.h>
#include <nettle/sha1.h>
#include <sys/random.h>
#if defined(__SSE2__)
#include <emmintrin.h>
#endif

void crypto_key_init(struct crypto_key *key, const void *secret, size_t len)
{
    hmac_sha256_set_key(&key->context, len, secret);
}

void crypto_mac(const struct crypto_key *key, const void *bytes, size_t len,
                uint8_t mac[CRYPTO_MAC_BYTES])
{
    struct hmac_sha256_ctx context = key->context;
    hmac_sha256_update(&context, len, bytes);
    hmac_sha256_digest(&context, CRYPTO_MAC_BYTES, mac);
}

void crypto_mac2(const struct crypto_key *key, struct str first, struct str second,
                 uint8_t mac[CRYPTO_MAC_BYTES])
{
    struct hmac_sha256_ctx context = key->context;
    hmac_sha256_update(&context, first.len, (const uint8_t *)first.ptr);
    hmac_sha256_update(&context, second.len, (const uint8_t *)second.ptr);
    hmac_sha256_digest(&context, CRYPTO_MAC_BYTES, mac);
}

bool crypto_equal(const void *a, const void *b, size_t len)
{
    return memeql_sec(a, b, len) != 0;
}

void crypto_mac_sha1(struct str secret, struct str first, struct str second,
                     uint8_t mac[CRYPTO_SHA1_BYTES])
{
    struct hmac_sha1_ctx context;
    hmac_sha1_set_key(&context, secret.len, (const uint8_t *)secret.ptr);
    hmac_sha1_update(&context, first.len, (const uint8_t *)first.ptr);
    hmac_sha1_update(&context, second.len, (const uint8_t *)second.ptr);
    hmac_sha1_digest(&context, CRYPTO_SHA1_BYTES, mac);
}

void crypto_cipher_init(struct crypto_cipher *cipher, const uint8_t key[CRYPTO_BLOCK])
{
    aes128_set_encrypt_key(&cipher->encrypt, key);
    aes128_invert_key(&cipher->decrypt, &cipher->encrypt);
}

void crypto_cipher_encrypt(const struct crypto_cipher *cipher, const uint8_t in[CRYPTO_BLOCK],
                           uint8_t out[CRYPTO_BLOCK])
{
    aes128_encrypt(&cipher->encrypt, CRYPTO_BLOCK, out, in);
}

void crypto_cipher_decrypt(const struct crypto_cipher *cipher, const uint8_t in[CRYPTO_BLOCK],
                           uint8_t out[CRYPTO_BLOCK])
{
    aes128_decrypt(&cipher->decrypt, CRYPTO_BLOCK, out, in);
}

static void ctr_block(const void *context, size_t len, uint8_t *out, const uint8_t *in)
{
    aes128_encrypt(context, len, out, in);
}

void crypto_cipher_ctr(const struct crypto_cipher *cipher, const uint8_t start[CRYPTO_BLOCK],
                       uint8_t *bytes, size_t len)
{
    uint8_t counter[CRYPTO_BLOCK];
    memcpy(counter, start, sizeof(counter));
    ctr_crypt(&cipher->encrypt, ctr_block, CRYPTO_BLOCK, counter, len, bytes, bytes);
}

static void put_hex(const uint8_t *bytes, size_t len, char *hex)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < len; i++) {
        hex[2 * i] = digits[bytes[i] >> 4];
        hex[2 * i + 1] = digits[bytes[i] & 15];
    }
}

void crypto_md5_hex(struct str text, char hex[CRYPTO_MD5_HEX])
{
    struct md5_ctx context;
    uint8_t digest[MD5_DIGEST_SIZE];
    md5_init(&context);
    md5_update(&context, text.len, (const uint8_t *)text.ptr);
    md5_digest(&context, sizeof(digest), digest);
    put_hex(digest, sizeof(digest), hex);
}

void crypto_sha1_hex(struct str text, char hex[CRYPTO_SHA1_HEX])
{
    struct sha1_ctx context;
    uint8_t digest[SHA1_DIGEST_SIZE];
    sha1_init(&context);
    sha1_update(&context, text.len, (const uint8_t *)text.ptr);
    sha1_digest(&context, sizeof(digest), digest);
    put_hex(digest, sizeof(digest), hex);
}

size_t crypto_base64_size(size_t len)
{
    return len / 3 * 4 + (len % 3 ? len % 3 + 1 : 0);
}

#if defined(__SSE2__)
/* Sixteen characters of twelve bytes, without a table: a group of 24 bits to a lane, its four
 * values to the lane's bytes, and to each value the distance to its character. Reads in[12]. */
static void base64_encode_12(const uint8_t *in, char *out)
{
    uint32_t groups[4];
    for (int i = 0; i < 4; i++) {
        memcpy(&groups[i], in + 3 * i, 4);
        groups[i] = __builtin_bswap32(groups[i]) >> 8;
    }
    __m128i group = _mm_loadu_si128((const __m128i *)(const void *)groups);
    __m128i six = _mm_set1_epi32(63);
    __m128i values =
        _mm_or_si128(_mm_or_si128(_mm_srli_epi32(group, 18),
                                  _mm_and_si128(_mm_srli_epi32(group, 4), _mm_slli_epi32(six, 8))),
                     _mm_or_si128(_mm_and_si128(_mm_slli_epi32(group, 10), _mm_slli_epi32(six, 16)),
                                  _mm_slli_epi32(_mm_and_si128(group, six), 24)));
    __m128i lower = _mm_cmpgt_epi8(values, _mm_set1_epi8(25));
    __m128i digit = _mm_cmpgt_epi8(values, _mm_set1_epi8(51));
    __m128i dash = _mm_cmpeq_epi8(values, _mm_set1_epi8(62));
    __m128i underscore = _mm_cmpeq_epi8(values, _mm_set1_epi8(63));
    __m128i text = _mm_add_epi8(values, _mm_set1_epi8('A'));
    text = _mm_add_epi8(text, _mm_and_si128(lower, _mm_set1_epi8('a' - 26 - 'A')));
    text = _mm_add_epi8(text, _mm_and_si128(digit, _mm_set1_epi8('0' - 52 - ('a' - 26))));
    text = _mm_add_epi8(text, _mm_and_si128(dash, _mm_set1_epi8('-' - 62 - ('0' - 52))));
    text = _mm_add_epi8(text, _mm_and_si128(underscore, _mm_set1_epi8('_' - 63 - ('0' - 52))));
    _mm_storeu_si128((__m128i *)(void *)out, text);
}
#endif

size_t crypto_base64_encode(const void *bytes, size_t len, char *out)
{
    static const char alphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    const uint8_t *in = bytes;
    char *to = out;
#if defined(__SSE2__)
    for (; len > 12; len -= 12, in += 12, to += 16) {
        base64_encode_12(in, to);
    }
#endif
    for (; len >= 3; len -= 3, in += 3) {
        uint32_t group = (uint32_t)in[0] << 16 | (uint32_t)in[1] << 8 | in[2];
        *to++ = alphabet[group >> 18];
        *to++ = alphabet[group >> 12 & 63];
        *to++ = alphabet[group >> 6 & 63];
        *to++ = alphabet[group & 63];
    }
    if (len) {
        uint32_t group = (uint32_t)in[0] << 16 | (len == 2 ? (uint32_t)in[1] << 8 : 0);
        *to++ = alphabet[group >> 18];
        *to++ = alphabet[group >> 12 & 63];
        if (len == 2) {
            *to++ = alphabet[group >> 6 & 63];
        }
    }
    return (size_t)(to - out);
}

static int base64_value(char c)
{
    if (c >= 'A' && c <= 'Z') {
        return c - 'A';
    }
    if (c >= 'a' && c <= 'z') {
        return c - 'a' + 26;
    }
    if (c >= '0' && c <= '9') {
        return c - '0' + 52;
    }
    if (c == '-' || c == '+') {
        return 62;
    }
    return c == '_' || c == '/' ? 63 : -1;
}

bool crypto_base64_decode(struct str text, void *out, size_t out_size, size_t *out_len)
{
    for (int pad = 0; pad < 2 && text.len && text.ptr[text.len - 1] == '='; pad++) {
        text.len--;
    }
    size_t bytes = text.len / 4 * 3 + (text.len % 4 ? text.len % 4 - 1 : 0);
    if (text.len % 4 == 1 || bytes > out_size) {
        return false;
    }
    uint8_t *to = out;
    uint32_t bits = 0;
    unsigned have = 0;
    for (size_t i = 0; i < text.len; i++) {
        int value = base64_value(text.ptr[i]);
        if (value < 0) {
            return false;
        }
        bits = bits << 6 | (uint32_t)value;
        have += 6;
        if (have >= 8) {
            have -= 8;
            *to++ = (uint8_t)(bits >> have);
        }
    }
    *out_len = bytes;
    return true;
}

bool crypto_random(void *bytes, size_t len)
{
    return getrandom(bytes, len, 0) == (ssize_t)len;
}
