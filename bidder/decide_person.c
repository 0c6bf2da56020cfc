/* One person and one line: may it be shown, and with which creative? Pure but for the brand desk's
 * weights. */
#include "bidder/decide.h"

#include "bidder/base/prng.h"
#include "bidder/brand_desk.h"
#include "bidder/target.h"

/* The line's rule for persons whose counts cannot be used. */
static enum no_bid_reason decide_without_counts(const struct freq_view *view,
                                                const struct catalog_line *line, bool *uncapped)
{
    *uncapped = true;
    if (view->outcome == FREQ_NO_PERSON || view->outcome == FREQ_KNOWN) {
        return line->no_id == NO_ID_ALLOW && !line->new_reach_only ? NO_BID_NONE : NO_BID_NO_ID;
    }
    if (line->on_store_error == STORE_ERROR_ALLOW) {
        return NO_BID_NONE;
    }
    return view->outcome == FREQ_LATE ? NO_BID_STORE_LATE : NO_BID_STORE_DOWN;
}

/* Is there a cap whose person, or whose household, is not known? */
static bool counts_missing(const struct decide_context *context, struct cap_list line_caps,
                           struct cap_list creative_caps)
{
    const struct freq_view *view = context->view;
    if (view->outcome != FREQ_KNOWN) {
        return line_caps.count > 0 || creative_caps.count > 0;
    }
    return !freq_caps_known(&context->catalog->book, view, line_caps, creative_caps);
}

static bool is_muted(const struct decide_context *context, const struct catalog_line *line)
{
    const struct freq_view *view = context->view;
    if (!view->muted_count) {
        return false;
    }
    const struct catalog *catalog = context->catalog;
    const struct catalog_advertiser *advertiser = &catalog->advertisers[line->advertiser];
    for (uint32_t m = 0; m < view->muted_count; m++) {
        if (view->muted[m] == catalog->brands[line->brand].ref32) {
            return true;
        }
        for (uint32_t c = 0; c < advertiser->categories.count; c++) {
            if (view->muted[m] == cap_ref32(advertiser->categories.items[c])) {
                return true;
            }
        }
    }
    return false;
}

static void detail_verdict(const struct freq_verdict *verdict, struct buf *detail)
{
    if (!detail) {
        return;
    }
    if (!verdict->cap) {
        buf_printf(detail, "the person's own limit: %u contacts today", verdict->count);
        return;
    }
    const struct cap *cap = verdict->cap;
    buf_printf(detail, "cap %.*s: ", STR_ARG(cap->id));
    if (verdict->kind == FREQ_TOO_SOON) {
        buf_printf(detail, "last exposure %lld s ago, min_interval %lld s",
                   (long long)verdict->since_s, (long long)cap->min_interval_s);
        return;
    }
    buf_printf(detail, "%u of %u exposures in ", verdict->count, cap->max);
    switch (cap->window) {
    case CAP_ROLLING:
        buf_printf(detail, "the last %lld s", (long long)cap->window_s);
        break;
    case CAP_CALENDAR_DAY:
        BUF_PUT_LITERAL(detail, "this calendar day");
        break;
    case CAP_CALENDAR_WEEK:
        BUF_PUT_LITERAL(detail, "this calendar week");
        break;
    case CAP_CALENDAR_MONTH:
        BUF_PUT_LITERAL(detail, "this calendar month");
        break;
    case CAP_LIFETIME:
        BUF_PUT_LITERAL(detail, "the person's lifetime");
        break;
    }
}

static enum no_bid_reason verdict_reason(const struct freq_verdict *verdict)
{
    switch (verdict->kind) {
    case FREQ_OPEN:
        return NO_BID_NONE;
    case FREQ_AT_CAP:
        return NO_BID_AT_CAP;
    case FREQ_TOO_SOON:
        return NO_BID_TOO_SOON;
    case FREQ_AT_OWN_PREFERENCE:
        return NO_BID_OWN_PREFERENCE;
    }
    return NO_BID_AT_CAP;
}

