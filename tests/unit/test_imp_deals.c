/* Deals of an impression: the table says what walking the wire says. */
#include "bidder/imp_deals.h"

#include "bidder/base/prng.h"
#include "bidder/target.h"
#include "tests/test.h"

#define DEALS 3000
#define NOW   INT64_C(1764000000)

static struct catalog catalog;
static struct catalog_exchange exchanges[2];
static struct catalog_creative creative = {.type = CREATIVE_BANNER, .w = 300, .h = 250};
static struct line_creative line_creative = {.creative = 0, .weight = 1};
static struct tz_transition zone = {INT64_MIN, 0};
static struct prng prng = {.state = 17};

static struct str deal_name(struct arena *arena, uint32_t number)
{
    char text[32];
    int len = snprintf(text, sizeof(text), "deal-%u", number);
    return arena_strdup(arena, (struct str){text, (size_t)len});
}

/* Every third deal on the second exchange; line i buys deal i. */
static void setup(void)
{
    catalog = (struct catalog){.tz = {.transitions = &zone, .count = 1},
                               .exchanges = exchanges,
                               .exchange_count = 2,
                               .creatives = &creative,
                               .creative_count = 1,
                               .deal_count = DEALS,
                               .line_count = DEALS};
    CHECK(arena_init(&catalog.arena, 1 << 20, 1 << 26));
    struct arena *arena = &catalog.arena;
    catalog.deals = arena_calloc(arena, DEALS, sizeof(*catalog.deals));
    catalog.next_deal = arena_calloc(arena, DEALS, sizeof(*catalog.next_deal));
    catalog.lines = arena_calloc(arena, DEALS, sizeof(*catalog.lines));
    CHECK(str_table_init(&catalog.deal_by_id, arena, DEALS));
    for (uint32_t i = 0; i < DEALS; i++) {
        catalog.deals[i] = (struct catalog_deal){.id = deal_name(arena, i), .exchange = i % 3 == 0};
        catalog.next_deal[i] = CATALOG_NONE;
        str_table_add(&catalog.deal_by_id, catalog.deals[i].id, i);
        uint32_t *deal = arena_alloc(arena, sizeof(*deal));
        *deal = i;
        catalog.lines[i] = (struct catalog_line){.enabled = true,
                                                 .end_s = INT64_MAX,
                                                 .buying = BUYING_PD,
                                                 .deals = {deal, 1},
                                                 .creatives = &line_creative,
                                                 .creative_count = 1};
    }
    CHECK_INT(target_index_build(&catalog), STATUS_OK);
}

static struct bidreq_imp imp_of(struct arena *arena, uint32_t count)
{
    static struct bidreq_banner banner = {.w = 300, .h = 250};
    struct bidreq_imp imp = {.id = STR("1"), .banner = &banner};
    imp.deals.items = arena_calloc(arena, count + 1, sizeof(*imp.deals.items));
    imp.deals.count = count;
    for (uint32_t i = 0; i < count; i++) { /* some unknown, some named twice */
        uint32_t number = (uint32_t)prng_below(&prng, DEALS + 200);
        bool again = i && prng_below(&prng, 4) == 0;
        imp.deals.items[i].id =
            again ? imp.deals.items[prng_below(&prng, i)].id : deal_name(arena, number);
    }
    return imp;
}

static uint32_t plain_next(const struct bidreq_imp *imp, uint32_t deal, uint32_t from)
{
    for (uint32_t i = from; i < imp->deals.count; i++) {
        if (catalog.deals[deal].exchange == 0 &&
            str_eq(catalog.deals[deal].id, imp->deals.items[i].id)) {
            return i;
        }
    }
    return CATALOG_NONE;
}

TEST(finds_each_deal_in_the_order_of_the_wire)
{
    setup();
    struct arena arena;
    CHECK(arena_init(&arena, 1 << 16, 1 << 22));
    for (uint32_t count = 0; count < 600; count += 1 + count / 3) {
        arena_reset(&arena);
        struct bidreq_imp imp = imp_of(&arena, count);
        struct imp_deals deals;
        CHECK(imp_deals_resolve(&deals, &catalog, 0, &imp, &arena));
        for (uint32_t deal = 0; deal < DEALS; deal++) {
            uint32_t at = imp_deals_first(&deals, deal), plain = plain_next(&imp, deal, 0);
            CHECK_INT(at, plain);
            while (at != CATALOG_NONE && at == plain) {
                at = imp_deals_after(&deals, at);
                plain = plain_next(&imp, deal, plain + 1);
                CHECK_INT(at, plain);
            }
        }
    }
    arena_deinit(&arena);
    arena_deinit(&catalog.arena);
}

TEST(a_thousand_deals_find_their_lines)
{
    setup();
    struct arena arena;
    CHECK(arena_init(&arena, 1 << 16, 1 << 22));
    static uint32_t lines[DEALS];
    for (int private = 0; private < 2; private ++) {
        arena_reset(&arena);
        struct bidreq_imp imp = imp_of(&arena, 1000);
        imp.private_auction = private;
        struct bid_request request = {.imp = {&imp, 1}};
        struct imp_deals deals;
        CHECK(imp_deals_resolve(&deals, &catalog, 0, &imp, &arena));
        struct target_request *target = target_request_prepare(&catalog, 0, &request, NOW, &arena);
        bool truncated;
        uint32_t found = target_find(&catalog, target, &deals, lines, DEALS, &truncated), at = 0;
        CHECK(!truncated && found > 300);
        for (uint32_t line = 0; line < DEALS; line++) {
            bool wanted = target_explain(&catalog, 0, &request, &imp, line, NOW, NULL) == TARGET_OK;
            CHECK(wanted == (at < found && lines[at] == line));
            at += wanted;
        }
    }
    arena_deinit(&arena);
    arena_deinit(&catalog.arena);
}

TEST(a_full_arena_is_said)
{
    setup();
    struct arena arena, wire;
    CHECK(arena_init(&arena, 256, 256));
    CHECK(arena_init(&wire, 1 << 16, 1 << 20));
    struct bidreq_imp imp = imp_of(&wire, 100);
    struct imp_deals deals;
    CHECK(!imp_deals_resolve(&deals, &catalog, 0, &imp, &arena));
    arena_deinit(&wire);
    arena_deinit(&arena);
    arena_deinit(&catalog.arena);
}
