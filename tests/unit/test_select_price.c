/* For how much and in which order: currencies, floors, prices by buying mode, ranking. */
#include "bidder/base/prng.h"
#include "tests/unit/select_fixture.h"

/* --- for how much -------------------------------------------------------------------------- */

TEST(open_bids_reach_the_floor_or_miss)
{
    struct fixture *f = setup();
    f->imp.bidfloorcur = STR("CNY");
    f->imp.bidfloor_micros = 3 * YUAN;
    CHECK_MISS(ask(f, LINE_RTB, 3 * YUAN), SELECT_OK);
    CHECK_INT(f->offer.price_micros, 3 * YUAN);
    CHECK_INT(f->offer.floor_micros, 3 * YUAN);
    CHECK_INT(f->offer.cost_cpm_micros, 3 * YUAN);
    CHECK_INT(f->offer.buying, BUYING_RTB);
    CHECK_MISS(ask(f, LINE_RTB, 3 * YUAN - 1), SELECT_PRICE_FLOOR);
    CHECK_MISS(ask(f, LINE_RTB, 0), SELECT_PRICE_FLOOR);
    f->imp.bidfloor_micros = INT64_MAX;
    CHECK_MISS(ask(f, LINE_RTB, YUAN), SELECT_PRICE_FLOOR);
    teardown(f);
}

TEST(guaranteed_and_preferred_deals_cost_what_was_agreed)
{
    struct fixture *f = setup();
    struct bidreq_deal *deal = offer_deal(f, 0, "pdb", 0);
    CHECK_MISS(ask(f, LINE_PDB, 99 * YUAN), SELECT_OK);
    CHECK_INT(f->offer.price_micros, 25 * YUAN);
    CHECK_INT(f->offer.buying, BUYING_PDB);
    deal->bidfloor_micros = 26 * YUAN;
    CHECK_MISS(ask(f, LINE_PDB, 99 * YUAN), SELECT_PRICE_FLOOR);
    deal->bidfloor_micros = 24 * YUAN;
    CHECK_MISS(ask(f, LINE_PDB, 99 * YUAN), SELECT_OK);
    CHECK_INT(f->offer.price_micros, 25 * YUAN);
    deal->at = 3; /* then the wire's floor is the price */
    CHECK_MISS(ask(f, LINE_PDB, 99 * YUAN), SELECT_OK);
    CHECK_INT(f->offer.price_micros, 24 * YUAN);
    deal->bidfloor_micros = 25 * YUAN + 1;
    CHECK_MISS(ask(f, LINE_PDB, 99 * YUAN), SELECT_PRICE_FLOOR);
    f->deals[DEAL_PDB].cpm_micros = 0; /* nothing agreed: the wire says */
    CHECK_MISS(ask(f, LINE_PDB, 0), SELECT_OK);
    CHECK_INT(f->offer.price_micros, 25 * YUAN + 1);
    deal->bidfloor_micros = 0;
    CHECK_MISS(ask(f, LINE_PDB, 0), SELECT_PRICE_FLOOR);
    f->imp.bidfloorcur = STR("CNY"); /* the imp's floor stands in for the deal's */
    f->imp.bidfloor_micros = 2 * YUAN;
    CHECK_MISS(ask(f, LINE_PDB, 0), SELECT_OK);
    CHECK_INT(f->offer.price_micros, 2 * YUAN);
    teardown(f);
}

TEST(bought_out_positions_always_bid_and_cost_nothing_more)
{
    struct fixture *f = setup();
    struct bidreq_deal *deal = offer_deal(f, 0, "cpd", 0);
    CHECK_MISS(ask(f, LINE_CPD, 0), SELECT_OK);
    CHECK_INT(f->offer.price_micros, 0);
    deal->bidfloor_micros = 7 * YUAN;
    CHECK_MISS(ask(f, LINE_CPD, 0), SELECT_OK);
    CHECK_INT(f->offer.price_micros, 7 * YUAN);
    CHECK_INT(f->offer.cost_cpm_micros, 7 * YUAN);
    f->deals[DEAL_CPD].day_price_micros = 80000 * YUAN;
    CHECK_MISS(ask(f, LINE_CPD, 0), SELECT_OK);
    CHECK_INT(f->offer.price_micros, 7 * YUAN);
    CHECK_INT(f->offer.cost_cpm_micros, 0);
    teardown(f);
}

TEST(private_auctions_bid_the_lines_price_over_the_deals_floor)
{
    struct fixture *f = setup();
    f->imp.private_auction = true;
    f->imp.bidfloorcur = STR("CNY");
    f->imp.bidfloor_micros = 9 * YUAN; /* the deal's own floor goes first */
    offer_deal(f, 0, "pa", 5 * YUAN);
    CHECK_MISS(ask(f, LINE_PA, 5 * YUAN), SELECT_OK);
    CHECK_INT(f->offer.deal, DEAL_PA);
    CHECK_INT(f->offer.price_micros, 5 * YUAN);
    CHECK_MISS(ask(f, LINE_PA, 5 * YUAN - 1), SELECT_PRICE_FLOOR);
    teardown(f);
}

