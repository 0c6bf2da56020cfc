/* Seats, blocks, creative fit, floors and prices: each rule by what passes and what just does not.
 */
#include "bidder/select.h"

#include "bidder/base/prng.h"
#include "tests/test.h"

/* --- fixture: one line of each way to buy, one creative of each type ----------------------- */

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

static struct bidreq_av any_av(void)
{
    return (struct bidreq_av){.maxduration = INT32_MAX,
                              .maxbitrate = INT32_MAX,
                              .linearity = -1,
                              .plcmt = -1,
                              .placement = -1,
                              .skip = -1,
                              .pos = -1};
}

static void setup_creatives(struct fixture *f)
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

static void setup_deals(struct fixture *f)
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
                                            .buying = line_modes[i],
                                            .creatives = f->line_creatives,
                                            .creative_count = AD_COUNT,
                                            .enabled = true};
        if (i != LINE_RTB) {
            f->lines[i].deals = (struct index_list){deal_of_line[i], i == LINE_PD ? 2 : 1};
        }
    }
}

static struct fixture *setup(void)
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

static void teardown(struct fixture *f)
{
    buf_deinit(&f->detail);
    arena_deinit(&f->arena);
}

static struct bidreq_deal *offer_deal(struct fixture *f, uint32_t at, const char *id, int64_t floor)
{
    f->wire_deals[at] = (struct bidreq_deal){
        .id = str_from(id), .bidfloor_micros = floor, .bidfloorcur = STR("CNY")};
    f->imp.deals.items = f->wire_deals;
    f->imp.deals.count = at + 1;
    return &f->wire_deals[at];
}

