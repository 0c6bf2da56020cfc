/* jointcapctl link, forget, person, consent: what operators do to one person's records. They go to
 * Redis directly, with the deployment's secret; no bidder need run. */
#include <inttypes.h>
#include <stdlib.h>
#include <unistd.h>

#include "bidder/base/bug.h"
#include "bidder/base/clock.h"
#include "bidder/catalog_load.h"
#include "bidder/ctl_store.h"
#include "frequency/person_admin.h"

#define OUT_BYTES       ((size_t)16 << 20)
#define MAX_BAD_PRINTED 10

static int failed(enum status status, const struct buf *error)
{
    fprintf(stderr, "jointcapctl: %.*s\n", STR_ARG(buf_str(error)));
    return status == STATUS_IO ? CTL_UNREACHABLE : CTL_FAILED;
}

/* --- link ----------------------------------------------------------------------------------- */

struct link_counts {
    uint64_t linked, bad;
};

/* Links just made, to be made once more when no auction is under way any more that had not read
 * them (PERSON_ADMIN_SETTLE_US). */
struct fresh_link {
    struct person_key a, b;
    int64_t at_us;
};
struct fresh_links {
    struct fresh_link *items; /* owned; from next on they wait */
    size_t count, next, cap;
};

static bool fresh_add(struct fresh_links *fresh, const struct person_key *a,
                      const struct person_key *b)
{
    if (fresh->next == fresh->count) {
        fresh->next = fresh->count = 0;
    }
    if (fresh->count == fresh->cap) {
        size_t cap = fresh->cap ? 2 * fresh->cap : 256;
        struct fresh_link *items = realloc(fresh->items, cap * sizeof(*items));
        if (!items) {
            return false;
        }
        fresh->items = items;
        fresh->cap = cap;
    }
    fresh->items[fresh->count++] = (struct fresh_link){*a, *b, clock_mono_us()};
    return true;
}

/* Those whose time has come; with wait all of them. */
static enum status fresh_settle(struct ctl_store *store, struct fresh_links *fresh, bool wait,
                                struct buf *error)
{
    enum status status = STATUS_OK;
    while (fresh->next < fresh->count && (status == STATUS_OK || status == STATUS_LIMIT)) {
        const struct fresh_link *link = &fresh->items[fresh->next];
        int64_t left_us = link->at_us + PERSON_ADMIN_SETTLE_US - clock_mono_us();
        if (left_us > 0 && !wait) {
            return STATUS_OK;
        }
        if (left_us > 0) {
            usleep((useconds_t)left_us);
        }
        fresh->next++;
        status = person_admin_link(store->sync, &link->a, &link->b, error);
    }
    return status == STATUS_LIMIT ? STATUS_OK : status; /* others were linked meanwhile */
}

static void bad_row(struct link_counts *counts, const char *path, uint64_t number, const char *why)
{
    if (counts->bad++ < MAX_BAD_PRINTED) {
        fprintf(stderr, "%s:%" PRIu64 ": %s\n", path, number, why);
    }
}

/* All ids of the row become one person. STATUS_IO and STATUS_NO_MEMORY end the run. */
static enum status link_row(struct ctl_store *store, const char *path, const struct ctl_csv *csv,
                            struct link_counts *counts, struct fresh_links *fresh,
                            struct buf *error)
{
    struct person_key keys[CTL_CSV_CELLS / 2];
    uint32_t count = csv->count / 2;
    if (csv->count < 4 || csv->count % 2) {
        bad_row(counts, path, csv->number, "a row is type,id,type,id[,type,id...]");
        return STATUS_OK;
    }
    for (uint32_t i = 0; i < count; i++) {
        struct str type = csv->cells[2 * i];
        bool known = person_type_is_known(type);
        if (!known || !person_key_of(&store->secret, type, csv->cells[2 * i + 1], &keys[i])) {
            bad_row(counts, path, csv->number,
                    known ? "an id that names nobody" : "a type that no ids have");
            return STATUS_OK;
        }
    }
    for (uint32_t i = 1; i < count; i++) {
        buf_reset(error);
        enum status status = person_admin_link(store->sync, &keys[0], &keys[i], error);
        if (status == STATUS_IO) {
            return status;
        }
        if (status != STATUS_OK) {
            buf_put_char(error, '\0');
            bad_row(counts, path, csv->number,
                    buf_failed(error) ? "cannot be linked" : error->data);
            return STATUS_OK;
        }
        if (!fresh_add(fresh, &keys[0], &keys[i])) {
            buf_printf(error, "out of memory");
            return STATUS_NO_MEMORY;
        }
    }
    counts->linked++;
    return fresh_settle(store, fresh, false, error);
}

