/* Counters, gauges and histograms of all processes of a bidder, in memory they share.
 *
 * Families are tables in the header of the module that owns them; the module counts by adding to
 * a plain number. The region is made before the workers are forked: one slot a process, one writer
 * a slot, so nothing is locked and a worker that dies leaves its counts. The supervisor adds the
 * slots up when somebody asks.
 *
 *   region  [ slot 0: cells of worker 0 | slot 1 | ... | slot N: the supervisor ]
 *   cells   [ family 0: label values ... | family 1 ... | histograms are struct hist ]
 *
 * Matrices count by a name that comes from the catalog (line item, exchange) and a small enum:
 *   rows    [ name table, shared by all, locked only to add a name ]
 *   cells   [ slot ][ row ][ column ]      committed by the kernel when first touched */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "bidder/base/buf.h"
#include "bidder/base/hist.h"
#include "bidder/base/status.h"
#include "bidder/base/str.h"

enum metric_type {
    METRIC_COUNTER,
    METRIC_GAUGE,     /* the workers' values add up */
    METRIC_GAUGE_MAX, /* the largest of the workers' values */
    METRIC_TIME,      /* histogram: nanoseconds in, seconds out */
    METRIC_SIZE       /* histogram of plain numbers */
};

struct metric_family {
    const char *name; /* Prometheus name, with its unit; counters end in _total */
    enum metric_type type;
    const char *label; /* NULL: no label, one cell */
    const char *(*label_text)(unsigned index);
    unsigned count; /* label values; 1 without a label */
    const char *help;
};

struct metric_group {
    const struct metric_family *families;
    uint32_t *first; /* cell of each family's first value */
    unsigned count;
    struct metric_group *next;
};

/* A table is #define FOO_METRICS(X) X(ID, type, "name", label or NULL, text fn or NULL, count,
 * "help") ...; METRIC_DECLARE in the header, METRIC_DEFINE in the .c: both make foo_metrics. */
#define METRIC_ENUM_ROW(id, type, name, label, text, count, help) id,
#define METRIC_FAMILY_ROW(id, type, name, label, text, count, help)                                \
    {name, type, label, text, count, help},
#define METRIC_DECLARE(group, TABLE)                                                               \
    enum group##_metric{TABLE(METRIC_ENUM_ROW) group##_metric_count};                              \
    extern struct metric_group group##_metrics
#define METRIC_DEFINE(group, TABLE)                                                                \
    static const struct metric_family group##_families[] = {TABLE(METRIC_FAMILY_ROW)};             \
    static uint32_t group##_first[group##_metric_count];                                           \
    struct metric_group group##_metrics = {                                                        \
        .families = group##_families, .first = group##_first, .count = group##_metric_count}

/* Names a group before metric_setup. */
void metric_register(struct metric_group *group);
/* Makes the region for slots processes; before any fork. */
enum status metric_setup(unsigned slots) MUST_USE;
void metric_teardown(void);
/* From now on this process writes into slot. Gauges start at 0, counters where they were. */
void metric_use_slot(unsigned slot);

extern uint64_t *metric_cells; /* this process's slot; NULL before metric_use_slot: not counted */

static inline void metric_add(const struct metric_group *group, unsigned id, unsigned label,
                              uint64_t n)
{
    if (metric_cells) {
        uint64_t *cell = metric_cells + group->first[id] + label;
        __atomic_store_n(cell, *cell + n, __ATOMIC_RELAXED);
    }
}
#define METRIC_INC(group, id) metric_add(&(group), (id), 0, 1)

static inline void metric_set(const struct metric_group *group, unsigned id, unsigned label,
                              uint64_t value)
{
    if (metric_cells) {
        __atomic_store_n(metric_cells + group->first[id] + label, value, __ATOMIC_RELAXED);
    }
}

/* Of a METRIC_TIME or METRIC_SIZE family; NULL when this process counts nothing. */
static inline struct hist *metric_hist(const struct metric_group *group, unsigned id,
                                       unsigned label)
{
    if (!metric_cells) {
        return NULL;
    }
    return (struct hist *)(metric_cells + group->first[id]) + label;
}

static inline void metric_observe(const struct metric_group *group, unsigned id, unsigned label,
                                  uint64_t value)
{
    struct hist *hist = metric_hist(group, id, label);
    if (hist) {
        hist_add(hist, value);
    }
}

/* One cell over all slots, or of one slot. */
uint64_t metric_sum(const struct metric_group *group, unsigned id, unsigned label);
uint64_t metric_of_slot(const struct metric_group *group, unsigned id, unsigned label,
                        unsigned slot);

/* --- matrices ------------------------------------------------------------------------------- */

#define METRIC_ROW_NAME_BYTES 64 /* longer names share the row of their cut form */
#define METRIC_ROW_OTHER      0  /* when the rows are used up */

struct metric_matrix {
    const char *name, *row_label, *column_label, *help;
    const char *(*column_text)(unsigned index);
    uint32_t rows, columns;
    struct metric_rows *names; /* shared */
    uint64_t *region;          /* shared, all slots */
    uint64_t *cells;           /* of this process's slot */
    struct metric_matrix *next;
};
/* Fill the first six fields, before metric_setup. */
void metric_matrix_register(struct metric_matrix *matrix);
/* The row of a name, the same in every process and as long as the bidder lives. Takes a lock
 * shared with the other processes: for catalog loading, never for the request path. */
uint32_t metric_matrix_row(struct metric_matrix *matrix, struct str name);
/* The name's row, or METRIC_ROW_OTHER when nobody has asked for it; no lock. */
uint32_t metric_matrix_find(const struct metric_matrix *matrix, struct str name);

static inline void metric_matrix_add(struct metric_matrix *matrix, uint32_t row, uint32_t column,
                                     uint64_t n)
{
    if (matrix->cells) {
        uint64_t *cell = matrix->cells + (size_t)row * matrix->columns + column;
        __atomic_store_n(cell, *cell + n, __ATOMIC_RELAXED);
    }
}

uint64_t metric_matrix_sum(const struct metric_matrix *matrix, uint32_t row, uint32_t column);

/* Everything but matrices with more rows than max_rows, in Prometheus text format 0.0.4. */
void metric_write(struct buf *out, uint32_t max_rows);
/* One matrix, all rows that counted something. */
void metric_write_matrix(struct buf *out, const struct metric_matrix *matrix);
