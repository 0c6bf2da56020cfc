/* The run: when each request is due, on which connection it goes, what came of it. */
#pragma once

#include <sys/socket.h>

#include "bench/load/notice.h"
#include "bench/load/options.h"
#include "bench/load/template.h"
#include "bidder/base/hist.h"
#include "bidder/base/status.h"

#define ENGINE_SECONDS_MAX 86400

enum outcome {
    OUTCOME_BID,       /* 200 with a bid in it */
    OUTCOME_NO_BID,    /* 204, or 200 without a bid */
    OUTCOME_STATUS,    /* any other status */
    OUTCOME_TIMEOUT,   /* no answer within --timeout */
    OUTCOME_CLOSED,    /* connection closed or reset before the answer */
    OUTCOME_MALFORMED, /* not an HTTP answer */
    OUTCOME_UNSENT,    /* due, but no connection was free until the end */
    OUTCOMES
};

struct engine_second {
    uint32_t answers;
    uint32_t p50_us;
    uint32_t p99_us;
    uint32_t max_us;
};

/* Latencies in ns. Requests count that were due in the measured time. */
struct engine_result {
    struct hist planned; /* from the planned send time */
    struct hist service; /* from the actual send */
    struct hist late;    /* the actual send after the planned one: no free connection, or this
                          * program itself was late */
    struct hist notice;  /* service time of notices, over the whole run */
    uint64_t due;
    uint64_t outcomes[OUTCOMES];
    uint64_t statuses[600];
    uint64_t answer_bytes;
    struct notice_counts notices;
    uint64_t notice_statuses[600];
    uint64_t notice_failures;
    uint64_t notices_unsent; /* still waiting for a connection at the end */
    uint64_t connects;
    uint64_t connect_failures;
    double measured_s;
    double cpu_share;              /* of a core, by this program */
    struct engine_second *seconds; /* owned; one per second of the run, warm-up included */
    unsigned second_count;
};

struct engine_target {
    struct sockaddr_storage address;
    socklen_t len;
};

/* Runs to the end, or to SIGINT/SIGTERM. STATUS_IO when no connection could be opened. The result
 * is to be deinited in any case. */
enum status engine_run(struct engine_result *result, const struct options *options,
                       struct templates *templates, const struct engine_target *bidder,
                       const struct engine_target *notices, uint64_t seed) MUST_USE;
void engine_result_deinit(struct engine_result *result);

static inline uint64_t engine_answers(const struct engine_result *result)
{
    return result->outcomes[OUTCOME_BID] + result->outcomes[OUTCOME_NO_BID] +
           result->outcomes[OUTCOME_STATUS];
}

const char *outcome_name(enum outcome outcome);
