/* What finding and selecting costs by catalog size.
 *
 *   build/release/bench/bench_select [ROUNDS]
 *
 * Catalogs of 10 to 100,000 line items; the same request matches the same 8 lines in each (the
 * others differ in deal, place, medium, size, ...), so a cost that follows matches is flat. Three
 * mixes of the others:
 *   deals    each line buys through a deal of its own
 *   places   open lines, each for other cities and media
 *   mixed    every dimension lets about one line in four through, none is selective alone
 * And one impression that names 10 to 1000 deals of the largest "deals" catalog.
 * prepare+find is per request with one impression; offer adds select_offer for each match and the
 * ranking; plain is target_explain over all lines (the oracle), for comparison. */
#include <stdio.h>
#include <stdlib.h>

#include "bidder/base/bug.h"
#include "bidder/base/clock.h"
#include "bidder/base/prng.h"
#include "bidder/select.h"
#include "bidder/target.h"

#define MATCHES 8
#define MOST    1200 /* lines one request may match */
#define NOW     INT64_C(1764000000)

enum mix { MIX_DEALS, MIX_PLACES, MIX_MIXED, MIX_COUNT };
static const char *const mix_names[] = {"deals", "places", "mixed"};

static struct prng prng = {.state = 1};
static struct catalog catalog;
static struct catalog_exchange exchange = {
    .id = {"x", 1}, .seat = {"s1", 2}, .price_unit_micros = 1000000};
static struct catalog_advertiser advertiser = {.domain = {"oreo.example", 12}};
static struct catalog_currency currency = {{"CNY", 3}, 1000000};
static struct tz_transition zone = {INT64_MIN, 28800};
static struct line_creative line_creatives[4];

static struct str text_of(const char *prefix, uint32_t number, const char *suffix)
{
    char text[64];
    int len = snprintf(text, sizeof(text), "%s%u%s", prefix, number, suffix);
    return arena_strdup(&catalog.arena, (struct str){text, (size_t)len});
}

static struct str_list one_text(const char *prefix, uint32_t number, const char *suffix)
{
    struct str_list list = {arena_calloc(&catalog.arena, 1, sizeof(struct str)), 1};
    list.items[0] = text_of(prefix, number, suffix);
    return list;
}

/* Seven dimensions, each right for the request once in four times (draw 1), never all of them. */
static void mixed_line(struct targeting *t)
{
    uint32_t draws[7];
    bool all = true;
    for (int i = 0; i < 7; i++) {
        draws[i] = (uint32_t)prng_below(&prng, 4);
        all &= draws[i] == 1;
    }
    draws[prng_below(&prng, 7)] += all;
    t->cities = one_text("city-", draws[0], "");
    t->media_allow = one_text("m", draws[1], ".example");
    t->os = one_text("os-", draws[2], "");
    t->languages = one_text("l", draws[3], "");
    t->categories_allow = one_text("IAB", draws[4], "");
    t->devices = 1u << draws[5];
    t->connections = 1u << draws[6];
}

/* Wanted by the request in none of the mixes. */
static void other_line(struct catalog_line *line, uint32_t i, enum mix mix)
{
    struct targeting *t = &line->targeting;
    uint32_t *deal;
    switch (mix) {
    case MIX_DEALS:
        deal = arena_calloc(&catalog.arena, 1, sizeof(*deal));
        *deal = i;
        line->deals = (struct index_list){deal, 1};
        line->buying = BUYING_PD;
        break;
    case MIX_PLACES:
        t->cities = one_text("city-", (uint32_t)prng_below(&prng, 300), "");
        t->media_allow = one_text("m", (uint32_t)prng_below(&prng, 500), ".example");
        break;
    case MIX_MIXED:
        mixed_line(t);
        break;
    case MIX_COUNT:
        BUG_ON(true);
    }
}

