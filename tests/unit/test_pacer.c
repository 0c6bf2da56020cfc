/* The elected pacer: counts of several workers, a change of lead at noon, midnight, texts. */
#include "pacing/pacer.h"

#include <stdlib.h>

#include "bidder/base/prng.h"
#include "tests/test.h"

#define DAY_S   86400
#define START_S (20000 * (int64_t)DAY_S)
#define WORKERS 3

static struct tz_transition utc_always = {.at_s = INT64_MIN};
static struct tz utc = {.transitions = &utc_always, .count = 1};

static struct str text_of_state(const struct pacer_state *state)
{
    static struct buf buf;
    if (!buf.limit) {
        buf_init(&buf, 4096);
    }
    buf_reset(&buf);
    pacer_state_put(&buf, state);
    return buf_str(&buf);
}

/* Days in which each worker sees `requests` per 10 s; every participation costs 1 at once. */
struct world {
    struct pacer_budget budget;
    struct pacer_lead *lead;
    struct pacer_state state;
    struct pacer_counts counts[WORKERS];
    int64_t spent, total;
};

/* prng: requests are drawn; NULL: exactly the share takes part. */
static void step_by(struct world *world, int64_t now_s, int64_t requests, struct prng *prng)
{
    int64_t date = 20241004 + (now_s - START_S) / DAY_S;
    for (int i = 0; i < WORKERS; i++) {
        struct pacer_counts *counts = &world->counts[i];
        if (counts->date != date) { /* the ledger's accounts are new */
            counts->committed = counts->closed = counts->settled = 0;
            counts->date = date;
            world->spent = i ? world->spent : 0;
        }
        int64_t in = prng ? 0 : requests * world->state.p / THROTTLE_ONE;
        for (int64_t k = 0; prng && k < requests; k++) {
            in += throttle_participates((uint32_t)world->state.p, prng_next(prng));
        }
        int64_t left = world->budget.daily ? world->budget.daily - world->spent
                                           : world->budget.total - world->total;
        in = in < left ? in : left;
        counts->eligible += requests;
        counts->participated += in;
        counts->committed += in;
        counts->closed += in;
        counts->settled += in;
        world->spent += in;
        world->total += in;
        counts->now_s = now_s;
    }
    for (int i = 0; i < WORKERS; i++) {
        world->counts[i].spent = world->budget.daily ? world->spent : 0;
        world->counts[i].spent_total = world->budget.total ? world->total : 0;
        pacer_lead_hear(world->lead, (uint32_t)i + 1, &world->counts[i], now_s);
    }
    (void)pacer_lead_tick(world->lead, &world->budget, &utc, now_s, &world->state);
}

static void step(struct world *world, int64_t now_s, int64_t requests)
{
    step_by(world, now_s, requests, NULL);
}

static void begin(struct world *world, struct pacer_budget budget)
{
    memset(world, 0, sizeof(*world));
    world->budget = budget;
    world->lead = pacer_lead_create();
    pacer_lead_begin(world->lead, STR_NONE, STR_NONE);
    world->state.p = THROTTLE_START;
}

TEST(a_day_led_by_two_pacers_lands_on_plan)
{
    struct world world;
    begin(&world, (struct pacer_budget){.mode = PLAN_EVEN, .daily = 10000000});
    for (int64_t at = 0; at < DAY_S; at += 10) {
        if (at == DAY_S / 2) { /* the leader dies; the next one knows what was published */
            struct pacer_state last = world.state;
            struct str text = text_of_state(&last);
            pacer_lead_destroy(&world.lead);
            world.lead = pacer_lead_create();
            pacer_lead_begin(world.lead, text, STR("broken"));
        }
        step(&world, START_S + at, 10000);
        int64_t off = world.state.spent - world.state.planned;
        if (at > 1200) {
            CHECK(off < 150000 && off > -150000); /* 1.5% */
        }
        if (at > 1200 && at < DAY_S / 24 * 23) {
            CHECK_INT(world.state.reason, PACER_ON_PLAN);
            CHECK(world.state.forecast == 10000000);
        }
    }
    CHECK(world.spent > 9990000 && world.spent <= 10000000);
    CHECK_INT(world.state.reason, PACER_SPENT);
    pacer_lead_destroy(&world.lead);
}

TEST(a_total_is_spread_over_its_days_and_midnight_starts_a_plan)
{
    struct world world;
    begin(&world, (struct pacer_budget){.mode = PLAN_EVEN,
                                        .total = 20000000,
                                        .start_s = START_S,
                                        .end_s = START_S + 2 * DAY_S});
    int64_t first_day = 0;
    for (int64_t at = 0; at < 2 * DAY_S; at += 10) {
        step(&world, START_S + at, 10000);
        first_day = at < DAY_S ? world.total : first_day;
    }
    CHECK(first_day > 9900000 && first_day < 10100000);
    CHECK(world.total > 19900000 && world.total <= 20000000);
    step(&world, START_S + 2 * DAY_S + 10, 10000);
    CHECK_INT(world.state.p, 0);
    CHECK_INT(world.state.reason, PACER_NOT_NOW);
    pacer_lead_destroy(&world.lead);
}

