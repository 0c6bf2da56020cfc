/* What a loaded catalog holds: the shipped sample, lookups, money, audiences, caps, budgets, rows
 * that stay over reloads. */
#include "bidder/catalog.h"

#include "bidder/base/clock.h"
#include "bidder/catalog_reader.h"
#include "tests/test.h"
#include "tests/unit/catalog_text.h"

#define HEAD "{\"timezone\":\"Asia/Shanghai\",\"currency\":\"CNY\""

static const struct catalog *load_good(struct loaded *loaded, const char *text)
{
    load_text(loaded, str_from(text));
    if (!loaded->catalog) {
        TEST_FAIL("does not load: %.*s", STR_ARG(loaded->printed));
    }
    return loaded->catalog;
}

TEST(sample_loads)
{
    struct loaded loaded;
    load_file(&loaded, "deploy/catalog.json");
    CHECK_INT(loaded.status, STATUS_OK);
    CHECK_STR(loaded.printed, "");
    const struct catalog *catalog = loaded.catalog;
    if (catalog) {
        CHECK_INT(catalog->exchange_count, 9);
        CHECK_INT(catalog->brand_count, 4);
        CHECK_INT(catalog->line_count, 12);
        CHECK_INT(catalog->generation, 1);
        CHECK_INT(catalog->references, 1);
        uint32_t iqiyi = str_table_get(&catalog->exchange_by_id, STR("iqiyi"));
        uint32_t pdb = catalog_find_deal(catalog, iqiyi, STR("PDB-2026-IQ-001"));
        uint32_t pd = catalog_find_deal(catalog, iqiyi, STR("PD-2026-IQ-017"));
        CHECK(pdb != CATALOG_NONE && pd != CATALOG_NONE);
        CHECK_INT(catalog->deals[pdb].buying, BUYING_PDB);
        CHECK_INT(catalog->deals[pdb].cpm_micros, 25000000);
        CHECK_INT(catalog->deals[pdb].push_ratio_micros, 1500000);
        CHECK_INT(catalog->deals[pdb].lines.count, 3); /* the rotation's three brands */
        CHECK_INT(catalog->deals[pd].cpm_micros, 18500000);
        for (uint32_t i = 0; i < catalog->line_count; i++) { /* works for years */
            CHECK(catalog->lines[i].start_s <= 1767200400);  /* 2026-01-01 01:00 in Shanghai */
            CHECK(catalog->lines[i].end_s >= 2082700000);    /* 2035-12-31 */
        }
    }
    unload(&loaded);
}

TEST(deals_of_one_id_on_several_exchanges)
{
    struct loaded loaded;
    const struct catalog *catalog = load_good(
        &loaded, HEAD
        ",\"exchanges\":[{\"id\":\"x\"},{\"id\":\"y\"},{\"id\":\"z\"}],\"deals\":["
        "{\"id\":\"d\",\"exchange\":\"x\",\"buying\":\"pd\"},"
        "{\"id\":\"other\",\"exchange\":\"x\",\"buying\":\"pd\"},"
        "{\"id\":\"d\",\"exchange\":\"y\",\"buying\":\"pd\",\"cpm\":\"7.5\"}],"
        "\"advertisers\":[{\"id\":\"a\",\"domain\":\"a.example\",\"brands\":[{\"id\":\"b\"}]}],"
        "\"creatives\":[{\"id\":\"i\",\"type\":\"banner\",\"w\":1,\"h\":1,\"image\":\"https://"
        "i.example/\",\"landing\":\"https://l.example/\"}],"
        "\"campaigns\":[{\"id\":\"c\",\"brand\":\"b\",\"start\":\"2026-01-01\",\"end\":"
        "\"2099-01-01\",\"line_items\":[{\"id\":\"l\",\"buying\":\"pd\",\"deals\":[\"y/d\"],"
        "\"creatives\":[\"i\"]}]}]}");
    if (catalog) {
        CHECK_INT(catalog_find_deal(catalog, 0, STR("d")), 0);
        CHECK_INT(catalog_find_deal(catalog, 1, STR("d")), 2);
        CHECK_INT(catalog_find_deal(catalog, 2, STR("d")), CATALOG_NONE);
        CHECK_INT(catalog_find_deal(catalog, 1, STR("other")), CATALOG_NONE);
        CHECK_INT(catalog_find_deal(catalog, 0, STR("y/d")), CATALOG_NONE);
        CHECK_INT(catalog->lines[0].deals.count, 1);
        CHECK_INT(catalog->lines[0].deals.items[0], 2);
        CHECK_INT(catalog->deals[0].lines.count, 0);
        CHECK_INT(catalog->deals[2].lines.items[0], 0);
        CHECK_INT(catalog->deals[2].cpm_micros, 7500000);
    }
    unload(&loaded);
}

