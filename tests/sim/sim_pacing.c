/* Days of simulated traffic against the real plan, throttle and elected pacer, with a fake clock.
 *
 *   sim_pacing              quick: one seed, every scenario, the figures asserted
 *   SIM_FULL=1 sim_pacing   five seeds, three laws side by side, a table (make sim-pacing);
 *                           SIM_SHARED=DIR measured shapes, SIM_PLOT=DIR a picture per scenario,
 *                           SIM_SEEDS=25 more days, SIM_OURS=1 our law only
 *
 * One line, 3.5 M eligible requests a day, second-price wins from measured histograms when the
 * data folder is there. Per second: Poisson-like arrivals, each request is one bid at most, at one
 * of four workers, who tell their counts every 5 s and read p as late as real ones do; wins and
 * losses are told 1-60 s later, or never, then the commitment is freed after 300 s. Spend is
 * counted when it settles. Bursts and outages begin anywhere in a slot, by the seed. Measures, all
 * against the plan made in the morning:
 *   deviation   max over the day of |spent - plan| / budget
 *   slot error  sum over quarter hours of |spent in slot - due in slot| / budget, where due is
 *               what was left when the slot began, on plan: so what an outage or a lack of traffic
 *               left unspent is owed by the rest of the day, once. Slots an outage touches are left
 *               out: there was nothing to buy
 *   worst       the worst single slot by its own due; not the last one before the plan's end: what
 *               is left by then is held by bids in flight, at full price until they are answered,
 *               and settles behind it
 *   overspend   most by which settled + committed ever passed the budget                        */
#include <math.h>

#include "bidder/base/bug.h"
#include "bidder/base/prng.h"
#include "pacing/pacer_lead.h"
#include "tests/test.h"

#define DAY_S     86400
#define SLOTS     96
#define TIMEOUT_S 300
#define RING_S    512
#define MAX_PRICE 301
#define MONDAY_S  (4 * (int64_t)DAY_S) /* 1970-01-05 */
#define MONDAY    19700105
#define WORKERS   4
#define KILLED_S  120

enum law { LAW_OURS, LAW_STEP, LAW_NONE, LAW_COUNT };
static const char *const law_names[LAW_COUNT] = {"ours", "x1.1/x0.9", "no pacing"};

struct scenario {
    const char *name;
    double traffic;     /* of the expected */
    double shape_error; /* every hour off by up to this */
    int burst_at_s, outage_at_s;
    int late_percent; /* of the wins, told behind the timeout: spend without commitment */
    int kill_at_s;    /* a worker with a quarter of what is in flight is away for two minutes */
    double limit_deviation, limit_overspend;
};
static const struct scenario scenarios[] = {
    {.name = "as planned", .traffic = 1, .limit_deviation = 0.015},
    {.name = "traffic x0.5", .traffic = 0.5, .limit_deviation = 0.015},
    {.name = "traffic x2", .traffic = 2, .limit_deviation = 0.015},
    {.name = "hour shape off 30%", .traffic = 1, .shape_error = 0.3, .limit_deviation = 0.015},
    {.name = "burst x6, 15 min", .traffic = 1, .burst_at_s = 10 * 3600, .limit_deviation = 0.03},
    {.name = "outage 1 h", .traffic = 1, .outage_at_s = 19 * 3600, .limit_deviation = 0.06},
    {.name = "5% late, one killed",
     .traffic = 1,
     .late_percent = 5,
     .kill_at_s = 15 * 3600,
     .limit_deviation = 0.015,
     .limit_overspend = 0.001},
};
#define SCENARIOS COUNT_OF(scenarios)

static struct {
    double share[24]; /* of the day */
    double price_cdf[MAX_PRICE + 1];
    double requests_per_day;
    const char *shape_from, *prices_from;
} world;

/* --- the world ----------------------------------------------------------------------------- */

