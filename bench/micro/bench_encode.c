/* What it costs to make the answer of a bid request with one bid, from the decision to the bytes:
 * token, markup, notice urls, response.
 *
 *   build/release/bench/bench_encode [VARIANT]
 *
 * Each kind of creative, answered in JSON and in protobuf; the median round counts. For instruction
 * counts, which do not depend on who else works on the machine:
 *
 *   valgrind --tool=callgrind --toggle-collect=auction_encode_bids build/release/bench/bench_encode
 *
 * with the number of one variant makes that one 1000 times and prints it. */
#include <stdio.h>
#include <stdlib.h>

#include "bidder/auction_internal.h"
#include "bidder/base/bug.h"
#include "bidder/base/clock.h"
#include "bidder/catalog_load.h"

#define ROUNDS   21
#define ROUND_NS 5000000
#define ENCODES  8
#define COUNTED  1000
#define NOW_S    INT64_C(1764000000)

static const char catalog_text[] =
    "{\"timezone\":\"Asia/Shanghai\",\"currency\":\"CNY\","
    "\"exchanges\":[{\"id\":\"bench\",\"seat\":\"bench-seat\"}],"
    "\"advertisers\":[{\"id\":\"snacks\",\"domain\":\"snacks.example\",\"categories\":[\"IAB8\"],"
    "\"brands\":[{\"id\":\"biscuit\"}]}],"
    "\"campaigns\":[{\"id\":\"campaign-biscuit\",\"brand\":\"biscuit\",\"start\":\"2025-01-01\","
    "\"end\":\"2035-01-01\",\"line_items\":[{\"id\":\"broad\",\"buying\":\"rtb\",\"bid_cpm\":45,"
    "\"creatives\":[\"video-15\",\"image\",\"html\",\"native\"]}]}],"
    "\"creatives\":["
    "{\"id\":\"video-15\",\"type\":\"video\",\"w\":1280,\"h\":720,\"duration\":15,"
    "\"bitrate_kbps\":1200,\"mime\":\"video/mp4\","
    "\"url\":\"https://cdn.brand.example/video-15.mp4\","
    "\"landing\":\"https://brand.example/spring\"},"
    "{\"id\":\"image\",\"type\":\"banner\",\"w\":300,\"h\":250,"
    "\"image\":\"https://cdn.brand.example/banner-300x250.png\","
    "\"landing\":\"https://brand.example/spring\"},"
    "{\"id\":\"html\",\"type\":\"banner\",\"w\":300,\"h\":250,"
    "\"html\":\"<div class=\\\"ad\\\" style=\\\"width:300px;height:250px\\\">"
    "<a href=\\\"{CLICK}\\\" target=\\\"_blank\\\"><img "
    "src=\\\"https://cdn.brand.example/a.png\\\" "
    "alt=\\\"\\\"></a><p>It tastes of spring, and of the summer that comes behind it.</p></div>\","
    "\"landing\":\"https://brand.example/spring\"},"
    "{\"id\":\"native\",\"type\":\"native\",\"landing\":\"https://brand.example/spring\","
    "\"assets\":[{\"kind\":\"title\",\"text\":\"Biscuits of spring\"},"
    "{\"kind\":\"image\",\"url\":\"https://cdn.brand.example/icon.png\",\"w\":1200,\"h\":627},"
    "{\"kind\":\"sponsored\",\"text\":\"Snacks\"}]}]}";

static const char request_text[] =
    "{\"id\":\"7f3c0a55d1e94c2b8a6f1e2d3c4b5a69\",\"at\":1,\"cur\":[\"CNY\"],\"imp\":[{\"id\":"
    "\"1\","
    "\"video\":{\"mimes\":[\"video/mp4\"],\"protocols\":[2,3,5,6,7,8],\"w\":1280,\"h\":720},"
    "\"banner\":{\"w\":300,\"h\":250},"
    "\"native\":{\"ver\":\"1.2\",\"request\":{\"ver\":\"1.2\",\"assets\":["
    "{\"id\":1,\"required\":1,\"title\":{\"len\":90}},"
    "{\"id\":2,\"required\":1,\"img\":{\"type\":3,\"wmin\":600,\"hmin\":300}},"
    "{\"id\":3,\"data\":{\"type\":1}}],\"eventtrackers\":[{\"event\":1,\"methods\":[1]}]}}}]}";

static const char *const creative_ids[] = {"video-15", "image", "html", "native"};
static struct freq_view view = {.outcome = FREQ_KNOWN};

