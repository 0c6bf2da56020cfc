/* The channel between the supervisor and one worker: framed messages over a socket pair.
 *
 *   frame  [ u32 payload length | u32 type | u64 id | payload ]       native byte order
 *
 *   supervisor -> worker                      worker -> supervisor
 *     PREPARE   id = generation, path           READY
 *     ACTIVATE  id = generation                 PREPARED   id = generation, '0' or '1', problems
 *     DRAIN                                     ACTIVATED  id = generation
 *     CALL      id = call, admin request        REPLY      id = call, admin response
 *
 * Both ends are ours: a malformed frame is a bug. When the other end closes, closed is called
 * once. Not on the request path: buffers grow as needed, up to CONTROL_MAX_BYTES. */
#pragma once

#include "bidder/base/buf.h"
#include "bidder/base/loop.h"
#include "bidder/base/str.h"

#define CONTROL_MAX_BYTES (512u << 20)
/* What may wait for the other end before calls and their replies are turned away: clients of the
 * admin port decide how many there are. What the two say for themselves always has room. */
#define CONTROL_QUEUE_BYTES (64u << 20)

enum control_type {
    CONTROL_PREPARE,
    CONTROL_ACTIVATE,
    CONTROL_DRAIN,
    CONTROL_CALL,
    CONTROL_READY,
    CONTROL_PREPARED,
    CONTROL_ACTIVATED,
    CONTROL_REPLY
};

struct control {
    struct loop *loop; /* borrowed */
    int fd;            /* owned; -1 when closed */
    struct loop_io readable, writable;
    bool writing;
    struct buf in, out;
    size_t out_sent; /* of out; cut off when it is more than half */
    /* payload is valid during the call, which may close the channel */
    void (*message)(void *context, enum control_type type, uint64_t id, struct str payload);
    void (*closed)(void *context);
    void *context;
};

/* The callbacks and context are set by the caller first. fd becomes non-blocking and owned. */
void control_open(struct control *control, struct loop *loop, int fd);
void control_close(struct control *control);
/* Does the queue take a payload of this length that somebody else asked for? An empty queue takes
 * any. */
bool control_has_room(const struct control *control, size_t len);
/* Queued and sent as the socket takes it; dropped when the channel is closed. */
void control_send(struct control *control, enum control_type type, uint64_t id, struct str payload);
