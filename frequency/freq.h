/* Frequency: read everything known about a person, decide per candidate, reserve, confirm, release.
 *
 * In Redis a person id has one hash (frequency/README.md draws it): a field per exposure, which says
 * what was shown when and is reserved until confirmed, and the profile: segments, consent,
 * preferences, links.
 * A request with several ids, or an id linked to others, reads one record each in the same round
 * trip; the count of a cap is the maximum over the records; an exposure is written to all.
 *
 * Strictness without a script: reserve = add my exposure, read all back, in one pipeline. Of two
 * racing bidders at least the later reader sees both; whoever sees more than max undoes its own.
 * Confirm and release name the exposure's field, so doing them twice changes nothing. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "bidder/base/status.h"
#include "frequency/cap_book.h"
#include "frequency/person.h"

#define FREQ_MAX_EXPOSURES 512 /* per record; more: the person counts as at every cap */
#define FREQ_MAX_SEGMENTS  256
#define FREQ_MAX_RECORDS   (PERSON_MAX_KEYS + 4 + 1) /* ids, links, household */
#define FREQ_MAX_MUTED     16
#define FREQ_MAX_ANSWERS   16 /* of DMPs, unexpired */

/* As hold_s: a bid that holds no place. It counts when it is confirmed. */
#define FREQ_ANNOUNCED UINT16_MAX

struct freq_exposure {
    struct exposure_refs refs;
    uint32_t time_s;
    uint16_t hold_s; /* 0 = confirmed; else reserved: counts until time_s + hold_s; or announced */
    uint32_t salt;   /* makes the field unique within the second */
};

struct freq_record {
    struct person_key key;
    bool household;
    bool overflow;        /* more than FREQ_MAX_EXPOSURES: treat as at cap */
    uint32_t field_count; /* of the hash, the profile's too; 0: nothing is stored */
    int64_t
        sure_until_s; /* what the profile says keeps the record until then; 0: it says nothing */
    uint32_t exposure_count;
    struct freq_exposure *exposures; /* in no particular order; some may be expired reservations */
};

enum freq_outcome {
    FREQ_KNOWN,       /* counts were read (maybe all zero) */
    FREQ_NO_PERSON,   /* no id, or consent withdrawn: nothing read, nothing may be stored */
    FREQ_LATE,        /* the store did not answer in time */
    FREQ_UNAVAILABLE, /* not connected, breaker open, or an error reply */
    FREQ_OUTCOME_COUNT
};
const char *freq_outcome_name(enum freq_outcome outcome);

/* A DMP's word on whether the person is in an audience. Refs: cap_ref32 of their catalog ids. */
struct freq_answer {
    uint32_t dmp_ref, audience_ref;
    bool in;
};

/* Everything known about the person; lives until freq_read_finish. */
struct freq_view {
    enum freq_outcome outcome;
    enum person_absence absence;
    bool withdrawn; /* stored consent withdrawn: outcome is FREQ_NO_PERSON */
    uint32_t record_count;
    struct freq_record records[FREQ_MAX_RECORDS];
    uint32_t segment_count;
    uint32_t segments[FREQ_MAX_SEGMENTS]; /* cap_ref32 of segment ids, unexpired, ascending */
    uint32_t max_contacts_per_day;        /* the person's own cap; 0 = none */
    uint32_t muted_count;
    uint32_t muted[FREQ_MAX_MUTED]; /* cap_ref32 of brand ids and category names */
    uint32_t answer_count;
    struct freq_answer answers[FREQ_MAX_ANSWERS]; /* what DMPs said, cached */
};

/* --- pure ----------------------------------------------------------------------------------- */

enum freq_verdict_kind {
    FREQ_OPEN,
    FREQ_AT_CAP,
    FREQ_TOO_SOON,         /* min_interval */
    FREQ_AT_OWN_PREFERENCE /* max_contacts_per_day */
};

/* Why: for explain. */
struct freq_verdict {
    enum freq_verdict_kind kind;
    const struct cap *cap; /* the first one hit; NULL for the person's own preference */
    uint32_t count;        /* what was found inside the window */
    int64_t since_s;       /* seconds since the last exposure (FREQ_TOO_SOON) */
};

/* Checks the caps (line's and creative's) at now_s. Expired reservations do not count. */
struct freq_verdict freq_check(const struct cap_book *book, const struct freq_view *view,
                               struct cap_list line_caps, struct cap_list creative_caps,
                               int64_t now_s);
/* False when a cap applies whose person (or household) the view does not know: the line's no_id
 * policy decides. */
bool freq_caps_known(const struct cap_book *book, const struct freq_view *view,
                     struct cap_list line_caps, struct cap_list creative_caps);
/* Confirmed, or reserved and not expired. */
bool freq_is_live(const struct freq_exposure *exposure, int64_t now_s);
/* Count inside the widest of the caps (0 when there are none): for new reach and for the least
 * harmful line. */
uint32_t freq_widest_count(const struct cap_book *book, const struct freq_view *view,
                           struct cap_list caps, int64_t now_s);
