/* Programmer errors. Checked in release builds too: a bidder in an impossible state must stop
 * rather than spend. The supervisor restarts the worker. */
#pragma once

#include <stdio.h>
#include <stdlib.h>

#define BUG_ON(condition)                                                                          \
    do {                                                                                           \
        if (__builtin_expect(!!(condition), 0)) {                                                  \
            fprintf(stderr, "BUG %s:%d %s: %s\n", __FILE__, __LINE__, __func__, #condition);       \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

#define LIKELY(x)   __builtin_expect(!!(x), 1)
#define UNLIKELY(x) __builtin_expect(!!(x), 0)

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))
