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

TEST(households_are_looked_for_when_a_cap_counts_them)
{
    static const char *const caps[] = {"", ",\"identity\":\"household\""};
    for (uint32_t i = 0; i < 2; i++) {
        char text[512];
        snprintf(text, sizeof(text),
                 "{\"timezone\":\"UTC\",\"currency\":\"USD\",\"exchanges\":[{\"id\":\"a\"}],"
                 "\"frequency_caps\":[{\"id\":\"c\",\"max\":1,\"window\":\"lifetime\"%s}]}",
                 caps[i]);
        struct loaded loaded;
        load_text(&loaded, str_from(text));
        CHECK_INT(loaded.status, STATUS_OK);
        if (loaded.catalog) {
            CHECK_INT(loaded.catalog->exchanges[0].id_count, 5);
            CHECK_INT(loaded.catalog->exchanges[0].household_id_count, i ? 2 : 0);
        }
        unload(&loaded);
    }
}
