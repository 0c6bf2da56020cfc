/* The walk of one bid request, from top to bottom. An auction owns its arena, its catalog
 * reference, its read, and until the answer is out its reservations and commitments.
 *
 *   auction_start > run > auction_select > read_person > on_read > decide > conclude > finish
 *
 *   on_read            asks a DMP when a swap hinges on it: ask_dmp > on_dmp_answer > decide
 *   decide             reserves for capped lines: start_reservation > on_reserved > conclude
 *   after each wait    catch_up: a catalog loaded meanwhile is selected by again
 *
 * auction_select is in auction_select.c, the answer in auction_answer.c, what is written down about
 * it in auction_note.c. */
#include "bidder/auction_internal.h"

#include "bidder/base/bug.h"
#include "bidder/base/clock.h"
#include "bidder/base/hash.h"
#include "bidder/brand_desk.h"
#include "bidder/dmp.h"

static void run(struct auction *auction);
static void read_person(struct auction *auction);
static void decide(struct auction *auction);
static bool ask_dmp(struct auction *auction);
static bool start_reservation(struct auction *auction, uint32_t index);
static void on_reserved(void *owner, enum freq_reserve_result result,
                        const struct freq_verdict *verdict);
static void conclude(struct auction *auction);
static void finish_no_bid(struct auction *auction, enum no_bid_reason reason);
static void finish_bids(struct auction *auction);
static void finish_rejected(struct auction *auction, enum bidreq_reject reject);

/* --- start ----------------------------------------------------------------------------------- */

void auction_start(struct auction_desk *desk, const struct auction_call *call)
{
    BUG_ON(call->exchange >= desk->catalog->exchange_count);
    struct auction *auction = auction_borrow(desk);
    if (!auction) {
        auction_shed(desk, call, NO_BID_OVERLOADED);
        return;
    }
    auction->exchange = call->exchange;
    auction->format = call->format;
    auction->answer = call->answer;
    auction->answer_owner = call->owner;
    auction->handle = call->handle;
    auction->received_us = call->received_us;
    auction->now_us = call->received_us;
    auction->stage_ns = call->received_us * 1000;
    auction->deadline_us = INT64_MAX;
    auction->now_s = clock_wall_s();
    auction->body = call->lent ? arena_strdup(&auction->arena, call->body) : call->body;
    if (call->body.len && !auction->body.ptr) {
        finish_no_bid(auction, NO_BID_NO_MEMORY);
        return;
    }
    run(auction);
}

static enum bidreq_reject decode(struct auction *auction)
{
    return auction->format == WIRE_JSON
               ? openrtb_json_decode(auction->body, &auction->arena, &auction->request)
               : openrtb_pb_decode(auction->body, &auction->arena, &auction->request);
}

static void set_deadline(struct auction *auction, const struct catalog_exchange *exchange)
{
    int64_t tmax_us =
        exchange->tmax_us ? exchange->tmax_us : auction->desk->options.default_tmax_us;
    if (auction->request.tmax_ms > 0 && (int64_t)auction->request.tmax_ms * 1000 < tmax_us) {
        tmax_us = (int64_t)auction->request.tmax_ms * 1000;
    }
    auction->deadline_us = auction->received_us + tmax_us - exchange->margin_us;
}

/* False: there is nothing to decide, and the auction has ended. */
static bool select_or_finish(struct auction *auction)
{
    bool anything = false;
    bool fits = auction_select(auction, &anything);
    auction_note_stage(auction, STAGE_SELECT);
    if (!fits || !anything) {
        finish_no_bid(auction, fits ? auction->reason : NO_BID_NO_MEMORY);
    }
    return fits && anything;
}

/* After a wait: a catalog that was loaded meanwhile is the one to decide by. False as above. */
static bool catch_up(struct auction *auction)
{
    if (auction_is_current(auction)) {
        return true;
    }
    if (!auction_renew_catalog(auction)) {
        finish_no_bid(auction, NO_BID_NO_MATCH);
        return false;
    }
    return select_or_finish(auction);
}