TEST(currencies_round_to_the_safe_side)
{
    struct loaded loaded;
    const struct catalog *catalog =
        load_good(&loaded, HEAD ",\"currencies\":{\"USD\":\"7.123457\",\"JPY\":0.05}}");
    int64_t out = -1;
    if (catalog) {
        CHECK(catalog_to_own_currency(catalog, STR("CNY"), 123, &out) && out == 123);
        CHECK(catalog_to_own_currency(catalog, STR("USD"), 1000000, &out) && out == 7123457);
        CHECK(catalog_to_own_currency(catalog, STR("USD"), 1, &out) && out == 8);  /* 7.12 up */
        CHECK(catalog_to_own_currency(catalog, STR("JPY"), 1, &out) && out == 1);  /* 0.05 up */
        CHECK(catalog_to_own_currency(catalog, STR("JPY"), 20, &out) && out == 1); /* exactly */
        CHECK(catalog_to_own_currency(catalog, STR("JPY"), -1, &out) && out == 0);
        CHECK(catalog_from_own_currency(catalog, STR("USD"), 7123457, &out) && out == 1000000);
        CHECK(catalog_from_own_currency(catalog, STR("USD"), 7123456, &out) && out == 999999);
        CHECK(catalog_from_own_currency(catalog, STR("JPY"), 1, &out) && out == 20);
        CHECK(!catalog_to_own_currency(catalog, STR("EUR"), 1, &out));
        CHECK(!catalog_to_own_currency(catalog, STR("usd"), 1, &out));
        CHECK(!catalog_from_own_currency(catalog, STR(""), 1, &out));
        CHECK(!catalog_to_own_currency(catalog, STR("USD"), INT64_MAX / 2, &out));
        CHECK(!catalog_from_own_currency(catalog, STR("JPY"), INT64_MAX / 2, &out));
        /* There and back never pays more than was decided, whatever the amount. */
        for (int64_t micros = 0; micros < 200; micros++) {
            int64_t own, back;
            CHECK(catalog_from_own_currency(catalog, STR("USD"), micros, &back));
            CHECK(catalog_to_own_currency(catalog, STR("USD"), back, &own) && own <= micros);
        }
    }
    unload(&loaded);
}

/* Is a person with these letters as segments in audience i? */
static bool in(const struct catalog *catalog, uint32_t audience, const char *segments)
{
    uint32_t refs[8], count = 0;
    for (; segments[count]; count++) {
        uint32_t ref = cap_ref32((struct str){segments + count, 1}), at = count;
        for (; at > 0 && refs[at - 1] > ref; at--) {
            refs[at] = refs[at - 1];
        }
        refs[at] = ref;
    }
    return audience_expr_matches(catalog, &catalog->audiences[audience].expr, refs, count);
}

