/* A constant answer of 67 bytes through libevent's own HTTP server, for comparison.
 *
 * usage: floor_evhttp [PORT]     listens on 127.0.0.1; prints the port */
#include <event2/buffer.h>
#include <event2/event.h>
#include <event2/http.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

static const char answer[] =
    "{\"id\":\"1\",\"seatbid\":[{\"bid\":[{\"id\":\"1\",\"impid\":\"1\",\"price\":1.5}]}]}";

static void on_request(struct evhttp_request *request, void *context)
{
    (void)context;
    evhttp_add_header(evhttp_request_get_output_headers(request), "Content-Type",
                      "application/json");
    (void)evbuffer_add_reference(evhttp_request_get_output_buffer(request), answer,
                                 sizeof(answer) - 1, NULL, NULL);
    evhttp_send_reply(request, 200, "OK", NULL);
}

int main(int argc, char **argv)
{
    unsigned long port = argc > 1 ? strtoul(argv[1], NULL, 10) : 0;
    (void)signal(SIGPIPE, SIG_IGN);
    struct event_base *base = event_base_new();
    struct evhttp *http = evhttp_new(base);
    evhttp_set_gencb(http, on_request, NULL);
    struct evhttp_bound_socket *bound =
        evhttp_bind_socket_with_handle(http, "127.0.0.1", (uint16_t)port);
    struct sockaddr_in address = {0};
    socklen_t len = sizeof(address);
    if (!bound ||
        getsockname(evhttp_bound_socket_get_fd(bound), (struct sockaddr *)&address, &len) != 0) {
        perror("floor_evhttp");
        return 1;
    }
    printf("%u\n", ntohs(address.sin_port));
    fflush(stdout);
    return event_base_dispatch(base) < 0;
}
