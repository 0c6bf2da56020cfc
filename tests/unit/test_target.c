/* target_find against its oracle target_explain over random catalogs and requests, and the rules
 * one by one. */
#include "bidder/target.h"

#include <math.h>

#include "bidder/base/prng.h"
#include "bidder/target_rules.h"
#include "tests/test.h"

#define NOW INT64_C(1764000000)

static struct prng prng;

static uint64_t below(uint64_t bound)
{
    return prng_below(&prng, bound);
}

static bool chance(uint32_t percent)
{
    return below(100) < percent;
}

#define PICK(array) str_from((array)[below(sizeof(array) / sizeof((array)[0]))])

static const char *const words_country[] = {"CHN", "chn", "USA", "JPN"};
static const char *const words_region[] = {"31", "310000", "CN-31", "Guangdong", "44", "440000"};
static const char *const words_city[] = {"Shanghai", "shanghai", "310100", "3101", "Shenzhen"};
static const char *const words_os[] = {"android", "Android", "iOS", "ios", " harmony "};
static const char *const words_media[] = {"com.qiyi.video",   "a.example", "x.a.example",
                                          "www.a.example",    "b.example", "X.A.Example.",
                                          "deep.x.a.example", "example",   "xa.example"};
static const char *const words_category[] = {"IAB1", "IAB1-6", "iab1-6", "IAB2", "IAB2-2", "52"};
static const char *const words_language[] = {"zh", "zh-cn", "zh-hans-cn", "en", "ZH-CN", "en_US"};
static const char *const words_deal[] = {"d0", "d1", "d2", "d3", "d4", "unknown"};

static struct str_list list_of(struct arena *arena, const char *const *words, uint32_t word_count,
                               uint32_t max)
{
    struct str_list list = {.count = (uint32_t)below(max + 1)};
    list.items = arena_calloc(arena, list.count + 1, sizeof(*list.items));
    for (uint32_t i = 0; i < list.count; i++) {
        list.items[i] = str_from(words[below(word_count)]);
    }
    return list;
}
#define LIST(arena, words, max) list_of(arena, words, sizeof(words) / sizeof((words)[0]), max)

/* Planners' lists are lower-case where the contract says so; here they come as they come. */
static struct str_list sometimes(struct arena *arena, const char *const *words, uint32_t count,
                                 uint32_t percent)
{
    return chance(percent) ? list_of(arena, words, count, 3) : (struct str_list){0};
}
#define SOMETIMES(arena, words, percent)                                                           \
    sometimes(arena, words, sizeof(words) / sizeof((words)[0]), percent)

/* --- random catalogs ----------------------------------------------------------------------- */

static int64_t random_degrees(int64_t span_micro)
{
    return (int64_t)below((uint64_t)(2 * span_micro + 1)) - span_micro;
}

static void random_circles(struct arena *arena, struct targeting *t)
{
    static const int64_t radii[] = {100, 5000, 49999, 50001, 300000, 999999, 1500000, 12000000};
    t->circle_count = (uint32_t)below(3) + 1;
    t->circles = arena_calloc(arena, t->circle_count, sizeof(*t->circles));
    for (uint32_t i = 0; i < t->circle_count; i++) {
        bool near_shanghai = chance(50);
        t->circles[i] = (struct geo_circle){
            near_shanghai ? 31230000 + random_degrees(500000) : random_degrees(90000000),
            near_shanghai ? 121470000 + random_degrees(500000) : random_degrees(180000000),
            radii[below(8)]};
    }
}

static void random_targeting(struct arena *arena, struct targeting *t, uint32_t exchange_count)
{
    if (chance(30)) {
        uint32_t *items = arena_calloc(arena, 2, sizeof(*items));
        items[0] = (uint32_t)below(exchange_count);
        items[1] = (uint32_t)below(exchange_count);
        t->exchanges = (struct index_list){items, 1 + (uint32_t)below(2)};
    }
    t->countries = SOMETIMES(arena, words_country, 15);
    t->regions = SOMETIMES(arena, words_region, 15);
    t->cities = SOMETIMES(arena, words_city, 15);
    if (chance(15)) {
        random_circles(arena, t);
    }
    t->devices = chance(30) ? (uint32_t)below(256) : 0;
    t->connections = chance(20) ? (uint32_t)below(256) : 0;
    t->os = SOMETIMES(arena, words_os, 20);
    t->media_allow = SOMETIMES(arena, words_media, 20);
    t->media_deny = SOMETIMES(arena, words_media, 20);
    t->categories_allow = SOMETIMES(arena, words_category, 20);
    t->categories_deny = SOMETIMES(arena, words_category, 20);
    t->cattax = (int32_t)below(3);
    t->languages = SOMETIMES(arena, words_language, 20);
    if (chance(20)) {
        for (size_t i = 0; i < sizeof(t->dayparts); i++) {
            t->dayparts[i] = (uint8_t)below(256);
        }
    }
}

