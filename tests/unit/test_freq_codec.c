/* Stored bytes: fixed for ever (records outlive a release), and strict about everything else. */
#include "tests/test.h"

#include <stdlib.h>

#include "frequency/freq_codec.h"
#include "frequency/freq_store.h"

static struct redis_value text(const char *bytes, size_t len)
{
    return (struct redis_value){.type = REDIS_STRING, .text = {bytes, len}};
}

static const char field[] = "\x6b\x49\xd2\x00\xab\xcd\xef";
static const char confirmed[] = "\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b";
static const char reserved[] = "\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x00\x3c";

/* Loaded by Redis 7.0.15 as {"\1\2\3\4abc": "vvvvvvvvvvvvv"}. */
TEST(a_dump_is_what_redis_loads)
{
    char out[FREQ_DUMP_BYTES];
    freq_codec_dump("\001\002\003\004abc", "vvvvvvvvvvvvv", out);
    static const char golden[] =
        "\004\001\007\001\002\003\004\141\142\143\015\166\166\166\166\166\166\166\166\166\166\166"
        "\166\166\012\000\012\005\204\262\023\264\352\013";
    CHECK(memcmp(out, golden, sizeof(out)) == 0);
}

TEST(the_stored_form_never_changes)
{
    struct exposure_refs refs = {.line = 0x01020304, .creative = 0x05060708, .brand = 0x090a0b};
    char out[FREQ_RESERVED_BYTES], name[FREQ_FIELD_BYTES];
    freq_codec_field(1800000000, 0xffabcdef, name); /* the salt has 24 bits */
    CHECK(memcmp(name, field, sizeof(name)) == 0);
    CHECK_INT(freq_codec_value(&refs, 0, out), 11);
    CHECK(memcmp(out, confirmed, 11) == 0);
    CHECK_INT(freq_codec_value(&refs, 60, out), 13);
    CHECK(memcmp(out, reserved, 13) == 0);
    struct person_key person = {"\x80"
                                "123456789abcd"};
    CHECK_STR(freq_codec_key(&person), "\x80"
                                       "123456789abcd");
    CHECK(freq_codec_is_key(freq_codec_key(&person)));
    CHECK(!freq_codec_is_key(STR("budgets:123456")) && !freq_codec_is_key(STR("\x80")));
}

TEST(exposures_are_read_back_and_cut_ones_are_not)
{
    struct freq_exposure exposure;
    for (size_t f = 0; f <= 8; f++) {
        for (size_t v = 0; v <= 13; v++) {
            bool good =
                freq_codec_exposure((struct str){field, f}, (struct str){reserved, v}, &exposure);
            CHECK_INT(good, f == 7 && (v == 11 || v == 13));
        }
    }
    CHECK(freq_codec_exposure((struct str){field, 7}, (struct str){reserved, 13}, &exposure));
    CHECK_INT(exposure.time_s, 1800000000);
    CHECK_INT(exposure.salt, 0xabcdef);
    CHECK_INT(exposure.hold_s, 60);
    CHECK_INT(exposure.refs.line, 0x01020304);
    CHECK_INT(exposure.refs.creative, 0x05060708);
    CHECK_INT(exposure.refs.brand, 0x090a0b);
    /* reserved for no time is not a form we write */
    CHECK(!freq_codec_exposure((struct str){field, 7},
                               (struct str){"\1\2\3\4\5\6\7\10\11\12\13\0\0", 13}, &exposure));
}

TEST(records_have_a_limit_and_a_shape)
{
    static struct redis_value items[2 * (FREQ_MAX_EXPOSURES + 1)];
    for (uint32_t i = 0; i <= FREQ_MAX_EXPOSURES; i++) {
        items[2 * i] = text(field, 7);
        items[2 * i + 1] = text(confirmed, 11);
    }
    struct redis_value reply = {.type = REDIS_ARRAY, .items = items};
    struct freq_slab slab = {0};
    struct freq_record record = {0};
    reply.count = 2 * FREQ_MAX_EXPOSURES;
    CHECK_INT(freq_codec_record(&reply, &slab, &record, NULL), STATUS_OK);
    CHECK_INT(record.exposure_count, FREQ_MAX_EXPOSURES);
    CHECK(!record.overflow);
    reply.count += 2;
    CHECK_INT(freq_codec_record(&reply, &slab, &record, NULL), STATUS_OK);
    CHECK(record.overflow);
    CHECK_INT(slab.used, 2 * FREQ_MAX_EXPOSURES);
    reply.count = 3;
    CHECK_INT(freq_codec_record(&reply, &slab, &record, NULL), STATUS_INVALID);
    reply.count = 2;
    items[1].type = REDIS_INT;
    CHECK_INT(freq_codec_record(&reply, &slab, &record, NULL), STATUS_INVALID);
    reply.type = REDIS_NIL;
    CHECK_INT(freq_codec_record(&reply, &slab, &record, NULL), STATUS_INVALID);
    free(slab.items);
}

