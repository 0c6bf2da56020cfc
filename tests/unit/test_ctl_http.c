/* The answers jointcapctl reads: whole, cut at every byte, broken. */
#include "bidder/ctl_http.h"

#include <stdlib.h>

#include "bidder/ctl.h"
#include "tests/test.h"

static enum status parse(struct str bytes, bool complete, int *code, struct buf *body)
{
    /* Exactly as large as the text, so that ASan sees a read one byte too far. */
    char *copy = malloc(bytes.len ? bytes.len : 1);
    memcpy(copy, bytes.ptr, bytes.len);
    buf_reset(body);
    enum status status = ctl_http_parse((struct str){copy, bytes.len}, complete, code, body);
    free(copy);
    return status;
}

TEST(answers)
{
    static const struct {
        const char *bytes;
        enum status open, closed; /* while the peer may send more, and when it is done */
        int code;
        const char *body;
    } cases[] = {
        {"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", STATUS_OK, STATUS_OK, 200, "hi"},
        {"HTTP/1.1 200 OK\r\ncontent-LENGTH:2\r\n\r\nhi more", STATUS_OK, STATUS_OK, 200, "hi"},
        {"HTTP/1.0 404 Not Found\r\n\r\nwhole", STATUS_LIMIT, STATUS_OK, 404, "whole"},
        {"HTTP/1.1 204 No Content\r\n\r\n", STATUS_OK, STATUS_OK, 204, ""},
        {"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Made\r\nContent-Length: 0\r\n\r\n", STATUS_OK,
         STATUS_OK, 201, ""},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\nA;x=y\r\n, you two.\r\n"
         "0\r\nTrailer: x\r\n\r\n",
         STATUS_OK, STATUS_OK, 200, "hi, you two."},
        {"HTTP/1.1 200 OK\nContent-Length: 2\n\nhi", STATUS_OK, STATUS_OK, 200, "hi"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct buf body;
        int code = 0;
        buf_init(&body, 1024);
        struct str bytes = str_from(cases[i].bytes);
        CHECK_INT(parse(bytes, false, &code, &body), cases[i].open);
        CHECK_INT(parse(bytes, true, &code, &body), cases[i].closed);
        CHECK_INT(code, cases[i].code);
        CHECK_STR(buf_str(&body), cases[i].body);
        buf_deinit(&body);
    }
}

TEST(cut_anywhere_needs_more)
{
    static const char *const whole[] = {
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
    };
    for (size_t i = 0; i < sizeof(whole) / sizeof(whole[0]); i++) {
        for (size_t length = 0; length < strlen(whole[i]); length++) {
            struct buf body;
            int code;
            buf_init(&body, 1024);
            CHECK_INT(parse((struct str){whole[i], length}, false, &code, &body), STATUS_LIMIT);
            CHECK_INT(parse((struct str){whole[i], length}, true, &code, &body), STATUS_INVALID);
            CHECK_INT(body.len, 0);
            buf_deinit(&body);
        }
    }
}

TEST(broken_answers)
{
    static const char *const broken[] = {
        "SSH-2.0-x\r\n",
        "HTTP/2 200\r\n\r\n",
        "HTTP/1.1 abc\r\n\r\n",
        "HTTP/1.1 99 x\r\n\r\n",
        "HTTP/1.1 600 x\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n",
    };
    for (size_t i = 0; i < sizeof(broken) / sizeof(broken[0]); i++) {
        struct buf body;
        int code;
        buf_init(&body, 1024);
        if (parse(str_from(broken[i]), false, &code, &body) != STATUS_INVALID) {
            TEST_FAIL("accepted: %s", broken[i]);
        }
        buf_deinit(&body);
    }
}

/* A command line of words between single spaces; call points into words. */
static bool parse_line(const struct ctl_command *command, const char *line, char words[256],
                       struct ctl_call *call)
{
    char *argv[16];
    int argc = 0;
    snprintf(words, 256, "%s", line);
    for (char *at = words; at; argc++) {
        argv[argc] = at;
        at = strchr(at, ' ');
        if (at) {
            *at++ = '\0';
        }
    }
    return ctl_parse(command, argc, argv, call);
}

TEST(arguments)
{
    static const struct ctl_option options[] = {{"--name", "NAME", "a name", "nobody"},
                                                {"--loud", NULL, "a switch", NULL}};
    static const struct ctl_command command = {.name = "greet",
                                               .arguments = "WHAT",
                                               CTL_OPTIONS(options),
                                               .min_arguments = 1,
                                               .max_arguments = 2};
    struct ctl_call call;
    char words[256];
    CHECK(parse_line(&command, "hello", words, &call));
    CHECK_STR(str_from(ctl_value(&call, "--name")), "nobody");
    CHECK(!ctl_given(&call, "--loud"));
    CHECK(parse_line(&command, "--name you hello --loud -- --name", words, &call));
    CHECK_STR(str_from(ctl_value(&call, "--name")), "you");
    CHECK(ctl_given(&call, "--loud"));
    CHECK_INT(call.argument_count, 2);
    CHECK_STR(str_from(call.arguments[1]), "--name");
    CHECK(parse_line(&command, "--name= -", words, &call));
    CHECK_STR(str_from(ctl_value(&call, "--name")), "");
    CHECK_STR(str_from(call.arguments[0]), "-");
    static const char *const wrong[] = {"--loud", "x --lout", "x --name", "x y z", "x --loud=1"};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        CHECK(!parse_line(&command, wrong[i], words, &call));
    }
}

TEST(url_parts)
{
    struct buf out;
    buf_init(&out, 256);
    ctl_put_url_escaped(&out, "a-Z_0.~ /?&=%\xe4");
    CHECK_STR(buf_str(&out), "a-Z_0.~%20%2F%3F%26%3D%25%E4");
    buf_deinit(&out);
}
