#include "bidder/base/option.h"

#include <errno.h>
#include <stdlib.h>

#include "bidder/base/bug.h"

#define OPTION_FILE_BYTES (256 * 1024)
#define NAME_BYTES        64

static void *field_of(const struct option_row *row, void *config)
{
    return (char *)config + row->offset;
}

/* --- names ---------------------------------------------------------------------------------- */

/* Levenshtein, V. I.: "Binary codes capable of correcting deletions, insertions, and reversals",
 * 1966; one row at a time. */
static unsigned edit_distance(struct str a, struct str b)
{
    unsigned row[NAME_BYTES + 1];
    if (a.len > NAME_BYTES || b.len > NAME_BYTES) {
        return NAME_BYTES;
    }
    for (size_t j = 0; j <= b.len; j++) {
        row[j] = (unsigned)j;
    }
    for (size_t i = 1; i <= a.len; i++) {
        unsigned diagonal = row[0];
        row[0] = (unsigned)i;
        for (size_t j = 1; j <= b.len; j++) {
            unsigned change = diagonal + (a.ptr[i - 1] != b.ptr[j - 1]);
            diagonal = row[j];
            unsigned least = row[j] + 1 < row[j - 1] + 1 ? row[j] + 1 : row[j - 1] + 1;
            row[j] = change < least ? change : least;
        }
    }
    return row[b.len];
}

static const struct option_row *find_row(const struct option_table *table, struct str name)
{
    for (unsigned i = 0; i < table->count; i++) {
        if (str_eq(str_from(table->rows[i].name), name)) {
            return &table->rows[i];
        }
    }
    return NULL;
}

static void explain_unknown(const struct option_table *table, struct str name, struct buf *error)
{
    const char *best = NULL;
    unsigned best_distance = 3; /* farther is not a misspelling */
    for (unsigned i = 0; i < table->count; i++) {
        unsigned distance = edit_distance(name, str_from(table->rows[i].name));
        if (distance < best_distance) {
            best_distance = distance;
            best = table->rows[i].name;
        }
    }
    buf_printf(error, "unknown option %.*s", STR_ARG(name));
    if (best) {
        buf_printf(error, "; did you mean %s?", best);
    }
}

/* --- values --------------------------------------------------------------------------------- */

struct unit {
    struct str suffix;
    int64_t factor;
};

static const struct unit size_units[] = {
    {{"g", 1}, 1 << 30}, {{"m", 1}, 1 << 20}, {{"k", 1}, 1 << 10}, {{"", 0}, 1}};
static const struct unit duration_units[] = {{{"us", 2}, 1},           {{"ms", 2}, 1000},
                                             {{"s", 1}, 1000000},      {{"m", 1}, 60000000},
                                             {{"h", 1}, 3600000000LL}, {{"d", 1}, 86400000000LL}};

static bool parse_units(struct str text, const struct unit *units, size_t count, int64_t *value)
{
    size_t digits = 0;
    while (digits < text.len && text.ptr[digits] >= '0' && text.ptr[digits] <= '9') {
        digits++;
    }
    struct str suffix = {text.ptr + digits, text.len - digits};
    int64_t number;
    if (!str_to_i64((struct str){text.ptr, digits}, &number)) {
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        if (str_eq_nocase(suffix, units[i].suffix)) {
            return !__builtin_mul_overflow(number, units[i].factor, value);
        }
    }
    *value = 0;
    return suffix.len == 0 && number == 0; /* 0 needs no unit */
}

static void put_units(struct buf *out, int64_t value, const struct unit *units, size_t count)
{
    const struct unit *best = NULL;
    for (size_t i = 0; i < count; i++) {
        if (value % units[i].factor == 0 && value / units[i].factor > 0 &&
            (!best || units[i].factor > best->factor)) {
            best = &units[i];
        }
    }
    buf_put_i64(out, best ? value / best->factor : value);
    if (best) {
        buf_put_str(out, best->suffix);
    }
}

static bool parse_bool(struct str text, bool *value)
{
    static const struct str yes[] = {{"yes", 3}, {"true", 4}, {"on", 2}, {"1", 1}, {"", 0}};
    static const struct str no[] = {{"no", 2}, {"false", 5}, {"off", 3}, {"0", 1}};
    for (size_t i = 0; i < COUNT_OF(yes); i++) {
        if (str_eq_nocase(text, yes[i])) {
            *value = true;
            return true;
        }
    }
    for (size_t i = 0; i < COUNT_OF(no); i++) {
        if (str_eq_nocase(text, no[i])) {
            *value = false;
            return true;
        }
    }
    return false;
}

