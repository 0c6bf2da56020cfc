#include "tests/test.h"

#include "frequency/person.h"

static struct crypto_key secret;
static struct arena arena;

static void setup(void)
{
    if (!arena.first) {
        crypto_key_init(&secret, "deployment", 10);
        if (!arena_init(&arena, 65536, 1 << 20)) {
            abort();
        }
    }
}

static struct id_path path(const char *text)
{
    struct id_path made = {.type = STR_NONE};
    setup();
    if (id_path_parse(str_from(text), STR("ex1"), &arena, &made) != STATUS_OK) {
        TEST_FAIL("no path: %s", text);
    }
    return made;
}

static struct bid_request blank(void)
{
    struct bid_request request = {0};
    request.device.lmt = request.device.dnt = -1;
    request.regs.coppa = request.regs.gdpr = request.regs.gpc = -1;
    return request;
}

static struct person identify(const struct bid_request *request)
{
    static const char *const texts[] = {"device.ifa",
                                        "device.ext.oaid",
                                        "device.ext.oaid_md5",
                                        "device.didmd5",
                                        "device.dpidmd5",
                                        "user.buyeruid",
                                        "user.eids[source=id.example].uids[0].id"};
    struct id_path paths[8], home[2] = {path("device.ext.tv"), path("device.ip")};
    for (size_t i = 0; i < 7; i++) {
        paths[i] = path(texts[i]);
    }
    struct person person;
    person_identify(&secret, paths, 7, home, 2, request, &person);
    return person;
}

static bool same(const struct person_key *a, const struct person_key *b)
{
    return memcmp(a, b, sizeof(*a)) == 0;
}

#define RAW "6D92078A-8246-4BA4-AE5B-76104861E7DC"

TEST(raw_and_md5_forms_meet)
{
    setup();
    char hex[CRYPTO_MD5_HEX];
    crypto_md5_hex(STR("6d92078a-8246-4ba4-ae5b-76104861e7dc"), hex);
    struct str md5 = {hex, sizeof(hex)};
    struct bid_request raw = blank(), hashed = blank(), ext = blank(), both = blank();
    raw.device.ifa = STR(RAW);
    hashed.device.dpidmd5 = md5;
    struct bidreq_ext items[] = {{STR("device.ext.oaid_md5"), md5}};
    ext.ext.items = items;
    ext.ext.count = 1;
    both.device.ifa = STR(" " RAW "\t");
    both.device.didmd5 = md5;
    struct person a = identify(&raw), b = identify(&hashed), c = identify(&ext),
                  d = identify(&both);
    CHECK_INT(a.key_count, 1);
    CHECK_INT(d.key_count, 1); /* one id in two forms is one key */
    CHECK(same(&a.keys[0], &b.keys[0]));
    CHECK(same(&a.keys[0], &c.keys[0]));
    CHECK(same(&a.keys[0], &d.keys[0]));
    CHECK(a.keys[0].bytes[0] & 0x80);
    struct person_key typed;
    CHECK(person_key_of(&secret, STR("ifa"), STR(RAW), &typed) && same(&typed, &a.keys[0]));
    CHECK(person_key_of(&secret, STR("oaid_md5"), md5, &typed) && same(&typed, &a.keys[0]));
    /* the key is the secret's and the id's */
    struct crypto_key other;
    crypto_key_init(&other, "another", 7);
    CHECK(person_key_of(&other, STR("ifa"), STR(RAW), &typed) && !same(&typed, &a.keys[0]));
}

TEST(caid_is_raw_though_it_looks_hashed)
{
    setup();
    struct str caid = STR("0123456789abcdef0123456789abcdee");
    char hex[CRYPTO_MD5_HEX];
    crypto_md5_hex(caid, hex);
    struct person_key raw, md5;
    CHECK(person_key_of(&secret, STR("caid"), caid, &raw));
    CHECK(person_key_of(&secret, STR("caid_md5"), (struct str){hex, sizeof(hex)}, &md5));
    CHECK(same(&raw, &md5));
    CHECK_STR(path("device.ext.caid").type, "caid");
    CHECK_STR(path("device.ext.caid_md5").type, "device_md5");
}