static void run(struct auction *auction)
{
    const struct catalog_exchange *exchange = &auction->catalog->exchanges[auction->exchange];
    enum bidreq_reject reject = decode(auction);
    auction_note_stage(auction, STAGE_DECODE);
    if (reject != BIDREQ_OK) {
        finish_rejected(auction, reject);
        return;
    }
    struct bid_request *request = &auction->request;
    auction->test = request->test == 1;
    auction->request_hash = hash_text(request->id);
    set_deadline(auction, exchange);
    if (auction->now_us + 3 * auction->desk->options.encode_us > auction->deadline_us) {
        finish_no_bid(auction, NO_BID_NO_TIME);
        return;
    }
    person_identify(&auction->desk->person_secret, exchange->ids, exchange->id_count,
                    exchange->household_ids, exchange->household_id_count, request,
                    &auction->person);
    if (select_or_finish(auction)) {
        read_person(auction);
    }
}

/* --- read the person ------------------------------------------------------------------------- */

/* A view of somebody about whom nothing could be read. */
static void decide_blind(struct auction *auction, enum freq_outcome outcome)
{
    struct freq_view *view = arena_calloc(&auction->arena, 1, sizeof(*view));
    if (!view) {
        finish_no_bid(auction, NO_BID_NO_MEMORY);
        return;
    }
    view->outcome = outcome;
    view->absence = auction->person.absence;
    auction->view = view;
    decide(auction);
}

static void on_read(void *owner, struct freq_read *read, const struct freq_view *view)
{
    struct auction *auction = owner;
    BUG_ON(read != auction->read);
    auction->view = view;
    auction_note_stage(auction, STAGE_READ);
    if (catch_up(auction) && !ask_dmp(auction)) {
        decide(auction);
    }
}

static void read_person(struct auction *auction)
{
    if (!auction->person.key_count && !auction->person.has_household) {
        decide_blind(auction, FREQ_NO_PERSON);
        return;
    }
    auction->read = freq_read_start(auction->desk->desks.store, &auction->person, auction->now_s,
                                    auction->deadline_us - 2 * auction->desk->options.encode_us,
                                    on_read, auction);
    if (!auction->read) {
        decide_blind(auction, FREQ_UNAVAILABLE);
    }
}

/* --- ask a DMP ------------------------------------------------------------------------------- */

/* A question on its way. Arena. */
struct dmp_question {
    struct auction *auction;
    struct swap_question question;
};

static void on_dmp_answer(void *owner, enum dmp_result result, uint32_t in)
{
    struct dmp_question *asked = owner;
    struct auction *auction = asked->auction;
    const struct catalog *catalog = auction->catalog;
    struct freq_view *view =
        result == DMP_ANSWERED ? arena_alloc(&auction->arena, sizeof(*view)) : NULL;
    if (view) { /* no answer in time: unknown, and so no swap */
        *view = *auction->view;
        for (uint32_t i = 0; i < 2 && view->answer_count < FREQ_MAX_ANSWERS; i++) {
            uint32_t audience = asked->question.audiences[i];
            view->answers[view->answer_count++] = (struct freq_answer){
                .dmp_ref = cap_ref32(catalog->dmps[asked->question.dmp].id),
                .audience_ref = cap_ref32(catalog->audiences[audience].id),
                .in = in >> i & 1,
            };
        }
        auction->view = view;
    }
    auction->now_us = clock_mono_us();
    if (catch_up(auction)) {
        decide(auction);
    }
}

