#include "bidder/notice.h"

#include "tests/test.h"

static struct notice parsed(const char *path, const char *query, enum status expected)
{
    struct notice notice = {.event = NOTICE_EVENT_COUNT};
    enum status status = notice_parse(str_from(path), str_from(query), &notice);
    CHECK_INT(status, expected);
    return notice;
}

TEST(every_event_is_recognised)
{
    for (unsigned i = 0; i < NOTICE_EVENT_COUNT; i++) {
        char path[64];
        snprintf(path, sizeof(path), "/notice/%s/abc-_9", notice_event_name(i));
        struct notice notice = parsed(path, "", STATUS_OK);
        CHECK_INT(notice.event, i);
        CHECK_STR(notice.token, "abc-_9");
        CHECK_STR(notice.price, "");
        CHECK_INT(notice.loss, -1);
    }
    CHECK_INT(notice_event_audience(NOTICE_LOSS), TOKEN_EXCHANGE);
    CHECK_INT(notice_event_audience(NOTICE_CLICK), TOKEN_CLIENT);
}

TEST(other_paths_are_not_notices)
{
    parsed("/openrtb2/x", "", STATUS_NOT_FOUND);
    parsed("/notice", "", STATUS_NOT_FOUND);
    parsed("/notic", "", STATUS_NOT_FOUND);
    parsed("", "", STATUS_NOT_FOUND);
    parsed("/notice/", "", STATUS_INVALID);
    parsed("/notice/win", "", STATUS_INVALID);
    parsed("/notice/win/", "", STATUS_INVALID);
    parsed("/notice/WIN/abc", "", STATUS_INVALID);
    parsed("/notice//abc", "", STATUS_INVALID);
}

TEST(query_fields)
{
    struct notice notice = parsed("/notice/loss/t", "a=1&loss=102&price=1.5&&=&price", STATUS_OK);
    CHECK_INT(notice.loss, 102);
    CHECK_STR(notice.price, ""); /* the last one counts */
    notice = parsed("/notice/bill/t", "price=a%3Db=c&loss=${AUCTION_LOSS}", STATUS_OK);
    CHECK_STR(notice.price, "a%3Db=c");
    CHECK_INT(notice.loss, -1);
    CHECK_INT(parsed("/notice/loss/t", "loss=-1", STATUS_OK).loss, -1);
    CHECK_INT(parsed("/notice/loss/t", "loss=99999999999", STATUS_OK).loss, -1);
}

TEST(cut_at_every_byte)
{
    static const char path[] = "/notice/thirdQuartile/AbC", query[] = "price=%24%7BX%7D&loss=102";
    for (size_t p = 0; p < sizeof(path); p++) {
        for (size_t q = 0; q < sizeof(query); q++) {
            char *a = malloc(p ? p : 1), *b = malloc(q ? q : 1);
            memcpy(a, path, p);
            memcpy(b, query, q);
            struct notice notice;
            int64_t micros;
            struct notice_price_rule rule = {.unit_micros = 1000000};
            if (!notice_parse((struct str){a, p}, (struct str){b, q}, &notice)) {
                CHECK(notice_price(notice.price, &rule, 5, &micros) <= NOTICE_PRICE_INVALID);
                CHECK_INT(micros, 5);
            }
            free(a);
            free(b);
        }
    }
}

#define BID 30000000 /* CPM 30 */

TEST(price_as_it_comes)
{
    static const struct {
        const char *raw;
        enum notice_price_kind kind;
        int64_t micros;
    } cases[] = {
        {"25", NOTICE_PRICE_GIVEN, 25000000},
        {"25.000001", NOTICE_PRICE_GIVEN, 25000001},
        {"0", NOTICE_PRICE_GIVEN, 0},
        {"2.5e1", NOTICE_PRICE_GIVEN, 25000000},
        {"%32%35", NOTICE_PRICE_GIVEN, 25000000},
        {"30", NOTICE_PRICE_GIVEN, BID},
        {"30.000001", NOTICE_PRICE_CLIPPED, BID},
        {"9223372036854", NOTICE_PRICE_CLIPPED, BID},
        {"MjU=", NOTICE_PRICE_GIVEN, 25000000}, /* ${AUCTION_PRICE:B64} of 25 */
        {"MjU", NOTICE_PRICE_GIVEN, 25000000},
        {"MTIuNzU%3D", NOTICE_PRICE_GIVEN, 12750000}, /* 12.75 */
        {"LTE", NOTICE_PRICE_NEGATIVE, BID},          /* -1 */
        {"", NOTICE_PRICE_EMPTY, BID},
        {"%20", NOTICE_PRICE_EMPTY, BID},
        {"AUDIT", NOTICE_PRICE_AUDIT, BID},
        {"audit", NOTICE_PRICE_AUDIT, BID},
        {"${AUCTION_PRICE}", NOTICE_PRICE_UNSUBSTITUTED, BID},
        {"%24%7BAUCTION_PRICE%7D", NOTICE_PRICE_UNSUBSTITUTED, BID},
        {"%24%7bAUCTION_PRICE:B64%7d", NOTICE_PRICE_UNSUBSTITUTED, BID},
        {"%%WINNING_PRICE%%", NOTICE_PRICE_UNSUBSTITUTED, BID},
        {"{AUCTION_PRICE}", NOTICE_PRICE_UNSUBSTITUTED, BID},
        {"[AUCTION_PRICE]", NOTICE_PRICE_UNSUBSTITUTED, BID},
        {"-0.01", NOTICE_PRICE_NEGATIVE, BID},
        {"NaN", NOTICE_PRICE_INVALID, BID},
        {"Infinity", NOTICE_PRICE_INVALID, BID},
        {"null", NOTICE_PRICE_INVALID, BID},
        {"undefined", NOTICE_PRICE_INVALID, BID},
        {"1,5", NOTICE_PRICE_INVALID, BID},
        {"0x10", NOTICE_PRICE_INVALID, BID},
        {"%", NOTICE_PRICE_INVALID, BID},
        {"%2", NOTICE_PRICE_INVALID, BID},
        {"99999999999999999999", NOTICE_PRICE_INVALID, BID},
    };
    struct notice_price_rule rule = {.unit_micros = 1000000};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        int64_t micros = -1;
        enum notice_price_kind kind = notice_price(str_from(cases[i].raw), &rule, BID, &micros);
        if (kind != cases[i].kind || micros != cases[i].micros) {
            TEST_FAIL("price %s is %s %lld", cases[i].raw, notice_price_kind_name(kind),
                      (long long)micros);
        }
    }
    char longer[400];
    int64_t micros;
    memset(longer, '1', sizeof(longer));
    CHECK_INT(notice_price((struct str){longer, sizeof(longer)}, &rule, BID, &micros),
              NOTICE_PRICE_INVALID);
    rule.unit_micros = 10000; /* the wire counts fen */
    CHECK_INT(notice_price(STR("2500"), &rule, BID, &micros), NOTICE_PRICE_GIVEN);
    CHECK_INT(micros, 25000000);
}

