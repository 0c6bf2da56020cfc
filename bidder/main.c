/* jointcap: reads its options and hands over to the supervisor. */
#include <stdio.h>
#include <unistd.h>

#include "bidder/base/buf.h"
#include "bidder/base/log.h"
#include "bidder/config.h"
#include "bidder/supervisor.h"

#define EXIT_USAGE 2

/* jemalloc reads this name. Auctions in flight lie in a few megabytes of pieces: on pages of 2 MB
 * the processor finds them without walking page tables for each. */
extern const char *malloc_conf;
const char *malloc_conf = "thp:always";

static void print(struct buf *text)
{
    fwrite(text->data, 1, text->len, stdout);
    buf_deinit(text);
}

static void print_help(void)
{
    struct buf text;
    buf_init(&text, 1 << 20);
    buf_printf(&text, "Usage: jointcap [--config=FILE] [--name=value ...]\n\n"
                      "  --help                 this text\n"
                      "  --version\n"
                      "  --config=FILE          name = value lines; see --print-config-docs\n"
                      "  --print-config         the options as they are in force\n"
                      "  --print-config-docs    a configuration file with every option\n\n");
    option_print_help(&config_table, &text);
    print(&text);
}

/* Options that print and end. True when there was one. */
static bool print_and_end(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0) {
            print_help();
            return true;
        }
        if (strcmp(argv[i], "--version") == 0) {
            printf("jointcap %s\n", JOINTCAP_VERSION);
            return true;
        }
        if (strcmp(argv[i], "--print-config-docs") == 0) {
            struct buf text;
            buf_init(&text, 1 << 20);
            config_print_docs(&text);
            print(&text);
            return true;
        }
    }
    return false;
}

/* Takes --print-config out of the arguments. */
static bool take_print_config(int *argc, char **argv)
{
    bool found = false;
    int kept = 0;
    for (int i = 0; i < *argc; i++) {
        if (i && strcmp(argv[i], "--print-config") == 0) {
            found = true;
        } else {
            argv[kept++] = argv[i];
        }
    }
    *argc = kept;
    return found;
}

int main(int argc, char **argv)
{
    if (print_and_end(argc, argv)) {
        return 0;
    }
    bool print_config = take_print_config(&argc, argv);
    struct config config;
    struct buf error;
    buf_init(&error, 64 * 1024);
    enum status status = config_load(&config, argc, argv, &error);
    int code = EXIT_USAGE;
    if (status) {
        log_error("%.*s", STR_ARG(buf_str(&error)));
    } else if (print_config) {
        struct buf text;
        buf_init(&text, 1 << 20);
        option_print_values(&config_table, &config, &text);
        print(&text);
        code = 0;
    } else {
        code = supervisor_run(&config);
    }
    buf_deinit(&error);
    config_free(&config);
    return code;
}
