#include "bidder/base/metric.h"

#include <errno.h>
#include <pthread.h>
#include <sys/mman.h>

#include "bidder/base/bug.h"
#include "bidder/base/hash.h"

#define HIST_CELLS (sizeof(struct hist) / sizeof(uint64_t))

/* The names of a matrix's rows, shared by all processes. Row 0 is METRIC_ROW_OTHER. */
struct metric_rows {
    pthread_mutex_t lock; /* robust: a process that dies with it does not block the others */
    uint32_t used;        /* rows below it are final */
    char names[][METRIC_ROW_NAME_BYTES];
};

uint64_t *metric_cells;

static struct metric_group *groups;
static struct metric_matrix *matrices;
static uint64_t *region;
static size_t slot_cells; /* padded to whole pages, so that slots share no cache line */
static unsigned slot_count;

static bool is_hist(const struct metric_family *family)
{
    return family->type == METRIC_TIME || family->type == METRIC_SIZE;
}

void metric_register(struct metric_group *group)
{
    BUG_ON(region); /* too late */
    for (struct metric_group *at = groups; at; at = at->next) {
        if (at == group) {
            return;
        }
    }
    group->next = NULL;
    struct metric_group **tail = &groups;
    while (*tail) {
        tail = &(*tail)->next;
    }
    *tail = group;
}

void metric_matrix_register(struct metric_matrix *matrix)
{
    BUG_ON(region || matrix->rows == 0 || matrix->columns == 0);
    matrix->next = matrices;
    matrices = matrix;
}

static void *map_shared(size_t bytes)
{
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                        MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return memory == MAP_FAILED ? NULL : memory;
}

static size_t matrix_slot_cells(const struct metric_matrix *matrix)
{
    return ((size_t)matrix->rows * matrix->columns + 511) / 512 * 512;
}

static size_t rows_bytes(const struct metric_matrix *matrix)
{
    return sizeof(struct metric_rows) + (size_t)matrix->rows * METRIC_ROW_NAME_BYTES;
}

static enum status matrix_setup(struct metric_matrix *matrix)
{
    matrix->names = map_shared(rows_bytes(matrix));
    matrix->region = map_shared(matrix_slot_cells(matrix) * slot_count * sizeof(uint64_t));
    if (!matrix->names || !matrix->region) {
        return STATUS_NO_MEMORY;
    }
    pthread_mutexattr_t attributes;
    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
    pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
    int error = pthread_mutex_init(&matrix->names->lock, &attributes);
    pthread_mutexattr_destroy(&attributes);
    memcpy(matrix->names->names[METRIC_ROW_OTHER], "other", 6);
    matrix->names->used = 1;
    return error ? STATUS_IO : STATUS_OK;
}

enum status metric_setup(unsigned slots)
{
    BUG_ON(region || slots == 0);
    slot_count = slots;
    size_t cells = 0;
    for (struct metric_group *group = groups; group; group = group->next) {
        for (unsigned i = 0; i < group->count; i++) {
            const struct metric_family *family = &group->families[i];
            group->first[i] = (uint32_t)cells;
            cells += family->count * (is_hist(family) ? HIST_CELLS : 1);
        }
    }
    slot_cells = (cells + 511) / 512 * 512;
    region = map_shared((slot_cells ? slot_cells : 512) * slots * sizeof(uint64_t));
    enum status status = region ? STATUS_OK : STATUS_NO_MEMORY;
    for (struct metric_matrix *matrix = matrices; matrix && !status; matrix = matrix->next) {
        status = matrix_setup(matrix);
    }
    return status;
}

void metric_teardown(void)
{
    if (region) {
        munmap(region, (slot_cells ? slot_cells : 512) * slot_count * sizeof(uint64_t));
    }
    for (struct metric_matrix *matrix = matrices; matrix; matrix = matrix->next) {
        if (matrix->names) {
            munmap(matrix->names, rows_bytes(matrix));
        }
        if (matrix->region) {
            munmap(matrix->region, matrix_slot_cells(matrix) * slot_count * sizeof(uint64_t));
        }
        matrix->names = NULL;
        matrix->region = matrix->cells = NULL;
    }
    region = metric_cells = NULL;
    groups = NULL;
    matrices = NULL;
}

void metric_use_slot(unsigned slot)
{
    BUG_ON(!region || slot >= slot_count);
    metric_cells = region + slot * slot_cells;
    for (struct metric_group *group = groups; group; group = group->next) {
        for (unsigned i = 0; i < group->count; i++) {
            const struct metric_family *family = &group->families[i];
            if (family->type == METRIC_GAUGE || family->type == METRIC_GAUGE_MAX) {
                memset(metric_cells + group->first[i], 0, family->count * sizeof(uint64_t));
            }
        }
    }
    for (struct metric_matrix *matrix = matrices; matrix; matrix = matrix->next) {
        matrix->cells = matrix->region + slot * matrix_slot_cells(matrix);
    }
}

