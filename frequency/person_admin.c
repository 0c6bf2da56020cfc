#include "frequency/person_admin.h"

#include <stdlib.h>

#include "bidder/base/bug.h"
#include "bidder/base/clock.h"
#include "frequency/freq_codec.h"

/* A person's ids while a tool works on them. */
struct group {
    struct person_key keys[PERSON_ADMIN_MAX_IDS];
    uint32_t count;
};

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
                     const struct person_key *key, char kind, struct str field, struct str value)
{
    char name[FREQ_KEY_BYTES];
    freq_codec_key(key, kind, name);
    struct str argv[] = {str_from(verb), view(name, sizeof(name)), field, value};
    return command(sync, error, 4, argv) != NULL;
}

static bool hash_del(struct redis_sync *sync, struct buf *error, const struct person_key *key,
                     char kind, struct str field)
{
    char name[FREQ_KEY_BYTES];
    freq_codec_key(key, kind, name);
    struct str argv[] = {STR("HDEL"), view(name, sizeof(name)), field};
    return command(sync, error, 3, argv) != NULL;
}

/* A TTL of at least ttl_s. */
static bool keep_for(struct redis_sync *sync, struct buf *error, const struct person_key *key,
                     char kind, int64_t ttl_s)
{
    static const char *const conditions[] = {"NX", "GT"};
    char name[FREQ_KEY_BYTES], text[24];
    freq_codec_key(key, kind, name);
    int len = snprintf(text, sizeof(text), "%lld", (long long)ttl_s);
    for (size_t i = 0; i < COUNT_OF(conditions); i++) {
        struct str argv[] = {STR("EXPIRE"), view(name, sizeof(name)), view(text, (size_t)len),
                             str_from(conditions[i])};
        if (!command(sync, error, 4, argv)) {
            return false;
        }
    }
    return true;
}

static const struct redis_value *hash_get(struct redis_sync *sync, struct buf *error,
                                          const struct person_key *key, char kind)
{
    char name[FREQ_KEY_BYTES];
    freq_codec_key(key, kind, name);
    struct str argv[] = {STR("HGETALL"), view(name, sizeof(name))};
    const struct redis_value *value = command(sync, error, 2, argv);
    if (value && (value->type != REDIS_ARRAY || value->count % 2)) {
        buf_printf(error, "redis: HGETALL answered something else");
        value = NULL;
    }
    return value;
}

/* --- groups --------------------------------------------------------------------------------- */

static bool group_add(struct group *group, const char bytes[PERSON_KEY_BYTES])
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

