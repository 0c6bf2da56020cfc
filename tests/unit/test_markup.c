/* What markup makes is parsed by strict small readers, with hostile text in every field. */
#include "bidder/markup.h"

#include "bidder/base/json.h"
#include "tests/unit/xml_reader.h"

/* --- fixture ------------------------------------------------------------------------------- */

static const char hostile[] = "a]]>b\"c'd<script>alert(1)</script>&amp;\n\r\t\x01\\ \xe5\xa5\xa5"
                              "\xef\xbf\xbf}{CLICK}--><!--";

struct fixture {
    struct buf out, scratch;
    struct arena arena;
    struct str base;  /* of the notice urls */
    struct buf other; /* the JSON form, taken back */
    struct catalog_creative creative;
    struct bidreq_imp imp;
    struct bidreq_av video;
    struct bidreq_banner banner;
    struct bidreq_native native;
    struct markup_input input;
};

static struct fixture *setup(enum creative_type type)
{
    static struct fixture fixture;
    struct fixture *f = &fixture;
    *f = (struct fixture){0};
    buf_init(&f->out, 1 << 20);
    buf_init(&f->other, 1 << 20);
    buf_init(&f->scratch, 1 << 16);
    f->base = STR("https://ads.example");
    if (!arena_init(&f->arena, 1 << 16, 1 << 20)) {
        abort();
    }
    f->creative = (struct catalog_creative){
        .id = STR("oreo-15s"),
        .type = type,
        .w = 640,
        .h = 480,
        .duration_s = 3675,
        .mime = STR("video/mp4"),
        .url = STR("https://cdn.example/oreo.mp4?a=1&b=2"),
        .image = STR("https://cdn.example/oreo.png?a=1&b=2"),
        .landing = STR("https://oreo.example/"),
        .secure = true,
    };
    f->imp.id = STR("1");
    f->imp.video = f->imp.audio = &f->video;
    f->imp.banner = &f->banner;
    f->imp.native = &f->native;
    f->native.ver = STR("1.2");
    f->input = (struct markup_input){
        .creative = &f->creative,
        .imp = &f->imp,
        .bid_id = STR("bid-1"),
        .advertiser_domain = STR("mondelez.example"),
        .exchange_token = STR("EXC_-1"),
        .client_token = STR("CLI_-1"),
    };
    return f;
}

static void teardown(struct fixture *f)
{
    buf_deinit(&f->out);
    buf_deinit(&f->other);
    buf_deinit(&f->scratch);
    arena_deinit(&f->arena);
}

static void join(struct bid_text text, struct buf *out)
{
    buf_reset(out);
    for (uint32_t i = 0; i < text.count; i++) {
        buf_put_str(out, text.pieces[i]);
    }
}

/* What a JSON reader makes of the form that stands between quotes. */
static void unescape(struct fixture *f)
{
    struct buf quoted;
    struct str text = STR_NONE;
    struct json_reader r;
    buf_init(&quoted, 1 << 20);
    buf_put_char(&quoted, '"');
    buf_put_str(&quoted, buf_str(&f->other));
    buf_put_char(&quoted, '"');
    json_reader_init(&r, buf_str(&quoted), &f->arena, 1);
    CHECK(json_read_string(&r, &text) && json_finish(&r));
    buf_reset(&f->other);
    buf_put_str(&f->other, text);
    buf_deinit(&quoted);
}

enum text { ADM, NURL, BURL, LURL };

static void make(struct fixture *f, enum markup_form form, enum text text, struct buf *out)
{
    struct markup_texts made;
    f->input.form = form;
    CHECK(markup_make(&f->input, &made));
    join(text == ADM    ? made.adm
         : text == NURL ? made.nurl
         : text == BURL ? made.burl
                        : made.lurl,
         out);
}

/* The text as it is, which the form for JSON says too. */
static struct str both_forms(struct fixture *f, enum text text)
{
    make(f, MARKUP_JSON, text, &f->other);
    unescape(f);
    make(f, MARKUP_PLAIN, text, &f->out);
    CHECK(f->out.len > 0);
    CHECK(str_eq(buf_str(&f->other), buf_str(&f->out)));
    return buf_str(&f->out);
}

