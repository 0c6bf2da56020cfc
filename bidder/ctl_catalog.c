/* jointcapctl check, load, show, schema, explain: the planner's commands. */
#include <stdio.h>

#include "bidder/base/json_dom.h"
#include "bidder/catalog_load.h"
#include "bidder/catalog_schema.h"
#include "bidder/ctl.h"

#define MAX_FILE_BYTES  ((size_t)1 << 30)
#define MAX_PRINT_BYTES ((size_t)64 << 20)
#define PROBLEM_BYTES   ((size_t)64 << 20)

static void print_buf(const struct buf *text, FILE *out)
{
    if (text->len) {
        fwrite(text->data, 1, text->len, out);
    }
}

struct catalog *ctl_load_catalog(const char *path)
{
    struct catalog *catalog = NULL;
    struct arena arena;
    struct buf text;
    struct problem_list problems;
    buf_init(&text, (size_t)1 << 30);
    if (!ctl_read_file(path, &text) || !arena_init(&arena, 65536, (size_t)64 << 20)) {
        buf_deinit(&text);
        return NULL;
    }
    problem_list_init(&problems, &arena);
    if (catalog_load(buf_str(&text), NULL, 1, &catalog, &problems) != STATUS_OK) {
        fprintf(stderr, "jointcapctl: %s is not a good catalog; \"jointcapctl check\" says why\n",
                path);
        catalog = NULL;
    }
    problem_list_deinit(&problems);
    arena_deinit(&arena);
    buf_deinit(&text);
    return catalog;
}

/* --- check ---------------------------------------------------------------------------------- */

static void print_summary(const char *path, const struct catalog *catalog)
{
    printf("%s: good: %u exchanges, %u advertisers, %u brands, %u frequency caps, %u deals, "
           "%u campaigns, %u line items, %u creatives\n",
           path, catalog->exchange_count, catalog->advertiser_count, catalog->brand_count,
           catalog->cap_count, catalog->deal_count, catalog->campaign_count, catalog->line_count,
           catalog->creative_count);
}

static int check_text(const struct ctl_call *call, const char *path, struct str text)
{
    struct arena arena;
    if (!arena_init(&arena, 65536, PROBLEM_BYTES)) {
        fputs("jointcapctl: out of memory\n", stderr);
        return CTL_FAILED;
    }
    struct problem_list problems;
    struct buf out;
    struct catalog *catalog = NULL;
    problem_list_init(&problems, &arena);
    buf_init(&out, MAX_PRINT_BYTES);
    enum status status = catalog_load(text, NULL, 1, &catalog, &problems);
    if (ctl_given(call, "--json")) {
        problem_list_print_json(&problems, &out);
        buf_put_char(&out, '\n');
        print_buf(&out, stdout);
    } else {
        problem_list_print(&problems, str_from(path), &out);
        print_buf(&out, stderr);
        if (status == STATUS_INVALID) {
            fprintf(stderr, "%s: %u error%s\n", path, problems.error_count,
                    problems.error_count == 1 ? "" : "s");
        } else if (status == STATUS_OK) {
            print_summary(path, catalog);
        }
    }
    if (status != STATUS_OK && status != STATUS_INVALID) {
        fprintf(stderr, "%s: %s\n", path, status_name(status));
    }
    catalog_release(&catalog);
    problem_list_deinit(&problems);
    arena_deinit(&arena);
    buf_deinit(&out);
    return status == STATUS_OK ? CTL_OK : CTL_FAILED;
}

static int run_check(const struct ctl_call *call)
{
    struct buf text;
    buf_init(&text, MAX_FILE_BYTES);
    int result = CTL_USAGE;
    if (ctl_read_file(call->arguments[0], &text)) {
        result = check_text(call, call->arguments[0], buf_str(&text));
    }
    buf_deinit(&text);
    return result;
}

static const struct ctl_option check_options[] = {
    {"--json", NULL, "print the problems as JSON on standard output", NULL},
};
const struct ctl_command ctl_check = {
    .name = "check",
    .arguments = "FILE",
    .summary = "say everything that is wrong with a catalog file",
    .help =
        "Reads a catalog and prints every problem as file:line:column: severity: pointer: text.\n"
        "Needs no server. Exit code 0 when the catalog would be loaded (warnings allowed), else "
        "1.\n\"-\" reads standard input.",
    CTL_OPTIONS(check_options),
    .min_arguments = 1,
    .max_arguments = 1,
    .run = run_check,
};

/* --- load ----------------------------------------------------------------------------------- */

static struct str member_text(const struct json_value *object, const char *name)
{
    const struct json_value *value = json_dom_get(object, str_from(name));
    return value ? value->text : STR_NONE;
}

/* A problem that has no place is one of the server, not of the file. */
static void print_problem(const char *path, const struct json_value *problem)
{
    struct str line = member_text(problem, "line"), pointer = member_text(problem, "pointer");
    struct str severity = member_text(problem, "severity");
    fprintf(stderr, "%s:", path);
    if (line.len) {
        fprintf(stderr, "%.*s:%.*s:", STR_ARG(line), STR_ARG(member_text(problem, "column")));
    }
    fprintf(stderr, " %.*s: ", STR_ARG(severity.len ? severity : STR("error")));
    if (pointer.len) {
        fprintf(stderr, "%.*s: ", STR_ARG(pointer));
    }
    fprintf(stderr, "%.*s\n", STR_ARG(member_text(problem, "text")));
}

