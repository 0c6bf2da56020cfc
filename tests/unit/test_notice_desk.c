/* What a notice sets off at the desk of the worker that owns it, and that it does so once. */
#include "tests/unit/notice_desk_fixture.h"

TEST(a_bill_is_settled_once)
{
    setup();
    struct notice_token token = token_of(1, 1);
    CHECK_INT(say(0, NOTICE_BILL, &token, "price=15", NULL), 204);
    CHECK_INT(say(0, NOTICE_BILL, &token, "price=15", NULL), 204); /* before the first came back */
    fake_redis_deliver_all();
    CHECK_INT(say(0, NOTICE_BILL, &token, "price=15", NULL), 204);
    CHECK_INT(say(1, NOTICE_BILL, &token, "price=15", NULL), 204); /* at another worker */
    tick(100000);
    tick(100000);
    CHECK_INT(ledgers[0].settled, 1);
    CHECK_INT(ledgers[0].spent, COST / 2);
    CHECK_INT(ledgers[1].settled + ledgers[1].booked, 0);
    CHECK(stores[0].confirmed >= 1);
    CHECK_INT(column("spend"), COST / 2);
    CHECK_INT(column("impressions"), 0);
    teardown();
}

TEST(video_is_billed_by_impression_or_bill_but_once)
{
    setup();
    struct notice_token token = token_of(1, 1);
    token.flags = TOKEN_VIDEO | TOKEN_SEEN(2);
    struct notice_reply reply;
    CHECK_INT(say(1, NOTICE_IMPRESSION, &token, "price=0.01", &reply), 200);
    CHECK_INT(reply.body.len, 43);
    CHECK_STR(reply.content_type, "image/gif");
    tick(100000);
    CHECK_INT(say(1, NOTICE_BILL, &token, "price=9", NULL), 204);
    CHECK_INT(say(0, NOTICE_IMPRESSION, &token, "", NULL), 200);
    tick(100000);
    tick(100000);
    CHECK_INT(ledgers[0].settled, 1);
    CHECK_INT(ledgers[0].spent, COST); /* a viewer has no say in the price: the bid */
    CHECK_INT(column("impressions"), 1);
    CHECK_INT(column("seen_2"), 1);
    CHECK_INT(column("spend"), COST);
    teardown();
}

TEST(a_banner_impression_counts_and_confirms_but_never_bills)
{
    setup();
    struct notice_token token = token_of(1, 1);
    for (int i = 0; i < 3; i++) {
        CHECK_INT(say(i % 2, NOTICE_IMPRESSION, &token, "", NULL), 200);
        tick(100000);
    }
    CHECK_INT(ledgers[0].settled, 0);
    CHECK(stores[0].confirmed + stores[1].confirmed >= 2);
    CHECK_INT(column("impressions"), 1);
    CHECK_INT(column("seen_0"), 1);
    CHECK_INT(column("spend"), 0);
    char key[128];
    row_key("p", key);
    CHECK_INT(fake_redis_count(key), 1);
    row_key("t", key);
    CHECK_INT(fake_redis_count(key), 0); /* not in the target audience */
    CHECK_INT(fake_redis_count("{r20261118}names"), 3);
    teardown();
}

TEST(a_household_is_not_a_person_in_reach)
{
    setup();
    struct notice_token household = token_of(1, 1), both = token_of(1, 2);
    household.ticket.household_mask = 1;
    both.ticket.key_count = 2;
    both.ticket.household_mask = 1;
    both.ticket.keys[1].bytes[0] = 99;
    say(0, NOTICE_IMPRESSION, &household, "", NULL);
    say(0, NOTICE_IMPRESSION, &both, "", NULL);
    tick(100000);
    CHECK_INT(stores[0].confirmed, 2); /* the caps of the household count all the same */
    CHECK_INT(column("impressions"), 2);
    CHECK_INT(column("anonymous"), 1);
    CHECK_INT(column("seen_0"), 1);
    char key[128];
    row_key("p", key);
    CHECK_INT(fake_redis_count(key), 1);
    CHECK(fake_find(key, "6300000000000000000000000000") != NULL); /* the second key, in hex */
    teardown();
}

TEST(an_impression_behind_its_reservation_is_counted_and_told)
{
    metric_register(&notice_metrics);
    CHECK_INT(metric_setup(1), STATUS_OK);
    metric_use_slot(0);
    setup();
    struct notice_token in_time = token_of(1, 1), late = token_of(1, 2);
    say(0, NOTICE_IMPRESSION, &in_time, "", NULL);
    tick(100000);
    tick(70000000);
    for (int i = 0; i < 2; i++) {
        say(0, NOTICE_IMPRESSION, &late, "", NULL);
        tick(100000);
    }
    CHECK_INT(column("impressions"), 2);
    CHECK_INT((int64_t)metric_sum(&notice_metrics, NOTICE_AFTER_HOLD, 0), 1);
    teardown();
    metric_teardown();
}

