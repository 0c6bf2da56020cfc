#include "tests/fake_redis.h"

#include "bidder/report.h"
#include "bidder/report_read.h"

#define NOW_S 1795000000 /* 2026-11-18 UTC */

static struct tz_transition utc_transition = {.at_s = INT64_MIN};
static struct catalog_line lines[] = {{.id = {"line-a", 6}, .ref = 0xa1}};
static struct catalog_campaign campaigns[] = {{.id = {"autumn", 6}}};
static struct catalog_brand brands[] = {{.id = {"oreo", 4}, .ref = 0xd1}};
static struct catalog world = {.tz = {.transitions = &utc_transition, .count = 1},
                               .lines = lines,
                               .line_count = 1,
                               .campaigns = campaigns,
                               .campaign_count = 1,
                               .brands = brands,
                               .brand_count = 1};
static const struct report_row row = {.line_ref = 0xa1, .brand_ref = 0xd1};
#define COUNTS "{r20261118}c:a1.0.0.d1"

static const struct catalog *current(void *context)
{
    (void)context;
    return &world;
}

static int64_t mono_us;

static void flush(struct report *report)
{
    mono_us += 1000000;
    report_tick(report, mono_us);
    fake_redis_deliver_all();
}

TEST(counts_go_out_once_a_second_and_add_up)
{
    struct report *report = report_create(NULL, current, NULL);
    flush(report);
    for (int i = 0; i < 10; i++) {
        report_add(report, &row, REPORT_IMPRESSIONS, 1, NOW_S);
        report_add(report, &row, REPORT_SPEND, 25000, NOW_S);
        report_tick(report, mono_us + 1000 * i); /* too early */
    }
    CHECK_INT(fake_redis_count(COUNTS), 0);
    flush(report);
    CHECK_INT(fake_redis_number(COUNTS, "impressions"), 10);
    CHECK_INT(fake_redis_number(COUNTS, "spend"), 250000);
    report_add(report, &row, REPORT_IMPRESSIONS, 2, NOW_S);
    flush(report);
    CHECK_INT(fake_redis_number(COUNTS, "impressions"), 12);
    CHECK_INT(fake_redis_number("{r20261118}rows", "a1.0.0.d1"), 1);
    CHECK_STR(str_from(fake_find("{r20261118}names", "la1")->text), "line-a|autumn|oreo");
    CHECK_STR(str_from(fake_find("{r20261118}names", "bd1")->text), "oreo");
    uint64_t before = fake_redis.commands;
    flush(report);
    CHECK_INT(fake_redis.commands, before); /* nothing new, nothing sent */
    report_destroy(&report);
    fake_redis_reset();
}

TEST(what_redis_did_not_take_is_sent_again)
{
    struct report *report = report_create(NULL, current, NULL);
    static const enum fake_mode modes[] = {FAKE_DOWN, FAKE_CUT};
    for (int i = 0; i < 2; i++) {
        fake_redis.mode = modes[i];
        report_add(report, &row, REPORT_CLICKS, 5, NOW_S);
        flush(report);
        flush(report);
    }
    fake_redis.mode = FAKE_UP;
    flush(report);
    CHECK_INT(fake_redis_number(COUNTS, "clicks"), 10);
    fake_redis.mode = FAKE_REPLY_LATE; /* taken, most likely: not sent twice */
    report_add(report, &row, REPORT_CLICKS, 1, NOW_S);
    flush(report);
    fake_redis.mode = FAKE_UP;
    flush(report);
    CHECK_INT(fake_redis_number(COUNTS, "clicks"), 11);
    report_destroy(&report);
    fake_redis_reset();
}

TEST(persons_are_hashed_into_the_days_reach)
{
    struct report *report = report_create(NULL, current, NULL);
    for (int i = 0; i < 300; i++) {
        struct person_key person = {.bytes = {(uint8_t)(i % 100), 7}};
        report_person(report, &row, &person, i % 100 < 40, NOW_S);
    }
    flush(report);
    CHECK_INT(fake_redis_count("{r20261118}p:a1.0.0.d1"), 100);
    CHECK_INT(fake_redis_count("{r20261118}t:a1.0.0.d1"), 40);
    report_destroy(&report);
    fake_redis_reset();
}

TEST(persons_do_not_wait_for_the_tick_and_share_a_command)
{
    struct report *report = report_create(NULL, current, NULL);
    static const struct report_row other = {.line_ref = 0xb2};
    uint64_t before = fake_redis.commands;
    for (int i = 0; i < 128; i++) {
        struct person_key person = {.bytes = {(uint8_t)i, 9}};
        CHECK_INT(fake_redis.commands, before);
        report_person(report, i % 2 ? &row : &other, &person, i == 7, NOW_S);
    }
    CHECK_INT(fake_redis.commands, before + 3); /* two rows, and one in the target audience */
    CHECK_INT(fake_redis_count("{r20261118}p:a1.0.0.d1"), 64);
    CHECK_INT(fake_redis_count("{r20261118}p:b2.0.0.0"), 64);
    CHECK_INT(fake_redis_count("{r20261118}t:a1.0.0.d1"), 1);
    fake_redis_deliver_all();
    report_destroy(&report);
    fake_redis_reset();
}