static void random_line(struct catalog *catalog, struct catalog_line *line)
{
    struct arena *arena = &catalog->arena;
    *line = (struct catalog_line){.buying = (enum buying_mode)below(4)};
    line->enabled = chance(95);
    line->start_s = NOW + random_degrees(5000) - 4000;
    line->end_s = line->start_s + (int64_t)below(20000);
    if (chance(40)) {
        uint32_t *deals = arena_calloc(arena, 3, sizeof(*deals));
        line->deals = (struct index_list){deals, 1 + (uint32_t)below(3)};
        for (uint32_t i = 0; i < 3; i++) {
            deals[i] = (uint32_t)below(catalog->deal_count);
        }
    }
    line->creative_count = (uint32_t)below(4);
    line->creatives = arena_calloc(arena, 4, sizeof(*line->creatives));
    for (uint32_t i = 0; i < line->creative_count; i++) {
        line->creatives[i].creative = (uint32_t)below(catalog->creative_count);
    }
    random_targeting(arena, &line->targeting, catalog->exchange_count);
}

static struct tz_transition zone[] = {
    {INT64_MIN, 28800}, {NOW - 7000, 32400}, {NOW + 1234, 28800 - 900}};

static void random_catalog(struct catalog *catalog, uint32_t line_count)
{
    static const int32_t sizes[][2] = {{300, 250}, {728, 90}, {600, 500}, {320, 50}};
    *catalog = (struct catalog){.tz = {.name = STR("Test"), .transitions = zone, .count = 3}};
    if (!arena_init(&catalog->arena, 1 << 16, 1 << 28)) {
        abort();
    }
    struct arena *arena = &catalog->arena;
    catalog->exchange_count = 3;
    catalog->exchanges = arena_calloc(arena, 3, sizeof(*catalog->exchanges));
    catalog->deal_count = 9; /* d0..d2 on each of three exchanges, then d3, d4 ... on some */
    catalog->deals = arena_calloc(arena, 9, sizeof(*catalog->deals));
    catalog->next_deal = arena_calloc(arena, 9, sizeof(*catalog->next_deal));
    if (!str_table_init(&catalog->deal_by_id, arena, 9)) {
        abort();
    }
    for (uint32_t i = 0; i < 9; i++) {
        uint32_t id = i / 2;
        catalog->deals[i].id = str_from(words_deal[id]);
        catalog->deals[i].exchange = i % 2;
        catalog->next_deal[i] = i % 2 == 0 && i + 1 < 9 ? i + 1 : CATALOG_NONE;
        str_table_add(&catalog->deal_by_id, catalog->deals[i].id, i);
    }
    catalog->creative_count = 8;
    catalog->creatives = arena_calloc(arena, 8, sizeof(*catalog->creatives));
    for (uint32_t i = 0; i < 8; i++) {
        catalog->creatives[i].type = i < 4 ? CREATIVE_BANNER : (enum creative_type)(i % 4);
        catalog->creatives[i].w = sizes[i % 4][0];
        catalog->creatives[i].h = sizes[i % 4][1];
    }
    catalog->line_count = line_count;
    catalog->lines = arena_calloc(arena, line_count + 1, sizeof(*catalog->lines));
    for (uint32_t i = 0; i < line_count; i++) {
        random_line(catalog, &catalog->lines[i]);
    }
    CHECK_INT(target_index_build(catalog), STATUS_OK);
}

/* --- random requests ----------------------------------------------------------------------- */

static void random_banner(struct arena *arena, struct bidreq_banner *banner)
{
    static const struct bidreq_size sizes[] = {
        {.w = 300, .h = 250},       {.w = 728, .h = 90}, {.wratio = 6, .hratio = 5, .wmin = 301},
        {.wratio = 6, .hratio = 5}, {.w = 1, .h = 1},    {0}};
    if (chance(40)) {
        banner->w = 300;
        banner->h = 250;
    }
    banner->format.count = (uint32_t)below(4);
    banner->format.items = arena_calloc(arena, 4, sizeof(*banner->format.items));
    for (uint32_t i = 0; i < banner->format.count; i++) {
        banner->format.items[i] = sizes[below(6)];
    }
}