TEST(audiences)
{
    struct loaded loaded;
    const struct catalog *catalog = load_good(
        &loaded, HEAD ",\"audiences\":["
                      "{\"id\":\"outer\",\"any_audiences\":[\"ab\",\"c-not-d\"],\"none_audiences\":"
                      "[\"e\"]},"
                      "{\"id\":\"ab\",\"all\":[\"a\",\"b\"]},"
                      "{\"id\":\"c-not-d\",\"any\":[\"c\"],\"none\":[\"d\"]},"
                      "{\"id\":\"e\",\"any\":[\"e\"]},"
                      "{\"id\":\"all\",\"all_audiences\":[\"ab\",\"outer\"]}]}");
    if (catalog) {
        /* Nested ones come first: an audience only names smaller indexes. */
        CHECK_STR(catalog->audiences[0].id, "ab");
        CHECK_STR(catalog->audiences[1].id, "c-not-d");
        CHECK_STR(catalog->audiences[2].id, "e");
        CHECK_STR(catalog->audiences[3].id, "outer");
        CHECK_STR(catalog->audiences[4].id, "all");
        CHECK(in(catalog, 0, "ab") && in(catalog, 0, "abz"));
        CHECK(!in(catalog, 0, "a") && !in(catalog, 0, "") && !in(catalog, 0, "bz"));
        CHECK(in(catalog, 1, "c") && !in(catalog, 1, "cd") && !in(catalog, 1, ""));
        CHECK(in(catalog, 3, "ab") && in(catalog, 3, "c") && in(catalog, 3, "abcd"));
        CHECK(!in(catalog, 3, "abe") && !in(catalog, 3, "cd") && !in(catalog, 3, "e"));
        CHECK(in(catalog, 4, "ab") && !in(catalog, 4, "c") && !in(catalog, 4, "abe"));
    }
    unload(&loaded);
}

static const char caps_text[] = HEAD
    ",\"advertisers\":[{\"id\":\"a\",\"domain\":\"a.example\",\"frequency_caps\":[\"adv\"],"
    "\"brands\":[{\"id\":\"b\",\"frequency_caps\":[\"brand\"]}]}],"
    "\"frequency_caps\":["
    "{\"id\":\"line\",\"max\":1,\"window\":{\"rolling\":\"1h\"}},"
    "{\"id\":\"adv\",\"max\":9,\"window\":\"lifetime\"},"
    "{\"id\":\"brand\",\"max\":3,\"window\":{\"calendar\":\"week\"},\"identity\":\"household\"},"
    "{\"id\":\"creative\",\"min_interval\":\"90s\"},"
    "{\"id\":\"camp\",\"max\":2,\"window\":{\"calendar\":\"day\"}},"
    "{\"id\":\"named\",\"max\":7,\"window\":{\"calendar\":\"month\"},\"members\":{\"line_items\":"
    "[\"l2\"],\"creatives\":[\"i\"],\"campaigns\":[\"c\"],\"brands\":[\"b\"]}}],"
    "\"creatives\":[{\"id\":\"i\",\"type\":\"banner\",\"w\":1,\"h\":1,\"image\":\"https://"
    "i.example/\",\"landing\":\"https://l.example/\",\"frequency_caps\":[\"creative\"]}],"
    "\"campaigns\":[{\"id\":\"c\",\"brand\":\"b\",\"start\":\"2026-01-01\",\"end\":\"2099-01-01\","
    "\"frequency_caps\":[\"camp\"],\"budget\":{\"total\":\"90.5\",\"unit\":\"money\"},"
    "\"line_items\":["
    "{\"id\":\"l1\",\"buying\":\"rtb\",\"bid_cpm\":1,\"creatives\":[\"i\"],\"frequency_caps\":"
    "[\"line\",\"camp\"],\"budget\":{\"daily\":50,\"unit\":\"impressions\",\"hourly\":"
    "[1,1,1,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0]},\"end\":\"2026-12-31\"},"
    "{\"id\":\"l2\",\"buying\":\"rtb\",\"bid_cpm\":\"0.5\",\"creatives\":[\"i\"],\"enabled\":"
    "false}]}]}";