static int link_file(struct ctl_store *store, const char *path)
{
    struct ctl_csv csv;
    struct link_counts counts = {0, 0};
    struct fresh_links fresh = {NULL, 0, 0, 0};
    if (!ctl_csv_open(&csv, path, 0)) {
        return CTL_USAGE;
    }
    struct buf error;
    buf_init(&error, 4096);
    enum status status = STATUS_OK;
    while (status == STATUS_OK && ctl_csv_next(&csv)) {
        bool head = csv.number == 1 && str_eq_nocase(csv.cells[0], STR("type"));
        status = head ? STATUS_OK : link_row(store, path, &csv, &counts, &fresh, &error);
    }
    if (status == STATUS_OK) {
        buf_reset(&error);
        status = fresh_settle(store, &fresh, true, &error);
    }
    free(fresh.items);
    printf("%" PRIu64 " rows linked, %" PRIu64 " bad\n", counts.linked, counts.bad);
    int result = status != STATUS_OK ? failed(status, &error) : counts.bad ? CTL_FAILED : CTL_OK;
    buf_deinit(&error);
    ctl_csv_close(&csv);
    return result;
}

static int run_link(const struct ctl_call *call)
{
    struct ctl_store store;
    int result = (int)ctl_store_init(call, &store);
    if (result == CTL_OK) {
        result = link_file(&store, call->arguments[0]);
    }
    ctl_store_deinit(&store);
    return result;
}

static const struct ctl_option store_options[] = {CTL_STORE_OPTIONS};
const struct ctl_command ctl_link = {
    .name = "link",
    .arguments = "FILE.csv",
    .summary = "say which ids are one person",
    .help =
        "Each row names ids of one person: type,id,type,id[,type,id...], for instance\n"
        "    oaid,5c1a...,eid:login.example,u-4711\n"
        "From then on their exposures count together; what each had seen before is added up. The\n"
        "ids are hashed with the deployment's secret before they leave this program. Linking\n"
        "twice changes nothing. At most 5 ids become one person. Exit code 1 when a row was bad.",
    CTL_OPTIONS(store_options),
    .min_arguments = 1,
    .max_arguments = 1,
    .run = run_link,
};

/* --- forget --------------------------------------------------------------------------------- */

static int run_forget(const struct ctl_call *call)
{
    struct ctl_store store;
    struct person_key key, household;
    struct buf error;
    buf_init(&error, 4096);
    int result = (int)ctl_store_init(call, &store);
    if (result == CTL_OK && !ctl_person_key(&store, call->arguments[0], &key, &household)) {
        result = CTL_USAGE;
    }
    if (result == CTL_OK) {
        uint32_t deleted = 0;
        enum status status = person_admin_forget(store.sync, &key, &household, &deleted, &error);
        if (status == STATUS_OK) {
            printf("%u record%s deleted\n", deleted, deleted == 1 ? "" : "s");
        } else {
            result = failed(status, &error);
        }
    }
    buf_deinit(&error);
    ctl_store_deinit(&store);
    return result;
}

const struct ctl_command ctl_forget = {
    .name = "forget",
    .arguments = "TYPE:ID",
    .summary = "delete everything stored for a person",
    .help =
        "Deletes all records of the id, of the ids linked to it, and of the household it names:\n"
        "exposures, audiences, consent, preferences, links. A consent that was withdrawn is\n"
        "forgotten, too: \"consent --withdraw\" afterwards keeps new records from being made.\n"
        "Counts in reports stay: they name nobody. Bids for the person that are out still cost\n"
        "their money, but nothing is stored for the person when their notices come. Takes a\n"
        "second: what auctions under way may still write is deleted, too.\n"
        "Types of ids: " CTL_PERSON_TYPES ".",
    CTL_OPTIONS(store_options),
    .min_arguments = 1,
    .max_arguments = 1,
    .run = run_forget,
};

/* --- person --------------------------------------------------------------------------------- */

