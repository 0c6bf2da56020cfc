/* The unit test harness: TEST(name) defines a test, CHECK... report and go on, main runs all and
 * prints one line "N passed, N failed". An argument runs the tests whose name contains it. */
#pragma once

#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "bidder/base/str.h"

struct test_case {
    const char *name;
    void (*run)(void);
    struct test_case *next;
};

static struct test_case *test_first;
static struct test_case **test_tail = &test_first;
static int test_failures_here;

#define TEST(name_)                                                                                \
    static void test_##name_(void);                                                                \
    static struct test_case test_case_##name_ = {.name = #name_, .run = test_##name_};             \
    __attribute__((constructor)) static void test_add_##name_(void)                                \
    {                                                                                              \
        *test_tail = &test_case_##name_;                                                           \
        test_tail = &test_case_##name_.next;                                                       \
    }                                                                                              \
    static void test_##name_(void)

#define TEST_FAIL(...)                                                                             \
    do {                                                                                           \
        test_failures_here++;                                                                      \
        fprintf(stderr, "    %s:%d: ", __FILE__, __LINE__);                                        \
        fprintf(stderr, __VA_ARGS__);                                                              \
        fputc('\n', stderr);                                                                       \
    } while (0)

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            TEST_FAIL("not true: %s", #condition);                                                 \
        }                                                                                          \
    } while (0)

#define CHECK_INT(actual, expected)                                                                \
    do {                                                                                           \
        int64_t actual_ = (int64_t)(actual), expected_ = (int64_t)(expected);                      \
        if (actual_ != expected_) {                                                                \
            TEST_FAIL("%s is %" PRId64 ", expected %" PRId64, #actual, actual_, expected_);        \
        }                                                                                          \
    } while (0)

#define CHECK_STR(actual, expected)                                                                \
    do {                                                                                           \
        struct str actual_ = (actual), expected_ = str_from(expected);                             \
        if (!str_eq(actual_, expected_)) {                                                         \
            TEST_FAIL("%s is \"%.*s\", expected \"%s\"", #actual, STR_ARG(actual_), expected);     \
        }                                                                                          \
    } while (0)

int main(int argc, char **argv)
{
    int passed = 0, failed = 0;
    for (struct test_case *test = test_first; test; test = test->next) {
        if (argc > 1 && !strstr(test->name, argv[1])) {
            continue;
        }
        test_failures_here = 0;
        test->run();
        if (test_failures_here) {
            fprintf(stderr, "FAIL %s\n", test->name);
            failed++;
        } else {
            passed++;
        }
    }
    printf("%d passed, %d failed\n", passed, failed);
    return failed != 0;
}
