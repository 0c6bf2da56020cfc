#include "bidder/control.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bidder/base/bug.h"

struct frame {
    uint32_t len;
    uint32_t type;
    uint64_t id;
};

#define CONTROL_RECV_BYTES (64 * 1024)

static void lost(struct control *control)
{
    control_close(control);
    control->closed(control->context);
}

static void flush(struct control *control)
{
    bool blocked = false;
    while (control->out_sent < control->out.len && !blocked) {
        ssize_t sent = send(control->fd, control->out.data + control->out_sent,
                            control->out.len - control->out_sent, MSG_NOSIGNAL);
        if (sent >= 0) {
            control->out_sent += (size_t)sent;
        } else if (errno != EINTR) {
            /* A lost peer shows as the end of input, in on_readable: never in the middle of a
             * caller's control_send. */
            blocked = errno == EAGAIN;
            control->out_sent = blocked ? control->out_sent : control->out.len;
        }
    }
    if (control->out_sent > control->out.len / 2) { /* not each time: all the rest is moved */
        buf_consume(&control->out, control->out_sent);
        control->out_sent = 0;
    }
    if (blocked != control->writing) {
        control->writing = blocked;
        (blocked ? loop_io_start : loop_io_stop)(&control->writable);
    }
}

static void on_writable(void *context, int fd, short events)
{
    (void)fd;
    (void)events;
    flush(context);
}

/* Delivers the whole frames; false when the channel was closed meanwhile. */
static bool deliver(struct control *control)
{
    size_t done = 0;
    while (control->in.len - done >= sizeof(struct frame)) {
        struct frame frame;
        memcpy(&frame, control->in.data + done, sizeof(frame));
        BUG_ON(frame.len > CONTROL_MAX_BYTES || frame.type > CONTROL_REPLY);
        if (control->in.len - done - sizeof(frame) < frame.len) {
            break;
        }
        struct str payload = {control->in.data + done + sizeof(frame), frame.len};
        done += sizeof(frame) + frame.len;
        control->message(control->context, (enum control_type)frame.type, frame.id, payload);
        if (control->fd < 0) {
            return false;
        }
    }
    buf_consume(&control->in, done);
    return true;
}

static void on_readable(void *context, int fd, short events)
{
    (void)events;
    struct control *control = context;
    char *at = buf_reserve(&control->in, CONTROL_RECV_BYTES);
    BUG_ON(!at);
    ssize_t got = recv(fd, at, control->in.cap - control->in.len, 0);
    if (got > 0) {
        control->in.len += (size_t)got;
        deliver(control);
    } else if (got == 0 || (errno != EAGAIN && errno != EINTR)) {
        lost(control);
    }
}

void control_open(struct control *control, struct loop *loop, int fd)
{
    control->loop = loop;
    control->fd = fd;
    control->writing = false;
    control->out_sent = 0;
    fcntl(fd, F_SETFL, O_NONBLOCK);
    buf_init(&control->in, CONTROL_MAX_BYTES + 2 * CONTROL_RECV_BYTES);
    buf_init(&control->out, CONTROL_MAX_BYTES + 2 * CONTROL_RECV_BYTES);
    loop_io_init(&control->readable, loop, fd, EV_READ | EV_PERSIST, on_readable, control);
    loop_io_init(&control->writable, loop, fd, EV_WRITE | EV_PERSIST, on_writable, control);
    loop_io_start(&control->readable);
}

void control_close(struct control *control)
{
    if (control->fd < 0) {
        return;
    }
    loop_io_stop(&control->readable);
    loop_io_stop(&control->writable);
    close(control->fd);
    control->fd = -1;
    buf_deinit(&control->in);
    buf_deinit(&control->out);
}

bool control_has_room(const struct control *control, size_t len)
{
    size_t queued = control->fd < 0 ? 0 : control->out.len - control->out_sent;
    return len <= CONTROL_MAX_BYTES && (!queued || queued + len <= CONTROL_QUEUE_BYTES);
}

void control_send(struct control *control, enum control_type type, uint64_t id, struct str payload)
{
    if (control->fd < 0) {
        return;
    }
    struct frame frame = {.len = (uint32_t)payload.len, .type = type, .id = id};
    BUG_ON(payload.len > CONTROL_MAX_BYTES);
    buf_put(&control->out, &frame, sizeof(frame));
    buf_put_str(&control->out, payload);
    BUG_ON(buf_failed(&control->out)); /* half a frame must not go out */
    if (!control->writing) {
        flush(control);
    }
}