static void world_built_in(void)
{
    static const int shape[24] = {14, 10, 8,  8,  10, 14, 20, 29, 44, 61, 71, 73,
                                  72, 71, 69, 66, 63, 58, 54, 48, 43, 37, 31, 26};
    double sum = 0;
    for (int hour = 0; hour < 24; hour++) {
        world.share[hour] = shape[hour];
        sum += shape[hour];
    }
    for (int hour = 0; hour < 24; hour++) {
        world.share[hour] /= sum;
    }
    double all = 0;
    for (int price = 0; price < MAX_PRICE; price++) { /* log-normal around 60 */
        double x = log((price + 1) / 60.0) / 0.8;
        all += exp(-x * x / 2) / (price + 1);
        world.price_cdf[price] = all;
    }
    for (int price = 0; price < MAX_PRICE; price++) {
        world.price_cdf[price] /= all;
    }
    world.shape_from = world.prices_from = "built in";
}

static bool open_shared(FILE **file, const char *shared, const char *name)
{
    char path[512];
    snprintf(path, sizeof(path), "%s/data/auction/%s", shared, name);
    return (*file = fopen(path, "r")) != NULL;
}

static void read_shape(const char *shared)
{
    FILE *file;
    char line[128];
    double sum = 0, share[24] = {0};
    if (!open_shared(&file, shared, "traffic_share.csv")) {
        return;
    }
    while (fgets(line, sizeof(line), file)) {
        int region, weekday, hour;
        double part;
        if (sscanf(line, "%d,%d,%d,%lf", &region, &weekday, &hour, &part) == 4 && weekday == 1 &&
            hour >= 0 && hour < 24) {
            share[hour] += part;
            sum += part;
        }
    }
    fclose(file);
    for (int hour = 0; sum > 0 && hour < 24; hour++) {
        world.share[hour] = share[hour] / sum;
        world.shape_from = "traffic_share.csv";
    }
}

static void read_prices(const char *shared)
{
    FILE *file;
    static char text[65536];
    if (!open_shared(&file, shared, "ipinyou/2259.json")) {
        return;
    }
    text[fread(text, 1, sizeof(text) - 1, file)] = 0;
    fclose(file);
    const char *at = strstr(text, "\"price_counter_train\"");
    at = at ? strchr(at, '[') : NULL;
    double all = 0;
    for (int price = 0; at && price < MAX_PRICE; price++) {
        char *end;
        all += strtod(at + 1, &end);
        world.price_cdf[price] = all;
        at = end + strcspn(end, ",]");
    }
    for (int price = 0; all > 0 && price < MAX_PRICE; price++) {
        world.price_cdf[price] /= all;
        world.prices_from = "ipinyou/2259.json";
    }
}

/* Requests per second at a second of the day: lines between the middles of the hours. */
static double rate_at(const double share[24], int second)
{
    int hour = second / 3600;
    double off = (second % 3600) / 3600.0 - 0.5;
    int other = (hour + (off < 0 ? 23 : 1)) % 24;
    return (share[hour] + (share[other] - share[hour]) * fabs(off)) / 3600;
}

static double gauss(struct prng *prng)
{
    double sum = -6;
    for (int i = 0; i < 12; i++) {
        sum += prng_unit(prng);
    }
    return sum;
}

static int poisson(struct prng *prng, double mean)
{
    double value = mean + sqrt(mean) * gauss(prng);
    if (mean > 30) {
        return value > 0 ? (int)(value + 0.5) : 0;
    }
    int count = 0;
    for (double left = exp(-mean), product = prng_unit(prng); product > left; count++) {
        product *= prng_unit(prng);
    }
    return count;
}

/* --- one day ------------------------------------------------------------------------------- */

struct result {
    double spend, deviation, slot_error, worst_slot, overspend;
};

struct worker {
    struct pacer_counts counts, told;
    uint32_t p; /* as last read */
    struct {
        int64_t settled, closed;
    } ring[RING_S];
};