/* The server's list of problems as check prints it. False when the body is something else. The
 * list is {"problems": {"problems": [...]}}, the inner one as check --json prints it. */
static bool print_problems(const char *path, struct str body)
{
    struct arena arena;
    if (!arena_init(&arena, 65536, PROBLEM_BYTES)) {
        return false;
    }
    const struct json_value *root = json_dom_parse(body, &arena, 16, NULL);
    const struct json_value *problems =
        json_dom_get(json_dom_get(root, STR("problems")), STR("problems"));
    bool known = problems && problems->type == JSON_ARRAY;
    for (uint32_t i = 0; known && i < problems->count; i++) {
        print_problem(path, &problems->items[i]);
    }
    arena_deinit(&arena);
    return known;
}

static int run_load(const struct ctl_call *call)
{
    const char *path = call->arguments[0];
    struct buf text;
    struct ctl_reply reply;
    buf_init(&text, MAX_FILE_BYTES);
    int result = CTL_USAGE;
    if (!ctl_read_file(path, &text)) {
        goto out;
    }
    result = ctl_admin(call, "POST", "/catalog", "application/json", buf_str(&text), &reply);
    if (result == CTL_OK) {
        bool good = reply.status >= 200 && reply.status < 300;
        bool printed = print_problems(path, buf_str(&reply.body));
        if (printed && !good) {
            fprintf(stderr, "%s: refused; the catalog in use stays\n", path);
            result = CTL_FAILED;
        } else if (printed) {
            printf("%s: loaded\n", path);
        } else {
            result = ctl_print_reply(&reply);
        }
    }
    ctl_reply_deinit(&reply);
out:
    buf_deinit(&text);
    return result;
}

static const struct ctl_option admin_options[] = {CTL_ADMIN_OPTIONS};
const struct ctl_command ctl_load = {
    .name = "load",
    .arguments = "FILE",
    .summary = "make a running bidder use a catalog file",
    .help = "Sends the catalog to the admin port. All workers change over at once and auctions in\n"
            "flight keep the catalog they began with. A catalog with an error is refused, with "
            "every\nproblem printed, and the one in use stays.",
    CTL_OPTIONS(admin_options),
    .min_arguments = 1,
    .max_arguments = 1,
    .run = run_load,
};

/* --- show, schema, explain ------------------------------------------------------------------ */

static int run_show(const struct ctl_call *call)
{
    struct ctl_reply reply;
    int result = ctl_admin(call, "GET", "/catalog", NULL, STR_NONE, &reply);
    result = result == CTL_OK ? ctl_print_reply(&reply) : result;
    ctl_reply_deinit(&reply);
    return result;
}

const struct ctl_command ctl_show = {
    .name = "show",
    .arguments = "",
    .summary = "print what a running bidder has loaded",
    .help = "Prints the catalog in use as the admin port tells it.",
    CTL_OPTIONS(admin_options),
    .run = run_show,
};

static int run_schema(const struct ctl_call *call)
{
    struct buf out;
    buf_init(&out, MAX_PRINT_BYTES);
    if (ctl_given(call, "--markdown")) {
        catalog_reference_put(&out);
    } else {
        catalog_schema_put(&out);
    }
    print_buf(&out, stdout);
    buf_deinit(&out);
    return CTL_OK;
}

static const struct ctl_option schema_options[] = {
    {"--markdown", NULL, "the reference of bidder/CATALOG.md instead", NULL},
};
const struct ctl_command ctl_schema = {
    .name = "schema",
    .arguments = "",
    .summary = "print the JSON Schema of catalogs",
    .help =
        "Prints deploy/catalog.schema.json (draft 2020-12). Name it in a catalog as \"$schema\" "
        "and\neditors complete and check while you type; \"check\" sees more.",
    CTL_OPTIONS(schema_options),
    .run = run_schema,
};

static int run_explain(const struct ctl_call *call)
{
    struct buf text, path;
    struct ctl_reply reply;
    buf_init(&text, MAX_FILE_BYTES);
    buf_init(&path, 4096);
    int result = CTL_USAGE;
    if (!ctl_read_file(call->arguments[0], &text)) {
        goto out;
    }
    BUF_PUT_LITERAL(&path, "/explain?exchange=");
    ctl_put_url_escaped(&path, ctl_value(call, "--exchange"));
    buf_put_char(&path, '\0');
    result = ctl_admin(call, "POST", path.data, "application/json", buf_str(&text), &reply);
    result = result == CTL_OK ? ctl_print_reply(&reply) : result;
    ctl_reply_deinit(&reply);
out:
    buf_deinit(&text);
    buf_deinit(&path);
    return result;
}

static const struct ctl_option explain_options[] = {
    {"--exchange", "ID", "as which exchange to read the request", "openrtb"},
    CTL_ADMIN_OPTIONS,
};
const struct ctl_command ctl_explain = {
    .name = "explain",
    .arguments = "REQUEST.json",
    .summary = "say for each line item why it would or would not bid",
    .help = "Asks a running bidder what it would do with a bid request, without bidding, counting "
            "or\nspending anything: for each line item the first reason, with the values compared.",
    CTL_OPTIONS(explain_options),
    .min_arguments = 1,
    .max_arguments = 1,
    .run = run_explain,
};