TEST(a_win_is_recorded_and_moves_nothing)
{
    setup();
    struct notice_token token = token_of(1, 1);
    CHECK_INT(say(0, NOTICE_WIN, &token, "price=1", NULL), 204);
    CHECK_INT(say(1, NOTICE_WIN, &token, "price=1", NULL), 204);
    tick(100000);
    CHECK_INT(column("wins"), 1);
    CHECK_INT(ledgers[0].settled + ledgers[0].released + ledgers[0].booked, 0);
    CHECK_INT(stores[0].confirmed + stores[0].released, 0);
    teardown();
}

TEST(a_loss_gives_back_budget_and_cap)
{
    setup();
    struct notice_token token = token_of(2, 1);
    CHECK_INT(say(0, NOTICE_LOSS, &token, "loss=102", NULL), 204);
    tick(100000);
    CHECK_INT(say(1, NOTICE_LOSS, &token, "loss=102", NULL), 204);
    tick(100000);
    CHECK_INT(ledgers[1].released, 1);
    CHECK_INT(stores[1].released, 1);
    CHECK_INT(column("losses"), 1);
    teardown();
}

TEST(a_loss_after_a_bill_or_an_impression_gives_nothing_back)
{
    for (int how = 0; how < 3; how++) {
        setup();
        struct notice_token token = token_of(1, 1);
        token.flags = how == 1 ? TOKEN_VIDEO : 0;
        say(0, how ? NOTICE_IMPRESSION : NOTICE_BILL, &token, "", NULL);
        if (how) {
            fake_redis_deliver_all();
        } /* else the loss overtakes the claim's reply */
        say(0, NOTICE_LOSS, &token, "loss=102", NULL);
        tick(100000);
        CHECK_INT(ledgers[0].released, 0);
        CHECK_INT(stores[0].released, 0);
        CHECK_INT(ledgers[0].settled, how < 2);
        teardown();
    }
}

TEST(a_bill_after_a_loss_is_booked)
{
    setup();
    struct notice_token token = token_of(1, 1);
    say(0, NOTICE_LOSS, &token, "", NULL);
    tick(100000);
    CHECK_INT(ledgers[0].released, 1);
    ledgers[0].answer = BUDGET_LATE;
    say(0, NOTICE_BILL, &token, "price=30", NULL);
    tick(100000);
    CHECK_INT(ledgers[0].settled, 1);
    CHECK_INT(column("spend"), COST);
    teardown();
}

TEST(clicks_lead_to_the_creatives_landing_page_only)
{
    setup();
    struct notice_token token = token_of(1, 1);
    struct notice_reply reply;
    CHECK_INT(say(0, NOTICE_CLICK, &token, "url=https://evil.example/", &reply), 302);
    CHECK_STR(reply.headers, "Location: https://oreo.example/x?y=1\r\nCache-Control: no-store\r\n");
    CHECK_INT(say(1, NOTICE_CLICK, &token, "", NULL), 302);
    fake_redis_deliver_all();
    CHECK_INT(say(0, NOTICE_CLICK, &token, "", NULL), 302); /* redirected, not counted again */
    CHECK_INT(column("clicks"), 1);
    token.creative_ref = 0xc9; /* gone from the catalog */
    CHECK_INT(say(0, NOTICE_CLICK, &token, "", NULL), 404);
    token.creative_ref = 0xc2; /* would split the header */
    CHECK_INT(say(0, NOTICE_CLICK, &token, "", NULL), 404);
    teardown();
}

TEST(test_requests_are_answered_and_not_counted)
{
    setup();
    struct notice_token token = token_of(1, 1);
    token.flags = TOKEN_TEST | TOKEN_VIDEO;
    for (unsigned event = 0; event < NOTICE_EVENT_COUNT; event++) {
        CHECK(say(0, event, &token, "price=1", NULL) < 400);
    }
    tick(100000);
    CHECK_INT(ledgers[0].settled + ledgers[0].released + ledgers[0].booked, 0);
    CHECK_INT(stores[0].confirmed + stores[0].released, 0);
    CHECK_INT(column("impressions") + column("clicks") + column("spend"), 0);
    teardown();
}

TEST(forged_expired_and_malformed_are_refused)
{
    setup();
    struct notice_token token = token_of(1, 1);
    struct token_text out;
    struct notice_reply reply;
    char path[512];
    token_write(&keys, &token, &out);
    snprintf(path, sizeof(path), "/notice/bill/%.*s", (int)out.len[TOKEN_CLIENT],
             out.text[TOKEN_CLIENT]); /* who sees the markup may not say "billed" */
    CHECK_INT(notice_handle(desks[0], str_from(path), STR_NONE, NOW_US, 7, &reply), STATUS_OK);
    CHECK_INT(reply.status, 403);
    CHECK_INT(notice_handle(desks[0], STR("/notice/bill/x"), STR_NONE, NOW_US, 7, &reply),
              STATUS_OK);
    CHECK_INT(reply.status, 403);
    CHECK_INT(notice_handle(desks[0], STR("/notice/nonsense/x"), STR_NONE, NOW_US, 7, &reply),
              STATUS_OK);
    CHECK_INT(reply.status, 404);
    CHECK_INT(notice_handle(desks[0], STR("/healthz"), STR_NONE, NOW_US, 7, &reply),
              STATUS_NOT_FOUND);
    token.expires_s = NOW_S + 1; /* two seconds have gone by in setup */
    CHECK_INT(say(0, NOTICE_BILL, &token, "", NULL), 410);
    CHECK_INT(say(0, NOTICE_CLICK, &token, "", NULL), 302); /* late, but the person gets there */
    tick(100000);
    CHECK_INT(ledgers[0].settled, 0);
    CHECK_INT(column("clicks"), 0);
    teardown();
}

