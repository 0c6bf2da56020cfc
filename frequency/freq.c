/* Verdicts over what is known about a person. Pure: no clock, no I/O, no memory of its own.
 *
 * A cap's count is the maximum over the records it looks at (the person's ids, or the household):
 * ids not linked yet may be one person or two, so the larger count is the safe one to know. */
#include "frequency/freq.h"

#include "bidder/base/bug.h"

const char *freq_outcome_name(enum freq_outcome outcome)
{
    static const char *const names[FREQ_OUTCOME_COUNT] = {"known", "no_person", "late",
                                                          "unavailable"};
    return (unsigned)outcome < FREQ_OUTCOME_COUNT ? names[outcome] : "?";
}

bool freq_is_live(const struct freq_exposure *exposure, int64_t now_s)
{
    return exposure->hold_s == 0 || ((int64_t)exposure->time_s + exposure->hold_s > now_s &&
                                     exposure->hold_s != FREQ_ANNOUNCED);
}

static bool list_has(struct cap_list list, uint32_t cap)
{
    uint32_t low = 0, high = list.count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (list.items[middle] < cap) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < list.count && list.items[low] == cap;
}

static bool counts_for(const struct cap_book *book, const struct exposure_refs *refs, uint32_t cap)
{
    return list_has(cap_book_of_line(book, refs), cap) ||
           list_has(cap_book_of_creative(book, refs), cap);
}

/* What one record holds against one cap. */
struct tally {
    uint32_t count; /* inside the window */
    int64_t last_s; /* latest exposure at all; INT64_MIN when none */
};

static struct tally tally_record(const struct cap_book *book, const struct freq_record *record,
                                 uint32_t cap_index, int64_t start_s, int64_t now_s)
{
    struct tally tally = {.last_s = INT64_MIN};
    for (uint32_t i = 0; i < record->exposure_count; i++) {
        const struct freq_exposure *exposure = &record->exposures[i];
        if (!freq_is_live(exposure, now_s) || !counts_for(book, &exposure->refs, cap_index)) {
            continue;
        }
        tally.count += exposure->time_s >= start_s;
        tally.last_s = exposure->time_s > tally.last_s ? exposure->time_s : tally.last_s;
    }
    if (record->overflow && tally.count < FREQ_MAX_EXPOSURES) {
        tally.count = FREQ_MAX_EXPOSURES;
    }
    return tally;
}

static struct tally tally_view(const struct cap_book *book, const struct freq_view *view,
                               uint32_t cap_index, int64_t now_s)
{
    const struct cap *cap = &book->caps[cap_index];
    struct tally most = {.last_s = INT64_MIN};
    int64_t start_s = cap_window_start_s(cap, now_s, book->tz);
    for (uint32_t i = 0; i < view->record_count; i++) {
        const struct freq_record *record = &view->records[i];
        if (record->household != (cap->identity == CAP_HOUSEHOLD)) {
            continue;
        }
        struct tally tally = tally_record(book, record, cap_index, start_s, now_s);
        most.count = tally.count > most.count ? tally.count : most.count;
        most.last_s = tally.last_s > most.last_s ? tally.last_s : most.last_s;
    }
    return most;
}

/* True and *verdict when one of the caps is hit. */
static bool check_list(const struct cap_book *book, const struct freq_view *view,
                       struct cap_list caps, int64_t now_s, bool overflow,
                       struct freq_verdict *verdict)
{
    for (uint32_t i = 0; i < caps.count; i++) {
        BUG_ON(caps.items[i] >= book->cap_count);
        const struct cap *cap = &book->caps[caps.items[i]];
        struct tally tally = tally_view(book, view, caps.items[i], now_s);
        verdict->cap = cap;
        verdict->count = tally.count;
        verdict->since_s = tally.last_s == INT64_MIN ? INT64_MAX : now_s - tally.last_s;
        if ((cap->max && tally.count >= cap->max) ||
            (overflow && tally.count >= FREQ_MAX_EXPOSURES)) {
            verdict->kind = FREQ_AT_CAP;
            return true;
        }
        if (cap->min_interval_s && verdict->since_s < cap->min_interval_s) {
            verdict->kind = FREQ_TOO_SOON;
            return true;
        }
    }
    return false;
}

/* Exposures since the person's local midnight, whatever they showed. */
static uint32_t contacts_today(const struct cap_book *book, const struct freq_view *view,
                               int64_t now_s)
{
    uint32_t most = 0;
    int64_t start_s = tz_day_start_s(book->tz, now_s, 0);
    for (uint32_t i = 0; i < view->record_count; i++) {
        const struct freq_record *record = &view->records[i];
        uint32_t count = record->overflow ? FREQ_MAX_EXPOSURES : 0;
        for (uint32_t k = 0; k < record->exposure_count && !record->household; k++) {
            const struct freq_exposure *exposure = &record->exposures[k];
            count += exposure->time_s >= start_s && freq_is_live(exposure, now_s);
        }
        most = !record->household && count > most ? count : most;
    }
    return most;
}

