#include "frequency/freq_codec.h"

#include <stdlib.h>

#include "bidder/base/crc64.h"

#define SLAB_FIRST 32
/* Of the dump. Redis reads its own version and all before; 10 is Redis 7.0. */
#define DUMP_HASH    4
#define DUMP_VERSION 10

static void put_be(char *out, uint64_t value, int bytes)
{
    for (int i = bytes - 1; i >= 0; i--) {
        out[i] = (char)(value & 0xff);
        value >>= 8;
    }
}

static uint32_t get_be(const char *in, int bytes)
{
    uint32_t value = 0;
    for (int i = 0; i < bytes; i++) {
        value = value << 8 | (unsigned char)in[i];
    }
    return value;
}

void freq_codec_field(uint32_t time_s, uint32_t salt, char out[FREQ_FIELD_BYTES])
{
    put_be(out, time_s, 4);
    put_be(out + 4, salt & FREQ_SALT_MASK, 3);
}

size_t freq_codec_value(const struct exposure_refs *refs, uint16_t hold_s,
                        char out[FREQ_RESERVED_BYTES])
{
    put_be(out, refs->line, 4);
    put_be(out + 4, refs->creative, 4);
    put_be(out + 8, refs->brand, 3);
    if (!hold_s) {
        return FREQ_VALUE_BYTES;
    }
    put_be(out + FREQ_VALUE_BYTES, hold_s, 2);
    return FREQ_RESERVED_BYTES;
}

void freq_codec_dump(const char field[FREQ_FIELD_BYTES], const char value[FREQ_RESERVED_BYTES],
                     char out[FREQ_DUMP_BYTES])
{
    char *at = out;
    *at++ = DUMP_HASH;
    *at++ = 1;
    *at++ = FREQ_FIELD_BYTES;
    memcpy(at, field, FREQ_FIELD_BYTES);
    at += FREQ_FIELD_BYTES;
    *at++ = FREQ_RESERVED_BYTES;
    memcpy(at, value, FREQ_RESERVED_BYTES);
    at += FREQ_RESERVED_BYTES;
    *at++ = DUMP_VERSION;
    *at++ = 0;
    uint64_t crc = crc64(out, (size_t)(at - out));
    for (int i = 0; i < 8; i++) {
        *at++ = (char)(crc >> 8 * i & 0xff);
    }
}

bool freq_codec_exposure(struct str field, struct str value, struct freq_exposure *exposure)
{
    if (field.len != FREQ_FIELD_BYTES ||
        (value.len != FREQ_VALUE_BYTES && value.len != FREQ_RESERVED_BYTES)) {
        return false;
    }
    bool reserved = value.len == FREQ_RESERVED_BYTES;
    *exposure = (struct freq_exposure){
        .refs = {.line = get_be(value.ptr, 4),
                 .creative = get_be(value.ptr + 4, 4),
                 .brand = get_be(value.ptr + 8, 3)},
        .time_s = get_be(field.ptr, 4),
        .salt = get_be(field.ptr + 4, 3),
        .hold_s = reserved ? (uint16_t)get_be(value.ptr + FREQ_VALUE_BYTES, 2) : 0};
    return !reserved || exposure->hold_s;
}

static bool slab_room(struct freq_slab *slab, uint32_t more)
{
    if (slab->cap - slab->used >= more) {
        return true;
    }
    uint32_t cap = slab->cap ? slab->cap : SLAB_FIRST;
    while (cap - slab->used < more) {
        cap *= 2;
    }
    struct freq_exposure *items = realloc(slab->items, cap * sizeof(*items));
    if (!items) {
        return false;
    }
    slab->items = items;
    slab->cap = cap;
    return true;
}

bool freq_slab_add(struct freq_slab *slab, const struct freq_exposure *exposure)
{
    if (!slab_room(slab, 1)) {
        return false;
    }
    slab->items[slab->used++] = *exposure;
    return true;
}

/* --- profiles ------------------------------------------------------------------------------- */

/* A record lives at least as long as the longest of its segments and answers. */
static void keep_until(struct freq_record *record, int64_t until_s)
{
    record->sure_until_s = until_s > record->sure_until_s ? until_s : record->sure_until_s;
}

static bool take_segment(struct freq_view *view, struct freq_record *record, uint32_t ref,
                         struct str value, int64_t now_s)
{
    if (value.len != 4) {
        return false;
    }
    int64_t until_s = (int64_t)get_be(value.ptr, 4) * 3600;
    keep_until(record, until_s);
    if (until_s > now_s && view->segment_count < FREQ_MAX_SEGMENTS) {
        view->segments[view->segment_count++] = ref;
    }
    return true;
}

static bool take_limit(struct freq_view *view, struct str value)
{
    uint32_t limit = value.len == 2 ? get_be(value.ptr, 2) : 0;
    if (!view->max_contacts_per_day || limit < view->max_contacts_per_day) {
        view->max_contacts_per_day = limit;
    }
    return limit != 0;
}

