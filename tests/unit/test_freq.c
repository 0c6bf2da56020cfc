/* Verdicts: what counts for which cap, and at which second it stops counting. */
#include "tests/test.h"

#include "bidder/base/bug.h"
#include "bidder/base/prng.h"
#include "frequency/freq.h"

#define NOW 1800000000 /* 2027-01-15 08:00:00 UTC, a Friday */

enum { CAP_HOUR, CAP_LIFE, CAP_GAP, CAP_HOME, CAP_CREATIVE, CAP_TODAY, CAP_COUNT };

static struct cap caps[CAP_COUNT] = {
    [CAP_HOUR] = {.id = {"hour", 4}, .max = 2, .window = CAP_ROLLING, .window_s = 3600},
    [CAP_LIFE] = {.id = {"life", 4}, .max = 3, .window = CAP_LIFETIME},
    [CAP_GAP] = {.id = {"gap", 3}, .max = 0, .window = CAP_LIFETIME, .min_interval_s = 600},
    [CAP_HOME] = {.id = {"home", 4}, .max = 1, .window = CAP_LIFETIME, .identity = CAP_HOUSEHOLD},
    [CAP_CREATIVE] = {.id = {"creative", 8}, .max = 1, .window = CAP_LIFETIME},
    [CAP_TODAY] = {.id = {"today", 5}, .max = 1, .window = CAP_CALENDAR_DAY},
};

static const uint32_t hour[] = {CAP_HOUR}, life[] = {CAP_LIFE}, gap[] = {CAP_GAP},
                      home[] = {CAP_HOME}, creative[] = {CAP_CREATIVE}, today[] = {CAP_TODAY},
                      hour_life[] = {CAP_HOUR, CAP_LIFE};
#define LIST(array) ((struct cap_list){(array), (uint32_t)COUNT_OF(array)})
#define NO_CAPS     ((struct cap_list){NULL, 0})

static const struct cap_book_entry lines[] = {
    {1, {hour_life, 2}}, {2, {gap, 1}}, {3, {home, 1}}, {4, {today, 1}}, {5, {life, 1}}};
static const struct cap_book_entry brands[] = {{70, {life, 1}}};
static const struct cap_book_entry creatives[] = {{90, {creative, 1}}};

static struct cap_book *the_book(void)
{
    static struct arena arena;
    static struct tz tz;
    static struct cap_book book;
    if (!arena.first) {
        BUG_ON(!arena_init(&arena, 65536, 1 << 20));
        BUG_ON(tz_load(STR("UTC"), &arena, &tz) != STATUS_OK);
        BUG_ON(cap_book_build(&book, &arena, &tz, caps, CAP_COUNT, 90 * 86400, lines, 5, brands, 1,
                              creatives, 1) != STATUS_OK);
    }
    return &book;
}

static struct freq_exposure shown(uint32_t line, int64_t time_s)
{
    return (struct freq_exposure){.refs = {.line = line, .brand = 70, .creative = 91},
                                  .time_s = (uint32_t)time_s};
}

static struct freq_view view_of(struct freq_exposure *exposures, uint32_t count)
{
    struct freq_view view = {.outcome = FREQ_KNOWN, .record_count = 1};
    view.records[0] = (struct freq_record){.exposures = exposures, .exposure_count = count};
    return view;
}

TEST(a_window_counts_to_its_second)
{
    struct freq_exposure exposures[] = {shown(1, NOW - 3600), shown(1, NOW - 3599)};
    struct freq_view view = view_of(exposures, 2);
    struct freq_verdict verdict = freq_check(the_book(), &view, LIST(hour), NO_CAPS, NOW);
    CHECK_INT(verdict.kind, FREQ_OPEN);
    verdict = freq_check(the_book(), &view, LIST(hour), NO_CAPS, NOW - 1);
    CHECK_INT(verdict.kind, FREQ_AT_CAP);
    CHECK_INT(verdict.count, 2);
    CHECK_STR(verdict.cap->id, "hour");
    CHECK_INT(freq_widest_count(the_book(), &view, LIST(hour), NOW), 1);
    CHECK_INT(freq_widest_count(the_book(), &view, LIST(hour_life), NOW), 2);
    CHECK_INT(freq_widest_count(the_book(), &view, NO_CAPS, NOW), 0);
}

