/* The floor for one core: libevent's bare events, one recv and one send per request, a reader that
 * only finds the end of the request, and a constant answer of 67 bytes. What a bidder built on the
 * same library cannot beat.
 *
 * usage: floor_libevent [PORT]     listens on 127.0.0.1; prints the port */
#include <arpa/inet.h>
#include <errno.h>
#include <event2/event.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#define REQUEST_MAX 65536

static const char answer[] =
    "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 67\r\n\r\n"
    "{\"id\":\"1\",\"seatbid\":[{\"bid\":[{\"id\":\"1\",\"impid\":\"1\",\"price\":1.5}]}]}";

struct client {
    struct event *event;
    size_t len;
    char bytes[REQUEST_MAX];
};

/* The size of the first whole request in the bytes, 0 while it is not complete. */
static size_t request_size(const char *bytes, size_t len)
{
    const char *end = memmem(bytes, len, "\r\n\r\n", 4);
    if (!end) {
        return 0;
    }
    size_t body = 0;
    const char *line = bytes;
    while ((line = memchr(line, '\n', (size_t)(end - line))) != NULL) {
        line++;
        if (end - line > 16 && strncasecmp(line, "Content-Length:", 15) == 0) {
            body = strtoul(line + 15, NULL, 10);
            break;
        }
    }
    size_t size = (size_t)(end - bytes) + 4 + body;
    return size <= len ? size : 0;
}

static void client_close(struct client *client)
{
    close(event_get_fd(client->event));
    event_free(client->event);
    free(client);
}

static void on_readable(evutil_socket_t fd, short what, void *context)
{
    (void)what;
    struct client *client = context;
    ssize_t got = recv(fd, client->bytes + client->len, REQUEST_MAX - client->len, 0);
    if (got < 0 && errno == EAGAIN) {
        return;
    }
    if (got <= 0) {
        client_close(client);
        return;
    }
    client->len += (size_t)got;
    size_t size;
    while (client->len && (size = request_size(client->bytes, client->len)) > 0) {
        if (send(fd, answer, sizeof(answer) - 1, MSG_NOSIGNAL) != (ssize_t)sizeof(answer) - 1) {
            client_close(client);
            return;
        }
        client->len -= size;
        memmove(client->bytes, client->bytes + size, client->len);
    }
    if (client->len == REQUEST_MAX) {
        client_close(client);
    }
}

static void on_connection(evutil_socket_t listener, short what, void *context)
{
    (void)what;
    int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    struct client *client = fd >= 0 ? malloc(sizeof(*client)) : NULL;
    if (!client) {
        if (fd >= 0) {
            close(fd);
        }
        return;
    }
    int on = 1;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    client->len = 0;
    client->event = event_new(context, fd, EV_READ | EV_PERSIST, on_readable, client);
    (void)event_add(client->event, NULL);
}

int main(int argc, char **argv)
{
    unsigned long port = argc > 1 ? strtoul(argv[1], NULL, 10) : 0;
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(address);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), on = 1;
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (bind(fd, (struct sockaddr *)&address, len) != 0 || listen(fd, 1024) != 0 ||
        getsockname(fd, (struct sockaddr *)&address, &len) != 0) {
        perror("floor_libevent");
        return 1;
    }
    (void)signal(SIGPIPE, SIG_IGN);
    struct event_base *base = event_base_new();
    struct event *listener = event_new(base, fd, EV_READ | EV_PERSIST, on_connection, base);
    (void)event_add(listener, NULL);
    printf("%u\n", ntohs(address.sin_port));
    fflush(stdout);
    return event_base_dispatch(base) < 0;
}
