/* The desk of a worker's auctions: the pool they come from, and what all of them work with. Owns
 * the pool and its own reference to the catalog. */
#include <stdlib.h>

#include "bidder/auction_internal.h"
#include "bidder/base/bug.h"
#include "bidder/base/clock.h"
#include "bidder/markup.h"

#define ARENA_BLOCK_BYTES   (16 * 1024)       /* a request of one impression takes 6 to 8 KB */
#define ARENA_LIMIT_BYTES   (8 * 1024 * 1024) /* 64 impressions of 1024 offers */
#define SCRATCH_LIMIT_BYTES (256 * 1024)
#define OUT_LIMIT_BYTES     (4 * 1024 * 1024)

struct auction_desk *auction_desk_create(const struct auction_options *options,
                                         const struct auction_desks *desks)
{
    struct auction_desk *desk = calloc(1, sizeof(*desk));
    if (!desk) {
        return NULL;
    }
    desk->options = *options;
    desk->desks = *desks;
    desk->options.secret = STR_NONE;
    crypto_key_init(&desk->person_secret, options->secret.ptr, options->secret.len);
    token_keys_derive(&desk->token_keys, options->secret);
    buf_init(&desk->scratch, SCRATCH_LIMIT_BYTES);
    buf_init(&desk->out, OUT_LIMIT_BYTES);
    /* A restart must not repeat auction ids (they are nonces of tokens): start from the clock in
     * steps of 16 us. A worker that makes fewer than 62,500 a second on average stays behind it,
     * and 2^40 steps come round after 203 days, when every token of before has expired. */
    desk->sequence = (uint64_t)(clock_wall_us() >> 4) & ((1ull << 40) - 1);
    desk->shading = calloc(CATALOG_MAX_LINES, sizeof(*desk->shading));
    desk->markup = markup_templates_create(options->public_url);
    desk->pool =
        desk->shading && desk->markup ? calloc(options->max_auctions, sizeof(*desk->pool)) : NULL;
    for (uint32_t i = 0; desk->pool && i < options->max_auctions; i++) {
        struct auction *auction = &desk->pool[i];
        auction->desk = desk;
        if (!arena_init(&auction->arena, ARENA_BLOCK_BYTES, ARENA_LIMIT_BYTES)) {
            auction_desk_destroy(&desk);
            return NULL;
        }
        auction->next_free = desk->free;
        desk->free = auction;
    }
    if (!desk->pool) {
        auction_desk_destroy(&desk);
    }
    return desk;
}

void auction_desk_destroy(struct auction_desk **desk)
{
    if (!*desk) {
        return;
    }
    explain_stop(*desk);
    for (uint32_t i = 0; (*desk)->pool && i < (*desk)->options.max_auctions; i++) {
        struct auction *auction = &(*desk)->pool[i];
        if (auction->read) {
            freq_read_finish(&auction->read);
        }
        if (auction->catalog) {
            catalog_release(&auction->catalog);
        }
        if (auction->arena.first) {
            arena_deinit(&auction->arena);
        }
    }
    free((*desk)->pool);
    free((*desk)->shading);
    if ((*desk)->catalog) {
        catalog_release(&(*desk)->catalog);
    }
    markup_templates_destroy(&(*desk)->markup);
    buf_deinit(&(*desk)->scratch);
    buf_deinit(&(*desk)->out);
    free(*desk);
    *desk = NULL;
}

void auction_desk_set_catalog(struct auction_desk *desk, struct catalog *catalog)
{
    struct catalog *old = desk->catalog;
    desk->catalog = catalog_retain(catalog);
    if (old) {
        catalog_release(&old);
    }
}

void auction_desk_set_model(struct auction_desk *desk, const struct predict_model *model)
{
    desk->model = model;
}

void auction_desk_learn_price(struct auction_desk *desk, uint32_t line_ref, bool won)
{
    const struct catalog *catalog = desk->catalog;
    for (uint32_t i = 0; catalog && i < catalog->shading_lines.count; i++) {
        const struct catalog_line *line = &catalog->lines[catalog->shading_lines.items[i]];
        if (line->ref == line_ref) {
            won ? shading_won(&desk->shading[line->slot])
                : shading_outbid(&desk->shading[line->slot]);
            return;
        }
    }
}

const struct token_keys *auction_desk_token_keys(const struct auction_desk *desk)
{
    return &desk->token_keys;
}

struct auction *auction_borrow(struct auction_desk *desk)
{
    struct auction *auction = desk->free;
    if (auction) {
        desk->free = auction->next_free;
        desk->running++;
        auction_note_running(desk);
        desk->sequence = (desk->sequence + 1) & ((1ull << 40) - 1);
        auction->id = (uint64_t)desk->options.owner << 40 | desk->sequence;
        auction->catalog = catalog_retain(desk->catalog);
        auction->reason = NO_BID_NONE;
        auction->test = false;
        auction->features_ready = false;
        auction->pushes_counted = false;
        auction->reservations_pending = 0;
        auction->request = (struct bid_request){0};
        auction->decisions = NULL;
        auction->view = NULL;
    }
    return auction;
}

bool auction_is_current(const struct auction *auction)
{
    return auction->catalog == auction->desk->catalog;
}

bool auction_renew_catalog(struct auction *auction)
{
    struct catalog *now = auction->desk->catalog;
    struct str id = auction->catalog->exchanges[auction->exchange].id;
    uint32_t exchange = str_table_get(&now->exchange_by_id, id);
    if (exchange == STR_TABLE_NONE) {
        return false;
    }
    catalog_release(&auction->catalog);
    auction->catalog = catalog_retain(now);
    auction->exchange = exchange;
    auction->features_ready = false;
    auction->reason = NO_BID_NONE;
    return true;
}

void auction_return(struct auction *auction)
{
    struct auction_desk *desk = auction->desk;
    if (auction->read) {
        freq_read_finish(&auction->read);
    }
    catalog_release(&auction->catalog);
    arena_reset(&auction->arena);
    auction->view = NULL;
    auction->decisions = NULL;
    auction->next_free = desk->free;
    desk->free = auction;
    desk->running--;
    auction_note_running(desk);
}

void auction_shed(struct auction_desk *desk, const struct auction_call *call,
                  enum no_bid_reason reason)
{
    const struct catalog_exchange *profile = &desk->catalog->exchanges[call->exchange];
    auction_note_shed(profile, reason);
    struct auction_answer shed = {.status = 204, .exchange = profile, .reason = reason};
    /* Without the request's id the form with nbr cannot be made in JSON, where the id is required.
     */
    bool empty = profile->no_bid == NO_BID_EMPTY_OBJECT ||
                 (profile->no_bid == NO_BID_NBR && call->format == WIRE_PROTOBUF);
    if (empty) {
        shed.status = 200;
        shed.content_type = auction_content_type(call->format);
        shed.body = call->format == WIRE_JSON ? STR("{}") : STR_NONE;
    }
    (void)call->answer(call->owner, call->handle, &shed);
}
