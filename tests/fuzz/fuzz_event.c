/* Event log bytes, as a file may hold them after damage. Read twice: as they are, and framed anew
 * with a right checksum, so that the message itself is reached. */
#include "bidder/base/bug.h"
#include "bidder/base/crc32c.h"
#include "bidder/event_log.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_all(struct str bytes)
{
    static char scratch[EVENT_MAX_BYTES];
    struct event_record event;
    struct buf out;
    bool end;
    size_t valid = event_record_valid(bytes, &end);
    BUG_ON(valid > bytes.len);
    buf_init(&out, 1 << 16);
    while (event_record_next(&bytes, &event, scratch) == EVENT_READ_OK) {
        BUG_ON(event.budget_count > EVENT_MAX_BUDGETS);
        BUG_ON(event.account.len >= EVENT_MAX_BYTES);
        buf_reset(&out);
        event_put_json(&out, &event);
        BUG_ON(buf_failed(&out));
    }
    buf_deinit(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    read_all((struct str){(const char *)data, size});
    if (size == 0 || size > EVENT_MAX_BYTES) {
        return 0;
    }
    uint8_t *framed = malloc(8 + size);
    uint32_t crc = crc32c(0, data, size);
    BUG_ON(!framed);
    for (int i = 0; i < 4; i++) {
        framed[i] = (uint8_t)(size >> 8 * i);
        framed[4 + i] = (uint8_t)(crc >> 8 * i);
    }
    memcpy(framed + 8, data, size);
    read_all((struct str){(const char *)framed, 8 + size});
    free(framed);
    return 0;
}
