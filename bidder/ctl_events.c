/* jointcapctl events, reconcile: reading event logs, and holding them against Redis. */
#include <inttypes.h>
#include <stdlib.h>

#include "bidder/base/bug.h"
#include "bidder/base/redis.h"
#include "bidder/ctl.h"
#include "bidder/ctl_store.h"
#include "bidder/event_sum.h"
#include "pacing/budget_step.h"

#define LINE_BYTES       65536
#define REDIS_TIMEOUT_US 5000000
#define MAX_ACCOUNTS     (1u << 23)

/* --- events ---------------------------------------------------------------------------------- */

struct print_state {
    struct buf line;
    const char *only; /* kind, or NULL */
    uint64_t printed;
};

static enum status print_event(void *context, const struct event_record *event)
{
    struct print_state *state = context;
    if (state->only && !str_eq(str_from(state->only), str_from(event_kind_name(event->kind)))) {
        return STATUS_OK;
    }
    buf_reset(&state->line);
    event_put_json(&state->line, event);
    buf_put_char(&state->line, '\n');
    state->printed++;
    return fwrite(state->line.data, 1, state->line.len, stdout) == state->line.len ? STATUS_OK
                                                                                   : STATUS_IO;
}

static int run_events(const struct ctl_call *call)
{
    struct print_state state = {.only = ctl_value(call, "--kind")};
    int result = CTL_OK;
    buf_init(&state.line, LINE_BYTES);
    for (int i = 0; i < call->argument_count; i++) {
        const char *path = call->arguments[i];
        bool bad;
        size_t offset;
        enum status status = event_file_each(path, print_event, &state, &bad, &offset);
        if (status || bad) {
            fprintf(stderr, "jointcapctl: %s: %s at byte %zu\n", path,
                    bad ? "damaged" : "cannot be read", offset);
            result = CTL_FAILED;
        }
    }
    buf_deinit(&state.line);
    return result;
}

static const struct ctl_option events_options[] = {
    {"--kind", "KIND", "only this kind: bid, win, loss, impression, bill, settle ...", NULL},
};
const struct ctl_command ctl_events = {
    .name = "events",
    .arguments = "FILE [FILE...]",
    .summary = "print event log files as JSON lines",
    .help =
        "Prints each record of the files as one JSON object a line, in file order. Refs are the\n"
        "32-bit hashes of catalog ids. A file whose worker was killed may end in half a record,\n"
        "which is left out; damage elsewhere ends the file with exit code 1.",
    CTL_OPTIONS(events_options),
    .min_arguments = 1,
    .max_arguments = CTL_MAX_ARGUMENTS,
    .run = run_events,
};

/* --- reconcile ------------------------------------------------------------------------------- */

/* One account in both worlds. */
struct account {
    uint32_t ref, date;
    int64_t logged, settled, out;
    bool in_redis;
    bool alone; /* no account of its budget is in Redis */
};

struct accounts {
    struct account *items; /* owned */
    uint32_t count, capacity;
    bool failed;
};

static void add_account(struct accounts *accounts, const struct account *account)
{
    if (accounts->count == accounts->capacity) {
        uint32_t capacity = accounts->capacity ? accounts->capacity * 2 : 256;
        struct account *items =
            capacity > MAX_ACCOUNTS ? NULL : realloc(accounts->items, capacity * sizeof(items[0]));
        if (!items) {
            accounts->failed = true;
            return;
        }
        accounts->items = items;
        accounts->capacity = capacity;
    }
    accounts->items[accounts->count++] = *account;
}

static void add_sum(void *context, const struct event_sum *sum)
{
    add_account(context,
                &(struct account){.ref = sum->ref, .date = sum->date, .logged = sum->used});
}

static int by_ref_and_date(const void *a, const void *b)
{
    const struct account *x = a, *y = b;
    if (x->ref != y->ref) {
        return x->ref < y->ref ? -1 : 1;
    }
    return x->date < y->date ? -1 : x->date > y->date;
}

