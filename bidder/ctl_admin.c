/* How jointcapctl's commands reach a running bidder. */
#include <stdio.h>
#include <stdlib.h>

#include "bidder/ctl.h"
#include "bidder/ctl_http.h"

#define MAX_BODY_BYTES   ((size_t)256 << 20)
#define TIMEOUT_S        30
#define TOKEN_FILE_BYTES ((size_t)1 << 18) /* the reader takes files in large pieces */

/* The token's text without the end of its line. False with a message. */
static bool read_token(const struct ctl_call *call, struct buf *token)
{
    const char *file = ctl_value(call, "--token-file");
    const char *text = getenv("JOINTCAP_ADMIN_TOKEN");
    if (file && !ctl_read_file(file, token)) {
        return false;
    }
    if (!file && text) {
        buf_put_str(token, str_from(text));
    }
    while (token->len && (unsigned char)token->data[token->len - 1] <= ' ') {
        token->len--;
    }
    for (size_t i = 0; i < token->len; i++) {
        if ((unsigned char)token->data[i] <= ' ' || (unsigned char)token->data[i] >= 0x7f) {
            fputs("jointcapctl: the admin token must be one word of printable letters\n", stderr);
            return false;
        }
    }
    return true;
}

enum ctl_exit ctl_admin(const struct ctl_call *call, const char *method, const char *path,
                        const char *content_type, struct str body, struct ctl_reply *reply)
{
    buf_init(&reply->body, MAX_BODY_BYTES);
    reply->status = 0;
    struct buf token, error;
    buf_init(&token, TOKEN_FILE_BYTES);
    buf_init(&error, 1024);
    enum ctl_exit result = CTL_USAGE;
    const char *environment = getenv("JOINTCAP_ADMIN");
    const char *address = ctl_value(call, "--admin");
    /* An option that was given wins over the environment, the environment over the fallback. */
    for (size_t i = 0; environment && i < call->command->option_count; i++) {
        if (call->command->options[i].fallback == address && !call->values[i]) {
            address = environment;
            break;
        }
    }
    if (read_token(call, &token)) {
        struct ctl_http_request request = {
            .address = address,
            .method = method,
            .path = path,
            .token = buf_str(&token),
            .content_type = content_type,
            .body = body,
            .timeout_s = TIMEOUT_S,
        };
        enum status status = ctl_http(&request, &reply->status, &reply->body, &error);
        result = status == STATUS_OK ? CTL_OK : CTL_UNREACHABLE;
        if (status != STATUS_OK) {
            fprintf(stderr, "jointcapctl: %s: %.*s\n", address, STR_ARG(buf_str(&error)));
        }
    }
    buf_deinit(&token);
    buf_deinit(&error);
    return result;
}

void ctl_reply_deinit(struct ctl_reply *reply)
{
    buf_deinit(&reply->body);
}

int ctl_print_reply(const struct ctl_reply *reply)
{
    bool good = reply->status >= 200 && reply->status < 300;
    FILE *out = good ? stdout : stderr;
    if (!good) {
        fprintf(out, "jointcapctl: the server answered %d%s\n", reply->status,
                reply->status == 401 || reply->status == 403 ? " (is the admin token right?)" : "");
    }
    struct str body = buf_str(&reply->body);
    if (body.len) {
        fwrite(body.ptr, 1, body.len, out);
        if (body.ptr[body.len - 1] != '\n') {
            fputc('\n', out);
        }
    }
    return good ? CTL_OK : CTL_FAILED;
}
