/* The fast decoder: what it makes of requests, that the oracle agrees, and that no cut, no small
 * arena and no drift breaks it. */
#include "proto/openrtb.h"

#include "tests/test.h"
#include "tests/unit/openrtb_fixture.h"

static struct buf fast, slow;

static void compare(const char *path, struct str body)
{
    decode_dump(openrtb_json_decode, body, &fast);
    decode_dump(openrtb_cjson_decode, body, &slow);
    if (!str_eq(buf_str(&fast), buf_str(&slow))) {
        TEST_FAIL("%s: the decoders differ\n--- fast\n%.*s--- oracle\n%.*s", path,
                  STR_ARG(buf_str(&fast)), STR_ARG(buf_str(&slow)));
    }
}

static void compare_good(const char *path, struct str body)
{
    compare(path, body);
    if (!str_starts(buf_str(&fast), STR("ok\n"))) {
        TEST_FAIL("%s: %.*s", path, STR_ARG(buf_str(&fast)));
    }
}

TEST(openrtb_decoders_agree_on_fixtures)
{
    buf_init(&fast, 1 << 24);
    buf_init(&slow, 1 << 24);
    CHECK(fixture_each("tests/data/openrtb", compare_good) >= 25);
    buf_deinit(&fast);
    buf_deinit(&slow);
}

/* Other people's requests, when they lie beside the project. */
TEST(openrtb_decoders_agree_on_public_examples)
{
    buf_init(&fast, 1 << 24);
    buf_init(&slow, 1 << 24);
    int count = fixture_each("../shared/data/openrtb", compare);
    printf("    %d public examples\n", count);
    buf_deinit(&fast);
    buf_deinit(&slow);
}

/* --- what it means ------------------------------------------------------------------------- */

static struct arena arena;
static struct bid_request request;
static struct str loaded;

static void setup(void)
{
    BUG_ON(!arena_init(&arena, 65536, 1 << 22));
}

static void teardown(void)
{
    arena_deinit(&arena);
    free((char *)(uintptr_t)loaded.ptr);
    loaded = STR_NONE;
}

static enum bidreq_reject decode(const char *body)
{
    arena_reset(&arena);
    return openrtb_json_decode(str_from(body), &arena, &request);
}

static void load(const char *name)
{
    char path[256];
    snprintf(path, sizeof(path), "tests/data/openrtb/%s.json", name);
    setup();
    loaded = fixture_read(path);
    CHECK_INT(openrtb_json_decode(loaded, &arena, &request), BIDREQ_OK);
}

TEST(openrtb_json_reads_a_pdb_video_request)
{
    load("pdb_video_deals");
    CHECK_STR(request.id, "r1");
    CHECK_INT(request.tmax_ms, 120);
    CHECK_STR(request.cur.items[0], "CNY");
    CHECK_INT(request.badv.count, 2);
    const struct bidreq_imp *imp = &request.imp.items[0];
    CHECK_INT(imp->bidfloor_micros, 3030000);
    CHECK(imp->private_auction);
    CHECK_INT(imp->deals.count, 3);
    CHECK_INT(imp->deals.items[0].bidfloor_micros, 25000000);
    CHECK_INT(imp->deals.items[0].at, 3);
    CHECK_INT(imp->deals.items[0].guar, 1);
    CHECK_STR(imp->deals.items[2].bidfloorcur, "USD");
    CHECK_INT(imp->deals.items[2].bidfloor_micros, 9123456);
    CHECK_INT(imp->video->maxduration, 30);
    CHECK_INT(imp->video->protocols.items[2], 7);
    CHECK_INT(imp->video->startdelay, 0);
    CHECK(!imp->banner && !imp->audio && !imp->native);
    CHECK_INT(request.media.kind, BIDREQ_APP);
    CHECK_STR(request.media.bundle, "com.example.longvideo");
    CHECK_STR(request.media.content_series, "Demo Drama");
    CHECK_STR(request.media.keywords.items[1], "\xe5\x8e\x86\xe5\x8f\xb2");
    CHECK_INT(request.device.geo.lat_micro, 31230400);
    CHECK_STR(request.device.geo.country, "CHN");
    CHECK_STR(request.device.geo.zip, "200000");
    CHECK_INT(request.user.segments.count, 3);
    CHECK_STR(request.user.segments.items[2], "77");
    CHECK_INT(request.user.keywords.count, 3);
    CHECK_INT(request.ext.count, 4);
    CHECK_STR(request.ext.items[0].path, "device.ext.oaid");
    CHECK_STR(request.ext.items[0].value, "aa11bb22cc33");
    CHECK_STR(request.ext.items[2].value, "true");
    CHECK_STR(request.ext.items[3].value, "3");
    teardown();
}

