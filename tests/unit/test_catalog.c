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
