/* The channel over a socket pair whose other end reads when the test says so. */
#include "bidder/control.h"

#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bidder/base/bug.h"
#include "tests/test.h"

struct end {
    struct control control;
    uint32_t messages;
    size_t bytes;
    bool closed;
};

static void on_message(void *context, enum control_type type, uint64_t id, struct str payload)
{
    struct end *end = context;
    CHECK_INT(type, CONTROL_REPLY);
    CHECK_INT((int64_t)id, end->messages);
    end->messages++;
    end->bytes += payload.len;
}

static void on_closed(void *context)
{
    ((struct end *)context)->closed = true;
}

static void open_end(struct end *end, struct loop *loop, int fd)
{
    *end = (struct end){
        .control = {.message = on_message, .closed = on_closed, .context = end, .fd = -1}};
    control_open(&end->control, loop, fd);
}

static void turns(struct loop *loop, const struct end *until, uint32_t messages)
{
    for (int i = 0; i < 100000 && until->messages < messages && !until->closed; i++) {
        loop_turn(loop, false);
    }
}

TEST(what_clients_ask_for_has_room_only_so_long)
{
    const size_t large = (size_t)40 << 20;
    struct loop loop;
    struct end here, there;
    int pair[2];
    char *bytes = calloc(1, large);
    BUG_ON(!bytes || loop_init(&loop) || socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
    open_end(&here, &loop, pair[0]);
    CHECK(control_has_room(&here.control, CONTROL_MAX_BYTES)); /* the queue is empty */
    CHECK(!control_has_room(&here.control, (size_t)CONTROL_MAX_BYTES + 1));
    control_send(&here.control, CONTROL_REPLY, 0, (struct str){bytes, large});
    CHECK(!control_has_room(&here.control, large)); /* nobody reads */
    CHECK(control_has_room(&here.control, 1000));
    control_send(&here.control, CONTROL_REPLY, 1, (struct str){bytes, large}); /* its own word */
    CHECK(!control_has_room(&here.control, 1000));
    open_end(&there, &loop, pair[1]);
    turns(&loop, &there, 2);
    CHECK_INT(there.messages, 2);
    CHECK_INT((int64_t)there.bytes, (int64_t)(2 * large));
    CHECK(control_has_room(&here.control, large));
    control_close(&here.control);
    turns(&loop, &there, 3);
    CHECK(there.closed);
    loop_deinit(&loop);
    free(bytes);
}
