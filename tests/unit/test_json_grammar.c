/* RFC 8259, case by case: what is JSON and what is not. Each text also goes through the tree, cut
 * at every byte where it is valid, and from a block of exactly its size. */
#include "bidder/base/json_dom.h"

#include <stdlib.h>

#include "bidder/base/bug.h"
#include "bidder/base/json_text.h"
#include "tests/test.h"

#define T(text)                                                                                    \
    {                                                                                              \
        text, sizeof(text) - 1                                                                     \
    }

/* Packed by hand: the formatter would make ten pages of it. */
/* clang-format off */
static const struct str accepted[] = {
    /* structure */
    T("{}"), T("[]"), T("[[]]"), T("[{}]"), T("{\"a\":{}}"), T("{\"a\":[]}"), T("[[],[[]],{}]"),
    T("[1]"), T("[1,2]"), T("[null]"), T("[true,false,null]"), T("[1,null,null,null,2]"),
    T("{\"a\":1}"), T("{\"a\":1,\"b\":2}"), T("{\"a\":1,\"a\":2}"), T("{\"a\":1,\"a\":1}"),
    T("{\"\":0}"), T("{\"a\":\"b\"}"), T("{\"min\":-1.0e+28,\"max\":1.0e+28}"),
    T("{\"a\":[{\"b\":[{\"c\":1}]}]}"), T("[{\"a\":null},{\"a\":true}]"),
    /* white space */
    T(" []"), T("[] "), T("\t[\n1\r,\t2 ]\n"), T("{ \"a\" : 1 , \"b\" : [ ] }"), T("\n\n{}\n\n"),
    T("[\r\n]"), T("{\n}"), T(" \t\n\r1 \t\n\r"), T("[1\n,\n2]"),
    /* any value may stand alone */
    T("1"), T("-1"), T("\"\""), T("\"a\""), T("true"), T("false"), T("null"), T("0.5"), T("1e3"),
    /* numbers */
    T("0"), T("-0"), T("0.0"), T("-0.0"), T("10"), T("123"), T("-123"), T("1.0"), T("1.25"),
    T("-1.5"), T("0e1"), T("0e+1"), T("0E0"), T("1E2"), T("1e+2"), T("1e-2"), T("1.5E-2"),
    T("-1.5e+2"), T("1e00"), T("1e007"), T("123456789012345678901234567890"),
    T("0.000000000000000000000000000001"), T("1e400"), T("-1e400"), T("1e-400"),
    T("[0,-0,0.1,-0.1]"), T("[123e65,1E+2,20e1]"), T("9223372036854775808"),
    /* strings */
    T("\" \""), T("\"a b\""), T("\"/\""), T("\"'\""), T("\"{}[]:,\""), T("\"\x7f\""), T("\"\\\"\""),
    T("\"\\\\\""), T("\"\\/\""), T("\"\\b\\f\\n\\r\\t\""), T("\"\\\\n\""), T("\"\\\\u0041\""),
    T("\"a\\\"b\""), T("\"0123456789abcdef0123456789abcdef\""),
    T("\"0123456789abcde\\\"0123456789abcdef\""), T("\"// no comment\""), T("\"/* none */\""),
    T("\"new\\u000Aline\""),
    /* \u */
    T("\"\\u0041\""), T("\"\\u00e9\""), T("\"\\u00E9\""), T("\"\\u20ac\""), T("\"\\u0000\""),
    T("\"\\uFFFF\""), T("\"\\uFDD0\""), T("\"\\uD83D\\uDE00\""), T("\"\\ud800\\udc00\""),
    T("\"\\uDBFF\\uDFFF\""), T("\"\\u2028\\u2029\""), T("\"\\u0022\""), T("\"\\u005C\""),
    T("\"\\uaBcD\""), T("\"\\u0061\\u30af\\u30EA\""),
    /* UTF-8 */
    T("\"\xc3\xa9\""), T("\"\xe2\x82\xac\""), T("\"\xf0\x9f\x98\x80\""), T("\"\xc2\x80\""),
    T("\"\xdf\xbf\""), T("\"\xe0\xa0\x80\""), T("\"\xed\x9f\xbf\""), T("\"\xee\x80\x80\""),
    T("\"\xef\xbf\xbf\""), T("\"\xf0\x90\x80\x80\""), T("\"\xf4\x8f\xbf\xbf\""),
    T("\"\xef\xbb\xbf\""), T("{\"\xe4\xb8\xad\xe6\x96\x87\":\"\xe4\xb8\x8a\xe6\xb5\xb7\"}"),
    T("\"0123456789abcd\xe2\x82\xac\""), T("\"0123456789abcde\xe2\x82\xac\""),
    T("\"\xe2\x80\xa8\xe2\x80\xa9\""),
};