static void random_imp(struct arena *arena, struct bidreq_imp *imp)
{
    if (chance(60)) {
        imp->banner = arena_calloc(arena, 1, sizeof(*imp->banner));
        random_banner(arena, imp->banner);
    }
    imp->video = chance(50) ? arena_calloc(arena, 1, sizeof(*imp->video)) : NULL;
    imp->audio = chance(20) ? arena_calloc(arena, 1, sizeof(*imp->audio)) : NULL;
    if (chance(30)) {
        imp->native = arena_calloc(arena, 1, sizeof(*imp->native));
        imp->native->malformed = chance(20);
    }
    imp->private_auction = chance(20);
    imp->deals.count = (uint32_t)below(4);
    imp->deals.items = arena_calloc(arena, 4, sizeof(*imp->deals.items));
    for (uint32_t i = 0; i < imp->deals.count; i++) {
        imp->deals.items[i].id = PICK(words_deal);
    }
}

static void random_request(struct arena *arena, struct bid_request *request)
{
    *request = (struct bid_request){0};
    request->imp.count = 1 + (uint32_t)below(3);
    request->imp.items = arena_calloc(arena, 3, sizeof(*request->imp.items));
    for (uint32_t i = 0; i < request->imp.count; i++) {
        random_imp(arena, &request->imp.items[i]);
    }
    struct bidreq_media *media = &request->media;
    media->bundle = chance(40) ? PICK(words_media) : STR_NONE;
    media->domain = chance(60) ? PICK(words_media) : STR_NONE;
    media->page = chance(50) ? STR("https://u@deep.x.a.example:8080/p?q#f") : STR_NONE;
    media->cattax = 1 + (int32_t)below(2);
    media->content_cattax = 1 + (int32_t)below(2);
    media->cat = LIST(arena, words_category, 2);
    media->sectioncat = LIST(arena, words_category, 1);
    media->pagecat = LIST(arena, words_category, 1);
    media->content_cat = LIST(arena, words_category, 2);
    media->content_language = chance(50) ? PICK(words_language) : STR_NONE;
    struct bidreq_device *device = &request->device;
    device->language = chance(60) ? PICK(words_language) : STR_NONE;
    device->os = chance(80) ? PICK(words_os) : STR_NONE;
    device->devicetype = (int32_t)below(9) - (chance(2) ? 5 : 0) + (chance(2) ? 40 : 0);
    device->connectiontype = (int32_t)below(8);
    device->geo.country = chance(70) ? PICK(words_country) : STR_NONE;
    device->geo.region = chance(70) ? PICK(words_region) : STR_NONE;
    device->geo.city = chance(70) ? PICK(words_city) : STR_NONE;
    device->geo.has_point = chance(60);
    bool near_shanghai = chance(50);
    device->geo.lat_micro = near_shanghai ? 31230000 + random_degrees(500000)
                                          : random_degrees(chance(5) ? 200000000 : 90000000);
    device->geo.lon_micro = near_shanghai ? 121470000 + random_degrees(500000)
                            : chance(10)  ? 180000000 * (chance(50) ? 1 : -1)
                                          : random_degrees(180000000);
}

/* --- the property -------------------------------------------------------------------------- */

struct tally {
    uint64_t asked, matches, misses[TARGET_MISS_COUNT];
};

static bool compare(const struct catalog *catalog, struct arena *arena,
                    struct target_request *prepared, uint32_t exchange,
                    const struct bid_request *request, const struct bidreq_imp *imp, int64_t now_s,
                    struct tally *tally)
{
    static uint32_t lines[4096];
    bool truncated;
    struct imp_deals deals;
    CHECK(imp_deals_resolve(&deals, catalog, exchange, imp, arena));
    uint32_t found = target_find(catalog, prepared, &deals, lines, 4096, &truncated), at = 0;
    CHECK(!truncated);
    for (uint32_t line = 0; line < catalog->line_count; line++) {
        enum target_miss miss = target_explain(catalog, exchange, request, imp, line, now_s, NULL);
        bool listed = at < found && lines[at] == line;
        at += listed;
        tally->asked++;
        tally->misses[miss]++;
        if (listed != (miss == TARGET_OK)) {
            TEST_FAIL("line %u: found %d, explained %s", line, listed, target_miss_name(miss));
            return false;
        }
    }
    tally->matches += found;
    CHECK_INT(at, found);
    return at == found;
}