static bool parse_number(const struct option_row *row, struct str text, int64_t *value)
{
    if (row->type == OPTION_SIZE) {
        return parse_units(text, size_units, COUNT_OF(size_units), value);
    }
    if (row->type == OPTION_DURATION) {
        return parse_units(text, duration_units, COUNT_OF(duration_units), value);
    }
    return str_to_i64(text, value);
}

static void put_number(const struct option_row *row, int64_t value, struct buf *out)
{
    if (row->type == OPTION_SIZE) {
        put_units(out, value, size_units, COUNT_OF(size_units));
    } else if (row->type == OPTION_DURATION) {
        put_units(out, value, duration_units, COUNT_OF(duration_units));
    } else {
        buf_put_i64(out, value);
    }
}

static enum status set_number(const struct option_row *row, void *config, struct str text,
                              struct buf *error)
{
    static const char *const forms[] = {"yes or no", "a whole number", "a size such as 64k or 16m",
                                        "a duration such as 500us, 5ms, 30s, 10m, 12h or 7d"};
    int64_t value;
    if (!parse_number(row, text, &value)) {
        buf_printf(error, "%s takes %s, not \"%.*s\"", row->name, forms[row->type], STR_ARG(text));
        return STATUS_INVALID;
    }
    if (value < row->min || value > row->max) {
        buf_printf(error, "%s is %.*s, but must lie between ", row->name, STR_ARG(text));
        put_number(row, row->min, error);
        buf_printf(error, " and ");
        put_number(row, row->max, error);
        return STATUS_INVALID;
    }
    memcpy(field_of(row, config), &value, sizeof(value));
    return STATUS_OK;
}

static enum status set_value(const struct option_row *row, void *config, struct str text,
                             struct buf *error)
{
    bool flag;
    char *copy;
    switch (row->type) {
    case OPTION_BOOL:
        if (!parse_bool(text, &flag)) {
            buf_printf(error, "%s takes yes or no, not \"%.*s\"", row->name, STR_ARG(text));
            return STATUS_INVALID;
        }
        memcpy(field_of(row, config), &flag, sizeof(flag));
        return STATUS_OK;
    case OPTION_INT:
    case OPTION_SIZE:
    case OPTION_DURATION:
        return set_number(row, config, text, error);
    case OPTION_STRING:
    case OPTION_SECRET:
        copy = text.len ? strndup(text.ptr, text.len) : strdup("");
        if (!copy) {
            return STATUS_NO_MEMORY;
        }
        free(*(char **)field_of(row, config));
        *(char **)field_of(row, config) = copy;
        return STATUS_OK;
    }
    BUG_ON(true);
}

enum status option_set(const struct option_table *table, void *config, struct str name,
                       struct str value, struct buf *error)
{
    const struct option_row *row = find_row(table, name);
    if (!row) {
        explain_unknown(table, name, error);
        return STATUS_INVALID;
    }
    return set_value(row, config, value, error);
}

enum status option_defaults(const struct option_table *table, void *config)
{
    struct buf error;
    enum status status = STATUS_OK;
    buf_init(&error, 1000);
    for (unsigned i = 0; i < table->count && !status; i++) {
        const struct option_row *row = &table->rows[i];
        status = set_value(row, config, str_from(row->standard), &error);
        BUG_ON(status == STATUS_INVALID); /* the table's own default */
    }
    buf_deinit(&error);
    return status;
}

void option_free(const struct option_table *table, void *config)
{
    for (unsigned i = 0; i < table->count; i++) {
        const struct option_row *row = &table->rows[i];
        if (row->type == OPTION_STRING || row->type == OPTION_SECRET) {
            free(*(char **)field_of(row, config));
            *(char **)field_of(row, config) = NULL;
        }
    }
}

/* --- sources -------------------------------------------------------------------------------- */

static enum status read_lines(const struct option_table *table, void *config, const char *path,
                              struct str text, struct buf *error)
{
    for (unsigned number = 1; text.len; number++) {
        struct str line = str_cut(&text, '\n');
        if (line.len && line.ptr[line.len - 1] == '\r') {
            line.len--;
        }
        line = str_trim(line);
        if (line.len == 0 || line.ptr[0] == '#') {
            continue;
        }
        buf_printf(error, "%s:%u: ", path, number);
        if (!memchr(line.ptr, '=', line.len)) {
            buf_printf(error, "expected name = value");
            return STATUS_INVALID;
        }
        struct str rest = line;
        struct str name = str_trim(str_cut(&rest, '='));
        /* A comment needs a space before it: a token or a path may hold #. */
        const char *hash = rest.len ? memmem(rest.ptr, rest.len, " #", 2) : NULL;
        rest.len = hash ? (size_t)(hash - rest.ptr) : rest.len;
        enum status status = option_set(table, config, name, str_trim(rest), error);
        if (status) {
            return status;
        }
        buf_reset(error);
    }
    return STATUS_OK;
}

