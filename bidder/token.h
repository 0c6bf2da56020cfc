/* The signed token in every notice url: all that is needed to act on the notice later, on any
 * machine, after any restart.
 *
 *   version 1 | first 16 | rest ~40-190 | tag 16
 *               |          '-- the other fields, AES-128-CTR, counter starts at `first`
 *               '-- auction, impression, flight, flags: unique per bid, one AES-128 block
 *
 * In base64url: about 125 characters with a ticket of one key. The person's key does not show in
 * urls, nor how many auctions we had. Equal first blocks (and so an equal key stream) would need
 * two bids for one impression of one auction.
 * HMAC-SHA-256(version | first | rest) = 32 bytes: the
 * first half signs exchange notices (nurl, burl, lurl), the second half client notices (impression,
 * quartiles, click): who sees the markup cannot forge a loss or a win. */
#pragma once

#include "bidder/base/crypto.h"
#include "bidder/base/status.h"
#include "bidder/base/str.h"
#include "frequency/freq.h"

enum token_audience { TOKEN_EXCHANGE, TOKEN_CLIENT };

struct notice_token {
    uint64_t auction;                          /* unique: owner << 40 | sequence of that owner */
    uint16_t imp_hash;                         /* which impression of the request */
    uint32_t exchange_ref, line_ref, deal_ref; /* cap_ref32; deal 0 = none */
    uint32_t brand_ref;                        /* of the brand shown */
    uint32_t creative_ref;                     /* cap_ref32 of the creative id */
    uint32_t expires_s;                        /* refused afterwards */
    uint32_t bid_s;
    int64_t price_micros;      /* CPM bid, bid currency: upper bound of what may be charged */
    int64_t cost_micros;       /* of one impression at that price, catalog currency */
    uint32_t flight;           /* the owner's budget commitment; 0 = none */
    uint16_t flags;            /* TOKEN_... */
    struct freq_ticket ticket; /* key_count 0 = nothing reserved */
};
#define TOKEN_TEST       1u /* test=1: never billable, never counted */
#define TOKEN_FORCED     2u /* must-fill */
#define TOKEN_UNCAPPED   4u /* decided without counts */
#define TOKEN_GUARANTEED 8u /* CPD or PDB */
#define TOKEN_SWAPPED    16u
#define TOKEN_VIDEO      32u /* the VAST impression bills */
#define TOKEN_IN_TARGET  64u /* the person is in the brand's target audience: for reach in TA */
/* How many exposures the person had before this one in the widest cap's window, for the frequency
 * distribution: 0..255 in the upper half of the flags. */
#define TOKEN_SEEN(count)    ((unsigned)((count) > 255 ? 255 : (count)) << 8)
#define TOKEN_SEEN_OF(flags) ((unsigned)(flags) >> 8)

#define TOKEN_MAX_TEXT 352

struct token_keys {
    struct crypto_key mac;
    struct crypto_cipher seal;
};
/* secret is the deployment's; the same on every machine and after every restart. */
void token_keys_derive(struct token_keys *keys, struct str secret);

struct token_text {
    char text[2][TOKEN_MAX_TEXT]; /* by enum token_audience; not NUL-terminated */
    size_t len[2];
};
/* One HMAC for both texts. Prices and costs are not negative, expires_s is not before bid_s. */
void token_write(const struct token_keys *keys, const struct notice_token *token,
                 struct token_text *out);
/* STATUS_DENIED: not signed by us for this audience; STATUS_INVALID: not a token. The caller checks
 * expires_s. */
enum status token_read(const struct token_keys *keys, enum token_audience audience, struct str text,
                       struct notice_token *token) MUST_USE;
