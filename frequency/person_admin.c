#include "frequency/person_admin.h"

#include <stdlib.h>
#include <unistd.h>

#include "bidder/base/bug.h"
#include "bidder/base/clock.h"
#include "frequency/freq_codec.h"
#include "frequency/person_admin_private.h"

#define RESERVED_COPY_TTL_S ((int64_t)31 * 86400)

/* Fields and values of a hash, copied out of a reply. */
struct pair {
    char field[1 + PERSON_KEY_BYTES];
    uint8_t field_len, value_len;
    char value[FREQ_RESERVED_BYTES];
};

struct pairs {
    struct pair *items; /* owned */
    uint32_t count, cap;
};

/* --- Redis ---------------------------------------------------------------------------------- */

static struct str view(const char *bytes, size_t len)
{
    return (struct str){.ptr = bytes, .len = len};
}

static const struct redis_value *command(struct redis_sync *sync, struct buf *error, uint32_t argc,
                                         const struct str *argv)
{
    const struct redis_value *value = redis_sync_command(sync, argc, argv);
    if (!value) {
        buf_printf(error, "redis: connection lost");
    } else if (value->type == REDIS_ERROR) {
        buf_printf(error, "redis: %.*s", STR_ARG(value->text));
        value = NULL;
    }
    return value;
}

static bool hash_set(struct redis_sync *sync, struct buf *error, const char *verb,
                     const struct person_key *key, struct str field, struct str value)
{
    struct str argv[] = {str_from(verb), freq_codec_key(key), field, value};
    return command(sync, error, 4, argv) != NULL;
}

static bool hash_del(struct redis_sync *sync, struct buf *error, const struct person_key *key,
                     struct str field)
{
    struct str argv[] = {STR("HDEL"), freq_codec_key(key), field};
    return command(sync, error, 3, argv) != NULL;
}

/* A TTL of at least ttl_s. */
static bool keep_for(struct redis_sync *sync, struct buf *error, const struct person_key *key,
                     int64_t ttl_s)
{
    static const char *const conditions[] = {"NX", "GT"};
    char text[24];
    int len = snprintf(text, sizeof(text), "%lld", (long long)ttl_s);
    for (size_t i = 0; i < COUNT_OF(conditions); i++) {
        struct str argv[] = {STR("EXPIRE"), freq_codec_key(key), view(text, (size_t)len),
                             str_from(conditions[i])};
        if (!command(sync, error, 4, argv)) {
            return false;
        }
    }
    return true;
}

const struct redis_value *person_hash_get(struct redis_sync *sync, struct buf *error,
                                          const struct person_key *key)
{
    struct str argv[] = {STR("HGETALL"), freq_codec_key(key)};
    const struct redis_value *value = command(sync, error, 2, argv);
    if (value && (value->type != REDIS_ARRAY || value->count % 2)) {
        buf_printf(error, "redis: HGETALL answered something else");
        value = NULL;
    }
    return value;
}

/* --- groups --------------------------------------------------------------------------------- */

static bool group_add(struct person_group *group, const char bytes[PERSON_KEY_BYTES])
{
    for (uint32_t i = 0; i < group->count; i++) {
        if (memcmp(group->keys[i].bytes, bytes, PERSON_KEY_BYTES) == 0) {
            return true;
        }
    }
    if (group->count == PERSON_ADMIN_MAX_IDS) {
        return false;
    }
    memcpy(group->keys[group->count++].bytes, bytes, PERSON_KEY_BYTES);
    return true;
}

enum status person_group_find(struct redis_sync *sync, const struct person_key *key,
                              struct person_group *group, struct buf *error)
{
    if (!group_add(group, (const char *)key->bytes)) {
        buf_printf(error, "more than %d linked ids", PERSON_ADMIN_MAX_IDS);
        return STATUS_LIMIT;
    }
    for (uint32_t i = 0; i < group->count; i++) { /* grows while we walk */
        const struct redis_value *profile = person_hash_get(sync, error, &group->keys[i]);
        if (!profile) {
            return STATUS_IO;
        }
        for (uint32_t f = 0; f < profile->count; f += 2) {
            struct str field = profile->items[f].text;
            if (field.len == 1 + PERSON_KEY_BYTES && field.ptr[0] == 'l' &&
                !group_add(group, field.ptr + 1)) {
                buf_printf(error, "more than %d linked ids", PERSON_ADMIN_MAX_IDS);
                return STATUS_LIMIT;
            }
        }
    }
    return STATUS_OK;
}