static bool name_in(const struct catalog *catalog, const char *kind, uint32_t ref, struct str *id)
{
    if (strcmp(kind, "line") == 0) {
        for (uint32_t i = 0; i < catalog->line_count; i++) {
            if (catalog->lines[i].ref == ref) {
                *id = catalog->lines[i].id;
                return true;
            }
        }
    } else if (strcmp(kind, "creative") == 0) {
        for (uint32_t i = 0; i < catalog->creative_count; i++) {
            if (catalog->creatives[i].ref == ref) {
                *id = catalog->creatives[i].id;
                return true;
            }
        }
    } else {
        for (uint32_t i = 0; i < catalog->brand_count; i++) {
            bool muted = strcmp(kind, "muted") == 0;
            if ((muted ? catalog->brands[i].ref32 : catalog->brands[i].ref) == ref) {
                *id = catalog->brands[i].id;
                return strcmp(kind, "segment") != 0;
            }
        }
    }
    return false;
}

static bool category_of(const struct catalog *catalog, uint32_t ref, struct str *id)
{
    for (uint32_t a = 0; a < catalog->advertiser_count; a++) {
        const struct str_list *categories = &catalog->advertisers[a].categories;
        for (uint32_t c = 0; c < categories->count; c++) {
            if (cap_ref32(categories->items[c]) == ref) {
                *id = categories->items[c];
                return true;
            }
        }
    }
    return false;
}

struct names {
    const struct catalog *catalog; /* or NULL */
    const char *segments;          /* "a,b,c" given by hand, or NULL: catalogs keep hashes only */
};

static bool put_name(void *context, const char *kind, uint32_t ref, struct buf *out)
{
    const struct names *names = context;
    struct str id, rest = str_from(names->segments);
    if (strcmp(kind, "segment") == 0) {
        while (rest.len) {
            id = str_trim(str_cut(&rest, ','));
            if (id.len && cap_ref32(id) == ref) {
                buf_put_str(out, id);
                return true;
            }
        }
        return false;
    }
    if (names->catalog && (name_in(names->catalog, kind, ref, &id) ||
                           (strcmp(kind, "muted") == 0 && category_of(names->catalog, ref, &id)))) {
        buf_put_str(out, id);
        return true;
    }
    return false;
}

static int describe(const struct ctl_call *call, struct ctl_store *store,
                    const struct catalog *catalog)
{
    struct person_key key;
    struct arena arena;
    struct tz tz;
    if (!ctl_person_key(store, call->arguments[0], &key, NULL)) {
        return CTL_USAGE;
    }
    if (!arena_init(&arena, 65536, (size_t)1 << 20)) {
        return CTL_FAILED;
    }
    const char *zone = ctl_value(call, "--timezone");
    if (!catalog && tz_load(str_from(zone), &arena, &tz) != STATUS_OK) {
        fprintf(stderr, "jointcapctl: there is no timezone \"%s\"\n", zone);
        arena_deinit(&arena);
        return CTL_USAGE;
    }
    struct names context = {.catalog = catalog, .segments = ctl_value(call, "--segments")};
    struct person_admin_names names = {.name = put_name, .context = &context};
    struct buf out, error;
    buf_init(&out, OUT_BYTES);
    buf_init(&error, 4096);
    int64_t now_s = clock_wall_us() / 1000000;
    enum status status = person_admin_describe(store->sync, &key, now_s,
                                               catalog ? &catalog->tz : &tz, &names, &out, &error);
    int result = CTL_OK;
    if (status == STATUS_OK && out.len) {
        fwrite(out.data, 1, out.len, stdout);
    } else if (status != STATUS_OK) {
        result = failed(status, &error);
    }
    buf_deinit(&out);
    buf_deinit(&error);
    arena_deinit(&arena);
    return result;
}

static int run_person(const struct ctl_call *call)
{
    struct ctl_store store;
    const char *path = ctl_value(call, "--catalog");
    struct catalog *catalog = path ? ctl_load_catalog(path) : NULL;
    if (path && !catalog) {
        return CTL_FAILED;
    }
    int result = (int)ctl_store_init(call, &store);
    if (result == CTL_OK) {
        result = describe(call, &store, catalog);
    }
    ctl_store_deinit(&store);
    if (catalog) {
        catalog_release(&catalog);
    }
    return result;
}

