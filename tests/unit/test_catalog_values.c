/* The small languages inside catalog texts. */
#include "bidder/catalog_values.h"

#include "tests/test.h"

TEST(durations)
{
    static const struct {
        const char *text;
        int64_t seconds; /* 0 = refused */
    } cases[] = {
        {"90s", 90},
        {"30m", 1800},
        {"1h", 3600},
        {"7d", 604800},
        {"2w", 1209600},
        {"1d12h", 129600},
        {"1h30m5s", 5405},
        {"36500d", (int64_t)36500 * 86400},
        {"", 0},
        {"0s", 0},
        {"7", 0},
        {"d", 0},
        {"7 d", 0},
        {"-7d", 0},
        {"7D", 0},
        {"1h1h", 0},
        {"5m1h", 0},
        {"1.5h", 0},
        {"36501d", 0},
        {"99999999999999999999s", 0},
        {"7dd", 0},
        {"1y", 0},
        {"999999999999w", 0},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        int64_t seconds = 0;
        bool good = value_duration(str_from(cases[i].text), &seconds);
        if (good != (cases[i].seconds > 0) || (good && seconds != cases[i].seconds)) {
            TEST_FAIL("\"%s\" is %" PRId64, cases[i].text, good ? seconds : 0);
        }
    }
}

TEST(amounts_of_six_decimals)
{
    static const char *const fit[] = {
        "0",     "1",          "25.00",      "0.000001",       "-0.5",    "1.0000000000",
        "1e-6",  "70e-7",      "12.5E-5",    "0.0000001e1",    "1e+2",    "123456789.123456",
        "0e-50", "0.00000000", "1234567e-6", "1200000000e-14", "1e99999", "1e99999999999999999999",
    };
    static const char *const do_not_fit[] = {
        "1e-7",
        "0.0000001",
        "25.1234567",
        "-0.0000001",
        "12.55E-5",
        "1e-50",
        "1234567e-7",
        "71e-7",
        "0.12345678",
        "9.9999999999999999e1",
        "1e-9223372036854775807",
        "1.0000000000000000000000001",
    };
    for (size_t i = 0; i < sizeof(fit) / sizeof(fit[0]); i++) {
        if (!value_in_micros(str_from(fit[i]))) {
            TEST_FAIL("%s fits", fit[i]);
        }
    }
    for (size_t i = 0; i < sizeof(do_not_fit) / sizeof(do_not_fit[0]); i++) {
        if (value_in_micros(str_from(do_not_fit[i]))) {
            TEST_FAIL("%s does not fit", do_not_fit[i]);
        }
    }
}

TEST(what_a_terminal_would_obey_is_not_printable)
{
    static const char *const good[] = {"",
                                       "a b",
                                       "\xe5\x8d\x83\xe4\xba\xba",
                                       "\xc2\xa0",
                                       "\xe2\x80\xa9",
                                       "\xe2\x80\xaf",
                                       "\xe2\x81\xaa",
                                       "\xc2",
                                       "\xe2\x80"};
    static const char *const bad[] = {"\x1b[2J",       "a\n",          "\x7f", "\xc2\x9b",
                                      "\xe2\x80\xaez", "\xe2\x81\xa6", "\t"};
    static const char *const instead[] = {"?[2J", "a?", "?", "??", "???z", "???", "?"};
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        CHECK(value_printable(str_from(good[i])));
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        char text[16];
        snprintf(text, sizeof(text), "%s", bad[i]);
        CHECK(!value_printable(str_from(bad[i])));
        value_make_printable(text, strlen(text));
        CHECK_STR(str_from(text), instead[i]);
    }
}