/* --- linking -------------------------------------------------------------------------------- */

static enum status pairs_add(struct pairs *pairs, struct str field, struct str value)
{
    if (field.len > sizeof(pairs->items->field) || value.len > sizeof(pairs->items->value)) {
        return STATUS_INVALID;
    }
    if (pairs->count == pairs->cap) {
        uint32_t cap = pairs->cap ? 2 * pairs->cap : 64;
        struct pair *items = realloc(pairs->items, cap * sizeof(*items));
        if (!items) {
            return STATUS_NO_MEMORY;
        }
        pairs->items = items;
        pairs->cap = cap;
    }
    struct pair *pair = &pairs->items[pairs->count++];
    pair->field_len = (uint8_t)field.len;
    pair->value_len = (uint8_t)value.len;
    memcpy(pair->field, field.ptr, field.len);
    if (value.len) {
        memcpy(pair->value, value.ptr, value.len);
    }
    return STATUS_OK;
}

static bool is_reserved(const struct pair *pair)
{
    return pair->field_len == FREQ_FIELD_BYTES && pair->value_len == FREQ_RESERVED_BYTES;
}

/* Which fields are meant. Of exposures to be copied those that count now: a bid that holds no place
 * (any more) is confirmed, if at all, where it was written. */
typedef bool field_fn(struct str field, struct str value);

static bool is_live_exposure(struct str field, struct str value)
{
    struct freq_exposure exposure;
    return freq_codec_exposure(field, value, &exposure) &&
           freq_is_live(&exposure, clock_wall_us() / 1000000);
}

/* Each id has links of its own. */
static bool is_shared_profile(struct str field, struct str value)
{
    (void)value;
    return !freq_codec_is_exposure(field) && field.len && field.ptr[0] != 'l';
}

/* What was counted and learnt: all but preferences and links. */
static bool is_learnt(struct str field, struct str value)
{
    (void)value;
    return freq_codec_is_exposure(field) ||
           (field.len && (field.ptr[0] == 's' || field.ptr[0] == 'd'));
}

/* Those fields of all ids of the group. */
static enum status pairs_collect(struct redis_sync *sync, const struct person_group *group,
                                 field_fn *wanted, struct pairs *pairs, struct buf *error)
{
    for (uint32_t i = 0; i < group->count; i++) {
        const struct redis_value *hash = person_hash_get(sync, error, &group->keys[i]);
        if (!hash) {
            return STATUS_IO;
        }
        for (uint32_t f = 0; f < hash->count; f += 2) {
            struct str field = hash->items[f].text, value = hash->items[f + 1].text;
            enum status status = wanted(field, value) ? pairs_add(pairs, field, value) : STATUS_OK;
            if (status != STATUS_OK) {
                buf_printf(error, "a record cannot be copied: %s", status_name(status));
                return status;
            }
        }
    }
    return STATUS_OK;
}

/* The longest remaining time among the ids' records; 0 when there are none. */
static int64_t longest_ttl_s(struct redis_sync *sync, const struct person_group *group,
                             struct buf *error)
{
    int64_t longest_s = 0;
    for (uint32_t i = 0; i < group->count; i++) {
        struct str argv[] = {STR("TTL"), freq_codec_key(&group->keys[i])};
        const struct redis_value *value = command(sync, error, 2, argv);
        if (value && value->type == REDIS_INT && value->integer > longest_s) {
            longest_s = value->integer;
        }
    }
    return longest_s;
}

/* Every id gets the fields of all; fields have the same names everywhere, so twice is once. */
static enum status spread(struct redis_sync *sync, const struct person_group *group,
                          const struct pairs *pairs, int64_t ttl_s, struct buf *error)
{
    for (uint32_t i = 0; i < group->count && pairs->count; i++) {
        for (uint32_t p = 0; p < pairs->count; p++) {
            const struct pair *pair = &pairs->items[p];
            size_t value_len = is_reserved(pair) ? FREQ_VALUE_BYTES : pair->value_len;
            if (!hash_set(sync, error, "HSETNX", &group->keys[i],
                          view(pair->field, pair->field_len), view(pair->value, value_len))) {
                return STATUS_IO;
            }
        }
        if (ttl_s && !keep_for(sync, error, &group->keys[i], ttl_s)) {
            return STATUS_IO;
        }
    }
    return STATUS_OK;
}