static void check_list(const uint32_t *items, uint32_t count, const char *expected)
{
    struct buf out;
    buf_init(&out, 256);
    for (uint32_t i = 0; i < count; i++) {
        buf_printf(&out, "%u ", items[i]);
    }
    CHECK_STR(buf_str(&out), expected);
    buf_deinit(&out);
}

/* Caps in the order of the file: 0 line, 1 adv, 2 brand, 3 creative, 4 camp, 5 named. */
TEST(caps_of_all_levels_apply_once)
{
    struct loaded loaded;
    const struct catalog *catalog = load_good(&loaded, caps_text);
    if (!catalog) {
        unload(&loaded);
        return;
    }
    check_list(catalog->advertisers[0].caps.items, catalog->advertisers[0].caps.count, "1 ");
    check_list(catalog->brands[0].caps.items, catalog->brands[0].caps.count, "2 5 ");
    check_list(catalog->campaigns[0].caps.items, catalog->campaigns[0].caps.count, "4 5 ");
    check_list(catalog->lines[0].caps.items, catalog->lines[0].caps.count, "0 1 2 4 5 ");
    check_list(catalog->lines[1].caps.items, catalog->lines[1].caps.count, "1 2 4 5 ");
    check_list(catalog->creatives[0].caps.items, catalog->creatives[0].caps.count, "3 5 ");
    struct exposure_refs refs = {.line = catalog->lines[0].ref,
                                 .brand = catalog->brands[0].ref,
                                 .creative = catalog->creatives[0].ref};
    struct cap_list caps = cap_book_of_line(&catalog->book, &refs);
    check_list(caps.items, caps.count, "0 1 2 4 5 ");
    refs.line = 12345; /* a line that is gone: its brand's */
    caps = cap_book_of_line(&catalog->book, &refs);
    check_list(caps.items, caps.count, "1 2 5 ");
    caps = cap_book_of_creative(&catalog->book, &refs);
    check_list(caps.items, caps.count, "3 5 ");
    CHECK_INT(catalog->caps[0].window_s, 3600);
    CHECK_INT(catalog->caps[1].window, CAP_LIFETIME);
    CHECK_INT(catalog->caps[2].window, CAP_CALENDAR_WEEK);
    CHECK_INT(catalog->caps[2].identity, CAP_HOUSEHOLD);
    CHECK_INT(catalog->caps[3].max, 0);
    CHECK_INT(catalog->caps[3].min_interval_s, 90);
    CHECK_INT(catalog->caps[5].window, CAP_CALENDAR_MONTH);
    CHECK_INT(catalog->book.retention_s, (int64_t)365 * 86400);
    unload(&loaded);
}

TEST(budgets_and_flights)
{
    struct loaded loaded;
    const struct catalog *catalog = load_good(&loaded, caps_text);
    if (!catalog) {
        unload(&loaded);
        return;
    }
    CHECK_INT(catalog->budget_count, 2);
    const struct catalog_line *first = &catalog->lines[0], *second = &catalog->lines[1];
    CHECK_INT(first->budgets.count, 2);
    CHECK_INT(second->budgets.count, 1);
    const struct catalog_budget *own = &catalog->budgets[first->budgets.items[0]];
    const struct catalog_budget *shared = &catalog->budgets[first->budgets.items[1]];
    CHECK_INT(second->budgets.items[0], first->budgets.items[1]);
    CHECK_STR(own->name, "line:l1");
    CHECK_INT(own->ref, cap_ref32(STR("impressions:line:l1")));
    CHECK(own->impressions && own->daily == 50 && own->total == 0);
    CHECK_INT(own->pacing, PACING_HOURLY);
    CHECK_INT(own->hourly_share[0], 3334); /* the rest goes to the first */
    CHECK_INT(own->hourly_share[1], 3333);
    CHECK_INT(own->hourly_share[3], 0);
    CHECK_INT(own->end_s, first->end_s);
    CHECK_STR(shared->name, "campaign:c");
    CHECK(!shared->impressions && shared->total == 90500000 && shared->daily == 0);
    CHECK_INT(shared->pacing, PACING_EVEN);
    /* Shanghai is eight hours ahead of UTC; an end is the midnight behind its day. */
    CHECK_INT(first->start_s, 1767196800);
    CHECK_INT(first->end_s, 1767196800 + (int64_t)365 * 86400);
    CHECK_INT(second->end_s, catalog->campaigns[0].end_s);
    CHECK(first->enabled && !second->enabled);
    CHECK_INT(second->bid_cpm_micros, 500000);
    CHECK(first->reserve && !first->shading && !first->sequence);
    unload(&loaded);
}