static const struct str refused[] = {
    /* nothing, or not a value */
    T(""), T(" "), T("\n"), T("a"), T("*"), T("'"), T("\\"), T("#"), T("@"), T("<null>"),
    T("undefined"), T("NaN"), T("Infinity"), T("-Infinity"), T("inf"), T("nil"), T("None"),
    T("\x00"), T("\xff"), T("\xc3\xa9"), T("()"), T("a:1"), T("=1"),
    /* byte order marks and other encodings */
    T("\xef\xbb\xbf{}"), T("\xef\xbb\xbf"), T("\xef\xbb{}"), T("\xff\xfe[\x00]\x00"),
    T("\xfe\xff\x00[\x00]"), T("[\x00]\x00"),
    /* arrays */
    T("["), T("]"), T("[[]"), T("[]]"), T("[1"), T("[1,"), T("[1,]"), T("[,]"), T("[,1]"),
    T("[1,,2]"), T("[1,,]"), T("[1 2]"), T("[1;2]"), T("[1:2]"), T("[\"a\":1]"), T("[1}"), T("[}"),
    T("[a"), T("[\"\""), T("[\"a\","), T("[\"a\",\n4\n,1,"), T("[\"a\" \"b\"]"), T("[3[4]]"),
    T("[1]x"), T("[x]"), T("[1,\n1\n,1"), T("[*]"), T("[\"x\"]]"), T("[\"\","), T("[{}"), T("[{]"),
    T("[1,{}"), T("[true,false"), T("[null,"), T("[][]"), T("[],"),
    /* objects */
    T("{"), T("}"), T("{{"), T("{]"), T("{}}"), T("{,}"), T("{\"a\"}"), T("{\"a\":}"),
    T("{\"a\":1"), T("{\"a\":1,"), T("{\"a\":1,}"), T("{,\"a\":1}"), T("{\"a\":1,,\"b\":2}"),
    T("{\"a\" 1}"), T("{\"a\":1 \"b\":2}"), T("{\"a\"::1}"), T("{\"a\",1}"), T("{\"a\";1}"),
    T("{a:1}"), T("{'a':1}"), T("{1:1}"), T("{null:1}"), T("{true:1}"), T("{[]:1}"), T("{{}:1}"),
    T("{:1}"), T("{\"a\":1]"), T("{\"a"), T("{\"a\""), T("{\"a\":"), T("{\"a\":\"b"),
    T("{\"a\":\"b\"}#"), T("{\"a\":\"b\"}}"), T("{\"a\":\"b\"}{}"), T("{\"a\":\"b\",c:1}"),
    T("{\"a\":1:2}"), T("{\"a\":1,2}"), T("{} {}"), T("{\"a\":[}"), T("{\"\\uD800\":1}"),
    T("{\"a\":/* x */1}"), T("{\"a\":1} // x"), T("{\"a\":1} /"), T("{# x\n}"), T("/**/{}"),
    T("{\xc2\xa0}"), T("{key: 'value'}"), T("{9999E9999:1}"), T("{\"a\":a"), T("{\"id\":0,,}"),
    /* literals */
    T("t"), T("tru"), T("True"), T("TRUE"), T("truE"), T("truex"), T("true1"), T("f"), T("fals"),
    T("False"), T("falsE"), T("n"), T("nul"), T("nulL"), T("Null"), T("NULL"), T("nullnull"),
    T("[tru]"), T("[fals]"), T("[nul]"), T("[truth]"), T("[true,fals"), T("true false"),
    T("{\"a\":true \"b\"}"), T("[nullx]"),
    /* numbers */
    T("+1"), T("01"), T("-01"), T("00"), T("-00"), T("007"), T("1."), T("-1."), T(".5"), T("-.5"),
    T("1.e1"), T("1.E"), T("0."), T("0.e1"), T("1e"), T("1E"), T("1e+"), T("1e-"), T("1E+"),
    T("0e"), T("0e+"), T("0E+"), T("1e1.5"), T("1.2.3"), T("1e2e3"), T("--1"), T("+-1"), T("-+1"),
    T("-"), T("[-]"), T("- 1"), T("1 000"), T("1,000"), T("1_000"), T("0x1"), T("0x"), T("0xFF"),
    T("0b1"), T("0o7"), T("1f"), T("1L"), T("1a"), T("-a"), T("1ea"), T("1e 2"), T("1 .5"),
    T("[1+2]"), T("[-1x]"), T("[1.8011670033376514H-308]"), T("[-NaN]"), T("[.123]"), T("[1eE2]"),
    T("[2.e+3]"), T("[2.e-3]"), T("[2.e3]"), T("[9.e+]"), T("[0.3e]"), T("[0.3e+]"), T("[1.0e]"),
    T("[-2.]"), T("[+Inf]"), T("[-foo]"), T("[- 1]"), T("[-012]"), T("[-1.0.]"), T("[0.1.2]"),
    T("[0e+-1]"), T("[\xef\xbc\x91]"), T("[1\x00]"), T("1\xe5"), T("[0\xe5]"), T("[1e1\xe5]"),
    T("123\x00"), T("[++1234]"), T("[.-1]"), T("[1 e2]"),
    /* strings */
    T("\""), T("\"a"), T("'a'"), T("`a`"), T("a\""), T("\"a\"b"), T("\"a\" \"b\""), T("\"\"\""),
    T("\"\\\""), T("\"\\"), T("\"\\a\""), T("\"\\x41\""), T("\"\\0\""), T("\"\\'\""),
    T("\"\\U0041\""), T("\"\\ \""), T("\"\\\n\""), T("\"\\\x00\""), T("\"\\v\""), T("\"\\e\""),
    T("\"\\N\""), T("\"\n\""), T("\"\t\""), T("\"\r\""), T("\"\x00\""), T("\"\x01\""),
    T("\"\x1f\""), T("\"a\x00z\""), T("\"0123456789abcdef\n\""), T("[\"new\nline\"]"),
    T("[\"\t\"]"), T("[\"\\\xe5\"]"), T("[\"\\\xf0\x9f\x8c\x80\"]"), T("[\"x\", truth]"),
    T("[\"\\\\\\\"]"), T("[\"asd]"), T("[\xe2\x80\x9c" "a\xe2\x80\x9d]"),
    /* \u */
    T("\"\\u\""), T("\"\\u0\""), T("\"\\u00\""), T("\"\\u004\""), T("\"\\u00G1\""),
    T("\"\\uZZZZ\""), T("\"\\u-041\""), T("\"\\u+041\""), T("\"\\u 041\""), T("\"\\u004"),
    T("\"\\u0041"), T("\"\\uD800\""), T("\"\\uDBFF\""), T("\"\\uDC00\""), T("\"\\uDFFF\""),
    T("\"\\uD800x\""), T("\"\\uD800\\n\""), T("\"\\uD800\\u0041\""), T("\"\\uD800\\uD800\""),
    T("\"\\uDC00\\uD800\""), T("\"\\uD83D\\u\""), T("\"\\uD83D\\uDE0\""), T("\"\\uD83D\\uDE0G\""),
    T("\"\\uD83D\\"), T("\"\\uD83D\\uE000\""), T("\"\\uD800\\uDC00\\uD800\""),
    T("\"\\ud800abcdef\""), T("\"\\u{41}\""), T("\"\\\\\\u12\""),
    /* UTF-8 */
    T("\"\x80\""), T("\"\xbf\""), T("\"\xc0\x80\""), T("\"\xc0\xaf\""), T("\"\xc1\xbf\""),
    T("\"\xc3\""), T("\"\xc3(\""), T("\"\xc3\xc3\""), T("\"\xe2\x82\""), T("\"\xe2\""),
    T("\"\xe2(\xa1\""), T("\"\xe2\x82(\""), T("\"\xe0\x80\x80\""), T("\"\xe0\x9f\xbf\""),
    T("\"\xed\xa0\x80\""), T("\"\xed\xbf\xbf\""), T("\"\xed\xa0\xbd\xed\xb8\x80\""),
    T("\"\xf0\x80\x80\x80\""), T("\"\xf0\x8f\xbf\xbf\""), T("\"\xf0\x9f\x98\""), T("\"\xf0\x9f\""),
    T("\"\xf0(\x8c\xbc\""), T("\"\xf0\x90(\xbc\""), T("\"\xf0\x90\x80(\""),
    T("\"\xf4\x90\x80\x80\""), T("\"\xf5\x80\x80\x80\""), T("\"\xf8\x88\x80\x80\x80\""),
    T("\"\xfc\x84\x80\x80\x80\x80\""), T("\"\xfe\""), T("\"\xff\""), T("\"0123456789abcdef\xff\""),
    T("{\"\xe9\":1}"), T("\"\xc3"), T("\"\xe2\x82"), T("\"\xf0\x9f\x98"), T("[\"\xe0\xff\"]"),
    /* white space that is none */
    T("\x0b[]"), T("\x0c[]"), T("[\x0c]"), T("\xc2\xa0[]"), T("[\xe2\x81\xa0]"), T("[]\x00"),
    T("[1,\x0b 2]"), T("\xe2\x80\xa8[]"),
    /* behind the end */
    T("1 2"), T("1]"), T("1}"), T("\"a\"]"), T("null,"), T("[1],[2]"), T("{}x"), T("{}\""),
    T("[] []"), T("1:2"), T("{},{}"), T("[1]\n{"),
};
/* clang-format on */

