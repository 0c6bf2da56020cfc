/* Responses: what is written can be read back, in both formats, whatever the texts hold. */
#include "proto/bidresp.h"

#include <stdlib.h>

#include "bidder/base/bug.h"
#include "bidder/base/json_dom.h"
#include "proto/openrtb.pb-c.h"
#include "tests/test.h"

static struct str adomains[] = {{"brand.example", 13}, {"other.example", 13}};
static struct str cats[] = {{"IAB1", 4}};
static int32_t attrs[] = {1, 13}, apis[] = {7};

/* Texts come in pieces, ready for the format. */
#define TEXT(literal)                                                                              \
    {                                                                                              \
        (literal), sizeof(literal) - 1                                                             \
    }
static const struct str adm =
    TEXT("<VAST version=\"4.2\">\n\t<Ad id='\\\x01'>\xe4\xb8\x8a\xe6\xb5\xb7</Ad></VAST>");
static const struct str adm_json[] = {
    TEXT("<VAST version=\\\"4.2\\\">\\n\\t<Ad id='\\\\\\u0001'>"),
    {NULL, 0},
    TEXT("\xe4\xb8\x8a\xe6\xb5\xb7</Ad></VAST>"),
};
static const struct str nurl = TEXT("https://t.example/n?p=${AUCTION_PRICE}");
static const struct str burl = TEXT("https://t.example/b"), lurl = TEXT("https://t.example/l");

static struct bid full_bid(void)
{
    return (struct bid){
        .id = STR("b-1"),
        .impid = STR("1"),
        .price_micros = 25123456,
        .adm = {adm_json, COUNT_OF(adm_json)},
        .nurl = {&nurl, 1},
        .burl = {&burl, 1},
        .lurl = {&lurl, 1},
        .adid = STR("ad"),
        .cid = STR("c"),
        .crid = STR("cr"),
        .dealid = STR("PDB-1"),
        .bundle = STR("com.example"),
        .language = STR("zh"),
        .adomain = {adomains, 2},
        .cat = {cats, 1},
        .cattax = 1,
        .attr = {attrs, 2},
        .apis = {apis, 1},
        .mtype = BID_VIDEO,
        .protocol = 7,
        .w = 640,
        .h = 360,
        .dur = 15,
        .slotinpod = -1,
        .exp = 300,
    };
}

static struct bid_response response_of(struct bid *bids, uint32_t count)
{
    return (struct bid_response){.id = STR("r-1"),
                                 .bidid = STR("x"),
                                 .cur = STR("CNY"),
                                 .seat = STR("seat"),
                                 .bids = {bids, count},
                                 .nbr = -1};
}

static void check_text(const struct json_value *object, const char *name, struct str expected)
{
    const struct json_value *value = json_dom_get(object, str_from(name));
    if (!value || value->type != JSON_STRING || !str_eq(value->text, expected)) {
        TEST_FAIL("%s is not \"%.*s\"", name, STR_ARG(expected));
    }
}

static void check_number(const struct json_value *object, const char *name, const char *expected)
{
    const struct json_value *value = json_dom_get(object, str_from(name));
    if (!value || value->type != JSON_NUMBER || !str_eq(value->text, str_from(expected))) {
        TEST_FAIL("%s is not %s", name, expected);
    }
}

TEST(bidresp_json_reads_back)
{
    struct arena arena;
    struct buf out;
    BUG_ON(!arena_init(&arena, 65536, 65536));
    buf_init(&out, 65536);
    struct bid bids[2] = {full_bid(), {.id = STR("b-2"), .impid = STR("2"), .price_micros = 1}};
    struct bid_response response = response_of(bids, 2);
    bidresp_encode_json(&response, &out);
    const struct json_value *root = json_dom_parse(buf_str(&out), &arena, 16, NULL);
    CHECK(root != NULL);
    check_text(root, "id", STR("r-1"));
    check_text(root, "bidid", STR("x"));
    check_text(root, "cur", STR("CNY"));
    CHECK(json_dom_get(root, STR("nbr")) == NULL);
    const struct json_value *seatbid = &json_dom_get(root, STR("seatbid"))->items[0];
    check_text(seatbid, "seat", STR("seat"));
    const struct json_value *list = json_dom_get(seatbid, STR("bid"));
    CHECK_INT(list->count, 2);
    const struct json_value *bid = &list->items[0];
    CHECK_INT(bid->count, 25); /* every field once */
    CHECK(json_dom_duplicate(bid) == NULL);
    check_number(bid, "price", "25.123456");
    check_text(bid, "adm", adm);
    check_text(bid, "nurl", nurl);
    check_text(bid, "dealid", bids[0].dealid);
    check_number(bid, "mtype", "2");
    check_number(bid, "slotinpod", "-1");
    CHECK_STR(json_dom_get(bid, STR("adomain"))->items[1].text, "other.example");
    CHECK_STR(json_dom_get(bid, STR("attr"))->items[1].text, "13");
    CHECK_INT(list->items[1].count, 3);
    check_number(&list->items[1], "price", "0.000001");
    buf_deinit(&out);
    arena_deinit(&arena);
}

