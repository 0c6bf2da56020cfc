/* Why each line item does or does not bid on a request: the checks of an auction, one line at a
 * time, with the values compared. Borrows an auction from the pool; takes nothing for good.
 *
 *   auction_explain > read the person > step, step, ... > explain_finish
 *
 * A step is a bounded time of one turn of the loop, so that the auctions of the worker go on. */
#include "bidder/auction_internal.h"

#include "bidder/base/bug.h"
#include "bidder/base/clock.h"
#include "bidder/base/loop.h"
#include "bidder/catalog_values.h"
#include "bidder/target.h"

/* Lies in the arena of its auction. */
struct explain {
    struct auction *auction;
    explain_fn *done;
    void *owner;
    struct freq_view *blind; /* of somebody about whom nothing could be read */
    struct loop_timer timer;
    uint32_t imp, line;   /* the next to be looked at */
    struct arena scratch; /* of one line */
    struct buf out;
    struct buf detail;
};

#define EXPLAIN_LIMIT_BYTES   (8 * 1024 * 1024)
#define EXPLAIN_STEP_US       1000
#define EXPLAIN_SCRATCH_BYTES (16 * 1024)
#define EXPLAIN_SCRATCH_LIMIT (1024 * 1024)

/* A request may hold what a terminal takes for an order. */
static void clean(struct buf *text, size_t from)
{
    value_make_printable(text->data + from, text->len - from);
}

static void put_line(struct explain *explain, struct str line, const char *verdict,
                     const char *reason)
{
    size_t from = explain->out.len;
    buf_printf(&explain->out, "  %-28.*s %-6s %s", STR_ARG(line), verdict, reason);
    if (explain->detail.len) {
        BUF_PUT_LITERAL(&explain->out, ": ");
        buf_put_str(&explain->out, buf_str(&explain->detail));
    }
    clean(&explain->out, from);
    buf_put_char(&explain->out, '\n');
    buf_reset(&explain->detail);
}

static void put_offer(struct explain *explain, const struct offer *offer, uint32_t creative,
                      bool uncapped)
{
    const struct catalog *catalog = explain->auction->catalog;
    buf_put_micros(&explain->detail, offer->price_micros);
    buf_printf(&explain->detail, " %.*s CPM", STR_ARG(offer->currency));
    BUF_PUT_LITERAL(&explain->detail, " (floor ");
    buf_put_micros(&explain->detail, offer->floor_micros);
    BUF_PUT_LITERAL(&explain->detail, ")");
    if (offer->deal != CATALOG_NONE) {
        buf_printf(&explain->detail, ", deal %.*s", STR_ARG(catalog->deals[offer->deal].id));
    }
    buf_printf(&explain->detail, ", creative %.*s%s", STR_ARG(catalog->creatives[creative].id),
               uncapped ? ", without counts" : "");
}

/* Room in every budget? Commits and gives back at once. */
static enum no_bid_reason explain_budget(const struct decide_context *context,
                                         const struct catalog_line *line, const struct offer *offer)
{
    if (!line->budgets.count || !context->ledger) {
        return NO_BID_NONE;
    }
    uint32_t flight;
    enum budget_answer answer =
        budget_commit(context->ledger, line->budgets.items, line->budgets.count,
                      decide_cost_micros(offer), context->now_us, &flight);
    if (answer == BUDGET_OK) {
        (void)budget_release(context->ledger, flight, context->now_us);
        return NO_BID_NONE;
    }
    return answer == BUDGET_SPENT      ? NO_BID_BUDGET_SPENT
           : answer == BUDGET_NO_LEASE ? NO_BID_BUDGET_NO_LEASE
                                       : NO_BID_BUDGET_BUSY;
}

static void explain_line(struct explain *explain, const struct decide_context *context,
                         const struct bidreq_imp *imp, uint32_t index)
{
    struct auction *auction = explain->auction;
    const struct catalog *catalog = auction->catalog;
    const struct catalog_line *line = &catalog->lines[index];
    enum target_miss target = target_explain(catalog, auction->exchange, &auction->request, imp,
                                             index, auction->now_s, &explain->detail);
    if (target != TARGET_OK) {
        put_line(explain, line->id, "no", target_miss_name(target));
        return;
    }
    struct offer offer;
    struct select_imp on;
    enum no_bid_reason reason = NO_BID_NO_MEMORY;
    if (select_imp_prepare(&on, catalog, auction->exchange, &auction->request, imp,
                           &explain->scratch)) {
        reason = auction_reason_of_select(select_offer(
            &on, index, auction_line_price(auction, imp, line), &offer, &explain->detail));
    }
    uint32_t creative = CATALOG_NONE;
    bool uncapped = false;
    if (!reason) {
        buf_reset(&explain->detail);
        reason = decide_person(context, line, &uncapped, &explain->detail);
    }
    if (!reason) {
        reason = decide_creative(context, &offer, &creative, &uncapped);
    }
    if (!reason) {
        reason = explain_budget(context, line, &offer);
    }
    if (!reason && line->buying > BUYING_PDB && !auction_participates(auction, line)) {
        reason = NO_BID_THROTTLED;
    }
    if (reason) {
        if (!explain->detail.len) {
            buf_put_str(&explain->detail, str_from(no_bid_reason_text(reason)));
        }
        put_line(explain, line->id, "no", no_bid_reason_name(reason));
        return;
    }
    buf_reset(&explain->detail);
    put_offer(explain, &offer, creative, uncapped);
    put_line(explain, line->id, "would", buying_mode_name(offer.buying));
}