TEST(openrtb_json_bears_drift)
{
    load("drift");
    CHECK_STR(request.id, "7788");
    CHECK_INT(request.at, 1);
    CHECK_INT(request.tmax_ms, 150);
    CHECK_STR(request.cur.items[0], "CNY");
    CHECK(request.allimps);
    CHECK_INT(request.badv.count, 0);
    CHECK_INT(request.wseat.count, 2);
    CHECK_STR(request.wseat.items[0], "1");
    CHECK_INT(request.imp.count, 3);
    const struct bidreq_banner *banner = request.imp.items[0].banner;
    CHECK_INT(banner->w, 728);
    CHECK_INT(banner->h, 0);
    CHECK_INT(banner->pos, -1);
    CHECK_INT(banner->format.count, 1);
    CHECK_INT(banner->format.items[0].h, 90);
    CHECK_INT(banner->api.items[0], 5);
    CHECK_INT(request.imp.items[0].bidfloor_micros, 1250000);
    CHECK_STR(request.imp.items[0].bidfloorcur, "USD");
    CHECK_INT(request.imp.items[0].secure, 1);
    const struct bidreq_imp *imp = &request.imp.items[1];
    CHECK_INT(imp->video->api.count, 3);
    CHECK_INT(imp->video->api.items[2], 1);
    CHECK_INT(imp->video->skip, 1);
    CHECK_INT(imp->video->maxduration, 10);
    CHECK_INT(imp->video->startdelay, -1);
    CHECK(imp->private_auction);
    CHECK_INT(imp->deals.count, 1);
    CHECK_STR(imp->deals.items[0].id, "55");
    CHECK_INT(imp->deals.items[0].guar, 1);
    CHECK(!request.imp.items[2].banner && !request.imp.items[2].video);
    CHECK_STR(request.media.bundle, "12345");
    CHECK_INT(request.media.keywords.count, 3);
    CHECK_INT(request.device.dnt, 1);
    CHECK_INT(request.device.lmt, 1);
    CHECK_INT(request.device.h, 2400);
    CHECK_STR(request.user.segments.items[0], "only");
    CHECK_STR(request.user.eids.items[0].id, "E1");
    CHECK_INT(request.user.eids.items[0].atype, 3);
    CHECK_INT(request.regs.coppa, 1);
    CHECK_INT(request.regs.gdpr, 0);
    CHECK_INT(request.regs.gpp_sid.items[0], 7);
    teardown();
}

TEST(openrtb_json_new_privacy_place_wins)
{
    load("privacy_both");
    CHECK_INT(request.regs.gdpr, 0);
    CHECK_STR(request.regs.us_privacy, "1YYY"); /* the new place says nothing */
    CHECK_STR(request.user.consent, "NEW");
    CHECK_STR(request.user.eids.items[0].source, "old.example");
    CHECK(request.source.has_schain);
    CHECK_INT(request.source.schain_complete, 1);
    teardown();
    load("privacy_old");
    CHECK_INT(request.regs.gdpr, 1);
    CHECK_INT(request.regs.gpc, 1);
    CHECK_STR(request.user.consent, "OLD");
    CHECK_INT(request.user.eids.count, 1);
    CHECK_STR(request.user.eids.items[0].id, "o");
    CHECK_STR(request.source.schain.items[0].asi, "x.example");
    teardown();
}

TEST(openrtb_json_first_of_duplicates_wins)
{
    load("duplicates");
    CHECK_STR(request.id, "first");
    CHECK_INT(request.imp.items[0].bidfloor_micros, 0); /* null was first */
    CHECK_INT(request.imp.items[0].banner->w, 1);
    CHECK_INT(request.imp.items[0].banner->h, 0);
    CHECK_INT(request.tmax_ms, 0);
    CHECK_INT(request.media.kind, BIDREQ_MEDIUM_NONE);
    CHECK_INT(request.ext.count, 1);
    CHECK_STR(request.ext.items[0].value, "1");
    teardown();
}

static void check_markup(const char *fixture, bool has_root)
{
    load(fixture);
    const struct bidreq_native *native = request.imp.items[0].native;
    CHECK(native && !native->malformed);
    CHECK_INT(native->has_root, has_root);
    CHECK_STR(native->ver, "1.2");
    CHECK_INT(native->assets.count, 5);
    CHECK(native->assets.items[0].required);
    CHECK_INT(native->assets.items[0].kind, BIDREQ_ASSET_TITLE);
    CHECK_INT(native->assets.items[0].len, 25);
    CHECK_INT(native->assets.items[1].wmin, 600);
    CHECK_INT(native->assets.items[3].maxduration, 15);
    CHECK_INT(native->assets.items[4].kind, BIDREQ_ASSET_UNKNOWN);
    CHECK_INT(native->eventtrackers.items[0].methods.count, 2);
    teardown();
}