TEST(all_caps_hold_together)
{
    struct freq_exposure exposures[] = {shown(1, NOW - 9000), shown(1, NOW - 8000),
                                        shown(1, NOW - 7000)};
    struct freq_view view = view_of(exposures, 3);
    struct freq_verdict verdict = freq_check(the_book(), &view, LIST(hour_life), NO_CAPS, NOW);
    CHECK_INT(verdict.kind, FREQ_AT_CAP);
    CHECK_STR(verdict.cap->id, "life");
    view.records[0].exposure_count = 2;
    CHECK_INT(freq_check(the_book(), &view, LIST(hour_life), NO_CAPS, NOW).kind, FREQ_OPEN);
}

TEST(reservations_count_until_they_expire)
{
    struct freq_exposure exposures[] = {shown(1, NOW), shown(1, NOW)};
    exposures[0].hold_s = exposures[1].hold_s = 60;
    struct freq_view view = view_of(exposures, 2);
    CHECK_INT(freq_check(the_book(), &view, LIST(hour), NO_CAPS, NOW + 59).kind, FREQ_AT_CAP);
    CHECK_INT(freq_check(the_book(), &view, LIST(hour), NO_CAPS, NOW + 60).kind, FREQ_OPEN);
    CHECK_INT(freq_line_count(&view, 1, NOW + 59), 2);
    CHECK_INT(freq_line_count(&view, 1, NOW + 60), 0);
    CHECK_INT(freq_line_count(&view, 2, NOW), 0);
    exposures[0].hold_s = 0; /* one was confirmed */
    CHECK_INT(freq_line_count(&view, 1, NOW + 60), 1);
}

TEST(what_is_only_announced_never_counts)
{
    struct freq_exposure exposures[] = {shown(1, NOW), shown(1, NOW - 1)};
    exposures[0].hold_s = exposures[1].hold_s = FREQ_ANNOUNCED;
    struct freq_view view = view_of(exposures, 2);
    CHECK_INT(freq_check(the_book(), &view, LIST(hour), NO_CAPS, NOW).kind, FREQ_OPEN);
    CHECK_INT(freq_line_count(&view, 1, NOW), 0);
    exposures[0].hold_s = FREQ_ANNOUNCED - 1; /* the longest reservation there is */
    CHECK_INT(freq_line_count(&view, 1, NOW), 1);
    exposures[1].hold_s = 0;
    CHECK_INT(freq_line_count(&view, 1, NOW), 2);
}

TEST(min_interval_has_no_window)
{
    struct freq_exposure exposures[] = {shown(2, NOW - 700), shown(2, NOW - 599)};
    struct freq_view view = view_of(exposures, 2);
    struct freq_verdict verdict = freq_check(the_book(), &view, LIST(gap), NO_CAPS, NOW);
    CHECK_INT(verdict.kind, FREQ_TOO_SOON);
    CHECK_INT(verdict.since_s, 599);
    CHECK_INT(freq_check(the_book(), &view, LIST(gap), NO_CAPS, NOW + 1).kind, FREQ_OPEN);
    /* another machine's clock runs ahead: still too soon */
    exposures[1].time_s = NOW + 5;
    CHECK_INT(freq_check(the_book(), &view, LIST(gap), NO_CAPS, NOW).kind, FREQ_TOO_SOON);
}

/* Another machine's clock is two seconds ahead, or behind: what it wrote counts at once, and leaves a
 * window at most that much too early or late. */