static bool hour_is_on(const struct targeting *targeting, int hour)
{
    return targeting->dayparts[hour / 8] >> hour % 8 & 1;
}

TEST(targeting_as_written)
{
    struct loaded loaded;
    const struct catalog *catalog = load_good(
        &loaded, HEAD
        ",\"advertisers\":[{\"id\":\"a\",\"domain\":\"A.Example\",\"brands\":[{\"id\":\"b\"}]}],"
        "\"creatives\":[{\"id\":\"i\",\"type\":\"banner\",\"w\":1,\"h\":1,\"image\":\"http://"
        "i.example/\",\"landing\":\"https://l.example/\"},"
        "{\"id\":\"v\",\"type\":\"native\",\"landing\":\"https://l.example/\",\"assets\":[{"
        "\"kind\":\"ctatext\",\"text\":\"Go\"},{\"kind\":\"icon\",\"url\":\"https://i.example/"
        "\",\"w\":1,\"h\":2}]}],"
        "\"campaigns\":[{\"id\":\"c\",\"brand\":\"b\",\"start\":\"2026-01-01\",\"end\":"
        "\"2099-01-01\",\"line_items\":[{\"id\":\"l\",\"buying\":\"rtb\",\"goal\":{\"cpa\":"
        "\"60.25\"},\"creatives\":[{\"id\":\"v\",\"weight\":3,\"targeting\":{\"os\":[\"iOS\"]}},"
        "\"i\"],\"no_id\":\"allow\",\"on_store_error\":\"allow\",\"targeting\":{"
        "\"geo\":{\"countries\":[\"chn\"],\"circles\":[{\"lat\":-33.5,\"lon\":\"121.4737\","
        "\"radius_m\":500}]},\"devices\":[\"tv\",\"phone\"],\"connections\":[\"wifi\"],"
        "\"languages\":[\"ZH\"],\"media\":{\"deny\":[\"com.x.App\"]},"
        "\"dayparts\":[{\"days\":\"sat-mon\",\"hours\":\"22-2\"},{\"days\":\"wed\"}]}}]}]}");
    if (!catalog) {
        unload(&loaded);
        return;
    }
    const struct catalog_line *line = &catalog->lines[0];
    const struct targeting *targeting = &line->targeting;
    CHECK_STR(catalog->advertisers[0].domain, "a.example");
    CHECK_STR(targeting->countries.items[0], "CHN");
    CHECK_STR(targeting->languages.items[0], "zh");
    CHECK_STR(targeting->media_deny.items[0], "com.x.App");
    CHECK_INT(targeting->circles[0].lat_micro, -33500000);
    CHECK_INT(targeting->circles[0].lon_micro, 121473700);
    CHECK_INT(targeting->devices, 1 << 3 | 1 << 4 | 1 << 1);
    CHECK_INT(targeting->connections, 1 << 2);
    CHECK(!targeting->has_audiences);
    CHECK(hour_is_on(targeting, 22) && hour_is_on(targeting, 0) && hour_is_on(targeting, 1));
    CHECK(!hour_is_on(targeting, 2) && !hour_is_on(targeting, 24 + 22));
    CHECK(hour_is_on(targeting, 2 * 24) && hour_is_on(targeting, 3 * 24 - 1));
    CHECK(hour_is_on(targeting, 5 * 24 + 23) && !hour_is_on(targeting, 4 * 24 + 23));
    CHECK_INT(line->goal, GOAL_CPA);
    CHECK_INT(line->goal_micros, 60250000);
    CHECK_INT(line->no_id, NO_ID_ALLOW);
    CHECK_INT(line->on_store_error, STORE_ERROR_ALLOW);
    CHECK_INT(line->creative_count, 2);
    CHECK_INT(line->creatives[0].weight, 3);
    CHECK_STR(line->creatives[0].targeting->os.items[0], "ios");
    CHECK(line->creatives[1].targeting == NULL);
    CHECK(!catalog->creatives[0].secure && catalog->creatives[1].secure);
    CHECK_INT(catalog->creatives[1].assets[0].kind, BIDREQ_ASSET_DATA);
    CHECK_INT(catalog->creatives[1].assets[0].type, 12);
    CHECK_INT(catalog->creatives[1].assets[1].kind, BIDREQ_ASSET_IMAGE);
    CHECK_INT(catalog->creatives[1].assets[1].type, 1);
    unload(&loaded);
}

