/* Draws latency over percentile: both axes logarithmic, the x axis towards 100%, so that each step
 * to the right is ten times rarer. */
#include <math.h>

#include "bench/load/report.h"
#include "bidder/base/bug.h"

#define WIDTH  760.0
#define HEIGHT 420.0
#define LEFT   70.0
#define RIGHT  20.0
#define TOP    50.0
#define BOTTOM 50.0

struct axes {
    double nines; /* the x axis ends at 1 - 10^-nines */
    double low;   /* log10 of the y range, in us */
    double high;
};

static double x_of(const struct axes *axes, double fraction)
{
    double nines = fraction >= 1 ? axes->nines : -log10(1 - fraction);
    return LEFT + (WIDTH - LEFT - RIGHT) * (nines / axes->nines);
}

static double y_of(const struct axes *axes, double latency_us)
{
    double at = (log10(latency_us) - axes->low) / (axes->high - axes->low);
    return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * (at < 0 ? 0 : at);
}

static void draw_grid(FILE *out, const struct axes *axes)
{
    static const struct {
        double fraction;
        const char *name;
    } marks[] = {{0, "0%"},        {0.5, "50%"},       {0.9, "90%"},        {0.99, "99%"},
                 {0.999, "99.9%"}, {0.9999, "99.99%"}, {0.99999, "99.999%"}};
    for (size_t i = 0; i < COUNT_OF(marks); i++) {
        if (-log10(1 - marks[i].fraction) > axes->nines) {
            break;
        }
        double x = x_of(axes, marks[i].fraction);
        fprintf(out,
                "<path class=\"grid\" d=\"M%.1f %.1fV%.1f\"/><text x=\"%.1f\" y=\"%.1f\" "
                "text-anchor=\"middle\">%s</text>\n",
                x, TOP, HEIGHT - BOTTOM, x, HEIGHT - BOTTOM + 18, marks[i].name);
    }
    for (int decade = (int)axes->low; decade <= (int)axes->high; decade++) {
        double y = y_of(axes, pow(10, decade));
        bool is_ms = decade >= 3;
        fprintf(out,
                "<path class=\"grid\" d=\"M%.1f %.1fH%.1f\"/><text x=\"%.1f\" y=\"%.1f\" "
                "text-anchor=\"end\">%g %s</text>\n",
                LEFT, y, WIDTH - RIGHT, LEFT - 6, y + 4, pow(10, is_ms ? decade - 3 : decade),
                is_ms ? "ms" : "us");
    }
}

static void draw_curve(FILE *out, const struct axes *axes, const struct hist *hist,
                       const char *class)
{
    uint64_t seen = 0;
    char step = 'M';
    fprintf(out, "<path class=\"%s\" d=\"", class);
    for (unsigned i = 0; i < HIST_STEPS; i++) {
        if (!hist->steps[i]) {
            continue;
        }
        seen += hist->steps[i];
        uint64_t top = hist_step_top(i) < hist->max ? hist_step_top(i) : hist->max;
        double latency_us = (double)(top ? top : 1) / 1000;
        fprintf(out, "%c%.1f %.1f", step, x_of(axes, (double)seen / (double)hist->count),
                y_of(axes, latency_us));
        step = 'L';
    }
    fprintf(out, "\"/>\n");
}

enum status report_svg(const struct report *report, const char *path)
{
    const struct hist *planned = &report->result->planned, *service = &report->result->service;
    FILE *out = fopen(path, "w");
    if (!out) {
        perror(path);
        return STATUS_IO;
    }
    uint64_t highest = planned->max > service->max ? planned->max : service->max;
    struct axes axes = {
        .nines = planned->count > 10 ? log10((double)planned->count) : 1,
        .low = floor(log10((double)(hist_quantile(service, 0.001) + 1) / 1000)),
        .high = ceil(log10((double)(highest + 1) / 1000)),
    };
    axes.high = axes.high > axes.low ? axes.high : axes.low + 1;
    fprintf(out,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %.0f %.0f\" "
            "font-family=\"sans-serif\" font-size=\"12\">\n<style>.grid{stroke:#ddd}"
            ".planned{stroke:#c2410c;fill:none;stroke-width:2}"
            ".service{stroke:#1d4ed8;fill:none;stroke-width:2}</style>\n"
            "<rect width=\"100%%\" height=\"100%%\" fill=\"#fff\"/>\n",
            WIDTH, HEIGHT);
    fprintf(out,
            "<text x=\"%.0f\" y=\"20\" font-size=\"14\">Latency by percentile: %.0f/s answered of "
            "%.0f/s%s, %lld connections</text>\n",
            LEFT, report_delivered(report), report_target(report),
            report->options->saturate ? " (closed loop)" : "",
            (long long)report->options->connections);
    fprintf(out,
            "<text x=\"%.0f\" y=\"38\" fill=\"#c2410c\">from the planned send time</text>"
            "<text x=\"%.0f\" y=\"38\" fill=\"#1d4ed8\">from the actual send</text>\n",
            LEFT, LEFT + 190);
    draw_grid(out, &axes);
    draw_curve(out, &axes, planned, "planned");
    draw_curve(out, &axes, service, "service");
    fprintf(out, "</svg>\n");
    bool is_written = !ferror(out);
    is_written &= fclose(out) == 0;
    return is_written ? STATUS_OK : STATUS_IO;
}
