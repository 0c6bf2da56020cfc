/* Asks a data management platform which target audiences a person belongs to: HTTP, asynchronous,
 * with a deadline. One desk per worker; connections are kept and reused.
 *
 *   POST <url>  {"person":"<28 hex digits>","audiences":["ta-young","ta-family"]}
 *   200         {"in":["ta-young"]}            those asked for and not listed: not in
 *
 * Only the hashed person key leaves the bidder. An answer that comes after its deadline is no use
 * to the auction that asked, but is still handed to the late function, so that it can be cached. A
 * DMP that keeps failing is left alone for a while (circuit breaker: 1 s, doubling up to 30 s). */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "bidder/base/loop.h"
#include "bidder/base/metric.h"
#include "bidder/catalog.h"
#include "frequency/person.h"

#define DMP_MAX_AUDIENCES 8 /* of one query */

enum dmp_result {
    DMP_ANSWERED,
    DMP_LATE,        /* the deadline passed first */
    DMP_UNAVAILABLE, /* not reachable, breaker open, or too many queries in flight */
    DMP_BAD_ANSWER,  /* not a 200, not JSON, too large, the wrong shape */
    DMP_RESULT_COUNT
};
const char *dmp_result_label(unsigned index);

#define DMP_METRICS(X)                                                                             \
    X(DMP_ASKED, METRIC_COUNTER, "jointcap_dmp_asked_total", NULL, NULL, 1,                        \
      "Audience queries sent to a DMP.")                                                           \
    X(DMP_RESULTS, METRIC_COUNTER, "jointcap_dmp_results_total", "result", dmp_result_label,       \
      DMP_RESULT_COUNT, "How audience queries ended for the auction that asked.")                  \
    X(DMP_CACHED, METRIC_COUNTER, "jointcap_dmp_cached_total", NULL, NULL, 1,                      \
      "Audience questions answered from the cache.")                                               \
    X(DMP_TIMES, METRIC_TIME, "jointcap_dmp_seconds", NULL, NULL, 1,                               \
      "Time until a DMP answered, late answers included.")
METRIC_DECLARE(dmp, DMP_METRICS);

struct dmp_desk;

/* in: bit i = the person is in the i-th audience asked for. Only with DMP_ANSWERED. Exactly once
 * per dmp_ask that returned true, never from inside it. */
typedef void dmp_fn(void *owner, enum dmp_result result, uint32_t in);
/* Every good answer, in time or late: cache it. audiences: bit i as in the query, names by the
 * catalog's audience index. */
typedef void dmp_learned_fn(void *owner, const struct person_key *key, uint32_t dmp_ref,
                            const uint32_t *audience_refs, uint32_t count, uint32_t in);

struct dmp_desk *dmp_desk_create(struct loop *loop, dmp_learned_fn *learned, void *owner);
void dmp_desk_destroy(struct dmp_desk **desk);
/* Adopts the catalog's DMPs; a DMP that stays (same id and url) keeps its connections. False when
 * memory is out (the old ones stay). */
bool dmp_desk_configure(struct dmp_desk *desk, const struct catalog *catalog);

/* Asks DMP index dmp of the adopted catalog about audiences (catalog indexes). Answers by
 * deadline_us (monotonic). False: it cannot be asked now; done will not be called (counted as
 * unavailable). */
bool dmp_ask(struct dmp_desk *desk, const struct catalog *catalog, uint32_t dmp,
             const struct person_key *key, const uint32_t *audiences, uint32_t count,
             int64_t deadline_us, dmp_fn *done, void *owner);