/* One entry for each account: those of several owners, and of logs and Redis, become one. */
static void merge(struct accounts *accounts)
{
    uint32_t kept = 0;
    if (accounts->count) {
        qsort(accounts->items, accounts->count, sizeof(accounts->items[0]), by_ref_and_date);
    }
    for (uint32_t i = 0; i < accounts->count; i++) {
        struct account *last = kept ? &accounts->items[kept - 1] : NULL;
        if (last && by_ref_and_date(last, &accounts->items[i]) == 0) {
            last->logged += accounts->items[i].logged;
        } else {
            accounts->items[kept++] = accounts->items[i];
        }
    }
    accounts->count = kept;
}

/* "b:{1a2b3c4d}:t" or "b:{1a2b3c4d}:20261122" */
static bool parse_key(struct str key, uint32_t *ref, uint32_t *date)
{
    int64_t day = 0;
    uint32_t sum = 0;
    if (key.len < 14 || !str_starts(key, STR("b:{")) || key.ptr[11] != '}' || key.ptr[12] != ':') {
        return false;
    }
    for (int i = 3; i < 11; i++) {
        char c = key.ptr[i];
        int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
        if (digit < 0) {
            return false;
        }
        sum = sum << 4 | (uint32_t)digit;
    }
    struct str rest = {key.ptr + 13, key.len - 13};
    if (!str_eq(rest, STR("t")) && (!str_to_i64(rest, &day) || day <= 0 || day > 99999999)) {
        return false;
    }
    *ref = sum;
    *date = (uint32_t)day;
    return true;
}

static bool scan_master(struct redis_sync *redis, uint32_t master, struct accounts *accounts)
{
    char cursor[32] = "0";
    do {
        struct str argv[] = {STR("SCAN"),    str_from(cursor), STR("MATCH"),
                             STR("b:{*}:*"), STR("COUNT"),     STR("1000")};
        const struct redis_value *reply =
            redis_sync_command_at(redis, master, COUNT_OF(argv), argv);
        if (!reply || reply->type != REDIS_ARRAY || reply->count != 2 ||
            reply->items[0].text.len >= sizeof(cursor)) {
            return false;
        }
        const struct redis_value *keys = &reply->items[1];
        for (uint32_t i = 0; i < keys->count; i++) {
            uint32_t ref, date;
            if (parse_key(keys->items[i].text, &ref, &date)) {
                add_account(accounts, &(struct account){.ref = ref, .date = date});
            }
        }
        memcpy(cursor, reply->items[0].text.ptr, reply->items[0].text.len);
        cursor[reply->items[0].text.len] = 0;
    } while (strcmp(cursor, "0") != 0 && !accounts->failed);
    return !accounts->failed;
}

static bool scan_redis(struct redis_sync *redis, struct accounts *accounts)
{
    uint32_t masters = redis_sync_masters(redis);
    bool good = masters > 0;
    for (uint32_t i = 0; i < masters && good; i++) {
        good = scan_master(redis, i, accounts);
    }
    return good;
}

static bool read_account(struct redis_sync *redis, struct account *account)
{
    char text[BUDGET_KEY_MAX];
    struct budget_step_key key = {.kind = 'b', .ref = account->ref, .date = (int32_t)account->date};
    struct str argv[] = {
        STR("HMGET"), {text, budget_step_key_text(&key, text)}, STR("S"), STR("O")};
    const struct redis_value *reply = redis_sync_command(redis, COUNT_OF(argv), argv);
    if (!reply || reply->type != REDIS_ARRAY || reply->count != 2) {
        return false;
    }
    account->in_redis = str_to_i64(reply->items[0].text, &account->settled);
    (void)str_to_i64(reply->items[1].text, &account->out);
    return true;
}

static void print_account(const struct account *account, bool json)
{
    char day[16] = "total";
    if (account->date) {
        snprintf(day, sizeof(day), "%u", account->date);
    }
    int64_t difference = account->settled - account->logged;
    if (json) {
        printf("{\"budget\":\"%08x\",\"account\":\"%s\",\"logged\":%" PRId64 ",\"settled\":%" PRId64
               ",\"out\":%" PRId64 ",\"difference\":%" PRId64 "}\n",
               account->ref, day, account->logged, account->settled, account->out, difference);
    } else {
        printf("%08x  %-8s  %18" PRId64 "  %18" PRId64 "  %18" PRId64 "  %18" PRId64 "%s\n",
               account->ref, day, account->logged, account->settled, account->out, difference,
               account->in_redis ? "" : "  not in Redis");
    }
}