/* The request path's walk says the same of an object. */
static void check_fast_walk(struct str text, struct arena *arena)
{
    struct json_text t;
    struct json_reader r;
    json_reader_init(&r, text, NULL, 64);
    bool object = json_peek(&r) == JSON_OBJECT;
    json_skip(&r);
    bool valid = json_finish(&r);
    const char *at = json_text_begin(&t, text, arena, 64);
    if (*at == '{') {
        at = json_text_skip(&t, at);
    }
    if (json_text_finish(&t, at) != valid || (object && t.error != r.error)) {
        TEST_FAIL("\"%.*s\": json_text says %s, the reader %s", STR_ARG(text),
                  json_error_name(t.error), json_error_name(r.error));
    }
}

/* The same inside an object: as a value, and in the middle of others. */
static void check_fast_inside(struct str text, struct arena *arena)
{
    struct buf object;
    static const char *const around[][2] = {
        {"{\"a\":", "}"}, {"{\"a\":[1,", ",2]}"}, {"{\"a\" : ", ",\n \"b\":\"\"} "}};
    buf_init(&object, 1 << 20);
    for (size_t i = 0; i < COUNT_OF(around); i++) {
        buf_reset(&object);
        buf_put_str(&object, str_from(around[i][0]));
        buf_put_str(&object, text);
        buf_put_str(&object, str_from(around[i][1]));
        check_fast_walk(buf_str(&object), arena);
    }
    buf_deinit(&object);
}

