/* Any bytes as a catalog: loads or says why; what loads answers lookups; a second load beside it
 * keeps rows; problems print. */
#include "bidder/base/bug.h"
#include "bidder/catalog_load.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void use(const struct catalog *catalog)
{
    for (uint32_t i = 0; i < catalog->deal_count; i++) {
        BUG_ON(catalog_find_deal(catalog, catalog->deals[i].exchange, catalog->deals[i].id) != i);
    }
    for (uint32_t i = 0; i < catalog->line_count; i++) {
        const struct catalog_line *line = &catalog->lines[i];
        BUG_ON(str_table_get(&catalog->line_by_id, line->id) != i);
        BUG_ON(line->creative_count == 0 || line->start_s >= line->end_s);
        BUG_ON(line->brand != catalog->campaigns[line->campaign].brand);
        for (uint32_t j = 0; j < line->caps.count; j++) {
            BUG_ON(line->caps.items[j] >= catalog->cap_count);
            BUG_ON(j && line->caps.items[j] <= line->caps.items[j - 1]);
        }
    }
    for (uint32_t i = 0; i < catalog->audience_count; i++) {
        static const uint32_t segments[] = {1, 2, 3};
        (void)audience_expr_matches(catalog, &catalog->audiences[i].expr, segments, 3);
        (void)audience_expr_matches(catalog, &catalog->audiences[i].expr, NULL, 0);
    }
    for (uint32_t i = 0; i < catalog->rotation_count; i++) {
        uint32_t sum = 0;
        for (uint32_t j = 0; j < catalog->rotations[i].share_count; j++) {
            sum += catalog->rotations[i].shares[j].share_ppm;
        }
        BUG_ON(sum != 1000000);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str text = {(const char *)data, size};
    struct arena arena;
    struct problem_list problems;
    struct catalog *catalog = NULL, *again = NULL;
    struct buf out;
    BUG_ON(!arena_init(&arena, 4096, 1u << 22));
    problem_list_init(&problems, &arena);
    buf_init(&out, 1u << 22);
    enum status status = catalog_load(text, NULL, 1, &catalog, &problems);
    BUG_ON((status == STATUS_OK) != (catalog != NULL));
    BUG_ON((status == STATUS_INVALID) != (problems.error_count > 0));
    problem_list_print(&problems, STR("f"), &out);
    problem_list_print_json(&problems, &out);
    if (catalog) {
        use(catalog);
        BUG_ON(catalog_load(text, catalog, 2, &again, &problems) != STATUS_OK);
        for (uint32_t i = 0; i < catalog->line_count; i++) {
            BUG_ON(again->lines[i].slot != catalog->lines[i].slot);
        }
    }
    catalog_release(&again);
    catalog_release(&catalog);
    problem_list_deinit(&problems);
    arena_deinit(&arena);
    buf_deinit(&out);
    return 0;
}
