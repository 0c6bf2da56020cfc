/* Options of a program as one table over a struct: read from a file, the environment and the
 * command line, in that order; printed as help and as a configuration file with comments.
 *
 *   name = value      # comment          in the file
 *   PREFIX_NAME=value                    in the environment, for secrets and containers
 *   --name=value, --flag                 on the command line
 *
 * A name that is not in the table is an error with a guess at the one that was meant. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bidder/base/buf.h"
#include "bidder/base/status.h"
#include "bidder/base/str.h"

enum option_type {
    OPTION_BOOL,     /* bool: yes no true false on off 1 0 */
    OPTION_INT,      /* int64_t */
    OPTION_SIZE,     /* int64_t bytes: 64k 16m 1g, powers of 1024 */
    OPTION_DURATION, /* int64_t microseconds: 500us 5ms 30s 10m 12h 7d */
    OPTION_STRING,   /* char *, owned by the struct */
    OPTION_SECRET    /* as OPTION_STRING, never printed */
};

struct option_row {
    enum option_type type;
    const char *name;
    size_t offset;
    const char *standard; /* the default, as text */
    int64_t min, max;     /* in the units of the field; unused for bool and text */
    const char *help;
};

struct option_table {
    const struct option_row *rows;
    unsigned count;
};

/* Sets every field to its default; the struct is zeroed memory. */
enum status option_defaults(const struct option_table *table, void *config) MUST_USE;
void option_free(const struct option_table *table, void *config);
/* One option. On STATUS_INVALID error says why. */
enum status option_set(const struct option_table *table, void *config, struct str name,
                       struct str value, struct buf *error) MUST_USE;
/* The whole file; the error names the line. */
enum status option_read_file(const struct option_table *table, void *config, const char *path,
                             struct buf *error) MUST_USE;
/* PREFIX_<NAME> for every option, name in capitals. */
enum status option_read_environment(const struct option_table *table, void *config,
                                    const char *prefix, struct buf *error) MUST_USE;
/* argv[1..]; every argument must be an option of the table. */
enum status option_read_arguments(const struct option_table *table, void *config, int argc,
                                  char **argv, struct buf *error) MUST_USE;

/* One paragraph per option. */
void option_print_help(const struct option_table *table, struct buf *out);
/* A configuration file: every option with its text, commented out at its default. */
void option_print_docs(const struct option_table *table, struct buf *out);
/* name = value of a struct; secrets as ***. */
void option_print_values(const struct option_table *table, const void *config, struct buf *out);