static struct auction_desk *make_desk(void)
{
    struct auction_options options = {
        .owner = 7,
        .max_auctions = 1,
        .reserve_s = 60,
        .notice_ttl_s = 86400,
        .public_url = STR("https://ads.brand.example"),
        .secret = STR("a secret of this benchmark, nowhere else"),
    };
    struct arena arena;
    struct problem_list problems;
    struct catalog *catalog = NULL;
    BUG_ON(!arena_init(&arena, 1 << 16, 1 << 24));
    problem_list_init(&problems, &arena);
    struct str text = {catalog_text, sizeof(catalog_text) - 1};
    if (catalog_load(text, NULL, 1, &catalog, &problems) != STATUS_OK) {
        struct buf out;
        buf_init(&out, 1 << 20);
        problem_list_print(&problems, STR("catalog"), &out);
        fprintf(stderr, "%.*s", STR_ARG(buf_str(&out)));
        exit(1);
    }
    struct auction_desk *desk = auction_desk_create(&options, &(struct auction_desks){0});
    BUG_ON(!desk);
    auction_desk_set_catalog(desk, catalog);
    return desk;
}

/* As the walk leaves it when it comes to encoding: one line chosen, a ticket with one key. */
static void decide(struct auction *auction, const char *creative_id)
{
    static struct offer offer = {
        .deal = CATALOG_NONE,
        .buying = BUYING_RTB,
        .currency = {"CNY", 3},
        .price_micros = 45000000,
        .cost_cpm_micros = 45000000,
    };
    struct str body = {request_text, sizeof(request_text) - 1};
    auction->now_s = NOW_S;
    auction->view = &view;
    BUG_ON(openrtb_json_decode(body, &auction->arena, &auction->request) != BIDREQ_OK);
    auction->decisions = arena_calloc(&auction->arena, 1, sizeof(*auction->decisions));
    auction->decisions[0] = (struct decision){
        .imp = &auction->request.imp.items[0],
        .imp_hash = 0x1234,
        .creative = str_table_get(&auction->catalog->creative_by_id, str_from(creative_id)),
        .offer = &offer,
        .flight = 77,
        .ticket = {.key_count = 1, .time_s = (uint32_t)NOW_S, .salt = 0x9e3779b9},
    };
    BUG_ON(auction->decisions[0].creative == CATALOG_NONE);
}

/* ENCODES times from one decision; the arena holds the texts of so many. */
static int64_t encode_ns(struct auction *auction, const char *creative_id)
{
    arena_reset(&auction->arena);
    decide(auction, creative_id);
    int64_t started_ns = clock_mono_ns();
    for (int i = 0; i < ENCODES; i++) {
        BUG_ON(auction_encode_bids(auction) != 1 || buf_failed(&auction->desk->out));
    }
    return clock_mono_ns() - started_ns;
}

static double round_ns(struct auction *auction, const char *creative_id)
{
    int64_t spent_ns = 0, done = 0;
    while (spent_ns < ROUND_NS) {
        spent_ns += encode_ns(auction, creative_id);
        done += ENCODES;
    }
    return (double)spent_ns / (double)done;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

int main(int argc, char **argv)
{
    struct auction_desk *desk = make_desk();
    long wanted = argc > 1 ? strtol(argv[1], NULL, 10) : -1;
    for (long variant = 0; variant < 2 * (long)COUNT_OF(creative_ids); variant++) {
        if (wanted >= 0 && variant != wanted) {
            continue;
        }
        struct auction *auction = auction_borrow(desk);
        auction->format = variant % 2 ? WIRE_PROTOBUF : WIRE_JSON;
        const char *creative_id = creative_ids[variant / 2];
        double ns[ROUNDS];
        for (int i = 0; wanted >= 0 && i < COUNTED / ENCODES; i++) {
            encode_ns(auction, creative_id);
        }
        for (int round = 0; wanted < 0 && round < ROUNDS; round++) {
            ns[round] = round_ns(auction, creative_id);
        }
        if (wanted < 0) {
            qsort(ns, ROUNDS, sizeof(ns[0]), by_value);
            printf("%ld %-10s %-8s %6zu B %8.0f ns\n", variant, creative_id,
                   variant % 2 ? "protobuf" : "json", desk->out.len, ns[ROUNDS / 2]);
        } else {
            fwrite(desk->out.data, 1, desk->out.len, stdout);
        }
        auction_return(auction);
    }
    auction_desk_destroy(&desk);
    return 0;
}