static enum status write_links(struct redis_sync *sync, const struct person_group *group,
                               struct buf *error)
{
    for (uint32_t i = 0; i < group->count; i++) {
        for (uint32_t k = 0; k < group->count; k++) {
            char field[1 + PERSON_KEY_BYTES] = {'l'};
            memcpy(field + 1, group->keys[k].bytes, PERSON_KEY_BYTES);
            if (k != i && !hash_set(sync, error, "HSET", &group->keys[i],
                                    view(field, sizeof(field)), STR("1"))) {
                return STATUS_IO;
            }
        }
        if (!keep_for(sync, error, &group->keys[i], PERSON_ADMIN_PROFILE_TTL_S)) {
            return STATUS_IO;
        }
    }
    return STATUS_OK;
}

static enum status copy_fields(struct redis_sync *sync, const struct person_group *group,
                               field_fn *wanted, struct buf *error)
{
    struct pairs pairs = {0};
    enum status status = pairs_collect(sync, group, wanted, &pairs, error);
    int64_t ttl_s = pairs.count ? longest_ttl_s(sync, group, error) : 0;
    for (uint32_t i = 0; i < pairs.count; i++) { /* its copy is confirmed, nobody comes */
        bool longer = is_reserved(&pairs.items[i]) && ttl_s < RESERVED_COPY_TTL_S;
        ttl_s = longer ? RESERVED_COPY_TTL_S : ttl_s;
    }
    if (status == STATUS_OK) {
        status = spread(sync, group, &pairs, ttl_s, error);
    }
    free(pairs.items);
    return status;
}

static enum status delete_key(struct redis_sync *sync, const struct person_key *key,
                              uint32_t *deleted, struct buf *error)
{
    struct str argv[] = {STR("DEL"), freq_codec_key(key)};
    const struct redis_value *value = command(sync, error, 2, argv);
    if (!value) {
        return STATUS_IO;
    }
    *deleted += value->type == REDIS_INT && value->integer == 1;
    return STATUS_OK;
}

/* One field of every profile of the person: set when value.ptr, else removed. */
static enum status set_everywhere(struct redis_sync *sync, const struct person_group *group,
                                  struct str field, struct str value, int64_t ttl_s,
                                  struct buf *error)
{
    for (uint32_t i = 0; i < group->count; i++) {
        bool good = value.ptr ? hash_set(sync, error, "HSET", &group->keys[i], field, value) &&
                                    keep_for(sync, error, &group->keys[i], ttl_s)
                              : hash_del(sync, error, &group->keys[i], field);
        if (!good) {
            return STATUS_IO;
        }
    }
    return STATUS_OK;
}

static enum status drop_learnt(struct redis_sync *sync, const struct person_group *group,
                               struct buf *error)
{
    enum status status = STATUS_OK;
    for (uint32_t i = 0; i < group->count && status == STATUS_OK; i++) {
        struct pairs pairs = {0};
        struct person_group one = {.keys = {group->keys[i]}, .count = 1};
        status = pairs_collect(sync, &one, is_learnt, &pairs, error);
        for (uint32_t p = 0; p < pairs.count && status == STATUS_OK; p++) {
            struct str field = view(pairs.items[p].field, pairs.items[p].field_len);
            status = hash_del(sync, error, &group->keys[i], field) ? STATUS_OK : STATUS_IO;
        }
        free(pairs.items);
    }
    return status;
}

static enum status has_withdrawn(struct redis_sync *sync, const struct person_key *key,
                                 bool *withdrawn, struct buf *error)
{
    const struct redis_value *profile = person_hash_get(sync, error, key);
    if (!profile) {
        return STATUS_IO;
    }
    for (uint32_t i = 0; i < profile->count; i += 2) {
        *withdrawn = *withdrawn || str_eq(profile->items[i].text, STR("w"));
    }
    return STATUS_OK;
}