/* Starts a query when a swap hinges on it. True: decide comes later. */
static bool ask_dmp(struct auction *auction)
{
    struct auction_desks *desks = &auction->desk->desks;
    struct dmp_question *asked = NULL;
    if (!desks->dmps || !desks->swaps || auction->view->outcome != FREQ_KNOWN ||
        !auction->person.key_count) {
        return false;
    }
    for (uint32_t i = 0; i < auction->request.imp.count; i++) {
        const struct decision *decision = &auction->decisions[i];
        for (uint32_t p = 0; p < decision->push_count; p++) {
            struct swap_question question;
            if (!swap_desk_question(desks->swaps, auction->catalog, decision->pushes[p].deal,
                                    auction->view, auction->now_s, &question)) {
                continue;
            }
            asked = arena_alloc(&auction->arena, sizeof(*asked));
            if (!asked) {
                return false;
            }
            *asked = (struct dmp_question){auction, question};
            int64_t own_us = auction->now_us + auction->catalog->dmps[question.dmp].deadline_us;
            int64_t last_us = auction->deadline_us - 3 * auction->desk->options.encode_us;
            return dmp_ask(desks->dmps, auction->catalog, question.dmp, &auction->person.keys[0],
                           question.audiences, 2, own_us < last_us ? own_us : last_us,
                           on_dmp_answer, asked);
        }
    }
    return false;
}

/* --- decide ---------------------------------------------------------------------------------- */

/* The owner of one reservation callback: which impression of which auction. Arena. */
struct reservation {
    struct auction *auction;
    uint32_t index;
};

struct decide_context auction_decide_context(struct auction *auction)
{
    struct auction_desk *desk = auction->desk;
    return (struct decide_context){
        .catalog = auction->catalog,
        .exchange = auction->exchange,
        .request = &auction->request,
        .view = auction->view,
        .ledger = desk->desks.ledger,
        .quota = desk->desks.quota,
        .brands = desk->desks.brands,
        .swaps = desk->desks.swaps,
        .arena = &auction->arena,
        .request_hash = auction->request_hash,
        .now_s = auction->now_s,
        .now_us = auction->now_us,
        .test = auction->test,
        .note = auction_note_line,
        .note_owner = auction,
    };
}

/* The chosen line's exposure, as it is stored for the person. */
static struct exposure_refs refs_of(const struct auction *auction, const struct decision *decision)
{
    const struct catalog_line *line = &auction->catalog->lines[decision->line];
    return (struct exposure_refs){
        .line = line->ref,
        .brand = auction->catalog->brands[line->brand].ref,
        .creative = auction->catalog->creatives[decision->creative].ref,
    };
}

/* Nothing to check in time, but the impression notice must find whom to count it for. */
static void fill_ticket(struct auction *auction, struct decision *decision)
{
    decision->ticket.key_count = 0;
    if (!auction->test && auction->view->outcome != FREQ_NO_PERSON) {
        freq_ticket_fill(auction->desk->desks.store, auction->read, refs_of(auction, decision),
                         auction->now_s, &decision->ticket);
    }
    /* What must be shown asks nobody, but the next bid for this person has to count it. The others
     * are only announced: what may be confirmed has to be there. */
    decision->held = decision->ticket.key_count && auction->view->outcome == FREQ_KNOWN;
    if (decision->held) {
        freq_hold(auction->desk->desks.store, auction->read, &decision->ticket,
                  decision->forced ? (uint16_t)auction->desk->options.reserve_s : FREQ_ANNOUNCED);
    }
}

/* The next impressions of this request must see what the earlier ones are about to show. */
static void view_add_pending(struct auction *auction, const struct decision *decision)
{
    struct freq_view *view = arena_alloc(&auction->arena, sizeof(*view));
    if (!view) {
        return; /* the reservation still holds the cap */
    }
    *view = *auction->view;
    struct freq_exposure added = {
        .refs = refs_of(auction, decision),
        .time_s = (uint32_t)auction->now_s,
        .hold_s = (uint16_t)auction->desk->options.reserve_s,
    };
    for (uint32_t r = 0; r < view->record_count; r++) {
        struct freq_record *record = &view->records[r];
        struct freq_exposure *grown =
            arena_alloc(&auction->arena, (record->exposure_count + 1) * sizeof(*record->exposures));
        if (!grown) {
            return;
        }
        if (record->exposure_count) {
            memcpy(grown, record->exposures, record->exposure_count * sizeof(*grown));
        }
        grown[record->exposure_count] = added;
        record->exposures = grown;
        record->exposure_count++;
    }
    auction->view = view;
}

