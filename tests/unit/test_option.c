/* Options from a file, the environment and arguments. */
#include "tests/test.h"

#include <stdlib.h>
#include <unistd.h>

#include "bidder/base/bug.h"
#include "bidder/base/option.h"

struct sample {
    bool loud;
    int64_t count, bytes, wait_us;
    char *name, *key;
};

static const struct option_row rows[] = {
    {OPTION_BOOL, "loud", offsetof(struct sample, loud), "no", 0, 0, "Speak up."},
    {OPTION_INT, "count", offsetof(struct sample, count), "3", 1, 9, "How many."},
    {OPTION_SIZE, "bytes", offsetof(struct sample, bytes), "64k", 0, 1 << 20, "How large."},
    {OPTION_DURATION, "wait", offsetof(struct sample, wait_us), "1500ms", 0, 86400000000LL,
     "How long."},
    {OPTION_STRING, "name", offsetof(struct sample, name), "x", 0, 0, "What."},
    {OPTION_SECRET, "key", offsetof(struct sample, key), "", 0, 0, "Hush."},
};
static const struct option_table table = {rows, COUNT_OF(rows)};

static struct buf error;

static void setup(struct sample *sample)
{
    memset(sample, 0, sizeof(*sample));
    buf_init(&error, 10000);
    CHECK_INT(option_defaults(&table, sample), STATUS_OK);
}

static void teardown(struct sample *sample)
{
    option_free(&table, sample);
    buf_deinit(&error);
}

static enum status set(struct sample *sample, const char *name, const char *value)
{
    buf_reset(&error);
    return option_set(&table, sample, str_from(name), str_from(value), &error);
}

TEST(defaults_and_values)
{
    struct sample s;
    setup(&s);
    CHECK(!s.loud && s.count == 3 && s.bytes == 65536 && s.wait_us == 1500000);
    CHECK_INT(set(&s, "loud", "yes"), STATUS_OK);
    CHECK(s.loud);
    CHECK_INT(set(&s, "bytes", "1m"), STATUS_OK);
    CHECK_INT(s.bytes, 1 << 20);
    static const struct {
        const char *text;
        int64_t us;
    } durations[] = {{"0", 0},         {"7us", 7},           {"5ms", 5000},        {"2s", 2000000},
                     {"1m", 60000000}, {"2h", 7200000000LL}, {"1d", 86400000000LL}};
    for (size_t i = 0; i < COUNT_OF(durations); i++) {
        CHECK_INT(set(&s, "wait", durations[i].text), STATUS_OK);
        CHECK_INT(s.wait_us, durations[i].us);
    }
    CHECK_INT(set(&s, "name", ""), STATUS_OK);
    CHECK_STR(str_from(s.name), "");
    teardown(&s);
}

TEST(wrong_values_are_refused_and_change_nothing)
{
    static const struct {
        const char *name, *value, *says;
    } cases[] = {
        {"loud", "perhaps", "yes or no"},
        {"count", "0", "between 1 and 9"},
        {"count", "10", "between 1 and 9"},
        {"count", "3.5", "whole number"},
        {"count", "", "whole number"},
        {"bytes", "2m", "between 0 and 1m"},
        {"bytes", "5q", "size"},
        {"bytes", "9223372036854775807g", "size"},
        {"wait", "5", "duration"},
        {"wait", "-5s", "duration"},
        {"wait", "2d", "between 0 and 1d"},
        {"nmae", "x", "unknown option nmae; did you mean name?"},
        {"zzzzzz", "x", "unknown option zzzzzz"},
    };
    struct sample s;
    setup(&s);
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        CHECK_INT(set(&s, cases[i].name, cases[i].value), STATUS_INVALID);
        buf_put_char(&error, '\0');
        if (!strstr(error.data, cases[i].says)) {
            TEST_FAIL("%s=%s says: %s", cases[i].name, cases[i].value, error.data);
        }
    }
    CHECK(!s.loud && s.count == 3 && s.bytes == 65536 && s.wait_us == 1500000);
    teardown(&s);
}

TEST(files_have_comments_and_line_numbers)
{
    struct sample s;
    setup(&s);
    char path[] = "/tmp/jointcap-option-XXXXXX";
    int fd = mkstemp(path);
    BUG_ON(fd < 0);
    static const char text[] = "# one\r\n\n  count = 7 # seven\n name=a#b c\nkey = \nloud = on\n";
    BUG_ON(write(fd, text, sizeof(text) - 1) != sizeof(text) - 1);
    CHECK_INT(option_read_file(&table, &s, path, &error), STATUS_OK);
    CHECK_INT(s.count, 7);
    CHECK_STR(str_from(s.name), "a#b c");
    CHECK(s.loud);
    BUG_ON(write(fd, "count 8\n", 8) != 8);
    CHECK_INT(option_read_file(&table, &s, path, &error), STATUS_INVALID);
    buf_put_char(&error, '\0');
    CHECK(strstr(error.data, ":7: expected name = value") != NULL);
    close(fd);
    unlink(path);
    buf_reset(&error);
    CHECK_INT(option_read_file(&table, &s, path, &error), STATUS_IO);
    teardown(&s);
}

TEST(arguments_and_environment)
{
    struct sample s;
    setup(&s);
    char program[] = "program", loud[] = "--loud", nine[] = "--count=9", name[] = "--name=a=b";
    char *good[] = {program, loud, nine, name};
    CHECK_INT(option_read_arguments(&table, &s, 4, good, &error), STATUS_OK);
    CHECK(s.loud && s.count == 9);
    CHECK_STR(str_from(s.name), "a=b");
    char bare[] = "--count", plain[] = "count=1";
    char *no_value[] = {program, bare}, *stray[] = {program, plain};
    CHECK_INT(option_read_arguments(&table, &s, 2, no_value, &error), STATUS_INVALID);
    CHECK_INT(option_read_arguments(&table, &s, 2, stray, &error), STATUS_INVALID);
    setenv("SAMPLE_COUNT", "4", 1);
    CHECK_INT(option_read_environment(&table, &s, "SAMPLE", &error), STATUS_OK);
    CHECK_INT(s.count, 4);
    setenv("SAMPLE_COUNT", "40", 1);
    CHECK_INT(option_read_environment(&table, &s, "SAMPLE", &error), STATUS_INVALID);
    unsetenv("SAMPLE_COUNT");
    teardown(&s);
}

TEST(secrets_are_not_printed)
{
    struct sample s;
    setup(&s);
    struct buf out;
    buf_init(&out, 10000);
    CHECK_INT(set(&s, "key", "hunter2"), STATUS_OK);
    option_print_values(&table, &s, &out);
    CHECK_STR(buf_str(&out), "loud = no\ncount = 3\nbytes = 64k\nwait = 1500ms\nname = x\n"
                             "key = ***\n");
    buf_reset(&out);
    option_print_docs(&table, &out);
    static const char paragraph[] = "\n# How long.\n# (duration, 0 to 1d)\n#wait = 1500ms\n";
    CHECK(memmem(out.data, out.len, paragraph, sizeof(paragraph) - 1) != NULL);
    buf_deinit(&out);
    teardown(&s);
}