static bool read_accounts(struct redis_sync *redis, struct accounts *accounts)
{
    for (uint32_t first = 0, i = 0; i < accounts->count; i++) {
        struct account *account = &accounts->items[i];
        if (!read_account(redis, account)) {
            return false;
        }
        first = account->ref == accounts->items[first].ref ? first : i;
        account->alone = i == first ? !account->in_redis : accounts->items[first].alone;
        for (uint32_t k = first; account->in_redis && k <= i; k++) {
            accounts->items[k].alone = false;
        }
    }
    return true;
}

/* A budget without a daily (or total) limit has no such account in Redis, and days expire there:
 * an account that is missing matters only when its whole budget is. */
static bool differs(const struct account *account)
{
    return account->in_redis ? account->settled != account->logged
                             : account->alone && account->logged != 0;
}

static int compare(const struct ctl_call *call, struct redis_sync *redis, struct accounts *accounts)
{
    uint32_t different = 0, compared = 0;
    bool json = ctl_given(call, "--json"), all = ctl_given(call, "--all");
    if (!scan_redis(redis, accounts)) {
        fputs("jointcapctl: reading budgets from Redis failed\n", stderr);
        return CTL_UNREACHABLE;
    }
    merge(accounts);
    if (!read_accounts(redis, accounts)) {
        fputs("jointcapctl: reading a budget from Redis failed\n", stderr);
        return CTL_UNREACHABLE;
    }
    if (!json) {
        printf("%-8s  %-8s  %18s  %18s  %18s  %18s\n", "budget", "account", "logged", "settled",
               "out", "difference");
    }
    for (uint32_t i = 0; i < accounts->count; i++) {
        const struct account *account = &accounts->items[i];
        if (!account->in_redis && !differs(account)) {
            continue;
        }
        compared++;
        different += differs(account);
        if (all || differs(account)) {
            print_account(account, json);
        }
    }
    if (!json) {
        printf("%u accounts, %u differ\n", compared, different);
    }
    return different ? CTL_FAILED : CTL_OK;
}

static int run_reconcile(const struct ctl_call *call)
{
    struct accounts accounts = {0};
    struct event_sums *sums = event_sums_create();
    struct redis_sync *redis = NULL;
    struct buf error;
    int result = CTL_FAILED;
    buf_init(&error, LINE_BYTES);
    for (int i = 0; sums && i < call->argument_count; i++) {
        if (event_sums_add_folder(sums, call->arguments[i], 0)) {
            fprintf(stderr, "jointcapctl: %s: cannot be read\n", call->arguments[i]);
            goto out;
        }
    }
    if (!sums) {
        goto out;
    }
    event_sums_each(sums, add_sum, &accounts);
    fprintf(stderr, "%" PRIu64 " settled impressions in the logs, %" PRIu64 " recorded twice\n",
            event_sums_settled(sums), event_sums_duplicates(sums));
    redis = redis_sync_connect(ctl_redis_address(call), REDIS_TIMEOUT_US, &error);
    if (!redis) {
        fprintf(stderr, "jointcapctl: %s: %.*s\n", ctl_redis_address(call),
                STR_ARG(buf_str(&error)));
        result = CTL_UNREACHABLE;
        goto out;
    }
    result = compare(call, redis, &accounts);
out:
    redis_sync_close(&redis);
    event_sums_destroy(&sums);
    free(accounts.items);
    buf_deinit(&error);
    return result;
}

static const struct ctl_option reconcile_options[] = {
    CTL_REDIS_OPTION,
    {"--all", NULL, "print every account, not only those that differ", NULL},
    {"--json", NULL, "one JSON object a line", NULL},
};
const struct ctl_command ctl_reconcile = {
    .name = "reconcile",
    .arguments = "FOLDER [FOLDER...]",
    .summary = "recompute every budget from event logs and compare with Redis",
    .help =
        "Adds up the settlements of all event log files in the folders (one of every machine)\n"
        "and compares each budget account with what Redis holds as settled. Amounts are micros,\n"
        "or impressions for budgets in impressions. While bidders run, Redis may be ahead or\n"
        "behind by what the last tenth of a second settled. Exit code 1 when accounts differ.",
    CTL_OPTIONS(reconcile_options),
    .min_arguments = 1,
    .max_arguments = CTL_MAX_ARGUMENTS,
    .run = run_reconcile,
};