struct freq_verdict freq_check(const struct cap_book *book, const struct freq_view *view,
                               struct cap_list line_caps, struct cap_list creative_caps,
                               int64_t now_s)
{
    struct freq_verdict verdict = {.kind = FREQ_OPEN};
    bool empty = true, overflow = false;
    for (uint32_t i = 0; i < view->record_count; i++) {
        empty = empty && view->records[i].exposure_count == 0;
        overflow = overflow || view->records[i].overflow;
    }
    if (empty && !overflow) {
        return verdict; /* most persons: nothing was ever shown */
    }
    if (check_list(book, view, line_caps, now_s, overflow, &verdict) ||
        check_list(book, view, creative_caps, now_s, overflow, &verdict)) {
        return verdict;
    }
    verdict = (struct freq_verdict){.kind = FREQ_OPEN};
    if (view->max_contacts_per_day) {
        verdict.count = contacts_today(book, view, now_s);
        if (verdict.count >= view->max_contacts_per_day) {
            verdict.kind = FREQ_AT_OWN_PREFERENCE;
        }
    }
    return verdict;
}

bool freq_caps_known(const struct cap_book *book, const struct freq_view *view,
                     struct cap_list line_caps, struct cap_list creative_caps)
{
    bool has[2] = {false, false};
    for (uint32_t i = 0; i < view->record_count; i++) {
        has[view->records[i].household ? CAP_HOUSEHOLD : CAP_PERSON] = true;
    }
    const struct cap_list lists[] = {line_caps, creative_caps};
    for (size_t l = 0; l < COUNT_OF(lists); l++) {
        for (uint32_t i = 0; i < lists[l].count; i++) {
            if (!has[book->caps[lists[l].items[i]].identity]) {
                return false;
            }
        }
    }
    return true;
}

uint32_t freq_widest_count(const struct cap_book *book, const struct freq_view *view,
                           struct cap_list caps, int64_t now_s)
{
    uint32_t widest = 0;
    int64_t widest_s = INT64_MAX;
    for (uint32_t i = 0; i < caps.count; i++) {
        int64_t start_s = cap_window_start_s(&book->caps[caps.items[i]], now_s, book->tz);
        if (i == 0 || start_s < widest_s) {
            widest = caps.items[i];
            widest_s = start_s;
        }
    }
    return caps.count ? tally_view(book, view, widest, now_s).count : 0;
}

uint32_t freq_line_count(const struct freq_view *view, uint32_t line_ref, int64_t now_s)
{
    uint32_t most = 0;
    for (uint32_t i = 0; i < view->record_count; i++) {
        const struct freq_record *record = &view->records[i];
        uint32_t count = 0;
        for (uint32_t k = 0; k < record->exposure_count; k++) {
            const struct freq_exposure *exposure = &record->exposures[k];
            count += exposure->refs.line == line_ref && freq_is_live(exposure, now_s);
        }
        most = count > most ? count : most;
    }
    return most;
}

bool freq_last_brand(const struct freq_view *view, const uint32_t *brands, uint32_t count,
                     int64_t now_s, int64_t window_s, uint32_t *brand, int64_t *time_s)
{
    bool found = false;
    for (uint32_t i = 0; i < view->record_count; i++) {
        const struct freq_record *record = &view->records[i];
        for (uint32_t k = 0; k < record->exposure_count; k++) {
            const struct freq_exposure *exposure = &record->exposures[k];
            if (exposure->time_s + window_s <= now_s || !freq_is_live(exposure, now_s) ||
                (found && exposure->time_s < *time_s)) {
                continue;
            }
            for (uint32_t b = 0; b < count; b++) {
                if (brands[b] == exposure->refs.brand) {
                    found = true;
                    *brand = brands[b];
                    *time_s = exposure->time_s;
                    break;
                }
            }
        }
    }
    return found;
}

int freq_find_answer(const struct freq_view *view, uint32_t dmp_ref, uint32_t audience_ref)
{
    for (uint32_t i = 0; i < view->answer_count; i++) {
        const struct freq_answer *answer = &view->answers[i];
        if (answer->dmp_ref == dmp_ref && answer->audience_ref == audience_ref) {
            return answer->in;
        }
    }
    return -1;
}

bool freq_has_segment(const struct freq_view *view, uint32_t segment_ref)
{
    return list_has((struct cap_list){.items = view->segments, .count = view->segment_count},
                    segment_ref);
}

bool freq_is_muted(const struct freq_view *view, uint32_t ref)
{
    for (uint32_t i = 0; i < view->muted_count; i++) {
        if (view->muted[i] == ref) {
            return true;
        }
    }
    return false;
}