static void build_catalog(uint32_t line_count, enum mix mix)
{
    catalog = (struct catalog){.currency = {"CNY", 3},
                               .tz = {.transitions = &zone, .count = 1},
                               .currencies = &currency,
                               .currency_count = 1,
                               .exchanges = &exchange,
                               .exchange_count = 1,
                               .advertisers = &advertiser,
                               .advertiser_count = 1};
    BUG_ON(!arena_init(&catalog.arena, 1 << 20, (size_t)1 << 30));
    struct arena *arena = &catalog.arena;
    catalog.deal_count = line_count;
    catalog.deals = arena_calloc(arena, line_count, sizeof(*catalog.deals));
    catalog.next_deal = arena_calloc(arena, line_count, sizeof(*catalog.next_deal));
    catalog.line_count = line_count;
    catalog.lines = arena_calloc(arena, line_count, sizeof(*catalog.lines));
    catalog.creative_count = 4;
    catalog.creatives = arena_calloc(arena, 4, sizeof(*catalog.creatives));
    BUG_ON(!str_table_init(&catalog.deal_by_id, arena, line_count));
    for (uint32_t i = 0; i < 4; i++) {
        catalog.creatives[i] = (struct catalog_creative){.id = text_of("c", i, ""),
                                                         .type = CREATIVE_BANNER,
                                                         .w = 300,
                                                         .h = 250 + (int32_t)i,
                                                         .image = {"https://c.example/a.png", 23},
                                                         .secure = true};
        line_creatives[i] = (struct line_creative){.creative = i, .weight = 1};
    }
    for (uint32_t i = 0; i < line_count; i++) {
        struct catalog_line *line = &catalog.lines[i];
        catalog.deals[i] = (struct catalog_deal){
            .id = text_of("deal-", i, ""), .buying = BUYING_PD, .default_creative = CATALOG_NONE};
        catalog.next_deal[i] = CATALOG_NONE;
        str_table_add(&catalog.deal_by_id, catalog.deals[i].id, i);
        *line = (struct catalog_line){.id = text_of("line-", i, ""),
                                      .ref = i,
                                      .buying = BUYING_RTB,
                                      .creatives = line_creatives,
                                      .creative_count = 4,
                                      .bid_cpm_micros = 5000000,
                                      .end_s = INT64_MAX,
                                      .enabled = true};
        uint32_t step = line_count / MATCHES;
        if (i % step || i / step >= MATCHES) {
            other_line(line, i, mix);
        }
    }
}

/* --- the request --------------------------------------------------------------------------- */

static struct bidreq_banner banner;
static struct bidreq_deal wire_deals[2] = {{.id = {"deal-none", 9}}, {.id = {"other", 5}}};
static struct bidreq_imp imp;
static struct bid_request request;
static struct str category[] = {{"IAB1-6", 6}}, cur[] = {{"CNY", 3}};

static void make_request(void)
{
    banner = (struct bidreq_banner){.w = 300, .h = 250};
    imp = (struct bidreq_imp){.id = STR("1"),
                              .banner = &banner,
                              .bidfloor_micros = 1000000,
                              .bidfloorcur = STR("CNY"),
                              .secure = 1,
                              .deals = {wire_deals, 2}};
    request = (struct bid_request){.id = STR("r"), .imp = {&imp, 1}, .cur = {cur, 1}, .cattax = 1};
    request.media = (struct bidreq_media){.kind = BIDREQ_SITE,
                                          .domain = STR("news.m1.example"),
                                          .cat = {category, 1},
                                          .cattax = 1,
                                          .content_cattax = 1};
    request.device.os = STR("os-1");
    request.device.language = STR("l1");
    request.device.devicetype = 1;
    request.device.connectiontype = 1;
    request.device.geo = (struct bidreq_geo){.has_point = true,
                                             .lat_micro = 31230000,
                                             .lon_micro = 121470000,
                                             .country = STR("CHN"),
                                             .region = STR("31"),
                                             .city = STR("city-1")};
}

/* --- measuring ----------------------------------------------------------------------------- */

static uint32_t find_once(struct arena *arena, uint32_t *lines, bool offers_too)
{
    static struct offer offers[MOST];
    bool truncated;
    arena_reset(arena);
    struct target_request *prepared = target_request_prepare(&catalog, 0, &request, NOW, arena);
    struct select_imp on;
    BUG_ON(!prepared || !select_imp_prepare(&on, &catalog, 0, &request, &imp, arena));
    uint32_t found = target_find(&catalog, prepared, &on.deals, lines, MOST, &truncated), made = 0;
    for (uint32_t i = 0; offers_too && i < found; i++) {
        made += select_offer(&on, lines[i], catalog.lines[lines[i]].bid_cpm_micros, &offers[made],
                             NULL) == SELECT_OK;
    }
    if (offers_too) {
        select_rank(offers, made, 17, &catalog);
    }
    return found;
}

static int compare_doubles(const void *left, const void *right)
{
    double a = *(const double *)left, b = *(const double *)right;
    return a < b ? -1 : a > b;
}

