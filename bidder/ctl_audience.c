/* jointcapctl audience: segments of persons, in bulk and one by one. load streams a file through a
 * pipeline of script calls (frequency/segment_load); a state file next to it says how far Redis has
 * it, so that a run that was cut off goes on there. Writing a row twice changes nothing. */
#include "bidder/ctl_audience.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bidder/base/bug.h"
#include "bidder/base/clock.h"
#include "bidder/base/hash.h"
#include "bidder/catalog_values.h"
#include "frequency/cap_book.h"
#include "frequency/segment_load.h"

#define MAX_BAD_PRINTED   10
#define SAVE_EVERY_US     1000000
#define PROGRESS_EVERY_US 200000
#define HEAD_BYTES        4096
#define SEGMENT_MAX_BYTES 256

struct loading {
    struct ctl_store *store;
    const char *path;
    struct ctl_csv csv;
    struct segment_load load;
    struct buf error;
    uint32_t segment_ref; /* --segment; 0: a column names it */
    int64_t until_s;      /* of rows that do not say */
    int64_t now_s;
    uint64_t rows, bad;
    int64_t file_bytes; /* 0: unknown */
    uint64_t head_hash;
    char state_path[1024]; /* empty: none */
    int64_t saved_us, shown_us, begun_us, begun_offset;
    bool tty;
};

/* --- the state file ------------------------------------------------------------------------- */

#define STATE_FORMAT                                                                               \
    "jointcap-audience-load 1 %016" PRIx64 " %08" PRIx32 " %" PRId64 " %" PRId64 " %" PRIu64       \
    " %" PRIu64 "\n"
#define STATE_SCAN                                                                                 \
    "jointcap-audience-load 1 %" SCNx64 " %" SCNx32 " %" SCNd64 " %" SCNd64 " %" SCNu64 " "        \
    "%" SCNu64

/* Whatever was read so far is in Redis. */
static void save_state(struct loading *loading)
{
    char temp[sizeof(loading->state_path) + 8];
    if (!loading->state_path[0]) {
        return;
    }
    snprintf(temp, sizeof(temp), "%s.tmp", loading->state_path);
    FILE *file = fopen(temp, "we");
    bool good = file && fprintf(file, STATE_FORMAT, loading->head_hash, loading->segment_ref,
                                loading->until_s, loading->csv.offset, loading->rows,
                                loading->csv.number) > 0;
    if (file && fclose(file) != 0) {
        good = false;
    }
    if (!good || rename(temp, loading->state_path) != 0) {
        fprintf(stderr, "jointcapctl: cannot write %s: %s; this run cannot be resumed\n",
                loading->state_path, strerror(errno));
        loading->state_path[0] = '\0';
    }
}

/* Goes on where an earlier run over the same file with the same segment was cut off. */
static bool resume(struct loading *loading)
{
    FILE *file = loading->state_path[0] ? fopen(loading->state_path, "re") : NULL;
    uint64_t hash = 0, rows = 0, number = 0;
    uint32_t ref = 0;
    int64_t until_s = 0, offset = 0;
    bool found =
        file && fscanf(file, STATE_SCAN, &hash, &ref, &until_s, &offset, &rows, &number) == 6;
    if (file) {
        fclose(file);
    }
    found = found && hash == loading->head_hash && ref == loading->segment_ref && offset >= 0 &&
            offset <= loading->file_bytes;
    if (!ctl_csv_open(&loading->csv, loading->path, found ? offset : 0)) {
        return false;
    }
    if (found) {
        loading->until_s = until_s; /* all rows of a segment end together */
        loading->rows = rows;
        loading->csv.number = number;
        fprintf(stderr, "going on behind row %" PRIu64 " (%s)\n", rows, loading->state_path);
    }
    return true;
}

