#include "tests/test.h"

#include "bidder/base/arena.h"
#include "bidder/base/buf.h"
#include "bidder/base/crc64.h"
#include "bidder/base/crypto.h"
#include "bidder/base/hash.h"
#include "bidder/base/hist.h"
#include "bidder/base/log.h"
#include "bidder/base/prng.h"
#include "bidder/base/scan.h"
#include "bidder/base/utf8.h"

#include <unistd.h>

TEST(str_of_i64_writes_the_extremes)
{
    char text[STR_I64_BYTES];
    CHECK_STR(str_of_i64(INT64_MIN, text), "-9223372036854775808");
    CHECK_STR(str_of_i64(INT64_MAX, text), "9223372036854775807");
    CHECK_STR(str_of_i64(0, text), "0");
    CHECK_STR(str_of_i64(-10, text), "-10");
}

TEST(str_to_i64_takes_whole_numbers_only)
{
    int64_t v = -7;
    CHECK(str_to_i64(STR("-9223372036854775808"), &v));
    CHECK_INT(v, INT64_MIN);
    CHECK(str_to_i64(STR("+9223372036854775807"), &v));
    CHECK_INT(v, INT64_MAX);
    v = 5;
    CHECK(!str_to_i64(STR("9223372036854775808"), &v));
    CHECK(!str_to_i64(STR(""), &v));
    CHECK(!str_to_i64(STR("-"), &v));
    CHECK(!str_to_i64(STR("12 "), &v));
    CHECK_INT(v, 5);
}

/* Each byte at each place of texts of every length up to 40, against the plain rule. The text ends
 * where its memory does, so that a sanitizer sees what is read behind it. */
TEST(scan_finds_the_first_byte_that_matters)
{
    for (size_t len = 1; len <= 40; len++) {
        char *text = malloc(len);
        CHECK(text != NULL);
        for (unsigned c = 0; text && c < 256; c++) {
            for (size_t place = 0; place < len; place++) {
                memset(text, 'x', len);
                text[place] = (char)c;
                text[len - 1] = place % 3 ? text[len - 1] : '"'; /* a later hit is not the first */
                const char *end = text + len, *hit = text + place;
                const char *later = text[len - 1] == '"' ? end - 1 : end;
                unsigned char at = (unsigned char)*hit;
                bool json = at < 0x20 || at >= 0x80 || at == '"' || at == '\\';
                bool markup = json || (at && strchr("&'<>", at));
                CHECK(scan_json(text, end) == (json ? hit : later));
                CHECK(scan_markup(text, end) == (markup ? hit : later));
                CHECK(scan_url(text, end) == (scan_url_forbids(at) ? hit : later));
            }
        }
        free(text);
    }
    char none[1];
    CHECK(scan_json(none, none) == none && scan_url(none, none) == none);
}

TEST(str_to_micros_is_exact)
{
    static const struct {
        const char *text;
        int64_t micros;
    } good[] = {{"25", 25000000},
                {"0.1", 100000},
                {"-3.03", -3030000},
                {"2.5e1", 25000000},
                {"1e-6", 1},
                {"4e-7", 0},
                {"5e-7", 1},
                {"0.0000005", 1},
                {"1.0000004", 1000000},
                {"123456789.123456", 123456789123456},
                {"0e40", 0}};
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        int64_t v = -1;
        CHECK(str_to_micros(str_from(good[i].text), &v));
        CHECK_INT(v, good[i].micros);
    }
    static const char *const bad[] = {"",   ".",    "-",   "1.2.3", "1e",
                                      "e5", "1e41", "nan", "9e18",  "0x1"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        int64_t v = 77;
        CHECK(!str_to_micros(str_from(bad[i]), &v));
        CHECK_INT(v, 77);
    }
}

TEST(str_cut_and_trim)
{
    struct str rest = STR("a,b,,c");
    CHECK_STR(str_cut(&rest, ','), "a");
    CHECK_STR(str_cut(&rest, ','), "b");
    CHECK_STR(str_cut(&rest, ','), "");
    CHECK_STR(str_cut(&rest, ','), "c");
    CHECK_INT(rest.len, 0);
    CHECK_STR(str_trim(STR(" \tx y\t ")), "x y");
    CHECK_STR(str_trim(STR("  ")), "");
}