static struct str made_text(struct fixture *f, enum text wanted)
{
    struct buf scratch;
    struct markup_templates *templates = markup_templates_create(f->base);
    buf_init(&scratch, 1 << 20);
    f->input.templates = templates;
    f->input.scratch = &scratch;
    f->input.arena = &f->arena;
    arena_reset(&f->arena);
    CHECK(templates && markup_prepare(&f->creative, &f->arena));
    struct str text = both_forms(f, wanted);
    markup_templates_destroy(&templates);
    buf_deinit(&scratch);
    return text;
}

static struct str made(struct fixture *f)
{
    return made_text(f, ADM);
}

static bool has(struct str text, const char *part)
{
    return text.len && memmem(text.ptr, text.len, part, strlen(part)) != NULL;
}

static struct int_list ints(int32_t *items, uint32_t count)
{
    return (struct int_list){items, count};
}

/* --- VAST ---------------------------------------------------------------------------------- */

TEST(vast_version_follows_what_the_exchange_lists)
{
    struct {
        int32_t list[4];
        uint32_t count;
        bool vast_3;
        int32_t expected;
    } cases[] = {
        {{0}, 0, false, 13},          {{0}, 0, true, 3},        {{2, 3, 5, 6}, 4, false, 3},
        {{2}, 1, false, 2},           {{3, 7}, 2, false, 7},    {{3, 7}, 2, true, 3},
        {{3, 13, 14}, 3, false, 13},  {{3, 13}, 2, true, 3},    {{13}, 1, true, 13},
        {{5, 6, 8, 12}, 4, false, 0}, {{11, 12}, 2, false, 11}, {{1, 9}, 2, false, 0},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct int_list list = ints(cases[i].list, cases[i].count);
        CHECK_INT(markup_vast_protocol(&list, cases[i].vast_3), cases[i].expected);
    }
}

TEST(vast_4_2_has_everything_in_the_order_of_the_schema)
{
    struct fixture *f = setup(CREATIVE_VIDEO);
    struct xml xml = xml_parse(made(f));
    CHECK_STR(xml_text(&xml, "version", 0), "4.2");
    CHECK_STR(xml_children(&xml, "InLine", &f->scratch),
              "AdSystem Error Impression AdServingId AdTitle Advertiser Creatives ");
    CHECK_STR(xml_children(&xml, "Creative", &f->scratch), "id adId Linear UniversalAdId ");
    CHECK_STR(xml_children(&xml, "Linear", &f->scratch),
              "TrackingEvents Duration MediaFiles VideoClicks ");
    CHECK_STR(xml_children(&xml, "MediaFile", &f->scratch),
              "delivery type width height scalable maintainAspectRatio ");
    CHECK_STR(xml_text(&xml, "Duration", 0), "01:01:15");
    CHECK_STR(xml_text(&xml, "MediaFile", 0), "https://cdn.example/oreo.mp4?a=1&b=2");
    CHECK_STR(xml_text(&xml, "delivery", 0), "progressive");
    CHECK_STR(xml_text(&xml, "Impression", 0), "https://ads.example/notice/impression/CLI_-1");
    CHECK_STR(xml_text(&xml, "ClickThrough", 0), "https://ads.example/notice/click/CLI_-1");
    CHECK_STR(xml_text(&xml, "Error", 0),
              "https://ads.example/notice/error/CLI_-1?code=[ERRORCODE]");
    static const char *const events[] = {"start", "firstQuartile", "midpoint", "thirdQuartile",
                                         "complete"};
    for (int i = 0; i < 5; i++) {
        char url[80];
        snprintf(url, sizeof(url), "https://ads.example/notice/%s/CLI_-1", events[i]);
        CHECK_STR(xml_text(&xml, "event", i), events[i]);
        CHECK_STR(xml_text(&xml, "Tracking", i), url);
    }
    CHECK_STR(xml_text(&xml, "UniversalAdId", 0), "oreo-15s");
    CHECK(!has(buf_str(&f->out), "oreo.example/\"")); /* the landing page is the server's to know */
    teardown(f);
}