/* Exposures of one line ever kept: position in a creative sequence. */
uint32_t freq_line_count(const struct freq_view *view, uint32_t line_ref, int64_t now_s);
/* The latest exposure among the given brand refs inside window_s; false when there is none. */
bool freq_last_brand(const struct freq_view *view, const uint32_t *brands, uint32_t count,
                     int64_t now_s, int64_t window_s, uint32_t *brand, int64_t *time_s);
/* 1 = in, 0 = not in, -1 = the DMP has not said (or it was too long ago). */
int freq_find_answer(const struct freq_view *view, uint32_t dmp_ref, uint32_t audience_ref);
bool freq_has_segment(const struct freq_view *view, uint32_t segment_ref);
/* ref: cap_ref32 of a brand id or a category. */
bool freq_is_muted(const struct freq_view *view, uint32_t ref);

/* --- the store ------------------------------------------------------------------------------ */

struct freq_store; /* one per worker */
struct freq_read;  /* one read in flight; pooled by the store */

/* Called exactly once per freq_read_start / freq_reserve unless it was abandoned first. */
typedef void freq_read_fn(void *owner, struct freq_read *read, const struct freq_view *view);

/* Starts the one read of a bid request. The callback comes later from the event loop (never from
 * inside this call), at the latest at deadline_us (monotonic). NULL when the pool is exhausted
 * (counted): treat as FREQ_UNAVAILABLE. */
struct freq_read *freq_read_start(struct freq_store *store, const struct person *person,
                                  int64_t now_s, int64_t deadline_us, freq_read_fn *done,
                                  void *owner);
/* The owner needs the view no longer (after the callback), or abandons the read (before it: the
 * callback will not come). Sets *read to NULL. */
void freq_read_finish(struct freq_read **read);

/* A reservation, as notices later name it. */
struct freq_ticket {
    struct person_key keys[FREQ_MAX_RECORDS]; /* records written */
    uint8_t key_count;
    uint16_t household_mask; /* bit i: keys[i] is a household record */
    uint32_t time_s;
    uint32_t salt;
    struct exposure_refs refs;
};

enum freq_reserve_result {
    FREQ_RESERVED,
    FREQ_LOST_RACE,    /* another bid got there first: over a cap, undone */
    FREQ_RESERVE_LATE, /* not confirmed in time: an undo was queued behind it */
    FREQ_RESERVE_FAILED
};

typedef void freq_reserve_fn(void *owner, enum freq_reserve_result result,
                             const struct freq_verdict *verdict);

/* What freq_reserve would write, without writing it: for freq_hold. key_count 0 when nothing may be stored for the person (or read is NULL). */
void freq_ticket_fill(struct freq_store *store, const struct freq_read *read,
                      struct exposure_refs refs, int64_t now_s, struct freq_ticket *ticket);

/* Several reservations may be in flight on one read (one per impression of a request); finish the
 * read only when all have come back. first_only: also undone when anybody showed the person
 * something under the line's widest cap (new reach). Second round trip: writes the exposure as reserved for hold_s
 * into every record of the view and checks the caps against what comes back. Fills *ticket
 * (caller's memory) at once. Same callback rules as freq_read_start. STATUS_LIMIT: pool exhausted,
 * no callback will come. */
enum status freq_reserve(struct freq_store *store, struct freq_read *read,
                         const struct cap_book *book, struct cap_list line_caps,
                         struct cap_list creative_caps, struct exposure_refs refs, uint16_t hold_s,
                         bool first_only, int64_t now_s, int64_t deadline_us,
                         struct freq_ticket *ticket, freq_reserve_fn *done, void *owner) MUST_USE;
/* Writes the ticket of freq_ticket_fill, so that it can be confirmed, without asking anything: for
 * what must be shown anyway (must-fill) reserved for hold_s, so that other bids count it from now
 * on; for lines that do not reserve FREQ_ANNOUNCED. read: what the ticket was filled from, or NULL.
 * Fire and forget. */
void freq_hold(struct freq_store *store, const struct freq_read *read,
               const struct freq_ticket *ticket, uint16_t hold_s);
/* The bid was not sent after all, or was lost: give the reservation back. Fire and forget. */
void freq_release(struct freq_store *store, const struct freq_ticket *ticket);
/* It was shown. Idempotent; counts also when the reservation has run out (late notice), but not
 * when it was taken away: by freq_release, or with the person. ttl_s as cap_book.retention_s. Fire
 * and forget; failures are counted and tried again. */
void freq_confirm(struct freq_store *store, const struct freq_ticket *ticket, int64_t ttl_s);
/* Keeps a DMP's answers with the person until expires_s (the profile lives at least so long),
 * unless consent is withdrawn. Fire and forget. in: bit i = in the audience audience_refs[i]. */
void freq_learn(struct freq_store *store, const struct person_key *person_key, uint32_t dmp_ref,
                const uint32_t *audience_refs, uint32_t count, uint32_t in, int64_t now_s,
                int64_t expires_s);