static void decide(struct auction *auction)
{
    uint32_t count = auction->request.imp.count;
    for (uint32_t i = 0; i < count; i++) {
        struct decide_context context = auction_decide_context(auction);
        decide_impression(&context, &auction->decisions[i]);
        if (i + 1 < count && auction->decisions[i].line != CATALOG_NONE &&
            auction->view->outcome == FREQ_KNOWN) {
            view_add_pending(auction, &auction->decisions[i]);
        }
    }
    auction_note_stage(auction, STAGE_DECIDE);
    auction->reservations_pending = 1; /* held by this function until all are started */
    for (uint32_t i = 0; i < count; i++) {
        struct decision *decision = &auction->decisions[i];
        if (decision->line == CATALOG_NONE) {
            continue;
        }
        if (!decision->reserve) {
            fill_ticket(auction, decision);
            continue;
        }
        auction->reservations_pending++;
        if (!start_reservation(auction, i)) {
            decision->ticket.key_count = 0;
            struct reservation failed = {auction, i};
            on_reserved(&failed, FREQ_RESERVE_FAILED, NULL);
        }
    }
    if (--auction->reservations_pending == 0) {
        conclude(auction);
    }
}

/* --- reserve --------------------------------------------------------------------------------- */

static void on_reserved(void *owner, enum freq_reserve_result result,
                        const struct freq_verdict *verdict)
{
    (void)verdict;
    struct reservation *reservation = owner;
    struct auction *auction = reservation->auction;
    struct decision *decision = &auction->decisions[reservation->index];
    if (result != FREQ_RESERVED && !auction_is_current(auction)) {
        decision->ticket.key_count = 0; /* nothing was reserved */
        decision->reason = NO_BID_LOST_RACE;
        auction_give_back(auction, decision);
    } else if (result != FREQ_RESERVED) {
        auction->now_us = clock_mono_us();
        struct decide_context context = auction_decide_context(auction);
        decide_after_lost_race(&context, decision,
                               result == FREQ_LOST_RACE ? NO_BID_LOST_RACE : NO_BID_RESERVE_FAILED);
        if (decision->line != CATALOG_NONE) {
            fill_ticket(auction, decision);
        }
    }
    BUG_ON(auction->reservations_pending == 0);
    if (--auction->reservations_pending == 0) {
        auction_note_stage(auction, STAGE_RESERVE);
        conclude(auction);
    }
}

static bool start_reservation(struct auction *auction, uint32_t index)
{
    struct auction_desk *desk = auction->desk;
    struct decision *decision = &auction->decisions[index];
    const struct catalog_line *line = &auction->catalog->lines[decision->line];
    const struct catalog_creative *creative = &auction->catalog->creatives[decision->creative];
    struct cap_list creative_caps = {creative->caps.items, creative->caps.count};
    struct reservation *reservation = arena_alloc(&auction->arena, sizeof(*reservation));
    if (!reservation) {
        return false;
    }
    *reservation = (struct reservation){auction, index};
    return freq_reserve(desk->desks.store, auction->read, &auction->catalog->book, line->caps,
                        creative_caps, refs_of(auction, decision),
                        (uint16_t)desk->options.reserve_s, line->new_reach_only, auction->now_s,
                        auction->deadline_us - desk->options.encode_us, &decision->ticket,
                        on_reserved, reservation) == STATUS_OK;
}

/* --- the end --------------------------------------------------------------------------------- */

static void conclude(struct auction *auction)
{
    bool any = false;
    for (uint32_t i = 0; i < auction->request.imp.count; i++) {
        const struct decision *decision = &auction->decisions[i];
        any |= decision->line != CATALOG_NONE;
        if (decision->reason > auction->reason) {
            auction->reason = decision->reason;
        }
        auction_note_pushes(auction, decision);
    }
    if (any) {
        finish_bids(auction);
    } else {
        finish_no_bid(auction, auction->reason);
    }
}

/* What was taken for a decision whose bid will not be seen. */
void auction_give_back(struct auction *auction, struct decision *decision)
{
    if (decision->line == CATALOG_NONE) {
        return;
    }
    if ((decision->reserve || decision->held) && decision->ticket.key_count) {
        freq_release(auction->desk->desks.store, &decision->ticket);
    }
    struct decide_context context = auction_decide_context(auction);
    decision->swapped = decision->swapped && auction_is_current(auction); /* else stays lent */
    decide_undo(&context, decision);
}