static enum json_error check_text(struct str text)
{
    struct arena arena;
    struct json_dom_error error;
    BUG_ON(!arena_init(&arena, 4096, 65536));
    char *copy = malloc(text.len ? text.len : 1);
    BUG_ON(!copy);
    if (text.len) {
        memcpy(copy, text.ptr, text.len);
    }
    struct str exact = {.ptr = copy, .len = text.len};
    struct json_reader r;
    json_reader_init(&r, exact, NULL, 64);
    json_skip(&r);
    bool valid = json_finish(&r);
    bool has_tree = json_dom_parse(exact, &arena, 64, &error) != NULL;
    if (has_tree != valid || error.error != r.error || error.offset != r.error_offset) {
        TEST_FAIL("\"%.*s\": skipping says %s at %zu, the tree %s at %zu", STR_ARG(text),
                  json_error_name(r.error), r.error_offset, json_error_name(error.error),
                  error.offset);
    }
    check_fast_walk(exact, &arena);
    check_fast_inside(exact, &arena);
    free(copy);
    arena_deinit(&arena);
    return r.error;
}

TEST(json_accepts_what_is_json)
{
    CHECK(COUNT_OF(accepted) >= 95);
    for (size_t i = 0; i < COUNT_OF(accepted); i++) {
        enum json_error error = check_text(accepted[i]);
        if (error) {
            TEST_FAIL("\"%.*s\" is refused: %s", STR_ARG(accepted[i]), json_error_name(error));
        }
    }
}

TEST(json_refuses_what_is_not)
{
    CHECK(COUNT_OF(refused) >= 188);
    for (size_t i = 0; i < COUNT_OF(refused); i++) {
        if (!check_text(refused[i])) {
            TEST_FAIL("\"%.*s\" is accepted", STR_ARG(refused[i]));
        }
    }
}

