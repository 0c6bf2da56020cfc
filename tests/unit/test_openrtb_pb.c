/* protobuf requests: a JSON request and its protobuf twin mean the same; damage is refused.
 * The twin is made by walking the schema's descriptors, so names and numbers come from
 * openrtb.proto and not from the decoder under test. */
#include "proto/openrtb.h"

#include "bidder/base/json_dom.h"
#include "bidder/base/prng.h"
#include "proto/openrtb.pb-c.h"
#include "tests/test.h"
#include "tests/unit/openrtb_fixture.h"

/* --- JSON -> protobuf ---------------------------------------------------------------------- */

static void put_varint(struct buf *out, uint64_t value)
{
    for (; value >= 0x80; value >>= 7) {
        buf_put_char(out, (char)(value | 0x80));
    }
    buf_put_char(out, (char)value);
}

static void put_bytes(struct buf *out, uint32_t id, struct str bytes)
{
    put_varint(out, (uint64_t)id << 3 | 2);
    put_varint(out, bytes.len);
    buf_put_str(out, bytes);
}

static double number_of(const struct json_value *value)
{
    char text[64];
    snprintf(text, sizeof(text), "%.*s", STR_ARG(value->text));
    return value->type == JSON_BOOL ? value->boolean : strtod(text, NULL);
}

static void put_message(struct buf *out, const ProtobufCMessageDescriptor *descriptor,
                        const struct json_value *object);

static void put_value(struct buf *out, const ProtobufCFieldDescriptor *field,
                      const struct json_value *value)
{
    bool text = value->type == JSON_STRING || value->type == JSON_NUMBER;
    struct buf inner;
    buf_init(&inner, 1 << 22);
    if (field->type == PROTOBUF_C_TYPE_MESSAGE && value->type == JSON_OBJECT) {
        put_message(&inner, field->descriptor, value);
        put_bytes(out, field->id, buf_str(&inner));
    } else if (field->type == PROTOBUF_C_TYPE_STRING && text) {
        put_bytes(out, field->id, value->text);
    } else if (field->type == PROTOBUF_C_TYPE_DOUBLE && text) {
        double number = number_of(value);
        put_varint(out, (uint64_t)field->id << 3 | 1);
        buf_put(out, &number, sizeof(number)); /* this machine is little-endian, as the wire */
    } else if ((field->type == PROTOBUF_C_TYPE_INT32 || field->type == PROTOBUF_C_TYPE_BOOL) &&
               (text || value->type == JSON_BOOL)) {
        int64_t number = (int64_t)number_of(value);
        put_varint(out, (uint64_t)field->id << 3);
        put_varint(out, field->type == PROTOBUF_C_TYPE_BOOL ? number != 0 : (uint64_t)number);
    }
    buf_deinit(&inner);
}

static void put_message(struct buf *out, const ProtobufCMessageDescriptor *descriptor,
                        const struct json_value *object)
{
    for (unsigned i = 0; i < descriptor->n_fields; i++) {
        const ProtobufCFieldDescriptor *field = &descriptor->fields[i];
        const struct json_value *value = json_dom_get(object, str_from(field->name));
        if (strcmp(field->name, "request_native") == 0) {
            value = json_dom_get(object, STR("request")); /* an object where text belongs */
        }
        if (!value) {
            continue;
        }
        if (value->type == JSON_ARRAY && field->label == PROTOBUF_C_LABEL_REPEATED) {
            for (uint32_t k = 0; k < value->count; k++) {
                put_value(out, field, &value->items[k]);
            }
        } else {
            put_value(out, field, value);
        }
    }
}

static bool twin_of(struct str json, struct buf *out)
{
    struct arena arena;
    BUG_ON(!arena_init(&arena, 1 << 20, 1 << 24));
    struct json_value *root = json_dom_parse(json, &arena, 64, NULL);
    buf_reset(out);
    if (root) {
        put_message(out, &openrtb__bid_request__descriptor, root);
    }
    arena_deinit(&arena);
    return root != NULL;
}