TEST(older_vast_has_its_own_order_and_nothing_newer)
{
    struct fixture *f = setup(CREATIVE_VIDEO);
    int32_t listed[] = {3};
    f->video.protocols = ints(listed, 1);
    struct xml xml = xml_parse(made(f));
    CHECK_STR(xml_text(&xml, "version", 0), "3.0");
    CHECK_STR(xml_children(&xml, "InLine", &f->scratch),
              "AdSystem AdTitle Error Impression Creatives ");
    CHECK_STR(xml_children(&xml, "Linear", &f->scratch),
              "Duration TrackingEvents VideoClicks MediaFiles ");
    CHECK(!xml_find(&xml, "UniversalAdId", 0) && !xml_find(&xml, "adType", 0));
    listed[0] = 7;
    xml = xml_parse(made(f));
    CHECK_STR(xml_text(&xml, "version", 0), "4.0");
    CHECK(!xml_find(&xml, "AdServingId", 0) && !xml_find(&xml, "adType", 0));
    CHECK_STR(xml_text(&xml, "idValue", 0), "oreo-15s");
    listed[0] = 2;
    xml = xml_parse(made(f));
    CHECK_STR(xml_text(&xml, "version", 0), "2.0");
    teardown(f);
}

TEST(audio_is_vast_with_an_audio_type)
{
    struct fixture *f = setup(CREATIVE_AUDIO);
    f->creative.mime = STR("audio/mpeg");
    struct xml xml = xml_parse(made(f));
    CHECK_STR(xml_text(&xml, "adType", 0), "audio");
    CHECK_STR(xml_text(&xml, "type", 0), "audio/mpeg");
    CHECK_STR(xml_text(&xml, "width", 0), "0");
    teardown(f);
}

TEST(vast_survives_hostile_text_in_every_field)
{
    struct fixture *f = setup(CREATIVE_VIDEO);
    struct str evil = {hostile, sizeof(hostile) - 1};
    struct str *fields[] = {&f->creative.id,  &f->creative.adid, &f->creative.mime,
                            &f->creative.url, &f->input.bid_id,  &f->input.advertiser_domain,
                            &f->base};
    static const int32_t protocols[] = {2, 3, 7, 11, 13};
    for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
        struct str kept = *fields[i];
        *fields[i] = evil;
        for (size_t p = 0; p < 5; p++) {
            int32_t listed[] = {protocols[p]};
            f->video.protocols = ints(listed, 1);
            struct xml xml = xml_parse(made(f));
            CHECK(xml_find(&xml, "MediaFile", 0) != NULL);
            CHECK(!xml_find(&xml, "script", 0));
        }
        *fields[i] = kept;
    }
    f->creative.id = evil;
    f->video.protocols = ints(NULL, 0);
    struct xml xml = xml_parse(made(f));
    CHECK_STR(xml_text(&xml, "AdTitle", 0), "a]]>b\"c'd<script>alert(1)</script>&amp;\n\r\t\\ "
                                            "\xe5\xa5\xa5}{CLICK}--><!--");
    teardown(f);
}

TEST(every_byte_sequence_of_two_stays_inside_its_place)
{
    struct fixture *f = setup(CREATIVE_VIDEO);
    for (int a = 1; a < 128; a += 3) {
        for (int b = 1; b < 128; b += 2) {
            char text[3] = {(char)a, (char)b, ']'};
            f->creative.id = f->creative.url = (struct str){text, 3};
            struct xml xml = xml_parse(made(f));
            CHECK_INT(xml.count, 44);
        }
    }
    teardown(f);
}

/* --- banner -------------------------------------------------------------------------------- */

