#include "tests/test.h"

#include "frequency/cap_book.h"

static const uint32_t of_line[] = {0, 2}, of_brand[] = {0}, of_creative[] = {1};

TEST(book_finds_the_caps_of_an_exposure)
{
    struct arena arena;
    CHECK(arena_init(&arena, 4096, 1 << 20));
    struct cap caps[3] = {{.window = CAP_ROLLING, .window_s = 60},
                          {.window = CAP_LIFETIME},
                          {.window = CAP_CALENDAR_WEEK}};
    struct cap_book_entry lines[] = {{7, {of_line, 2}}}, brands[] = {{7, {of_brand, 1}}},
                          creatives[] = {{9, {of_creative, 1}}};
    struct tz tz = {0};
    struct cap_book book;
    CHECK_INT(
        cap_book_build(&book, &arena, &tz, caps, 3, 90 * 86400, lines, 1, brands, 1, creatives, 1),
        STATUS_OK);
    CHECK_INT(book.retention_s, 90 * 86400);
    struct exposure_refs refs = {.line = 7, .brand = 7, .creative = 9};
    CHECK(cap_book_of_line(&book, &refs).items == of_line);
    CHECK(cap_book_of_creative(&book, &refs).items == of_creative);
    refs.line = 8; /* the line left the catalog: its brand still counts */
    CHECK(cap_book_of_line(&book, &refs).items == of_brand);
    refs.brand = 8;
    CHECK_INT(cap_book_of_line(&book, &refs).count, 0);
    refs.creative = 0;
    CHECK_INT(cap_book_of_creative(&book, &refs).count, 0);
    arena_deinit(&arena);
}

TEST(book_refuses_two_entries_with_one_ref)
{
    struct arena arena;
    CHECK(arena_init(&arena, 4096, 1 << 20));
    struct cap_book_entry twice[] = {{7, {of_line, 2}}, {8, {of_brand, 1}}, {7, {of_brand, 1}}};
    struct cap_book book;
    for (int which = 0; which < 3; which++) {
        CHECK_INT(cap_book_build(&book, &arena, NULL, NULL, 0, 0, twice, which == 0 ? 3 : 2, twice,
                                 which == 1 ? 3 : 2, twice, which == 2 ? 3 : 2),
                  STATUS_INVALID);
    }
    CHECK_INT(cap_book_build(&book, &arena, NULL, NULL, 0, 0, NULL, 0, NULL, 0, NULL, 0),
              STATUS_OK);
    CHECK_INT(book.retention_s, CAP_BOOK_LEAST_RETENTION_S);
    arena_deinit(&arena);
}

TEST(book_reports_memory)
{
    struct cap_book_entry entries[] = {{7, {of_line, 2}}};
    for (size_t limit = 64; limit < 600; limit += 16) {
        struct arena arena;
        CHECK(arena_init(&arena, 64, limit));
        struct cap_book book;
        enum status status =
            cap_book_build(&book, &arena, NULL, NULL, 0, 0, entries, 1, entries, 1, entries, 1);
        CHECK(status == STATUS_OK || status == STATUS_NO_MEMORY);
        CHECK(limit > 200 || status == STATUS_NO_MEMORY);
        arena_deinit(&arena);
    }
}

TEST(refs_are_stable)
{
    /* stored in Redis: these numbers must never change */
    CHECK_INT(cap_ref32(STR("oreo-15s")), 3342139408);
    CHECK_INT(cap_ref24(STR("oreo")), 4728449);
    CHECK(cap_ref24(STR("oreo")) < 1u << 24);
    CHECK(cap_ref32(STR("")) != 0);
}