struct day {
    const struct scenario *scenario;
    enum law law;
    struct prng prng;
    struct plan_day plan;
    struct pacer_lead *lead;
    struct pacer_state state; /* as last published */
    struct worker workers[WORKERS];
    double share[24], noise;
    int burst_at_s, outage_at_s;
    int64_t budget, spent, committed, seen_high;
    double p; /* of the other laws */
    double slot_due, slot_spent_before, slots_off;
    struct result result;
    FILE *plot;
};

static bool during(int from_s, int length_s, int second)
{
    return from_s && second >= from_s && second < from_s + length_s;
}

static double traffic_factor(const struct day *day, int second)
{
    if (during(day->outage_at_s, 3600, second)) {
        return 0;
    }
    return day->scenario->traffic * day->noise * (during(day->burst_at_s, 900, second) ? 6 : 1);
}

/* The last worker is away for two minutes. */
static bool is_killed(const struct day *day, uint64_t worker, int second)
{
    return worker == WORKERS - 1 && during(day->scenario->kill_at_s, KILLED_S, second);
}

static bool participates(const struct day *day, const struct worker *worker, uint64_t hash)
{
    if (day->law == LAW_OURS) {
        return throttle_participates(worker->p, hash);
    }
    return day->law == LAW_NONE || (double)(hash >> 34) < day->p * THROTTLE_ONE;
}

static void one_request(struct day *day, int second, int bid, double drift)
{
    uint64_t draw = prng_next(&day->prng), to = prng_below(&day->prng, WORKERS);
    struct worker *worker = &day->workers[is_killed(day, to, second) ? 0 : to];
    worker->counts.eligible++;
    if (!participates(day, worker, draw)) {
        return;
    }
    worker->counts.participated++;
    int64_t amount = bid * 1000; /* micros of one impression */
    if (day->spent + day->committed + amount > day->budget) {
        return;
    }
    day->committed += amount;
    worker->counts.committed += amount;
    worker->counts.in_flight += amount;
    double unit = prng_unit(&day->prng);
    int market = 0;
    for (int step = 256; step; step /= 2) { /* the histogram's quantile */
        if (market + step < MAX_PRICE && world.price_cdf[market + step - 1] < unit) {
            market += step;
        }
    }
    int64_t price = (int64_t)(market * drift * 1000);
    bool won = price < amount;
    bool told = won || draw % 2;
    int delay = told ? 1 + (int)prng_below(&day->prng, 60) : TIMEOUT_S;
    int slot = (second + delay) % RING_S;
    if (won && (int)prng_below(&day->prng, 100) < day->scenario->late_percent) {
        worker->ring[(second + TIMEOUT_S) % RING_S].closed += amount;
        slot = (second + TIMEOUT_S + 1 + (int)prng_below(&day->prng, 120)) % RING_S;
        worker->ring[slot].settled += price;
        return;
    }
    worker->ring[slot].closed += amount;
    worker->ring[slot].settled += won ? price : 0;
}

static void settle_second(struct day *day, int second)
{
    int slot = second % RING_S;
    for (int i = 0; i < WORKERS; i++) {
        struct worker *worker = &day->workers[i];
        int64_t settled = worker->ring[slot].settled, closed = worker->ring[slot].closed;
        worker->ring[slot].settled = worker->ring[slot].closed = 0;
        day->spent += settled;
        day->committed -= closed;
        worker->counts.settled += settled;
        worker->counts.closed += closed;
        worker->counts.in_flight -= closed;
    }
    int64_t high = day->spent + day->committed - day->budget;
    day->seen_high = high > day->seen_high ? high : day->seen_high;
}

/* What the dead worker held counts as spent, and its notices wait, until it is back. */
static void kill_worker(struct day *day, int second)
{
    struct worker *worker = &day->workers[WORKERS - 1];
    int to = (second + KILLED_S) % RING_S;
    for (int ahead = 0; ahead < KILLED_S; ahead++) {
        int from = (second + ahead) % RING_S;
        worker->ring[to].settled += worker->ring[from].settled;
        worker->ring[to].closed += worker->ring[from].closed;
        worker->ring[from].settled = worker->ring[from].closed = 0;
    }
}