/* Attribute values are in double quotes, hold no raw < > or quotes, and tags are the ones given. */
static void check_html(struct str html, const char *tags)
{
    char seen[256];
    size_t len = 0;
    bool inside = false, quoted = false;
    for (size_t i = 0; i < html.len && len + 1 < sizeof(seen); i++) {
        char c = html.ptr[i];
        if (!inside && c == '<') {
            inside = true;
            while (i + 1 < html.len && html.ptr[i + 1] != ' ' && html.ptr[i + 1] != '>') {
                seen[len++] = html.ptr[++i];
            }
            seen[len++] = ' ';
        } else if (inside && c == '"') {
            quoted = !quoted;
        } else if (quoted) {
            CHECK(c != '<' && c != '>' && c != '\'' && (unsigned char)c >= 0x20);
        } else if (inside && c == '>') {
            inside = false;
        }
    }
    CHECK(!inside && !quoted);
    CHECK_STR(((struct str){seen, len}), tags);
}

TEST(image_banner_links_and_counts)
{
    struct fixture *f = setup(CREATIVE_BANNER);
    struct str html = made(f);
    check_html(html, "a img /a img ");
    CHECK(has(html, "href=\"https://ads.example/notice/click/CLI_-1\""));
    CHECK(has(html, "src=\"https://cdn.example/oreo.png?a=1&amp;b=2\""));
    CHECK(has(html, "src=\"https://ads.example/notice/impression/CLI_-1\""));
    CHECK(has(html, "width=\"640\" height=\"480\""));
    f->creative.image = (struct str){hostile, sizeof(hostile) - 1};
    f->base = f->creative.image;
    check_html(made(f), "a img /a img ");
    teardown(f);
}

TEST(html_banner_gets_the_click_url_in_each_place)
{
    struct fixture *f = setup(CREATIVE_BANNER);
    f->creative.html =
        STR("<div onclick=\"open('{CLICK}')\">{CLIC}<a href=\"{CLICK}\">x</a></div>{C");
    struct str html = made(f);
    CHECK_STR(html, "<div onclick=\"open('https://ads.example/notice/click/CLI_-1')\">{CLIC}"
                    "<a href=\"https://ads.example/notice/click/CLI_-1\">x</a></div>{C"
                    "<img src=\"https://ads.example/notice/impression/CLI_-1\" width=\"1\" "
                    "height=\"1\" alt=\"\" style=\"position:absolute\">");
    teardown(f);
}

/* --- native -------------------------------------------------------------------------------- */

struct native_seen {
    struct str ver, click, tracker, imptracker, title, data, image, vast;
    int assets;
    bool root;
};

static void read_member(struct json_reader *r, struct str member, struct native_seen *seen)
{
    struct str key;
    json_object_begin(r);
    while (json_object_next(r, &key)) {
        struct str *text = str_eq(key, STR("text"))      ? &seen->title
                           : str_eq(key, STR("value"))   ? &seen->data
                           : str_eq(key, STR("vasttag")) ? &seen->vast
                           : str_eq(key, STR("url"))
                               ? (str_eq(member, STR("img")) ? &seen->image : &seen->click)
                               : NULL;
        if (!text || !json_read_string(r, text)) {
            json_skip(r);
        }
    }
}

static void read_assets(struct json_reader *r, struct native_seen *seen)
{
    struct str key;
    json_array_begin(r);
    while (json_array_next(r)) {
        seen->assets++;
        json_object_begin(r);
        while (json_object_next(r, &key)) {
            if (str_eq(key, STR("id"))) {
                json_skip(r);
            } else {
                read_member(r, key, seen);
            }
        }
    }
}

static void read_trackers(struct json_reader *r, struct native_seen *seen)
{
    struct str key;
    json_array_begin(r);
    while (json_array_next(r)) {
        json_object_begin(r);
        while (json_object_next(r, &key)) {
            if (str_eq(key, STR("url"))) {
                json_read_string(r, &seen->tracker);
            } else {
                json_skip(r);
            }
        }
    }
}