/* --- reading -------------------------------------------------------------------------------- */

uint64_t metric_of_slot(const struct metric_group *group, unsigned id, unsigned label,
                        unsigned slot)
{
    BUG_ON(!region || slot >= slot_count || id >= group->count);
    return __atomic_load_n(region + slot * slot_cells + group->first[id] + label, __ATOMIC_RELAXED);
}

uint64_t metric_sum(const struct metric_group *group, unsigned id, unsigned label)
{
    bool largest = group->families[id].type == METRIC_GAUGE_MAX;
    uint64_t sum = 0;
    for (unsigned slot = 0; slot < slot_count; slot++) {
        uint64_t value = metric_of_slot(group, id, label, slot);
        sum = !largest ? sum + value : value > sum ? value : sum;
    }
    return sum;
}

uint64_t metric_matrix_sum(const struct metric_matrix *matrix, uint32_t row, uint32_t column)
{
    uint64_t sum = 0;
    for (unsigned slot = 0; matrix->region && slot < slot_count; slot++) {
        size_t cell = slot * matrix_slot_cells(matrix) + (size_t)row * matrix->columns + column;
        sum += __atomic_load_n(matrix->region + cell, __ATOMIC_RELAXED);
    }
    return sum;
}

/* --- rows of matrices ----------------------------------------------------------------------- */

/* Rows are found by a scan of a hash-ordered probe over the name table itself: a name sits at the
 * first free row from its hash on. Returns the row, or a free one with *found false, or 0. */
static uint32_t probe(const struct metric_matrix *matrix, const char *name, bool *found)
{
    uint32_t usable = matrix->rows - 1;
    *found = false;
    if (usable == 0) {
        return METRIC_ROW_OTHER;
    }
    uint32_t start = (uint32_t)(hash_bytes(name, strlen(name), 0) % usable);
    for (uint32_t i = 0; i < usable; i++) {
        uint32_t row = 1 + (start + i) % usable;
        const char *here = matrix->names->names[row];
        if (__atomic_load_n(here, __ATOMIC_ACQUIRE) == '\0') {
            return row;
        }
        if (strncmp(here, name, METRIC_ROW_NAME_BYTES) == 0) {
            *found = true;
            return row;
        }
    }
    return METRIC_ROW_OTHER;
}

static void cut_name(struct str name, char text[METRIC_ROW_NAME_BYTES])
{
    size_t len = name.len < METRIC_ROW_NAME_BYTES - 1 ? name.len : METRIC_ROW_NAME_BYTES - 1;
    while (len && len < name.len && ((unsigned char)name.ptr[len] & 0xc0) == 0x80) {
        len--; /* half a UTF-8 character would spoil the whole page for Prometheus */
    }
    memset(text, 0, METRIC_ROW_NAME_BYTES);
    if (len) {
        memcpy(text, name.ptr, len);
    }
}

uint32_t metric_matrix_find(const struct metric_matrix *matrix, struct str name)
{
    char text[METRIC_ROW_NAME_BYTES];
    bool found;
    if (!matrix->names || name.len == 0) {
        return METRIC_ROW_OTHER;
    }
    cut_name(name, text);
    uint32_t row = probe(matrix, text, &found);
    return found ? row : METRIC_ROW_OTHER;
}

uint32_t metric_matrix_row(struct metric_matrix *matrix, struct str name)
{
    char text[METRIC_ROW_NAME_BYTES];
    uint32_t row = metric_matrix_find(matrix, name);
    if (row != METRIC_ROW_OTHER || !matrix->names || name.len == 0) {
        return row;
    }
    cut_name(name, text);
    int error = pthread_mutex_lock(&matrix->names->lock);
    if (error == EOWNERDEAD) {
        pthread_mutex_consistent(&matrix->names->lock); /* a name is whole or not there at all */
        error = 0;
    }
    if (error) {
        return METRIC_ROW_OTHER;
    }
    bool found;
    row = probe(matrix, text, &found);
    if (row != METRIC_ROW_OTHER && !found) {
        char *here = matrix->names->names[row];
        memcpy(here + 1, text + 1, METRIC_ROW_NAME_BYTES - 1);
        __atomic_store_n(here, text[0], __ATOMIC_RELEASE); /* last: makes the name visible */
        __atomic_add_fetch(&matrix->names->used, 1, __ATOMIC_RELAXED);
    }
    pthread_mutex_unlock(&matrix->names->lock);
    return row;
}

/* --- Prometheus text ------------------------------------------------------------------------ */

static void put_label_text(struct buf *out, const char *text)
{
    for (; *text; text++) {
        if (*text == '\n') {
            BUF_PUT_LITERAL(out, "\\n");
            continue;
        }
        if (*text == '"' || *text == '\\') {
            buf_put_char(out, '\\');
        }
        buf_put_char(out, *text);
    }
}

