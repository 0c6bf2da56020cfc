/* Every sample request against the sample catalog, from bytes to markup: find agrees with explain,
 * and no offer breaks what the request says, checked here by plain rules of its own. */
#include "bidder/catalog_load.h"
#include "bidder/markup.h"
#include "bidder/select.h"
#include "bidder/target.h"
#include "tests/test.h"
#include "tests/unit/openrtb_fixture.h"

#define NOW INT64_C(1795320000) /* 2026-11-22 12:00 in Shanghai, inside the sample's flights */

static struct catalog *catalog;
static struct arena arena;
static int requests, matched, offered, by_deal, misses[SELECT_MISS_COUNT];

static struct catalog *load(const char *path)
{
    struct problem_list problems;
    struct catalog *loaded = NULL;
    struct str text = fixture_read(path);
    struct arena texts;
    if (!arena_init(&texts, 1 << 16, 1 << 24)) {
        abort();
    }
    problem_list_init(&problems, &texts);
    CHECK_INT(catalog_load(text, NULL, 1, &loaded, &problems), STATUS_OK);
    problem_list_deinit(&problems);
    arena_deinit(&texts);
    free((char *)(uintptr_t)text.ptr);
    return loaded;
}

static bool listed(const struct str_list *list, struct str value)
{
    for (uint32_t i = 0; i < list->count; i++) {
        if (str_eq(list->items[i], value)) {
            return true;
        }
    }
    return false;
}

static void check_floor(const struct catalog_exchange *exchange, const struct bidreq_imp *imp,
                        const struct offer *offer)
{
    int64_t floor = imp->bidfloor_micros;
    struct str currency = imp->bidfloorcur;
    if (offer->wire_deal && offer->wire_deal->bidfloor_micros > 0) {
        floor = offer->wire_deal->bidfloor_micros;
        currency = offer->wire_deal->bidfloorcur;
    }
    CHECK(offer->price_micros >= offer->floor_micros);
    if (str_eq(currency, offer->currency)) {
        CHECK(select_wire_price(exchange, offer->price_micros) >= floor);
    }
}

static void check_creative(const struct bidreq_imp *imp, const struct catalog_creative *creative)
{
    CHECK(imp->secure == 0 || creative->secure);
    const struct bidreq_av *av = creative->type == CREATIVE_VIDEO   ? imp->video
                                 : creative->type == CREATIVE_AUDIO ? imp->audio
                                                                    : NULL;
    CHECK(creative->type != CREATIVE_VIDEO || imp->video);
    CHECK(creative->type != CREATIVE_BANNER || imp->banner);
    CHECK(creative->type != CREATIVE_NATIVE || imp->native);
    if (av && av->rqddurs.count == 0) {
        CHECK(creative->duration_s >= av->minduration && creative->duration_s <= av->maxduration);
    }
    if (av && av->mimes.count) {
        CHECK(listed(&av->mimes, creative->mime));
    }
}

static void check_markup(const struct bidreq_imp *imp, const struct catalog_creative *creative)
{
    static struct markup_templates *templates;
    struct buf scratch, out;
    struct arena made;
    if (!templates) {
        templates = markup_templates_create(STR("https://ads.example"));
    }
    CHECK(templates && arena_init(&made, 1 << 16, 1 << 20));
    buf_init(&scratch, 1 << 20);
    buf_init(&out, 1 << 20);
    struct markup_input input = {.templates = templates,
                                 .creative = creative,
                                 .imp = imp,
                                 .bid_id = STR("bid"),
                                 .exchange_token = STR("E"),
                                 .client_token = STR("C"),
                                 .arena = &made,
                                 .scratch = &scratch};
    struct markup_texts texts;
    CHECK(markup_make(&input, &texts));
    for (uint32_t i = 0; i < texts.adm.count; i++) {
        buf_put_str(&out, texts.adm.pieces[i]);
    }
    CHECK(memmem(out.data, out.len, "https://ads.example/notice/impression/C", 39) != NULL);
    CHECK(memmem(out.data, out.len, "https://ads.example/notice/click/C", 34) != NULL);
    buf_deinit(&out);
    buf_deinit(&scratch);
    arena_deinit(&made);
}