TEST(arena_grows_to_its_limit_and_resets)
{
    struct arena arena;
    CHECK(arena_init(&arena, 256, 1024));
    char *first = arena_alloc(&arena, 100);
    CHECK(first && ((uintptr_t)first & 15) == 0);
    CHECK(arena_alloc(&arena, 200) != NULL);
    CHECK_INT(arena.grown, 1);
    CHECK(arena_alloc(&arena, 4096) == NULL);
    CHECK(arena_calloc(&arena, SIZE_MAX / 2, 4) == NULL);
    CHECK(arena_alloc(&arena, SIZE_MAX) == NULL);
    arena_reset(&arena);
    CHECK(arena_alloc(&arena, 100) == first);
    CHECK_STR(arena_strdup(&arena, STR("abc")), "abc");
    arena_deinit(&arena);
}

TEST(buf_formats_numbers_and_escapes)
{
    struct buf buf;
    buf_init(&buf, 4096);
    buf_put_i64(&buf, INT64_MIN);
    buf_put_char(&buf, ' ');
    buf_put_micros(&buf, 1500000);
    buf_put_char(&buf, ' ');
    buf_put_micros(&buf, -1);
    buf_put_char(&buf, ' ');
    buf_put_micros(&buf, 25000000);
    CHECK_STR(buf_str(&buf), "-9223372036854775808 1.5 -0.000001 25");
    buf_reset(&buf);
    buf_put_json_escaped(&buf, STR("a\"b\\c\n\x01z"));
    CHECK_STR(buf_str(&buf), "a\\\"b\\\\c\\u000a\\u0001z");
    buf_consume(&buf, 2);
    CHECK_STR(buf_str(&buf), "\"b\\\\c\\u000a\\u0001z");
    buf_deinit(&buf);
}

TEST(buf_limit_is_sticky)
{
    struct buf buf;
    buf_init(&buf, 8);
    buf_put(&buf, "12345678", 8);
    CHECK(!buf_failed(&buf));
    buf_put_char(&buf, '9');
    CHECK(buf_failed(&buf));
    CHECK_STR(buf_str(&buf), "12345678");
    buf_reset(&buf);
    buf_printf(&buf, "%d", 42);
    CHECK_STR(buf_str(&buf), "42");
    buf_deinit(&buf);
}

TEST(crypto_matches_published_vectors)
{
    struct crypto_key key;
    uint8_t mac[CRYPTO_MAC_BYTES], mac2[CRYPTO_MAC_BYTES];
    crypto_key_init(&key, "Jefe", 4); /* RFC 4231, test case 2 */
    crypto_mac(&key, "what do ya want for nothing?", 28, mac);
    static const uint8_t expected[] = {0x5b, 0xdc, 0xc1, 0x46, 0xbf, 0x60, 0x75, 0x4e,
                                       0x6a, 0x04, 0x24, 0x26, 0x08, 0x95, 0x75, 0xc7,
                                       0x5a, 0x00, 0x3f, 0x08, 0x9d, 0x27, 0x39, 0x83,
                                       0x9d, 0xec, 0x58, 0xb9, 0x64, 0xec, 0x38, 0x43};
    CHECK(crypto_equal(mac, expected, 32));
    crypto_mac2(&key, STR("what do ya "), STR("want for nothing?"), mac2);
    CHECK(crypto_equal(mac, mac2, 32));
    char hex[CRYPTO_MD5_HEX];
    crypto_md5_hex(STR("abc"), hex); /* RFC 1321 */
    CHECK_STR(((struct str){hex, 32}), "900150983cd24fb0d6963f7d28e17f72");
    char hex_sha1[CRYPTO_SHA1_HEX];
    crypto_sha1_hex(STR("abc"), hex_sha1); /* RFC 3174 */
    CHECK_STR(((struct str){hex_sha1, 40}), "a9993e364706816aba3e25717850c26c9cd0d89d");
}

TEST(crc64_of_the_usual_digits)
{
    CHECK(crc64("123456789", 9) == 0xe9c6d914c4b8d9ca); /* the check value in Redis's crc64.c */
    CHECK(crc64("", 0) == 0);
}

TEST(base64_round_trips_and_refuses)
{
    uint8_t bytes[64], back[64];
    char text[96];
    struct prng prng = {.state = 1};
    for (size_t len = 0; len <= sizeof(bytes); len++) {
        for (size_t i = 0; i < len; i++) {
            bytes[i] = (uint8_t)prng_next(&prng);
        }
        size_t size = crypto_base64_encode(bytes, len, text), out = 0;
        CHECK_INT(size, crypto_base64_size(len));
        CHECK(crypto_base64_decode((struct str){text, size}, back, sizeof(back), &out));
        CHECK(out == len && memcmp(bytes, back, len) == 0);
    }
    size_t out;
    CHECK(!crypto_base64_decode(STR("A"), back, sizeof(back), &out));
    CHECK(!crypto_base64_decode(STR("AA*A"), back, sizeof(back), &out));
    CHECK(!crypto_base64_decode(STR("AAAAAAAA"), back, 5, &out));
    CHECK(crypto_base64_decode(STR("Zm9vYg=="), back, sizeof(back), &out) && out == 4);
}

