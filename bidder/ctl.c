/* jointcapctl: what planners and operators do from the command line. */
#include "bidder/ctl.h"

#include <stdio.h>
#include <string.h>

#include "bidder/base/bug.h"
#include "bidder/catalog_values.h"

static const struct ctl_command *const commands[] = {
    &ctl_check,     &ctl_load,    &ctl_show,     &ctl_schema, &ctl_explain, &ctl_events,
    &ctl_reconcile, &ctl_report,  &ctl_pacing,   &ctl_swaps,  &ctl_link,    &ctl_forget,
    &ctl_person,    &ctl_consent, &ctl_audience, &ctl_model,
};

static void print_overview(FILE *out)
{
    fputs("Usage: jointcapctl COMMAND [OPTION...] [ARGUMENT...]\n\nCommands:\n", out);
    for (size_t i = 0; i < COUNT_OF(commands); i++) {
        fprintf(out, "  %-12s %s\n", commands[i]->name, commands[i]->summary);
    }
    fputs("  version      print the version\n"
          "  help         help on a command\n"
          "\n\"jointcapctl COMMAND --help\" says more. Exit codes: 0 done, 1 refused or errors "
          "found,\n2 wrong usage, 3 no server.\n",
          out);
}

static const struct ctl_command *find_command(const char *name)
{
    for (size_t i = 0; i < COUNT_OF(commands); i++) {
        if (strcmp(commands[i]->name, name) == 0) {
            return commands[i];
        }
    }
    return NULL;
}

static int unknown_command(const char *name)
{
    fprintf(stderr, "jointcapctl: there is no command \"%s\"", name);
    for (size_t i = 0; i < COUNT_OF(commands); i++) {
        if (value_distance(str_from(name), str_from(commands[i]->name), 2) <= 2) {
            fprintf(stderr, "; did you mean \"%s\"?", commands[i]->name);
            break;
        }
    }
    fputs("\n\"jointcapctl help\" lists the commands\n", stderr);
    return CTL_USAGE;
}

static bool asks_help(int argc, char **argv)
{
    for (int i = 0; i < argc && strcmp(argv[i], "--") != 0; i++) {
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            return true;
        }
    }
    return false;
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        print_overview(stderr);
        return CTL_USAGE;
    }
    const char *name = argv[1];
    if (strcmp(name, "version") == 0 || strcmp(name, "--version") == 0) {
        puts("jointcapctl " JOINTCAP_VERSION);
        return CTL_OK;
    }
    bool help = strcmp(name, "help") == 0 || strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0;
    if (help && argc == 2) {
        print_overview(stdout);
        return CTL_OK;
    }
    const struct ctl_command *command = find_command(help ? argv[2] : name);
    if (!command) {
        return unknown_command(help ? argv[2] : name);
    }
    if (help || asks_help(argc - 2, argv + 2)) {
        ctl_print_help(command, stdout);
        return CTL_OK;
    }
    struct ctl_call call;
    if (!ctl_parse(command, argc - 2, argv + 2, &call)) {
        return CTL_USAGE;
    }
    return command->run(&call);
}