TEST(clocks_of_machines_differ)
{
    for (int64_t skew_s = -2; skew_s <= 2; skew_s++) {
        struct freq_exposure exposures[] = {shown(1, NOW + skew_s), shown(2, NOW + skew_s),
                                            shown(1, NOW + skew_s)};
        struct freq_view view = view_of(exposures, COUNT_OF(exposures));
        CHECK_INT(freq_check(the_book(), &view, LIST(hour), NO_CAPS, NOW).kind, FREQ_AT_CAP);
        CHECK_INT(freq_check(the_book(), &view, LIST(hour), NO_CAPS, NOW + 3600 + skew_s - 1).kind,
                  FREQ_AT_CAP);
        CHECK_INT(freq_check(the_book(), &view, LIST(hour), NO_CAPS, NOW + 3600 + skew_s).kind,
                  FREQ_OPEN);
        CHECK_INT(freq_check(the_book(), &view, LIST(gap), NO_CAPS, NOW).kind, FREQ_TOO_SOON);
        CHECK_INT(freq_check(the_book(), &view, LIST(gap), NO_CAPS, NOW + 600 + skew_s).kind,
                  FREQ_OPEN);
        exposures[0].hold_s = 60;
        CHECK(freq_is_live(&exposures[0], NOW));
        CHECK(freq_is_live(&exposures[0], NOW + 59 + skew_s));
        CHECK(!freq_is_live(&exposures[0], NOW + 60 + skew_s));
    }
}

TEST(several_ids_count_by_the_largest_record)
{
    struct freq_exposure first[] = {shown(1, NOW - 10), shown(1, NOW - 20)};
    struct freq_exposure second[] = {shown(1, NOW - 10), shown(1, NOW - 30), shown(1, NOW - 40)};
    struct freq_view view = view_of(first, 2);
    CHECK_INT(freq_check(the_book(), &view, LIST(life), NO_CAPS, NOW).kind, FREQ_OPEN);
    view.records[1] = (struct freq_record){.exposures = second, .exposure_count = 3};
    view.record_count = 2;
    struct freq_verdict verdict = freq_check(the_book(), &view, LIST(life), NO_CAPS, NOW);
    CHECK_INT(verdict.kind, FREQ_AT_CAP);
    CHECK_INT(verdict.count, 3); /* not 5 */
    CHECK_INT(freq_line_count(&view, 1, NOW), 3);
}

TEST(household_caps_look_at_the_household)
{
    struct freq_exposure person[] = {shown(3, NOW - 10)}, house[] = {shown(3, NOW - 10)};
    struct freq_view view = view_of(person, 1);
    CHECK_INT(freq_check(the_book(), &view, LIST(home), NO_CAPS, NOW).kind, FREQ_OPEN);
    CHECK(!freq_caps_known(the_book(), &view, LIST(home), NO_CAPS));
    CHECK(freq_caps_known(the_book(), &view, LIST(life), LIST(creative)));
    view.records[1] =
        (struct freq_record){.exposures = house, .exposure_count = 1, .household = true};
    view.record_count = 2;
    CHECK(freq_caps_known(the_book(), &view, LIST(home), LIST(life)));
    CHECK_INT(freq_check(the_book(), &view, LIST(home), NO_CAPS, NOW).kind, FREQ_AT_CAP);
    house[0].refs.line = 1; /* a person's cap does not look there */
    person[0].refs.line = 4;
    CHECK_INT(freq_check(the_book(), &view, LIST(life), NO_CAPS, NOW).kind, FREQ_OPEN);
    view.record_count = 0;
    CHECK(!freq_caps_known(the_book(), &view, LIST(life), NO_CAPS));
    CHECK(freq_caps_known(the_book(), &view, NO_CAPS, NO_CAPS));
}

TEST(a_creative_has_caps_of_its_own)
{
    struct freq_exposure exposures[] = {shown(99, NOW - 10)};
    exposures[0].refs.brand = 1; /* line and brand are not in the catalog any more */
    exposures[0].refs.creative = 90;
    struct freq_view view = view_of(exposures, 1);
    CHECK_INT(freq_check(the_book(), &view, LIST(life), NO_CAPS, NOW).kind, FREQ_OPEN);
    CHECK_INT(freq_check(the_book(), &view, LIST(life), LIST(creative), NOW).kind, FREQ_AT_CAP);
}

