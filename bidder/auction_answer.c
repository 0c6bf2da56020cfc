/* From decisions to bytes: token, markup, urls, response. Owns nothing; what it makes lies in the
 * arena of the request, the answer in the desk's out. */
#include "bidder/auction_internal.h"

#include "bidder/bid_members.h"
#include "bidder/markup.h"
#include "proto/bidresp.h"

#define BID_ID_BYTES 32

/* The auction's id in 16 hex digits, then the bid's place unless it is negative: "-0". */
static struct str write_id(uint64_t auction, int64_t place, char out[BID_ID_BYTES])
{
    static const char hex[] = "0123456789abcdef";
    char digits[STR_I64_BYTES];
    struct str text = {.ptr = out, .len = 16};
    for (int i = 15; i >= 0; i--, auction >>= 4) {
        out[i] = hex[auction & 15];
    }
    if (place >= 0) {
        struct str number = str_of_i64(place, digits);
        out[text.len++] = '-';
        memcpy(out + text.len, number.ptr, number.len);
        text.len += number.len;
    }
    return text;
}

/* The VAST version inside, 0 for banner and native. Only must-fill meets an impression that lists
 * no version we make; it gets 3.0, as markup does. */
static int32_t protocol_of(const struct catalog_exchange *exchange, const struct bidreq_imp *imp,
                           const struct catalog_creative *creative)
{
    const struct bidreq_av *av = creative->type == CREATIVE_VIDEO   ? imp->video
                                 : creative->type == CREATIVE_AUDIO ? imp->audio
                                                                    : NULL;
    int32_t protocol = av ? markup_vast_protocol(&av->protocols, exchange->vast_3) : 0;
    return av && protocol == 0 ? 3 : protocol;
}

/* For the reports: was the person in the brand's target audience, and how often had it been seen?
 */
static unsigned audience_flags(const struct auction *auction, const struct catalog_line *line)
{
    const struct catalog *catalog = auction->catalog;
    const struct freq_view *view = auction->view;
    uint32_t audience = catalog->brands[line->brand].audience;
    unsigned flags = 0;
    if (audience != CATALOG_NONE &&
        audience_expr_matches(catalog, &catalog->audiences[audience].expr, view->segments,
                              view->segment_count)) {
        flags |= TOKEN_IN_TARGET;
    }
    if (view->outcome == FREQ_KNOWN) {
        uint32_t seen = freq_widest_count(&catalog->book, view, line->caps, auction->now_s);
        flags |= TOKEN_SEEN(seen);
    }
    return flags;
}

static uint16_t token_flags(const struct auction *auction, const struct decision *decision,
                            const struct catalog_creative *creative)
{
    unsigned flags = audience_flags(auction, &auction->catalog->lines[decision->line]);
    flags |= auction->test ? TOKEN_TEST : 0;
    flags |= decision->forced ? TOKEN_FORCED : 0;
    flags |= decision->uncapped ? TOKEN_UNCAPPED : 0;
    flags |= decision->offer->buying <= BUYING_PDB ? TOKEN_GUARANTEED : 0;
    flags |= decision->swapped ? TOKEN_SWAPPED : 0;
    flags |= creative->type == CREATIVE_VIDEO ? TOKEN_VIDEO : 0;
    return (uint16_t)flags;
}

static void write_token(const struct auction *auction, const struct decision *decision,
                        struct token_text *text)
{
    const struct catalog *catalog = auction->catalog;
    const struct catalog_line *line = &catalog->lines[decision->line];
    const struct catalog_creative *creative = &catalog->creatives[decision->creative];
    const struct offer *offer = decision->offer;
    struct notice_token token = {
        .auction = auction->id,
        .imp_hash = decision->imp_hash,
        .exchange_ref = catalog->exchanges[auction->exchange].ref,
        .line_ref = line->ref,
        .deal_ref = offer->deal == CATALOG_NONE ? 0 : catalog->deals[offer->deal].ref,
        .brand_ref = catalog->brands[line->brand].ref,
        .creative_ref = creative->ref,
        .bid_s = (uint32_t)auction->now_s,
        .expires_s = (uint32_t)(auction->now_s + auction->desk->options.notice_ttl_s),
        .price_micros = offer->price_micros,
        .cost_micros = decide_cost_micros(offer),
        .flight = decision->flight,
        .flags = token_flags(auction, decision, creative),
        .ticket = decision->ticket,
    };
    token_write(&auction->desk->token_keys, &token, text);
}

/* The texts of *bid. False when there was no memory for them. */
static bool make_texts(struct auction *auction, const struct decision *decision, struct bid *bid)
{
    struct auction_desk *desk = auction->desk;
    const struct catalog *catalog = auction->catalog;
    const struct catalog_line *line = &catalog->lines[decision->line];
    const struct catalog_creative *creative = &catalog->creatives[decision->creative];
    struct token_text *token = arena_alloc(&auction->arena, sizeof(*token));
    if (!token) {
        return false;
    }
    write_token(auction, decision, token);
    struct markup_input input = {
        .templates = desk->markup,
        .form = auction->format == WIRE_JSON ? MARKUP_JSON : MARKUP_PLAIN,
        .creative = creative,
        .imp = decision->imp,
        .bid_id = bid->id,
        .advertiser_domain = catalog->advertisers[line->advertiser].domain,
        .exchange_token = {token->text[TOKEN_EXCHANGE], token->len[TOKEN_EXCHANGE]},
        .client_token = {token->text[TOKEN_CLIENT], token->len[TOKEN_CLIENT]},
        .vast_3 = catalog->exchanges[auction->exchange].vast_3,
        .arena = &auction->arena,
        .scratch = &desk->scratch,
    };
    struct markup_texts texts;
    if (!markup_make(&input, &texts)) {
        return false;
    }
    bid->adm = texts.adm;
    bid->nurl = texts.nurl;
    bid->lurl = texts.lurl;
    if (creative->type != CREATIVE_VIDEO) { /* for video the VAST impression bills */
        bid->burl = texts.burl;
    }
    return true;
}