TEST(str_table_finds_what_was_added)
{
    struct arena arena;
    CHECK(arena_init(&arena, 1 << 16, 1 << 20));
    struct str_table table;
    CHECK(str_table_init(&table, &arena, 1000));
    for (uint32_t i = 0; i < 1000; i++) {
        char name[16];
        int len = snprintf(name, sizeof(name), "line-%u", i);
        CHECK(str_table_add(&table, arena_strdup(&arena, (struct str){name, (size_t)len}), i));
    }
    CHECK(!str_table_add(&table, STR("line-7"), 5));
    CHECK_INT(str_table_get(&table, STR("line-7")), 7);
    CHECK_INT(str_table_get(&table, STR("line-999")), 999);
    CHECK(str_table_get(&table, STR("line-1000")) == STR_TABLE_NONE);
    arena_deinit(&arena);
}

TEST(hist_keeps_values_within_its_error)
{
    static struct hist hist;
    for (uint64_t v = 0; v < 100000; v = v < 64 ? v + 1 : v + v / 16) {
        unsigned step = hist_step(v);
        CHECK(v <= hist_step_top(step));
        CHECK(step == 0 || v > hist_step_top(step - 1));
        CHECK(hist_step_top(step) - v <= v / 32);
    }
    for (uint64_t v = 1; v <= 1000; v++) {
        hist_add(&hist, v);
    }
    CHECK(hist_quantile(&hist, 0.5) >= 500 && hist_quantile(&hist, 0.5) <= 516);
    CHECK_INT(hist_quantile(&hist, 1.0), 1000);
    CHECK_INT(hist_step(UINT64_MAX), HIST_STEPS - 1);
}

TEST(json_escape_of_every_byte_at_every_place)
{
    struct buf buf;
    buf_init(&buf, 4096);
    for (unsigned byte = 0; byte < 256; byte++) {
        for (size_t at = 0; at < 20; at++) {
            char text[20], want[32];
            memset(text, 'x', sizeof(text));
            text[at] = (char)byte;
            size_t len = 0;
            for (size_t i = 0; i < sizeof(text); i++) {
                unsigned char c = (unsigned char)text[i];
                bool quoted = c == '"' || c == '\\';
                len += (size_t)snprintf(want + len, sizeof(want) - len,
                                        c < 0x20 ? "\\u%04x"
                                        : quoted ? "\\%c"
                                                 : "%c",
                                        c);
            }
            buf_reset(&buf);
            buf_put_json_escaped(&buf, (struct str){text, sizeof(text)});
            CHECK(str_eq(buf_str(&buf), (struct str){want, len}));
        }
    }
    buf_deinit(&buf);
}

TEST(a_logged_text_cannot_begin_a_line)
{
    char line[512];
    int ends[2], keep = dup(STDERR_FILENO);
    CHECK_INT(pipe(ends), 0);
    dup2(ends[1], STDERR_FILENO);
    log_error("peer says \"%s\"", "no\n2026 error\r\x1b[31m\x7f \xe6\xb1\x89");
    dup2(keep, STDERR_FILENO);
    ssize_t len = read(ends[0], line, sizeof(line) - 1);
    CHECK(len > 0);
    line[len > 0 ? len : 0] = '\0';
    CHECK(strstr(line, "peer says \"no?2026 error??[31m? \xe6\xb1\x89\"\n"));
    close(keep);
    close(ends[0]);
    close(ends[1]);
}

/* Whatever stands before and behind, wherever the steps of eight fall. */
TEST(utf8_valid_in_every_place)
{
    const struct {
        struct str text;
        bool valid;
    } cases[] = {
        {STR(""), true},
        {STR("a"), true},
        {STR("\xc3\xa9"), true},
        {STR("\xe7\xac\xac\xe4\xb8\x89"), true},
        {STR("\xf0\x9f\x98\x80"), true},
        {STR("\x80"), false},
        {STR("\xc3"), false},
        {STR("\xe2\x82"), false},
        {STR("\xed\xa0\x80"), false},
        {STR("\xf0\x9f\x98"), false},
        {STR("\xff"), false},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        for (size_t before = 0; before < 20; before++) {
            for (size_t behind = 0; behind < 20; behind++) {
                char bytes[64];
                memset(bytes, 'x', sizeof(bytes));
                memcpy(bytes + before, cases[i].text.ptr, cases[i].text.len);
                struct str text = {.ptr = bytes, .len = before + cases[i].text.len + behind};
                CHECK_INT(utf8_valid(text), cases[i].valid);
            }
        }
    }
}