TEST(dates)
{
    struct arena arena;
    struct tz shanghai, berlin;
    CHECK(arena_init(&arena, 65536, 1 << 20));
    CHECK_INT(tz_load(STR("Asia/Shanghai"), &arena, &shanghai), STATUS_OK);
    CHECK_INT(tz_load(STR("Europe/Berlin"), &arena, &berlin), STATUS_OK);
    static const struct {
        const char *text;
        bool berlin, is_end;
        enum date_error error;
        int64_t utc_s; /* date -u -d ... +%s */
    } cases[] = {
        {"2026-10-01", false, false, DATE_OK, 1790784000},
        {"2026-10-01", false, true, DATE_OK, 1790870400},
        {"2028-02-29", false, false, DATE_OK, 1835366400},
        {"2027-02-29", false, false, DATE_NO_SUCH_DAY, 0},
        {"2100-02-29", false, false, DATE_NO_SUCH_DAY, 0},
        {"2026-13-01", false, false, DATE_NO_SUCH_DAY, 0},
        {"2026-00-10", false, false, DATE_NO_SUCH_DAY, 0},
        {"2026-04-31", false, false, DATE_NO_SUCH_DAY, 0},
        {"1999-12-31", false, false, DATE_NO_SUCH_DAY, 0},
        {"2026-10-1", false, false, DATE_FORM, 0},
        {"2026-10-01 ", false, false, DATE_FORM, 0},
        {"20261001", false, false, DATE_FORM, 0},
        {"", false, false, DATE_FORM, 0},
        {"2026-10-01T20:00:00+08:00", true, false, DATE_OK, 1790856000},
        {"2026-10-01T20:00:00+08:00", true, true, DATE_OK, 1790856000},
        {"2026-10-01T12:00:00Z", false, false, DATE_OK, 1790856000},
        {"2026-10-01T20:00", false, false, DATE_OK, 1790856000},
        {"2026-10-01T06:30:00-05:30", false, false, DATE_OK, 1790856000},
        {"2024-12-31T23:59:59Z", false, false, DATE_OK, 1735689599},
        {"2024-03-01T00:00:00Z", false, false, DATE_OK, 1709251200},
        {"2000-01-01T00:00:00Z", false, false, DATE_OK, 946684800},
        {"2199-12-31T23:59:59Z", false, false, DATE_OK, 7258118399},
        {"2026-10-01T24:00", false, false, DATE_NO_SUCH_DAY, 0},
        {"2026-10-01T20:60", false, false, DATE_NO_SUCH_DAY, 0},
        {"2026-10-01T20", false, false, DATE_FORM, 0},
        {"2026-10-01T20:00:0", false, false, DATE_FORM, 0},
        {"2026-10-01T20:00:00+8", false, false, DATE_FORM, 0},
        {"2026-10-01T20:00:00Zx", false, false, DATE_FORM, 0},
        /* The day the clocks go forward has 23 hours. */
        {"2026-03-29", true, false, DATE_OK, 1774738800},
        {"2026-03-29", true, true, DATE_OK, 1774821600},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        int64_t utc_s = 0;
        enum date_error error =
            value_date(str_from(cases[i].text), cases[i].berlin ? &berlin : &shanghai,
                       cases[i].is_end, &utc_s);
        if (error != cases[i].error || utc_s != cases[i].utc_s) {
            TEST_FAIL("\"%s\" is %" PRId64 " (error %d), expected %" PRId64, cases[i].text, utc_s,
                      error, cases[i].utc_s);
        }
    }
    arena_deinit(&arena);
}