/* How long the exchange may wait before it shows: the impression's notice takes its way too, and
 * must find the reservation standing. A sixth of it, at most 10 s, is left for that. */
static int32_t show_within_s(int64_t reserve_s)
{
    int64_t spare_s = (reserve_s + 5) / 6;
    int32_t within_s = (int32_t)(reserve_s - (spare_s < 10 ? spare_s : 10));
    return within_s > 0 ? within_s : 1;
}

/* All but the texts. */
static void make_bid(const struct auction *auction, const struct decision *decision,
                     struct str bid_id, struct bid *bid)
{
    const struct catalog *catalog = auction->catalog;
    const struct catalog_exchange *exchange = &catalog->exchanges[auction->exchange];
    const struct bidreq_imp *imp = decision->imp;
    *bid = (struct bid){
        .id = bid_id,
        .impid = imp->id,
        .price_micros = select_wire_price(exchange, decision->offer->price_micros),
        .dealid = decision->offer->wire_deal ? decision->offer->wire_deal->id : STR_NONE,
        .protocol = protocol_of(exchange, imp, &catalog->creatives[decision->creative]),
        .slotinpod = imp->video   ? imp->video->slotinpod
                     : imp->audio ? imp->audio->slotinpod
                                  : 0,
        .exp = show_within_s(auction->desk->options.reserve_s),
    };
    bid_members_fill(catalog, decision->line, decision->creative, auction->format, bid);
}

/* One response has one currency: the first bid's. The rare bid in another one is left out. */
static uint32_t drop_other_currencies(struct auction *auction, struct str *currency)
{
    uint32_t count = 0;
    *currency = STR_NONE;
    for (uint32_t i = 0; i < auction->request.imp.count; i++) {
        struct decision *decision = &auction->decisions[i];
        if (decision->line == CATALOG_NONE) {
            continue;
        }
        if (!currency->len) {
            *currency = decision->offer->currency;
        } else if (!str_eq(*currency, decision->offer->currency)) {
            auction_give_back(auction, decision);
            auction_note_line(auction, decision->offer->line, NO_BID_CURRENCY);
            continue;
        }
        count++;
    }
    return count;
}

uint32_t auction_encode_bids(struct auction *auction)
{
    struct auction_desk *desk = auction->desk;
    struct str currency;
    uint32_t count = drop_other_currencies(auction, &currency);
    struct bid *bids = arena_alloc(&auction->arena, count * sizeof(*bids));
    char *ids = arena_alloc(&auction->arena, (count + 1) * BID_ID_BYTES);
    if (!bids || !ids) {
        return 0;
    }
    struct str bidid = write_id(auction->id, -1, ids + (size_t)count * BID_ID_BYTES);
    uint32_t n = 0;
    for (uint32_t i = 0; i < auction->request.imp.count; i++) {
        const struct decision *decision = &auction->decisions[i];
        if (decision->line == CATALOG_NONE) {
            continue;
        }
        struct str id = write_id(auction->id, i, ids + (size_t)n * BID_ID_BYTES);
        make_bid(auction, decision, id, &bids[n]);
        if (!make_texts(auction, decision, &bids[n++])) {
            return 0;
        }
    }
    buf_reset(&desk->out);
    struct bid_response response = {
        .id = auction->request.id,
        .bidid = bidid,
        .cur = currency,
        .seat = auction->catalog->exchanges[auction->exchange].seat,
        .bids = {.items = bids, .count = count},
        .nbr = -1,
    };
    if (auction->format == WIRE_JSON) {
        bidresp_encode_json(&response, &desk->out);
    } else {
        bidresp_encode_pb(&response, &desk->out);
    }
    return count;
}

int auction_encode_no_bid(struct auction *auction, enum no_bid_reason reason)
{
    const struct catalog_exchange *exchange = &auction->catalog->exchanges[auction->exchange];
    struct buf *out = &auction->desk->out;
    buf_reset(out);
    switch (exchange->no_bid) {
    case NO_BID_204:
        return 204;
    case NO_BID_EMPTY_OBJECT:
        if (auction->format == WIRE_JSON) {
            BUF_PUT_LITERAL(out, "{}");
        }
        return 200; /* an empty body is a parsable, empty protobuf BidResponse */
    case NO_BID_NBR:
        break;
    }
    struct bid_response response = {.id = auction->request.id, .nbr = no_bid_reason_nbr(reason)};
    if (auction->format == WIRE_JSON) {
        bidresp_encode_json(&response, out);
    } else {
        bidresp_encode_pb(&response, out);
    }
    return 200;
}