static struct freq_record last;

/* A record with one exposure and this field. */
static enum status profile(const char *name, size_t name_len, const char *value, size_t value_len,
                           struct freq_view *view, struct freq_links *links)
{
    struct redis_value items[4] = {text(name, name_len), text(value, value_len), text(field, 7),
                                   text(confirmed, 11)};
    struct redis_value reply = {.type = REDIS_ARRAY, .items = items, .count = 4};
    uint64_t unknown = 0;
    struct freq_slab slab = {0};
    const struct freq_profile to = {
        .now_s = 1800000000, .view = view, .links = links, .unknown = &unknown};
    enum status status = freq_codec_record(&reply, &slab, &last, &to);
    CHECK_INT(unknown, name[0] == 'q' || name[0] == '1');
    CHECK_INT(slab.used, status == STATUS_OK);
    CHECK(status != STATUS_OK || (last.exposure_count == 1 && last.field_count == 2));
    free(slab.items);
    return status;
}

TEST(profiles)
{
    static struct freq_view view;
    struct freq_links links = {.count = 0};
    /* hour 500000 = 1800000000 s: over at that second, not before */
    CHECK_INT(profile("s\0\0\0\7", 5, "\x00\x07\xa1\x21", 4, &view, &links), STATUS_OK);
    CHECK_INT(profile("s\0\0\0\5", 5, "\x00\x07\xa1\x21", 4, &view, &links), STATUS_OK);
    CHECK_INT(profile("s\0\0\0\7", 5, "\x00\x07\xa1\x22", 4, &view, &links), STATUS_OK);
    CHECK_INT(profile("s\0\0\0\6", 5, "\x00\x07\xa1\x20", 4, &view, &links), STATUS_OK);
    freq_codec_sort_segments(&view);
    CHECK_INT(view.segment_count, 2); /* 5 and 7, sorted, once each; 6 is over */
    CHECK_INT(last.sure_until_s, (int64_t)500000 * 3600);
    CHECK(freq_has_segment(&view, 5) && freq_has_segment(&view, 7) && !freq_has_segment(&view, 6));
    CHECK_INT(profile("m", 1, "\0\5", 2, &view, &links), STATUS_OK);
    CHECK_INT(profile("m", 1, "\0\3", 2, &view, &links), STATUS_OK);
    CHECK_INT(profile("m", 1, "\1\0", 2, &view, &links), STATUS_OK);
    CHECK_INT(view.max_contacts_per_day, 3); /* the strictest of several ids */
    CHECK_INT(profile("x\0\0\0\x9", 5, "1", 1, &view, &links), STATUS_OK);
    CHECK(freq_is_muted(&view, 9));
    CHECK(!view.withdrawn);
    CHECK_INT(profile("w", 1, "", 0, &view, &links), STATUS_OK);
    CHECK(view.withdrawn);
    CHECK_INT(profile("q", 1, "?", 1, &view, &links), STATUS_OK); /* of a later release */
    char link[15] = "l0123456789abc";
    for (int i = 0; i < 6; i++) {
        link[14] = (char)('0' + i / 2 * 2); /* each twice */
        CHECK_INT(profile(link, 15, "1", 1, &view, &links), STATUS_OK);
    }
    CHECK_INT(links.count, 3);
    CHECK(!links.more);
    for (int i = 0; i < 3; i++) {
        link[1] = (char)('a' + i);
        CHECK_INT(profile(link, 15, "1", 1, &view, &links), STATUS_OK);
    }
    CHECK_INT(links.count, FREQ_MAX_LINKS);
    CHECK(links.more);
    CHECK_INT(profile("s\0\0\0", 4, "\0\0\0\0", 4, &view, &links), STATUS_INVALID);
    CHECK_INT(profile("s\0\0\0\1", 5, "\0\0\0", 3, &view, &links), STATUS_INVALID);
    CHECK_INT(profile("m", 1, "\0\0", 2, &view, &links), STATUS_INVALID);
    CHECK_INT(profile("m", 1, "5", 1, &view, &links), STATUS_INVALID);
    CHECK_INT(profile("x\0", 2, "1", 1, &view, &links), STATUS_INVALID);
    CHECK_INT(profile("l0123", 5, "1", 1, &view, &links), STATUS_INVALID);
    CHECK_INT(profile("", 0, "1", 1, &view, &links), STATUS_INVALID);
    CHECK_INT(profile("12345678", 8, "12345678901", 11, &view, &links), STATUS_INVALID);
}

TEST(every_error_and_outcome_has_a_name)
{
    for (int i = 0; i < FREQ_ERROR_COUNT; i++) {
        CHECK(freq_error_name((enum freq_error)i)[0] != '?');
    }
    for (int i = 0; i < FREQ_OUTCOME_COUNT; i++) {
        CHECK(freq_outcome_name((enum freq_outcome)i)[0] != '?');
    }
}