enum status option_read_file(const struct option_table *table, void *config, const char *path,
                             struct buf *error)
{
    FILE *file = fopen(path, "re");
    char *text = file ? malloc(OPTION_FILE_BYTES) : NULL;
    enum status status = STATUS_IO;
    if (!file) {
        buf_printf(error, "%s: %s", path, strerror(errno));
    } else if (text) {
        size_t len = fread(text, 1, OPTION_FILE_BYTES, file);
        if (ferror(file) || len == OPTION_FILE_BYTES) {
            buf_printf(error, "%s: cannot be read, or is too large", path);
        } else {
            status = read_lines(table, config, path, (struct str){text, len}, error);
        }
    }
    free(text);
    if (file) {
        fclose(file);
    }
    return status;
}

enum status option_read_environment(const struct option_table *table, void *config,
                                    const char *prefix, struct buf *error)
{
    for (unsigned i = 0; i < table->count; i++) {
        char name[2 * NAME_BYTES];
        int len = snprintf(name, sizeof(name), "%s_%s", prefix, table->rows[i].name);
        BUG_ON(len < 0 || (size_t)len >= sizeof(name));
        for (char *at = name; *at; at++) {
            *at = *at >= 'a' && *at <= 'z' ? (char)(*at - 'a' + 'A') : *at;
        }
        const char *value = getenv(name);
        if (!value) {
            continue;
        }
        buf_printf(error, "%s: ", name);
        enum status status = set_value(&table->rows[i], config, str_from(value), error);
        if (status) {
            return status;
        }
        buf_reset(error);
    }
    return STATUS_OK;
}

enum status option_read_arguments(const struct option_table *table, void *config, int argc,
                                  char **argv, struct buf *error)
{
    for (int i = 1; i < argc; i++) {
        struct str rest = str_from(argv[i]);
        if (!str_starts(rest, STR("--"))) {
            buf_printf(error, "unexpected argument %s (options are --name=value)", argv[i]);
            return STATUS_INVALID;
        }
        rest = (struct str){rest.ptr + 2, rest.len - 2};
        bool has_value = rest.len && memchr(rest.ptr, '=', rest.len);
        struct str name = str_cut(&rest, '=');
        const struct option_row *row = find_row(table, name);
        if (row && row->type != OPTION_BOOL && !has_value) {
            buf_printf(error, "--%s needs a value: --%s=...", row->name, row->name);
            return STATUS_INVALID;
        }
        enum status status = option_set(table, config, name, rest, error);
        if (status) {
            return status;
        }
    }
    return STATUS_OK;
}

/* --- printing ------------------------------------------------------------------------------- */

static const char *type_text(enum option_type type)
{
    static const char *const texts[] = {"yes|no", "number", "size", "duration", "text", "secret"};
    return texts[type];
}

static bool has_range(const struct option_row *row)
{
    return row->type == OPTION_INT || row->type == OPTION_SIZE || row->type == OPTION_DURATION;
}

static void put_range(const struct option_row *row, struct buf *out)
{
    if (has_range(row)) {
        buf_printf(out, ", ");
        put_number(row, row->min, out);
        buf_printf(out, " to ");
        put_number(row, row->max, out);
    }
}

void option_print_help(const struct option_table *table, struct buf *out)
{
    for (unsigned i = 0; i < table->count; i++) {
        const struct option_row *row = &table->rows[i];
        buf_printf(out, "  --%s=%s\n      %s\n      (%s", row->name, row->standard, row->help,
                   type_text(row->type));
        put_range(row, out);
        buf_printf(out, ")\n");
    }
}

void option_print_docs(const struct option_table *table, struct buf *out)
{
    for (unsigned i = 0; i < table->count; i++) {
        const struct option_row *row = &table->rows[i];
        buf_printf(out, "\n# %s\n# (%s", row->help, type_text(row->type));
        put_range(row, out);
        buf_printf(out, ")\n#%s =%s%s\n", row->name, *row->standard ? " " : "", row->standard);
    }
}

void option_print_values(const struct option_table *table, const void *config, struct buf *out)
{
    for (unsigned i = 0; i < table->count; i++) {
        const struct option_row *row = &table->rows[i];
        const char *field = (const char *)config + row->offset;
        buf_printf(out, "%s = ", row->name);
        if (row->type == OPTION_BOOL) {
            buf_printf(out, "%s", *(const bool *)field ? "yes" : "no");
        } else if (row->type == OPTION_STRING) {
            buf_printf(out, "%s", *(char *const *)field);
        } else if (row->type == OPTION_SECRET) {
            buf_printf(out, "%s", **(char *const *)field ? "***" : "");
        } else {
            put_number(row, *(const int64_t *)field, out);
        }
        buf_put_char(out, '\n');
    }
}