TEST(exchanges_and_their_defaults)
{
    struct loaded loaded;
    const struct catalog *catalog = load_good(
        &loaded, HEAD ",\"exchanges\":[{\"id\":\"plain\"},{\"id\":\"full\",\"no_bid\":\"nbr\","
                      "\"tmax_ms\":50,\"margin_ms\":0,\"price_unit\":\"fen\",\"vast\":\"3.0\","
                      "\"ids\":[\"user.buyeruid\"],\"household_ids\":[],\"response_headers\":[\"X: "
                      "y\"],\"max_qps\":9,\"price_encoding\":{\"google\":{\"encryption_key\":"
                      "\"MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=\",\"integrity_key\":"
                      "\"YWJjZGVmZ2hpamFiY2RlZmdoaWphYmNkZWZnaGlqYWI=\"}}}],"
                      "\"frequency_caps\":[{\"id\":\"tv\",\"max\":1,\"window\":\"lifetime\","
                      "\"identity\":\"household\"}]}");
    if (!catalog) {
        unload(&loaded);
        return;
    }
    const struct catalog_exchange *plain = &catalog->exchanges[0], *full = &catalog->exchanges[1];
    CHECK_INT(plain->no_bid, NO_BID_204);
    CHECK_INT(plain->tmax_us, 100000);
    CHECK_INT(plain->margin_us, 10000);
    CHECK_INT(plain->price_unit_micros, 1000000);
    CHECK_INT(plain->id_count, 5);
    CHECK_INT(plain->ids[0].source, ID_DEVICE_IFA);
    CHECK_STR(plain->ids[4].type, "buyeruid@plain");
    CHECK_INT(plain->household_id_count, 2);
    CHECK_INT(plain->household_ids[1].source, ID_DEVICE_IP);
    CHECK_INT(full->no_bid, NO_BID_NBR);
    CHECK_INT(full->tmax_us, 50000);
    CHECK_INT(full->margin_us, 0);
    CHECK_INT(full->price_unit_micros, 10000);
    CHECK_INT(full->id_count, 1);
    CHECK_INT(full->household_id_count, 0);
    CHECK_INT(full->max_qps, 9);
    CHECK(full->vast_3 && !plain->vast_3);
    CHECK_INT(full->price_encoding, PRICE_GOOGLE);
    CHECK_STR(full->price_key_encryption, "01234567890123456789012345678901");
    CHECK_STR(full->price_key_integrity, "abcdefghijabcdefghijabcdefghijab");
    unload(&loaded);
}