static const struct ctl_option person_options[] = {
    CTL_STORE_OPTIONS,
    {"--catalog", "FILE", "names for lines, brands and creatives, and the timezone", NULL},
    {"--segments", "A,B,...", "names of segments to look for: Redis holds their hashes", NULL},
    {"--timezone", "ZONE", "timezone of the times printed without a catalog", "UTC"},
};
const struct ctl_command ctl_person = {
    .name = "person",
    .arguments = "TYPE:ID",
    .summary = "say in words what is stored for a person",
    .help =
        "Prints every exposure (shown, reserved, expired), segment, preference and link stored\n"
        "for the id and the ids linked to it.",
    CTL_OPTIONS(person_options),
    .min_arguments = 1,
    .max_arguments = 1,
    .run = run_person,
};

/* --- consent -------------------------------------------------------------------------------- */

static enum status mute_list(struct ctl_store *store, const struct person_key *key,
                             const char *list, bool muted, struct buf *error)
{
    struct str rest = str_from(list);
    enum status status = STATUS_OK;
    while (rest.len && status == STATUS_OK) {
        struct str id = str_trim(str_cut(&rest, ','));
        if (id.len) {
            status = person_admin_mute(store->sync, key, cap_ref32(id), muted, error);
        }
    }
    return status;
}

static enum status change(const struct ctl_call *call, struct ctl_store *store,
                          const struct person_key *key, const struct person_key *household,
                          int64_t contacts, struct buf *error)
{
    enum status status = STATUS_OK;
    if (ctl_given(call, "--withdraw") || ctl_given(call, "--grant")) {
        status =
            person_admin_consent(store->sync, key, household, ctl_given(call, "--withdraw"), error);
    }
    if (status == STATUS_OK && contacts >= 0) {
        status = person_admin_max_contacts(store->sync, key, (uint16_t)contacts, error);
    }
    if (status == STATUS_OK) {
        status = mute_list(store, key, ctl_value(call, "--mute"), true, error);
    }
    return status == STATUS_OK ? mute_list(store, key, ctl_value(call, "--unmute"), false, error)
                               : status;
}

static int run_consent(const struct ctl_call *call)
{
    const char *most = ctl_value(call, "--max-contacts");
    int64_t contacts = -1;
    bool withdraw = ctl_given(call, "--withdraw"), grant = ctl_given(call, "--grant");
    if (most && (!str_to_i64(str_from(most), &contacts) || contacts < 0 || contacts > UINT16_MAX)) {
        fprintf(stderr, "jointcapctl: --max-contacts takes 0 to 65535, not \"%s\"\n", most);
        return CTL_USAGE;
    }
    if ((withdraw && grant) || (!withdraw && !grant && !most && !ctl_given(call, "--mute") &&
                                !ctl_given(call, "--unmute"))) {
        fputs(withdraw && grant ? "jointcapctl: either --withdraw or --grant\n"
                                : "jointcapctl: consent needs something to change; see --help\n",
              stderr);
        return CTL_USAGE;
    }
    struct ctl_store store;
    struct person_key key, household;
    struct buf error;
    buf_init(&error, 4096);
    int result = (int)ctl_store_init(call, &store);
    if (result == CTL_OK && !ctl_person_key(&store, call->arguments[0], &key, &household)) {
        result = CTL_USAGE;
    }
    if (result == CTL_OK) {
        enum status status = change(call, &store, &key, &household, contacts, &error);
        result = status == STATUS_OK ? CTL_OK : failed(status, &error);
    }
    if (result == CTL_OK) {
        puts("done");
    }
    buf_deinit(&error);
    ctl_store_deinit(&store);
    return result;
}

static const struct ctl_option consent_options[] = {
    CTL_STORE_OPTIONS,
    {"--withdraw", NULL, "no personalised advertising; counts and audiences are deleted", NULL},
    {"--grant", NULL, "consent is given again: a fresh start", NULL},
    {"--max-contacts", "N", "at most N contacts a day over everything; 0 removes the limit", NULL},
    {"--mute", "A,B,...", "brands or categories this person does not want to see", NULL},
    {"--unmute", "A,B,...", "brands or categories that may be shown again", NULL},
};
const struct ctl_command ctl_consent = {
    .name = "consent",
    .arguments = "TYPE:ID",
    .summary = "write down a person's consent and preferences",
    .help = "The bidder reads them with its next request for the person. A person who withdrew\n"
            "consent is nobody to it: nothing is counted or stored, and only lines that allow\n"
            "persons without an id may bid. Applies to all linked ids.",
    CTL_OPTIONS(consent_options),
    .min_arguments = 1,
    .max_arguments = 1,
    .run = run_consent,
};
