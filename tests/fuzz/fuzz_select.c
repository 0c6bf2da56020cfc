/* A bid request of any bytes against the sample catalog: find agrees with explain on every line,
 * an offer keeps its own promises, and its markup is made. The catalog is deploy/catalog.json, so
 * run it in the project's folder. */
#include <stdio.h>
#include <stdlib.h>

#include "bidder/base/bug.h"
#include "bidder/catalog_load.h"
#include "bidder/markup.h"
#include "bidder/select.h"
#include "bidder/target.h"
#include "proto/openrtb.h"

#define NOW INT64_C(1795320000) /* 2026-11-22 12:00 in Shanghai, inside the sample's flights */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct catalog *catalog;
static struct arena arena;
static struct buf scratch, detail;
static struct markup_templates *templates;

static void setup(void)
{
    static char text[1 << 20];
    struct problem_list problems;
    struct arena texts;
    FILE *file = fopen("deploy/catalog.json", "rb");
    BUG_ON(!file || !arena_init(&texts, 1 << 16, 1 << 24));
    size_t len = fread(text, 1, sizeof(text), file);
    fclose(file);
    problem_list_init(&problems, &texts);
    BUG_ON(catalog_load((struct str){text, len}, NULL, 1, &catalog, &problems) != STATUS_OK);
    problem_list_deinit(&problems);
    arena_deinit(&texts);
    BUG_ON(!arena_init(&arena, 1 << 18, 1 << 22));
    buf_init(&scratch, 1 << 20);
    templates = markup_templates_create(STR("https://ads.example"));
    BUG_ON(!templates);
    buf_init(&detail, 1 << 20);
}

static void check_markup(const struct bidreq_imp *imp, const struct offer *offer)
{
    const struct catalog_line *line = &catalog->lines[offer->line];
    for (uint32_t i = 0; i < offer->creative_count; i++) {
        struct markup_input input = {
            .templates = templates,
            .form = (enum markup_form)(i % MARKUP_FORM_COUNT),
            .creative = &catalog->creatives[line->creatives[offer->creatives[i]].creative],
            .imp = imp,
            .bid_id = STR("bid"),
            .exchange_token = STR("E"),
            .client_token = STR("C"),
            .arena = &arena,
            .scratch = &scratch,
        };
        struct markup_texts texts;
        BUG_ON(!markup_make(&input, &texts) || bid_text_size(texts.adm) == 0);
    }
}

static void check_line(struct select_imp *on, const struct bidreq_imp *imp, uint32_t line)
{
    struct offer offer;
    buf_reset(&detail);
    enum select_miss miss =
        select_offer(on, line, catalog->lines[line].bid_cpm_micros, &offer, &detail);
    BUG_ON(miss && detail.len == 0);
    if (miss) {
        return;
    }
    BUG_ON(offer.price_micros < offer.floor_micros || offer.floor_micros < 0);
    BUG_ON(offer.cost_cpm_micros < 0 || offer.creative_count == 0);
    BUG_ON(imp->private_auction && !offer.wire_deal);
    check_markup(imp, &offer);
}

static void check_imp(uint32_t exchange, const struct bid_request *request,
                      struct target_request *prepared, const struct bidreq_imp *imp)
{
    uint32_t lines[256], at = 0;
    bool truncated;
    struct select_imp on;
    if (!select_imp_prepare(&on, catalog, exchange, request, imp, &arena)) {
        return;
    }
    uint32_t found = target_find(catalog, prepared, &on.deals, lines, 256, &truncated);
    for (uint32_t line = 0; !truncated && line < catalog->line_count; line++) {
        buf_reset(&detail);
        bool wanted =
            target_explain(catalog, exchange, request, imp, line, NOW, &detail) == TARGET_OK;
        BUG_ON(wanted != (at < found && lines[at] == line));
        at += wanted;
        check_line(&on, imp, line);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!catalog) {
        setup();
    }
    struct str body = {(const char *)data, size};
    for (uint32_t exchange = 0; exchange < catalog->exchange_count; exchange++) {
        struct bid_request request;
        arena_reset(&arena);
        if (openrtb_json_decode(body, &arena, &request) != BIDREQ_OK) {
            return 0;
        }
        struct target_request *prepared =
            target_request_prepare(catalog, exchange, &request, NOW, &arena);
        for (uint32_t i = 0; prepared && i < request.imp.count; i++) {
            check_imp(exchange, &request, prepared, &request.imp.items[i]);
        }
    }
    return 0;
}
