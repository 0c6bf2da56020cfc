#include "bidder/base/json.h"
#include "bidder/base/json_dom.h"

#include <stdlib.h>

#include "tests/test.h"

static enum json_error check_text(struct str text, size_t *offset)
{
    /* Exactly as large as the text, so that ASan sees a read one byte too far. */
    char *copy = malloc(text.len ? text.len : 1);
    if (text.len) {
        memcpy(copy, text.ptr, text.len);
    }
    struct json_reader r;
    json_reader_init(&r, (struct str){copy, text.len}, NULL, 128);
    json_skip(&r);
    json_finish(&r);
    free(copy);
    *offset = r.error_offset;
    return r.error;
}

TEST(json_reader_pulls)
{
    struct arena arena;
    CHECK(arena_init(&arena, 4096, 4096));
    struct json_reader r;
    json_reader_init(&r,
                     STR("{\"a\" : [1, -2.5e1,true],\"b\":\"x\\u00e9\\ud83d\\ude00\\n\",\"c\":{}}"),
                     &arena, 2);
    struct str key, text = STR_NONE;
    bool yes = false;
    CHECK(json_object_begin(&r));
    CHECK(json_object_next(&r, &key));
    CHECK_STR(key, "a");
    CHECK_INT(json_peek(&r), JSON_ARRAY);
    CHECK(json_array_begin(&r));
    CHECK(json_array_next(&r) && json_read_number(&r, &text));
    CHECK_STR(text, "1");
    CHECK(json_array_next(&r) && json_read_number(&r, &text));
    CHECK_STR(text, "-2.5e1");
    CHECK(json_array_next(&r) && json_read_bool(&r, &yes) && yes);
    CHECK(!json_array_next(&r));
    CHECK(json_object_next(&r, &key) && json_read_string(&r, &text));
    CHECK_STR(text, "x\xc3\xa9\xf0\x9f\x98\x80\n");
    CHECK(json_object_next(&r, &key));
    CHECK_INT(json_peek(&r), JSON_OBJECT);
    CHECK(json_object_begin(&r) && !json_object_next(&r, &key));
    CHECK(!json_object_next(&r, &key));
    CHECK(json_finish(&r));
    arena_deinit(&arena);
}

TEST(json_dom_knows_places)
{
    struct arena arena;
    CHECK(arena_init(&arena, 65536, 65536));
    struct str text =
        STR("{\n  \"lines\": [\n    {\"id\": \"a\", \"cpm\": 2.50, \"id\": \"b\"}\n  ]\n}\n");
    struct json_value *root = json_dom_parse(text, &arena, 8, NULL);
    CHECK(root != NULL);
    const struct json_value *lines = json_dom_get(root, STR("lines"));
    CHECK(lines && lines->type == JSON_ARRAY && lines->count == 1);
    const struct json_value *line = &lines->items[0];
    CHECK_STR(json_dom_get(line, STR("cpm"))->text, "2.50");
    CHECK_STR(json_dom_get(line, STR("id"))->text, "a");
    const struct json_member *again = json_dom_duplicate(line);
    CHECK(again == &line->members[2]);
    uint32_t at_line, at_column;
    json_position(text, again->key_offset, &at_line, &at_column);
    CHECK_INT(at_line, 3);
    CHECK_INT(at_column, 30);
    CHECK(json_dom_get(line, STR("no")) == NULL);
    struct json_dom_error error;
    arena_reset(&arena);
    CHECK(json_dom_parse(STR("{\"a\":[1,\n tru]}"), &arena, 8, &error) == NULL);
    CHECK_INT(error.error, JSON_ERROR_LITERAL);
    CHECK_INT(error.offset, 10);
    arena_deinit(&arena);
}

TEST(json_numbers_become_integers)
{
    static const struct {
        const char *text;
        int64_t integer, micros;
    } cases[] = {
        {"0", 0, 0},
        {"-0", 0, 0},
        {"728", 728, 728000000},
        {"15.9", 15, 15900000},
        {"-15.9", -15, -15900000},
        {"25.0", 25, 25000000},
        {"1e2", 100, 100000000},
        {"1E+2", 100, 100000000},
        {"12e-1", 1, 1200000},
        {"0.0000005", 0, 1},
        {"0.00000049999999999999999999", 0, 0},
        {"-0.0000005", 0, -1},
        {"9223372036854775807", INT64_MAX, INT64_MAX},
        {"-9223372036854775808", INT64_MIN, INT64_MIN},
        {"9223372036854775808", INT64_MAX, INT64_MAX},
        {"1e400", INT64_MAX, INT64_MAX},
        {"-1e99999999999999999999", INT64_MIN, INT64_MIN},
        {"1e-99999999999999999999", 0, 0},
        {"0e99999999999999999999", 0, 0},
        {"1234567890123.12345650001", 1234567890123, 1234567890123123457},
        {"0.12345678901234567890123", 0, 123457},
        {"0.00000000000000000000001e23", 1, 1000000},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct str text = str_from(cases[i].text);
        CHECK(json_number_valid(text));
        CHECK_INT(json_number_to_i64(text), cases[i].integer);
        CHECK_INT(json_number_to_micros(text), cases[i].micros);
    }
    CHECK_INT(json_number_to_i32(STR("4294967296")), INT32_MAX);
    CHECK_INT(json_number_to_i32(STR("-1e10")), INT32_MIN);
    static const char *const bad[] = {"", "+1", "01", "1.", ".5", "0x10", "1e", " 1", "1 ", "-"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        CHECK(!json_number_valid(str_from(bad[i])));
    }
}

TEST(json_fails_with_place)
{
    size_t offset;
    CHECK_INT(check_text(STR("{\"a\":}"), &offset), JSON_ERROR_SYNTAX);
    CHECK_INT(offset, 5);
    CHECK_INT(check_text(STR("[1,2"), &offset), JSON_ERROR_END);
    CHECK_INT(offset, 4);
    CHECK_INT(check_text(STR("[1]]"), &offset), JSON_ERROR_TRAILING);
    CHECK_INT(offset, 3);
}
