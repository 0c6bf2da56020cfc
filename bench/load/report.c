#include "bench/load/report.h"

#include <inttypes.h>

#include "bidder/base/buf.h"
#include "bidder/base/bug.h"

static const struct {
    const char *name;
    double fraction;
} quantiles[] = {{"p50", 0.5},     {"p90", 0.9},       {"p99", 0.99},
                 {"p99.9", 0.999}, {"p99.99", 0.9999}, {"max", 1}};

double report_target(const struct report *report)
{
    const struct engine_result *result = report->result;
    return result->measured_s > 0 ? (double)result->due / result->measured_s : 0;
}

double report_delivered(const struct report *report)
{
    const struct engine_result *result = report->result;
    return result->measured_s > 0 ? (double)engine_answers(result) / result->measured_s : 0;
}

bool report_is_delivered(const struct report *report)
{
    const struct engine_result *result = report->result;
    return result->due && (double)engine_answers(result) >= 0.99 * (double)result->due;
}

static double us(uint64_t ns)
{
    return (double)ns / 1000;
}

static double mean_us(const struct hist *hist)
{
    return hist->count ? us(hist->sum) / (double)hist->count : 0;
}

static void text_latency(const struct report *report, FILE *out)
{
    const struct engine_result *result = report->result;
    const struct hist *planned = &result->planned, *service = &result->service;
    const struct hist *late = &result->late;
    fprintf(out, "\nlatency, us          from planned   service  sent late\n");
    for (size_t i = 0; i < COUNT_OF(quantiles); i++) {
        double fraction = quantiles[i].fraction;
        fprintf(out, "  %-18s %12.1f  %8.1f  %9.1f\n", quantiles[i].name,
                us(hist_quantile(planned, fraction)), us(hist_quantile(service, fraction)),
                us(hist_quantile(late, fraction)));
    }
    fprintf(out, "  %-18s %12.1f  %8.1f  %9.1f\n", "mean", mean_us(planned), mean_us(service),
            mean_us(late));
}

static void text_notices(const struct report *report, FILE *out)
{
    const struct engine_result *result = report->result;
    const struct notice_counts *counts = &result->notices;
    fprintf(out, "\nnotices: %" PRIu64 " bids seen, %" PRIu64 " won;", counts->bids, counts->wins);
    for (int kind = 0; kind < NOTICE_KINDS; kind++) {
        fprintf(out, " %s %" PRIu64, notice_kind_name((enum notice_kind)kind),
                counts->queued[kind]);
    }
    fprintf(out, "\n  answered:");
    for (unsigned status = 0; status < COUNT_OF(result->notice_statuses); status++) {
        if (result->notice_statuses[status]) {
            fprintf(out, " %u: %" PRIu64, status, result->notice_statuses[status]);
        }
    }
    fprintf(out, "; p50 %.1f us, p99 %.1f us\n", us(hist_quantile(&result->notice, 0.5)),
            us(hist_quantile(&result->notice, 0.99)));
    if (result->notice_failures || result->notices_unsent || counts->no_room || counts->no_url ||
        counts->unreadable) {
        fprintf(out,
                "  failed %" PRIu64 ", unsent %" PRIu64 ", dropped for room %" PRIu64
                ", wins without url %" PRIu64 ", unreadable answers %" PRIu64 "\n",
                result->notice_failures, result->notices_unsent, counts->no_room, counts->no_url,
                counts->unreadable);
    }
}

void report_text(const struct report *report, FILE *out)
{
    const struct options *options = report->options;
    const struct engine_result *result = report->result;
    fprintf(out, "jointcap-load %s: %s, %" PRId64 " connections, seed %" PRIu64 "\n", options->url,
            options->saturate  ? "closed loop"
            : options->poisson ? "open loop, Poisson"
                               : "open loop, constant",
            options->connections, report->seed);
    fprintf(out, "bodies %u (request id in %u, person ids in %u), %" PRId64 " persons, zipf %g\n",
            report->templates->count, report->templates->with_request_id,
            report->templates->with_person, options->persons, options->zipf);
    fprintf(out, "\nmeasured %.2f s: ", result->measured_s);
    if (options->saturate) {
        fprintf(out, "%.0f answers/s\n", report_delivered(report));
    } else {
        fprintf(out, "target %.1f/s, delivered %.1f/s%s\n", report_target(report),
                report_delivered(report), report_is_delivered(report) ? "" : "  <-- NOT DELIVERED");
    }
    for (int i = 0; i < OUTCOMES; i++) {
        if (result->outcomes[i]) {
            fprintf(out, "  %-14s %10" PRIu64 "  %5.1f%%\n", outcome_name((enum outcome)i),
                    result->outcomes[i], 100.0 * (double)result->outcomes[i] / (double)result->due);
        }
    }
    fprintf(out, "  connections opened %" PRIu64 ", failed to open %" PRIu64 "\n", result->connects,
            result->connect_failures);
    fprintf(out, "  this program used %.0f%% of a core%s\n", 100 * result->cpu_share,
            result->cpu_share > 0.95 ? ": it may be the limit" : "");
    text_latency(report, out);
    if (options->win_rate > 0 || options->loss) {
        text_notices(report, out);
    }
}

