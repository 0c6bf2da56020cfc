/* Listening sockets from address texts. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "bidder/server.h"

#define LISTEN_BACKLOG 4096

union any_address {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
    struct sockaddr_un path;
};

/* Fills *address; the size of what was filled, 0 when the text is wrong. */
static socklen_t parse_address(struct str text, union any_address *address)
{
    memset(address, 0, sizeof(*address));
    if (str_starts(text, STR("unix:"))) {
        size_t len = text.len - 5;
        if (len == 0 || len >= sizeof(address->path.sun_path)) {
            return 0;
        }
        address->path.sun_family = AF_UNIX;
        memcpy(address->path.sun_path, text.ptr + 5, len);
        return (socklen_t)sizeof(address->path);
    }
    const char *colon = text.len ? memrchr(text.ptr, ':', text.len) : NULL;
    int64_t port;
    if (!colon ||
        !str_to_i64((struct str){colon + 1, text.len - (size_t)(colon + 1 - text.ptr)}, &port) ||
        port < 0 || port > 65535) {
        return 0;
    }
    char host[INET6_ADDRSTRLEN + 1] = "0.0.0.0";
    size_t len = (size_t)(colon - text.ptr);
    bool v6 = len > 2 && text.ptr[0] == '[' && text.ptr[len - 1] == ']';
    size_t from = v6 ? 1 : 0, host_len = v6 ? len - 2 : len;
    if (host_len >= sizeof(host)) {
        return 0;
    }
    if (host_len) {
        memcpy(host, text.ptr + from, host_len);
        host[host_len] = '\0';
    }
    if (v6) {
        address->v6.sin6_family = AF_INET6;
        address->v6.sin6_port = htons((uint16_t)port);
        return inet_pton(AF_INET6, host, &address->v6.sin6_addr) == 1 ? sizeof(address->v6) : 0;
    }
    address->v4.sin_family = AF_INET;
    address->v4.sin_port = htons((uint16_t)port);
    return inet_pton(AF_INET, host, &address->v4.sin_addr) == 1 ? sizeof(address->v4) : 0;
}

bool server_address_is_loopback(const char *text)
{
    union any_address address;
    if (!parse_address(str_from(text), &address)) {
        return false;
    }
    if (address.any.sa_family == AF_INET) {
        return ntohl(address.v4.sin_addr.s_addr) >> 24 == 127;
    }
    return address.any.sa_family == AF_UNIX || IN6_IS_ADDR_LOOPBACK(&address.v6.sin6_addr);
}

static void set_options(int fd, int family, bool reuse_port)
{
    int on = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (family == AF_UNIX) {
        return;
    }
    if (reuse_port) {
        setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on));
    }
    /* Accepted sockets inherit it: no call per connection. */
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
}

int server_bind(const char *text, bool reuse_port, struct buf *error)
{
    union any_address address;
    socklen_t len = parse_address(str_from(text), &address);
    if (!len) {
        buf_printf(error, "%s is not an address (127.0.0.1:8080, [::1]:8080, unix:/path)", text);
        return -1;
    }
    int fd = socket(address.any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        buf_printf(error, "socket for %s: %s", text, strerror(errno));
        return -1;
    }
    set_options(fd, address.any.sa_family, reuse_port);
    if (address.any.sa_family == AF_UNIX) {
        unlink(address.path.sun_path); /* left by an earlier run */
    }
    if (bind(fd, &address.any, len) || listen(fd, LISTEN_BACKLOG)) {
        buf_printf(error, "listen on %s: %s", text, strerror(errno));
        close(fd);
        return -1;
    }
    return fd;
}

void server_bound_address(int fd, struct buf *out)
{
    union any_address address;
    socklen_t len = sizeof(address);
    char host[INET6_ADDRSTRLEN];
    memset(&address, 0, sizeof(address));
    if (getsockname(fd, &address.any, &len)) {
        buf_printf(out, "?");
    } else if (address.any.sa_family == AF_INET) {
        inet_ntop(AF_INET, &address.v4.sin_addr, host, sizeof(host));
        buf_printf(out, "%s:%d", host, ntohs(address.v4.sin_port));
    } else if (address.any.sa_family == AF_INET6) {
        inet_ntop(AF_INET6, &address.v6.sin6_addr, host, sizeof(host));
        buf_printf(out, "[%s]:%d", host, ntohs(address.v6.sin6_port));
    } else {
        buf_printf(out, "unix:%s", address.path.sun_path);
    }
}
