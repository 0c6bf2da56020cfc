/* Forked processes count into shared memory; the text form. */
#include "tests/test.h"

#include <sys/wait.h>
#include <unistd.h>

#include "bidder/base/metric.h"

static const char *color(unsigned index)
{
    static const char *const names[] = {"red", "gr\"een"};
    return names[index];
}

#define SAMPLE_METRICS(X)                                                                          \
    X(SAMPLE_SEEN, METRIC_COUNTER, "sample_seen_total", NULL, NULL, 1, "Things seen.")             \
    X(SAMPLE_COLOR, METRIC_COUNTER, "sample_color_total", "color", color, 2, "By color.")          \
    X(SAMPLE_OPEN, METRIC_GAUGE, "sample_open", NULL, NULL, 1, "Open now.")                        \
    X(SAMPLE_LAG, METRIC_GAUGE_MAX, "sample_lag", NULL, NULL, 1, "Worst.")                         \
    X(SAMPLE_TIME, METRIC_TIME, "sample_seconds", "color", color, 2, "Times.")
METRIC_DECLARE(sample, SAMPLE_METRICS);
METRIC_DEFINE(sample, SAMPLE_METRICS);

static struct metric_matrix lines = {.name = "sample_lines_total",
                                     .row_label = "line",
                                     .column_label = "color",
                                     .help = "By line.",
                                     .column_text = color,
                                     .rows = 4,
                                     .columns = 2};

static bool contains(const struct buf *out, const char *line)
{
    return memmem(out->data, out->len, line, strlen(line)) != NULL;
}

TEST(counts_before_setup_are_dropped)
{
    METRIC_INC(sample_metrics, SAMPLE_SEEN);
    metric_observe(&sample_metrics, SAMPLE_TIME, 1, 5);
    metric_matrix_add(&lines, 1, 1, 1);
    CHECK_INT(metric_matrix_find(&lines, STR("x")), METRIC_ROW_OTHER);
}

TEST(slots_of_forked_processes_add_up)
{
    metric_register(&sample_metrics);
    metric_register(&sample_metrics); /* twice is once */
    metric_matrix_register(&lines);
    CHECK_INT(metric_setup(3), STATUS_OK);
    for (unsigned slot = 0; slot < 2; slot++) {
        pid_t child = fork();
        if (child == 0) {
            metric_use_slot(slot);
            metric_add(&sample_metrics, SAMPLE_SEEN, 0, 10 + slot);
            metric_add(&sample_metrics, SAMPLE_COLOR, 1, 1);
            metric_set(&sample_metrics, SAMPLE_OPEN, 0, 4);
            metric_set(&sample_metrics, SAMPLE_LAG, 0, 100 + slot);
            metric_observe(&sample_metrics, SAMPLE_TIME, 1, 2000);
            uint32_t row = metric_matrix_row(&lines, slot ? STR("b") : STR("a"));
            metric_matrix_add(&lines, row, 0, 7);
            metric_matrix_add(&lines, metric_matrix_row(&lines, STR("a")), 1, 1);
            _exit(0);
        }
        int status;
        CHECK(waitpid(child, &status, 0) == child && status == 0);
    }
    CHECK_INT(metric_sum(&sample_metrics, SAMPLE_SEEN, 0), 21);
    CHECK_INT(metric_of_slot(&sample_metrics, SAMPLE_SEEN, 0, 1), 11);
    CHECK_INT(metric_sum(&sample_metrics, SAMPLE_OPEN, 0), 8);
    CHECK_INT(metric_sum(&sample_metrics, SAMPLE_LAG, 0), 101);
    uint32_t a = metric_matrix_find(&lines, STR("a")), b = metric_matrix_find(&lines, STR("b"));
    CHECK(a != b && a && b);
    CHECK_INT(metric_matrix_sum(&lines, a, 0), 7);
    CHECK_INT(metric_matrix_sum(&lines, a, 1), 2);

    metric_use_slot(1); /* a worker that was restarted: counters stay, gauges start anew */
    CHECK_INT(metric_sum(&sample_metrics, SAMPLE_SEEN, 0), 21);
    CHECK_INT(metric_sum(&sample_metrics, SAMPLE_OPEN, 0), 4);
    METRIC_INC(sample_metrics, SAMPLE_SEEN);
    CHECK_INT(metric_sum(&sample_metrics, SAMPLE_SEEN, 0), 22);
}

#define LONG_NAME "a name of 62 bytes, one less than there is room for, and so on"

TEST(rows_run_out_into_other)
{
    struct str c = STR(LONG_NAME "\xc3\xa9tude"); /* cut before a character, not within */
    CHECK(metric_matrix_row(&lines, c) != METRIC_ROW_OTHER);
    CHECK_INT(metric_matrix_row(&lines, STR("d")), METRIC_ROW_OTHER);
    CHECK_INT(metric_matrix_row(&lines, c), metric_matrix_find(&lines, STR(LONG_NAME)));
    metric_matrix_add(&lines, metric_matrix_find(&lines, c), 0, 3);
    CHECK_INT(metric_matrix_row(&lines, STR_NONE), METRIC_ROW_OTHER);
}

TEST(prometheus_text_is_complete)
{
    struct buf out;
    buf_init(&out, 1 << 20);
    metric_write(&out, 1000);
    CHECK(contains(&out, "# TYPE sample_seen_total counter\nsample_seen_total 22\n"));
    CHECK(contains(&out, "sample_color_total{color=\"gr\\\"een\"} 2\n"));
    CHECK(contains(&out, "sample_seconds_bucket{color=\"gr\\\"een\",le=\"1e-06\"} 0\n"));
    CHECK(contains(&out, "sample_seconds_bucket{color=\"gr\\\"een\",le=\"2.5e-06\"} 2\n"));
    CHECK(contains(&out, "sample_seconds_bucket{color=\"gr\\\"een\",le=\"+Inf\"} 2\n"));
    CHECK(contains(&out, "sample_seconds_sum{color=\"gr\\\"een\"} 4e-06\n"));
    CHECK(contains(&out, "sample_lines_total{line=\"b\",color=\"red\"} 7\n"));
    CHECK(contains(&out, "sample_lines_total{line=\"" LONG_NAME "\",color=\"red\"} 3\n"));
    buf_reset(&out);
    metric_write(&out, 1); /* too many rows for the short form */
    CHECK(!contains(&out, "sample_lines_total"));
    metric_write_matrix(&out, &lines);
    CHECK(contains(&out, "sample_lines_total{line=\"a\",color=\"red\"} 7\n"));
    buf_deinit(&out);
    metric_teardown();
}