static void finish(struct auction *auction, const struct auction_answer *answer)
{
    struct auction_desk *desk = auction->desk;
    /* The answer may free the body, and with it the request's texts: none is used behind it. */
    bool sent = auction->answer(auction->answer_owner, auction->handle, answer);
    auction_note_answer(auction, answer);
    for (uint32_t i = 0; auction->decisions && i < auction->request.imp.count; i++) {
        struct decision *decision = &auction->decisions[i];
        if (decision->line == CATALOG_NONE) {
            continue;
        }
        if (sent) {
            auction_note_bid(auction, decision);
        } else {
            if (!auction->test && auction_is_current(auction)) {
                brand_desk_undo(desk->desks.brands, auction->catalog, decision->offer->deal,
                                auction->catalog->lines[decision->line].brand);
            }
            auction_give_back(auction, decision);
        }
    }
    auction_note_end(auction, answer, sent);
    auction_return(auction);
}

static void finish_no_bid(struct auction *auction, enum no_bid_reason reason)
{
    if (reason == NO_BID_NONE) {
        reason = NO_BID_NO_MATCH;
    }
    struct auction_answer answer = {
        .exchange = &auction->catalog->exchanges[auction->exchange],
        .reason = reason,
        .status = auction_encode_no_bid(auction, reason),
    };
    answer.body = buf_str(&auction->desk->out);
    bool bare = !answer.body.len && answer.status != 200;
    answer.content_type = bare ? STR_NONE : auction_content_type(auction->format);
    finish(auction, &answer);
}

static void finish_bids(struct auction *auction)
{
    struct auction_desk *desk = auction->desk;
    bool late = auction->now_us > auction->deadline_us;
    uint32_t bids = late ? 0 : auction_encode_bids(auction);
    if (!bids || buf_failed(&desk->out)) {
        for (uint32_t i = 0; i < auction->request.imp.count; i++) {
            auction_give_back(auction, &auction->decisions[i]);
        }
        finish_no_bid(auction, late ? NO_BID_ANSWER_LATE : NO_BID_ANSWER_FAILED);
        return;
    }
    for (uint32_t i = 0; i < auction->request.imp.count; i++) {
        const struct decision *decision = &auction->decisions[i];
        if (decision->line != CATALOG_NONE && !auction->test && auction_is_current(auction)) {
            brand_desk_note(desk->desks.brands, auction->catalog, decision->offer->deal,
                            auction->catalog->lines[decision->line].brand);
        }
    }
    struct auction_answer answer = {
        .status = 200,
        .content_type = auction_content_type(auction->format),
        .body = buf_str(&desk->out),
        .exchange = &auction->catalog->exchanges[auction->exchange],
        .bids = bids,
    };
    finish(auction, &answer);
}

static void finish_rejected(struct auction *auction, enum bidreq_reject reject)
{
    auction_note_reject(auction, reject);
    auction->request.imp.count = 0;
    if (reject == BIDREQ_NO_MEMORY) {
        finish_no_bid(auction, NO_BID_NO_MEMORY);
        return;
    }
    const struct catalog_exchange *exchange = &auction->catalog->exchanges[auction->exchange];
    struct auction_answer answer = {.status = 400, .exchange = exchange};
    /* A ping is {} or 1, with any white space around. */
    if (reject == BIDREQ_PING && auction->body.len &&
        !memchr(auction->body.ptr, '{', auction->body.len)) {
        answer.status = 200;
        answer.content_type = auction_content_type(WIRE_JSON);
        answer.body = STR("1");
    } else if (auction->format == WIRE_PROTOBUF && exchange->no_bid != NO_BID_204) {
        /* Google counts everything but a BidResponse as our error; nothing at all is an empty one:
         * https://developers.google.com/authorized-buyers/rtb/response-guide */
        answer.status = 200;
        answer.content_type = auction_content_type(WIRE_PROTOBUF);
    }
    finish(auction, &answer);
}
