/* The index of special bytes, whatever way it is filled, and the plain numbers of json_text.h against
 * the careful ones of json.h. The grammar is tested in test_json_grammar.c, for both. */
#include "bidder/base/json_text.h"

#include <stdlib.h>

#include "bidder/base/prng.h"
#include "tests/test.h"

#define SEED 20261122

/* A block of exactly its size, so that a read behind it is seen. */
static struct str random_text(struct prng *prng, size_t len, unsigned special_percent)
{
    static const char specials[] = {'"', '\\', '\n', '\x01', '\x1f', '\x80', '\xff', '"'};
    static const char plain[] = {' ', '!', '#', '[', ']', '^', '}', '~', '\x7f', 'a', '0', '{'};
    char *text = malloc(len);
    BUG_ON(!text);
    for (size_t i = 0; i < len; i++) {
        text[i] = prng_below(prng, 100) < special_percent
                      ? specials[prng_below(prng, sizeof(specials))]
                      : plain[prng_below(prng, sizeof(plain))];
    }
    text[len - 1] = '}';
    return (struct str){.ptr = text, .len = len};
}

/* Walks the index by refilling where it ends; the offsets must be those of a plain loop. */
static void check_way(json_index_fn *fill, struct str text, size_t from)
{
    struct json_index index;
    const uint32_t *item = index.items;
    fill(&index, text, from);
    for (size_t i = from; i < text.len; i++) {
        char c = text.ptr[i];
        if (c != '"' && c != '\\' && (unsigned char)c >= 0x20 && (unsigned char)c < 0x80) {
            continue;
        }
        if (*item == text.len - 1 && !index.whole) {
            CHECK(item - index.items >= JSON_INDEX_ITEMS);
            fill(&index, text, i);
            item = index.items;
        }
        CHECK_INT(*item, i);
        item++;
    }
    CHECK_INT(item[0], text.len - 1);
    for (int i = 1; i < 4; i++) {
        CHECK_INT(item[i], text.len - 1);
    }
}

TEST(json_index_finds_every_special_byte)
{
    struct prng prng = {.state = SEED};
    unsigned ways = 0;
    while (json_index_way(ways)) {
        ways++;
    }
    CHECK(ways >= 1);
    for (size_t len = 1; len < 5000; len += len < 300 ? 1 : 613) {
        for (unsigned percent = 0; percent <= 100; percent += 20) {
            struct str text = random_text(&prng, len, percent);
            for (unsigned way = 0; way < ways; way++) {
                check_way(json_index_way(way), text, 0);
                check_way(json_index_way(way), text, len / 3);
            }
            free((void *)(uintptr_t)text.ptr);
        }
    }
}

/* More strings than one filling of the index holds, some of them long or escaped. */
TEST(json_text_goes_on_behind_a_full_index)
{
    struct arena arena;
    struct buf body;
    struct json_text t;
    BUG_ON(!arena_init(&arena, 1 << 16, 1 << 20));
    buf_init(&body, 1 << 20);
    BUF_PUT_LITERAL(&body, "{\"\":0");
    for (int i = 0; i < 3000; i++) {
        buf_printf(&body, ",\n\"k%d\":\"%d%s%0*d\"", i, i, i % 7 ? "" : "\\n\xc3\xa9",
                   i % 500 ? 1 : 900, 0);
    }
    BUF_PUT_LITERAL(&body, "}");
    const char *at = json_text_begin(&t, buf_str(&body), &arena, 1);
    int members = 0;
    for (bool more = json_text_first(&t, &at, '}'); more; more = json_text_next(&t, &at, '}')) {
        char expected[1024];
        struct str key, value = STR("0");
        at = json_text_key(&t, at, &key);
        if (members == 0) {
            CHECK_STR(key, "");
            at = json_text_number(&t, at, &value);
            CHECK_STR(value, "0");
        } else {
            int i = members - 1;
            CHECK_INT(key.len, snprintf(expected, sizeof(expected), "k%d", i));
            CHECK(memcmp(key.ptr, expected, key.len) == 0);
            at = json_text_string(&t, at, &value);
            CHECK_INT(value.len, snprintf(expected, sizeof(expected), "%d%s%0*d", i,
                                          i % 7 ? "" : "\n\xc3\xa9", i % 500 ? 1 : 900, 0));
            CHECK(memcmp(value.ptr, expected, value.len) == 0);
        }
        members++;
    }
    CHECK_INT(members, 3001);
    CHECK(json_text_finish(&t, at));
    buf_deinit(&body);
    arena_deinit(&arena);
}

/* A plain number is what the careful conversion makes of it; what is not plain is left to it. */
static void check_number(struct str number, unsigned *plain)
{
    char body[128];
    struct json_text t;
    uint32_t value;
    int64_t micros;
    int len =
        snprintf(body, sizeof(body), "{\"n\":%.*s,\"behind\":\"0123456789\"}", STR_ARG(number));
    BUG_ON(len >= (int)sizeof(body));
    BUG_ON(*json_text_begin(&t, (struct str){body, (size_t)len}, NULL, 1) != '{');
    bool valid = json_number_valid(number);
    unsigned length = json_text_small(&t, body + 5, &value);
    CHECK(length == number.len || !length || !valid); /* 1-2: whoever goes on there finds out */
    if (length == number.len) {
        CHECK(valid);
        CHECK_INT(value, json_number_to_i64(number));
        ++*plain;
    }
    length = json_text_small_micros(&t, body + 5, &micros);
    CHECK(length == number.len || !length || !valid);
    if (length == number.len) {
        CHECK(valid);
        CHECK_INT(micros, json_number_to_micros(number));
        ++*plain;
    }
}

TEST(json_text_plain_numbers)
{
    static const char alphabet[] = "0123456789012345678901234567890123456789.-+eE";
    struct prng prng = {.state = SEED};
    unsigned plain = 0;
    for (int i = 0; i < 200000; i++) {
        char text[24];
        size_t len = 1 + prng_below(&prng, 20);
        for (size_t j = 0; j < len; j++) {
            text[j] = alphabet[prng_below(&prng, sizeof(alphabet) - 1)];
        }
        check_number((struct str){text, len}, &plain);
    }
    CHECK(plain > 10000);
}