TEST(of_several_deals_the_cheaper_that_works)
{
    struct fixture *f = setup();
    struct bidreq_deal *first = offer_deal(f, 0, "pd", 0);
    struct bidreq_deal *second = offer_deal(f, 1, "pd-floor", 18 * YUAN);
    CHECK_MISS(ask(f, LINE_PD, 0), SELECT_OK);
    CHECK_INT(f->offer.deal, DEAL_PD_FLOOR);
    CHECK_INT(f->offer.price_micros, 18 * YUAN);
    CHECK(f->offer.wire_deal == second);
    second->bidfloor_micros = 21 * YUAN;
    CHECK_MISS(ask(f, LINE_PD, 0), SELECT_OK);
    CHECK_INT(f->offer.deal, DEAL_PD);
    CHECK(f->offer.wire_deal == first);
    first->wseat = word(f, "other");
    CHECK_MISS(ask(f, LINE_PD, 0), SELECT_OK);
    CHECK_INT(f->offer.deal, DEAL_PD_FLOOR);
    teardown(f);
}

TEST(floors_by_duration_choose_the_creatives)
{
    struct fixture *f = setup();
    f->imp.bidfloorcur = STR("CNY");
    f->imp.bidfloor_micros = 1 * YUAN;
    f->creatives[AD_AUDIO] = f->creatives[AD_VIDEO]; /* a second, longer video */
    f->creatives[AD_AUDIO].duration_s = 30;
    struct bidreq_durfloor ranges[] = {{0, 15, 4 * YUAN}, {16, 30, 8 * YUAN}};
    f->video.durfloors.items = ranges;
    f->video.durfloors.count = 2;
    CHECK_MISS(ask(f, LINE_RTB, 8 * YUAN), SELECT_OK);
    CHECK_INT(f->offer.creative_count, 2);
    CHECK_INT(f->offer.floor_micros, 8 * YUAN);
    CHECK_MISS(ask(f, LINE_RTB, 8 * YUAN - 1), SELECT_OK);
    CHECK_INT(f->offer.creative_count, 1);
    CHECK_INT(f->offer.floor_micros, 4 * YUAN);
    CHECK_MISS(ask(f, LINE_RTB, 4 * YUAN - 1), SELECT_PRICE_FLOOR);
    f->video.mincpmpersec_micros = YUAN / 2; /* 7.5 and 15 */
    CHECK_MISS(ask(f, LINE_RTB, 8 * YUAN), SELECT_OK);
    CHECK_INT(f->offer.floor_micros, 15 * YUAN / 2);
    struct bidreq_deal *deal = offer_deal(f, 0, "pa", 0);
    deal->mincpmpersec_micros = YUAN / 10; /* the deal's own before the video's */
    CHECK_MISS(ask(f, LINE_PA, 3 * YUAN), SELECT_OK);
    CHECK_INT(f->offer.floor_micros, 3 * YUAN);
    deal->bidfloor_micros = 2 * YUAN; /* and its plain floor before that */
    CHECK_MISS(ask(f, LINE_PA, 2 * YUAN), SELECT_OK);
    teardown(f);
}

TEST(one_currency_out_of_those_allowed)
{
    struct fixture *f = setup();
    struct str cur;
    struct str two[] = {STR("EUR"), STR("USD")};
    CHECK(select_currency(&f->catalog, &f->request, &cur));
    CHECK_STR(cur, "CNY"); /* nothing said at all */
    f->imp.bidfloor_micros = YUAN;
    CHECK(select_currency(&f->catalog, &f->request, &cur));
    CHECK_STR(cur, "USD"); /* the floor's */
    f->request.cur = word(f, "CNY");
    CHECK(select_currency(&f->catalog, &f->request, &cur));
    CHECK_STR(cur, "CNY");
    f->request.cur = (struct str_list){two, 2};
    CHECK(select_currency(&f->catalog, &f->request, &cur));
    CHECK_STR(cur, "USD");
    f->imp.bidfloorcur = STR("CNY");
    CHECK(select_currency(&f->catalog, &f->request, &cur));
    CHECK_STR(cur, "USD"); /* first with a rate */
    f->request.cur = word(f, "EUR");
    CHECK(!select_currency(&f->catalog, &f->request, &cur));
    CHECK_MISS(ask(f, LINE_RTB, 9 * YUAN), SELECT_CURRENCY);
    f->request.cur = word(f, "CNY");
    f->imp.bidfloorcur = STR("EUR"); /* a floor we cannot compare with */
    CHECK_MISS(ask(f, LINE_RTB, 9 * YUAN), SELECT_CURRENCY);
    teardown(f);
}

TEST(a_deals_currency_does_not_come_from_the_imp)
{
    struct fixture *f = setup();
    f->request.cur = word(f, "CNY");
    f->imp.bidfloorcur = STR("CNY");
    struct bidreq_deal *deal = offer_deal(f, 0, "pa", 2 * YUAN);
    deal->bidfloorcur = STR("USD");
    CHECK_MISS(ask(f, LINE_PA, 14246912), SELECT_OK); /* 2 * 7.123456 */
    CHECK_INT(f->offer.floor_micros, 14246912);
    CHECK_STR(f->offer.currency, "CNY");
    CHECK_MISS(ask(f, LINE_PA, 14246911), SELECT_PRICE_FLOOR);
    teardown(f);
}

