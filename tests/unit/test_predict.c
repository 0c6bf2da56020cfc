#include "tests/test.h"

#include <stdlib.h>
#include <unistd.h>

#include "bidder/predict.h"

static char path[64];

static struct predict_model *import(const char *text)
{
    struct buf error;
    struct predict_model *model = NULL;
    buf_init(&error, 4096);
    snprintf(path, sizeof(path), "/tmp/jointcap-model-%d", (int)getpid());
    CHECK_INT(predict_import(str_from(text), 12, path, &error), STATUS_OK);
    CHECK_INT(predict_open(path, &model, &error), STATUS_OK);
    CHECK_STR(buf_str(&error), "");
    buf_deinit(&error);
    return model;
}

TEST(rates_follow_the_logistic_curve_of_the_weights)
{
    struct predict_model *model = import("# model\nclick\tbias\t-4.6\nclick\tos=android\t0.5\n"
                                         "click\tformat=video\t-0.25\naction\tbias\t-9\n");
    struct bid_request request = {.device = {.os = STR("Android")}};
    struct bidreq_av video = {0};
    struct bidreq_imp imp = {.video = &video};
    struct predict_request prepared;
    predict_prepare(&prepared, STR("x"), &request, 30);
    /* 1 / (1 + e^4.35) = 0.0127423... (feature text is case-folded: Android = android) */
    int64_t rate = predict_rate_ppb(model, PREDICT_CLICK, &prepared, &imp, STR("l"), STR("c"));
    CHECK(rate > 12742000 && rate < 12743000);
    request.device.os = STR("ios");
    predict_prepare(&prepared, STR("x"), &request, 30);
    int64_t other = predict_rate_ppb(model, PREDICT_CLICK, &prepared, &imp, STR("l"), STR("c"));
    CHECK(other > 7767000 && other < 7768000); /* 1 / (1 + e^4.85) */
    int64_t action = predict_rate_ppb(model, PREDICT_ACTION, &prepared, &imp, STR("l"), STR("c"));
    CHECK(action > 123390 && action < 123400); /* 1 / (1 + e^9) */
    predict_close(&model);
    CHECK(model == NULL);
    unlink(path);
}

TEST(a_goal_becomes_a_cpm_in_integers)
{
    CHECK_INT(predict_cpm_micros(2000000, 10000000), 20000000); /* 2.00 a click, 1%: 20.00 CPM */
    CHECK_INT(predict_cpm_micros(0, 10000000), 0);
    CHECK_INT(predict_cpm_micros(INT64_MAX, 1000000000), INT64_MAX);
}

TEST(what_is_no_model_is_refused)
{
    struct predict_model *model = import("click\tbias\t-4\n");
    predict_close(&model);
    struct buf error;
    buf_init(&error, 4096);
    CHECK_INT(truncate(path, 1000), 0);
    CHECK_INT(predict_open(path, &model, &error), STATUS_INVALID);
    CHECK_INT(truncate(path, 0), 0);
    CHECK_INT(predict_open(path, &model, &error), STATUS_INVALID);
    unlink(path);
    CHECK_INT(predict_open(path, &model, &error), STATUS_IO);
    static const char *const bad[] = {"clik\tbias\t1\n", "click\tbias\tx\n", "click\tos\t1\n",
                                      "click\t=x\t1\n", "click\tos=a\t1e9\n"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        CHECK_INT(predict_import(str_from(bad[i]), 12, path, &error), STATUS_INVALID);
    }
    CHECK_INT(predict_import(STR(""), 99, path, &error), STATUS_INVALID);
    CHECK(access(path, F_OK) != 0);
    buf_deinit(&error);
}