/* No prefix of an object, array or string is JSON. */
TEST(json_refuses_every_cut)
{
    int cuts = 0;
    for (size_t i = 0; i < COUNT_OF(accepted); i++) {
        struct str text = accepted[i];
        if (!strchr("{[\"", text.ptr[0])) {
            continue;
        }
        while (strchr(" \t\r\n", text.ptr[text.len - 1])) {
            text.len--;
        }
        for (size_t len = 0; len < text.len; len++, cuts++) {
            CHECK(check_text((struct str){text.ptr, len}));
        }
    }
    CHECK(cuts > 500);
}

/* Valid inside an array is valid alone and the other way round, wherever the sixteen-byte steps of
 * the string scan fall. */
TEST(json_alignment_does_not_matter)
{
    for (size_t pad = 0; pad < 40; pad++) {
        for (size_t i = 0; i < COUNT_OF(accepted) + COUNT_OF(refused); i++) {
            bool good = i < COUNT_OF(accepted);
            struct str text = good ? accepted[i] : refused[i - COUNT_OF(accepted)];
            if (text.len < 2 || text.len > 100 || text.ptr[0] != '"') {
                continue;
            }
            char padded[160]; /* the pad goes behind the opening quote */
            padded[0] = '"';
            memset(padded + 1, 'x', pad);
            memcpy(padded + 1 + pad, text.ptr + 1, text.len - 1);
            struct json_reader r;
            json_reader_init(&r, (struct str){padded, text.len + pad}, NULL, 1);
            json_skip(&r);
            if (json_finish(&r) != good) {
                TEST_FAIL("\"%.*s\" behind %zu bytes", STR_ARG(text), pad);
            }
        }
    }
}

static enum json_error nested(const char *open, const char *close, int depth)
{
    struct buf text;
    buf_init(&text, 1 << 20);
    for (int i = 0; i < depth; i++) {
        buf_put_str(&text, str_from(open));
    }
    BUF_PUT_LITERAL(&text, "1");
    for (int i = 0; i < depth; i++) {
        buf_put_str(&text, str_from(close));
    }
    enum json_error error = check_text(buf_str(&text));
    buf_deinit(&text);
    return error;
}

TEST(json_depth_is_the_callers)
{
    CHECK_INT(nested("[", "]", 64), JSON_OK);
    CHECK_INT(nested("[", "]", 65), JSON_ERROR_DEPTH);
    CHECK_INT(nested("{\"a\":", "}", 64), JSON_OK);
    CHECK_INT(nested("{\"a\":", "}", 65), JSON_ERROR_DEPTH);
    CHECK_INT(nested("[", "", 100000), JSON_ERROR_DEPTH);
    CHECK_INT(nested("[{\"a\":", "}]", 33), JSON_ERROR_DEPTH);
}

TEST(json_reasons)
{
    static const struct {
        struct str text;
        enum json_error error;
    } cases[] = {
        {T("[1,"), JSON_ERROR_END},
        {T("[1,]"), JSON_ERROR_SYNTAX},
        {T("[trux]"), JSON_ERROR_LITERAL},
        {T("[01]"), JSON_ERROR_NUMBER},
        {T("\"\n\""), JSON_ERROR_CONTROL},
        {T("\"\\x\""), JSON_ERROR_ESCAPE},
        {T("\"\\uD800\""), JSON_ERROR_SURROGATE},
        {T("\"\xff\""), JSON_ERROR_UTF8},
        {T("1 1"), JSON_ERROR_TRAILING},
        {T("\"abc"), JSON_ERROR_END},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        CHECK_INT(check_text(cases[i].text), cases[i].error);
        CHECK(strlen(json_error_text(cases[i].error)) > 10);
    }
}

/* A tree in every too small arena: refused as such. */
TEST(json_tree_in_too_small_an_arena)
{
    struct str text =
        STR("{\"a\":[1,2,3,4,5,6,7,8,9],\"b\":{\"c\":\"x\\ny\"},\"d\":[[],[],[[],[]]]}");
    bool fits = false;
    for (size_t bytes = 16; bytes < 8192 && !fits; bytes += 16) {
        struct arena arena;
        struct json_dom_error error;
        BUG_ON(!arena_init(&arena, bytes, bytes));
        fits = json_dom_parse(text, &arena, 8, &error) != NULL;
        CHECK(fits || error.error == JSON_ERROR_MEMORY);
        arena_deinit(&arena);
    }
    CHECK(fits);
}