enum status person_admin_link(struct redis_sync *sync, const struct person_key *a,
                              const struct person_key *b, struct buf *error)
{
    struct person_group group = {.count = 0};
    enum status status = person_group_find(sync, a, &group, error);
    if (status == STATUS_OK) {
        status = person_group_find(sync, b, &group, error);
    }
    /* Links first: from then on new exposures go to all, and the copying misses none. */
    if (status == STATUS_OK) {
        status = write_links(sync, &group, error);
    }
    if (status == STATUS_OK) {
        status = copy_fields(sync, &group, is_shared_profile, error);
    }
    /* Who withdrew under one id withdrew as a person: there is nothing to add up. */
    bool withdrawn = false;
    if (status == STATUS_OK) {
        status = has_withdrawn(sync, &group.keys[0], &withdrawn, error);
    }
    if (status != STATUS_OK) {
        return status;
    }
    if (!withdrawn) {
        return copy_fields(sync, &group, is_live_exposure, error);
    }
    status = set_everywhere(sync, &group, STR("w"), STR("1"), PERSON_ADMIN_WITHDRAWN_TTL_S, error);
    return status == STATUS_OK ? drop_learnt(sync, &group, error) : status;
}

/* --- forget, consent, preferences ----------------------------------------------------------- */

/* What is known of an id that is about to go is not to be written once more by an auction that had
 * read it before. */
static void settle(void)
{
    (void)usleep(PERSON_ADMIN_SETTLE_US);
}

static enum status delete_group(struct redis_sync *sync, const struct person_group *group,
                                uint32_t *deleted, struct buf *error)
{
    enum status status = STATUS_OK;
    for (uint32_t i = 0; i < group->count && status == STATUS_OK; i++) {
        status = delete_key(sync, &group->keys[i], deleted, error);
    }
    return status;
}

enum status person_admin_forget(struct redis_sync *sync, const struct person_key *key,
                                const struct person_key *household, uint32_t *deleted,
                                struct buf *error)
{
    struct person_group person = {.count = 0}, home = {.count = 0};
    uint32_t behind = 0;
    *deleted = 0;
    enum status status = person_group_find(sync, key, &person, error);
    if (status == STATUS_OK && household) {
        status = person_group_find(sync, household, &home, error);
    }
    for (int pass = 0; pass < 2 && status == STATUS_OK; pass++) {
        uint32_t *counter = pass ? &behind : deleted;
        if (pass) {
            settle();
        }
        status = delete_group(sync, &person, counter, error);
        if (status == STATUS_OK) {
            status = delete_group(sync, &home, counter, error);
        }
    }
    return status;
}

static enum status set_field(struct redis_sync *sync, const struct person_key *key,
                             struct str field, struct str value, struct buf *error)
{
    struct person_group group = {.count = 0};
    enum status status = person_group_find(sync, key, &group, error);
    return status == STATUS_OK
               ? set_everywhere(sync, &group, field, value, PERSON_ADMIN_PROFILE_TTL_S, error)
               : status;
}

enum status person_admin_consent(struct redis_sync *sync, const struct person_key *key,
                                 const struct person_key *household, bool withdrawn,
                                 struct buf *error)
{
    struct person_group group = {.count = 0}, home = {.count = 0};
    uint32_t deleted = 0;
    enum status status = person_group_find(sync, key, &group, error);
    if (status != STATUS_OK || !withdrawn) {
        return status != STATUS_OK ? status
                                   : set_everywhere(sync, &group, STR("w"), STR_NONE, 0, error);
    }
    /* The word first: no auction that reads it writes behind the deletions. */
    status = set_everywhere(sync, &group, STR("w"), STR("1"), PERSON_ADMIN_WITHDRAWN_TTL_S, error);
    if (status == STATUS_OK && household) {
        status = person_group_find(sync, household, &home, error);
    }
    for (int pass = 0; pass < 2 && status == STATUS_OK; pass++) {
        if (pass) {
            settle();
        }
        status = drop_learnt(sync, &group, error);
        if (status == STATUS_OK) {
            status = delete_group(sync, &home, &deleted, error);
        }
    }
    return status;
}

enum status person_admin_max_contacts(struct redis_sync *sync, const struct person_key *key,
                                      uint16_t per_day, struct buf *error)
{
    char value[2] = {(char)(per_day >> 8), (char)(per_day & 0xff)};
    return set_field(sync, key, STR("m"), per_day ? view(value, 2) : STR_NONE, error);
}

static struct str ref_field(char kind, uint32_t ref, char out[5])
{
    out[0] = kind;
    for (int i = 0; i < 4; i++) {
        out[1 + i] = (char)(ref >> (24 - 8 * i) & 0xff);
    }
    return view(out, 5);
}

enum status person_admin_mute(struct redis_sync *sync, const struct person_key *key, uint32_t ref,
                              bool muted, struct buf *error)
{
    char field[5];
    return set_field(sync, key, ref_field('x', ref, field), muted ? STR("1") : STR_NONE, error);
}