TEST(it_says_why_a_budget_falls_short)
{
    struct world world;
    begin(&world, (struct pacer_budget){.mode = PLAN_EVEN, .daily = 1000000000});
    for (int64_t at = 0; at < DAY_S / 2; at += 10) {
        step(&world, START_S + at, 10000);
    }
    CHECK_INT(world.state.reason, PACER_WIDE_OPEN);
    CHECK(world.state.forecast < 300000000);
    for (int64_t at = DAY_S / 2; at < DAY_S / 4 * 3; at += 10) {
        step(&world, START_S + at, 0);
    }
    CHECK_INT(world.state.reason, PACER_NO_TRAFFIC);
    pacer_lead_destroy(&world.lead);
}

/* Every quarter hour spends what was due in it when it began, also when the hours learned during the
 * day show twice the traffic of the others; and the next day starts with the scale it learned. */
TEST(quarter_hours_stay_on_their_line_while_hours_are_learned)
{
    struct world world;
    begin(&world, (struct pacer_budget){.mode = PLAN_EVEN, .daily = 10000000});
    struct plan_curve curve;
    for (int hour = 0; hour < PLAN_HOURS_OF_WEEK; hour++) {
        curve.per_hour[hour] = 5000000;
    }
    struct buf text;
    buf_init(&text, 8192);
    pacer_curve_put(&text, &curve);
    pacer_lead_begin(world.lead, STR_NONE, buf_str(&text));
    buf_deinit(&text);
    double due = 0, from = 0;
    for (int64_t at = 0; at < DAY_S / 24 * 22; at += 10) {
        if (at % 900 == 0) {
            double spent = (double)world.spent;
            CHECK(at < 1800 || (spent - from > 0.98 * due && spent - from < 1.02 * due));
            due = (1e7 - spent) * 900 / (double)(DAY_S - 1800 - at);
            from = spent;
        }
        step(&world, START_S + at, 10000);
    }
    pacer_lead_destroy(&world.lead);
}

TEST(the_first_hour_and_a_new_day_know_the_scale_of_the_traffic)
{
    struct world world;
    begin(&world, (struct pacer_budget){.mode = PLAN_EVEN, .daily = 10000000});
    double before = 0;
    for (int64_t at = 0; at <= DAY_S; at += 10) {
        if (at == DAY_S / 2) { /* a new leader plans by what was learned: thrice as much at night */
            struct str text = text_of_state(&world.state);
            struct buf curve;
            buf_init(&curve, 8192);
            pacer_curve_put(&curve, pacer_lead_curve(world.lead));
            pacer_lead_destroy(&world.lead);
            world.lead = pacer_lead_create();
            pacer_lead_begin(world.lead, text, buf_str(&curve));
            buf_deinit(&curve);
        }
        step(&world, START_S + at, at % DAY_S < DAY_S / 6 ? 10000 : 30000);
        const struct throttle_ratio *load = &world.state.throttle.load;
        double seen = (double)load->over * PLAN_TRAFFIC_ONE / ((double)load->under + 1);
        if (at < 3600) { /* the plan takes an hour to hold 1000 requests */
            CHECK(at < 60 || seen > 10000);
        } else if (at < DAY_S / 6) { /* from here on requests are counted in requests */
            CHECK(seen > 0.9 && seen < 1.1);
        } else if (at > DAY_S / 6 + 3600 && at < DAY_S / 2) {
            CHECK(seen > 2.7 && seen < 3.3);
        } else if (at >= DAY_S / 2 && at < DAY_S - 7200) {
            CHECK(seen > 1.2 && seen < 1.4); /* of a mean of ten and thirty thousand */
        } else if (at == DAY_S) { /* its last hour was thought to be 24.5, and was 32.3 million */
            CHECK(seen > 0.7 * before && seen < 0.82 * before);
        }
        before = seen;
    }
    pacer_lead_destroy(&world.lead);
}

TEST(a_budget_seen_first_at_noon_plans_the_afternoon)
{
    struct world world;
    begin(&world, (struct pacer_budget){.mode = PLAN_EVEN, .daily = 10000000});
    for (int64_t at = DAY_S / 2; at < DAY_S; at += 10) {
        step(&world, START_S + at, 10000);
        if (at == DAY_S / 4 * 3) {
            CHECK(world.spent > 4900000 && world.spent < 5500000);
        }
    }
    CHECK(world.spent > 9990000 && world.spent <= 10000000);
    pacer_lead_destroy(&world.lead);
}

