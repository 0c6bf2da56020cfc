/* jointcapctl: one table of commands (ctl.c), each with its options, help and function.
 *
 * A new command is a row in ctl.c's table and a function in a ctl_*.c file:
 *
 *     static const struct ctl_option pacing_options[] = {CTL_ADMIN_OPTIONS, {"--day", "DAY", ...}};
 *     const struct ctl_command ctl_pacing = {.name = "pacing", ..., CTL_OPTIONS(pacing_options),
 *                                            .run = run_pacing};
 *
 * Options and arguments are checked before run is called; run returns the exit code. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "bidder/base/buf.h"

enum ctl_exit {
    CTL_OK = 0,
    CTL_FAILED = 1, /* the answer is no: errors in a catalog, refused by the server */
    CTL_USAGE = 2,
    CTL_UNREACHABLE = 3, /* no server, or it did not answer */
};

struct ctl_option {
    const char *name;       /* "--token-file" */
    const char *value_name; /* "FILE"; NULL: a switch */
    const char *text;
    const char *fallback; /* value when not given, or NULL */
};

#define CTL_MAX_OPTIONS   24
#define CTL_MAX_ARGUMENTS 16

struct catalog;
struct ctl_command;

/* One use of a command. Everything points into argv or the tables. */
struct ctl_call {
    const struct ctl_command *command;
    const char *values[CTL_MAX_OPTIONS]; /* by the option's place in the table */
    const char *arguments[CTL_MAX_ARGUMENTS];
    int argument_count;
};

struct ctl_command {
    const char *name;
    const char *arguments; /* "FILE [FILE...]" */
    const char *summary;   /* one line for the list */
    const char *help;      /* paragraphs */
    const struct ctl_option *options;
    size_t option_count;
    int min_arguments, max_arguments;
    int (*run)(const struct ctl_call *call);
};
#define CTL_OPTIONS(table) .options = (table), .option_count = sizeof(table) / sizeof((table)[0])

/* The value of an option, its fallback, or NULL. A switch that was given answers "". */
const char *ctl_value(const struct ctl_call *call, const char *option);
static inline bool ctl_given(const struct ctl_call *call, const char *option)
{
    return ctl_value(call, option) != NULL;
}

/* Fills call from argv behind the command's name. False with a message on stderr. */
bool ctl_parse(const struct ctl_command *command, int argc, char **argv, struct ctl_call *call);
void ctl_print_help(const struct ctl_command *command, FILE *out);

/* Appends a whole file ("-" = standard input). False with a message on stderr. */
bool ctl_read_file(const char *path, struct buf *out);

/* --- commands that talk to a running bidder's admin port --- */
#define CTL_ADMIN_OPTIONS                                                                          \
    {"--admin", "HOST:PORT", "the bidder's admin port; also $JOINTCAP_ADMIN", "127.0.0.1:8081"},   \
    {                                                                                              \
        "--token-file", "FILE", "file with the admin token; else $JOINTCAP_ADMIN_TOKEN", NULL      \
    }

struct ctl_reply {
    int status;
    struct buf body; /* owned; ctl_reply_deinit */
};
/* One request to the admin port named by the call's options. content_type may be NULL without body.
 * CTL_OK when there was an answer, whatever its status; else a message is on stderr. */
enum ctl_exit ctl_admin(const struct ctl_call *call, const char *method, const char *path,
                        const char *content_type, struct str body, struct ctl_reply *reply);
void ctl_reply_deinit(struct ctl_reply *reply);
/* Prints the body: to stdout for 2xx, else to stderr with the status. The exit code. */
int ctl_print_reply(const struct ctl_reply *reply);
/* Appends text as part of a url's query or path. */
/* A good catalog with one reference, or NULL with a message on stderr. */
struct catalog *ctl_load_catalog(const char *path);
void ctl_put_url_escaped(struct buf *out, const char *text);

extern const struct ctl_command ctl_check, ctl_load, ctl_show, ctl_schema, ctl_explain;
extern const struct ctl_command ctl_events, ctl_reconcile, ctl_report, ctl_pacing, ctl_swaps;
extern const struct ctl_command ctl_link, ctl_forget, ctl_person, ctl_consent, ctl_audience;
extern const struct ctl_command ctl_model;