TEST(days_and_hours)
{
    static const struct {
        const char *text;
        int days; /* -1 = refused */
    } days[] = {{"mon", 1},     {"mon-fri", 0x1f},   {"sat,sun", 0x60}, {"sat-mon", 0x61},
                {"all", 0x7f},  {"MON-Fri", 0x1f},   {"mon, wed", 5},   {"sun-sun", 0x40},
                {"", -1},       {"mon-", -1},        {"-fri", -1},      {"mon,", -1},
                {"monday", -1}, {"mon-fri-sat", -1}, {"mon;tue", -1}};
    for (size_t i = 0; i < sizeof(days) / sizeof(days[0]); i++) {
        uint8_t mask = 0;
        bool good = value_days(str_from(days[i].text), &mask);
        if ((good ? mask : -1) != days[i].days) {
            TEST_FAIL("days \"%s\" are %d", days[i].text, good ? mask : -1);
        }
    }
    static const struct {
        const char *text;
        int64_t hours;
    } hours[] = {{"18-24", 0xfc0000}, {"0-2", 3},         {"9", 0x200},
                 {"0-24", 0xffffff},  {"22-2", 0xc00003}, {"18-24,0-2", 0xfc0003},
                 {"23", 0x800000},    {"22-0", 0xc00000}, {"", -1},
                 {"24", -1},          {"18-25", -1},      {"-3", -1},
                 {"5-5", -1},         {"5-", -1},         {"1,,2", -1},
                 {"018-20", -1},      {"a", -1}};
    for (size_t i = 0; i < sizeof(hours) / sizeof(hours[0]); i++) {
        uint32_t mask = 0;
        bool good = value_hours(str_from(hours[i].text), &mask);
        if ((good ? (int64_t)mask : -1) != hours[i].hours) {
            TEST_FAIL("hours \"%s\" are %" PRId64, hours[i].text, good ? (int64_t)mask : -1);
        }
    }
}

TEST(distances)
{
    static const struct {
        const char *a, *b;
        uint32_t limit, distance;
    } cases[] = {
        {"start", "start", 2, 0}, {"strat", "start", 2, 1},    {"star", "start", 2, 1},
        {"START", "start", 2, 0}, {"begin", "start", 2, 3},    {"", "ab", 2, 2},
        {"ab", "", 1, 2},         {"kitten", "sitting", 3, 3}, {"kitten", "sitting", 2, 3},
        {"ca", "abc", 3, 3},      {"abcdef", "badcfe", 3, 3},  {"a", "abcdefgh", 2, 3},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        CHECK_INT(value_distance(str_from(cases[i].a), str_from(cases[i].b), cases[i].limit),
                  cases[i].distance);
        CHECK_INT(value_distance(str_from(cases[i].b), str_from(cases[i].a), cases[i].limit),
                  cases[i].distance);
    }
    static char longest[65], longer[66];
    memset(longest, 'x', 64);
    memset(longer, 'x', 65);
    CHECK_INT(value_distance(str_from(longest), str_from(longest), 2), 0);
    CHECK_INT(value_distance(str_from(longer), str_from(longer), 2),
              3); /* beyond what is looked at */
}

TEST(addresses)
{
    static const char *const urls[] = {"https://a.example/", "http://127.0.0.1:80/x?y=z#f",
                                       "https://[::1]:8/", "https://x"};
    static const char *const no_urls[] = {"",
                                          "https://",
                                          "ftp://a.example/",
                                          "//a.example",
                                          "https:// a",
                                          "https://a b",
                                          "https://a\"",
                                          "https://a\n",
                                          "HTTPS://a.example/",
                                          "https:///x",
                                          "https://a<b"};
    static const char *const domains[] = {"a.example", "a-b.c_d.example", "1.cn", "A.B"};
    static const char *const no_domains[] = {"",    "a",     ".a.b", "a.b.", "a..b",
                                             "a b", "a.b/c", "-a.b", "a-.b", "a.b-"};
    for (size_t i = 0; i < sizeof(urls) / sizeof(urls[0]); i++) {
        CHECK(value_url(str_from(urls[i])));
    }
    for (size_t i = 0; i < sizeof(no_urls) / sizeof(no_urls[0]); i++) {
        CHECK(!value_url(str_from(no_urls[i])));
    }
    for (size_t i = 0; i < sizeof(domains) / sizeof(domains[0]); i++) {
        CHECK(value_domain(str_from(domains[i])));
    }
    for (size_t i = 0; i < sizeof(no_domains) / sizeof(no_domains[0]); i++) {
        CHECK(!value_domain(str_from(no_domains[i])));
    }
}