static void json_hist(struct buf *out, const char *name, const struct hist *hist)
{
    buf_printf(out, "  \"%s\": {\"count\": %" PRIu64 ", \"mean\": %.3f", name, hist->count,
               mean_us(hist));
    for (size_t i = 0; i < COUNT_OF(quantiles); i++) {
        buf_printf(out, ", \"%s\": %.3f", quantiles[i].name,
                   us(hist_quantile(hist, quantiles[i].fraction)));
    }
    buf_printf(out, "},\n");
}

static void json_statuses(struct buf *out, const char *name, const uint64_t *statuses)
{
    const char *comma = "";
    buf_printf(out, "\"%s\": {", name);
    for (unsigned status = 100; status < 600; status++) {
        if (statuses[status]) {
            buf_printf(out, "%s\"%u\": %" PRIu64, comma, status, statuses[status]);
            comma = ", ";
        }
    }
    buf_printf(out, "}");
}

static void json_notices(struct buf *out, const struct engine_result *result)
{
    const struct notice_counts *counts = &result->notices;
    buf_printf(out, "  \"notices\": {\"bids\": %" PRIu64 ", \"wins\": %" PRIu64, counts->bids,
               counts->wins);
    for (int kind = 0; kind < NOTICE_KINDS; kind++) {
        buf_printf(out, ", \"%s\": %" PRIu64, notice_kind_name((enum notice_kind)kind),
                   counts->queued[kind]);
    }
    buf_printf(out,
               ", \"failed\": %" PRIu64 ", \"unsent\": %" PRIu64 ", \"no_room\": %" PRIu64
               ", \"no_url\": %" PRIu64 ", \"unreadable\": %" PRIu64 ", ",
               result->notice_failures, result->notices_unsent, counts->no_room, counts->no_url,
               counts->unreadable);
    json_statuses(out, "statuses", result->notice_statuses);
    buf_printf(out, "},\n");
}

static void json_run(struct buf *out, const struct report *report)
{
    const struct options *options = report->options;
    const struct engine_result *result = report->result;
    buf_printf(out, "  \"url\": \"");
    buf_put_json_escaped(out, str_from(options->url));
    buf_printf(out,
               "\", \"version\": \"%s\", \"seed\": %" PRIu64
               ",\n  \"mode\": \"%s\", \"connections\": %" PRId64 ", \"persons\": %" PRId64
               ", \"zipf\": %g, \"bodies\": %u,\n",
               JOINTCAP_VERSION, report->seed,
               options->saturate  ? "saturate"
               : options->poisson ? "poisson"
                                  : "constant",
               options->connections, options->persons, options->zipf, report->templates->count);
    buf_printf(out,
               "  \"measured_s\": %.6f, \"due\": %" PRIu64
               ", \"target_rate\": %.3f, \"delivered_rate\": %.3f, \"delivered\": %s,\n",
               result->measured_s, result->due, report_target(report), report_delivered(report),
               report_is_delivered(report) ? "true" : "false");
    buf_printf(out,
               "  \"generator_cpu\": %.3f, \"connects\": %" PRIu64
               ", \"connect_failures\": %" PRIu64 ", \"answer_bytes\": %" PRIu64
               ",\n  \"outcomes\": {",
               result->cpu_share, result->connects, result->connect_failures, result->answer_bytes);
    for (int i = 0; i < OUTCOMES; i++) {
        buf_printf(out, "%s\"%s\": %" PRIu64, i ? ", " : "", outcome_name((enum outcome)i),
                   result->outcomes[i]);
    }
    buf_printf(out, "},\n  ");
    json_statuses(out, "statuses", result->statuses);
    buf_printf(out, ",\n");
}

enum status report_json(const struct report *report, const char *path)
{
    const struct engine_result *result = report->result;
    struct buf out;
    buf_init(&out, 64 << 20);
    buf_printf(&out, "{\n");
    json_run(&out, report);
    json_hist(&out, "latency_us", &result->planned);
    json_hist(&out, "service_us", &result->service);
    json_hist(&out, "late_us", &result->late);
    json_hist(&out, "notice_us", &result->notice);
    json_notices(&out, result);
    buf_printf(&out, "  \"seconds\": [");
    for (unsigned i = 0; i < result->second_count; i++) {
        const struct engine_second *second = &result->seconds[i];
        buf_printf(&out, "%s{\"answers\": %u, \"p50\": %u, \"p99\": %u, \"max\": %u}",
                   i ? ",\n    " : "", second->answers, second->p50_us, second->p99_us,
                   second->max_us);
    }
    buf_printf(&out, "]\n}\n");
    FILE *file = fopen(path, "w");
    bool is_written = file && !buf_failed(&out) && fwrite(out.data, 1, out.len, file) == out.len;
    is_written &= file && fclose(file) == 0;
    buf_deinit(&out);
    if (!is_written) {
        perror(path);
    }
    return is_written ? STATUS_OK : STATUS_IO;
}