/* What makes a file the same file: its first bytes. */
static bool look_at(struct loading *loading, const char *state)
{
    if (strcmp(loading->path, "-") == 0) {
        return true;
    }
    struct stat stat_;
    char head[HEAD_BYTES];
    FILE *file = fopen(loading->path, "re");
    if (!file || fstat(fileno(file), &stat_) != 0) {
        fprintf(stderr, "jointcapctl: %s: %s\n", loading->path, strerror(errno));
        if (file) {
            fclose(file);
        }
        return false;
    }
    loading->file_bytes = stat_.st_size;
    loading->head_hash = hash_str((struct str){head, fread(head, 1, sizeof(head), file)});
    fclose(file);
    int len = state ? snprintf(loading->state_path, sizeof(loading->state_path), "%s", state)
                    : snprintf(loading->state_path, sizeof(loading->state_path), "%s.state",
                               loading->path);
    if (len < 0 || (size_t)len >= sizeof(loading->state_path)) {
        loading->state_path[0] = '\0';
    }
    return true;
}

/* --- rows ----------------------------------------------------------------------------------- */

static void bad_row(struct loading *loading, const char *why)
{
    if (loading->bad++ < MAX_BAD_PRINTED) {
        fprintf(stderr, "%s%s:%" PRIu64 ": %s\n", loading->tty ? "\r\033[K" : "", loading->path,
                loading->csv.number, why);
    }
}

/* type,id[,segment[,expires]] */
static const char *read_row(struct loading *loading, struct segment_row *row)
{
    const struct ctl_csv *csv = &loading->csv;
    uint32_t named = loading->segment_ref ? 0 : 1;
    int64_t seconds;
    if (csv->count < 2 + named || csv->count > 3 + named) {
        return named ? "a row is type,id,segment[,expires]" : "a row is type,id[,expires]";
    }
    if (!person_type_is_known(csv->cells[0])) {
        return "a type that no ids have";
    }
    if (!person_key_of(&loading->store->secret, csv->cells[0], csv->cells[1], &row->key)) {
        return "an id that names nobody";
    }
    row->ref = loading->segment_ref;
    if (named) {
        if (!csv->cells[2].len || csv->cells[2].len > SEGMENT_MAX_BYTES) {
            return "no segment";
        }
        row->ref = cap_ref32(csv->cells[2]);
    }
    row->until_s = loading->until_s;
    if (csv->count == 3 + named && csv->cells[2 + named].len) {
        if (!value_duration(csv->cells[2 + named], &seconds)) {
            return "expires is a duration such as 30d";
        }
        row->until_s = loading->now_s + seconds;
    }
    return NULL;
}

static void show_progress(struct loading *loading, bool last)
{
    int64_t now_us = clock_mono_us(), took_us = now_us - loading->begun_us + 1;
    if (!loading->tty || (!last && now_us - loading->shown_us < PROGRESS_EVERY_US)) {
        return;
    }
    loading->shown_us = now_us;
    int64_t done = loading->csv.offset, all = loading->file_bytes;
    int filled = all > 0 ? (int)(done * 30 / all) : 0;
    int64_t speed = (done - loading->begun_offset) * 1000000 / took_us;
    fprintf(stderr, "\r\033[K[%.*s%.*s] %3d%%  %" PRIu64 " rows", filled,
            "##############################", 30 - filled, "..............................",
            all > 0 ? (int)(done * 100 / all) : 0, loading->rows);
    if (speed > 0 && all > done) {
        fprintf(stderr, ", %" PRId64 " s left", (all - done) / speed + 1);
    }
    fputs(last ? "\n" : "", stderr);
    fflush(stderr);
}

