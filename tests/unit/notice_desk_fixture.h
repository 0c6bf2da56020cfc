/* The desk over a fake Redis, and a ledger and a frequency store that only write down what they are
 * told: who applies a notice, and that it is applied once. */
#pragma once

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

static inline const struct catalog *current(void *context)
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

static inline void tick(int64_t after_us)
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

static inline void on_answered(void *context, uint64_t ticket, const struct notice_reply *reply)
{
    (void)context;
    CHECK(reply->status == 204 || reply->status == 200);
    answered[answered_count++ % 16] = ticket;
}

static inline void make_desk(uint32_t i, uint32_t max_pending)
{
    struct notice_deps deps = {.keys = &keys,
                               .store = &stores[i],
                               .ledger = &ledgers[i],
                               .report = reports[i],
                               .events = logs[i],
                               .catalog = current,
                               .answer = answers_wait ? on_answered : NULL};
    desks[i] = notice_desk_create(
        &deps, &(struct notice_options){.owner = i + 1, .max_pending = max_pending, .hold_s = 60});
}

static inline void setup_pending(uint32_t max_pending)
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

static inline void setup(void)
{
    setup_pending(256);
}

static inline void teardown(void)
{
    fake_redis_deliver_all();
    for (int i = 0; i < 2; i++) {
        notice_desk_destroy(&desks[i]);
        report_destroy(&reports[i]);
    }
    fake_redis_deliver_all();
    fake_redis_reset();
}

static inline struct notice_token token_of(uint32_t owner, uint64_t sequence)
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
static inline int say(int desk, enum notice_event event, const struct notice_token *token,
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

/* {r20261118}<kind><row> of the tokens above */
static inline void row_key(const char *kind, char key[128])
{
    struct report_row row = {
        .line_ref = 0xa1, .exchange_ref = cap_ref32(STR("exch")), .brand_ref = 0xd1};
    char text[REPORT_ROW_TEXT];
    report_row_text(&row, text);
    snprintf(key, 128, "{r20261118}%s:%s", kind, text);
}

static inline int64_t column(const char *name)
{
    char key[128];
    tick(1000000); /* the report flushes */
    row_key("c", key);
    return fake_redis_number(key, name);
}