static bool compare_request(const struct catalog *catalog, struct arena *arena, struct tally *tally)
{
    struct bid_request request;
    arena_reset(arena);
    random_request(arena, &request);
    uint32_t exchange = (uint32_t)below(catalog->exchange_count);
    int64_t now_s = NOW + random_degrees(chance(50) ? 10 : 20000);
    struct target_request *prepared =
        target_request_prepare(catalog, exchange, &request, now_s, arena);
    CHECK(prepared != NULL);
    for (uint32_t i = 0; prepared && i < request.imp.count; i++) {
        if (!compare(catalog, arena, prepared, exchange, &request, &request.imp.items[i], now_s,
                     tally)) {
            return false;
        }
    }
    return prepared != NULL;
}

TEST(find_says_what_explain_says)
{
    static const uint32_t sizes[] = {0, 1, 3, 10, 63, 64, 65, 200, 1000, 3000};
    struct tally tally = {0};
    struct arena arena;
    CHECK(arena_init(&arena, 1 << 16, 1 << 22));
    for (uint64_t seed = 1; seed <= 120; seed++) {
        prng.state = seed;
        struct catalog catalog;
        uint32_t line_count = sizes[seed % 10];
        random_catalog(&catalog, line_count);
        uint32_t rounds = line_count > 500 ? 10 : 60;
        bool ok = true;
        for (uint32_t i = 0; ok && i < rounds; i++) {
            ok = compare_request(&catalog, &arena, &tally);
        }
        arena_deinit(&catalog.arena);
        if (!ok) {
            TEST_FAIL("seed %d", (int)seed);
            break;
        }
    }
    arena_deinit(&arena);
    CHECK(tally.asked > 1000000);
    for (int miss = 0; miss < TARGET_MISS_COUNT; miss++) { /* no dimension goes untested */
        if (tally.misses[miss] < 500) {
            TEST_FAIL("%s seen %d times only", target_miss_name((enum target_miss)miss),
                      (int)tally.misses[miss]);
        }
    }
}

/* A point at a bearing and distance from the circle's centre. */
static void point_near(const struct geo_circle *circle, double metres, double bearing,
                       struct bidreq_geo *geo)
{
    const double to_radians = 3.14159265358979323846 / 180e6, delta = metres / 6371008.8;
    double phi = (double)circle->lat_micro * to_radians;
    double lambda = (double)circle->lon_micro * to_radians;
    double sine = sin(phi) * cos(delta) + cos(phi) * sin(delta) * cos(bearing);
    lambda += atan2(sin(bearing) * sin(delta) * cos(phi), cos(delta) - sin(phi) * sine);
    geo->has_point = true;
    geo->lat_micro = (int64_t)(asin(sine) / to_radians);
    geo->lon_micro = (int64_t)(lambda / to_radians);
    geo->lon_micro += geo->lon_micro > 180000000    ? -360000000
                      : geo->lon_micro < -180000000 ? 360000000
                                                    : 0;
}

TEST(the_grid_misses_no_point_of_a_circle)
{
    struct catalog catalog;
    struct arena arena;
    prng.state = 17;
    CHECK(arena_init(&arena, 1 << 16, 1 << 20));
    random_catalog(&catalog, 1);
    struct geo_circle circle;
    struct line_creative creative = {.creative = 0};
    catalog.lines[0] = (struct catalog_line){
        .enabled = true, .end_s = INT64_MAX, .creatives = &creative, .creative_count = 1};
    catalog.lines[0].targeting.circles = &circle;
    catalog.lines[0].targeting.circle_count = 1;
    struct bidreq_banner banner = {.w = 300, .h = 250};
    struct bidreq_imp imp = {.banner = &banner};
    struct bid_request request = {.imp = {&imp, 1}};
    struct tally tally = {0};
    static const int64_t radii[] = {10, 1000, 49999, 50000, 50001, 400000, 1000000, 3000000};
    for (int i = 0; i < 400; i++) {
        int64_t edge = chance(20) ? 180000000 : random_degrees(180000000);
        circle = (struct geo_circle){random_degrees(90000000), edge, radii[below(8)]};
        CHECK_INT(target_index_build(&catalog), STATUS_OK);
        for (int k = 0; k < 64; k++) {
            double metres = (double)circle.radius_m * (0.97 + 0.04 * prng_unit(&prng));
            point_near(&circle, metres, 6.2831853 * prng_unit(&prng), &request.device.geo);
            arena_reset(&arena);
            struct target_request *prepared =
                target_request_prepare(&catalog, 0, &request, NOW, &arena);
            compare(&catalog, &arena, prepared, 0, &request, &imp, NOW, &tally);
        }
    }
    CHECK(tally.misses[TARGET_OK] > 10000 && tally.misses[TARGET_GEO] > 3000);
    arena_deinit(&catalog.arena);
    arena_deinit(&arena);
}

