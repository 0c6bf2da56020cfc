#include "bidder/ctl_store.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define SECRET_MIN_CHARS 32
#define SECRET_MAX_BYTES (256 * 1024)
#define REDIS_TIMEOUT_US 10000000

static bool take_secret(const struct ctl_call *call, struct ctl_store *store)
{
    const char *file = ctl_value(call, "--secret-file");
    const char *text = getenv("JOINTCAP_SECRET");
    file = file ? file : getenv("JOINTCAP_SECRET_FILE");
    struct buf secret;
    buf_init(&secret, SECRET_MAX_BYTES);
    if (file && !ctl_read_file(file, &secret)) {
        buf_deinit(&secret);
        return false;
    }
    if (!file && text) {
        buf_put_str(&secret, str_from(text));
    }
    while (secret.len &&
           (secret.data[secret.len - 1] == '\n' || secret.data[secret.len - 1] == '\r' ||
            secret.data[secret.len - 1] == ' ')) {
        secret.len--;
    }
    bool good = secret.len >= SECRET_MIN_CHARS;
    if (good) {
        crypto_key_init(&store->secret, secret.data, secret.len);
    } else {
        fprintf(stderr, "jointcapctl: %s\n",
                secret.len ? "the secret is shorter than 32 characters"
                           : "no secret: --secret-file, the one the bidder uses");
    }
    if (secret.data) {
        explicit_bzero(secret.data, secret.cap);
    }
    buf_deinit(&secret);
    return good;
}

const char *ctl_redis_address(const struct ctl_call *call)
{
    const char *address = ctl_value(call, "--redis");
    address = address ? address : getenv("JOINTCAP_REDIS");
    return address ? address : "127.0.0.1:6379";
}

enum ctl_exit ctl_store_init(const struct ctl_call *call, struct ctl_store *store)
{
    *store = (struct ctl_store){.sync = NULL};
    if (!take_secret(call, store)) {
        return CTL_USAGE;
    }
    const char *address = ctl_redis_address(call);
    struct buf error;
    buf_init(&error, 1024);
    store->sync = redis_sync_connect(address, REDIS_TIMEOUT_US, &error);
    if (!store->sync) {
        fprintf(stderr, "jointcapctl: redis %s: %.*s\n", address, STR_ARG(buf_str(&error)));
    }
    buf_deinit(&error);
    return store->sync ? CTL_OK : CTL_UNREACHABLE;
}

void ctl_store_deinit(struct ctl_store *store)
{
    redis_sync_close(&store->sync);
    explicit_bzero(&store->secret, sizeof(store->secret));
}

bool ctl_person_key(const struct ctl_store *store, const char *text, struct person_key *key,
                    struct person_key *household)
{
    struct str type, id;
    if (!person_split_typed(str_from(text), &type, &id)) {
        fprintf(stderr, "jointcapctl: \"%s\" is not TYPE:ID, for instance ifa:38400000-8cf0-...\n",
                text);
        return false;
    }
    if (!person_type_is_known(type)) {
        fprintf(stderr,
                "jointcapctl: no ids have the type \"%.*s\"; types are " CTL_PERSON_TYPES "\n",
                STR_ARG(type));
        return false;
    }
    if (!person_key_of(&store->secret, type, id, key)) {
        fprintf(stderr, "jointcapctl: this id names nobody (empty, too long, or one that devices "
                        "send when they have none)\n");
        return false;
    }
    return !household || person_household_key_of(&store->secret, type, id, household);
}

/* --- rows ----------------------------------------------------------------------------------- */

bool ctl_csv_open(struct ctl_csv *csv, const char *path, int64_t offset)
{
    bool standard = strcmp(path, "-") == 0;
    *csv = (struct ctl_csv){.file = standard ? stdin : fopen(path, "re"), .offset = offset};
    if (!csv->file || (offset && fseeko(csv->file, offset, SEEK_SET) != 0)) {
        fprintf(stderr, "jointcapctl: %s: %s\n", path, strerror(errno));
        ctl_csv_close(csv);
        return false;
    }
    return true;
}

void ctl_csv_close(struct ctl_csv *csv)
{
    if (csv->file && csv->file != stdin) {
        fclose(csv->file);
    }
    free(csv->line);
    *csv = (struct ctl_csv){.file = NULL};
}

static struct str cell_of(struct str text)
{
    text = str_trim(text);
    if (text.len >= 2 && text.ptr[0] == '"' && text.ptr[text.len - 1] == '"') {
        text = (struct str){text.ptr + 1, text.len - 2};
    }
    return text;
}

bool ctl_csv_next(struct ctl_csv *csv)
{
    for (;;) {
        ssize_t got = getline(&csv->line, &csv->line_cap, csv->file);
        if (got < 0) {
            return false;
        }
        csv->number++;
        csv->offset += got;
        size_t len = (size_t)got;
        while (len && (csv->line[len - 1] == '\n' || csv->line[len - 1] == '\r')) {
            len--;
        }
        struct str rest = str_trim((struct str){csv->line, len});
        if (!rest.len || rest.ptr[0] == '#') {
            continue;
        }
        csv->count = 0;
        bool more = true;
        while (more && csv->count < CTL_CSV_CELLS) {
            more = memchr(rest.ptr, ',', rest.len) != NULL;
            csv->cells[csv->count++] = cell_of(str_cut(&rest, ','));
            more = more && rest.len;
        }
        return true;
    }
}