static void read_native(struct json_reader *r, struct native_seen *seen)
{
    struct str key;
    json_object_begin(r);
    while (json_object_next(r, &key)) {
        if (str_eq(key, STR("native"))) {
            seen->root = true;
            read_native(r, seen);
        } else if (str_eq(key, STR("ver"))) {
            json_read_string(r, &seen->ver);
        } else if (str_eq(key, STR("assets"))) {
            read_assets(r, seen);
        } else if (str_eq(key, STR("link"))) {
            read_member(r, key, seen);
        } else if (str_eq(key, STR("eventtrackers"))) {
            read_trackers(r, seen);
        } else if (str_eq(key, STR("imptrackers"))) {
            json_array_begin(r);
            while (json_array_next(r)) {
                json_read_string(r, &seen->imptracker);
            }
        } else {
            TEST_FAIL("unexpected member %.*s", STR_ARG(key));
            json_skip(r);
        }
    }
}

static struct native_seen parse_native(struct fixture *f)
{
    struct native_seen seen = {0};
    struct json_reader r;
    struct str text = made(f);
    json_reader_init(&r, text, &f->arena, 16);
    read_native(&r, &seen);
    if (!json_finish(&r)) {
        TEST_FAIL("JSON: %s at %zu of %.*s", json_error_name(r.error), r.error_offset,
                  STR_ARG(text));
    }
    return seen;
}

static struct native_asset own_assets[] = {
    {.kind = BIDREQ_ASSET_TITLE, .text = {"Oreo", 4}},
    {.kind = BIDREQ_ASSET_IMAGE,
     .type = 3,
     .url = {"https://c.example/a.png", 23},
     .w = 100,
     .h = 50},
    {.kind = BIDREQ_ASSET_DATA, .type = 1, .text = {"Mondelez", 8}},
    {.kind = BIDREQ_ASSET_VIDEO,
     .url = {"https://c.example/v.mp4", 23},
     .mime = {"video/mp4", 9},
     .duration_s = 15},
};

static struct bidreq_asset wanted_assets[] = {
    {.id = 7, .required = true, .kind = BIDREQ_ASSET_TITLE, .len = 90},
    {.id = 8, .required = true, .kind = BIDREQ_ASSET_IMAGE, .type = 3, .wmin = 50, .hmin = 50},
    {.id = 9, .kind = BIDREQ_ASSET_DATA, .type = 1},
    {.id = 10, .kind = BIDREQ_ASSET_DATA, .type = 2},
    {.id = 11, .kind = BIDREQ_ASSET_VIDEO},
};

TEST(native_answers_each_asset_it_can_fill)
{
    struct fixture *f = setup(CREATIVE_NATIVE);
    f->creative.assets = own_assets;
    f->creative.asset_count = 4;
    f->native.assets.items = wanted_assets;
    f->native.assets.count = 5;
    struct native_seen seen = parse_native(f);
    CHECK(!seen.root);
    CHECK_INT(seen.assets, 4);
    CHECK_STR(seen.ver, "1.2");
    CHECK_STR(seen.title, "Oreo");
    CHECK_STR(seen.data, "Mondelez");
    CHECK_STR(seen.image, "https://c.example/a.png");
    CHECK_STR(seen.click, "https://ads.example/notice/click/CLI_-1");
    CHECK_STR(seen.imptracker, "https://ads.example/notice/impression/CLI_-1");
    CHECK_INT(seen.tracker.len, 0);
    xml_parse(seen.vast);
    int32_t methods[] = {1, 2};
    struct bidreq_eventtracker asked[] = {{.event = 1, .methods = {methods, 2}}};
    f->native.eventtrackers.items = asked;
    f->native.eventtrackers.count = 1;
    f->native.has_root = true;
    seen = parse_native(f);
    CHECK(seen.root);
    CHECK_STR(seen.tracker, "https://ads.example/notice/impression/CLI_-1");
    CHECK_INT(seen.imptracker.len, 0);
    f->native.ver = STR("1.1");
    seen = parse_native(f);
    CHECK_STR(seen.ver, "1.1");
    CHECK_STR(seen.imptracker, "https://ads.example/notice/impression/CLI_-1");
    teardown(f);
}