/* As pacer.c does it: each worker tells its counts every 5 s, in turn, and reads what was published
 * last; worker 0 leads, hears what all told last and publishes every 10 s. */
static void tell_and_read(struct day *day, int second)
{
    static struct tz_transition utc_always = {.at_s = INT64_MIN};
    static const struct tz utc = {.transitions = &utc_always, .count = 1};
    int64_t now_s = MONDAY_S + second;
    const struct pacer_budget budget = {.mode = PLAN_EVEN, .daily = day->budget};
    for (int i = 0; i < WORKERS; i++) {
        struct worker *worker = &day->workers[i];
        if ((second + 4 * i) % 5 || is_killed(day, (uint64_t)i, second)) {
            continue;
        }
        worker->told = worker->counts;
        worker->told.date = MONDAY;
        worker->told.spent = day->spent;
        worker->told.now_s = now_s;
        if (i == 0) {
            for (int k = 0; k < WORKERS; k++) {
                pacer_lead_hear(day->lead, (uint32_t)k + 1, &day->workers[k].told, now_s);
            }
            if (second % 10 == 0) {
                (void)pacer_lead_tick(day->lead, &budget, &utc, now_s, &day->state);
            }
        }
        worker->p = day->state.date ? (uint32_t)day->state.p : THROTTLE_START;
    }
}

static void other_law(struct day *day, int second)
{
    double due = (double)plan_day_spend(&day->plan, MONDAY_S + second) / PLAN_ONE;
    day->p *= (double)day->spent < due * (double)day->budget ? 1.1 : 0.9;
    day->p = day->p > 1 ? 1 : day->p < 1e-4 ? 1e-4 : day->p;
}

static double plan_at(const struct day *day, int second)
{
    return (double)plan_day_spend(&day->plan, MONDAY_S + second) / PLAN_ONE;
}

/* Every quarter hour: what was due in the one that ends, and what will be in the next. */
static void close_slot(struct day *day, int second)
{
    double spent = (double)day->spent / (double)day->budget;
    int out = day->outage_at_s;
    bool silent = out && second > out && second - 900 < out + 3600;
    if (day->slot_due > 0 && !silent) {
        double off = fabs(spent - day->slot_spent_before - day->slot_due);
        day->slots_off += off;
        if (MONDAY_S + second < day->plan.goal_end_s) {
            day->result.worst_slot = fmax(day->result.worst_slot, off / day->slot_due);
        }
    }
    double now = plan_at(day, second), next = plan_at(day, second + 900);
    day->slot_due = now < 1 ? (1 - spent) * (next - now) / (1 - now) : 0;
    day->slot_spent_before = spent;
    if (day->plot) {
        fprintf(day->plot, "%d %.5f %.5f\n", second, now, spent);
    }
}

static void setup_day(struct day *day, uint64_t seed)
{
    struct tz_transition utc = {.at_s = INT64_MIN};
    struct tz tz = {.name = STR("UTC"), .transitions = &utc, .count = 1};
    static struct plan_curve curve;
    day->prng.state = seed * 7919;
    for (int hour = 0; hour < PLAN_HOURS_OF_WEEK; hour++) {
        curve.per_hour[hour] = (uint32_t)(world.share[hour % 24] * world.requests_per_day);
    }
    for (int hour = 0; hour < 24; hour++) {
        double off = (2 * prng_unit(&day->prng) - 1) * day->scenario->shape_error;
        day->share[hour] = world.share[hour] * (1 + off);
    }
    struct plan_options options = {.mode = PLAN_EVEN, .curve = &curve};
    plan_day_build(&day->plan, &options, &tz, MONDAY_S);
    struct buf text;
    buf_init(&text, 8192);
    pacer_curve_put(&text, &curve);
    day->lead = pacer_lead_create();
    BUG_ON(!day->lead || buf_failed(&text));
    pacer_lead_begin(day->lead, STR_NONE, buf_str(&text));
    buf_deinit(&text);
    /* Not always at a slot's beginning. */
    day->burst_at_s = day->scenario->burst_at_s;
    day->burst_at_s += day->burst_at_s ? (int)((seed - 1) * 217 % 900) : 0;
    day->outage_at_s = day->scenario->outage_at_s;
    day->outage_at_s += day->outage_at_s ? (int)((seed - 1) * 217 % 900) : 0;
    day->p = 0.1;
    day->noise = 1;
}