TEST(shares_sum_exactly)
{
    static const int64_t weights[][3] = {{50, 30, 20},    {1, 1, 1},
                                         {1, 2, 4},       {7, 0, 0},
                                         {1000000, 1, 1}, {INT64_MAX / 3, INT64_MAX / 3, 5}};
    static const uint32_t first[] = {500000, 333334, 142857, 1000000, 999998, 500000};
    for (size_t i = 0; i < sizeof(weights) / sizeof(weights[0]); i++) {
        uint32_t out[3];
        CHECK(share_out(weights[i], 3, 1000000, out));
        CHECK_INT(out[0] + out[1] + out[2], 1000000);
        CHECK_INT(out[0], first[i]);
    }
    uint32_t none[2];
    CHECK(!share_out((const int64_t[]){0, 0}, 2, 1000000, none));
}

TEST(references_keep_a_snapshot)
{
    struct loaded loaded;
    load_file(&loaded, "deploy/catalog.json");
    struct catalog *first = catalog_retain(loaded.catalog), *second = catalog_retain(first);
    CHECK_INT(first->references, 3);
    catalog_release(&loaded.catalog);
    CHECK(loaded.catalog == NULL);
    CHECK_STR(first->lines[0].id, "oreo-pdb");
    catalog_release(&first);
    CHECK_INT(second->references, 1);
    CHECK_STR(second->lines[0].id, "oreo-pdb");
    catalog_release(&second);
    catalog_release(&second); /* NULL is accepted */
    unload(&loaded);
}

/* A catalog with these letters as line ids. */
static struct catalog *lines_of(const char *letters, const struct catalog *previous)
{
    struct buf text;
    struct arena arena;
    struct problem_list problems;
    struct catalog *catalog = NULL;
    buf_init(&text, 1u << 20);
    CHECK(arena_init(&arena, 4096, 1u << 20));
    problem_list_init(&problems, &arena);
    BUF_PUT_LITERAL(&text, HEAD ",\"advertisers\":[{\"id\":\"a\",\"domain\":\"a.example\","
                                "\"brands\":[{\"id\":\"b\"}]}],\"creatives\":[{\"id\":\"i\","
                                "\"type\":\"banner\",\"w\":1,\"h\":1,\"image\":\"https://i.example/"
                                "\",\"landing\":\"https://l.example/\"}],\"campaigns\":[{\"id\":"
                                "\"c\",\"brand\":\"b\",\"start\":\"2026-01-01\",\"end\":"
                                "\"2099-01-01\",\"line_items\":[");
    for (const char *c = letters; *c; c++) {
        buf_printf(&text,
                   "%s{\"id\":\"%c\",\"buying\":\"rtb\",\"bid_cpm\":1,\"creatives\":[\"i\"]}",
                   c == letters ? "" : ",", *c);
    }
    BUF_PUT_LITERAL(&text, "]}]}");
    CHECK_INT(catalog_load(buf_str(&text), previous, 2, &catalog, &problems), STATUS_OK);
    problem_list_deinit(&problems);
    arena_deinit(&arena);
    buf_deinit(&text);
    return catalog;
}

/* A line with a budget of 1000 in that unit; said: what the loader says. */
static struct catalog *budget_in(const char *unit, const struct catalog *previous, struct buf *said)
{
    struct buf text;
    struct arena arena;
    struct problem_list problems;
    struct catalog *catalog = NULL;
    buf_init(&text, 1u << 20);
    CHECK(arena_init(&arena, 4096, 1u << 20));
    problem_list_init(&problems, &arena);
    BUF_PUT_LITERAL(&text, HEAD ",\"advertisers\":[{\"id\":\"a\",\"domain\":\"a.example\","
                                "\"brands\":[{\"id\":\"b\"}]}],\"creatives\":[{\"id\":\"i\","
                                "\"type\":\"banner\",\"w\":1,\"h\":1,\"image\":\"https://i.example/"
                                "\",\"landing\":\"https://l.example/\"}],\"campaigns\":[{\"id\":"
                                "\"c\",\"brand\":\"b\",\"start\":\"2026-01-01\",\"end\":"
                                "\"2099-01-01\",\"line_items\":[{\"id\":\"l\",\"buying\":"
                                "\"rtb\",\"bid_cpm\":1,\"creatives\":[\"i\"],");
    buf_printf(&text, "\"budget\":{\"total\":1000,\"unit\":\"%s\"}}]}]}", unit);
    buf_reset(said);
    enum status status = catalog_load(buf_str(&text), previous, 2, &catalog, &problems);
    CHECK_INT(status == STATUS_OK, catalog != NULL);
    for (uint32_t i = 0; i < problems.count; i++) {
        buf_put_str(said, problems.items[i].text);
    }
    problem_list_deinit(&problems);
    arena_deinit(&arena);
    buf_deinit(&text);
    return catalog;
}

