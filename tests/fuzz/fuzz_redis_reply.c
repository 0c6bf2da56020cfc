/* Bytes as a Redis server might send them, in two pieces: through the reply reader, then as a
 * record with its profile. Nothing may crash, and what is taken must be within its limits. */
#include "bidder/base/redis_reply.h"

#include "bidder/base/bug.h"
#include "frequency/freq_codec.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void take(const struct redis_value *value)
{
    static struct freq_slab slab;
    static struct freq_view view;
    struct freq_record record = {.household = false};
    struct freq_links links = {.count = 0};
    uint64_t unknown = 0;
    const struct freq_profile profile = {
        .now_s = 1800000000, .view = &view, .links = &links, .unknown = &unknown};
    slab.used = 0;
    view.segment_count = view.muted_count = view.answer_count = view.max_contacts_per_day = 0;
    if (freq_codec_record(value, &slab, &record, &profile) == STATUS_OK) {
        BUG_ON(record.exposure_count > FREQ_MAX_EXPOSURES || slab.used != record.exposure_count ||
               record.exposure_count > record.field_count);
        for (uint32_t i = 0; i < record.exposure_count; i++) { /* what is read can be written */
            const struct freq_exposure *exposure = &slab.items[i];
            char field[FREQ_FIELD_BYTES], text[FREQ_RESERVED_BYTES];
            struct freq_exposure again;
            freq_codec_field(exposure->time_s, exposure->salt, field);
            size_t len = freq_codec_value(&exposure->refs, exposure->hold_s, text);
            BUG_ON(!freq_codec_exposure((struct str){field, sizeof(field)}, (struct str){text, len},
                                        &again));
            BUG_ON(again.time_s != exposure->time_s || again.salt != exposure->salt ||
                   again.hold_s != exposure->hold_s || again.refs.line != exposure->refs.line ||
                   again.refs.brand != exposure->refs.brand);
        }
        freq_codec_sort_segments(&view);
        BUG_ON(view.segment_count > FREQ_MAX_SEGMENTS || view.muted_count > FREQ_MAX_MUTED ||
               links.count > FREQ_MAX_LINKS);
        for (uint32_t i = 1; i < view.segment_count; i++) {
            BUG_ON(view.segments[i - 1] >= view.segments[i]);
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct redis_reply_reader reader;
    if (!redis_reply_reader_init(&reader)) {
        return 0;
    }
    size_t cut = size ? data[0] % size : 0;
    const char *bytes = (const char *)data + (size > 0);
    const size_t pieces[2] = {cut, size - (size > 0) - (cut < size ? cut : 0)};
    size_t from = 0;
    for (int i = 0; i < 2; i++) {
        size_t len = from + pieces[i] <= size - (size > 0) ? pieces[i] : 0;
        const struct redis_value *value;
        if (!redis_reply_feed(&reader, bytes + from, len)) {
            break;
        }
        from += len;
        int more;
        while ((more = redis_reply_next(&reader, &value)) > 0) {
            take(value);
            redis_reply_done(&reader);
        }
        if (more < 0) {
            break;
        }
    }
    redis_reply_reader_deinit(&reader);
    return 0;
}