static struct result run_day(const struct scenario *scenario, enum law law, uint64_t seed,
                             FILE *plot)
{
    struct day *day = calloc(1, sizeof(*day));
    BUG_ON(!day);
    day->scenario = scenario;
    day->law = law;
    day->plot = plot;
    int bid = 0; /* wins three of five */
    while (world.price_cdf[bid] < 0.6) {
        bid++;
    }
    double mean_price = 0;
    for (int price = 1; price < bid; price++) {
        mean_price += price * 1000 * (world.price_cdf[price] - world.price_cdf[price - 1]);
    }
    /* On a planned day one request in nine pays for the budget. */
    day->budget = (int64_t)(world.requests_per_day * mean_price / 9);
    setup_day(day, seed);
    for (int second = 0; second < DAY_S; second++) {
        if (second % 60 == 0) { /* traffic wanders by itself by 5% */
            day->noise = 1 + 0.9 * (day->noise - 1) + 0.02 * gauss(&day->prng);
        }
        double drift = 1 + 0.15 * sin(second * 2 * 3.14159265 / DAY_S); /* prices over the day */
        double mean =
            rate_at(day->share, second) * world.requests_per_day * traffic_factor(day, second);
        for (int left = mean > 0 ? poisson(&day->prng, mean) : 0; left > 0; left--) {
            one_request(day, second, bid, drift);
        }
        if (scenario->kill_at_s && second == scenario->kill_at_s) {
            kill_worker(day, second);
        }
        settle_second(day, second);
        double off = fabs((double)day->spent / (double)day->budget - plan_at(day, second));
        day->result.deviation = off > day->result.deviation ? off : day->result.deviation;
        tell_and_read(day, second + 1);
        if (second % 60 == 59 && law == LAW_STEP) {
            other_law(day, second + 1);
        }
        if (second % 900 == 899) {
            close_slot(day, second + 1);
        }
    }
    for (int second = DAY_S; second < DAY_S + RING_S; second++) { /* the last notices */
        settle_second(day, second);
    }
    struct result result = day->result;
    result.spend = (double)day->spent / (double)day->budget;
    result.slot_error = day->slots_off;
    result.overspend = (double)day->seen_high / (double)day->budget;
    pacer_lead_destroy(&day->lead);
    free(day);
    return result;
}

/* --- tables and pictures ------------------------------------------------------------------- */

static void worse(struct result *into, const struct result *from)
{
    into->spend = from->spend < into->spend ? from->spend : into->spend;
    into->deviation = fmax(into->deviation, from->deviation);
    into->slot_error = fmax(into->slot_error, from->slot_error);
    into->worst_slot = fmax(into->worst_slot, from->worst_slot);
    into->overspend = fmax(into->overspend, from->overspend);
}

