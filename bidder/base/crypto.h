/* Keyed hashes, digests and encodings over nettle: no allocation, no global state. */
#pragma once

#include <nettle/aes.h>
#include <nettle/hmac.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bidder/base/str.h"

#define CRYPTO_MAC_BYTES 32
#define CRYPTO_MD5_HEX   32

/* An HMAC-SHA-256 key with its pads hashed once. */
struct crypto_key {
    struct hmac_sha256_ctx context;
};

void crypto_key_init(struct crypto_key *key, const void *secret, size_t len);
/* HMAC-SHA-256 of one piece. */
void crypto_mac(const struct crypto_key *key, const void *bytes, size_t len,
                uint8_t mac[CRYPTO_MAC_BYTES]);
/* HMAC-SHA-256 of two pieces, one behind the other. */
void crypto_mac2(const struct crypto_key *key, struct str first, struct str second,
                 uint8_t mac[CRYPTO_MAC_BYTES]);
/* In constant time. */
bool crypto_equal(const void *a, const void *b, size_t len);

/* HMAC-SHA-1, for price encryption schemes of exchanges that are built on it; nothing of ours is.
 */
#define CRYPTO_SHA1_BYTES 20
void crypto_mac_sha1(struct str secret, struct str first, struct str second,
                     uint8_t mac[CRYPTO_SHA1_BYTES]);

/* AES-128, the key expanded once. */
#define CRYPTO_BLOCK 16
struct crypto_cipher {
    struct aes128_ctx encrypt, decrypt;
};
void crypto_cipher_init(struct crypto_cipher *cipher, const uint8_t key[CRYPTO_BLOCK]);
void crypto_cipher_encrypt(const struct crypto_cipher *cipher, const uint8_t in[CRYPTO_BLOCK],
                           uint8_t out[CRYPTO_BLOCK]);
void crypto_cipher_decrypt(const struct crypto_cipher *cipher, const uint8_t in[CRYPTO_BLOCK],
                           uint8_t out[CRYPTO_BLOCK]);
/* Counter mode, in place, both ways. A start must not serve two messages. */
void crypto_cipher_ctr(const struct crypto_cipher *cipher, const uint8_t start[CRYPTO_BLOCK],
                       uint8_t *bytes, size_t len);

/* MD5 as 32 lower-case hex digits, no NUL. Only for the md5 forms of device ids that exchanges
 * send; nothing is secured by it. */
void crypto_md5_hex(struct str text, char hex[CRYPTO_MD5_HEX]);

/* SHA-1 as 40 lower-case hex digits, no NUL: Redis names its scripts so. */
#define CRYPTO_SHA1_HEX 40
void crypto_sha1_hex(struct str text, char hex[CRYPTO_SHA1_HEX]);

/* base64url without padding. Encodes into out (crypto_base64_size bytes), returns the length. */
size_t crypto_base64_size(size_t len);
size_t crypto_base64_encode(const void *bytes, size_t len, char *out);
/* Decodes base64url or base64, padded or not. Returns false on any other byte, an impossible
 * length or more than out_size bytes. */
bool crypto_base64_decode(struct str text, void *out, size_t out_size, size_t *out_len);

/* Random bytes from the kernel; false when it has none (then do not start). */
bool crypto_random(void *bytes, size_t len) __attribute__((warn_unused_result));