TEST(another_unit_is_another_budget)
{
    struct buf said;
    buf_init(&said, 65536);
    struct catalog *money = budget_in("money", NULL, &said);
    struct catalog *same = budget_in("money", money, &said);
    CHECK_STR(buf_str(&said), "");
    CHECK_INT(same->budgets[0].ref, money->budgets[0].ref);
    struct catalog *impressions = budget_in("impressions", money, &said);
    CHECK_STR(buf_str(&said), "counted money so far and counts impressions now: it starts as a new "
                              "budget, nothing of what was spent is taken over");
    CHECK(impressions->budgets[0].ref != money->budgets[0].ref);
    CHECK_STR(impressions->budgets[0].name, "line:l");
    struct catalog *back = budget_in("money", impressions, &said);
    CHECK(str_starts(buf_str(&said), STR("counted impressions so far and counts money now")));
    CHECK_INT(back->budgets[0].ref, money->budgets[0].ref); /* goes on where it was left */
    catalog_release(&money);
    catalog_release(&same);
    catalog_release(&impressions);
    catalog_release(&back);
    buf_deinit(&said);
}

static void check_slots(const struct catalog *catalog, const char *expected)
{
    struct buf out;
    buf_init(&out, 256);
    for (uint32_t i = 0; i < catalog->line_count; i++) {
        buf_printf(&out, "%.*s%u ", STR_ARG(catalog->lines[i].id), catalog->lines[i].slot);
    }
    CHECK_STR(buf_str(&out), expected);
    buf_deinit(&out);
}

TEST(metric_rows_stay_over_reloads)
{
    struct catalog *first = lines_of("abc", NULL);
    check_slots(first, "a0 b1 c2 ");
    struct catalog *second = lines_of("xcay", first); /* b dropped: its row rests for a reload */
    check_slots(second, "x3 c2 a0 y4 ");
    catalog_release(&first);
    struct catalog *third = lines_of("zyx", second); /* now it is free; c's and a's rest */
    check_slots(third, "z1 y4 x3 ");
    catalog_release(&second);
    catalog_release(&third);
}

TEST(households_are_looked_for_when_a_cap_counts_them)
{
    static const char *const caps[] = {"", ",\"identity\":\"household\""};
    for (uint32_t i = 0; i < 2; i++) {
        char text[512];
        snprintf(text, sizeof(text),
                 "{\"timezone\":\"UTC\",\"currency\":\"USD\",\"exchanges\":[{\"id\":\"a\"}],"
                 "\"frequency_caps\":[{\"id\":\"c\",\"max\":1,\"window\":\"lifetime\"%s}]}",
                 caps[i]);
        struct loaded loaded;
        load_text(&loaded, str_from(text));
        CHECK_INT(loaded.status, STATUS_OK);
        if (loaded.catalog) {
            CHECK_INT(loaded.catalog->exchanges[0].id_count, 5);
            CHECK_INT(loaded.catalog->exchanges[0].household_id_count, i ? 2 : 0);
        }
        unload(&loaded);
    }
}