TEST(a_line_that_left_counts_for_its_brand)
{
    struct freq_exposure exposures[] = {shown(99, NOW - 10), shown(98, NOW - 10),
                                        shown(97, NOW - 10)};
    struct freq_view view = view_of(exposures, 3);
    CHECK_INT(freq_check(the_book(), &view, LIST(life), NO_CAPS, NOW).count, 3);
}

TEST(an_overflowing_record_is_at_every_cap)
{
    struct freq_view view = view_of(NULL, 0);
    view.records[0].overflow = true;
    CHECK_INT(freq_check(the_book(), &view, LIST(life), NO_CAPS, NOW).kind, FREQ_AT_CAP);
    CHECK_INT(freq_check(the_book(), &view, LIST(gap), NO_CAPS, NOW).kind, FREQ_AT_CAP);
    CHECK_INT(freq_check(the_book(), &view, LIST(home), NO_CAPS, NOW).kind, FREQ_OPEN);
    CHECK_INT(freq_check(the_book(), &view, NO_CAPS, NO_CAPS, NOW).kind, FREQ_OPEN);
    view.max_contacts_per_day = 3;
    CHECK_INT(freq_check(the_book(), &view, NO_CAPS, NO_CAPS, NOW).kind, FREQ_AT_OWN_PREFERENCE);
}

TEST(the_persons_own_limit_counts_everything_today)
{
    int64_t midnight = NOW - 8 * 3600;
    struct freq_exposure exposures[] = {shown(1, midnight), shown(55, midnight + 5),
                                        shown(2, midnight - 1)};
    struct freq_view view = view_of(exposures, 3);
    view.max_contacts_per_day = 2;
    struct freq_verdict verdict = freq_check(the_book(), &view, NO_CAPS, NO_CAPS, NOW);
    CHECK_INT(verdict.kind, FREQ_AT_OWN_PREFERENCE);
    CHECK(verdict.cap == NULL);
    CHECK_INT(verdict.count, 2);
    view.max_contacts_per_day = 3;
    CHECK_INT(freq_check(the_book(), &view, NO_CAPS, NO_CAPS, NOW).kind, FREQ_OPEN);
    CHECK_INT(freq_check(the_book(), &view, LIST(today), NO_CAPS, NOW).kind, FREQ_OPEN);
}

TEST(last_brand_within_its_window)
{
    struct freq_exposure exposures[] = {shown(1, NOW - 50), shown(1, NOW - 40), shown(1, NOW - 30)};
    exposures[1].refs.brand = 71;
    exposures[2].refs.brand = 72;
    struct freq_view view = view_of(exposures, 3);
    const uint32_t both[] = {70, 71};
    uint32_t brand = 0;
    int64_t time_s = 0;
    CHECK(freq_last_brand(&view, both, 2, NOW, 60, &brand, &time_s));
    CHECK_INT(brand, 71);
    CHECK_INT(time_s, NOW - 40);
    CHECK(!freq_last_brand(&view, both, 2, NOW, 40, &brand, &time_s));
    exposures[1].hold_s = 1; /* expired: was never shown */
    CHECK(freq_last_brand(&view, both, 2, NOW, 60, &brand, &time_s));
    CHECK_INT(brand, 70);
}

TEST(segments_and_muted)
{
    struct freq_view view = {
        .segment_count = 3, .segments = {5, 9, 4000000000u}, .muted_count = 1, .muted = {77}};
    CHECK(freq_has_segment(&view, 5) && freq_has_segment(&view, 9));
    CHECK(freq_has_segment(&view, 4000000000u));
    CHECK(!freq_has_segment(&view, 6) && !freq_has_segment(&view, 0));
    CHECK(freq_is_muted(&view, 77) && !freq_is_muted(&view, 78));
}

/* --- against a plain count ------------------------------------------------------------------ */

#define MANY 37 /* caps: more than are counted in one walk */