/* The same without and with detail must agree; a miss says why. */
static enum select_miss ask(struct fixture *f, uint32_t line, int64_t price)
{
    struct offer quiet;
    enum select_miss miss =
        select_offer(&f->catalog, 0, &f->request, &f->imp, line, price, &f->arena, &quiet, NULL);
    buf_reset(&f->detail);
    enum select_miss again = select_offer(&f->catalog, 0, &f->request, &f->imp, line, price,
                                          &f->arena, &f->offer, &f->detail);
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

static struct str_list word(struct fixture *f, const char *text)
{
    f->words[0] = str_from(text);
    return (struct str_list){f->words, 1};
}

static struct int_list number(struct fixture *f, int32_t value)
{
    f->numbers[0] = value;
    return (struct int_list){f->numbers, 1};
}

/* --- who ----------------------------------------------------------------------------------- */

TEST(seats_of_the_request_and_of_the_deal)
{
    struct fixture *f = setup();
    f->request.wseat = word(f, "s1");
    CHECK_MISS(ask(f, LINE_RTB, YUAN), SELECT_OK);
    f->request.wseat = word(f, "S1");
    CHECK_MISS(ask(f, LINE_RTB, YUAN), SELECT_SEAT);
    f->request.wseat.count = 0;
    f->request.bseat = word(f, "s1");
    CHECK_MISS(ask(f, LINE_RTB, YUAN), SELECT_SEAT);
    f->request.bseat.count = 0;
    struct bidreq_deal *deal = offer_deal(f, 0, "pdb", 0);
    deal->wseat = word(f, "other");
    CHECK_MISS(ask(f, LINE_PDB, 0), SELECT_SEAT);
    CHECK_MISS(ask(f, LINE_RTB, YUAN), SELECT_OK);
    deal->wseat = word(f, "s1");
    CHECK_MISS(ask(f, LINE_PDB, 0), SELECT_OK);
    teardown(f);
}

TEST(deals_may_name_advertiser_domains)
{
    struct fixture *f = setup();
    struct bidreq_deal *deal = offer_deal(f, 0, "pdb", 0);
    deal->wadomain = word(f, "oreo.example");
    CHECK_MISS(ask(f, LINE_PDB, 0), SELECT_DEAL_DOMAIN);
    deal->wadomain = word(f, "Shop.Oreo.example");
    CHECK_MISS(ask(f, LINE_PDB, 0), SELECT_OK);
    teardown(f);
}

TEST(lines_with_deals_need_one_of_theirs)
{
    struct fixture *f = setup();
    CHECK_MISS(ask(f, LINE_PDB, 0), SELECT_DEAL);
    offer_deal(f, 0, "PDB", 0);
    CHECK_MISS(ask(f, LINE_PDB, 0), SELECT_DEAL);
    offer_deal(f, 0, "pdb", 0);
    CHECK_MISS(ask(f, LINE_PDB, 0), SELECT_OK);
    CHECK_INT(f->offer.deal, DEAL_PDB);
    CHECK(f->offer.wire_deal == &f->wire_deals[0]);
    static const uint32_t elsewhere[] = {DEAL_PDB_ELSEWHERE};
    f->lines[LINE_PDB].deals = (struct index_list){elsewhere, 1};
    CHECK_MISS(ask(f, LINE_PDB, 0), SELECT_DEAL); /* same id, other exchange */
    f->imp.private_auction = true;
    CHECK_MISS(ask(f, LINE_RTB, YUAN), SELECT_DEAL);
    f->lines[LINE_CPD].deals.count = 0;
    CHECK_MISS(ask(f, LINE_CPD, YUAN), SELECT_DEAL);
    teardown(f);
}

TEST(badv_covers_subdomains)
{
    struct fixture *f = setup();
    static const struct {
        const char *blocked;
        bool hit;
    } cases[] = {{"oreo.example", true},      {"OREO.example", true},
                 {"shop.oreo.example", true}, {"www.oreo.example", true},
                 {"reo.example", false},      {"a.shop.oreo.example", false},
                 {"example", true},           {"", false}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        f->request.badv = word(f, cases[i].blocked);
        CHECK_MISS(ask(f, LINE_RTB, YUAN), cases[i].hit ? SELECT_BADV : SELECT_OK);
    }
    teardown(f);
}

TEST(categories_compare_under_one_taxonomy_with_parents)
{
    struct fixture *f = setup();
    struct str own[] = {STR("IAB7-39"), STR("IAB8")};
    f->advertiser.categories = (struct str_list){own, 2};
    f->request.bcat = word(f, "IAB7");
    CHECK_MISS(ask(f, LINE_RTB, YUAN), SELECT_BCAT);
    f->request.bcat = word(f, "IAB7-3");
    CHECK_MISS(ask(f, LINE_RTB, YUAN), SELECT_OK);
    f->request.bcat = word(f, "IAB8-1"); /* a child blocked is not the parent blocked */
    CHECK_MISS(ask(f, LINE_RTB, YUAN), SELECT_OK);
    f->request.bcat = word(f, "IAB8");
    CHECK_MISS(ask(f, LINE_RTB, YUAN), SELECT_BCAT);
    f->request.cattax = 2;
    CHECK_MISS(ask(f, LINE_RTB, YUAN), SELECT_OK);
    f->request.bcat.count = 0;
    f->request.acat = word(f, "IAB7");
    CHECK_MISS(ask(f, LINE_RTB, YUAN), SELECT_BCAT); /* an allow list in another taxonomy */
    f->request.cattax = 1;
    CHECK_MISS(ask(f, LINE_RTB, YUAN), SELECT_BCAT); /* IAB8 is not allowed */
    f->advertiser.categories.count = 1;
    CHECK_MISS(ask(f, LINE_RTB, YUAN), SELECT_OK);
    f->advertiser.categories.count = 0;
    CHECK_MISS(ask(f, LINE_RTB, YUAN), SELECT_BCAT);
    teardown(f);
}

TEST(a_creative_may_bring_its_own_categories)
{
    struct fixture *f = setup();
    struct str blocked[] = {STR("IAB7")}, fine[] = {STR("IAB1")};
    f->advertiser.categories = (struct str_list){blocked, 1};
    f->request.bcat = word(f, "IAB7");
    CHECK_MISS(ask(f, LINE_RTB, YUAN), SELECT_BCAT);
    for (int i = 0; i < AD_COUNT; i++) {
        f->creatives[i].categories = (struct str_list){fine, 1};
    }
    CHECK_MISS(ask(f, LINE_RTB, YUAN), SELECT_OK);
    f->creatives[AD_VIDEO].categories.items = blocked;
    CHECK(ask(f, LINE_RTB, YUAN) != SELECT_OK);
    teardown(f);
}

TEST(languages_and_apps)
{
    struct fixture *f = setup();
    f->request.wlang = word(f, "zh");
    CHECK_MISS(ask(f, LINE_RTB, YUAN), SELECT_LANGUAGE); /* unknown is not on the list */
    f->creatives[AD_VIDEO].language = STR("zh-CN");
    CHECK_MISS(ask(f, LINE_RTB, YUAN), SELECT_OK);
    f->creatives[AD_VIDEO].language = STR("zhx");
    CHECK_MISS(ask(f, LINE_RTB, YUAN), SELECT_LANGUAGE);
    f->request.wlang.count = 0;
    f->request.bapp = word(f, "com.oreo.game");
    f->creatives[AD_VIDEO].landing =
        STR("https://play.google.com/store/apps/details?hl=en&id=com.oreo.game#x");
    f->lines[LINE_RTB].creative_count = 1;
    CHECK_MISS(ask(f, LINE_RTB, YUAN), SELECT_BAPP);
    f->request.bapp = word(f, "123456789");
    CHECK_MISS(ask(f, LINE_RTB, YUAN), SELECT_OK);
    f->creatives[AD_VIDEO].landing = STR("https://apps.apple.com/cn/app/oreo/id123456789?mt=8");
    CHECK_MISS(ask(f, LINE_RTB, YUAN), SELECT_BAPP);
    f->creatives[AD_VIDEO].landing = STR("https://oreo.example/id123456789");
    CHECK_MISS(ask(f, LINE_RTB, YUAN), SELECT_OK);
    teardown(f);
}

/* --- what ---------------------------------------------------------------------------------- */

static enum select_miss fits(struct fixture *f, int ad)
{
    buf_reset(&f->detail);
    return select_creative_fits(&f->catalog, &f->request, &f->imp, &f->creatives[ad], &f->detail);
}

TEST(video_constraints)
{
    struct fixture *f = setup();
    CHECK_MISS(fits(f, AD_VIDEO), SELECT_OK);
    CHECK_MISS(fits(f, AD_BANNER), SELECT_CREATIVE);
    f->video.minduration = f->video.maxduration = 15;
    CHECK_MISS(fits(f, AD_VIDEO), SELECT_OK);
    f->video.minduration = 16;
    CHECK_MISS(fits(f, AD_VIDEO), SELECT_CREATIVE);
    f->video.rqddurs = number(f, 15); /* then min and max do not count */
    CHECK_MISS(fits(f, AD_VIDEO), SELECT_OK);
    f->video.rqddurs = number(f, 30);
    CHECK_MISS(fits(f, AD_VIDEO), SELECT_CREATIVE);
    f->video = any_av();
    f->video.poddur = 14;
    CHECK_MISS(fits(f, AD_VIDEO), SELECT_CREATIVE);
    f->video.poddur = 15;
    CHECK_MISS(fits(f, AD_VIDEO), SELECT_OK);
    f->video.mimes = word(f, "video/webm");
    CHECK_MISS(fits(f, AD_VIDEO), SELECT_CREATIVE);
    f->video.mimes = word(f, "Video/MP4; codecs=avc1");
    CHECK_MISS(fits(f, AD_VIDEO), SELECT_OK);
    f->video.mimes = word(f, "video/*");
    CHECK_MISS(fits(f, AD_VIDEO), SELECT_OK);
    f->video.protocols = number(f, 6);
    CHECK_MISS(fits(f, AD_VIDEO), SELECT_CREATIVE);
    f->video.protocols = number(f, 2);
    CHECK_MISS(fits(f, AD_VIDEO), SELECT_OK);
    f->video.linearity = 2;
    CHECK_MISS(fits(f, AD_VIDEO), SELECT_CREATIVE);
    f->video.linearity = 1;
    f->video.maxbitrate = 799;
    CHECK_MISS(fits(f, AD_VIDEO), SELECT_CREATIVE);
    f->creatives[AD_VIDEO].bitrate_kbps = 0;
    CHECK_MISS(fits(f, AD_VIDEO), SELECT_OK);
    f->video.protocols.count = f->video.mimes.count = 0;
    f->video.delivery = number(f, 1);
    CHECK_MISS(fits(f, AD_VIDEO), SELECT_CREATIVE);
    f->creatives[AD_VIDEO].mime = STR("application/x-mpegURL");
    CHECK_MISS(fits(f, AD_VIDEO), SELECT_OK);
    f->video.delivery = number(f, 2);
    CHECK_MISS(fits(f, AD_VIDEO), SELECT_CREATIVE);
    teardown(f);
}

TEST(apis_attributes_and_https)
{
    struct fixture *f = setup();
    int32_t needed[] = {7}, attribute[] = {13};
    f->creatives[AD_VIDEO].apis = (struct int_list){needed, 1};
    CHECK_MISS(fits(f, AD_VIDEO), SELECT_CREATIVE); /* not listed is not supported */
    f->video.api = number(f, 7);
    CHECK_MISS(fits(f, AD_VIDEO), SELECT_OK);
    f->creatives[AD_VIDEO].attr = (struct int_list){attribute, 1};
    int32_t blocked[] = {1, 13};
    f->video.battr = (struct int_list){blocked, 2};
    CHECK_MISS(fits(f, AD_VIDEO), SELECT_BATTR);
    f->video.battr.count = 1;
    f->creatives[AD_VIDEO].secure = false;
    CHECK_MISS(fits(f, AD_VIDEO), SELECT_SECURE); /* absent counts as 1 */
    f->imp.secure = 0;
    CHECK_MISS(fits(f, AD_VIDEO), SELECT_OK);
    f->imp.secure = 1;
    CHECK_MISS(fits(f, AD_VIDEO), SELECT_SECURE);
    teardown(f);
}

TEST(banner_sizes_types_and_mimes)
{
    struct fixture *f = setup();
    f->imp.banner = &f->banner;
    CHECK_MISS(fits(f, AD_BANNER), SELECT_OK); /* no size said */
    f->banner.w = 300;
    f->banner.h = 251;
    CHECK_MISS(fits(f, AD_BANNER), SELECT_CREATIVE);
    struct bidreq_size formats[] = {{.w = 728, .h = 90}, {.w = 300, .h = 250}};
    f->banner.format.items = formats;
    f->banner.format.count = 2;
    CHECK_MISS(fits(f, AD_BANNER), SELECT_OK);
    formats[1] = (struct bidreq_size){.wratio = 6, .hratio = 5, .wmin = 300};
    CHECK_MISS(fits(f, AD_BANNER), SELECT_OK);
    formats[1].wmin = 301;
    CHECK_MISS(fits(f, AD_BANNER), SELECT_CREATIVE);
    f->banner.w = f->banner.h = 0;
    CHECK_MISS(fits(f, AD_BANNER), SELECT_CREATIVE);
    f->banner.format.count = 0;
    f->banner.mimes = word(f, "image/gif");
    CHECK_MISS(fits(f, AD_BANNER), SELECT_CREATIVE);
    f->banner.mimes = word(f, "image/png");
    CHECK_MISS(fits(f, AD_BANNER), SELECT_OK);
    f->creatives[AD_BANNER].image = STR("https://c.example/b.JPEG?x=.png");
    f->banner.mimes = word(f, "image/jpg");
    CHECK_MISS(fits(f, AD_BANNER), SELECT_OK);
    f->banner.mimes.count = 0;
    f->banner.btype = number(f, 2);
    CHECK_MISS(fits(f, AD_BANNER), SELECT_CREATIVE);
    f->creatives[AD_BANNER].html = STR("<b>x</b>");
    CHECK_MISS(fits(f, AD_BANNER), SELECT_OK);
    f->banner.btype = number(f, 4);
    CHECK_MISS(fits(f, AD_BANNER), SELECT_OK);
    f->creatives[AD_BANNER].html = STR("<IFRAME src=\"x\">");
    CHECK_MISS(fits(f, AD_BANNER), SELECT_CREATIVE);
    teardown(f);
}

TEST(native_needs_every_required_asset)
{
    struct fixture *f = setup();
    CHECK_MISS(fits(f, AD_NATIVE), SELECT_CREATIVE);
    f->imp.native = &f->native;
    f->asset.len = 1; /* one character of three bytes */
    CHECK_MISS(fits(f, AD_NATIVE), SELECT_OK);
    f->own_asset.text = STR("ab");
    CHECK_MISS(fits(f, AD_NATIVE), SELECT_CREATIVE);
    f->own_asset = (struct native_asset){
        .kind = BIDREQ_ASSET_IMAGE, .type = 3, .url = STR("https://x/a.png"), .w = 100, .h = 100};
    f->asset = (struct bidreq_asset){
        .required = true, .kind = BIDREQ_ASSET_IMAGE, .type = 3, .w = 200, .wmin = 100};
    CHECK_MISS(fits(f, AD_NATIVE), SELECT_OK);
    f->asset.wmin = 101;
    CHECK_MISS(fits(f, AD_NATIVE), SELECT_CREATIVE);
    f->asset.wmin = 0; /* then w is exact */
    CHECK_MISS(fits(f, AD_NATIVE), SELECT_CREATIVE);
    f->asset.w = 100;
    f->asset.mimes = word(f, "image/jpeg");
    CHECK_MISS(fits(f, AD_NATIVE), SELECT_CREATIVE);
    f->asset.mimes.count = 0;
    CHECK_MISS(fits(f, AD_NATIVE), SELECT_OK);
    f->asset.kind = BIDREQ_ASSET_UNKNOWN;
    CHECK_MISS(fits(f, AD_NATIVE), SELECT_CREATIVE);
    f->asset.required = false; /* an answer without any asset is no answer */
    CHECK_MISS(fits(f, AD_NATIVE), SELECT_CREATIVE);
    f->native.malformed = true;
    CHECK_MISS(fits(f, AD_NATIVE), SELECT_CREATIVE);
    teardown(f);
}

TEST(audio_is_not_video)
{
    struct fixture *f = setup();
    CHECK_MISS(fits(f, AD_AUDIO), SELECT_CREATIVE);
    f->imp.audio = &f->audio;
    CHECK_MISS(fits(f, AD_AUDIO), SELECT_OK);
    f->imp.video = NULL;
    CHECK_MISS(fits(f, AD_VIDEO), SELECT_CREATIVE);
    teardown(f);
}

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
        enum select_miss miss = select_offer(&f->catalog, 0, &f->request, &f->imp, LINE_RTB, price,
                                             &f->arena, &offer, NULL);
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
        select_rank(offers, count, STR("request"), &f->catalog);
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
        select_rank(offers, LINE_COUNT, (struct str){id, (size_t)len}, &f->catalog);
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