/* Many rows that change all the time: none waits longer than a second, no tick sends them all. */
TEST(rows_take_turns_within_the_second)
{
    struct report *report = report_create(NULL, current, NULL);
    enum { ROWS = 1000 };
    flush(report);
    for (uint32_t i = 1; i <= ROWS; i++) {
        report_add(report, &(struct report_row){.line_ref = i}, REPORT_BIDS, 1, NOW_S);
    }
    uint64_t most = 0, total = 0;
    for (int i = 0; i < 10; i++) {
        uint64_t before = fake_redis.commands;
        report_tick(report, mono_us += 100000);
        uint64_t sent = fake_redis.commands - before;
        most = sent > most ? sent : most;
        total += sent;
        fake_redis_deliver_all();
    }
    CHECK(total >= ROWS);
    CHECK(most < total / 5);
    uint64_t before = fake_redis.commands;
    flush(report);
    CHECK_INT(fake_redis.commands, before);
    report_destroy(&report);
    fake_redis_reset();
}

TEST(days_are_the_catalogs)
{
    struct report *report = report_create(NULL, current, NULL);
    int64_t midnight_s = 1795046400; /* 2026-11-19 00:00 UTC */
    for (int i = 0; i < 3; i++) {
        report_add(report, &row, REPORT_BIDS, 1, midnight_s - 1);
        report_add(report, &row, REPORT_BIDS, 10, midnight_s);
        flush(report);
    }
    CHECK_INT(fake_redis_number(COUNTS, "bids"), 3);
    CHECK_INT(fake_redis_number("{r20261119}c:a1.0.0.d1", "bids"), 30);
    report_destroy(&report);
    fake_redis_reset();
}

TEST(the_timezone_is_told_and_a_new_one_moves_the_days)
{
    static struct tz_transition east = {.at_s = INT64_MIN, .offset_s = 14 * 3600};
    struct report *report = report_create(NULL, current, NULL);
    struct tz before = world.tz;
    world.tz.name = STR("Etc/UTC");
    report_add(report, &row, REPORT_BIDS, 1, NOW_S);
    flush(report);
    CHECK_STR(str_from(fake_find(REPORT_KEY, REPORT_TIMEZONE)->text), "Etc/UTC");
    uint64_t told = fake_redis.commands;
    flush(report);
    CHECK_INT(fake_redis.commands, told);
    world.tz = (struct tz){.name = STR("Pacific/Kiritimati"), .transitions = &east, .count = 1};
    flush(report);
    CHECK_STR(str_from(fake_find(REPORT_KEY, REPORT_TIMEZONE)->text), "Pacific/Kiritimati");
    report_add(report, &row, REPORT_BIDS, 1, NOW_S);
    flush(report);
    CHECK_INT(fake_redis_number(COUNTS, "bids"), 1);
    CHECK_INT(fake_redis_number("{r20261119}c:a1.0.0.d1", "bids"), 1);
    world.tz = before;
    report_destroy(&report);
    fake_redis_reset();
}

TEST(a_full_table_drops_and_counts)
{
    struct report *report = report_create(NULL, current, NULL);
    metric_register(&report_metrics);
    CHECK_INT(metric_setup(1), STATUS_OK);
    metric_use_slot(0);
    fake_redis.mode = FAKE_DOWN;
    for (uint32_t i = 1; i <= 10000; i++) { /* more rows than cells */
        struct report_row many = {.line_ref = i};
        report_add(report, &many, REPORT_BIDS, 1, NOW_S);
    }
    CHECK(metric_sum(&report_metrics, REPORT_FULL, 0) >= 10000 - 4096);
    CHECK(metric_sum(&report_metrics, REPORT_FULL, 0) < 10000 - 2048);
    metric_teardown();
    report_destroy(&report);
    report = report_create(NULL, current, NULL);
    fake_redis.mode = FAKE_CUT;
    report_add(report, &row, REPORT_BIDS, 1, NOW_S);
    report_tick(report, mono_us += 1000000);
    report_destroy(&report); /* with replies outstanding */
    fake_redis_deliver_all();
    report_add(NULL, &row, REPORT_BIDS, 1, NOW_S); /* no reports configured */
    fake_redis_reset();
}

TEST(row_texts_round_trip_and_nothing_else_parses)
{
    struct report_row in = {0xffffffff, 0, 1, 0xabcdef}, out;
    char text[REPORT_ROW_TEXT];
    size_t len = report_row_text(&in, text);
    CHECK(report_row_parse((struct str){text, len}, &out));
    CHECK(out.line_ref == in.line_ref && out.exchange_ref == 0 && out.deal_ref == 1 &&
          out.brand_ref == in.brand_ref);
    static const char *const bad[] = {"",        "1",         "1.2.3",           "1.2.3.",
                                      "1.2.3.g", "1.2.3.4.5", "123456789.0.0.0", "-1.0.0.0"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        CHECK(!report_row_parse(str_from(bad[i]), &out));
    }
}

TEST(day_numbers)
{
    CHECK_INT(report_day_next(20261122), 20261123);
    CHECK_INT(report_day_next(20261130), 20261201);
    CHECK_INT(report_day_next(20261231), 20270101);
    CHECK_INT(report_day_next(20280228), 20280229);
    CHECK_INT(report_day_next(20270228), 20270301);
    CHECK(report_day_valid(20280229));
    CHECK(!report_day_valid(20270229));
    CHECK(!report_day_valid(20261301));
    CHECK(!report_day_valid(20260001));
    CHECK(!report_day_valid(0));
}

/* report_read.c is linked in; it asks nobody here. */
const struct redis_value *redis_sync_command(struct redis_sync *sync, uint32_t argc,
                                             const struct str *argv)
{
    (void)sync;
    (void)argc;
    (void)argv;
    return NULL;
}
