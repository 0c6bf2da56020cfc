#include "bidder/admin_pages.h"

#include "bidder/admin.h"
#include "bidder/base/buf.h"
#include "bidder/base/metric.h"
#include "bidder/bidding_metrics.h"
#include "bidder/supervisor.h"
#include "bidder/worker.h"

#define METRICS_BYTES ((size_t)256 << 20)
#define PROMETHEUS    "text/plain; version=0.0.4; charset=utf-8"

static void handle_healthz(void *context, struct admin_call *call)
{
    (void)context;
    admin_reply_text(call, 200, "ok\n");
}

static void put_reason(struct buf *body, bool *first, const char *reason)
{
    buf_printf(body, "%s\"%s\"", *first ? "" : ",", reason);
    *first = false;
}

/* Ready: every worker serves the catalog that is active and can spend, at least one reaches Redis.
 */
static void handle_readyz(void *context, struct admin_call *call)
{
    const struct supervisor *supervisor = context;
    uint64_t active = supervisor->rollout.active_generation;
    unsigned up = 0, current = 0;
    for (unsigned i = 0; i < supervisor->workers; i++) {
        up += supervisor->places[i].state == PLACE_UP &&
              metric_of_slot(&worker_metrics, WORKER_UP, 0, i);
        current += metric_of_slot(&worker_metrics, WORKER_GENERATION, 0, i) == active;
    }
    unsigned redis = (unsigned)metric_sum(&worker_metrics, WORKER_REDIS_UP, 0);
    bool ready = true;
    struct buf body;
    buf_init(&body, 4096);
    buf_printf(&body, "{\"reasons\":[");
    if (supervisor->draining) {
        put_reason(&body, &ready, "draining");
    }
    if (up < supervisor->workers) {
        put_reason(&body, &ready, "not every worker is up");
    }
    if (!active) {
        put_reason(&body, &ready, "no catalog is loaded");
    } else if (current < supervisor->workers) {
        put_reason(&body, &ready, "not every worker has the active catalog");
    }
    if (!redis) {
        put_reason(&body, &ready, "no worker reaches Redis");
    }
    if (metric_sum(&bidding_metrics, BIDDING_READY, 0) < up) {
        put_reason(&body, &ready, "not every worker has its first budget leases");
    }
    buf_printf(&body,
               "],\"ready\":%s,\"workers\":%u,\"workers_up\":%u,\"workers_with_redis\":%u,"
               "\"catalog_generation\":%llu}\n",
               ready ? "true" : "false", supervisor->workers, up, redis,
               (unsigned long long)active);
    admin_reply(call, ready ? 200 : 503, "application/json", buf_str(&body));
    buf_deinit(&body);
}

static void handle_metrics(void *context, struct admin_call *call)
{
    const struct supervisor *supervisor = context;
    bool all = str_eq(call->path, STR("/metrics/lines"));
    struct buf body;
    buf_init(&body, METRICS_BYTES);
    metric_write(&body, all ? UINT32_MAX : (uint32_t)supervisor->config->metric_rows);
    if (buf_failed(&body)) {
        admin_reply_text(call, 500, "too many lines\n");
    } else {
        admin_reply(call, 200, PROMETHEUS, buf_str(&body));
    }
    buf_deinit(&body);
}

static void handle_load(void *context, struct admin_call *call)
{
    struct supervisor *supervisor = context;
    rollout_offer(&supervisor->rollout, call);
}

void admin_pages_register(void)
{
    static const struct admin_endpoint pages[] = {
        {"/healthz", HTTP_GET, ADMIN_OPEN, ADMIN_HERE, handle_healthz, "the supervisor is alive",
         false},
        {"/readyz", HTTP_GET, ADMIN_OPEN, ADMIN_HERE, handle_readyz,
         "200 when bids can be made, else 503 with reasons", false},
        {"/metrics", HTTP_GET, ADMIN_OPEN, ADMIN_HERE, handle_metrics, "Prometheus text", false},
        {"/metrics/lines", HTTP_GET, ADMIN_OPEN, ADMIN_HERE, handle_metrics,
         "the same with every line item, however many", false},
        {"/catalog", HTTP_POST, ADMIN_WRITES, ADMIN_HERE, handle_load,
         "body: a catalog file; checked, then active in all workers, or 422 with all problems",
         true},
    };
    for (unsigned i = 0; i < sizeof(pages) / sizeof(pages[0]); i++) {
        admin_register(&pages[i]);
    }
}
