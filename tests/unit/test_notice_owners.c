/* Notices of other workers: inboxes, workers that die, their next life. */
#include "tests/unit/notice_desk_fixture.h"

TEST(another_workers_bill_goes_to_its_inbox)
{
    setup();
    struct notice_token token = token_of(2, 1);
    CHECK_INT(say(0, NOTICE_BILL, &token, "price=10", NULL), 204);
    fake_redis_deliver_all();
    CHECK_INT(fake_redis_count("inbox:2"), 1);
    CHECK_INT(stores[0].confirmed, 1); /* the cap at once, where it landed */
    CHECK_INT(ledgers[0].settled + ledgers[0].booked, 0);
    tick(100000);
    CHECK_INT(fake_redis_count("inbox:2"), 0);
    CHECK_INT(ledgers[1].settled, 1);
    CHECK_INT(ledgers[1].spent, COST / 3);
    CHECK_INT(notice_desk_pending(desks[0]) + notice_desk_pending(desks[1]), 0);
    CHECK_INT(column("spend"), COST / 3);
    teardown();
}

TEST(a_dead_workers_notices_are_adopted)
{
    setup();
    struct notice_token before = token_of(2, 1), after = token_of(2, 2), lost = token_of(2, 3);
    say(0, NOTICE_BILL, &before, "price=30", NULL);
    say(0, NOTICE_LOSS, &lost, "", NULL);
    fake_redis_deliver_all();
    CHECK_INT(fake_redis_count("inbox:2"), 2);
    notice_desk_destroy(&desks[1]); /* dies before it reads its inbox */
    for (int i = 0; i < 20; i++) {
        tick(2000000);
    }
    CHECK_INT(fake_redis_count("inbox:2"), 0);
    CHECK_INT(ledgers[0].booked, 1);
    CHECK_INT(ledgers[0].last_budget, 1);
    CHECK_INT(ledgers[0].released, 0); /* not its commitment; that one times out */
    CHECK_INT(stores[0].released, 1);
    CHECK_INT(fake_redis_number("desks", "2"), 0);
    say(0, NOTICE_BILL, &after, "price=30", NULL); /* perhaps a new worker: it gets its time */
    tick(100000);
    CHECK_INT(ledgers[0].booked, 1);
    CHECK_INT(fake_redis_count("inbox:2"), 1);
    for (int i = 0; i < 20; i++) {
        tick(2000000);
    }
    CHECK_INT(ledgers[0].booked, 2);
    CHECK_INT(ledgers[0].spent, 2 * COST);
    teardown();
}

TEST(a_worker_that_has_just_started_is_not_taken_for_dead)
{
    setup();
    struct notice_token token = token_of(2, 1);
    struct fake_entry *sign = fake_find("desks", "2");
    fake_remove(sign); /* not heard of yet */
    for (int i = 0; i < 2; i++) {
        mono_us += 2000000;
        notice_tick(desks[0], mono_us, NOW_US + mono_us);
        fake_redis_deliver_all();
    }
    say(0, NOTICE_BILL, &token, "price=30", NULL);
    fake_redis_deliver_all();
    CHECK_INT(ledgers[0].booked, 0);
    tick(100000);
    tick(100000);
    CHECK_INT(ledgers[1].settled, 1);
    teardown();
}

/* Killed after the claim, before anything was booked: the next life finds the text in its inbox,
 * and that its log has no such settlement. */
TEST(what_a_killed_worker_had_claimed_is_booked_by_its_next_life)
{
    char folder[] = "/tmp/jointcap-desk-XXXXXX", command[64];
    CHECK(mkdtemp(folder) != NULL);
    const struct event_log_options options = {.dir = folder, .owner = 2};
    for (int has_log = 0; has_log < 2; has_log++) {
        setup();
        struct notice_token token = token_of(2, 1);
        logs[1] = has_log ? event_log_create(&options, NOW_US) : NULL;
        say(0, NOTICE_BILL, &token, "price=30", NULL);
        say(0, NOTICE_BILL, &token, "price=30&again=1", NULL);
        fake_redis_deliver_all();
        CHECK_INT(fake_redis_count("inbox:2"), 2);
        mono_us += 100000;
        notice_tick(desks[1], mono_us, NOW_US + mono_us); /* reads its inbox */
        fake_redis_deliver();                             /* and claims */
        notice_desk_destroy(&desks[1]);
        fake_redis_deliver_all();
        CHECK_INT(ledgers[1].settled, 0);
        CHECK_INT(fake_redis_count("inbox:2"), 2);
        event_log_destroy(&logs[1]);
        logs[1] = has_log ? event_log_create(&options, NOW_US + mono_us) : NULL;
        make_desk(1, 256);
        for (int i = 0; i < 3; i++) {
            tick(100000);
        }
        CHECK_INT(ledgers[1].settled, has_log); /* without a log nobody knows: not twice */
        CHECK_INT(fake_redis_count("inbox:2"), 0);
        say(1, NOTICE_BILL, &token, "price=30", NULL);
        tick(100000);
        CHECK_INT(ledgers[1].settled, has_log);
        event_log_destroy(&logs[1]);
        teardown();
    }
    snprintf(command, sizeof(command), "rm -r %s", folder);
    CHECK_INT(system(command), 0);
}