static enum status load_rows(struct loading *loading)
{
    enum status status = STATUS_OK;
    while (status == STATUS_OK && ctl_csv_next(&loading->csv)) {
        if (loading->csv.number == 1 && str_eq_nocase(loading->csv.cells[0], STR("type"))) {
            continue;
        }
        struct segment_row row;
        const char *problem = read_row(loading, &row);
        loading->rows++;
        if (problem) {
            bad_row(loading, problem);
            continue;
        }
        status = segment_load_add(&loading->load, &row);
        if (status == STATUS_OK && loading->load.task_count == 0) { /* all is in Redis */
            show_progress(loading, false);
            if (clock_mono_us() - loading->saved_us > SAVE_EVERY_US) {
                loading->saved_us = clock_mono_us();
                save_state(loading);
            }
        }
    }
    return status == STATUS_OK ? segment_load_flush(&loading->load) : status;
}

static void print_end(struct loading *loading)
{
    int64_t took_us = clock_mono_us() - loading->begun_us + 1;
    const struct segment_load *load = &loading->load;
    uint64_t here = load->written + load->withdrawn;
    printf("%" PRIu64 " rows: %" PRIu64 " written in this run (%" PRId64 ".%01" PRId64
           " s, %" PRIu64 " rows/s), %" PRIu64 " more for linked ids, %" PRIu64
           " skipped (consent withdrawn), %" PRIu64 " bad\n",
           loading->rows, load->written, took_us / 1000000, took_us % 1000000 / 100000,
           here * 1000000 / (uint64_t)took_us, load->linked, load->withdrawn, loading->bad);
}

static int run_load(const struct ctl_call *call, struct ctl_store *store, int64_t until_s)
{
    const char *segment = ctl_value(call, "--segment");
    struct loading *loading = calloc(1, sizeof(*loading));
    if (!loading || (segment && (!segment[0] || strlen(segment) > SEGMENT_MAX_BYTES))) {
        fprintf(stderr, "jointcapctl: %s\n", loading ? "no such segment" : "out of memory");
        free(loading);
        return loading ? CTL_USAGE : CTL_FAILED;
    }
    loading->store = store;
    loading->path = call->arguments[1];
    loading->segment_ref = segment ? cap_ref32(str_from(segment)) : 0;
    loading->until_s = until_s;
    loading->now_s = clock_wall_us() / 1000000;
    loading->tty = isatty(STDERR_FILENO);
    buf_init(&loading->error, 4096);
    int result = CTL_USAGE;
    if (look_at(loading, ctl_value(call, "--state")) && resume(loading)) {
        loading->begun_us = loading->saved_us = clock_mono_us();
        loading->begun_offset = loading->csv.offset;
        enum status status =
            segment_load_init(&loading->load, store->sync, loading->now_s, &loading->error);
        status = status == STATUS_OK ? load_rows(loading) : status;
        show_progress(loading, true);
        if (status == STATUS_OK && !ferror(loading->csv.file)) {
            if (loading->state_path[0]) {
                unlink(loading->state_path);
            }
            print_end(loading);
            result = loading->bad ? CTL_FAILED : CTL_OK;
        } else {
            fprintf(stderr, "jointcapctl: %.*s; the same command goes on where this one ended\n",
                    STR_ARG(loading->error.len ? buf_str(&loading->error) : STR("cannot read")));
            result = CTL_UNREACHABLE;
        }
    }
    ctl_csv_close(&loading->csv);
    buf_deinit(&loading->error);
    free(loading);
    return result;
}

/* --- one person ----------------------------------------------------------------------------- */