static void put_person(struct explain *explain)
{
    struct auction *auction = explain->auction;
    const struct freq_view *view = auction->view;
    uint32_t exposures = 0;
    for (uint32_t i = 0; i < view->record_count; i++) {
        if (view->records[i].exposure_count > exposures) {
            exposures = view->records[i].exposure_count;
        }
    }
    buf_printf(&explain->out, "person: %s, %u id(s) in the request, counts %s",
               person_absence_name(auction->person.absence), auction->person.key_count,
               freq_outcome_name(view->outcome));
    if (view->outcome == FREQ_KNOWN) {
        buf_printf(&explain->out, ", %u exposure(s) kept, %u segment(s)", exposures,
                   view->segment_count);
    }
    BUF_PUT_LITERAL(&explain->out, "\n");
}

static void put_imp(struct explain *explain, const struct bidreq_imp *imp)
{
    const struct auction *auction = explain->auction;
    const struct catalog_exchange *profile = &auction->catalog->exchanges[auction->exchange];
    size_t from = explain->out.len;
    buf_printf(&explain->out, "impression %.*s:%s%s%s%s", STR_ARG(imp->id),
               imp->banner ? " banner" : "", imp->video ? " video" : "", imp->audio ? " audio" : "",
               imp->native ? " native" : "");
    BUF_PUT_LITERAL(&explain->out, ", floor ");
    buf_put_micros(&explain->out, select_real_price(profile, imp->bidfloor_micros));
    buf_printf(&explain->out, " %.*s", STR_ARG(imp->bidfloorcur));
    for (uint32_t d = 0; d < imp->deals.count; d++) {
        buf_printf(&explain->out, "%s%.*s", d ? ", " : ", deals ", STR_ARG(imp->deals.items[d].id));
    }
    buf_put_str(&explain->out, imp->private_auction ? STR(" (private auction)") : STR_NONE);
    clean(&explain->out, from);
    buf_put_char(&explain->out, '\n');
}

static void explain_finish(struct explain *explain, struct str text)
{
    struct auction *auction = explain->auction;
    auction->desk->explaining = NULL;
    loop_timer_stop(&explain->timer);
    explain->done(explain->owner, text);
    arena_deinit(&explain->scratch);
    buf_deinit(&explain->out);
    buf_deinit(&explain->detail);
    auction_return(auction); /* the arena, and with it explain, goes here */
}

void explain_stop(struct auction_desk *desk)
{
    if (desk->explaining) {
        explain_finish(desk->explaining, STR("the worker ends: ask again\n"));
    }
}

static void explain_cut(struct explain *explain)
{
    static const char cut[] = "\n... cut: the explanation is too long\n";
    size_t room = explain->out.len < sizeof(cut) ? 0 : explain->out.len - sizeof(cut);
    memcpy(explain->out.data + room, cut, sizeof(cut) - 1);
    explain_finish(explain, buf_str(&explain->out));
}

static void explain_next(struct explain *explain, const struct decide_context *context)
{
    struct auction *auction = explain->auction;
    const struct bidreq_imp *imp = &auction->request.imp.items[explain->imp];
    if (explain->line == 0) {
        put_imp(explain, imp);
    }
    if (explain->line < auction->catalog->line_count) {
        explain_line(explain, context, imp, explain->line++);
        arena_reset(&explain->scratch);
    } else {
        explain->line = 0;
        explain->imp++;
    }
}

static void on_step(void *owner)
{
    struct explain *explain = owner;
    struct auction *auction = explain->auction;
    int64_t end_us = clock_mono_us() + EXPLAIN_STEP_US;
    if (!auction_is_current(auction)) {
        explain_finish(explain, STR("the catalog was changed meanwhile: ask again\n"));
        return;
    }
    struct decide_context context = auction_decide_context(auction);
    context.note = NULL;
    while (explain->imp < auction->request.imp.count && !buf_failed(&explain->out) &&
           clock_mono_us() < end_us) {
        explain_next(explain, &context);
    }
    if (buf_failed(&explain->out)) {
        explain_cut(explain);
    } else if (explain->imp == auction->request.imp.count) {
        explain_finish(explain, buf_str(&explain->out));
    } else {
        loop_timer_start(&explain->timer, 0);
    }
}

