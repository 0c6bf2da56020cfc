/* The desk over a fake Redis, and a ledger and a frequency store that only write down what they are
 * told: who applies a notice, and that it is applied once. */
#include "tests/fake_redis.h"

#include "bidder/notice_desk.h"

#define NOW_S  1795000000
#define NOW_US (NOW_S * (int64_t)1000000)
#define BID    30000000 /* CPM 30 */
#define COST   30000

/* --- what the desk talks to ------------------------------------------------------------------ */

struct budget_ledger {
    int settled, released, booked;
    int64_t spent;
    uint32_t last_budget;
    enum budget_settlement answer;
};

struct freq_store {
    int confirmed, released;
};

enum budget_settlement budget_settle(struct budget_ledger *ledger, uint32_t flight,
                                     int64_t price_micros, int64_t now_us)
{
    (void)now_us;
    CHECK(flight != 0);
    if (ledger->answer == BUDGET_SETTLED || ledger->answer == BUDGET_LATE) {
        ledger->settled++;
        ledger->spent += price_micros;
    }
    return ledger->answer;
}

enum budget_settlement budget_release(struct budget_ledger *ledger, uint32_t flight, int64_t now_us)
{
    (void)flight;
    (void)now_us;
    ledger->released++;
    return ledger->answer;
}

void budget_book_late(struct budget_ledger *ledger, const uint32_t *budgets, uint32_t count,
                      int64_t amount_micros, int64_t now_us)
{
    (void)now_us;
    ledger->booked++;
    ledger->spent += amount_micros;
    ledger->last_budget = count ? budgets[count - 1] : UINT32_MAX;
}

int32_t budget_ledger_date(const struct budget_ledger *ledger)
{
    (void)ledger;
    return 20261118;
}

int32_t budget_flight_date(const struct budget_ledger *ledger, uint32_t flight)
{
    (void)ledger;
    return flight ? 20261118 : 0;
}

uint32_t budget_flight_refs(const struct budget_ledger *ledger, uint32_t flight, uint32_t *refs,
                            uint32_t *impressions)
{
    (void)ledger;
    refs[0] = 0xb1;
    *impressions = 0;
    return flight != 0;
}

void freq_confirm(struct freq_store *store, const struct freq_ticket *ticket, int64_t ttl_s)
{
    CHECK(ticket->key_count > 0);
    CHECK_INT(ttl_s, 86400);
    store->confirmed++;
}

void freq_release(struct freq_store *store, const struct freq_ticket *ticket)
{
    (void)ticket;
    store->released++;
}

uint32_t cap_ref32(struct str id)
{
    return (uint32_t)hash_str(id) | 1;
}

/* --- a small world: two workers, one catalog ------------------------------------------------- */

static uint32_t line_budgets[] = {1};
static struct catalog_budget budgets[] = {{.ref = 0xb0}, {.ref = 0xb1}};
static struct catalog_line lines[] = {
    {.id = {"line-a", 6}, .ref = 0xa1, .budgets = {line_budgets, 1}}};
static struct catalog_creative creatives[] = {
    {.ref = 0xc1, .landing = {"https://oreo.example/x?y=1", 26}},
    {.ref = 0xc2, .landing = {"https://oreo.example/\r\nX: 1", 27}}};
static struct catalog_exchange exchanges[] = {{.id = {"exch", 4}, .price_unit_micros = 1000000}};
static struct catalog_campaign campaigns[] = {{.id = {"campaign", 8}}};
static struct catalog_brand brands[] = {{.id = {"oreo", 4}, .ref = 0xd1}};
static struct tz_transition utc_transition = {.at_s = INT64_MIN};
static struct catalog world = {.generation = 1,
                               .tz = {.transitions = &utc_transition, .count = 1},
                               .lines = lines,
                               .line_count = 1,
                               .budgets = budgets,
                               .budget_count = 2,
                               .creatives = creatives,
                               .creative_count = 2,
                               .exchanges = exchanges,
                               .exchange_count = 1,
                               .campaigns = campaigns,
                               .campaign_count = 1,
                               .brands = brands,
                               .brand_count = 1,
                               .book = {.retention_s = 86400}};

__attribute__((constructor)) static void name_exchange(void)
{
    exchanges[0].ref = cap_ref32(exchanges[0].id);
}

static const struct catalog *current(void *context)
{
    (void)context;
    return &world;
}

static struct token_keys keys;
static struct budget_ledger ledgers[2];
static struct freq_store stores[2];
static struct report *reports[2];
static struct notice_desk *desks[2];
static int64_t mono_us;

