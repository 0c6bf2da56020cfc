/* Options, arguments and files of jointcapctl's commands. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "bidder/base/bug.h"
#include "bidder/catalog_values.h"
#include "bidder/ctl.h"

#define MAX_FILE_BYTES ((size_t)1 << 30)
#define READ_BYTES     65536

void ctl_print_help(const struct ctl_command *command, FILE *out)
{
    fprintf(out, "Usage: jointcapctl %s%s%s%s\n\n%s\n", command->name,
            command->option_count ? " [OPTION...]" : "", command->arguments[0] ? " " : "",
            command->arguments, command->help);
    if (command->option_count) {
        fputs("\nOptions:\n", out);
    }
    for (size_t i = 0; i < command->option_count; i++) {
        const struct ctl_option *option = &command->options[i];
        char name[64];
        snprintf(name, sizeof(name), "%s%s%s", option->name, option->value_name ? " " : "",
                 option->value_name ? option->value_name : "");
        fprintf(out, "  %-24s %s", name, option->text);
        if (option->fallback) {
            fprintf(out, " (default %s)", option->fallback);
        }
        fputc('\n', out);
    }
}

static size_t find_option(const struct ctl_command *command, struct str name)
{
    size_t i = 0;
    while (i < command->option_count && !str_eq(str_from(command->options[i].name), name)) {
        i++;
    }
    return i;
}

const char *ctl_value(const struct ctl_call *call, const char *option)
{
    size_t i = find_option(call->command, str_from(option));
    BUG_ON(i == call->command->option_count);
    return call->values[i] ? call->values[i] : call->command->options[i].fallback;
}

static bool usage(const struct ctl_command *command, const char *what, const char *which)
{
    fprintf(stderr, "jointcapctl %s: %s%s\n\"jointcapctl %s --help\" says what it takes\n",
            command->name, what, which, command->name);
    return false;
}

static bool unknown_option(const struct ctl_command *command, const char *text, struct str name)
{
    for (size_t i = 0; i < command->option_count; i++) {
        if (value_distance(name, str_from(command->options[i].name), 2) <= 2) {
            fprintf(stderr, "jointcapctl %s: did you mean %s?\n", command->name,
                    command->options[i].name);
            break;
        }
    }
    return usage(command, "unknown option ", text);
}

/* argv[*at] is an option; moves *at to its value when that stands apart. */
static bool take_option(const struct ctl_command *command, int argc, char **argv, int *at,
                        struct ctl_call *call)
{
    const char *text = argv[*at], *equals = strchr(text, '=');
    struct str name = {text, equals ? (size_t)(equals - text) : strlen(text)};
    size_t i = find_option(command, name);
    if (i == command->option_count) {
        return unknown_option(command, text, name);
    }
    if (!command->options[i].value_name) {
        call->values[i] = "";
        return equals ? usage(command, "takes no value: ", text) : true;
    }
    if (!equals && *at + 1 >= argc) {
        return usage(command, "a value is missing behind ", text);
    }
    call->values[i] = equals ? equals + 1 : argv[++*at];
    return true;
}

bool ctl_parse(const struct ctl_command *command, int argc, char **argv, struct ctl_call *call)
{
    BUG_ON(command->option_count > CTL_MAX_OPTIONS || command->max_arguments > CTL_MAX_ARGUMENTS);
    *call = (struct ctl_call){.command = command};
    bool only_arguments = false;
    for (int i = 0; i < argc; i++) {
        if (!only_arguments && strcmp(argv[i], "--") == 0) {
            only_arguments = true;
        } else if (!only_arguments && argv[i][0] == '-' && argv[i][1]) {
            if (!take_option(command, argc, argv, &i, call)) {
                return false;
            }
        } else if (call->argument_count == command->max_arguments) {
            return usage(command, "does not know what to do with ", argv[i]);
        } else {
            call->arguments[call->argument_count++] = argv[i];
        }
    }
    if (call->argument_count < command->min_arguments) {
        return usage(command, "needs ", command->arguments);
    }
    return true;
}

bool ctl_read_file(const char *path, struct buf *out)
{
    bool standard = strcmp(path, "-") == 0;
    FILE *file = standard ? stdin : fopen(path, "rb");
    if (!file) {
        fprintf(stderr, "jointcapctl: %s: %s\n", path, strerror(errno));
        return false;
    }
    size_t got = 0;
    do {
        char *to = out->len < MAX_FILE_BYTES ? buf_reserve(out, READ_BYTES) : NULL;
        got = to ? fread(to, 1, READ_BYTES, file) : 0;
        out->len += got;
    } while (got);
    bool good = !ferror(file) && !buf_failed(out) && feof(file);
    if (!good) {
        fprintf(stderr, "jointcapctl: %s: %s\n", path,
                ferror(file) ? strerror(errno) : "is too large");
    }
    if (!standard) {
        fclose(file);
    }
    return good;
}

void ctl_put_url_escaped(struct buf *out, const char *text)
{
    static const char hex[] = "0123456789ABCDEF";
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;
        bool plain = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                     strchr("-_.~", c);
        if (plain) {
            buf_put_char(out, (char)c);
        } else {
            buf_put_char(out, '%');
            buf_put_char(out, hex[c >> 4]);
            buf_put_char(out, hex[c & 15]);
        }
    }
}
