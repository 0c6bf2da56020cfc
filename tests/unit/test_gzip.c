/* gzip both ways; cut, damaged and exploding input. */
#include "tests/test.h"

#include <stdlib.h>

#include "bidder/base/bug.h"
#include "bidder/base/gzip.h"

static struct gzip *gzip;
static struct buf packed, plain;

static void setup(void)
{
    gzip = gzip_create(1);
    BUG_ON(!gzip);
    buf_init(&packed, 1 << 20);
    buf_init(&plain, 1 << 20);
}

static void teardown(void)
{
    gzip_destroy(&gzip);
    buf_deinit(&packed);
    buf_deinit(&plain);
}

/* Inflates a copy that is exactly as large as the text, so that ASan sees a read too far. */
static enum status inflate_exactly(struct str text, size_t limit)
{
    char *copy = malloc(text.len ? text.len : 1);
    BUG_ON(!copy);
    if (text.len) {
        memcpy(copy, text.ptr, text.len);
    }
    buf_reset(&plain);
    enum status status = gzip_inflate(gzip, (struct str){copy, text.len}, limit, &plain);
    free(copy);
    return status;
}

TEST(round_trips_of_many_sizes)
{
    setup();
    char text[20000];
    for (size_t i = 0; i < sizeof(text); i++) {
        text[i] = (char)('a' + i * i % 23);
    }
    for (size_t len = 0; len <= sizeof(text); len = len * 2 + 1) {
        buf_reset(&packed);
        CHECK_INT(gzip_deflate(gzip, (struct str){text, len}, &packed), STATUS_OK);
        CHECK_INT(inflate_exactly(buf_str(&packed), len), STATUS_OK);
        CHECK(str_eq(buf_str(&plain), (struct str){text, len}));
        if (len) {
            CHECK_INT(inflate_exactly(buf_str(&packed), len - 1), STATUS_LIMIT);
        }
    }
    teardown();
}

TEST(cut_or_damaged_members_are_refused)
{
    setup();
    CHECK_INT(gzip_deflate(gzip, STR("{\"id\":\"a request that is compressed\"}"), &packed),
              STATUS_OK);
    for (size_t cut = 0; cut < packed.len; cut++) {
        CHECK_INT(inflate_exactly((struct str){packed.data, cut}, 1000), STATUS_INVALID);
    }
    buf_put_char(&packed, 'x'); /* something behind the member */
    CHECK_INT(inflate_exactly(buf_str(&packed), 1000), STATUS_INVALID);
    packed.len--;
    packed.data[packed.len - 1] ^= 1; /* the length in the trailer */
    CHECK_INT(inflate_exactly(buf_str(&packed), 1000), STATUS_INVALID);
    packed.data[packed.len - 1] ^= 1;
    CHECK_INT(inflate_exactly(buf_str(&packed), 1000), STATUS_OK); /* good again after bad ones */
    CHECK_INT(inflate_exactly(STR("{\"id\":\"plain\"}"), 1000), STATUS_INVALID);
    teardown();
}

TEST(what_explodes_stops_at_the_limit)
{
    setup();
    static char zeros[512 * 1024];
    CHECK_INT(gzip_deflate(gzip, (struct str){zeros, sizeof(zeros)}, &packed), STATUS_OK);
    CHECK(packed.len < 4096);
    CHECK_INT(inflate_exactly(buf_str(&packed), 100000), STATUS_LIMIT);
    CHECK(plain.len <= 100000 && plain.cap <= 256 * 1024);
    teardown();
}