TEST(known_bad_ids_count_as_absent)
{
    setup();
    static const char *const bad[] = {"",
                                      "  ",
                                      "0",
                                      "unknown",
                                      "NULL",
                                      "00000000-0000-0000-0000-000000000000",
                                      "00000000000000000000000000000000",
                                      "000000000000000",
                                      "02:00:00:00:00:00",
                                      "020000000000",
                                      "FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF",
                                      "9774d56d682e549c",
                                      "012345678912345",
                                      "{{DEVICE_ID}}",
                                      "${IFA}",
                                      "__IDFA__",
                                      "[oaid]"};
    struct person_key key;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct str id = str_from(bad[i]);
        if (person_key_of(&secret, STR("ifa"), id, &key)) {
            TEST_FAIL("taken raw: %s", bad[i]);
        }
        /* and so is its md5, except of what is only an unreplaced macro or padded */
        char hex[CRYPTO_MD5_HEX], lower[64];
        size_t len = 0;
        for (; len < id.len && id.ptr[len] != ' '; len++) {
            lower[len] = str_ascii_lower(id.ptr[len]);
        }
        crypto_md5_hex((struct str){lower, len}, hex);
        if (i < 13 && i != 10 &&
            person_key_of(&secret, STR("did_md5"), (struct str){hex, 32}, &key)) {
            TEST_FAIL("taken as md5: %s", bad[i]);
        }
    }
    /* md5 forms that are none */
    CHECK(!person_key_of(&secret, STR("did_md5"), STR("0123"), &key));
    CHECK(!person_key_of(&secret, STR("did_md5"), STR("g123456789abcdef0123456789abcdef"), &key));
    CHECK(!person_key_of(&secret, STR("did_sha1"), STR("0123456789abcdef0123456789abcdef"), &key));
    char large[300];
    memset(large, 'a', sizeof(large));
    CHECK(!person_key_of(&secret, STR("ifa"), (struct str){large, sizeof(large)}, &key));
    CHECK(!person_key_of(&secret, STR(""), STR("abc"), &key));
}

TEST(ids_of_one_exchange_stay_there)
{
    setup();
    struct id_path one, two;
    CHECK_INT(id_path_parse(STR("user.buyeruid"), STR("ex1"), &arena, &one), STATUS_OK);
    CHECK_INT(id_path_parse(STR("user.buyeruid"), STR("ex2"), &arena, &two), STATUS_OK);
    CHECK_STR(one.type, "buyeruid@ex1");
    struct person_key a, b, c;
    CHECK(person_key_of(&secret, one.type, STR("u-77"), &a));
    CHECK(person_key_of(&secret, two.type, STR("u-77"), &b));
    CHECK(person_key_of(&secret, STR("eid:id.example"), STR("u-77"), &c));
    CHECK(!same(&a, &b) && !same(&a, &c));
}

TEST(paths_that_are_none)
{
    setup();
    static const char *const bad[] = {"",
                                      "device",
                                      "device.",
                                      "device.ext.",
                                      "device.ext.a.b",
                                      "user.eids",
                                      "user.eids[source=]",
                                      "user.eids[source=x",
                                      "user.eids[source=x].uids[1].id",
                                      "user.eids[id=x]",
                                      "imp.id",
                                      "device.ifa2"};
    struct id_path made;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        CHECK_INT(id_path_parse(str_from(bad[i]), STR("ex1"), &arena, &made), STATUS_INVALID);
    }
    CHECK_STR(path("user.eids[source=x.com]").argument, "x.com");
    CHECK_STR(path("user.ext.eids[source=x.com].uids[0].id").argument, "x.com");
    CHECK_STR(path("user.ext.cookie").type, "user.ext.cookie@ex1");
}

TEST(several_ids_in_order_and_the_limit)
{
    struct bid_request request = blank();
    struct bidreq_ext items[] = {{STR("device.ext.oaid"), STR("oaid-1")}};
    struct bidreq_eid eids[] = {{.source = STR("other"), .id = STR("no")},
                                {.source = STR("id.example"), .id = STR("e1")}};
    request.device.ifa = STR(RAW);
    request.device.didmd5 = STR("0123456789abcdef0123456789abcdef");
    request.ext.items = items;
    request.ext.count = 1;
    request.user.buyeruid = STR("B1");
    request.user.eids.items = eids;
    request.user.eids.count = 2;
    struct person person = identify(&request);
    CHECK_INT(person.key_count, PERSON_MAX_KEYS);
    CHECK_INT(person.absence, PERSON_PRESENT);
    struct person_key key;
    CHECK(person_key_of(&secret, STR("oaid"), STR("OAID-1"), &key));
    CHECK(same(&person.keys[1], &key));
    CHECK(person_key_of(&secret, STR("buyeruid@ex1"), STR("b1"), &key));
    CHECK(same(&person.keys[3], &key));
    request.device.ifa = STR("00000000-0000-0000-0000-000000000000");
    person = identify(&request);
    CHECK_INT(person.key_count, 4);
    CHECK(person_key_of(&secret, STR("eid:id.example"), STR("e1"), &key));
    CHECK(same(&person.keys[3], &key));
}