TEST(redis_away_delays_money_and_loses_none)
{
    setup();
    enum fake_mode modes[] = {FAKE_DOWN, FAKE_CUT, FAKE_REPLY_LATE};
    for (int m = 0; m < 3; m++) {
        struct notice_token own = token_of(1, 100 + (uint64_t)m);
        struct notice_token other = token_of(2, 100 + (uint64_t)m);
        fake_redis.mode = modes[m];
        CHECK_INT(say(0, NOTICE_BILL, &own, "price=30", NULL), 204);
        CHECK_INT(say(0, NOTICE_BILL, &other, "price=30", NULL), 204);
        fake_redis_deliver_all();
        tick(600000);
        CHECK_INT(ledgers[0].settled, m);
        fake_redis.mode = FAKE_UP;
        for (int i = 0; i < 4; i++) {
            tick(600000);
        }
        CHECK_INT(ledgers[0].settled, m + 1);
        CHECK_INT(ledgers[1].settled, m + 1);
        CHECK_INT(notice_desk_pending(desks[0]) + notice_desk_pending(desks[1]), 0);
        /* the exchange retries all the same */
        say(1, NOTICE_BILL, &own, "price=30", NULL);
        say(1, NOTICE_BILL, &other, "price=30", NULL);
        tick(100000);
        tick(100000);
    }
    CHECK_INT(ledgers[0].settled, 3);
    CHECK_INT(ledgers[1].settled, 3);
    CHECK_INT(column("spend"), 6 * COST);
    teardown();
}

TEST(a_full_desk_asks_the_exchange_to_come_again)
{
    setup_pending(4);
    fake_redis.mode = FAKE_DOWN;
    for (uint64_t i = 0; i < 4; i++) {
        struct notice_token token = token_of(1, 10 + i);
        CHECK_INT(say(0, NOTICE_BILL, &token, "", NULL), 204);
    }
    struct notice_token token = token_of(1, 20);
    CHECK_INT(say(0, NOTICE_BILL, &token, "", NULL), 503);
    CHECK_INT(say(0, NOTICE_CLICK, &token, "", NULL), 302); /* a person is not sent away */
    fake_redis.mode = FAKE_UP;
    tick(600000);
    CHECK_INT(say(0, NOTICE_BILL, &token, "", NULL), 204);
    tick(600000);
    CHECK_INT(ledgers[0].settled, 5);
    teardown();
}

TEST(the_ledger_remembers_when_redis_forgot)
{
    setup();
    struct notice_token token = token_of(1, 1);
    say(0, NOTICE_BILL, &token, "", NULL);
    tick(100000);
    fake_redis.entry_count = 0; /* a failover to an empty server */
    ledgers[0].answer = BUDGET_DUPLICATE;
    say(1, NOTICE_BILL, &token, "", NULL);
    tick(2000000);
    tick(100000);
    CHECK_INT(ledgers[0].settled, 1);
    CHECK_INT(column("spend"), COST); /* once, sent after the failover */
    teardown();
}

TEST(destroyed_with_replies_outstanding)
{
    setup();
    struct notice_token token = token_of(1, 1);
    say(0, NOTICE_BILL, &token, "", NULL);
    say(0, NOTICE_IMPRESSION, &token, "", NULL);
    say(0, NOTICE_LOSS, &token, "", NULL);
    notice_desk_destroy(&desks[0]);
    CHECK(desks[0] == NULL);
    fake_redis_deliver_all(); /* ASan watches */
    CHECK_INT(ledgers[0].settled, 0);
    teardown();
}

/* A line with no budget still reports its spend; a line gone from the catalog is booked nowhere. */
TEST(lines_without_budget_or_gone)
{
    setup();
    struct notice_token token = token_of(1, 1);
    token.flight = 0;
    say(0, NOTICE_BILL, &token, "", NULL);
    tick(100000);
    CHECK_INT(ledgers[0].settled, 0);
    CHECK_INT(column("spend"), COST);
    token = token_of(1, 2);
    token.line_ref = 0xffff;
    ledgers[0].answer = BUDGET_UNKNOWN;
    say(0, NOTICE_BILL, &token, "", NULL);
    tick(100000);
    CHECK_INT(ledgers[0].booked, 0);
    teardown();
}
