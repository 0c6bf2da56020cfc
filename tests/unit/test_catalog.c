/* The shipped catalog, lookups, money, audiences. */
#include "bidder/catalog.h"
#include "bidder/catalog_load.h"

#include "tests/test.h"
#include "tests/unit/catalog_text.h"

TEST(sample_loads)
{
    struct loaded loaded;
    load_file(&loaded, "deploy/catalog.json");
    CHECK_INT(loaded.status, STATUS_OK);
    CHECK_STR(loaded.printed, "");
    const struct catalog *catalog = loaded.catalog;
    if (catalog) {
        CHECK_INT(catalog->exchange_count, 7);
        CHECK_INT(catalog->brand_count, 4);
        CHECK_INT(catalog->line_count, 12);
        CHECK_INT(catalog->generation, 1);
    }
    unload(&loaded);
}

TEST(exchanges_without_ids_have_the_usual_ones)
{
    struct loaded loaded;
    load_text(&loaded,
              STR("{\"timezone\":\"UTC\",\"currency\":\"USD\",\"exchanges\":[{\"id\":\"a\"},"
                  "{\"id\":\"b\",\"ids\":[\"user.id\"]}]}"));
    CHECK_INT(loaded.status, STATUS_OK);
    if (loaded.catalog) {
        const struct catalog_exchange *a = &loaded.catalog->exchanges[0];
        CHECK_INT(a->id_count, 5);
        CHECK_INT(a->household_id_count, 2);
        CHECK_STR(a->ids[0].type, "ifa");
        CHECK_STR(a->ids[4].type, "buyeruid@a");
        CHECK_INT(loaded.catalog->exchanges[1].id_count, 1);
        CHECK_INT(loaded.catalog->exchanges[1].household_id_count, 2);
    }
    unload(&loaded);
}
