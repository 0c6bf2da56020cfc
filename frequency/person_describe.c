/* What is stored for a person, in words. */
#include "frequency/freq_codec.h"
#include "frequency/person_admin_private.h"

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

static void describe_profile(const struct redis_value *record, int64_t now_s, const struct tz *tz,
                             const struct person_admin_names *names, struct buf *out)
{
    for (uint32_t i = 0; i < record->count; i += 2) {
        struct str field = record->items[i].text, value = record->items[i + 1].text;
        if (freq_codec_is_exposure(field)) {
            continue;
        }
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
        if (!freq_codec_is_exposure(record->items[i].text)) {
            continue;
        }
        if (!freq_codec_exposure(record->items[i].text, record->items[i + 1].text, &exposure)) {
            buf_printf(out, "  an entry that is not ours\n");
            continue;
        }
        buf_printf(out, "  ");
        put_time(out, tz, exposure.time_s);
        buf_printf(out, exposure.hold_s == 0                ? "  shown     line "
                        : freq_is_live(&exposure, now_s)    ? "  reserved  line "
                        : exposure.hold_s == FREQ_ANNOUNCED ? "  bid       line "
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
    struct person_group group = {.count = 0};
    enum status status = person_group_find(sync, key, &group, error);
    for (uint32_t i = 0; i < group.count && status == STATUS_OK; i++) {
        buf_printf(out, "%s ", i ? "linked id" : "id");
        for (int b = 0; b < PERSON_KEY_BYTES; b++) {
            buf_printf(out, "%02x", group.keys[i].bytes[b]);
        }
        const struct redis_value *record = person_hash_get(sync, error, &group.keys[i]);
        if (!record) {
            return STATUS_IO;
        }
        buf_printf(out, record->count ? "\n" : "\n  nothing stored\n");
        describe_profile(record, now_s, tz, names, out);
        describe_exposures(record, now_s, tz, names, out);
    }
    return status;
}
