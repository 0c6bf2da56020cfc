#include "bidder/pacing_page.h"

struct row {
    const struct catalog_budget *budget;
    struct budget_view view[2]; /* total, today */
    bool has[2];
    bool paced;
    struct pacer_state state;
};

static void put_amount(struct buf *out, const struct row *row, int64_t amount)
{
    if (row->budget->impressions) {
        buf_put_i64(out, amount);
    } else {
        buf_put_micros(out, amount);
    }
}

static void put_limit_json(struct buf *out, const char *name, const struct row *row, int which)
{
    const struct budget_view *view = &row->view[which];
    if (!row->has[which]) {
        return;
    }
    buf_printf(out, ",\"%s\":{\"limit\":", name);
    put_amount(out, row, view->cap);
    BUF_PUT_LITERAL(out, ",\"spent\":");
    put_amount(out, row, view->settled);
    BUF_PUT_LITERAL(out, ",\"leased\":");
    put_amount(out, row, view->out);
    buf_printf(out, ",\"known\":%s}", view->known ? "true" : "false");
}

static void put_json(struct buf *out, const struct row *row)
{
    BUF_PUT_LITERAL(out, "{\"budget\":\"");
    buf_put_json_escaped(out, row->budget->name);
    buf_printf(out, "\",\"unit\":\"%s\"", row->budget->impressions ? "impressions" : "money");
    put_limit_json(out, "total", row, 0);
    put_limit_json(out, "today", row, 1);
    if (row->paced) {
        const struct pacer_state *state = &row->state;
        const int64_t amounts[] = {state->target, state->planned, state->spent, state->in_flight,
                                   state->forecast};
        static const char *const names[] = {"target", "planned", "spent", "in_flight", "forecast"};
        for (int i = 0; i < 5; i++) {
            buf_printf(out, ",\"%s\":", names[i]);
            put_amount(out, row, amounts[i]);
        }
        buf_printf(out, ",\"throttle\":%.4f,\"reason\":\"%s\",\"why\":\"%s\",\"as_of\":%lld",
                   (double)state->p / THROTTLE_ONE,
                   pacer_reason_name((enum pacer_reason)state->reason),
                   pacer_reason_text((enum pacer_reason)state->reason), (long long)state->now_s);
    }
    BUF_PUT_LITERAL(out, "}\n");
}

/* Whole units of the currency, or impressions. */
static long long whole(const struct row *row, int64_t amount)
{
    return row->budget->impressions ? amount : (amount + 500000) / 1000000;
}

static void put_line(struct buf *out, const struct row *row)
{
    int which = row->has[1] ? 1 : 0;
    buf_printf(out, "%-32.*s %-5s %12lld %12lld %10lld", STR_ARG(row->budget->name),
               which ? "today" : "total", whole(row, row->view[which].cap),
               whole(row, row->view[which].settled), whole(row, row->view[which].out));
    if (row->paced) {
        const struct pacer_state *state = &row->state;
        buf_printf(out, " %12lld %12lld %8.2f%%  %s\n", whole(row, state->planned),
                   whole(row, state->forecast), 100.0 * (double)state->p / THROTTLE_ONE,
                   pacer_reason_text((enum pacer_reason)state->reason));
    } else {
        buf_printf(out, " %12s %12s %9s  %s\n", "-", "-", "-",
                   "not throttled, or no request seen yet");
    }
}

void pacing_page_put(struct buf *out, const struct catalog *catalog,
                     const struct budget_ledger *ledger, const struct pacer *pacer, bool json)
{
    if (!json) {
        buf_printf(out, "%-32s %-5s %12s %12s %10s %12s %12s %9s  %s\n", "budget", "", "limit",
                   "spent", "leased", "planned", "forecast", "throttle", "why");
    }
    for (uint32_t i = 0; i < catalog->budget_count; i++) {
        struct row row = {.budget = &catalog->budgets[i]};
        row.has[0] = budget_view(ledger, i, false, &row.view[0]);
        row.has[1] = budget_view(ledger, i, true, &row.view[1]);
        row.paced = pacer_view(pacer, i, &row.state);
        if (!row.has[0] && !row.has[1]) {
            continue;
        }
        if (json) {
            put_json(out, &row);
        } else {
            put_line(out, &row);
        }
    }
}