TEST(privacy_signals_make_no_person)
{
    struct bid_request base = blank();
    base.device.ifa = STR(RAW);
    base.device.ip = STR("203.0.113.9");
    CHECK_INT(identify(&base).absence, PERSON_PRESENT);
    struct bid_request r = base;
    r.regs.coppa = 1;
    CHECK_INT(identify(&r).absence, PERSON_COPPA);
    CHECK_INT(identify(&r).key_count, 0);
    CHECK(!identify(&r).has_household);
    r = base, r.device.lmt = 1;
    CHECK_INT(identify(&r).absence, PERSON_LMT);
    r = base, r.device.dnt = 1;
    CHECK_INT(identify(&r).absence, PERSON_LMT);
    r = base, r.device.dnt = 2; /* seen in the wild; says nothing */
    CHECK_INT(identify(&r).absence, PERSON_PRESENT);
    r = base, r.regs.gdpr = 1;
    CHECK_INT(identify(&r).absence, PERSON_NO_CONSENT);
    r.user.consent = STR("CPXxRfAPXxRfAAfKABENB-CgAAAAAAAAAAYgAAAAAAAA");
    CHECK_INT(identify(&r).absence, PERSON_PRESENT);
    r.user.consent = STR_NONE;
    int32_t sid = 2;
    r.regs.gpp = STR("DBABMA~x");
    r.regs.gpp_sid = (struct int_list){&sid, 1};
    CHECK_INT(identify(&r).absence, PERSON_PRESENT);
    sid = 7;
    CHECK_INT(identify(&r).absence, PERSON_NO_CONSENT);
    r = base, r.regs.us_privacy = STR("1YYN");
    CHECK_INT(identify(&r).absence, PERSON_NO_CONSENT);
    r.regs.us_privacy = STR("1YNN");
    CHECK_INT(identify(&r).absence, PERSON_PRESENT);
    r.regs.us_privacy = STR("1---");
    CHECK_INT(identify(&r).absence, PERSON_PRESENT);
    r = base, r.regs.gpc = 1;
    CHECK_INT(identify(&r).absence, PERSON_NO_CONSENT);
    r = base, r.device.ifa = STR_NONE;
    CHECK_INT(identify(&r).absence, PERSON_NO_ID);
    CHECK(identify(&r).has_household);
}

TEST(household_is_the_device_or_its_address)
{
    struct bid_request request = blank();
    struct bidreq_ext items[] = {{STR("device.ext.tv"), STR("tv-9")}};
    request.ext.items = items;
    request.ext.count = 1;
    request.device.ip = STR("203.0.113.9");
    struct person tv = identify(&request);
    struct person_key key;
    CHECK(tv.has_household);
    CHECK(person_household_key_of(&secret, STR("device"), STR("tv-9"), &key));
    CHECK(same(&tv.household, &key));
    CHECK(person_key_of(&secret, STR("device"), STR("tv-9"), &key));
    CHECK(!same(&tv.household, &key)); /* as a person's id it is another record */
    request.ext.count = 0;
    struct person by_ip = identify(&request);
    CHECK(by_ip.has_household && !same(&by_ip.household, &tv.household));
    static const char *const no_home[] = {"10.1.2.3",    "192.168.0.7", "127.0.0.1",
                                          "203.0.113.0", "172.20.1.1",  "fe80::1",
                                          "::1",         "hello",       "300.1.1.1"};
    for (size_t i = 0; i < sizeof(no_home) / sizeof(no_home[0]); i++) {
        request.device.ip = str_from(no_home[i]);
        if (identify(&request).has_household) {
            TEST_FAIL("a household at %s", no_home[i]);
        }
    }
    request.device.ip = STR_NONE;
    request.device.ipv6 = STR("2001:db8:1:2:3:4:5:6");
    struct person first = identify(&request);
    request.device.ipv6 = STR("2001:DB8:1:2::ffff"); /* the same /64 */
    struct person second = identify(&request);
    CHECK(first.has_household && same(&first.household, &second.household));
}

TEST(every_absence_has_a_name)
{
    for (int i = 0; i < PERSON_ABSENCE_COUNT; i++) {
        CHECK(person_absence_name((enum person_absence)i)[0] != '?');
    }
}

TEST(typed_ids_are_split)
{
    static const struct {
        const char *text, *type, *id;
    } cases[] = {
        {"ifa:a-1", "ifa", "a-1"},
        {"ip:2001:db8::1", "ip", "2001:db8::1"},
        {"buyeruid@x:b:1", "buyeruid@x", "b:1"},
        {"eid:login.example:u-1", "eid:login.example", "u-1"},
    };
    struct str type, id;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        CHECK(person_split_typed(str_from(cases[i].text), &type, &id));
        CHECK_STR(type, cases[i].type);
        CHECK_STR(id, cases[i].id);
        CHECK(person_type_is_known(type));
    }
    CHECK(person_type_is_known(STR("oaid_md5")) && person_type_is_known(STR("did_sha1")));
    CHECK(!person_type_is_known(STR("ifaa")) && !person_type_is_known(STR("")));
    static const char *const bad[] = {"", "ifa", "ifa:", ":a", "eid:a", "eid:a:", ":"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        if (person_split_typed(str_from(bad[i]), &type, &id)) {
            TEST_FAIL("taken: \"%s\"", bad[i]);
        }
    }
}
