/* Gives Redis a population before a measurement, fast: the persons that jointcap-load draws, each with
 * a record as the bidder writes it.
 *
 *   fill_persons ADDRESS SECRET PERSONS EXPOSURES
 *
 * Person n's device.ifa is that of jointcap-load's person n (salt 0) and its key the one the bidder
 * derives from it. The exposures are confirmed ones of the last days, of lines that no catalog
 * names: they are read and counted like any, and no cap of the benchmark is reached by them.
 * Pipelined; about 200,000 persons a second. Prints how many were written. */
#include <stdio.h>
#include <stdlib.h>

#include "bench/load/template.h"
#include "bidder/base/bug.h"
#include "bidder/base/clock.h"
#include "bidder/base/prng.h"
#include "bidder/base/redis.h"
#include "frequency/freq_codec.h"
#include "frequency/person.h"

#define BATCH         2000 /* commands between two looks at the replies */
#define EXPOSURES_MAX 16
#define DAY_S         86400
#define KEEP_S        "3456000" /* 40 days */
#define UUID_BYTES    36

struct fill {
    struct redis_sync *sync;
    struct crypto_key secret;
    struct prng prng;
    uint32_t exposures, now_s;
    uint32_t queued;
    uint64_t errors;
};

static void on_reply(void *owner, uint32_t index, const struct redis_value *value)
{
    struct fill *fill = owner;
    (void)index;
    fill->errors += value->type == REDIS_ERROR;
}

static bool queue(struct fill *fill, const struct str *argv, uint32_t argc)
{
    if (fill->queued == BATCH) {
        fill->queued = 0;
        if (!redis_sync_flush(fill->sync, on_reply, fill)) {
            return false;
        }
    }
    fill->queued++;
    return redis_sync_queue(fill->sync, argc, argv);
}

static bool put_person(struct fill *fill, uint64_t number)
{
    char id[UUID_BYTES];
    struct template ids = {.bytes = id, .slot_count = 1};
    ids.slots[0] = (struct template_slot){
        .width = UUID_BYTES, .style = SLOT_UUID, .field = TEMPLATE_FIELD_IFA};
    template_patch(&ids, 0, number, 0);
    struct person_key key;
    if (!person_key_of(&fill->secret, STR("ifa"), (struct str){id, sizeof(id)}, &key)) {
        return false;
    }
    struct str name = freq_codec_key(&key);
    char fields[EXPOSURES_MAX][FREQ_FIELD_BYTES], values[EXPOSURES_MAX][FREQ_RESERVED_BYTES];
    struct str argv[2 + 2 * EXPOSURES_MAX] = {STR("HSET"), name};
    uint32_t argc = 2;
    for (uint32_t i = 0; i < fill->exposures; i++) {
        struct exposure_refs refs = {.line = 1 + (uint32_t)prng_below(&fill->prng, 1000),
                                     .creative = 1 + (uint32_t)prng_below(&fill->prng, 1000),
                                     .brand = 1 + (uint32_t)prng_below(&fill->prng, 100)};
        uint32_t ago_s = (uint32_t)prng_below(&fill->prng, 10 * DAY_S) + DAY_S;
        freq_codec_field(fill->now_s - ago_s, i, fields[i]);
        size_t len = freq_codec_value(&refs, 0, values[i]);
        argv[argc++] = (struct str){fields[i], FREQ_FIELD_BYTES};
        argv[argc++] = (struct str){values[i], len};
    }
    struct str expire[] = {STR("EXPIRE"), name, STR(KEEP_S)};
    return queue(fill, argv, argc) && queue(fill, expire, 3);
}

int main(int argc, char **argv)
{
    if (argc != 5) {
        fputs("usage: fill_persons ADDRESS SECRET PERSONS EXPOSURES\n", stderr);
        return 2;
    }
    struct fill fill = {.now_s = (uint32_t)(clock_wall_us() / 1000000), .prng = {.state = 1}};
    uint64_t persons = strtoull(argv[3], NULL, 10);
    fill.exposures = (uint32_t)strtoul(argv[4], NULL, 10);
    if (!fill.exposures || fill.exposures > EXPOSURES_MAX) {
        fprintf(stderr, "fill_persons: 1 to %d exposures\n", EXPOSURES_MAX);
        return 2;
    }
    struct buf error;
    buf_init(&error, 1024);
    crypto_key_init(&fill.secret, argv[2], strlen(argv[2]));
    fill.sync = redis_sync_connect(argv[1], 60000000, &error);
    bool good = fill.sync != NULL;
    for (uint64_t number = 0; good && number < persons; number++) {
        good = put_person(&fill, number);
    }
    good = good && redis_sync_flush(fill.sync, on_reply, &fill) && !fill.errors;
    if (good) {
        printf("%llu persons\n", (unsigned long long)persons);
    } else {
        fprintf(stderr, "fill_persons: %.*s\n", (int)error.len, error.len ? error.data : "failed");
    }
    redis_sync_close(&fill.sync);
    buf_deinit(&error);
    return good ? 0 : 1;
}
