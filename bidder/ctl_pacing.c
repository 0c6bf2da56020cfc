/* jointcapctl pacing: are the budgets on plan, and if not, why. */
#include "bidder/ctl.h"

static int run_pacing(const struct ctl_call *call)
{
    struct ctl_reply reply;
    const char *path = ctl_value(call, "--json") ? "/pacing?format=json" : "/pacing";
    int result = ctl_admin(call, "GET", path, NULL, STR_NONE, &reply);
    result = result == CTL_OK ? ctl_print_reply(&reply) : result;
    ctl_reply_deinit(&reply);
    return result;
}

static const struct ctl_option pacing_options[] = {
    {"--json", NULL, "one JSON object a line", NULL},
    CTL_ADMIN_OPTIONS,
};
const struct ctl_command ctl_pacing = {
    .name = "pacing",
    .arguments = "",
    .summary = "planned and spent of every budget, throttle, forecast, and why it is behind",
    .help =
        "Asks a running bidder. spent and leased are of all workers, as one of them last heard;\n"
        "planned is by now, forecast by the end of the day, throttle the share of matching\n"
        "requests that lines of the budget take part in.",
    CTL_OPTIONS(pacing_options),
    .run = run_pacing,
};