enum no_bid_reason decide_person(const struct decide_context *context,
                                 const struct catalog_line *line, bool *uncapped,
                                 struct buf *detail)
{
    const struct freq_view *view = context->view;
    *uncapped = false;
    if (is_muted(context, line)) {
        return NO_BID_MUTED;
    }
    if (line->targeting.has_audiences &&
        !audience_expr_matches(context->catalog, &line->targeting.audiences, view->segments,
                               view->segment_count)) {
        if (detail) {
            buf_printf(detail, "the person has %u segments, none of the wanted combination",
                       view->segment_count);
        }
        return NO_BID_AUDIENCE;
    }
    bool blind = counts_missing(context, line->caps, (struct cap_list){0}) ||
                 (view->outcome != FREQ_KNOWN && line->new_reach_only);
    if (blind || view->outcome != FREQ_KNOWN) {
        enum no_bid_reason reason =
            blind ? decide_without_counts(view, line, uncapped) : NO_BID_NONE;
        if (reason && detail) {
            buf_printf(detail, "counts: %s, person: %s", freq_outcome_name(view->outcome),
                       person_absence_name(view->absence));
        }
        return reason;
    }
    struct freq_verdict verdict =
        freq_check(&context->catalog->book, view, line->caps, (struct cap_list){0}, context->now_s);
    if (verdict.kind != FREQ_OPEN) {
        detail_verdict(&verdict, detail);
        return verdict_reason(&verdict);
    }
    if (line->new_reach_only) {
        uint32_t count =
            freq_widest_count(&context->catalog->book, view, line->caps, context->now_s);
        if (count) {
            if (detail) {
                buf_printf(detail, "%u exposures under the joint cap", count);
            }
            return NO_BID_ALREADY_REACHED;
        }
    }
    return NO_BID_NONE;
}

/* --- the creative --------------------------------------------------------------------------- */

/* NO_BID_NONE, or why this creative may not be shown to the person. *uncapped is set when it may
 * though its caps cannot be checked. */
static enum no_bid_reason creative_open(const struct decide_context *context,
                                        const struct catalog_line *line,
                                        const struct catalog_creative *creative, bool *uncapped)
{
    struct cap_list caps = {.items = creative->caps.items, .count = creative->caps.count};
    if (!caps.count) {
        return NO_BID_NONE;
    }
    if (counts_missing(context, (struct cap_list){0}, caps)) {
        return decide_without_counts(context->view, line, uncapped);
    }
    return freq_check(&context->catalog->book, context->view, (struct cap_list){0}, caps,
                      context->now_s)
                       .kind == FREQ_OPEN
               ? NO_BID_NONE
               : NO_BID_CREATIVE_AT_CAP;
}

/* Sequence: the person's n-th exposure of the line shows the n-th creative; the last one stays. */
static bool sequence_allows(const struct decide_context *context, const struct catalog_line *line,
                            uint32_t position)
{
    uint32_t seen = freq_line_count(context->view, line->ref, context->now_s);
    uint32_t wanted = seen < line->creative_count ? seen : line->creative_count - 1;
    return position == wanted;
}

enum no_bid_reason decide_creative(const struct decide_context *context, const struct offer *offer,
                                   uint32_t *creative, bool *uncapped)
{
    const struct catalog *catalog = context->catalog;
    const struct catalog_line *line = &catalog->lines[offer->line];
    enum no_bid_reason reason = NO_BID_CREATIVE;
    uint32_t chosen = CATALOG_NONE;
    double highest = 0;
    bool chosen_blind = false;
    uint64_t seed = prng_mix(context->request_hash ^ line->ref);
    for (uint32_t i = 0; i < offer->creative_count; i++) {
        uint32_t position = offer->creatives[i];
        const struct line_creative *option = &line->creatives[position];
        if (option->targeting && !target_matches(catalog, option->targeting, context->exchange,
                                                 context->request, context->now_s)) {
            continue;
        }
        if (line->sequence && !sequence_allows(context, line, position)) {
            continue;
        }
        bool blind = false;
        enum no_bid_reason closed =
            creative_open(context, line, &catalog->creatives[option->creative], &blind);
        if (closed) {
            reason = closed;
            continue;
        }
        double score = brand_desk_creative_score(context->brands, catalog, line, position, seed);
        if (chosen == CATALOG_NONE || score > highest) {
            chosen = option->creative;
            highest = score;
            chosen_blind = blind;
        }
    }
    *creative = chosen;
    *uncapped |= chosen_blind;
    return chosen == CATALOG_NONE ? reason : NO_BID_NONE;
}