/* audience add|remove TYPE:ID SEGMENT... */
static int run_change(const struct ctl_call *call, struct ctl_store *store, int64_t until_s)
{
    struct segment_row row = {.until_s = until_s};
    if (call->argument_count < 3) {
        fprintf(stderr, "jointcapctl audience %s: needs TYPE:ID SEGMENT...\n", call->arguments[0]);
        return CTL_USAGE;
    }
    if (!ctl_person_key(store, call->arguments[1], &row.key, NULL)) {
        return CTL_USAGE;
    }
    struct segment_load *load = calloc(1, sizeof(*load));
    if (!load) {
        return CTL_FAILED;
    }
    struct buf error;
    buf_init(&error, 4096);
    enum status status = segment_load_init(load, store->sync, clock_wall_us() / 1000000, &error);
    for (int i = 2; i < call->argument_count && status == STATUS_OK; i++) {
        row.ref = cap_ref32(str_from(call->arguments[i]));
        status = segment_load_add(load, &row);
    }
    status = status == STATUS_OK ? segment_load_flush(load) : status;
    int result = CTL_OK;
    if (status != STATUS_OK) {
        fprintf(stderr, "jointcapctl: %.*s\n", STR_ARG(buf_str(&error)));
        result = CTL_UNREACHABLE;
    } else if (load->withdrawn) {
        fputs("jointcapctl: this person has withdrawn consent: nothing was stored\n", stderr);
        result = CTL_FAILED;
    } else {
        puts("done");
    }
    buf_deinit(&error);
    free(load);
    return result;
}

/* --- the command ---------------------------------------------------------------------------- */

static int run_action(const struct ctl_call *call, struct ctl_store *store)
{
    const char *action = call->arguments[0], *expires = ctl_value(call, "--expires");
    int64_t seconds;
    if (!value_duration(str_from(expires), &seconds)) {
        fprintf(stderr, "jointcapctl: --expires takes a duration such as 30d, not \"%s\"\n",
                expires);
        return CTL_USAGE;
    }
    int64_t until_s = clock_wall_us() / 1000000 + seconds;
    if (strcmp(action, "load") == 0 && call->argument_count == 2) {
        return run_load(call, store, until_s);
    }
    if (strcmp(action, "add") == 0) {
        return run_change(call, store, until_s);
    }
    if (strcmp(action, "remove") == 0) {
        return run_change(call, store, 0);
    }
    if (strcmp(action, "count") == 0 && call->argument_count == 2) {
        return audience_count(call, store, call->arguments[1]);
    }
    fprintf(stderr,
            "jointcapctl audience: \"%s\" with %d argument%s is nothing it does\n"
            "\"jointcapctl audience --help\" says what it takes\n",
            action, call->argument_count - 1, call->argument_count == 2 ? "" : "s");
    return CTL_USAGE;
}

static int run_audience(const struct ctl_call *call)
{
    struct ctl_store store;
    int result = (int)ctl_store_init(call, &store);
    if (result == CTL_OK) {
        result = run_action(call, &store);
    }
    ctl_store_deinit(&store);
    return result;
}

static const struct ctl_option options[] = {
    CTL_STORE_OPTIONS,
    {"--segment", "ID", "load: every row is of this segment", NULL},
    {"--expires", "TIME", "load, add: how long the membership lasts", "30d"},
    {"--state", "FILE", "load: where it is kept how far it got; else FILE.csv.state", NULL},
    {"--sample", "N", "count: stop after about N records and estimate; 0 reads all", "100000"},
};
const struct ctl_command ctl_audience = {
    .name = "audience",
    .arguments = "load FILE.csv | add|remove TYPE:ID SEGMENT... | count EXPRESSION",
    .summary = "load, change and count audience segments",
    .help =
        "load streams rows type,id[,expires] with --segment, or type,id,segment[,expires]; a "
        "first\n"
        "row that begins with \"type\" is a heading. Ids are hashed with the deployment's secret\n"
        "before they leave this program. A run that was cut off goes on where it ended when\n"
        "started again. Persons who withdrew consent are skipped. Exit code 1 when a row was bad.\n"
        "\n"
        "add and remove change one person (and the ids linked to it).\n"
        "\n"
        "count says how many ids match an expression such as \"young & (beer | wine) & !minor\".\n"
        "It reads a random sample of the stored records and estimates, with a 95% interval; with\n"
        "--sample 0 it reads all and counts. Linked ids count one by one. Of a Redis Cluster ask\n"
        "each master by its own host:port and add up.",
    CTL_OPTIONS(options),
    .min_arguments = 1,
    .max_arguments = CTL_MAX_ARGUMENTS,
    .run = run_audience,
};