TEST(a_budget_raised_or_lowered_is_planned_anew)
{
    struct world world;
    begin(&world, (struct pacer_budget){.mode = PLAN_EVEN, .daily = 10000000});
    for (int64_t at = 0; at < DAY_S; at += 10) {
        if (at == DAY_S / 4) {
            world.budget.daily = 1000000; /* below what is spent */
        }
        if (at == DAY_S / 4 + 20) {
            CHECK_INT(world.state.p, 0);
            CHECK_INT(world.state.reason, PACER_SPENT);
        }
        if (at == DAY_S / 2) {
            world.budget.daily = 12000000;
        }
        step(&world, START_S + at, 10000);
    }
    CHECK(world.spent > 11900000 && world.spent <= 12000000);
    pacer_lead_destroy(&world.lead);
}

/* 2000 impressions over a day: one every 42 s. What takes part wins. */
TEST(a_few_impressions_are_spread_over_the_day)
{
    for (int64_t requests = 3; requests <= 300; requests *= 10) { /* a worker's, per 10 s */
        struct world world;
        begin(&world, (struct pacer_budget){.mode = PLAN_EVEN, .daily = 2000, .impressions = true});
        struct prng prng = {.state = 17};
        for (int64_t at = 0; at < DAY_S; at += 10) {
            int64_t before = world.spent;
            step_by(&world, START_S + at, requests, &prng);
            CHECK(world.spent - before <= 40);
            if (at % 3600 == 0 && at > 7200) {
                int64_t off = world.spent - world.state.planned;
                CHECK(off < 60 && off > -60);
            }
        }
        CHECK(world.spent > 1980 && world.spent <= 2000);
        pacer_lead_destroy(&world.lead);
    }
}

TEST(the_curve_is_learned_and_published)
{
    struct world world;
    begin(&world, (struct pacer_budget){.mode = PLAN_EVEN, .daily = 10000000});
    for (int64_t at = 0; at < DAY_S; at += 10) {
        step(&world, START_S + at, at / 3600 == 5 ? 50 : 10);
    }
    struct buf text;
    buf_init(&text, 8192);
    pacer_curve_put(&text, pacer_lead_curve(world.lead));
    struct plan_curve curve;
    CHECK(pacer_curve_parse(buf_str(&text), &curve));
    int hour = tz_hour_of_week(&utc, START_S);
    CHECK_INT(curve.per_hour[hour + 5], 359 * 3 * 50 + 3 * 10);
    CHECK_INT(curve.per_hour[hour + 6], 360 * 3 * 10);
    text.len--;
    text.len = text.len > 200 ? 200 : text.len;
    CHECK(!pacer_curve_parse(buf_str(&text), &curve));
    buf_deinit(&text);
    pacer_lead_destroy(&world.lead);
}

TEST(texts_from_redis_are_not_trusted)
{
    struct pacer_state state = {.date = 20241004, .p = 5, .throttle = {.p = 7, .pending = -1}},
                       again;
    struct str text = text_of_state(&state);
    CHECK(pacer_state_parse(text, &again));
    CHECK_INT(again.throttle.p, 7);
    CHECK_INT(again.throttle.pending, -1);
    for (size_t len = 0; len + 2 < text.len; len++) {
        CHECK(!pacer_state_parse((struct str){text.ptr, len}, &again));
    }
    state.p = (int64_t)THROTTLE_ONE + 1;
    CHECK(!pacer_state_parse(text_of_state(&state), &again));
    state.p = 5;
    state.reason = PACER_REASON_COUNT;
    CHECK(!pacer_state_parse(text_of_state(&state), &again));
    struct pacer_counts counts;
    CHECK(pacer_counts_parse(STR("1 2 3 4 5 6 7 8 9 10"), &counts));
    CHECK_INT(counts.spent_total, 9);
    CHECK(!pacer_counts_parse(STR("1 2 3 4 5 6 7 8 9"), &counts));
    CHECK(!pacer_counts_parse(STR("1 2 3 4 5 6 7 8 9 -10"), &counts));
    CHECK(!pacer_counts_parse(STR("1 2 3 4 5 6 7 8 9 10 11"), &counts));
    struct buf json;
    buf_init(&json, 4096);
    state.reason = PACER_AHEAD;
    pacer_state_put_json(&json, STR("line:\"x\""), &state);
    CHECK(strstr(json.data, "{\"budget\":\"line:\\\"x\\\"\",\"p\":0.0000,") != NULL);
    CHECK(strstr(json.data, "\"reason\":\"ahead\"") != NULL);
    buf_deinit(&json);
}

__attribute__((destructor)) static void free_text(void)
{
    struct pacer_state none = {0};
    free((void *)(uintptr_t)text_of_state(&none).ptr);
}