/* What is known of the person has come. */
static void explain_begin(struct explain *explain)
{
    struct auction *auction = explain->auction;
    const struct catalog *catalog = auction->catalog;
    buf_printf(&explain->out, "request %.*s on %.*s, catalog generation %llu, %u impression(s)",
               STR_ARG(auction->request.id), STR_ARG(catalog->exchanges[auction->exchange].id),
               (unsigned long long)catalog->generation, auction->request.imp.count);
    clean(&explain->out, 0);
    buf_put_char(&explain->out, '\n');
    put_person(explain);
    on_step(explain);
}

static void on_read(void *owner, struct freq_read *read, const struct freq_view *view)
{
    (void)read;
    struct explain *explain = owner;
    explain->auction->view = view;
    if (!auction_is_current(explain->auction) && !auction_renew_catalog(explain->auction)) {
        explain_finish(explain, STR("the exchange has left the catalog meanwhile\n"));
        return;
    }
    explain_begin(explain);
}

static uint32_t find_exchange(const struct catalog *catalog, struct str id)
{
    uint32_t exchange = str_table_get(&catalog->exchange_by_id, id);
    return exchange == STR_TABLE_NONE ? CATALOG_NONE : exchange;
}

/* Everything that takes memory, and the request. NULL with what is wrong in error. */
static struct explain *explain_open(struct auction *auction, struct str body, struct buf *error)
{
    auction->body = arena_strdup(&auction->arena, body);
    struct explain *explain = arena_calloc(&auction->arena, 1, sizeof(*explain));
    struct freq_view *blind = arena_calloc(&auction->arena, 1, sizeof(*blind));
    bool memory = auction->body.ptr && explain && blind &&
                  arena_init(&explain->scratch, EXPLAIN_SCRATCH_BYTES, EXPLAIN_SCRATCH_LIMIT);
    enum bidreq_reject reject =
        memory ? openrtb_json_decode(auction->body, &auction->arena, &auction->request)
               : BIDREQ_NO_MEMORY;
    if (reject != BIDREQ_OK) {
        buf_printf(error, "not a bid request: %s", bidreq_reject_name(reject));
        if (memory) {
            arena_deinit(&explain->scratch);
        }
        return NULL;
    }
    explain->blind = blind;
    explain->auction = auction;
    buf_init(&explain->out, EXPLAIN_LIMIT_BYTES);
    buf_init(&explain->detail, 4096);
    loop_timer_init(&explain->timer, auction->desk->desks.loop, on_step, explain);
    return explain;
}

static void read_person(struct explain *explain)
{
    struct auction *auction = explain->auction;
    const struct auction_desk *desk = auction->desk;
    const struct catalog_exchange *profile = &auction->catalog->exchanges[auction->exchange];
    person_identify(&desk->person_secret, profile->ids, profile->id_count, profile->household_ids,
                    profile->household_id_count, &auction->request, &auction->person);
    bool known = auction->person.key_count || auction->person.has_household;
    if (known) {
        auction->read = freq_read_start(desk->desks.store, &auction->person, auction->now_s,
                                        auction->deadline_us, on_read, explain);
        if (auction->read) {
            return;
        }
    }
    explain->blind->outcome = known ? FREQ_UNAVAILABLE : FREQ_NO_PERSON;
    explain->blind->absence = auction->person.absence;
    auction->view = explain->blind;
    explain_begin(explain);
}

enum status auction_explain(struct auction_desk *desk, struct str exchange_id, struct str body,
                            explain_fn *done, void *owner, struct buf *error)
{
    uint32_t exchange = find_exchange(desk->catalog, exchange_id);
    if (exchange == CATALOG_NONE) {
        buf_printf(error, "the catalog has no exchange \"%.*s\"", STR_ARG(exchange_id));
        return STATUS_INVALID;
    }
    struct auction *auction = desk->explaining ? NULL : auction_borrow(desk);
    if (!auction) {
        buf_printf(error, "%s; try again",
                   desk->explaining ? "the worker is busy with another explanation"
                                    : "too many auctions are running");
        return STATUS_LIMIT;
    }
    auction->exchange = exchange;
    auction->format = WIRE_JSON;
    auction->now_us = clock_mono_us();
    auction->now_s = clock_wall_us() / 1000000;
    auction->deadline_us = auction->now_us + 1000000;
    struct explain *explain = explain_open(auction, body, error);
    if (!explain) {
        auction_return(auction);
        return STATUS_INVALID;
    }
    explain->done = done;
    explain->owner = owner;
    desk->explaining = explain;
    auction->request_hash = hash_text(auction->request.id);
    read_person(explain);
    return STATUS_OK;
}