TEST(what_the_clock_says_is_forgotten_in_time)
{
    struct catalog catalog;
    struct arena arena;
    struct tally tally = {0};
    prng.state = 23;
    CHECK(arena_init(&arena, 1 << 16, 1 << 20));
    random_catalog(&catalog, 120);
    for (uint32_t i = 0; i < 120; i++) { /* the clock alone decides */
        struct catalog_line *line = &catalog.lines[i];
        uint8_t dayparts[21];
        memcpy(dayparts, line->targeting.dayparts, 21);
        line->targeting = (struct targeting){0};
        memcpy(line->targeting.dayparts, dayparts, 21);
        line->deals.count = 0;
        line->creative_count = 1;
        line->creatives[0].creative = 0;
        line->end_s += chance(50) ? 1000000 : 0;
    }
    CHECK_INT(target_index_build(&catalog), STATUS_OK);
    struct bidreq_banner banner = {.w = 300, .h = 250};
    struct bidreq_imp imp = {.banner = &banner};
    struct bid_request request = {.imp = {&imp, 1}};
    for (int64_t now_s = NOW - 15000; now_s < NOW + 25000; now_s += 1 + (int64_t)below(9)) {
        arena_reset(&arena);
        struct target_request *prepared =
            target_request_prepare(&catalog, 0, &request, now_s, &arena);
        if (!compare(&catalog, &arena, prepared, 0, &request, &imp, now_s, &tally)) {
            break;
        }
    }
    CHECK(tally.misses[TARGET_OK] && tally.misses[TARGET_DATES] && tally.misses[TARGET_DAYPART]);
    arena_deinit(&catalog.arena);
    arena_deinit(&arena);
}

TEST(too_many_matches_are_counted_and_the_first_modes_kept)
{
    struct catalog catalog;
    struct arena arena;
    prng.state = 99;
    CHECK(arena_init(&arena, 1 << 16, 1 << 20));
    random_catalog(&catalog, 300);
    for (uint32_t i = 0; i < 300; i++) { /* all want everything; every third is guaranteed */
        struct catalog_line *line = &catalog.lines[i];
        *line = (struct catalog_line){.enabled = true, .end_s = INT64_MAX, .creative_count = 1};
        line->buying = i % 3 ? BUYING_RTB : BUYING_PDB;
        line->creatives = arena_calloc(&catalog.arena, 1, sizeof(*line->creatives));
        line->creatives[0].creative = 0;
    }
    CHECK_INT(target_index_build(&catalog), STATUS_OK);
    struct bidreq_banner banner = {.w = 300, .h = 250};
    struct bidreq_imp imp = {.banner = &banner};
    struct bid_request request = {.imp = {&imp, 1}};
    struct target_request *prepared = target_request_prepare(&catalog, 0, &request, NOW, &arena);
    uint32_t lines[100];
    bool truncated = false;
    struct imp_deals deals;
    CHECK(imp_deals_resolve(&deals, &catalog, 0, &imp, &arena));
    CHECK_INT(target_find(&catalog, prepared, &deals, lines, 100, &truncated), 100);
    CHECK(truncated);
    for (uint32_t i = 0; i < 100; i++) {
        CHECK_INT(lines[i], 3 * i);
    }
    arena_deinit(&catalog.arena);
    arena_deinit(&arena);
}

TEST(a_full_arena_finds_nothing_and_says_so)
{
    struct catalog catalog;
    prng.state = 5;
    random_catalog(&catalog, 200);
    struct arena big;
    CHECK(arena_init(&big, 1 << 16, 1 << 20));
    struct bid_request request;
    random_request(&big, &request);
    uint32_t lines[256];
    bool truncated, refused = false, cut = false, whole = false;
    for (size_t bytes = 64; bytes < 8192; bytes += 16) {
        struct arena arena;
        CHECK(arena_init(&arena, bytes, bytes));
        struct target_request *prepared =
            target_request_prepare(&catalog, 0, &request, NOW, &arena);
        struct imp_deals deals;
        if (prepared && imp_deals_resolve(&deals, &catalog, 0, &request.imp.items[0], &arena)) {
            target_find(&catalog, prepared, &deals, lines, 256, &truncated);
            cut |= truncated;
            whole |= !truncated;
        } else {
            refused = true;
        }
        arena_deinit(&arena);
    }
    CHECK(refused && cut && whole);
    arena_deinit(&big);
    arena_deinit(&catalog.arena);
}