TEST(openrtb_json_native_in_all_its_shapes)
{
    check_markup("native_string", false);
    check_markup("native_string_root", true);
    check_markup("native_object", false);
    check_markup("native_object_root", true);
    load("native_malformed");
    for (uint32_t i = 0; i < request.imp.count; i++) {
        CHECK_INT(request.imp.items[i].native->malformed, i != request.imp.count - 1);
    }
    teardown();
}

TEST(openrtb_json_pods_and_dooh)
{
    load("pod_durfloors");
    const struct bidreq_av *video = request.imp.items[0].video;
    CHECK_INT(video->durfloors.count, 3);
    CHECK_INT(video->durfloors.items[1].bidfloor_micros, 10250000);
    CHECK_INT(video->durfloors.items[2].max_s, INT32_MAX);
    CHECK_INT(video->slotinpod, -1);
    CHECK_INT(video->rqddurs.items[1], 30);
    CHECK_INT(request.imp.items[0].deals.items[0].mincpmpersec_micros, 1500000);
    teardown();
    load("dooh");
    CHECK_INT(request.media.kind, BIDREQ_DOOH);
    CHECK_INT(request.imp.items[0].qty_micros, 14200000);
    CHECK_INT(request.imp.items[0].video->protocols.items[0], 3);
    CHECK(request.device.geo.has_point);
    teardown();
}

TEST(openrtb_json_reject_reasons)
{
    setup();
    CHECK_INT(decode(""), BIDREQ_NOT_JSON);
    CHECK_INT(decode("{\"id\":\"a\""), BIDREQ_NOT_JSON);
    CHECK_INT(decode("{\"id\":\"a\"}x"), BIDREQ_NOT_JSON);
    CHECK_INT(decode("\xef\xbb\xbf{}"), BIDREQ_NOT_JSON);
    CHECK_INT(decode("1"), BIDREQ_PING);
    CHECK_INT(decode(" { } \n"), BIDREQ_PING);
    CHECK_INT(decode("12"), BIDREQ_NOT_OBJECT);
    CHECK_INT(decode("[]"), BIDREQ_NOT_OBJECT);
    CHECK_INT(decode("null"), BIDREQ_NOT_OBJECT);
    CHECK_INT(decode("[1,]"), BIDREQ_NOT_JSON);
    CHECK_INT(decode("{\"imp\":[{\"id\":\"1\"}]}"), BIDREQ_NO_ID);
    CHECK_INT(decode("{\"id\":\"\",\"imp\":[{\"id\":\"1\"}]}"), BIDREQ_NO_ID);
    CHECK_INT(decode("{\"id\":\"a\"}"), BIDREQ_NO_IMP);
    CHECK_INT(decode("{\"id\":\"a\",\"imp\":[]}"), BIDREQ_NO_IMP);
    CHECK_INT(decode("{\"id\":\"a\",\"imp\":[1]}"), BIDREQ_NO_IMP);
    CHECK_INT(decode("{\"id\":\"a\",\"imp\":[{}]}"), BIDREQ_NO_IMP_ID);
    CHECK_INT(decode("{\"id\":\"a\",\"imp\":[{\"id\":\"1\"},{\"id\":1}]}"),
              BIDREQ_DUPLICATE_IMP_ID);
    CHECK_INT(decode("{\"id\":\"a\",\"imp\":{\"id\":\"1\"}}"), BIDREQ_OK);
    teardown();
}

/* A request with an array of count numbered items under key. */
static struct str with_list(struct buf *body, const char *key, const char *before,
                            const char *after, int count)
{
    buf_reset(body);
    buf_printf(body, "{\"id\":\"a\",\"%s\":[", key);
    for (int i = 0; i < count; i++) {
        buf_printf(body, "%s%d%s", before, i, after);
        buf_put(body, ",", i < count - 1);
    }
    buf_printf(body, "]%s}", strcmp(key, "imp") ? ",\"imp\":[{\"id\":\"1\"}]" : "");
    return buf_str(body);
}