static void tick(int64_t after_us)
{
    mono_us += after_us;
    for (int i = 0; i < 2; i++) {
        if (desks[i]) {
            notice_tick(desks[i], mono_us, NOW_US + mono_us);
            report_tick(reports[i], mono_us);
        }
    }
    fake_redis_deliver_all();
}

static uint64_t answered[16];
static uint32_t answered_count;
static bool answers_wait; /* the next setup: answers come through on_answered */
static struct event_log *logs[2];

static void on_answered(void *context, uint64_t ticket, const struct notice_reply *reply)
{
    (void)context;
    CHECK(reply->status == 204 || reply->status == 200);
    answered[answered_count++ % 16] = ticket;
}

static void make_desk(uint32_t i, uint32_t max_pending)
{
    struct notice_deps deps = {.keys = &keys,
                               .store = &stores[i],
                               .ledger = &ledgers[i],
                               .report = reports[i],
                               .events = logs[i],
                               .catalog = current,
                               .answer = answers_wait ? on_answered : NULL};
    desks[i] = notice_desk_create(
        &deps, &(struct notice_options){.owner = i + 1, .max_pending = max_pending});
}

static void setup_pending(uint32_t max_pending)
{
    answered_count = 0;
    fake_redis_reset();
    token_keys_derive(&keys, STR("a test deployment's secret"));
    mono_us = 1;
    for (uint32_t i = 0; i < 2; i++) {
        ledgers[i] = (struct budget_ledger){.answer = BUDGET_SETTLED};
        stores[i] = (struct freq_store){0};
        reports[i] = report_create(NULL, current, NULL);
        make_desk(i, max_pending);
    }
    tick(0);
    tick(2000000); /* now both have seen each other */
}

static void setup(void)
{
    setup_pending(256);
}

static void teardown(void)
{
    fake_redis_deliver_all();
    for (int i = 0; i < 2; i++) {
        notice_desk_destroy(&desks[i]);
        report_destroy(&reports[i]);
    }
    fake_redis_deliver_all();
    fake_redis_reset();
}

static struct notice_token token_of(uint32_t owner, uint64_t sequence)
{
    struct notice_token token = {.auction = (uint64_t)owner << 40 | sequence,
                                 .imp_hash = 7,
                                 .exchange_ref = cap_ref32(STR("exch")),
                                 .line_ref = 0xa1,
                                 .brand_ref = 0xd1,
                                 .creative_ref = 0xc1,
                                 .bid_s = NOW_S,
                                 .expires_s = NOW_S + 3600,
                                 .price_micros = BID,
                                 .cost_micros = COST,
                                 .flight = 5,
                                 .ticket = {.key_count = 1, .time_s = NOW_S}};
    token.ticket.keys[0].bytes[0] = (uint8_t)sequence;
    return token;
}

/* Says the event at desk; returns the status. */
static int say(int desk, enum notice_event event, const struct notice_token *token,
               const char *query, struct notice_reply *reply)
{
    struct token_text out;
    char path[512];
    struct notice_reply mine = {0};
    enum token_audience audience = notice_event_audience(event);
    token_write(&keys, token, &out);
    snprintf(path, sizeof(path), "/notice/%s/%.*s", notice_event_name(event),
             (int)out.len[audience], out.text[audience]);
    CHECK_INT(
        notice_handle(desks[desk], str_from(path), str_from(query), NOW_US + mono_us, 7, &mine),
        STATUS_OK);
    if (reply) {
        *reply = mine;
    }
    return mine.status;
}

static int64_t column(const char *name)
{
    char key[128];
    tick(1000000); /* the report flushes */
    struct report_row row = {
        .line_ref = 0xa1, .exchange_ref = cap_ref32(STR("exch")), .brand_ref = 0xd1};
    char text[REPORT_ROW_TEXT];
    report_row_text(&row, text);
    snprintf(key, sizeof(key), "{r20261118}c:%s", text);
    return fake_redis_number(key, name);
}

/* --- tests ----------------------------------------------------------------------------------- */

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
    char key[128], row[REPORT_ROW_TEXT];
    struct report_row refs = {
        .line_ref = 0xa1, .exchange_ref = cap_ref32(STR("exch")), .brand_ref = 0xd1};
    report_row_text(&refs, row);
    snprintf(key, sizeof(key), "{r20261118}p:%s", row);
    CHECK_INT(fake_redis_count(key), 1);
    snprintf(key, sizeof(key), "{r20261118}t:%s", row);
    CHECK_INT(fake_redis_count(key), 0); /* not in the target audience */
    CHECK_INT(fake_redis_count("{r20261118}names"), 3);
    teardown();
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
