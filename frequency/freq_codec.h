/* Bytes in Redis <-> exposures and profiles. Pure. Anything that is not exactly ours is refused:
 * a count that was misread is worse than none.
 *
 * The key of a record is the person's, as it is. A field of 7 bytes is an exposure; all others are
 * the profile's, and begin with a letter:
 *
 *   field  time u32 | salt u24                              7 bytes, big endian
 *   value  line u32 | creative u32 | brand u24              11 bytes: confirmed
 *          ... | hold u16                                   13 bytes: reserved for hold seconds;
 *                                                           ffff: announced, holds no place
 *
 *   's' segment u32 -> expiry u32 (hours since 1970)        'w' -> consent withdrawn
 *   'm' -> max contacts per day u16                         'x' ref u32 -> muted
 *   'l' key 14 bytes -> another id of the person
 *   'd' dmp u32 audience u32 -> in u8, expiry u32 s         a DMP's answer, cached */
#pragma once

#include "bidder/base/redis.h"
#include "frequency/freq.h"

#define FREQ_FIELD_BYTES        7
#define FREQ_VALUE_BYTES        11 /* confirmed */
#define FREQ_RESERVED_BYTES     13
#define FREQ_ANSWER_FIELD_BYTES 9
#define FREQ_ANSWER_VALUE_BYTES 5
#define FREQ_SALT_MASK          0xffffffu
/* A record with one reserved exposure as RESTORE takes it. */
#define FREQ_DUMP_BYTES (4 + FREQ_FIELD_BYTES + FREQ_RESERVED_BYTES + 2 + 8)

#define FREQ_MAX_LINKS (FREQ_MAX_RECORDS - PERSON_MAX_KEYS - 1)

/* Exposures of several records, one behind the other; grows on the heap, stays when reused. */
struct freq_slab {
    struct freq_exposure *items; /* owned */
    uint32_t used, cap;
};

/* The key of a person's record. */
static inline struct str freq_codec_key(const struct person_key *key)
{
    return (struct str){(const char *)key->bytes, PERSON_KEY_BYTES};
}
/* Is it one? Everything else in Redis has a name of ASCII. */
static inline bool freq_codec_is_key(struct str key)
{
    return key.len == PERSON_KEY_BYTES && (unsigned char)key.ptr[0] >= 0x80;
}
static inline bool freq_codec_is_exposure(struct str field)
{
    return field.len == FREQ_FIELD_BYTES;
}
void freq_codec_field(uint32_t time_s, uint32_t salt, char out[FREQ_FIELD_BYTES]);
/* Returns the length: hold_s = 0 gives the confirmed form. */
size_t freq_codec_value(const struct exposure_refs *refs, uint16_t hold_s,
                        char out[FREQ_RESERVED_BYTES]);
/* The record in the form RESTORE takes, a plain hash of one field; every Redis loads it:
 *   4 = hash | 1 field | len field | len value | version u16 | crc64 of all before, little endian
 * (rdb.h and cluster.c of Redis 7.0). */
void freq_codec_dump(const char field[FREQ_FIELD_BYTES], const char value[FREQ_RESERVED_BYTES],
                     char out[FREQ_DUMP_BYTES]);
bool freq_codec_exposure(struct str field, struct str value, struct freq_exposure *exposure);

/* One more at the end; false: memory is out. */
bool freq_slab_add(struct freq_slab *slab, const struct freq_exposure *exposure) MUST_USE;

struct freq_links {
    struct person_key keys[FREQ_MAX_LINKS];
    uint8_t count;
    bool more; /* there are further ones */
};

/* Where the profiles of a person's records go, merged; segments are left unsorted. Fields of kinds
 * we do not know are skipped and counted. All borrowed. */
struct freq_profile {
    int64_t now_s;
    struct freq_view *view;
    struct freq_links *links;
    uint64_t *unknown;
};

/* HGETALL of a record. Exposures are appended to the slab in the order of the reply; the record's
 * counts, overflow and sure_until_s are set (its pointer is the caller's to set, for the slab may
 * move). profile NULL: its fields are only counted. STATUS_INVALID: not a record;
 * STATUS_NO_MEMORY. */
enum status freq_codec_record(const struct redis_value *reply, struct freq_slab *slab,
                              struct freq_record *record,
                              const struct freq_profile *profile) MUST_USE;
/* Field and value of a DMP's answer. */
void freq_codec_answer(const struct freq_answer *answer, uint32_t expires_s,
                       char field[FREQ_ANSWER_FIELD_BYTES], char value[FREQ_ANSWER_VALUE_BYTES]);
/* Ascending, without duplicates. */
void freq_codec_sort_segments(struct freq_view *view);