/* key, its links, their links, and so on. */
static enum status group_find(struct redis_sync *sync, const struct person_key *key,
                              struct group *group, struct buf *error)
{
    if (!group_add(group, (const char *)key->bytes)) {
        buf_printf(error, "more than %d linked ids", PERSON_ADMIN_MAX_IDS);
        return STATUS_LIMIT;
    }
    for (uint32_t i = 0; i < group->count; i++) { /* grows while we walk */
        const struct redis_value *profile = hash_get(sync, error, &group->keys[i], 'p');
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

/* All fields of a kind over all ids of the group. */
static enum status pairs_collect(struct redis_sync *sync, const struct group *group, char kind,
                                 struct pairs *pairs, struct buf *error)
{
    for (uint32_t i = 0; i < group->count; i++) {
        const struct redis_value *hash = hash_get(sync, error, &group->keys[i], kind);
        if (!hash) {
            return STATUS_IO;
        }
        for (uint32_t f = 0; f < hash->count; f += 2) {
            struct freq_exposure exposure;
            struct str field = hash->items[f].text, value = hash->items[f + 1].text;
            if (kind == 'c' && !freq_codec_exposure(field, value, &exposure)) {
                buf_printf(error, "a record holds what is no exposure");
                return STATUS_INVALID;
            }
            enum status status = pairs_add(pairs, field, value);
            if (status != STATUS_OK) {
                buf_printf(error, "a record cannot be copied: %s", status_name(status));
                return status;
            }
        }
    }
    return STATUS_OK;
}

/* The longest remaining time among the ids' records; 0 when there are none. */
static int64_t longest_ttl_s(struct redis_sync *sync, const struct group *group, char kind,
                             struct buf *error)
{
    int64_t longest_s = 0;
    for (uint32_t i = 0; i < group->count; i++) {
        char name[FREQ_KEY_BYTES];
        freq_codec_key(&group->keys[i], kind, name);
        struct str argv[] = {STR("TTL"), view(name, sizeof(name))};
        const struct redis_value *value = command(sync, error, 2, argv);
        if (value && value->type == REDIS_INT && value->integer > longest_s) {
            longest_s = value->integer;
        }
    }
    return longest_s;
}

static bool is_reserved(const struct pair *pair)
{
    return pair->field_len == FREQ_FIELD_BYTES && pair->value_len == FREQ_RESERVED_BYTES;
}

/* Every id gets the fields of all; fields have the same names everywhere, so twice is once. */
static enum status spread(struct redis_sync *sync, const struct group *group, char kind,
                          const struct pairs *pairs, int64_t ttl_s, struct buf *error)
{
    for (uint32_t i = 0; i < group->count && pairs->count; i++) {
        for (uint32_t p = 0; p < pairs->count; p++) {
            const struct pair *pair = &pairs->items[p];
            size_t value_len =
                kind == 'c' && is_reserved(pair) ? FREQ_VALUE_BYTES : pair->value_len;
            if (!hash_set(sync, error, "HSETNX", &group->keys[i], kind,
                          view(pair->field, pair->field_len), view(pair->value, value_len))) {
                return STATUS_IO;
            }
        }
        if (ttl_s && !keep_for(sync, error, &group->keys[i], kind, ttl_s)) {
            return STATUS_IO;
        }
    }
    return STATUS_OK;
}

static enum status write_links(struct redis_sync *sync, const struct group *group,
                               struct buf *error)
{
    for (uint32_t i = 0; i < group->count; i++) {
        for (uint32_t k = 0; k < group->count; k++) {
            char field[1 + PERSON_KEY_BYTES] = {'l'};
            memcpy(field + 1, group->keys[k].bytes, PERSON_KEY_BYTES);
            if (k != i && !hash_set(sync, error, "HSET", &group->keys[i], 'p',
                                    view(field, sizeof(field)), STR("1"))) {
                return STATUS_IO;
            }
        }
        if (!keep_for(sync, error, &group->keys[i], 'p', PERSON_ADMIN_PROFILE_TTL_S)) {
            return STATUS_IO;
        }
    }
    return STATUS_OK;
}

static enum status copy_kind(struct redis_sync *sync, const struct group *group, char kind,
                             struct buf *error)
{
    struct pairs pairs = {0};
    enum status status = pairs_collect(sync, group, kind, &pairs, error);
    uint32_t kept = 0;
    for (uint32_t i = 0; i < pairs.count; i++) { /* each id has links of its own */
        if (kind != 'p' || pairs.items[i].field[0] != 'l') {
            pairs.items[kept++] = pairs.items[i];
        }
    }
    pairs.count = kept;
    if (status == STATUS_OK && kept) {
        status = spread(sync, group, kind, &pairs, longest_ttl_s(sync, group, kind, error), error);
    }
    free(pairs.items);
    return status;
}

static enum status has_withdrawn(struct redis_sync *sync, const struct person_key *key,
                                 bool *withdrawn, struct buf *error)
{
    const struct redis_value *profile = hash_get(sync, error, key, 'p');
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
    struct group group = {.count = 0};
    enum status status = group_find(sync, a, &group, error);
    if (status == STATUS_OK) {
        status = group_find(sync, b, &group, error);
    }
    /* Links first: from then on new exposures go to all, and the copying misses none. */
    if (status == STATUS_OK) {
        status = write_links(sync, &group, error);
    }
    if (status == STATUS_OK) {
        status = copy_kind(sync, &group, 'p', error);
    }
    /* Who withdrew under one id withdrew as a person: there is nothing to add up. */
    bool withdrawn = false;
    if (status == STATUS_OK) {
        status = has_withdrawn(sync, &group.keys[0], &withdrawn, error);
    }
    if (status != STATUS_OK) {
        return status;
    }
    return withdrawn ? person_admin_consent(sync, a, true, error)
                     : copy_kind(sync, &group, 'c', error);
}

/* --- forget, consent, preferences ----------------------------------------------------------- */

static enum status delete_key(struct redis_sync *sync, const struct person_key *key, char kind,
                              uint32_t *deleted, struct buf *error)
{
    char name[FREQ_KEY_BYTES];
    freq_codec_key(key, kind, name);
    struct str argv[] = {STR("DEL"), view(name, sizeof(name))};
    const struct redis_value *value = command(sync, error, 2, argv);
    if (!value) {
        return STATUS_IO;
    }
    *deleted += value->type == REDIS_INT && value->integer == 1;
    return STATUS_OK;
}

/* From now on no notice of a bid made before writes anything: the mark outlives the notices. */
static enum status leave_mark(struct redis_sync *sync, const struct person_key *key,
                              struct buf *error)
{
    char name[FREQ_KEY_BYTES], second[STR_I64_BYTES], ttl[STR_I64_BYTES];
    freq_codec_key(key, 'f', name);
    struct str argv[] = {STR("SET"), view(name, sizeof(name)),
                         str_of_i64(clock_wall_us() / 1000000 + FREQ_FORGOTTEN_AHEAD_S, second),
                         STR("EX"), str_of_i64(FREQ_FORGOTTEN_TTL_S, ttl)};
    return command(sync, error, COUNT_OF(argv), argv) ? STATUS_OK : STATUS_IO;
}

/* Is a bid for the person still out, whose notice may yet come? */
static enum status has_open_bids(struct redis_sync *sync, const struct group *group, bool *open,
                                 struct buf *error)
{
    for (uint32_t i = 0; i < group->count; i++) {
        const struct redis_value *record = hash_get(sync, error, &group->keys[i], 'c');
        if (!record) {
            return STATUS_IO;
        }
        for (uint32_t f = 1; f < record->count; f += 2) {
            *open = *open || record->items[f].text.len == FREQ_RESERVED_BYTES;
        }
    }
    return STATUS_OK;
}

enum status person_admin_forget(struct redis_sync *sync, const struct person_key *key,
                                uint32_t *deleted, struct buf *error)
{
    struct group group = {.count = 0};
    bool open = false;
    *deleted = 0;
    enum status status = group_find(sync, key, &group, error);
    if (status == STATUS_OK) {
        status = has_open_bids(sync, &group, &open, error);
    }
    for (uint32_t i = 0; i < group.count && status == STATUS_OK; i++) {
        status = open ? leave_mark(sync, &group.keys[i], error) : STATUS_OK;
        if (status == STATUS_OK) {
            status = delete_key(sync, &group.keys[i], 'c', deleted, error);
        }
        if (status == STATUS_OK) {
            status = delete_key(sync, &group.keys[i], 'p', deleted, error);
        }
    }
    return status;
}

/* One field of every profile of the person: set when value.ptr, else removed. */
static enum status set_everywhere(struct redis_sync *sync, const struct group *group,
                                  struct str field, struct str value, int64_t ttl_s,
                                  struct buf *error)
{
    for (uint32_t i = 0; i < group->count; i++) {
        bool good = value.ptr ? hash_set(sync, error, "HSET", &group->keys[i], 'p', field, value) &&
                                    keep_for(sync, error, &group->keys[i], 'p', ttl_s)
                              : hash_del(sync, error, &group->keys[i], 'p', field);
        if (!good) {
            return STATUS_IO;
        }
    }
    return STATUS_OK;
}

static enum status set_field(struct redis_sync *sync, const struct person_key *key,
                             struct str field, struct str value, struct buf *error)
{
    struct group group = {.count = 0};
    enum status status = group_find(sync, key, &group, error);
    return status == STATUS_OK
               ? set_everywhere(sync, &group, field, value, PERSON_ADMIN_PROFILE_TTL_S, error)
               : status;
}

enum status person_admin_consent(struct redis_sync *sync, const struct person_key *key,
                                 bool withdrawn, struct buf *error)
{
    struct group group = {.count = 0};
    enum status status = group_find(sync, key, &group, error);
    if (status != STATUS_OK || !withdrawn) {
        return status != STATUS_OK ? status
                                   : set_everywhere(sync, &group, STR("w"), STR_NONE, 0, error);
    }
    /* The word first, so that nothing is written behind the deletions. */
    status = set_everywhere(sync, &group, STR("w"), STR("1"), PERSON_ADMIN_WITHDRAWN_TTL_S, error);
    uint32_t deleted = 0;
    for (uint32_t i = 0; i < group.count && status == STATUS_OK; i++) {
        status = leave_mark(sync, &group.keys[i], error);
        if (status == STATUS_OK) {
            status = delete_key(sync, &group.keys[i], 'c', &deleted, error);
        }
        struct pairs pairs = {0};
        struct group one = {.keys = {group.keys[i]}, .count = 1};
        if (status == STATUS_OK) {
            status = pairs_collect(sync, &one, 'p', &pairs, error);
        }
        for (uint32_t p = 0; p < pairs.count && status == STATUS_OK; p++) {
            struct str field = view(pairs.items[p].field, pairs.items[p].field_len);
            bool learnt = field.ptr[0] == 's' || field.ptr[0] == 'd';
            if (learnt && !hash_del(sync, error, &group.keys[i], 'p', field)) {
                status = STATUS_IO;
            }
        }
        free(pairs.items);
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

/* --- describe ------------------------------------------------------------------------------- */

static void put_time(struct buf *out, const struct tz *tz, int64_t time_s)
{
    struct tz_local local;
    tz_to_local(tz, time_s, &local);
    buf_printf(out, "%04d-%02d-%02d %02d:%02d:%02d", local.year, local.month, local.day, local.hour,
               local.minute, local.second);
}

static void put_ref(struct buf *out, const struct person_admin_names *names, const char *kind,
                    uint32_t ref)
{
    if (!names || !names->name(names->context, kind, ref, out)) {
        buf_printf(out, "#%08x", ref);
    }
}

static uint32_t ref_of(const char *bytes)
{
    uint32_t ref = 0;
    for (int i = 0; i < 4; i++) {
        ref = ref << 8 | (unsigned char)bytes[i];
    }
    return ref;
}

static void describe_profile(const struct redis_value *profile, int64_t now_s, const struct tz *tz,
                             const struct person_admin_names *names, struct buf *out)
{
    for (uint32_t i = 0; i < profile->count; i += 2) {
        struct str field = profile->items[i].text, value = profile->items[i + 1].text;
        char kind = field.len ? field.ptr[0] : 0;
        if (kind == 's' && field.len == 5 && value.len == 4) {
            int64_t until_s = (int64_t)ref_of(value.ptr) * 3600;
            buf_printf(out, "  segment ");
            put_ref(out, names, "segment", ref_of(field.ptr + 1));
            buf_printf(out, " until ");
            put_time(out, tz, until_s);
            buf_printf(out, until_s > now_s ? "\n" : " (over)\n");
        } else if (kind == 'w') {
            buf_printf(out, "  consent withdrawn: nothing is counted or stored\n");
        } else if (kind == 'm' && value.len == 2) {
            buf_printf(out, "  wants at most %u contacts per day\n",
                       (unsigned)((unsigned char)value.ptr[0] << 8 | (unsigned char)value.ptr[1]));
        } else if (kind == 'x' && field.len == 5) {
            buf_printf(out, "  muted ");
            put_ref(out, names, "muted", ref_of(field.ptr + 1));
            buf_printf(out, "\n");
        } else if (kind == 'd' && field.len == FREQ_ANSWER_FIELD_BYTES &&
                   value.len == FREQ_ANSWER_VALUE_BYTES) {
            buf_printf(out, "  a DMP's answer: %s audience #%08x until ",
                       value.ptr[0] ? "in" : "not in", ref_of(field.ptr + 5));
            put_time(out, tz, (int64_t)ref_of(value.ptr + 1));
            buf_printf(out, "\n");
        } else if (kind != 'l') {
            buf_printf(out, "  a field that is not ours (%zu bytes)\n", field.len);
        }
    }
}

static void describe_exposures(const struct redis_value *record, int64_t now_s, const struct tz *tz,
                               const struct person_admin_names *names, struct buf *out)
{
    for (uint32_t i = 0; i < record->count; i += 2) {
        struct freq_exposure exposure;
        if (!freq_codec_exposure(record->items[i].text, record->items[i + 1].text, &exposure)) {
            buf_printf(out, "  an entry that is not ours\n");
            continue;
        }
        buf_printf(out, "  ");
        put_time(out, tz, exposure.time_s);
        buf_printf(out, exposure.hold_s == 0             ? "  shown     line "
                        : freq_is_live(&exposure, now_s) ? "  reserved  line "
                                                         : "  expired   line ");
        put_ref(out, names, "line", exposure.refs.line);
        buf_printf(out, "  brand ");
        put_ref(out, names, "brand", exposure.refs.brand);
        buf_printf(out, "  creative ");
        put_ref(out, names, "creative", exposure.refs.creative);
        buf_printf(out, "\n");
    }
}

enum status person_admin_describe(struct redis_sync *sync, const struct person_key *key,
                                  int64_t now_s, const struct tz *tz,
                                  const struct person_admin_names *names, struct buf *out,
                                  struct buf *error)
{
    struct group group = {.count = 0};
    enum status status = group_find(sync, key, &group, error);
    for (uint32_t i = 0; i < group.count && status == STATUS_OK; i++) {
        buf_printf(out, "%s ", i ? "linked id" : "id");
        for (int b = 0; b < PERSON_KEY_BYTES; b++) {
            buf_printf(out, "%02x", group.keys[i].bytes[b]);
        }
        const struct redis_value *hash = hash_get(sync, error, &group.keys[i], 'p');
        if (!hash) {
            return STATUS_IO;
        }
        bool has_profile = hash->count != 0;
        buf_printf(out, "\n");
        describe_profile(hash, now_s, tz, names, out);
        hash = hash_get(sync, error, &group.keys[i], 'c');
        if (!hash) {
            return STATUS_IO;
        }
        describe_exposures(hash, now_s, tz, names, out);
        if (!has_profile && !hash->count) {
            buf_printf(out, "  nothing stored\n");
        }
    }
    return status;
}