void freq_codec_answer(const struct freq_answer *answer, uint32_t expires_s,
                       char field[FREQ_ANSWER_FIELD_BYTES], char value[FREQ_ANSWER_VALUE_BYTES])
{
    field[0] = 'd';
    put_be(field + 1, answer->dmp_ref, 4);
    put_be(field + 5, answer->audience_ref, 4);
    value[0] = answer->in ? 1 : 0;
    put_be(value + 1, expires_s, 4);
}

static bool take_answer(struct freq_view *view, struct freq_record *record, struct str field,
                        struct str value, int64_t now_s)
{
    if (field.len != FREQ_ANSWER_FIELD_BYTES || value.len != FREQ_ANSWER_VALUE_BYTES ||
        (unsigned char)value.ptr[0] > 1) {
        return false;
    }
    int64_t until_s = get_be(value.ptr + 1, 4);
    keep_until(record, until_s);
    if (until_s > now_s && view->answer_count < FREQ_MAX_ANSWERS) {
        view->answers[view->answer_count++] =
            (struct freq_answer){.dmp_ref = get_be(field.ptr + 1, 4),
                                 .audience_ref = get_be(field.ptr + 5, 4),
                                 .in = value.ptr[0] != 0};
    }
    return true;
}

static void take_link(struct freq_links *links, const char *bytes)
{
    for (uint8_t i = 0; i < links->count; i++) {
        if (memcmp(links->keys[i].bytes, bytes, PERSON_KEY_BYTES) == 0) {
            return;
        }
    }
    if (links->count == FREQ_MAX_LINKS) {
        links->more = true;
        return;
    }
    memcpy(links->keys[links->count++].bytes, bytes, PERSON_KEY_BYTES);
}

static void take_muted(struct freq_view *view, uint32_t ref)
{
    if (!freq_is_muted(view, ref) && view->muted_count < FREQ_MAX_MUTED) {
        view->muted[view->muted_count++] = ref;
    }
}

static bool take_field(const struct freq_profile *profile, struct freq_record *record,
                       struct str field, struct str value)
{
    struct freq_view *view = profile->view;
    switch (field.ptr[0]) {
    case 's':
        return field.len == 5 &&
               take_segment(view, record, get_be(field.ptr + 1, 4), value, profile->now_s);
    case 'w':
        view->withdrawn = true;
        return true;
    case 'm':
        return field.len == 1 && take_limit(view, value);
    case 'x':
        if (field.len == 5) {
            take_muted(view, get_be(field.ptr + 1, 4));
        }
        return field.len == 5;
    case 'd':
        return take_answer(view, record, field, value, profile->now_s);
    case 'l':
        if (field.len == 1 + PERSON_KEY_BYTES) {
            take_link(profile->links, field.ptr + 1);
        }
        return field.len == 1 + PERSON_KEY_BYTES;
    default: /* of a later release, if it is a letter */
        (*profile->unknown)++;
        return field.ptr[0] >= 'a' && field.ptr[0] <= 'z';
    }
}

/* --- records -------------------------------------------------------------------------------- */

enum status freq_codec_record(const struct redis_value *reply, struct freq_slab *slab,
                              struct freq_record *record, const struct freq_profile *profile)
{
    record->exposure_count = record->field_count = 0;
    record->overflow = false;
    record->sure_until_s = 0;
    if (reply->type != REDIS_ARRAY || reply->count % 2) {
        return STATUS_INVALID;
    }
    uint32_t count = reply->count / 2, first = slab->used;
    uint32_t keep = count < FREQ_MAX_EXPOSURES ? count : FREQ_MAX_EXPOSURES;
    if (!slab_room(slab, keep)) {
        return STATUS_NO_MEMORY;
    }
    for (uint32_t i = 0; i < count; i++) {
        const struct redis_value *pair = &reply->items[2 * i];
        struct str field = pair[0].text, value = pair[1].text;
        if (pair[0].type != REDIS_STRING || pair[1].type != REDIS_STRING || !field.len) {
            return STATUS_INVALID;
        }
        if (!freq_codec_is_exposure(field)) {
            if (profile && !take_field(profile, record, field, value)) {
                return STATUS_INVALID;
            }
        } else if (record->exposure_count == keep) {
            record->overflow = true;
        } else if (!freq_codec_exposure(field, value,
                                        &slab->items[first + record->exposure_count++])) {
            return STATUS_INVALID;
        }
    }
    slab->used += record->exposure_count;
    record->field_count = count;
    return STATUS_OK;
}

void freq_codec_sort_segments(struct freq_view *view)
{
    uint32_t *items = view->segments, kept = 0;
    for (uint32_t gap = view->segment_count / 2; gap; gap /= 2) { /* shell sort: no memory */
        for (uint32_t i = gap; i < view->segment_count; i++) {
            uint32_t item = items[i], at = i;
            for (; at >= gap && items[at - gap] > item; at -= gap) {
                items[at] = items[at - gap];
            }
            items[at] = item;
        }
    }
    for (uint32_t i = 0; i < view->segment_count; i++) {
        if (!kept || items[kept - 1] != items[i]) {
            items[kept++] = items[i];
        }
    }
    view->segment_count = kept;
}
