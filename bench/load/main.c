/* jointcap-load: reads options, finds the addresses, runs, reports. Exit codes as in --help. */
#include <netdb.h>
#include <netinet/in.h>
#include <sched.h>

#include "bench/load/engine.h"
#include "bench/load/report.h"
#include "bidder/base/clock.h"

enum { EXIT_FAILED = 1, EXIT_USAGE = 2, EXIT_NOT_DELIVERED = 3 };

static bool is_this_machine(const struct sockaddr *address)
{
    if (address->sa_family == AF_INET) {
        const struct sockaddr_in *in = (const void *)address;
        return ntohl(in->sin_addr.s_addr) >> 24 == 127;
    }
    const struct sockaddr_in6 *in6 = (const void *)address;
    return IN6_IS_ADDR_LOOPBACK(&in6->sin6_addr);
}

/* HOST:PORT or [V6]:PORT */
static bool resolve(struct engine_target *target, struct str authority, bool any_machine)
{
    char text[300], *port;
    if (!authority.len || authority.len >= sizeof(text) - 4) {
        return false;
    }
    memcpy(text, authority.ptr, authority.len);
    text[authority.len] = '\0';
    char *host = text, *end = strrchr(text, ']');
    port = strrchr(end ? end : text, ':');
    if (port) {
        *port++ = '\0';
    }
    if (end && text[0] == '[') {
        host++;
        *end = '\0';
    }
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_family = AF_UNSPEC}, *found;
    int error = getaddrinfo(host, port ? port : "80", &hints, &found);
    if (error) {
        fprintf(stderr, "jointcap-load: %s: %s\n", host, gai_strerror(error));
        return false;
    }
    bool is_allowed = any_machine || is_this_machine(found->ai_addr);
    if (is_allowed) {
        memcpy(&target->address, found->ai_addr, found->ai_addrlen);
        target->len = found->ai_addrlen;
    } else {
        fprintf(stderr, "jointcap-load: %s is not this machine; load on others needs --i-know\n",
                host);
    }
    freeaddrinfo(found);
    return is_allowed;
}

static bool split_url(const char *url, struct str *authority, struct str *path)
{
    struct str rest = str_from(url);
    if (!str_starts(rest, STR("http://"))) {
        fprintf(stderr, "jointcap-load: the url must start with http://\n");
        return false;
    }
    rest.ptr += 7;
    rest.len -= 7;
    *authority = rest;
    const char *slash = rest.len ? memchr(rest.ptr, '/', rest.len) : NULL;
    *path = STR("/");
    if (slash) {
        authority->len = (size_t)(slash - rest.ptr);
        *path = (struct str){.ptr = slash, .len = rest.len - authority->len};
    }
    return true;
}

static void pin(int64_t cpu)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET((size_t)cpu, &set);
    if (sched_setaffinity(0, sizeof(set), &set) != 0) {
        perror("jointcap-load: --pin");
    }
}

static int run(const struct options *options, struct templates *templates,
               const struct engine_target *bidder, const struct engine_target *notices)
{
    uint64_t seed = options->seed ? (uint64_t)options->seed : (uint64_t)clock_wall_us();
    struct engine_result *result = malloc(sizeof(*result));
    if (!result) {
        return EXIT_FAILED;
    }
    int code = EXIT_FAILED;
    enum status status = engine_run(result, options, templates, bidder, notices, seed);
    if (status != STATUS_OK) {
        fprintf(stderr, "jointcap-load: %s: cannot connect (%s)\n", options->url,
                status_name(status));
        goto out;
    }
    struct report report = {
        .options = options, .templates = templates, .result = result, .seed = seed};
    report_text(&report, stdout);
    bool is_written = true;
    if (options->json) {
        is_written = report_json(&report, options->json) == STATUS_OK;
    }
    if (options->svg) {
        is_written &= report_svg(&report, options->svg) == STATUS_OK;
    }
    code = !is_written                                    ? EXIT_FAILED
           : report_is_delivered(&report)                 ? EXIT_SUCCESS
           : engine_answers(result) || !options->saturate ? EXIT_NOT_DELIVERED
                                                          : EXIT_FAILED;
out:
    engine_result_deinit(result);
    free(result);
    return code;
}

int main(int argc, char **argv)
{
    struct options options;
    if (options_parse(&options, argc, argv) != STATUS_OK) {
        return EXIT_USAGE;
    }
    if (options.help || options.version) {
        if (options.help) {
            options_print_help(stdout);
        } else {
            puts("jointcap-load " JOINTCAP_VERSION);
        }
        return EXIT_SUCCESS;
    }
    struct str authority, path;
    struct engine_target bidder = {0}, notices;
    if (!split_url(options.url, &authority, &path) ||
        !resolve(&bidder, authority, options.i_know)) {
        return EXIT_USAGE;
    }
    notices = bidder;
    if (options.notice_to && !resolve(&notices, str_from(options.notice_to), options.i_know)) {
        return EXIT_USAGE;
    }
    if (options.pin >= 0) {
        pin(options.pin);
    }
    struct templates templates;
    int code = EXIT_USAGE;
    if (templates_load(&templates, &options, authority, path) == STATUS_OK) {
        code = run(&options, &templates, &bidder, &notices);
    }
    templates_deinit(&templates);
    return code;
}
