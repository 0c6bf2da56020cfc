/* jointcapctl swaps: what brands have lent each other, as the ledgers in Redis say. */
#include <inttypes.h>

#include "bidder/base/bug.h"
#include "bidder/base/redis.h"
#include "bidder/catalog_load.h"
#include "bidder/ctl.h"
#include "bidder/ctl_store.h"
#include "pacing/swap.h"

#define REDIS_TIMEOUT_US 5000000
#define MAX_FILE_BYTES   ((size_t)1 << 30)
#define PROBLEM_BYTES    ((size_t)64 << 20)

/* One ledger; amounts are impressions, or micros when the swap is by value. */
struct ledger {
    int64_t given[2]; /* by brand 0's traffic to brand 1, and back */
    int64_t out[2];   /* rights that workers hold, or held when they ended */
};

static bool read_ledger(struct redis_sync *redis, uint32_t ref, struct ledger *ledger)
{
    char key[SWAP_KEY_MAX];
    struct str argv[] = {STR("HMGET"), {key, swap_key_text(ref, key)},
                         STR("S0"),    STR("S1"),
                         STR("O0"),    STR("O1"),
                         STR("Z0"),    STR("Z1")};
    const struct redis_value *reply = redis_sync_command(redis, COUNT_OF(argv), argv);
    int64_t values[6] = {0};
    if (!reply || reply->type != REDIS_ARRAY || reply->count != COUNT_OF(values)) {
        return false;
    }
    for (size_t i = 0; i < COUNT_OF(values); i++) {
        (void)str_to_i64(reply->items[i].text, &values[i]);
    }
    *ledger = (struct ledger){.given = {values[0], values[1]},
                              .out = {values[2] + values[4], values[3] + values[5]}};
    return true;
}

static void put_amount(struct buf *out, const struct catalog_swap *swap, int64_t amount)
{
    if (swap->by_value) {
        buf_put_micros(out, amount);
    } else {
        buf_put_i64(out, amount);
    }
}

static void put_json(struct buf *out, const struct catalog *catalog,
                     const struct catalog_swap *swap, const struct ledger *ledger)
{
    BUF_PUT_LITERAL(out, "{\"swap\":\"");
    buf_put_json_escaped(out, swap->id);
    buf_printf(out, "\",\"measure\":\"%s\",\"sides\":[", swap->by_value ? "value" : "impressions");
    for (int side = 0; side < 2; side++) {
        buf_put_str(out, side ? STR(",{\"brand\":\"") : STR("{\"brand\":\""));
        buf_put_json_escaped(out, catalog->brands[swap->brands[side]].id);
        BUF_PUT_LITERAL(out, "\",\"gave\":");
        put_amount(out, swap, ledger->given[side]);
        BUF_PUT_LITERAL(out, ",\"may_be_giving\":");
        put_amount(out, swap, ledger->out[side]);
        BUF_PUT_LITERAL(out, ",\"balance\":"); /* positive: the partner owes it */
        put_amount(out, swap, ledger->given[side] - ledger->given[1 - side]);
        buf_put_char(out, '}');
    }
    BUF_PUT_LITERAL(out, "]}\n");
}

static void put_table(struct buf *out, const struct catalog *catalog,
                      const struct catalog_swap *swap, const struct ledger *ledger)
{
    for (int side = 0; side < 2; side++) {
        int64_t amounts[] = {ledger->given[side], ledger->out[side],
                             ledger->given[side] - ledger->given[1 - side]};
        buf_printf(out, "%-24.*s  %-20.*s  %-11s", STR_ARG(swap->id),
                   STR_ARG(catalog->brands[swap->brands[side]].id),
                   swap->by_value ? "value" : "impressions");
        for (size_t i = 0; i < COUNT_OF(amounts); i++) {
            struct buf text;
            buf_init(&text, 64);
            put_amount(&text, swap, amounts[i]);
            buf_printf(out, "  %14.*s", STR_ARG(buf_str(&text)));
            buf_deinit(&text);
        }
        buf_put_char(out, '\n');
    }
}

static int print_swaps(const struct ctl_call *call, const struct catalog *catalog,
                       struct redis_sync *redis)
{
    bool json = ctl_given(call, "--json");
    int result = CTL_OK;
    struct buf out;
    buf_init(&out, PROBLEM_BYTES);
    if (!json) {
        buf_printf(&out, "%-24s  %-20s  %-11s  %14s  %14s  %14s\n", "swap", "traffic of", "measure",
                   "gave", "may be giving", "balance");
    }
    for (uint32_t i = 0; i < catalog->swap_count && result == CTL_OK; i++) {
        struct ledger ledger;
        if (!read_ledger(redis, catalog->swaps[i].ref, &ledger)) {
            fputs("jointcapctl swaps: reading from Redis failed\n", stderr);
            result = CTL_UNREACHABLE;
        } else if (json) {
            put_json(&out, catalog, &catalog->swaps[i], &ledger);
        } else {
            put_table(&out, catalog, &catalog->swaps[i], &ledger);
        }
    }
    if (result == CTL_OK && out.len) {
        fwrite(out.data, 1, out.len, stdout);
    }
    buf_deinit(&out);
    return result;
}

/* NULL with a message on stderr. */
static struct catalog *load(const char *path)
{
    struct arena arena;
    struct buf text;
    struct problem_list problems;
    struct catalog *catalog = NULL;
    buf_init(&text, MAX_FILE_BYTES);
    if (!arena_init(&arena, 65536, PROBLEM_BYTES)) {
        return NULL;
    }
    problem_list_init(&problems, &arena);
    if (ctl_read_file(path, &text) &&
        catalog_load(buf_str(&text), NULL, 1, &catalog, &problems) != STATUS_OK) {
        fprintf(stderr, "jointcapctl swaps: %s is not a good catalog; see \"jointcapctl check\"\n",
                path);
    }
    problem_list_deinit(&problems);
    arena_deinit(&arena);
    buf_deinit(&text);
    return catalog;
}

static int run_swaps(const struct ctl_call *call)
{
    const char *address = ctl_redis_address(call);
    struct catalog *catalog = load(call->arguments[0]);
    struct buf error;
    if (!catalog) {
        return CTL_FAILED;
    }
    buf_init(&error, 4096);
    int result = CTL_UNREACHABLE;
    struct redis_sync *redis = redis_sync_connect(address, REDIS_TIMEOUT_US, &error);
    if (redis) {
        result = print_swaps(call, catalog, redis);
    } else {
        fprintf(stderr, "jointcapctl: %s: %.*s\n", address, STR_ARG(buf_str(&error)));
    }
    redis_sync_close(&redis);
    buf_deinit(&error);
    catalog_release(&catalog);
    return result;
}

static const struct ctl_option swaps_options[] = {
    CTL_REDIS_OPTION,
    {"--json", NULL, "one JSON object a swap", NULL},
};
const struct ctl_command ctl_swaps = {
    .name = "swaps",
    .arguments = "CATALOG",
    .summary = "print both sides of the traffic swap ledgers",
    .help =
        "For each swap of the catalog file: how many impressions (or how much value) of a brand's\n"
        "traffic were shown with its partner's creative, how much more workers hold the right to\n"
        "give, and the balance: positive is what the partner owes.",
    CTL_OPTIONS(swaps_options),
    .min_arguments = 1,
    .max_arguments = 1,
    .run = run_swaps,
};