TEST(index_survives_a_full_catalog_arena)
{
    struct catalog catalog;
    prng.state = 6;
    random_catalog(&catalog, 100);
    size_t limit = catalog.arena.limit_bytes;
    int refused = 0;
    for (size_t room = 0; room < 40000; room += 1000) {
        catalog.arena.limit_bytes = catalog.arena.total_bytes + room;
        refused += target_index_build(&catalog) == STATUS_NO_MEMORY;
    }
    CHECK(refused > 0);
    catalog.arena.limit_bytes = limit;
    CHECK_INT(target_index_build(&catalog), STATUS_OK);
    arena_deinit(&catalog.arena);
}

/* --- rules --------------------------------------------------------------------------------- */

TEST(places_meet_in_codes_and_names)
{
    static const struct {
        const char *place, *key;
    } cases[] = {{"310000", "31"},
                 {"CN-31", "31"},
                 {"31", "31"},
                 {"310100", "3101"},
                 {"3100", "31"},
                 {"000000", "00"},
                 {"Shanghai", "shanghai"},
                 {" Hong Kong ", "hong kong"},
                 {"12345", "12345"},
                 {"", ""},
                 {"\xe4\xb8\x8a\xe6\xb5\xb7", "\xe4\xb8\x8a\xe6\xb5\xb7"}};
    char key[TARGET_KEY_MAX];
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        CHECK_STR(target_place_key(str_from(cases[i].place), key), cases[i].key);
    }
    char too_long[300];
    memset(too_long, 'x', sizeof(too_long));
    CHECK_INT(target_place_key((struct str){too_long, sizeof(too_long)}, key).len, 0);
}

TEST(distances_are_those_of_the_globe)
{
    /* One degree of latitude on the mean sphere: 2 pi 6371008.8 / 360 = 111195.08 m. */
    CHECK_INT((int64_t)target_distance_m(0, 0, 1000000, 0), 111195);
    CHECK_INT((int64_t)target_distance_m(0, 179500000, 0, -179500000), 111195);
    CHECK_INT((int64_t)target_distance_m(60000000, 0, 60000000, 1000000) / 10, 5559);
    CHECK_INT((int64_t)target_distance_m(90000000, 0, -90000000, 0), 20015114);
    CHECK_INT((int64_t)target_distance_m(31230000, 121470000, 31230000, 121470000), 0);
}

TEST(domains_come_from_the_site_or_its_page)
{
    struct bidreq_media media = {.page = STR("https://user@News.A.example:8080/x?y")};
    CHECK_STR(target_domain(&media), "News.A.example");
    media.page = STR("a.example?x");
    CHECK_STR(target_domain(&media), "a.example");
    media.domain = STR(" b.example. ");
    CHECK_STR(target_domain(&media), "b.example");
}

TEST(explain_names_the_values_compared)
{
    struct catalog catalog;
    prng.state = 31;
    random_catalog(&catalog, 400);
    struct arena arena;
    struct buf detail;
    CHECK(arena_init(&arena, 1 << 16, 1 << 22));
    buf_init(&detail, 1 << 16);
    for (int round = 0; round < 30; round++) {
        struct bid_request request;
        arena_reset(&arena);
        random_request(&arena, &request);
        for (uint32_t line = 0; line < catalog.line_count; line++) {
            buf_reset(&detail);
            enum target_miss miss =
                target_explain(&catalog, 1, &request, &request.imp.items[0], line, NOW, &detail);
            bool plain = miss == TARGET_OK || miss == TARGET_DISABLED || miss == TARGET_EXCHANGE;
            CHECK((detail.len == 0) == plain);
            CHECK(!buf_failed(&detail));
            const struct targeting *targeting = &catalog.lines[line].targeting;
            if (miss == TARGET_OK) {
                CHECK(target_matches(&catalog, targeting, 1, &request, NOW));
            } else if (miss > TARGET_FORMAT || miss == TARGET_EXCHANGE) {
                CHECK(!target_matches(&catalog, targeting, 1, &request, NOW));
            }
        }
    }
    buf_deinit(&detail);
    arena_deinit(&arena);
    arena_deinit(&catalog.arena);
}