/* The examples Google publishes with its sample code: 100, 1900 and 2700 micros an impression. */
TEST(sealed_prices)
{
    uint8_t encryption[32], integrity[32];
    size_t len;
    CHECK(crypto_base64_decode(STR("skU7Ax_NL5pPAFyKdkfZjZz2-VhIN8bjj1rVFOaJ_5o="), encryption,
                               sizeof(encryption), &len));
    CHECK(crypto_base64_decode(STR("arO23ykdNqUQ5LEoQ0FVmPkBd7xB5CO89PDZlSjpFxo="), integrity,
                               sizeof(integrity), &len));
    struct notice_price_rule rule = {.unit_micros = 1000000,
                                     .google = true,
                                     .encryption_key = {(char *)encryption, 32},
                                     .integrity_key = {(char *)integrity, 32}};
    static const struct {
        const char *raw;
        enum notice_price_kind kind;
        int64_t micros;
    } cases[] = {
        {"YWJjMTIzZGVmNDU2Z2hpN7fhCuPemCce_6msaw", NOTICE_PRICE_GIVEN, 100000},
        {"YWJjMTIzZGVmNDU2Z2hpN7fhCuPemCAWJRxOgA", NOTICE_PRICE_GIVEN, 1900000},
        {"YWJjMTIzZGVmNDU2Z2hpN7fhCuPemC32prpWWw", NOTICE_PRICE_GIVEN, 2700000},
        {"YWJjMTIzZGVmNDU2Z2hpN7fhCuPemC32prpWWw%3D%3D", NOTICE_PRICE_GIVEN, 2700000},
        {"YWJjMTIzZGVmNDU2Z2hpN7fhCuPemC32prpWWx", NOTICE_PRICE_GIVEN, 2700000}, /* spare bits */
        {"YWJjMTIzZGVmNDU2Z2hpN7fhCuPemC32prpWXw", NOTICE_PRICE_UNSIGNED, BID},
        {"ZWJjMTIzZGVmNDU2Z2hpN7fhCuPemC32prpWWw", NOTICE_PRICE_UNSIGNED, BID},
        {"YWJjMTIzZGVmNDU2Z2hpN7fhCuPemC32prpWW", NOTICE_PRICE_INVALID, BID},
        {"12.5", NOTICE_PRICE_INVALID, BID}, /* plain text where sealed is agreed */
        {"${AUCTION_PRICE}", NOTICE_PRICE_UNSUBSTITUTED, BID},
        {"", NOTICE_PRICE_EMPTY, BID},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        int64_t micros = -1;
        enum notice_price_kind kind = notice_price(str_from(cases[i].raw), &rule, BID, &micros);
        if (kind != cases[i].kind || micros != cases[i].micros) {
            TEST_FAIL("price %s is %s %lld", cases[i].raw, notice_price_kind_name(kind),
                      (long long)micros);
        }
    }
}

TEST(cost_follows_the_price)
{
    CHECK_INT(notice_cost(30000, 30000000, 30000000), 30000);
    CHECK_INT(notice_cost(30000, 30000000, 15000000), 15000);
    CHECK_INT(notice_cost(30000, 30000000, 15000001), 15001); /* up: never less than owed */
    CHECK_INT(notice_cost(30000, 30000000, 0), 0);
    CHECK_INT(notice_cost(30000, 30000000, 99000000), 30000);
    CHECK_INT(notice_cost(30000, 0, 0), 30000); /* a price of 0 is no basis for a share */
    CHECK_INT(notice_cost(INT64_MAX, INT64_MAX, INT64_MAX - 1), INT64_MAX - 1);
}