/* As the rule says it, cap by cap: the largest number any record holds inside the window. */
static uint32_t plain_count(const struct freq_view *view, uint32_t cap, const struct cap *rule)
{
    uint32_t most = 0;
    for (uint32_t r = 0; r < view->record_count; r++) {
        const struct freq_record *record = &view->records[r];
        uint32_t count = 0;
        for (uint32_t i = 0; i < record->exposure_count; i++) {
            const struct freq_exposure *exposure = &record->exposures[i];
            uint32_t shown_line = exposure->refs.line, shown_creative = exposure->refs.creative;
            bool counts = cap % 5 == shown_line || (shown_creative == 900 && cap % 7 == 3);
            count += counts && exposure->time_s > NOW - rule->window_s &&
                     (!exposure->hold_s || exposure->time_s + exposure->hold_s > NOW);
        }
        bool looks = record->household == (rule->identity == CAP_HOUSEHOLD);
        most = looks && count > most ? count : most;
    }
    return most;
}

TEST(a_long_list_of_caps_agrees_with_a_plain_count)
{
    static struct cap rules[MANY];
    static uint32_t all[MANY], of_line[5][MANY], of_creative[MANY];
    struct cap_book_entry line_entries[5], creative_entry = {900, {of_creative, 0}};
    for (uint32_t l = 0; l < 5; l++) {
        line_entries[l] = (struct cap_book_entry){l, {of_line[l], 0}};
    }
    for (uint32_t c = 0; c < MANY; c++) {
        rules[c] = (struct cap){.id = {"cap", 3},
                                .window = CAP_ROLLING,
                                .window_s = 60 * (c + 1),
                                .identity = c % 4 == 1 ? CAP_HOUSEHOLD : CAP_PERSON};
        all[c] = c;
        of_line[c % 5][line_entries[c % 5].caps.count++] = c;
        if (c % 7 == 3) {
            of_creative[creative_entry.caps.count++] = c;
        }
    }
    struct arena arena;
    struct cap_book book;
    struct tz tz;
    struct prng prng = {.state = 77};
    BUG_ON(!arena_init(&arena, 65536, 1 << 20));
    BUG_ON(tz_load(STR("UTC"), &arena, &tz) != STATUS_OK);
    BUG_ON(cap_book_build(&book, &arena, &tz, rules, MANY, 86400, line_entries, 5, NULL, 0,
                          &creative_entry, 1) != STATUS_OK);
    for (uint32_t turn = 0; turn < 300; turn++) {
        struct freq_exposure exposures[3][12];
        struct freq_view view = {.outcome = FREQ_KNOWN, .record_count = 3};
        for (uint32_t r = 0; r < 3; r++) {
            view.records[r] =
                (struct freq_record){.exposures = exposures[r],
                                     .exposure_count = (uint32_t)prng_below(&prng, 13),
                                     .household = r == 2};
            for (uint32_t i = 0; i < 12; i++) {
                exposures[r][i] = (struct freq_exposure){
                    .refs = {.line = (uint32_t)prng_below(&prng, 7), /* 5 and 6: gone */
                             .creative = 899 + (uint32_t)prng_below(&prng, 2)},
                    .time_s = NOW - (uint32_t)prng_below(&prng, 2000),
                    .hold_s = prng_below(&prng, 3) ? 0 : (uint16_t)prng_below(&prng, 2000)};
            }
        }
        for (uint32_t c = 0; c < MANY; c++) { /* the cap that is full, and no other, is found */
            rules[c].max = plain_count(&view, c, &rules[c]);
            struct freq_verdict verdict = freq_check(&book, &view, LIST(all), NO_CAPS, NOW);
            CHECK_INT(verdict.kind, rules[c].max ? FREQ_AT_CAP : FREQ_OPEN);
            if (rules[c].max) {
                CHECK(verdict.cap == &rules[c]);
                CHECK_INT(verdict.count, rules[c].max);
                CHECK_INT(freq_widest_count(&book, &view, (struct cap_list){&all[c], 1}, NOW),
                          rules[c].max);
            }
            rules[c].max++;
            CHECK_INT(freq_check(&book, &view, LIST(all), NO_CAPS, NOW).kind, FREQ_OPEN);
            rules[c].max = 0;
        }
    }
    arena_deinit(&arena);
}
