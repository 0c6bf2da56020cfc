/* Notice urls: `path ? query`. Whatever comes, the token is refused and what would be charged lies
 * between 0 and the bid. */
#include "bidder/base/bug.h"
#include "bidder/notice.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct token_keys keys;
    static bool ready;
    static const char key[32] = "thirty-two bytes of no secret at";
    if (!ready) {
        token_keys_derive(&keys, STR("fuzz"));
        ready = true;
    }
    struct str query = {(const char *)data, size};
    struct str path = str_cut(&query, '?');
    struct notice notice;
    if (notice_parse(path, query, &notice)) {
        return 0;
    }
    BUG_ON(notice.event >= NOTICE_EVENT_COUNT || notice.loss < -1);
    struct notice_price_rule rule = {.unit_micros = size % 2 ? 1000000 : 10000,
                                     .google = size % 3 == 0,
                                     .encryption_key = {key, sizeof(key)},
                                     .integrity_key = {key, sizeof(key)}};
    const int64_t bid_micros = 30000000;
    int64_t price_micros = -1;
    enum notice_price_kind kind = notice_price(notice.price, &rule, bid_micros, &price_micros);
    BUG_ON(kind >= NOTICE_PRICE_KIND_COUNT || price_micros < 0 || price_micros > bid_micros);
    BUG_ON(kind != NOTICE_PRICE_GIVEN && price_micros != bid_micros);
    int64_t cost_micros = notice_cost(30000, bid_micros, price_micros);
    BUG_ON(cost_micros < 0 || cost_micros > 30000);
    struct notice_token token;
    BUG_ON(token_read(&keys, notice_event_audience(notice.event), notice.token, &token) ==
           STATUS_OK);
    return 0;
}