TEST(openrtb_json_limits)
{
    setup();
    struct buf body;
    buf_init(&body, 1 << 22);
#define DECODE(text) openrtb_json_decode((text), &arena, &request)
    CHECK_INT(DECODE(with_list(&body, "imp", "{\"id\":", "}", BIDREQ_MAX_IMPS)), BIDREQ_OK);
    CHECK_INT(DECODE(with_list(&body, "imp", "{\"id\":", "}", BIDREQ_MAX_IMPS + 1)),
              BIDREQ_TOO_LARGE);
    CHECK_INT(DECODE(with_list(&body, "bcat", "\"", "\"", BIDREQ_MAX_LIST)), BIDREQ_OK);
    CHECK_INT(DECODE(with_list(&body, "bcat", "\"", "\"", BIDREQ_MAX_LIST + 1)), BIDREQ_TOO_LARGE);
    for (int more = 0; more < 2; more++) { /* {"x": [[...]]}: the object is one level */
        buf_reset(&body);
        buf_printf(&body, "{\"id\":\"a\",\"imp\":[{\"id\":\"1\"}],\"x\":");
        for (int i = 0; i < BIDREQ_MAX_DEPTH - 1 + more; i++) {
            buf_put_char(&body, '[');
        }
        for (int i = 0; i < BIDREQ_MAX_DEPTH - 1 + more; i++) {
            buf_put_char(&body, ']');
        }
        buf_put_char(&body, '}');
        CHECK_INT(DECODE(buf_str(&body)), more ? BIDREQ_TOO_DEEP : BIDREQ_OK);
    }
    buf_reset(&body);
    BUF_PUT_LITERAL(&body, "{\"id\":\"a\",\"imp\":[{\"id\":\"1\"}],\"device\":{\"ua\":\"");
    for (int i = 0; i <= BIDREQ_MAX_TEXT; i++) {
        buf_put_char(&body, 'x');
    }
    BUF_PUT_LITERAL(&body, "\"}}");
    CHECK_INT(DECODE(buf_str(&body)), BIDREQ_TOO_LARGE);
    buf_deinit(&body);
    teardown();
}

/* What goes to a person's eyes holds no id of anybody and no address. */
TEST(bidreq_dump_private_hides_people)
{
    static const char *const secrets[] = {
        "192.0.2.17", "3f2a9c1e", "aa11bb22cc33", "20220111_c0ffee", "\"u-1\"", "\"b-1\"", "31.23"};
    struct buf all, private;
    buf_init(&all, 1 << 16);
    buf_init(&private, 1 << 16);
    load("pdb_video_deals");
    bidreq_dump(&request, BIDREQ_DUMP_ALL, &all);
    bidreq_dump(&request, BIDREQ_DUMP_PRIVATE, &private);
    buf_put_char(&all, '\0');
    buf_put_char(&private, '\0');
    for (size_t i = 0; i < COUNT_OF(secrets); i++) {
        CHECK(strstr(all.data, secrets[i]) != NULL);
        CHECK(strstr(private.data, secrets[i]) == NULL);
    }
    CHECK(strstr(private.data, "imp[0].deals[0].id = \"PDB-1\"") != NULL);
    buf_deinit(&all);
    buf_deinit(&private);
    teardown();
}

/* --- damage -------------------------------------------------------------------------------- */

static int cuts;

static void cut_everywhere(const char *path, struct str body)
{
    struct str all = body;
    while (all.len && strchr(" \r\n\t", all.ptr[all.len - 1])) {
        all.len--; /* behind the closing brace the request is whole */
    }
    for (size_t len = 0; len < all.len; len++) {
        struct str cut = str_copy_exact((struct str){all.ptr, len});
        arena_reset(&arena);
        enum bidreq_reject reject = openrtb_json_decode(cut, &arena, &request);
        if (reject != BIDREQ_NOT_JSON) {
            TEST_FAIL("%s cut at %zu: %s", path, len, bidreq_reject_name(reject));
        }
        free((char *)(uintptr_t)cut.ptr);
        cuts++;
    }
}

TEST(openrtb_json_cut_at_every_byte)
{
    setup();
    fixture_each("tests/data/openrtb", cut_everywhere);
    CHECK(cuts > 10000);
    teardown();
}

static int refusals;

/* Every arena too small answers no_memory; the decoder then needs exactly one size. */
static void starve(const char *path, struct str body)
{
    bool fits = false;
    size_t step = body.len > 1500 ? 64 : 16;
    for (size_t bytes = 16; bytes < 65536 && !fits; bytes += step) {
        struct arena small;
        BUG_ON(!arena_init(&small, bytes, bytes));
        enum bidreq_reject reject = openrtb_json_decode(body, &small, &request);
        fits = reject == BIDREQ_OK;
        if (!fits && reject != BIDREQ_NO_MEMORY) {
            TEST_FAIL("%s in %zu bytes: %s", path, bytes, bidreq_reject_name(reject));
        }
        refusals += !fits;
        arena_deinit(&small);
    }
    CHECK(fits);
}

TEST(openrtb_json_arena_too_small)
{
    fixture_each("tests/data/openrtb", starve);
    CHECK(refusals > 100);
}