/* --- twins --------------------------------------------------------------------------------- */

static struct buf from_json, from_pb, twin;
static int compared;

/* Without the lines of ext: the schema has no field for most of what JSON keeps there. */
static void drop_ext(struct buf *dump)
{
    size_t kept = 0;
    struct str rest = buf_str(dump);
    while (rest.len) {
        struct str line = str_cut(&rest, '\n');
        if (!str_starts(line, STR("ext["))) {
            memmove(dump->data + kept, line.ptr, line.len);
            kept += line.len;
            dump->data[kept++] = '\n';
        }
    }
    dump->len = kept;
}

static const char *const not_the_same_in_protobuf[] = {
    "drift.json",              /* a schema leaves nothing to drift */
    "native_object_root.json", /* request_native has no root */
    "privacy_old.json",        /* regs.ext has no gpp there */
    "keywords_list.json",      /* keywords is one text there */
    "numbers.json",            /* beyond what a double tells apart */
};

static void compare(const char *path, struct str body)
{
    for (size_t i = 0; i < COUNT_OF(not_the_same_in_protobuf); i++) {
        if (strstr(path, not_the_same_in_protobuf[i])) {
            return;
        }
    }
    CHECK(twin_of(body, &twin));
    struct str exact = str_copy_exact(buf_str(&twin));
    decode_dump(openrtb_json_decode, body, &from_json);
    decode_dump(openrtb_pb_decode, exact, &from_pb);
    drop_ext(&from_json);
    drop_ext(&from_pb);
    if (!str_eq(buf_str(&from_json), buf_str(&from_pb))) {
        TEST_FAIL("%s: JSON and protobuf differ\n--- JSON\n%.*s--- protobuf\n%.*s", path,
                  STR_ARG(buf_str(&from_json)), STR_ARG(buf_str(&from_pb)));
    }
    free((char *)(uintptr_t)exact.ptr);
    compared++;
}

static void setup_bufs(void)
{
    buf_init(&from_json, 1 << 22);
    buf_init(&from_pb, 1 << 22);
    buf_init(&twin, 1 << 22);
}

static void free_bufs(void)
{
    buf_deinit(&from_json);
    buf_deinit(&from_pb);
    buf_deinit(&twin);
}

TEST(openrtb_pb_twins_mean_the_same)
{
    setup_bufs();
    fixture_each("tests/data/openrtb", compare);
    CHECK(compared >= 20);
    free_bufs();
}

/* --- damage -------------------------------------------------------------------------------- */

static int accepted, refused;

/* A cut between two fields leaves a message that is shorter but whole; everywhere else the cut is
 * refused. Nothing may be read behind it. */
static void cut_everywhere(const char *path, struct str body)
{
    (void)path;
    struct arena arena;
    struct bid_request request;
    BUG_ON(!arena_init(&arena, 1 << 18, 1 << 22));
    CHECK(twin_of(body, &twin));
    for (size_t len = 0; len < twin.len; len++) {
        struct str cut = str_copy_exact((struct str){twin.data, len});
        arena_reset(&arena);
        enum bidreq_reject reject = openrtb_pb_decode(cut, &arena, &request);
        CHECK(reject != BIDREQ_NO_MEMORY && reject != BIDREQ_TOO_LARGE);
        if (reject == BIDREQ_NOT_JSON) {
            refused++;
        } else {
            accepted++;
        }
        free((char *)(uintptr_t)cut.ptr);
    }
    arena_deinit(&arena);
}

TEST(openrtb_pb_cut_at_every_byte)
{
    setup_bufs();
    fixture_each("tests/data/openrtb", cut_everywhere);
    CHECK(refused > 1000);
    CHECK(accepted * 4 < refused);
    free_bufs();
}

