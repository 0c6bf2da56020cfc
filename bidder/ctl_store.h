/* What jointcapctl's commands on persons share: Redis, the deployment's secret, "TYPE:ID". */
#pragma once

#include <stdio.h>

#include "bidder/base/crypto.h"
#include "bidder/base/redis.h"
#include "bidder/ctl.h"
#include "frequency/person.h"

#define CTL_REDIS_OPTION                                                                           \
    {                                                                                              \
        "--redis", "ADDRESS",                                                                      \
            "unix:/path, host:port or cluster:...; else $JOINTCAP_REDIS, else 127.0.0.1:6379",     \
            NULL                                                                                   \
    }
#define CTL_STORE_OPTIONS                                                                          \
    CTL_REDIS_OPTION,                                                                              \
    {                                                                                              \
        "--secret-file", "FILE",                                                                   \
            "file with the deployment's secret; else $JOINTCAP_SECRET_FILE or $JOINTCAP_SECRET",   \
            NULL                                                                                   \
    }

/* The value of CTL_REDIS_OPTION. */
const char *ctl_redis_address(const struct ctl_call *call);

struct ctl_store {
    struct redis_sync *sync; /* owned */
    struct crypto_key secret;
};

/* CTL_OK, or a message is on stderr. Deinit in any case. */
enum ctl_exit ctl_store_init(const struct ctl_call *call, struct ctl_store *store);
void ctl_store_deinit(struct ctl_store *store);

#define CTL_PERSON_TYPES                                                                           \
    "ifa oaid caid idfa gaid aaid imei mac androidid device did dpid (and each with _md5), ip, "   \
    "buyeruid@EXCHANGE, user@EXCHANGE, eid:SOURCE"

/* "ifa:aaaa-bbbb": the type up to the first colon, but "eid:source:id". household may be NULL.
 * False with a message on stderr. */
bool ctl_person_key(const struct ctl_store *store, const char *text, struct person_key *key,
                    struct person_key *household);

/* A file of rows, read line by line; "-" is standard input. */
#define CTL_CSV_CELLS 16
struct ctl_csv {
    FILE *file; /* owned, unless stdin */
    char *line; /* owned */
    size_t line_cap;
    uint64_t number; /* of the line read last, from 1 */
    int64_t offset;  /* of the byte behind it */
    uint32_t count;
    struct str cells[CTL_CSV_CELLS]; /* without spaces and quotes around them; until the next row */
};
/* offset: where to go on reading. False with a message on stderr. */
bool ctl_csv_open(struct ctl_csv *csv, const char *path, int64_t offset);
void ctl_csv_close(struct ctl_csv *csv);
/* The next line that is neither empty nor a comment (#). False at the end or when reading fails. */
bool ctl_csv_next(struct ctl_csv *csv);
