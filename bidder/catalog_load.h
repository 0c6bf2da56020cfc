/* Catalog file -> snapshot. Reads the whole file and reports every problem at once; a catalog with
 * a problem is not built. */
#pragma once

#include "bidder/base/buf.h"
#include "bidder/base/status.h"
#include "bidder/catalog.h"

enum problem_severity { PROBLEM_ERROR, PROBLEM_WARNING };

struct problem {
    enum problem_severity severity;
    struct str pointer;    /* JSON pointer, RFC 6901 */
    uint32_t line, column; /* from 1; column in characters */
    struct str text;       /* what is wrong, what was expected, a guess at a misspelt name */
};

struct problem_list {
    struct arena *arena;   /* owner of the texts; the caller's */
    struct problem *items; /* heap; problem_list_deinit */
    uint32_t count, capacity;
    uint32_t error_count;
    uint32_t dropped; /* beyond the limit of 1000 */
};

void problem_list_init(struct problem_list *list, struct arena *arena);
void problem_list_deinit(struct problem_list *list);
/* "catalog.json:12:7: error: /campaigns/0/start: ..." one a line. */
void problem_list_print(const struct problem_list *list, struct str file, struct buf *out);
void problem_list_print_json(const struct problem_list *list, struct buf *out);

/* previous (may be NULL) keeps metric slots of lines that stay; only read during the call, which
 * may run in another thread. On STATUS_OK *out is a snapshot with one reference. STATUS_INVALID:
 * see problems. Budget, deal and line totals are checked too; warnings do not prevent loading. */
enum status catalog_load(struct str text, const struct catalog *previous, uint64_t generation,
                         struct catalog **out, struct problem_list *problems) MUST_USE;