TEST(native_survives_hostile_text_in_every_field)
{
    struct fixture *f = setup(CREATIVE_NATIVE);
    struct native_asset assets[4];
    memcpy(assets, own_assets, sizeof(assets));
    f->creative.assets = assets;
    f->creative.asset_count = 4;
    f->native.assets.items = wanted_assets;
    f->native.assets.count = 5;
    struct str evil = {hostile, sizeof(hostile) - 1};
    f->native.ver = f->creative.id = f->creative.adid = f->input.bid_id = evil;
    f->base = f->input.advertiser_domain = evil;
    assets[0].text = assets[1].url = assets[2].text = assets[3].url = assets[3].mime = evil;
    struct native_seen seen = parse_native(f);
    CHECK_STR(seen.title, hostile);
    CHECK_STR(seen.data, hostile);
    CHECK_STR(seen.ver, "1.2");
    CHECK_INT(seen.assets, 4);
    xml_parse(seen.vast);
    teardown(f);
}

TEST(two_alike_assets_take_different_pictures_while_there_are_any)
{
    struct native_asset assets[] = {{.kind = BIDREQ_ASSET_IMAGE, .type = 3, .url = {"a", 1}},
                                    {.kind = BIDREQ_ASSET_IMAGE, .type = 3, .url = {"b", 1}}};
    struct catalog_creative creative = {.assets = assets, .asset_count = 2};
    struct bidreq_asset wanted = {.kind = BIDREQ_ASSET_IMAGE, .type = 3};
    uint64_t used = 0;
    CHECK_INT(markup_native_fill(&creative, &wanted, &used), 0);
    CHECK_INT(markup_native_fill(&creative, &wanted, &used), 1);
    CHECK_INT(markup_native_fill(&creative, &wanted, &used), 0);
    wanted.type = 1;
    CHECK_INT(markup_native_fill(&creative, &wanted, &used), CATALOG_NONE);
}

/* --- urls and failure ---------------------------------------------------------------------- */

TEST(notice_urls_carry_the_macros)
{
    struct fixture *f = setup(CREATIVE_BANNER);
    CHECK_STR(made_text(f, NURL), "https://ads.example/notice/win/EXC_-1?price=${AUCTION_PRICE}"
                                  "&cur=${AUCTION_CURRENCY}");
    CHECK_STR(made_text(f, BURL), "https://ads.example/notice/bill/EXC_-1?price=${AUCTION_PRICE}"
                                  "&cur=${AUCTION_CURRENCY}");
    CHECK_STR(made_text(f, LURL),
              "https://ads.example/notice/loss/EXC_-1?loss=${AUCTION_LOSS}&price=${AUCTION_PRICE}"
              "&min_to_win=${AUCTION_MIN_TO_WIN}");
    teardown(f);
}

/* Whatever is left of the arena: all of the text, or none of it. */
TEST(too_little_memory_makes_nothing_at_every_size)
{
    static const enum creative_type types[] = {CREATIVE_BANNER, CREATIVE_VIDEO, CREATIVE_NATIVE};
    for (int t = 0; t < 6; t++) {
        struct fixture *f = setup(types[t % 3]);
        f->creative.assets = own_assets;
        f->creative.asset_count = 4;
        f->native.assets.items = wanted_assets;
        f->native.assets.count = 5;
        f->creative.url = f->creative.id = (struct str){hostile, sizeof(hostile) - 1};
        f->creative.html = t == 3 ? STR("<a href={CLICK}>") : STR_NONE;
        struct arena arena;
        struct buf scratch;
        struct str whole = made(f);
        struct markup_templates *templates = markup_templates_create(f->base);
        buf_init(&scratch, t == 5 ? whole.len / 2 : 1 << 20);
        f->input.templates = templates;
        f->input.scratch = &scratch;
        f->input.arena = &arena;
        bool enough = false;
        for (size_t limit = 16; limit < 8192; limit += 16) {
            CHECK(arena_init(&arena, limit, limit));
            struct markup_texts texts;
            bool could = markup_make(&f->input, &texts);
            enough = enough || could;
            CHECK_INT(could, enough);
            CHECK(!could || bid_text_size(texts.adm) == whole.len);
            arena_deinit(&arena);
        }
        CHECK_INT(enough, t != 5);
        markup_templates_destroy(&templates);
        buf_deinit(&scratch);
        teardown(f);
    }
}
