/* A DMP for the bidder: knows everybody by the hashed key, says whose target audience they are in. */
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bidder/base/bug.h"
#include "bidder/base/crypto.h"
#include "frequency/person.h"
#include "tests/drive/lift.h"

struct member {
    struct person_key key;
    uint8_t target;
};
static struct member *members; /* ascending by key */

static int by_key(const void *a, const void *b)
{
    return memcmp(a, b, PERSON_KEY_BYTES);
}

static void make_members(void)
{
    struct crypto_key secret;
    crypto_key_init(&secret, lift.options.secret, strlen(lift.options.secret));
    members = calloc((size_t)lift.options.persons, sizeof(members[0]));
    BUG_ON(!members);
    for (uint32_t i = 0; i < lift.options.persons; i++) {
        char name[32];
        int len = person_name(i, name);
        BUG_ON(
            !person_key_of(&secret, STR("ifa"), (struct str){name, (size_t)len}, &members[i].key));
        members[i].target = lift.persons[i].target;
    }
    qsort(members, (size_t)lift.options.persons, sizeof(members[0]), by_key);
}

static int target_of(const char *body)
{
    const char *at = strstr(body, "\"person\":\"");
    struct person_key key;
    for (int i = 0; at && i < PERSON_KEY_BYTES; i++) {
        unsigned byte;
        if (sscanf(at + 10 + 2 * i, "%2x", &byte) != 1) {
            return BRANDS;
        }
        key.bytes[i] = (uint8_t)byte;
    }
    const struct member *found =
        at ? bsearch(&key, members, (size_t)lift.options.persons, sizeof(members[0]), by_key)
           : NULL;
    return found ? found->target : BRANDS;
}

/* One connection of the bidder. */
static void *serve_dmp(void *context)
{
    int fd = (int)(intptr_t)context;
    char in[8192], out[512];
    size_t len = 0;
    for (;;) {
        ssize_t got = recv(fd, in + len, sizeof(in) - 1 - len, 0);
        if (got <= 0) {
            break;
        }
        len += (size_t)got;
        in[len] = '\0';
        char *body = strstr(in, "\r\n\r\n");
        if (!body || !strstr(body, "]}")) { /* the end of a question */
            continue;
        }
        int target = target_of(body);
        char json[64];
        int json_len = target < BRANDS
                           ? snprintf(json, sizeof(json), "{\"in\":[\"ta-%c\"]}", "abcx"[target])
                           : snprintf(json, sizeof(json), "{\"in\":[]}");
        int out_len = snprintf(out, sizeof(out),
                               "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                               "Content-Length: %d\r\n\r\n%s",
                               json_len, json);
        __atomic_add_fetch(&lift.dmp_asked, 1, __ATOMIC_RELAXED);
        if (send(fd, out, (size_t)out_len, MSG_NOSIGNAL) != out_len) {
            break;
        }
        len = 0;
    }
    close(fd);
    return NULL;
}

static void *accept_dmp(void *context)
{
    int listener = (int)(intptr_t)context;
    for (;;) {
        int fd = accept(listener, NULL, NULL), one = 1;
        pthread_t thread;
        if (fd < 0) {
            return NULL;
        }
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
        if (pthread_create(&thread, NULL, serve_dmp, (void *)(intptr_t)fd) == 0) {
            pthread_detach(thread);
        }
    }
}

bool start_dmp(void)
{
    struct sockaddr_in address = loopback(lift.options.dmp_port);
    int listener = socket(AF_INET, SOCK_STREAM, 0), one = 1;
    pthread_t thread;
    make_members();
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    if (bind(listener, (struct sockaddr *)&address, sizeof(address)) != 0 ||
        listen(listener, 64) != 0 ||
        pthread_create(&thread, NULL, accept_dmp, (void *)(intptr_t)listener) != 0) {
        perror("drive_lift: the DMP cannot listen");
        return false;
    }
    pthread_detach(thread);
    return true;
}