static void check_offer(uint32_t exchange, const struct bid_request *request,
                        const struct bidreq_imp *imp, const struct offer *offer)
{
    const struct catalog_line *line = &catalog->lines[offer->line];
    struct str domain = catalog->advertisers[line->advertiser].domain;
    offered++;
    CHECK(request->cur.count == 0 || listed(&request->cur, offer->currency));
    CHECK(!imp->private_auction || offer->wire_deal);
    CHECK((offer->wire_deal == NULL) == (offer->deal == CATALOG_NONE));
    CHECK(!listed(&request->badv, domain));
    CHECK(offer->creative_count > 0);
    if (offer->wire_deal) {
        by_deal++;
        CHECK(offer->wire_deal >= imp->deals.items &&
              offer->wire_deal < imp->deals.items + imp->deals.count);
        CHECK_INT(catalog->deals[offer->deal].exchange, exchange);
        CHECK(str_eq(catalog->deals[offer->deal].id, offer->wire_deal->id));
    }
    check_floor(&catalog->exchanges[exchange], imp, offer);
    for (uint32_t i = 0; i < offer->creative_count; i++) {
        const struct catalog_creative *creative =
            &catalog->creatives[line->creatives[offer->creatives[i]].creative];
        check_creative(imp, creative);
        check_markup(imp, creative);
    }
}

static void check_imp(uint32_t exchange, const struct bid_request *request,
                      struct target_request *prepared, const struct bidreq_imp *imp)
{
    static uint32_t lines[1024];
    bool truncated;
    struct select_imp on;
    CHECK(select_imp_prepare(&on, catalog, exchange, request, imp, &arena));
    uint32_t found = target_find(catalog, prepared, &on.deals, lines, 1024, &truncated), at = 0;
    for (uint32_t line = 0; line < catalog->line_count; line++) {
        bool wanted = target_explain(catalog, exchange, request, imp, line, NOW, NULL) == TARGET_OK;
        CHECK(wanted == (at < found && lines[at] == line));
        at += wanted;
    }
    matched += (int)found;
    for (uint32_t i = 0; i < found; i++) {
        struct offer offer;
        enum select_miss miss =
            select_offer(&on, lines[i], catalog->lines[lines[i]].bid_cpm_micros, &offer, NULL);
        misses[miss]++;
        if (!miss) {
            check_offer(exchange, request, imp, &offer);
        }
    }
}

/* The same impression, as a private auction of all the deals we have on the exchange. */
static void offer_our_deals(struct bidreq_imp *imp, uint32_t exchange)
{
    imp->private_auction = true;
    imp->deals.count = 0;
    imp->deals.items = arena_calloc(&arena, catalog->deal_count, sizeof(*imp->deals.items));
    for (uint32_t i = 0; imp->deals.items && i < catalog->deal_count; i++) {
        if (catalog->deals[i].exchange == exchange) {
            imp->deals.items[imp->deals.count++] = (struct bidreq_deal){
                .id = catalog->deals[i].id, .bidfloor_micros = 1500000, .bidfloorcur = STR("CNY")};
        }
    }
}

static void check_request(const char *path, struct str body)
{
    for (uint32_t exchange = 0; exchange < catalog->exchange_count; exchange++) {
        struct bid_request request;
        arena_reset(&arena);
        if (openrtb_json_decode(body, &arena, &request) != BIDREQ_OK) {
            return;
        }
        struct target_request *prepared =
            target_request_prepare(catalog, exchange, &request, NOW, &arena);
        CHECK(prepared != NULL);
        int failures = test_failures_here;
        for (uint32_t i = 0; prepared && i < request.imp.count; i++) {
            check_imp(exchange, &request, prepared, &request.imp.items[i]);
            offer_our_deals(&request.imp.items[i], exchange);
            check_imp(exchange, &request, prepared, &request.imp.items[i]);
        }
        if (test_failures_here > failures) {
            fprintf(stderr, "    in %s\n", path);
        }
    }
    requests++;
}

TEST(no_sample_request_gets_an_offer_it_forbids)
{
    catalog = load("deploy/catalog.json");
    CHECK(arena_init(&arena, 1 << 18, 1 << 24));
    if (catalog) {
        const char *folder = getenv("JOINTCAP_REQUESTS");
        fixture_each(folder ? folder : "tests/data/openrtb", check_request);
        catalog_release(&catalog);
    }
    arena_deinit(&arena);
    if (requests < 20 || offered < 200 || by_deal < 40) { /* else this would test nothing */
        TEST_FAIL("%d requests, %d matches, %d offers, %d by deals", requests, matched, offered,
                  by_deal);
    }
}
