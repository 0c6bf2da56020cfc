/* What tools do to persons: link, forget, describe, consent, preferences, segments. Blocking, over
 * redis_sync; never on the request path.
 *
 * Everything is done to the person, that is to all ids linked to the one given. Functions answer
 * STATUS_OK, STATUS_LIMIT (too many linked ids), STATUS_INVALID (what lies in Redis is not ours)
 * or STATUS_IO (Redis refused or is gone), then with words in *error. Repeating one changes
 * nothing further. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "bidder/base/buf.h"
#include "bidder/base/redis.h"
#include "bidder/base/status.h"
#include "bidder/base/tz.h"
#include "frequency/person.h"

#define PERSON_ADMIN_MAX_IDS 5 /* linked to each other: one and FREQ_MAX_LINKS others */

/* Profiles live so long after they were last written. */
#define PERSON_ADMIN_PROFILE_TTL_S   ((int64_t)400 * 86400)
#define PERSON_ADMIN_WITHDRAWN_TTL_S ((int64_t)3650 * 86400)

/* An auction that read a person before something was changed here reserves at most so long behind
 * that. */
#define PERSON_ADMIN_SETTLE_US 1000000

/* a and b, and whoever they are linked to, are one person from now on. Counts add: each record
 * gets the exposures of all. (What is reserved at that moment becomes confirmed in the copies: that
 * errs to fewer exposures.) An auction under way may have read one id before the link: call it a
 * second time, PERSON_ADMIN_SETTLE_US later, and its exposure is copied too. */
enum status person_admin_link(struct redis_sync *sync, const struct person_key *a,
                              const struct person_key *b, struct buf *error) MUST_USE;

/* Deletes everything stored for the person, and for the household of that name (may be NULL);
 * *deleted = keys that existed. Nothing at all stays: notices of bids that are out find nothing to
 * confirm, and leave it so. Waits PERSON_ADMIN_SETTLE_US and deletes once more what auctions under
 * way wrote meanwhile. */
enum status person_admin_forget(struct redis_sync *sync, const struct person_key *key,
                                const struct person_key *household, uint32_t *deleted,
                                struct buf *error) MUST_USE;

/* Withdrawn: counts and segments are deleted and none will be stored; waits and deletes twice as
 * above. Given again: a fresh start. */
enum status person_admin_consent(struct redis_sync *sync, const struct person_key *key,
                                 const struct person_key *household, bool withdrawn,
                                 struct buf *error) MUST_USE;

/* The person's own cap over everything; 0 removes it. */
enum status person_admin_max_contacts(struct redis_sync *sync, const struct person_key *key,
                                      uint16_t per_day, struct buf *error) MUST_USE;

/* ref: cap_ref32 of a brand id or a category. */
enum status person_admin_mute(struct redis_sync *sync, const struct person_key *key, uint32_t ref,
                              bool muted, struct buf *error) MUST_USE;

/* Names for refs, from a catalog: writes into out, or returns false. kind: "line", "brand",
 * "creative", "segment", "muted". */
struct person_admin_names {
    bool (*name)(void *context, const char *kind, uint32_t ref, struct buf *out);
    void *context;
};

/* What is stored, in words, one fact a line. names may be NULL. */
enum status person_admin_describe(struct redis_sync *sync, const struct person_key *key,
                                  int64_t now_s, const struct tz *tz,
                                  const struct person_admin_names *names, struct buf *out,
                                  struct buf *error) MUST_USE;