TEST(a_settlement_in_the_log_is_not_booked_by_the_next_life)
{
    char folder[] = "/tmp/jointcap-desk-XXXXXX", command[64];
    CHECK(mkdtemp(folder) != NULL);
    const struct event_log_options options = {.dir = folder, .owner = 2};
    setup();
    struct notice_token token = token_of(2, 1);
    logs[1] = event_log_create(&options, NOW_US);
    notice_desk_destroy(&desks[1]);
    make_desk(1, 256);
    say(1, NOTICE_BILL, &token, "price=30", NULL);
    tick(100000);
    CHECK_INT(ledgers[1].settled, 1);
    event_log_tick(logs[1], NOW_US + mono_us); /* written; killed before it was answered */
    notice_desk_destroy(&desks[1]);
    event_log_destroy(&logs[1]);
    logs[1] = event_log_create(&options, NOW_US + mono_us);
    make_desk(1, 256);
    say(1, NOTICE_BILL, &token, "price=30", NULL);
    tick(100000);
    CHECK_INT(ledgers[1].settled, 1);
    event_log_destroy(&logs[1]);
    teardown();
    snprintf(command, sizeof(command), "rm -r %s", folder);
    CHECK_INT(system(command), 0);
}

TEST(a_loss_that_a_killed_worker_had_only_marked_is_released)
{
    setup();
    struct notice_token token = token_of(2, 1);
    say(0, NOTICE_LOSS, &token, "", NULL);
    fake_redis_deliver_all();
    mono_us += 100000;
    notice_tick(desks[1], mono_us, NOW_US + mono_us);
    fake_redis_deliver(); /* marked lost */
    notice_desk_destroy(&desks[1]);
    fake_redis_deliver_all();
    CHECK_INT(stores[1].released, 0);
    make_desk(1, 256);
    for (int i = 0; i < 3; i++) {
        tick(100000);
    }
    CHECK_INT(stores[1].released, 1);
    CHECK_INT(fake_redis_count("inbox:2"), 0);
    teardown();
}

TEST(an_inbox_longer_than_a_batch_is_emptied)
{
    setup();
    for (uint64_t i = 0; i < 150; i++) {
        struct notice_token token = token_of(2, 1 + i);
        say(0, NOTICE_BILL, &token, "price=30", NULL);
    }
    fake_redis_deliver_all();
    CHECK_INT(fake_redis_count("inbox:2"), 150);
    tick(100000); /* in one go: a full batch asks for the next at once */
    CHECK_INT(fake_redis_count("inbox:2"), 0);
    CHECK_INT(ledgers[1].settled, 150);
    teardown();
}

TEST(answers_wait_until_nothing_can_be_lost)
{
    answers_wait = true;
    setup();
    struct notice_token own = token_of(1, 1), other = token_of(2, 1), lost = token_of(1, 2);
    CHECK_INT(say(0, NOTICE_BILL, &own, "", NULL), NOTICE_LATER);
    CHECK_INT(say(0, NOTICE_BILL, &other, "", NULL), NOTICE_LATER);
    CHECK_INT(say(0, NOTICE_LOSS, &lost, "", NULL), NOTICE_LATER);
    CHECK_INT(say(0, NOTICE_IMPRESSION, &own, "", NULL), NOTICE_LATER);
    CHECK_INT(say(0, NOTICE_WIN, &own, "", NULL), 204);
    notice_flush(desks[0]);
    CHECK_INT(answered_count, 0);
    fake_redis_deliver_all();
    CHECK_INT(answered_count, 0); /* not before the turn's end */
    notice_flush(desks[0]);
    CHECK_INT(answered_count, 4);
    notice_flush(desks[0]);
    CHECK_INT(answered_count, 4);
    CHECK_INT(say(0, NOTICE_BILL, &own, "", NULL), 204); /* had been there */
    fake_redis.mode = FAKE_DOWN;
    struct notice_token away = token_of(1, 3);
    CHECK_INT(say(0, NOTICE_BILL, &away, "", NULL), NOTICE_LATER);
    notice_flush(desks[0]);
    CHECK_INT(answered_count, 5); /* kept in memory: an exchange does not wait that long */
    fake_redis.mode = FAKE_UP;
    tick(600000);
    notice_flush(desks[0]);
    CHECK_INT(answered_count, 5);
    CHECK_INT(ledgers[0].settled, 2);
    answers_wait = false;
    teardown();
}

TEST(an_inbox_is_not_trusted)
{
    setup();
    redis_begin(NULL, 3);
    redis_arg(NULL, STR("RPUSH"));
    redis_arg(NULL, STR("inbox:1"));
    redis_arg(NULL, STR("bill/AAAA?price=1"));
    CHECK(redis_send(NULL, STR("inbox:1"), 0, NULL, NULL));
    tick(100000);
    CHECK_INT(ledgers[0].settled + ledgers[0].booked, 0);
    CHECK_INT(fake_redis_count("inbox:1"), 0);
    teardown();
}
