/* Who may buy and what may run: seats, deals, blocks and creative fit, each rule by what passes and
 * what just does not. */
#include "tests/unit/select_fixture.h"

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