static void put_head(struct buf *out, const char *name, const char *type, const char *help)
{
    buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

/* {label="text"} with room for le; nothing when there is no label. */
static void put_labels(struct buf *out, const struct metric_family *family, unsigned index,
                       const char *le)
{
    if (!family->label && !le) {
        return;
    }
    buf_put_char(out, '{');
    if (family->label) {
        buf_printf(out, "%s=\"", family->label);
        put_label_text(out, family->label_text(index));
        buf_put_char(out, '"');
    }
    if (le) {
        buf_printf(out, "%sle=\"%s\"", family->label ? "," : "", le);
    }
    buf_put_char(out, '}');
}

static void write_hist(struct buf *out, const struct metric_group *group, unsigned id,
                       unsigned label)
{
    static const uint64_t time_ns[] = {1000,     2500,     5000,     10000,     25000,     50000,
                                       100000,   250000,   500000,   1000000,   2500000,   5000000,
                                       10000000, 25000000, 50000000, 100000000, 1000000000};
    static const uint64_t sizes[] = {1,    2,    5,    10,    20,    50,    100,    200,    500,
                                     1000, 2000, 5000, 10000, 20000, 50000, 100000, 1000000};
    const struct metric_family *family = &group->families[id];
    bool time = family->type == METRIC_TIME;
    const uint64_t *bounds = time ? time_ns : sizes;
    static struct hist sum; /* the supervisor has one thread; too large for the stack */
    memset(&sum, 0, sizeof(sum));
    for (unsigned slot = 0; slot < slot_count; slot++) {
        hist_merge(&sum,
                   (const struct hist *)(region + slot * slot_cells + group->first[id]) + label);
    }
    uint64_t below = 0;
    unsigned step = 0;
    for (unsigned i = 0; i < COUNT_OF(time_ns); i++) {
        /* A step counts once it lies wholly below the bound: at most 3% of the bound late. */
        for (; step < HIST_STEPS && hist_step_top(step) <= bounds[i]; step++) {
            below += sum.steps[step];
        }
        char le[32];
        snprintf(le, sizeof(le), "%g", time ? (double)bounds[i] * 1e-9 : (double)bounds[i]);
        buf_printf(out, "%s_bucket", family->name);
        put_labels(out, family, label, le);
        buf_printf(out, " %llu\n", (unsigned long long)below);
    }
    for (; step < HIST_STEPS; step++) {
        below += sum.steps[step]; /* not sum.count: a writer may be between the two */
    }
    buf_printf(out, "%s_bucket", family->name);
    put_labels(out, family, label, "+Inf");
    buf_printf(out, " %llu\n%s_sum", (unsigned long long)below, family->name);
    put_labels(out, family, label, NULL);
    buf_printf(out, " %.9g\n%s_count", (double)sum.sum * (time ? 1e-9 : 1), family->name);
    put_labels(out, family, label, NULL);
    buf_printf(out, " %llu\n", (unsigned long long)below);
}

static void write_family(struct buf *out, const struct metric_group *group, unsigned id)
{
    static const char *const types[] = {"counter", "gauge", "gauge", "histogram", "histogram"};
    const struct metric_family *family = &group->families[id];
    put_head(out, family->name, types[family->type], family->help);
    for (unsigned label = 0; label < family->count; label++) {
        if (is_hist(family)) {
            write_hist(out, group, id, label);
            continue;
        }
        buf_printf(out, "%s", family->name);
        put_labels(out, family, label, NULL);
        buf_printf(out, " %llu\n", (unsigned long long)metric_sum(group, id, label));
    }
}

void metric_write_matrix(struct buf *out, const struct metric_matrix *matrix)
{
    put_head(out, matrix->name, "counter", matrix->help);
    for (uint32_t row = 0; matrix->names && row < matrix->rows; row++) {
        if (!matrix->names->names[row][0]) {
            continue;
        }
        for (uint32_t column = 0; column < matrix->columns; column++) {
            uint64_t sum = metric_matrix_sum(matrix, row, column);
            if (sum) {
                buf_printf(out, "%s{%s=\"", matrix->name, matrix->row_label);
                put_label_text(out, matrix->names->names[row]);
                buf_printf(out, "\",%s=\"%s\"} %llu\n", matrix->column_label,
                           matrix->column_text(column), (unsigned long long)sum);
            }
        }
    }
}

void metric_write(struct buf *out, uint32_t max_rows)
{
    for (const struct metric_group *group = groups; group; group = group->next) {
        for (unsigned id = 0; id < group->count; id++) {
            write_family(out, group, id);
        }
    }
    for (const struct metric_matrix *matrix = matrices; matrix; matrix = matrix->next) {
        if (matrix->names && __atomic_load_n(&matrix->names->used, __ATOMIC_RELAXED) <= max_rows) {
            metric_write_matrix(out, matrix);
        }
    }
}