/* The same members, whether they are encoded beforehand in parts or with the bid. */
TEST(bidresp_json_takes_members_made_before)
{
    struct buf out, parts[BID_MEMBERS_COUNT];
    struct arena arena;
    struct bid whole = full_bid(), rest = whole;
    struct bid made[BID_MEMBERS_COUNT] = {
        {.adid = whole.adid,
         .bundle = whole.bundle,
         .crid = whole.crid,
         .attr = whole.attr,
         .apis = whole.apis,
         .language = whole.language,
         .w = whole.w,
         .h = whole.h,
         .dur = whole.dur,
         .mtype = whole.mtype},
        {.adomain = whole.adomain, .cid = whole.cid, .cattax = whole.cattax},
        {.cat = whole.cat},
    };
    BUG_ON(!arena_init(&arena, 65536, 65536));
    buf_init(&out, 65536);
    rest = (struct bid){.id = rest.id,
                        .impid = rest.impid,
                        .price_micros = rest.price_micros,
                        .adm = rest.adm,
                        .nurl = rest.nurl,
                        .burl = rest.burl,
                        .lurl = rest.lurl,
                        .dealid = rest.dealid,
                        .protocol = rest.protocol,
                        .slotinpod = rest.slotinpod,
                        .exp = rest.exp};
    for (unsigned i = 0; i < BID_MEMBERS_COUNT; i++) {
        buf_init(&parts[i], 4096);
        bidresp_json_members(&made[i], &parts[i]);
        rest.members[i] = buf_str(&parts[i]);
    }
    CHECK_STR(rest.members[2], ",\"cat\":[\"IAB1\"]");
    struct bid bids[2] = {whole, rest};
    struct bid_response response = response_of(bids, 2);
    bidresp_encode_json(&response, &out);
    const struct json_value *root = json_dom_parse(buf_str(&out), &arena, 16, NULL);
    CHECK(root != NULL);
    const struct json_value *list =
        json_dom_get(&json_dom_get(root, STR("seatbid"))->items[0], STR("bid"));
    CHECK_INT(list->items[0].count, list->items[1].count);
    CHECK(json_dom_duplicate(&list->items[1]) == NULL);
    check_text(&list->items[1], "crid", whole.crid);
    check_text(&list->items[1], "cid", whole.cid);
    check_number(&list->items[1], "dur", "15");
    for (unsigned i = 0; i < BID_MEMBERS_COUNT; i++) {
        buf_deinit(&parts[i]);
    }
    buf_deinit(&out);
    arena_deinit(&arena);
}

TEST(bidresp_json_no_bid)
{
    struct buf out;
    buf_init(&out, 4096);
    struct bid_response response = {.id = STR("r\"1"), .nbr = 9};
    bidresp_encode_json(&response, &out);
    CHECK_STR(buf_str(&out), "{\"id\":\"r\\\"1\",\"nbr\":9}");
    buf_deinit(&out);
}

/* Every byte value, alone and in pairs: the output is valid JSON whatever stands in a text. */
TEST(bidresp_json_is_valid_whatever_the_bytes)
{
    struct arena arena;
    struct buf out;
    BUG_ON(!arena_init(&arena, 65536, 65536));
    buf_init(&out, 65536);
    for (unsigned pair = 0; pair < 65536; pair += 7) {
        char bytes[2] = {(char)pair, (char)(pair >> 8)};
        struct bid_response response = {.id = {bytes, 2}, .nbr = -1};
        buf_reset(&out);
        arena_reset(&arena);
        bidresp_encode_json(&response, &out);
        if (!json_dom_parse(buf_str(&out), &arena, 4, NULL)) {
            TEST_FAIL("bytes %02x %02x", bytes[0] & 0xff, bytes[1] & 0xff);
        }
    }
    buf_deinit(&out);
    arena_deinit(&arena);
}

