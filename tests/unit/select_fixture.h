/* One line of each way to buy, one creative of each type, and a request that takes the video. */
#pragma once

#include <stdlib.h>

#include "bidder/select.h"
#include "tests/test.h"

enum { LINE_RTB, LINE_CPD, LINE_PDB, LINE_PD, LINE_PA, LINE_COUNT };
enum { DEAL_CPD, DEAL_PDB, DEAL_PD, DEAL_PD_FLOOR, DEAL_PA, DEAL_PDB_ELSEWHERE, DEAL_COUNT };
enum { AD_VIDEO, AD_BANNER, AD_NATIVE, AD_AUDIO, AD_COUNT };
#define YUAN INT64_C(1000000)

struct fixture {
    struct arena arena;
    struct catalog catalog;
    struct catalog_exchange exchanges[2];
    struct catalog_advertiser advertiser;
    struct catalog_brand brand;
    struct catalog_deal deals[DEAL_COUNT];
    uint32_t next_deal[DEAL_COUNT];
    struct catalog_line lines[LINE_COUNT];
    struct line_creative line_creatives[AD_COUNT];
    struct catalog_creative creatives[AD_COUNT];
    struct catalog_currency currencies[3];
    struct bid_request request;
    struct bidreq_imp imp;
    struct bidreq_av video, audio;
    struct bidreq_banner banner;
    struct bidreq_native native;
    struct bidreq_asset asset;
    struct native_asset own_asset;
    struct bidreq_deal wire_deals[2];
    struct str words[4];
    int32_t numbers[4];
    struct offer offer;
    struct buf detail;
};

static const uint32_t deal_of_line[LINE_COUNT][2] = {
    {0}, {DEAL_CPD}, {DEAL_PDB}, {DEAL_PD, DEAL_PD_FLOOR}, {DEAL_PA}};

static inline struct bidreq_av any_av(void)
{
    return (struct bidreq_av){.maxduration = INT32_MAX,
                              .maxbitrate = INT32_MAX,
                              .linearity = -1,
                              .plcmt = -1,
                              .placement = -1,
                              .skip = -1,
                              .pos = -1};
}

static inline void setup_creatives(struct fixture *f)
{
    f->creatives[AD_VIDEO] = (struct catalog_creative){.id = STR("video"),
                                                       .type = CREATIVE_VIDEO,
                                                       .w = 640,
                                                       .h = 480,
                                                       .duration_s = 15,
                                                       .bitrate_kbps = 800,
                                                       .mime = STR("video/mp4"),
                                                       .url = STR("https://c.example/v.mp4"),
                                                       .secure = true};
    f->creatives[AD_AUDIO] = f->creatives[AD_VIDEO];
    f->creatives[AD_AUDIO].type = CREATIVE_AUDIO;
    f->creatives[AD_AUDIO].mime = STR("audio/mpeg");
    f->creatives[AD_BANNER] = (struct catalog_creative){.id = STR("banner"),
                                                        .type = CREATIVE_BANNER,
                                                        .w = 300,
                                                        .h = 250,
                                                        .image = STR("https://c.example/b.png"),
                                                        .secure = true};
    f->own_asset = (struct native_asset){.kind = BIDREQ_ASSET_TITLE, .text = STR("\xe5\xa5\xa5")};
    f->creatives[AD_NATIVE] = (struct catalog_creative){.id = STR("native"),
                                                        .type = CREATIVE_NATIVE,
                                                        .assets = &f->own_asset,
                                                        .asset_count = 1,
                                                        .secure = true};
    for (uint32_t i = 0; i < AD_COUNT; i++) {
        f->line_creatives[i] = (struct line_creative){.creative = i, .weight = 1};
    }
}

static inline void setup_deals(struct fixture *f)
{
    static const char *const ids[] = {"cpd", "pdb", "pd", "pd-floor", "pa", "pdb"};
    static const enum buying_mode modes[] = {BUYING_CPD, BUYING_PDB, BUYING_PD,
                                             BUYING_PD,  BUYING_RTB, BUYING_PDB};
    for (uint32_t i = 0; i < DEAL_COUNT; i++) {
        f->deals[i] = (struct catalog_deal){.id = str_from(ids[i]),
                                            .exchange = i == DEAL_PDB_ELSEWHERE,
                                            .buying = modes[i],
                                            .owner = CATALOG_NONE,
                                            .default_creative = CATALOG_NONE};
    }
    f->deals[DEAL_PDB].cpm_micros = 25 * YUAN;
    f->deals[DEAL_PD].cpm_micros = 20 * YUAN;
    static const char *const line_ids[] = {"rtb", "cpd", "pdb", "pd", "pa"};
    static const enum buying_mode line_modes[] = {BUYING_RTB, BUYING_CPD, BUYING_PDB, BUYING_PD,
                                                  BUYING_RTB};
    for (uint32_t i = 0; i < LINE_COUNT; i++) {
        f->lines[i] = (struct catalog_line){.id = str_from(line_ids[i]),
                                            .ref = (uint32_t)hash_str(str_from(line_ids[i])),
                                            .buying = line_modes[i],
                                            .creatives = f->line_creatives,
                                            .creative_count = AD_COUNT,
                                            .enabled = true};
        if (i != LINE_RTB) {
            f->lines[i].deals = (struct index_list){deal_of_line[i], i == LINE_PD ? 2 : 1};
        }
    }
}

