/* jointcapctl model: makes and checks the model file of predicted click and action rates. */
#include <stdio.h>

#include "bidder/ctl.h"
#include "bidder/predict.h"

#define TEXT_BYTES  ((size_t)1 << 30)
#define ERROR_BYTES 65536

static int say(const struct buf *error)
{
    fprintf(stderr, "jointcapctl: %.*s\n", STR_ARG(buf_str(error)));
    return CTL_FAILED;
}

static int import_model(const struct ctl_call *call, const char *from, const char *to,
                        struct buf *error)
{
    struct buf text;
    int64_t bits;
    if (!str_to_i64(str_from(ctl_value(call, "--bits")), &bits)) {
        fputs("jointcapctl: --bits takes a number\n", stderr);
        return CTL_USAGE;
    }
    buf_init(&text, TEXT_BYTES);
    int result = CTL_FAILED;
    if (ctl_read_file(from, &text)) {
        result =
            predict_import(buf_str(&text), (int)bits, to, error) == STATUS_OK ? CTL_OK : say(error);
    }
    buf_deinit(&text);
    return result;
}

static int check_model(const char *path, struct buf *error)
{
    struct predict_model *model = NULL;
    if (predict_open(path, &model, error) != STATUS_OK) {
        return say(error);
    }
    predict_close(&model);
    printf("%s: good\n", path);
    return CTL_OK;
}

static int run_model(const struct ctl_call *call)
{
    struct buf error;
    buf_init(&error, ERROR_BYTES);
    const char *out = ctl_value(call, "--out");
    int result = out ? import_model(call, call->arguments[0], out, &error) : CTL_OK;
    if (result == CTL_OK) {
        result = check_model(out ? out : call->arguments[0], &error);
    }
    buf_deinit(&error);
    return result;
}

static const struct ctl_option model_options[] = {
    {"--out", "FILE", "import: write the model here", NULL},
    {"--bits", "N", "import: log2 of the table's size, 8 to 24", "18"},
};
const struct ctl_command ctl_model = {
    .name = "model",
    .arguments = "FILE",
    .summary = "import or check a model of click and action rates",
    .help =
        "With --out, FILE is text and becomes a model; without, FILE is a model and is checked.\n"
        "Text lines are \"click|action TAB feature TAB weight\"; a feature is \"bias\" or "
        "name=value:\n"
        "exchange, media, hour, day (0 = Monday), device, os, city, connection, format, tag, "
        "line,\n"
        "creative. Weights are those of a logistic regression. The bidder maps the file named by "
        "its\n"
        "option \"model\" and takes a newer one with the next catalog.",
    CTL_OPTIONS(model_options),
    .min_arguments = 1,
    .max_arguments = 1,
    .run = run_model,
};