static void plot_svg(const char *folder, size_t which)
{
    char path[512];
    snprintf(path, sizeof(path), "%s/pacing-%zu.svg", folder, which);
    FILE *svg = fopen(path, "w");
    if (!svg) {
        fprintf(stderr, "cannot write %s\n", path);
        return;
    }
    static const char *const colours[] = {"#1668b8", "#c65d00", "#8a8a8a"};
    fprintf(
        svg,
        "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 1000 460' font-family='sans-serif'"
        " font-size='14'><rect width='1000' height='460' fill='white'/>"
        "<text x='40' y='24'>%s: share of the budget spent over the day</text>",
        scenarios[which].name);
    for (int law = 0; law < LAW_COUNT; law++) {
        FILE *points = tmpfile();
        BUG_ON(!points);
        run_day(&scenarios[which], (enum law)law, 1, points);
        for (int line = law ? 1 : 0; line < 2; line++) {
            rewind(points);
            fprintf(svg, "<polyline fill='none' stroke='%s' stroke-width='2' %s points='",
                    line ? colours[law] : "#222", line ? "" : "stroke-dasharray='6 5'");
            int second;
            double plan, spent;
            while (fscanf(points, "%d %lf %lf", &second, &plan, &spent) == 3) {
                fprintf(svg, "%.1f,%.1f ", 40 + second * 920.0 / DAY_S,
                        430 - 390 * (line ? spent : plan));
            }
            fprintf(svg, "'/>");
        }
        fprintf(svg, "<text x='%d' y='450' fill='%s'>%s</text>", 200 + law * 120, colours[law],
                law_names[law]);
        fclose(points);
    }
    fprintf(svg, "<text x='40' y='450' fill='#222'>- - plan</text></svg>\n");
    fclose(svg);
    printf("wrote %s\n", path);
}

static void check_figures(const struct scenario *scenario, const struct result *result)
{
    CHECK(result->spend >= 0.99 && result->spend <= 1 + scenario->limit_overspend);
    CHECK(result->deviation <= scenario->limit_deviation);
    CHECK(result->slot_error <= 0.10);
    CHECK(result->worst_slot <= 0.10);
    CHECK(result->overspend <= scenario->limit_overspend);
}

static void full_table(const char *plot)
{
    uint64_t seeds = getenv("SIM_SEEDS") ? strtoull(getenv("SIM_SEEDS"), NULL, 10) : 5;
    int laws = getenv("SIM_OURS") ? 1 : LAW_COUNT;
    printf("A day of %.1f M eligible requests; hours %s, win prices %s; worst of %d seeds.\n\n",
           world.requests_per_day / 1e6, world.shape_from, world.prices_from, (int)seeds);
    printf("%-20s %-10s %9s %9s %9s %9s %9s\n", "scenario", "law", "spend", "deviation", "slot err",
           "worst", "overspend");
    for (size_t i = 0; i < SCENARIOS; i++) {
        for (int law = 0; law < laws; law++) {
            struct result all = {.spend = 1e9, .overspend = -1};
            for (uint64_t seed = 1; seed <= seeds; seed++) {
                struct result one = run_day(&scenarios[i], (enum law)law, seed, NULL);
                worse(&all, &one);
                if (law == LAW_OURS) {
                    check_figures(&scenarios[i], &one);
                }
            }
            printf("%-20s %-10s %8.2f%% %8.2f%% %8.1f%% %8.1f%% %8.3f%%\n",
                   law ? "" : scenarios[i].name, law_names[law], 100 * all.spend,
                   100 * all.deviation, 100 * all.slot_error, 100 * all.worst_slot,
                   100 * all.overspend);
            fflush(stdout);
        }
        if (plot) {
            plot_svg(plot, i);
        }
    }
    printf("\nfigures %s\n", test_failures_here ? "MISSED" : "met");
}

TEST(a_day_in_every_scenario_lands_on_plan)
{
    if (getenv("SIM_FULL")) {
        const char *shared = getenv("SIM_SHARED");
        shared = shared ? shared : "../shared";
        world.requests_per_day = 3500000;
        read_shape(shared);
        read_prices(shared);
        full_table(getenv("SIM_PLOT"));
        return;
    }
    for (size_t i = 0; i < SCENARIOS; i++) {
        struct result result = run_day(&scenarios[i], LAW_OURS, 1, NULL);
        printf("%-20s spend %.2f%% deviation %.2f%% slot error %.1f%% worst %.1f%% (seed 1)\n",
               scenarios[i].name, 100 * result.spend, 100 * result.deviation,
               100 * result.slot_error, 100 * result.worst_slot);
        check_figures(&scenarios[i], &result);
    }
}

__attribute__((constructor)) static void setup_world(void)
{
    world_built_in();
    world.requests_per_day = 1500000;
}
