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

/* Bit i: caps[i] is in the list. Both ascend. */
static uint32_t common_caps(const uint32_t *caps, uint32_t count, struct cap_list list)
{
    uint32_t common = 0;
    for (uint32_t i = 0, k = 0; i < count && k < list.count;) {
        uint32_t cap = caps[i], listed = list.items[k];
        common |= (uint32_t)(cap == listed) << i;
        i += cap <= listed;
        k += listed <= cap;
    }
    return common;
}

/* Caps that are counted in one walk over the exposures; longer lists take several. */
#define TALLY_CAPS 16

/* What the records hold against each cap of a piece of a list. */
struct tally {
    const uint32_t *caps; /* indexes into the book, ascending */
    uint32_t cap_count;
    uint32_t households; /* bit i: caps[i] counts households */
    int64_t start_s[TALLY_CAPS];
    uint32_t count[TALLY_CAPS]; /* inside the window */
    int64_t last_s[TALLY_CAPS]; /* latest exposure at all; INT64_MIN when none */
};

static void tally_record(struct tally *tally, const struct cap_book *book,
                         const struct freq_record *record, int64_t now_s)
{
    uint32_t counts[TALLY_CAPS];
    uint32_t asked = record->household ? tally->households : ~tally->households;
    if (!record->exposure_count && !record->overflow) {
        return;
    }
    memset(counts, 0, tally->cap_count * sizeof(counts[0]));
    for (uint32_t i = 0; i < record->exposure_count; i++) {
        const struct freq_exposure *exposure = &record->exposures[i];
        if (!freq_is_live(exposure, now_s)) {
            continue;
        }
        uint32_t hit =
            common_caps(tally->caps, tally->cap_count, cap_book_of_line(book, &exposure->refs)) |
            common_caps(tally->caps, tally->cap_count, cap_book_of_creative(book, &exposure->refs));
        for (hit &= asked; hit; hit &= hit - 1) {
            int cap = __builtin_ctz(hit);
            counts[cap] += exposure->time_s >= tally->start_s[cap];
            if (exposure->time_s > tally->last_s[cap]) {
                tally->last_s[cap] = exposure->time_s;
            }
        }
    }
    for (uint32_t i = 0; i < tally->cap_count; i++) {
        uint32_t count = counts[i];
        if (record->overflow && asked & 1u << i && count < FREQ_MAX_EXPOSURES) {
            count = FREQ_MAX_EXPOSURES;
        }
        tally->count[i] = count > tally->count[i] ? count : tally->count[i];
    }
}

/* caps: at most TALLY_CAPS of them. */
static void tally_view(struct tally *tally, const struct cap_book *book,
                       const struct freq_view *view, struct cap_list caps, int64_t now_s)
{
    const struct tz_day *today = cap_book_today(book, now_s);
    tally->caps = caps.items;
    tally->cap_count = caps.count;
    tally->households = 0;
    for (uint32_t i = 0; i < caps.count; i++) {
        BUG_ON(caps.items[i] >= book->cap_count);
        const struct cap *cap = &book->caps[caps.items[i]];
        tally->households |= (uint32_t)(cap->identity == CAP_HOUSEHOLD) << i;
        tally->start_s[i] = cap_window_start_s(cap, now_s, today);
        tally->count[i] = 0;
        tally->last_s[i] = INT64_MIN;
    }
    for (uint32_t i = 0; i < view->record_count; i++) {
        tally_record(tally, book, &view->records[i], now_s);
    }
}

/* True and *verdict when one of the caps is hit. */
static bool check_list(const struct cap_book *book, const struct freq_view *view,
                       struct cap_list caps, int64_t now_s, bool overflow,
                       struct freq_verdict *verdict)
{
    struct tally tally;
    for (uint32_t i = 0; i < caps.count; i++) {
        uint32_t at = i % TALLY_CAPS;
        if (at == 0) {
            uint32_t left = caps.count - i;
            struct cap_list piece = {caps.items + i, left < TALLY_CAPS ? left : TALLY_CAPS};
            tally_view(&tally, book, view, piece, now_s);
        }
        const struct cap *cap = &book->caps[caps.items[i]];
        verdict->cap = cap;
        verdict->count = tally.count[at];
        verdict->since_s = tally.last_s[at] == INT64_MIN ? INT64_MAX : now_s - tally.last_s[at];
        if ((cap->max && verdict->count >= cap->max) ||
            (overflow && verdict->count >= FREQ_MAX_EXPOSURES)) {
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
    int64_t start_s = cap_book_today(book, now_s)->day_start_s;
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

/* Most persons: nothing was ever shown. */
static bool is_blank(const struct freq_view *view)
{
    uint32_t exposures = 0;
    for (uint32_t i = 0; i < view->record_count; i++) {
        exposures |= view->records[i].exposure_count | view->records[i].overflow;
    }
    return exposures == 0;
}

struct freq_verdict freq_check(const struct cap_book *book, const struct freq_view *view,
                               struct cap_list line_caps, struct cap_list creative_caps,
                               int64_t now_s)
{
    struct freq_verdict verdict = {.kind = FREQ_OPEN};
    if (is_blank(view)) {
        return verdict;
    }
    bool overflow = false;
    for (uint32_t i = 0; i < view->record_count; i++) {
        overflow = overflow || view->records[i].overflow;
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
    if (!caps.count || is_blank(view)) {
        return 0;
    }
    const struct tz_day *today = cap_book_today(book, now_s);
    const uint32_t *widest = caps.items;
    int64_t widest_s = INT64_MAX;
    for (uint32_t i = 0; i < caps.count; i++) {
        int64_t start_s = cap_window_start_s(&book->caps[caps.items[i]], now_s, today);
        if (start_s < widest_s) {
            widest = &caps.items[i];
            widest_s = start_s;
        }
    }
    struct tally tally;
    tally_view(&tally, book, view, (struct cap_list){widest, 1}, now_s);
    return tally.count[0];
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