TEST(bidresp_pb_reads_back)
{
    struct buf out;
    buf_init(&out, 65536);
    struct bid bids[2] = {full_bid(), {.id = STR("b-2"), .impid = STR("2"), .price_micros = 1}};
    bids[0].adm = (struct bid_text){&adm, 1};
    struct bid_response response = response_of(bids, 2);
    bidresp_encode_pb(&response, &out);
    Openrtb__BidResponse *m =
        openrtb__bid_response__unpack(NULL, out.len, (const uint8_t *)out.data);
    CHECK(m != NULL);
    CHECK_STR(str_from(m->id), "r-1");
    CHECK_STR(str_from(m->cur), "CNY");
    CHECK(!m->has_nbr);
    CHECK_INT(m->n_seatbid, 1);
    CHECK_STR(str_from(m->seatbid[0]->seat), "seat");
    CHECK_INT(m->seatbid[0]->n_bid, 2);
    const Openrtb__BidResponse__Bid *bid = m->seatbid[0]->bid[0];
    CHECK(bid->price == 25.123456);
    CHECK(str_eq(str_from(bid->adm), adm));
    CHECK_STR(str_from(bid->nurl), "https://t.example/n?p=${AUCTION_PRICE}");
    CHECK_STR(str_from(bid->burl), "https://t.example/b");
    CHECK_STR(str_from(bid->lurl), "https://t.example/l");
    CHECK_STR(str_from(bid->adid), "ad");
    CHECK_STR(str_from(bid->cid), "c");
    CHECK_STR(str_from(bid->crid), "cr");
    CHECK_STR(str_from(bid->dealid), "PDB-1");
    CHECK_STR(str_from(bid->bundle), "com.example");
    CHECK_STR(str_from(bid->language), "zh");
    CHECK_INT(bid->n_adomain, 2);
    CHECK_STR(str_from(bid->cat[0]), "IAB1");
    CHECK_INT(bid->cattax, 1);
    CHECK_INT(bid->attr[1], 13);
    CHECK_INT(bid->apis[0], 7);
    CHECK_INT(bid->mtype, 2);
    CHECK_INT(bid->protocol, 7);
    CHECK_INT(bid->w, 640);
    CHECK_INT(bid->h, 360);
    CHECK_INT(bid->dur, 15);
    CHECK_INT(bid->slotinpod, -1);
    CHECK_INT(bid->exp, 300);
    CHECK(m->seatbid[0]->bid[1]->price == 1e-6);
    openrtb__bid_response__free_unpacked(m, NULL);
    buf_deinit(&out);
}

TEST(bidresp_pb_no_bid_and_limits)
{
    struct buf out;
    buf_init(&out, 4096);
    struct bid_response response = {.id = STR("r"), .nbr = 0};
    bidresp_encode_pb(&response, &out);
    Openrtb__BidResponse *m =
        openrtb__bid_response__unpack(NULL, out.len, (const uint8_t *)out.data);
    CHECK(m && m->has_nbr && m->nbr == 0);
    openrtb__bid_response__free_unpacked(m, NULL);
    buf_deinit(&out);
    struct bid bids[1] = {full_bid()};
    response = response_of(bids, 1);
    void (*const encoders[])(const struct bid_response *, struct buf *) = {bidresp_encode_pb,
                                                                           bidresp_encode_json};
    for (size_t i = 0; i < COUNT_OF(encoders); i++) {
        buf_init(&out, 4096);
        encoders[i](&response, &out);
        CHECK(!buf_failed(&out));
        size_t length = out.len;
        buf_deinit(&out);
        for (size_t limit = 1; limit < length; limit++) { /* too small: fails, never overruns */
            buf_init(&out, limit);
            encoders[i](&response, &out);
            CHECK(buf_failed(&out));
            buf_deinit(&out);
        }
    }
}