TEST(openrtb_pb_random_damage)
{
    setup_bufs();
    struct arena arena;
    struct bid_request request;
    const uint64_t seed = 20260601;
    struct prng prng = {.state = seed};
    BUG_ON(!arena_init(&arena, 1 << 18, 1 << 22));
    struct str body = fixture_read("tests/data/openrtb/pdb_video_deals.json");
    CHECK(twin_of(body, &twin));
    struct str copy = str_copy_exact(buf_str(&twin));
    int broken = 0;
    for (int i = 0; i < 20000; i++) {
        char *byte = (char *)(uintptr_t)copy.ptr + prng_below(&prng, copy.len);
        char before = *byte;
        *byte = (char)prng_next(&prng);
        arena_reset(&arena);
        broken += openrtb_pb_decode(copy, &arena, &request) != BIDREQ_OK;
        *byte = before;
    }
    if (!broken) {
        TEST_FAIL("seed %llu: no damage was noticed", (unsigned long long)seed);
    }
    arena_reset(&arena);
    CHECK_INT(openrtb_pb_decode(copy, &arena, &request), BIDREQ_OK);
    free((char *)(uintptr_t)copy.ptr);
    free((char *)(uintptr_t)body.ptr);
    arena_deinit(&arena);
    free_bufs();
}

TEST(openrtb_pb_arena_too_small)
{
    setup_bufs();
    struct str body = fixture_read("tests/data/openrtb/pdb_video_deals.json");
    CHECK(twin_of(body, &twin));
    bool fits = false;
    for (size_t bytes = 16; bytes < 65536 && !fits; bytes += 16) {
        struct arena small;
        struct bid_request request;
        BUG_ON(!arena_init(&small, bytes, bytes));
        enum bidreq_reject reject = openrtb_pb_decode(buf_str(&twin), &small, &request);
        fits = reject == BIDREQ_OK;
        CHECK(fits || reject == BIDREQ_NO_MEMORY);
        arena_deinit(&small);
    }
    CHECK(fits);
    free((char *)(uintptr_t)body.ptr);
    free_bufs();
}

TEST(openrtb_pb_odd_messages)
{
    struct arena arena;
    struct bid_request request;
    BUG_ON(!arena_init(&arena, 1 << 18, 1 << 22));
    CHECK_INT(openrtb_pb_decode(STR_NONE, &arena, &request), BIDREQ_PING);
    /* id "a", imp { id "1" }, unknown fields 500 (varint) and 99 (bytes) */
    CHECK_INT(openrtb_pb_decode(STR("\x0a\x01"
                                    "a\x12\x03\x0a\x01"
                                    "1\xa0\x1f\x07\x9a\x06\x01x"),
                                &arena, &request),
              BIDREQ_OK);
    CHECK_STR(request.id, "a");
    /* an id that is not UTF-8 is none */
    CHECK_INT(openrtb_pb_decode(STR("\x0a\x01\xff\x12\x03\x0a\x01"
                                    "1"),
                                &arena, &request),
              BIDREQ_NO_ID);
    CHECK_INT(openrtb_pb_decode(STR("\x0a\x01"
                                    "a"),
                                &arena, &request),
              BIDREQ_NO_IMP);
    /* a group that never ends, a varint that never ends */
    CHECK_INT(openrtb_pb_decode(STR("\x0b\x0b\x0b"), &arena, &request), BIDREQ_NOT_JSON);
    CHECK_INT(openrtb_pb_decode(STR("\x38\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"), &arena,
                                &request),
              BIDREQ_NOT_JSON);
    char many[2 * (BIDREQ_MAX_IMPS + 1)];
    for (size_t i = 0; i < sizeof(many); i += 2) {
        many[i] = 0x12; /* empty imps */
        many[i + 1] = 0;
    }
    CHECK_INT(openrtb_pb_decode((struct str){many, sizeof(many)}, &arena, &request),
              BIDREQ_TOO_LARGE);
    CHECK_INT(openrtb_pb_decode((struct str){many, sizeof(many) - 2}, &arena, &request),
              BIDREQ_NO_ID);
    arena_deinit(&arena);
}
