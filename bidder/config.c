#include "bidder/config.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "bidder/base/bug.h"
#include "bidder/base/crypto.h"
#include "bidder/base/log.h"
#include "bidder/server.h"

#define SECRET_MIN_CHARS 32
#define SECRET_FILE_MAX  4096

static const struct option_row config_rows[] = {
#define CONFIG_ROW(type, field, name, standard, min, max, help)                                    \
    {OPTION_##type, name, offsetof(struct config, field), standard, min, max, help},
    CONFIG_OPTIONS(CONFIG_ROW)
#undef CONFIG_ROW
};
const struct option_table config_table = {config_rows, COUNT_OF(config_rows)};

/* Replaces *text by what the file holds, without white space at its end. */
static enum status read_secret_file(const char *path, char **text, struct buf *error)
{
    char bytes[SECRET_FILE_MAX + 1];
    FILE *file = fopen(path, "re");
    if (!file) {
        buf_printf(error, "%s: %s", path, strerror(errno));
        return STATUS_IO;
    }
    size_t len = fread(bytes, 1, sizeof(bytes), file);
    fclose(file);
    while (len && (bytes[len - 1] == '\n' || bytes[len - 1] == '\r' || bytes[len - 1] == ' ')) {
        len--;
    }
    char *copy = len && len < sizeof(bytes) ? strndup(bytes, len) : NULL;
    explicit_bzero(bytes, sizeof(bytes));
    if (!copy) {
        buf_printf(error, "%s is empty or too large", path);
        return STATUS_INVALID;
    }
    free(*text);
    *text = copy;
    return STATUS_OK;
}

static enum status random_secret(char **text, struct buf *error)
{
    uint8_t bytes[32];
    char *hex = malloc(2 * sizeof(bytes) + 1);
    if (!hex || !crypto_random(bytes, sizeof(bytes))) {
        free(hex);
        buf_printf(error, "no random bytes");
        return STATUS_IO;
    }
    for (size_t i = 0; i < sizeof(bytes); i++) {
        snprintf(hex + 2 * i, 3, "%02x", bytes[i]);
    }
    free(*text);
    *text = hex;
    log_warn("dev: a random secret is used; counts and notice urls end with this process");
    return STATUS_OK;
}

static enum status take_secrets(struct config *config, struct buf *error)
{
    enum status status = STATUS_OK;
    if (*config->secret_file) {
        status = read_secret_file(config->secret_file, &config->secret, error);
    }
    if (!status && *config->admin_token_file) {
        status = read_secret_file(config->admin_token_file, &config->admin_token, error);
    }
    if (status) {
        return status;
    }
    if (!*config->secret && config->dev) {
        return random_secret(&config->secret, error);
    }
    if (strlen(config->secret) < SECRET_MIN_CHARS) {
        buf_printf(error, *config->secret
                              ? "secret is shorter than 32 characters"
                              : "no secret: set secret_file (openssl rand -hex 32 makes one), or "
                                "--dev to try things out");
        return STATUS_INVALID;
    }
    return STATUS_OK;
}

static enum status check_log_level(const char *text, struct buf *error)
{
    static const char *const levels[] = {"error", "warn", "info", "debug"};
    for (unsigned i = 0; i < COUNT_OF(levels); i++) {
        if (strcmp(text, levels[i]) == 0) {
            log_set_level((enum log_level)i);
            return STATUS_OK;
        }
    }
    buf_printf(error, "log_level is error, warn, info or debug, not \"%s\"", text);
    return STATUS_INVALID;
}

static enum status check(struct config *config, struct buf *error)
{
    if (check_log_level(config->log_level, error)) {
        return STATUS_INVALID;
    }
    if (!config->admin_public && !server_address_is_loopback(config->admin)) {
        buf_printf(error, "admin = %s is not a loopback address; admin_public = yes allows it",
                   config->admin);
        return STATUS_INVALID;
    }
    if (strcmp(config->event_fsync, "off") != 0 && strcmp(config->event_fsync, "second") != 0 &&
        strcmp(config->event_fsync, "batch") != 0) {
        buf_printf(error, "event_fsync is off, second or batch, not \"%s\"", config->event_fsync);
        return STATUS_INVALID;
    }
    if (config->workers == 0) {
        long online = sysconf(_SC_NPROCESSORS_ONLN);
        config->workers = online > 0 && online <= 256 ? online : 1;
    }
    size_t len = strlen(config->public_url);
    while (len && config->public_url[len - 1] == '/') { /* paths are appended with their slash */
        config->public_url[--len] = '\0';
    }
    return STATUS_OK;
}

enum status config_load(struct config *config, int argc, char **argv, struct buf *error)
{
    memset(config, 0, sizeof(*config));
    enum status status = option_defaults(&config_table, config);
    char *rest[256];
    int count = 0;
    for (int i = 0; i < argc && !status; i++) {
        if (i && strncmp(argv[i], "--config=", 9) == 0) {
            status = option_read_file(&config_table, config, argv[i] + 9, error);
        } else if (count < (int)COUNT_OF(rest)) {
            rest[count++] = argv[i];
        }
    }
    if (!status) {
        status = option_read_environment(&config_table, config, "JOINTCAP", error);
    }
    if (!status) {
        status = option_read_arguments(&config_table, config, count, rest, error);
    }
    if (!status) {
        status = check(config, error);
    }
    return status ? status : take_secrets(config, error);
}

void config_free(struct config *config)
{
    if (config->secret) {
        explicit_bzero(config->secret, strlen(config->secret));
    }
    option_free(&config_table, config);
}

void config_print_docs(struct buf *out)
{
    buf_printf(out, "# Jointcap's options, each at its default. Made by `jointcap "
                    "--print-config-docs`.\n"
                    "# Also taken from the environment (JOINTCAP_<NAME>) and the command line "
                    "(--name=value),\n"
                    "# which win over this file in that order.\n");
    option_print_docs(&config_table, out);
}