TEST(prices_in_fen_stay_above_the_floor_on_the_wire)
{
    struct fixture *f = setup();
    f->exchanges[0].price_unit_micros = 10000;
    f->imp.bidfloorcur = STR("CNY");
    f->imp.bidfloor_micros = 250 * 1000000; /* 250 fen */
    CHECK_MISS(ask(f, LINE_RTB, 2500000), SELECT_OK);
    CHECK_INT(f->offer.floor_micros, 2500000);
    CHECK_INT(select_wire_price(&f->exchanges[0], f->offer.price_micros), 250 * 1000000);
    CHECK_MISS(ask(f, LINE_RTB, 2499999), SELECT_PRICE_FLOOR);
    teardown(f);
}

TEST(random_money_never_undercuts_a_floor_nor_costs_more_than_decided)
{
    struct prng prng = {.state = 20261122};
    static const char *const codes[] = {"CNY", "USD", "JPY"};
    static const int64_t units[] = {1000000, 10000, 1, 333333, 3000001};
    struct fixture *f = setup();
    for (int i = 0; i < 20000; i++) {
        struct catalog_exchange *exchange = &f->exchanges[0];
        exchange->price_unit_micros = units[prng_below(&prng, 5)];
        f->imp.bidfloor_micros = (int64_t)prng_below(&prng, 1000000000);
        f->imp.bidfloorcur = str_from(codes[prng_below(&prng, 3)]);
        f->request.cur = word(f, codes[prng_below(&prng, 3)]);
        int64_t price = (int64_t)prng_below(&prng, 1000000000) + 1;
        struct offer offer;
        struct select_imp on;
        CHECK(select_imp_prepare(&on, &f->catalog, 0, &f->request, &f->imp, &f->arena));
        enum select_miss miss = select_offer(&on, LINE_RTB, price, &offer, NULL);
        arena_reset(&f->arena);
        if (miss) {
            CHECK(miss == SELECT_PRICE_FLOOR);
            continue;
        }
        CHECK(offer.cost_cpm_micros <= price);
        int64_t own_floor, own_price;
        int64_t real = select_real_price(exchange, f->imp.bidfloor_micros);
        CHECK(catalog_to_own_currency(&f->catalog, f->imp.bidfloorcur, real, &own_floor));
        CHECK(catalog_to_own_currency(&f->catalog, offer.currency, offer.price_micros, &own_price));
        CHECK(own_price >= own_floor);
        if (str_eq(offer.currency, f->imp.bidfloorcur)) {
            CHECK(select_wire_price(exchange, offer.price_micros) >= f->imp.bidfloor_micros);
        }
    }
    teardown(f);
}

/* --- order --------------------------------------------------------------------------------- */

TEST(offers_rank_by_mode_then_price_then_a_stable_hash)
{
    struct fixture *f = setup();
    struct prng prng = {.state = 7};
    struct offer offers[64];
    uint32_t firsts[LINE_COUNT] = {0};
    for (int round = 0; round < 500; round++) {
        uint32_t count = (uint32_t)prng_below(&prng, 65);
        for (uint32_t i = 0; i < count; i++) {
            offers[i] = (struct offer){.line = (uint32_t)prng_below(&prng, LINE_COUNT),
                                       .buying = (enum buying_mode)prng_below(&prng, 4),
                                       .price_micros = (int64_t)prng_below(&prng, 3)};
        }
        select_rank(offers, count, 17, &f->catalog);
        for (uint32_t i = 1; i < count; i++) {
            CHECK(offers[i - 1].buying <= offers[i].buying);
            if (offers[i - 1].buying == offers[i].buying) {
                CHECK(offers[i - 1].price_micros >= offers[i].price_micros);
            }
        }
    }
    for (int round = 0; round < 5000; round++) { /* equal lines share evenly */
        char id[16];
        int len = snprintf(id, sizeof(id), "%d", round);
        for (uint32_t i = 0; i < LINE_COUNT; i++) {
            offers[i] = (struct offer){.line = (i + (uint32_t)round) % LINE_COUNT};
        }
        select_rank(offers, LINE_COUNT, hash_text((struct str){id, (size_t)len}), &f->catalog);
        firsts[offers[0].line]++;
    }
    for (uint32_t i = 0; i < LINE_COUNT; i++) {
        CHECK(firsts[i] > 850 && firsts[i] < 1150);
    }
    teardown(f);
}

TEST(every_miss_has_a_name)
{
    for (int i = 0; i < SELECT_MISS_COUNT; i++) {
        CHECK(strcmp(select_miss_name((enum select_miss)i), "?") != 0);
    }
    CHECK(strcmp(select_miss_name(SELECT_PRICE_FLOOR), "floor") == 0);
}