/* Median over rounds of the mean of a few thousand calls, in nanoseconds. */
static double median_ns(struct arena *arena, uint32_t *lines, bool offers_too, int rounds,
                        int calls)
{
    double samples[101] = {0};
    for (int round = 0; round < rounds; round++) {
        int64_t started_us = clock_mono_us();
        for (int i = 0; i < calls; i++) {
            find_once(arena, lines, offers_too);
        }
        samples[round] = (double)(clock_mono_us() - started_us) * 1000 / calls;
    }
    qsort(samples, (size_t)rounds, sizeof(samples[0]), compare_doubles);
    return samples[rounds / 2];
}

static double plain_ns(void)
{
    int64_t started_us = clock_mono_us();
    uint32_t calls = 1000000 / catalog.line_count, matches = 0;
    for (uint32_t call = 0; call < calls; call++) {
        for (uint32_t line = 0; line < catalog.line_count; line++) {
            matches += target_explain(&catalog, 0, &request, &imp, line, NOW, NULL) == TARGET_OK;
        }
    }
    BUG_ON(matches % calls);
    return (double)(clock_mono_us() - started_us) * 1000 / calls;
}

/* An exchange may list every deal of ours on one impression. */
static void many_deals(struct arena *arena, uint32_t *lines, int rounds)
{
    static struct bidreq_deal many[1000];
    build_catalog(100000, MIX_DEALS);
    BUG_ON(target_index_build(&catalog) != STATUS_OK);
    printf("\n%-8s %8s %8s %19s %14s\n", "deals", "lines", "matches", "prepare+find ns",
           "with offers ns");
    for (uint32_t count = 10; count <= COUNT_OF(many); count *= 10) {
        for (uint32_t i = 0; i < count; i++) {
            many[i] = (struct bidreq_deal){.id = catalog.deals[i * 97 + 1].id,
                                           .bidfloor_micros = 1000000,
                                           .bidfloorcur = STR("CNY")};
        }
        imp.deals.items = many;
        imp.deals.count = count;
        uint32_t matches = find_once(arena, lines, false);
        double find_ns = median_ns(arena, lines, false, rounds, 100);
        printf("%-8u %8u %8u %19.0f %14.0f\n", count, catalog.line_count, matches, find_ns,
               median_ns(arena, lines, true, rounds, 100));
    }
    arena_deinit(&catalog.arena);
}

int main(int argc, char **argv)
{
    int64_t rounds = 21;
    if (argc > 1 && (!str_to_i64(str_from(argv[1]), &rounds) || rounds < 1 || rounds > 101)) {
        fprintf(stderr, "usage: bench_select [ROUNDS 1..101]\n");
        return 2;
    }
    static const uint32_t sizes[] = {10, 100, 1000, 10000, 100000};
    static uint32_t lines[MOST];
    struct arena arena;
    BUG_ON(!arena_init(&arena, 1 << 18, 1 << 20));
    make_request();
    printf("%-8s %8s %8s %9s %8s %14s %8s %14s %12s\n", "mix", "lines", "matches", "build ms",
           "MiB", "prepare+find ns", "x of 10", "with offers ns", "plain ns");
    for (int mix = 0; mix < MIX_COUNT; mix++) {
        double first = 0;
        for (size_t i = 0; i < COUNT_OF(sizes); i++) {
            build_catalog(sizes[i], (enum mix)mix);
            size_t before = catalog.arena.total_bytes;
            int64_t started_us = clock_mono_us();
            BUG_ON(target_index_build(&catalog) != STATUS_OK);
            double build_ms = (double)(clock_mono_us() - started_us) / 1000;
            double mib = (double)(catalog.arena.total_bytes - before) / (1 << 20);
            uint32_t matches = find_once(&arena, lines, false);
            double find_ns = median_ns(&arena, lines, false, (int)rounds, 2000);
            double offers_ns = median_ns(&arena, lines, true, (int)rounds, 2000);
            first = i ? first : find_ns;
            printf("%-8s %8u %8u %9.1f %8.1f %14.0f %8.2f %14.0f %12.0f\n", mix_names[mix],
                   sizes[i], matches, build_ms, mib, find_ns, find_ns / first, offers_ns,
                   plain_ns());
            arena_deinit(&catalog.arena);
        }
    }
    many_deals(&arena, lines, (int)rounds);
    arena_deinit(&arena);
    return 0;
}