/* As the loader does: those of one id hang together. */
static inline void setup_deal_ids(struct fixture *f)
{
    struct catalog *catalog = &f->catalog;
    catalog->next_deal = f->next_deal;
    if (!arena_init(&catalog->arena, 1 << 12, 1 << 16) ||
        !str_table_init(&catalog->deal_by_id, &catalog->arena, DEAL_COUNT)) {
        abort();
    }
    for (uint32_t i = 0; i < DEAL_COUNT; i++) {
        f->next_deal[i] = CATALOG_NONE;
        if (!str_table_add(&catalog->deal_by_id, f->deals[i].id, i)) {
            f->next_deal[str_table_get(&catalog->deal_by_id, f->deals[i].id)] = i;
        }
    }
}

static inline struct fixture *setup(void)
{
    static struct fixture fixture;
    struct fixture *f = &fixture;
    *f = (struct fixture){0};
    if (!arena_init(&f->arena, 1 << 16, 1 << 20)) {
        abort();
    }
    buf_init(&f->detail, 1 << 16);
    setup_creatives(f);
    setup_deals(f);
    f->exchanges[0] = f->exchanges[1] = (struct catalog_exchange){
        .id = STR("iqiyi"), .seat = STR("s1"), .price_unit_micros = 1000000};
    f->advertiser.domain = STR("shop.oreo.example");
    f->currencies[0] = (struct catalog_currency){STR("CNY"), 1000000};
    f->currencies[1] = (struct catalog_currency){STR("USD"), 7123456};
    f->currencies[2] = (struct catalog_currency){STR("JPY"), 48123};
    f->catalog = (struct catalog){.currency = STR("CNY"),
                                  .currencies = f->currencies,
                                  .currency_count = 3,
                                  .exchanges = f->exchanges,
                                  .exchange_count = 2,
                                  .advertisers = &f->advertiser,
                                  .advertiser_count = 1,
                                  .brands = &f->brand,
                                  .brand_count = 1,
                                  .deals = f->deals,
                                  .deal_count = DEAL_COUNT,
                                  .lines = f->lines,
                                  .line_count = LINE_COUNT,
                                  .creatives = f->creatives,
                                  .creative_count = AD_COUNT};
    setup_deal_ids(f);
    f->video = f->audio = any_av();
    f->native.assets.items = &f->asset;
    f->native.assets.count = 1;
    f->asset = (struct bidreq_asset){.id = 1, .required = true, .kind = BIDREQ_ASSET_TITLE};
    f->imp = (struct bidreq_imp){.id = STR("1"),
                                 .video = &f->video,
                                 .bidfloorcur = STR("USD"),
                                 .secure = -1,
                                 .qty_micros = 1000000};
    f->request.id = STR("r1");
    f->request.imp.items = &f->imp;
    f->request.imp.count = 1;
    f->request.cattax = 1;
    return f;
}

static inline void teardown(struct fixture *f)
{
    buf_deinit(&f->detail);
    arena_deinit(&f->catalog.arena);
    arena_deinit(&f->arena);
}

static inline struct bidreq_deal *offer_deal(struct fixture *f, uint32_t at, const char *id,
                                             int64_t floor)
{
    f->wire_deals[at] = (struct bidreq_deal){
        .id = str_from(id), .bidfloor_micros = floor, .bidfloorcur = STR("CNY")};
    f->imp.deals.items = f->wire_deals;
    f->imp.deals.count = at + 1;
    return &f->wire_deals[at];
}

/* The same without and with detail must agree; a miss says why. */
static inline enum select_miss ask(struct fixture *f, uint32_t line, int64_t price)
{
    struct offer quiet;
    struct select_imp on;
    CHECK(select_imp_prepare(&on, &f->catalog, 0, &f->request, &f->imp, &f->arena));
    enum select_miss miss = select_offer(&on, line, price, &quiet, NULL);
    buf_reset(&f->detail);
    enum select_miss again = select_offer(&on, line, price, &f->offer, &f->detail);
    CHECK_INT(again, miss);
    CHECK(miss == SELECT_OK || f->detail.len > 0);
    if (!miss) {
        CHECK(f->offer.price_micros >= f->offer.floor_micros);
        CHECK(f->offer.creative_count > 0);
        CHECK_INT(quiet.price_micros, f->offer.price_micros);
    }
    arena_reset(&f->arena);
    return miss;
}

#define CHECK_MISS(actual, expected)                                                               \
    do {                                                                                           \
        enum select_miss actual_ = (actual);                                                       \
        if (actual_ != (expected)) {                                                               \
            TEST_FAIL("%s is %s, expected %s (%.*s)", #actual, select_miss_name(actual_),          \
                      select_miss_name(expected), STR_ARG(buf_str(&f->detail)));                   \
        }                                                                                          \
    } while (0)

static inline struct str_list word(struct fixture *f, const char *text)
{
    f->words[0] = str_from(text);
    return (struct str_list){f->words, 1};
}

static inline struct int_list number(struct fixture *f, int32_t value)
{
    f->numbers[0] = value;
    return (struct int_list){f->numbers, 1};
}
