/* What the parts of drive_lift share: the options, the population, and what was seen. One program,
 * one thread but for the DMP, whose threads only read persons and count. */
#pragma once

#include <arpa/inet.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MEDIA        6
#define BRANDS       4 /* a b c of the group, x of another advertiser */
#define MAX_BATCH    64
#define RESPONSE_CAP 65536
#define MAX_COUNT    20

struct options {
    int64_t persons, seed, batch, port, dmp_port;
    double overlap, video, other, display, rho, sigma;
    double seconds; /* the week takes at least so long */
    int push_all;   /* 0: only 1 in rho visits is pushed, as where nothing can be returned */
    double shares[3], targets[BRANDS];
    const char *secret;
};

struct visitor {
    uint8_t media;  /* bits */
    uint8_t target; /* whose target audience: 0..3, 4 = nobody's */
    double activity;
    uint8_t seen[BRANDS];
};

enum visit_kind { VISIT_VIDEO, VISIT_OTHER, VISIT_DISPLAY };

struct visit {
    double at; /* of the week */
    uint32_t person;
    uint8_t kind, medium, owner;
    bool thinned; /* not pushed where nothing can be returned */
};

struct lift {
    struct options options;
    struct visitor *persons;
    struct visit *visits;
    size_t visit_count, visit_cap;
    int sockets[MAX_BATCH];
    uint64_t requests, bids, impressions[BRANDS], no_bids, failures, cross;
    uint64_t paid_video[2], paid_display, in_target[BRANDS]; /* paid_video: by group, by x */
    uint64_t dmp_asked;
};
extern struct lift lift;

/* lift_population.c: persons and their visits, in order, from the options' seed. */
void make_population(void);
/* The advertising id that stands for a person; returns its length. */
int person_name(uint32_t person, char text[32]);

/* lift_dmp.c: answers audience queries on --dmp-port. False: it cannot listen. */
bool start_dmp(void);

static inline struct sockaddr_in loopback(int64_t port)
{
    return (struct sockaddr_in){.sin_family = AF_INET,
                                .sin_port = htons((uint16_t)port),
                                .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)}};
}
