#include "bidder/event_log.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bidder/base/crc32c.h"
#include "bidder/base/log.h"
#include "bidder/base/prng.h"
#include "bidder/event_log_repair.h"
#include "bidder/event_sum.h"
#include "tests/test.h"

#define NOW_US (1795000000 * (int64_t)1000000)
static const uint64_t seed = 77;

static struct event_record sample(struct prng *prng)
{
    struct event_record event = {
        .kind = EVENT_BID + prng_below(prng, EVENT_KIND_COUNT - EVENT_BID),
        .time_us = NOW_US + (int64_t)prng_below(prng, 1000),
        .auction = prng_next(prng),
        .imp_hash = (uint16_t)prng_next(prng),
        .exchange_ref = (uint32_t)prng_next(prng),
        .line_ref = (uint32_t)prng_next(prng),
        .deal_ref = (uint32_t)prng_next(prng),
        .brand_ref = (uint32_t)prng_next(prng),
        .creative_ref = (uint32_t)prng_next(prng),
        .bid_s = 1795000000,
        .price_micros = (int64_t)prng_below(prng, 50000000),
        .cost_micros = (int64_t)prng_below(prng, 50000),
        .flight = (uint32_t)prng_next(prng),
        .flags = (uint32_t)prng_below(prng, 64),
        .reason = (int32_t)prng_below(prng, 300) - 1,
        .other_brand_ref = (uint32_t)prng_next(prng),
        .account = STR("campaign:x:total"),
        .sequence = prng_next(prng),
        .used = (int64_t)prng_next(prng),
        .returned = 5,
        .granted = -5,
        .owner = 7,
        .date = 20261122,
        .impressions = (uint32_t)prng_next(prng),
        .billable = prng_below(prng, 2),
    };
    event.budget_count = (uint32_t)prng_below(prng, EVENT_MAX_BUDGETS + 1);
    for (uint32_t i = 0; i < event.budget_count; i++) {
        event.budgets[i] = (uint32_t)prng_next(prng);
    }
    return event;
}

static void check_same(const struct event_record *a, const struct event_record *b)
{
    struct buf x, y;
    buf_init(&x, 1 << 16);
    buf_init(&y, 1 << 16);
    event_put_json(&x, a);
    event_put_json(&y, b);
    CHECK(str_eq(buf_str(&x), buf_str(&y)));
    buf_deinit(&x);
    buf_deinit(&y);
}

/* RFC 3720 B.4 */
TEST(crc32c_agrees_with_published_vectors)
{
    uint8_t bytes[32] = {0};
    CHECK_INT(crc32c(0, bytes, 32), 0x8a9136aa);
    memset(bytes, 0xff, sizeof(bytes));
    CHECK_INT(crc32c(0, bytes, 32), 0x62a8ab43);
    for (int i = 0; i < 32; i++) {
        bytes[i] = (uint8_t)i;
    }
    CHECK_INT(crc32c(0, bytes, 32), 0x46dd794e);
    CHECK_INT(crc32c(crc32c(0, bytes, 13), bytes + 13, 19), 0x46dd794e);
    for (size_t len = 0; len <= 32; len++) {
        CHECK_INT(crc32c_by_tables(7, bytes + 32 - len, len), crc32c(7, bytes + 32 - len, len));
    }
}

TEST(records_round_trip)
{
    struct prng prng = {seed};
    struct buf out;
    buf_init(&out, 1 << 20);
    enum { COUNT = 500 };
    static struct event_record events[COUNT];
    for (int i = 0; i < COUNT; i++) {
        events[i] = sample(&prng);
        CHECK(event_record_put(&out, &events[i]));
    }
    struct str rest = buf_str(&out);
    struct event_record read;
    char scratch[EVENT_MAX_BYTES];
    for (int i = 0; i < COUNT; i++) {
        CHECK_INT(event_record_next(&rest, &read, scratch), EVENT_READ_OK);
        check_same(&events[i], &read);
    }
    CHECK_INT(event_record_next(&rest, &read, scratch), EVENT_READ_END);
    buf_deinit(&out);
}

TEST(a_cut_or_changed_record_is_noticed)
{
    struct prng prng = {seed};
    struct buf out;
    struct event_record event = sample(&prng), read;
    char scratch[EVENT_MAX_BYTES];
    bool end;
    buf_init(&out, 1 << 16);
    CHECK(event_record_put(&out, &event));
    size_t first = out.len;
    CHECK(event_record_put(&out, &(struct event_record){.kind = EVENT_END}));
    for (size_t len = 0; len <= out.len; len++) {
        char *copy = malloc(len ? len : 1);
        memcpy(copy, out.data, len);
        struct str text = {copy, len};
        CHECK_INT(event_record_valid(text, &end), len == out.len ? len : len >= first ? first : 0);
        CHECK(end == (len == out.len));
        enum event_read expected = len >= first ? EVENT_READ_OK
                                   : len        ? EVENT_READ_TORN
                                                : EVENT_READ_END;
        CHECK_INT(event_record_next(&text, &read, scratch), expected);
        free(copy);
    }
    for (size_t bit = 0; bit < first * 8; bit++) {
        out.data[bit / 8] ^= (char)(1 << bit % 8);
        struct str text = buf_str(&out);
        CHECK(event_record_next(&text, &read, scratch) != EVENT_READ_OK);
        out.data[bit / 8] ^= (char)(1 << bit % 8);
    }
    buf_deinit(&out);
}

TEST(a_full_buffer_stays_whole)
{
    struct prng prng = {seed};
    struct event_record event = sample(&prng);
    struct buf out;
    buf_init(&out, 1000);
    int fitted = 0;
    while (event_record_put(&out, &event)) {
        fitted++;
    }
    bool end;
    CHECK(fitted > 2);
    CHECK_INT(event_record_valid(buf_str(&out), &end), out.len);
    buf_deinit(&out);
}

/* --- files ----------------------------------------------------------------------------------- */

static char folder[64];

static void folder_make(void)
{
    log_set_level(LOG_ERROR); /* what is repaired is counted here, not told */
    snprintf(folder, sizeof(folder), "/tmp/jointcap-events-XXXXXX");
    CHECK(mkdtemp(folder) != NULL);
}

struct found {
    int files, records, bids, ended, torn, bad;
    uint64_t last_sequence;
};

static int visit(bool delete, struct found *found)
{
    struct dirent **names;
    int count = scandir(folder, &names, NULL, alphasort);
    for (int i = 0; i < count; i++) {
        char path[512];
        snprintf(path, sizeof(path), "%s/%s", folder, names[i]->d_name);
        struct str name = str_from(names[i]->d_name);
        if (delete) {
            unlink(path);
        } else if (event_log_is_name(name)) {
            static char bytes[1 << 20], scratch[EVENT_MAX_BYTES];
            int fd = open(path, O_RDONLY);
            ssize_t len = read(fd, bytes, sizeof(bytes));
            close(fd);
            struct str rest = {bytes, len > 0 ? (size_t)len : 0};
            struct event_record event = {0};
            enum event_read result;
            found->files++;
            while ((result = event_record_next(&rest, &event, scratch)) == EVENT_READ_OK) {
                found->records++;
                if (event.kind == EVENT_BID) {
                    found->bids++;
                    CHECK(event.sequence > found->last_sequence); /* names sort in time */
                    found->last_sequence = event.sequence;
                }
            }
            found->ended += event.kind == EVENT_END;
            found->torn += result == EVENT_READ_TORN;
            found->bad += result == EVENT_READ_BAD;
        }
        free(names[i]);
    }
    free(names);
    return count;
}

static struct found look(void)
{
    struct found found = {0};
    visit(false, &found);
    return found;
}

static void folder_remove(void)
{
    visit(true, NULL);
    CHECK_INT(rmdir(folder), 0);
}

static struct event_log *open_log(struct event_log_options options)
{
    options.dir = folder;
    options.owner = options.owner ? options.owner : 3;
    return event_log_create(&options, NOW_US);
}

static void put_bids(struct event_log *log, uint64_t first, uint64_t count, int64_t now_us)
{
    for (uint64_t i = first; i < first + count; i++) {
        event_log_put(
            log, &(struct event_record){.kind = EVENT_BID, .sequence = i, .cost_micros = 30000},
            now_us);
    }
}

TEST(written_on_tick_and_ended_in_order)
{
    folder_make();
    for (enum event_fsync mode = EVENT_FSYNC_OFF; mode <= EVENT_FSYNC_BATCH; mode++) {
        struct event_log *log = open_log((struct event_log_options){.fsync = mode});
        put_bids(log, mode * 100 + 1, 50, NOW_US);
        CHECK_INT(look().bids, mode * 50);
        event_log_tick(log, NOW_US);
        CHECK_INT(look().bids, mode * 50 + 50);
        CHECK(event_log_ok(log));
        event_log_destroy(&log);
        CHECK(log == NULL);
    }
    struct found found = look();
    CHECK_INT(found.files, 3); /* a new one for each life */
    CHECK_INT(found.ended, 3);
    CHECK_INT(found.torn + found.bad, 0);
    folder_remove();
}

TEST(rotates_by_hour_and_size)
{
    folder_make();
    struct event_log *log = open_log((struct event_log_options){.max_file_bytes = 2000});
    put_bids(log, 1, 10, NOW_US);
    event_log_tick(log, NOW_US);
    CHECK_INT(look().files, 1);
    put_bids(log, 11, 100, NOW_US);
    event_log_tick(log, NOW_US); /* over 2000 bytes now */
    CHECK_INT(look().files, 2);
    event_log_tick(log, NOW_US + 3600 * (int64_t)1000000); /* the next hour */
    CHECK_INT(look().files, 3);
    put_bids(log, 111, 5, NOW_US + 3600 * (int64_t)1000000);
    event_log_destroy(&log);
    struct found found = look();
    CHECK_INT(found.bids, 115);
    CHECK_INT(found.ended, 3);
    folder_remove();
}

TEST(a_torn_tail_is_cut_off_at_the_next_start)
{
    folder_make();
    struct event_log *log = open_log((struct event_log_options){.owner = 3});
    put_bids(log, 1, 20, NOW_US);
    event_log_tick(log, NOW_US);
    /* As a killed worker leaves it: copy the file before it is ended, without its last bytes. */
    struct dirent **names;
    int count = scandir(folder, &names, NULL, alphasort);
    char path[512], torn[512];
    static char bytes[1 << 16];
    snprintf(path, sizeof(path), "%s/%s", folder, names[count - 1]->d_name);
    for (int i = 0; i < count; i++) {
        free(names[i]);
    }
    free(names);
    int fd = open(path, O_RDONLY);
    ssize_t len = read(fd, bytes, sizeof(bytes));
    close(fd);
    event_log_destroy(&log);
    unlink(path);
    struct str all = {bytes, (size_t)len};
    struct event_record event;
    char scratch[EVENT_MAX_BYTES];
    CHECK_INT(event_record_next(&all, &event, scratch), EVENT_READ_OK); /* opened */
    ssize_t record_bytes = (ssize_t)all.len / 20;
    snprintf(torn, sizeof(torn), "%s/events-9-20261122T00-00001.log", folder);
    for (ssize_t cut = 0; cut < 40; cut++) {
        fd = open(torn, O_WRONLY | O_CREAT | O_TRUNC, 0600);
        CHECK(write(fd, bytes, (size_t)(len - cut)) == len - cut);
        close(fd);
        bool end;
        size_t valid = event_record_valid((struct str){bytes, (size_t)(len - cut)}, &end);
        int dir = open(folder, O_RDONLY | O_DIRECTORY);
        CHECK_INT(event_log_repair(dir), len - cut - (ssize_t)valid);
        CHECK_INT(event_log_repair(dir), 0); /* once is enough */
        close(dir);
        struct found found = look();
        CHECK_INT(found.torn + found.bad, 0);
        CHECK_INT(found.ended, 1);
        CHECK_INT(found.bids, 20 - (cut + record_bytes - 1) / record_bytes);
    }
    folder_remove();
}

TEST(a_file_in_use_or_damaged_early_is_left_alone)
{
    folder_make();
    struct event_log *log = open_log((struct event_log_options){.owner = 3});
    put_bids(log, 1, 500, NOW_US);
    event_log_tick(log, NOW_US);
    int dir = open(folder, O_RDONLY | O_DIRECTORY);
    CHECK_INT(event_log_repair(dir), 0);
    CHECK_INT(look().ended, 0);
    event_log_destroy(&log);
    char damaged[512];
    snprintf(damaged, sizeof(damaged), "%s/events-4-20261122T00-00001.log", folder);
    static char bytes[20000];
    int fd = open(damaged, O_RDWR | O_CREAT, 0600);
    memset(bytes, 0xee, sizeof(bytes));
    CHECK(write(fd, bytes, sizeof(bytes)) == (ssize_t)sizeof(bytes));
    CHECK_INT(event_log_repair(dir), 0);
    CHECK_INT(lseek(fd, 0, SEEK_END), sizeof(bytes));
    close(fd);
    close(dir);
    folder_remove();
}

/* A limit on file size stands for the full disk: the kernel writes a part, then refuses. */
TEST(a_full_disk_stops_bidding_and_loses_nothing)
{
    folder_make();
    struct rlimit before, small = {.rlim_cur = 3000};
    signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &before);
    small.rlim_max = before.rlim_max;
    struct event_log *log = open_log((struct event_log_options){0});
    put_bids(log, 1, 10, NOW_US);
    event_log_tick(log, NOW_US);
    CHECK(event_log_ok(log));
    setrlimit(RLIMIT_FSIZE, &small);
    put_bids(log, 11, 200, NOW_US);
    event_log_tick(log, NOW_US + 1000);
    CHECK(!event_log_ok(log));
    struct found found = look();
    CHECK_INT(found.torn + found.bad, 0); /* the part was taken back */
    CHECK_INT(found.bids, 10);
    put_bids(log, 211, 5, NOW_US + 2000);
    event_log_tick(log, NOW_US + 500000); /* too early to try again */
    CHECK_INT(look().files, 1);
    event_log_tick(log, NOW_US + 1100000); /* tries and fails */
    CHECK(!event_log_ok(log));
    setrlimit(RLIMIT_FSIZE, &before);
    event_log_tick(log, NOW_US + 1200000);
    CHECK(!event_log_ok(log));
    event_log_tick(log, NOW_US + 2300000);
    CHECK(event_log_ok(log));
    event_log_destroy(&log);
    found = look();
    CHECK_INT(found.bids, 215);
    CHECK_INT(found.torn + found.bad, 0);
    folder_remove();
}

TEST(a_folder_that_cannot_be_written)
{
    struct event_log_options options = {
        .dir = "/proc/no/such/folder", .owner = 1, .max_held_bytes = 2000};
    struct event_log *log = event_log_create(&options, NOW_US);
    CHECK(log != NULL);
    CHECK(!event_log_ok(log));
    put_bids(log, 1, 1000, NOW_US); /* more than may be held: dropped, not grown */
    event_log_tick(log, NOW_US + 2000000);
    CHECK(!event_log_ok(log));
    event_log_destroy(&log);
    CHECK(event_log_ok(NULL)); /* no log configured */
}

struct summed {
    int64_t total, today, counted, other_owner;
    int accounts;
};

static void take_sum(void *context, const struct event_sum *sum)
{
    struct summed *summed = context;
    summed->accounts++;
    if (sum->owner == 4) {
        summed->other_owner += sum->used;
    } else if (sum->ref == 0xb1 && !sum->date) {
        summed->total = sum->used;
    } else if (sum->ref == 0xb1 && sum->date == 20261118) {
        summed->today = sum->used;
    } else if (sum->ref == 0xb2 && !sum->date) {
        summed->counted = sum->used;
    }
}

static void put_settled(struct event_log *log, uint32_t owner, uint64_t auction, int64_t cost)
{
    event_log_put(log,
                  &(struct event_record){.kind = EVENT_SETTLE,
                                         .auction = auction,
                                         .cost_micros = cost,
                                         .owner = owner,
                                         .date = auction % 2 ? 20261118 : 20261119,
                                         .budgets = {0xb1, 0xb2},
                                         .budget_count = 2,
                                         .impressions = 2},
                  NOW_US);
}

TEST(settlements_add_up_by_account_and_owner)
{
    folder_make();
    struct event_log *three = open_log((struct event_log_options){.owner = 3});
    struct event_log *four = open_log((struct event_log_options){.owner = 4});
    int64_t total = 0, today = 0;
    for (uint64_t i = 1; i <= 5000; i++) {
        put_settled(three, 3, i, (int64_t)i * 7);
        total += (int64_t)i * 7;
        today += i % 2 ? (int64_t)i * 7 : 0;
    }
    put_bids(three, 1, 100, NOW_US); /* bids spend nothing */
    put_settled(three, 3, 17, 1);    /* there already */
    put_settled(four, 4, 9001, 11);
    event_log_destroy(&three);
    event_log_destroy(&four);
    struct event_sums *sums = event_sums_create();
    CHECK_INT(event_sums_add_folder(sums, folder, 3), STATUS_OK);
    struct summed summed = {0};
    event_sums_each(sums, take_sum, &summed);
    CHECK_INT(summed.total, total);
    CHECK_INT(summed.today, today);
    CHECK_INT(summed.counted, 5000); /* this budget counts impressions */
    CHECK_INT(summed.accounts, 6);
    CHECK_INT(summed.other_owner, 0);
    CHECK_INT(event_sums_duplicates(sums), 1);
    event_sums_destroy(&sums);
    sums = event_sums_create();
    CHECK_INT(event_sums_add_folder(sums, folder, 0), STATUS_OK);
    summed = (struct summed){0};
    event_sums_each(sums, take_sum, &summed);
    CHECK_INT(summed.total, total);
    CHECK_INT(summed.other_owner, 11 + 11 + 1 + 1);
    CHECK_INT(event_sums_settled(sums), 5001);
    CHECK_INT(event_sums_add_folder(sums, "/no/such/folder", 0), STATUS_IO);
    event_sums_destroy(&sums);
    folder_remove();
}

static struct summed sum_up(uint32_t owner)
{
    struct event_sums *sums = event_sums_create();
    struct summed summed = {0};
    CHECK_INT(event_sums_add_folder(sums, folder, owner), STATUS_OK);
    event_sums_each(sums, take_sum, &summed);
    event_sums_destroy(&sums);
    return summed;
}

static void remove_all_but_newest(void)
{
    struct dirent **names;
    int count = scandir(folder, &names, NULL, alphasort); /* "." and ".." sort first */
    for (int i = 0; i < count; i++) {
        char path[512];
        snprintf(path, sizeof(path), "%s/%s", folder, names[i]->d_name);
        if (i >= 2 && i < count - 1) {
            CHECK_INT(unlink(path), 0);
        }
        free(names[i]);
    }
    free(names);
}

TEST(totals_outlive_old_files_and_lives)
{
    folder_make();
    int64_t total = 0, now_us = NOW_US;
    for (uint64_t life = 0; life < 5; life++) {
        struct event_log_options options = {.dir = folder, .owner = 3, .max_file_bytes = 2000};
        struct event_log *log = event_log_create(&options, now_us);
        for (uint64_t i = 0; i < 60; i++) {
            put_settled(log, 3, life * 1000 + i * 2 + 1, (int64_t)(life + i));
            total += (int64_t)(life + i);
            event_log_tick(log, now_us); /* rotates by size now and then */
        }
        /* The clock is set back in the second life: names go on all the same. */
        now_us += life == 1 ? -7200 * (int64_t)1000000 : 1800 * (int64_t)1000000;
        event_log_destroy(&log);
        CHECK_INT(sum_up(3).total, total);
        CHECK_INT(sum_up(3).today, total);
        CHECK_INT(sum_up(0).total, total); /* all files, or what is left of them */
        if (life % 2) {
            remove_all_but_newest();
            CHECK_INT(look().files, 1);
            CHECK_INT(sum_up(3).total, total);
            CHECK_INT(sum_up(0).total, total);
        }
    }
    folder_remove();
}

TEST(settlements_do_not_wait_for_the_tick)
{
    folder_make();
    struct event_log *log = open_log((struct event_log_options){0});
    put_bids(log, 1, 3, NOW_US);
    CHECK(!event_log_is_urgent(log));
    put_settled(log, 3, 1, 5);
    CHECK(event_log_is_urgent(log));
    event_log_tick(log, NOW_US);
    CHECK(!event_log_is_urgent(log));
    CHECK(!event_log_is_urgent(NULL));
    event_log_destroy(&log);
    folder_remove();
}

TEST(a_head_cut_off_is_not_believed)
{
    folder_make();
    for (uint64_t life = 0; life < 2; life++) {
        struct event_log *log = open_log((struct event_log_options){.owner = 3});
        put_settled(log, 3, life * 2 + 1, 100);
        event_log_destroy(&log);
    }
    struct dirent **names;
    int count = scandir(folder, &names, NULL, alphasort);
    char path[512];
    snprintf(path, sizeof(path), "%s/%s", folder, names[count - 1]->d_name);
    for (int i = 0; i < count; i++) {
        free(names[i]);
    }
    free(names);
    CHECK_INT(sum_up(3).total, 200);
    struct stat info;
    CHECK_INT(stat(path, &info), 0);
    for (off_t len = info.st_size; len >= 0; len--) {
        CHECK_INT(truncate(path, len), 0);
        int64_t total = sum_up(3).total;
        CHECK(total == 200 || total == 100); /* the second settlement is there or not */
        CHECK(len < info.st_size || total == 200);
    }
    CHECK_INT(sum_up(3).total, 100); /* the first file alone */
    folder_remove();
}

TEST(json_shows_what_is_there)
{
    struct buf out;
    buf_init(&out, 4096);
    struct event_record event = {.kind = EVENT_LOSS,
                                 .time_us = 5,
                                 .auction = 0x70000000001,
                                 .line_ref = 0xabc,
                                 .reason = 102,
                                 .billable = true,
                                 .account = STR("a\"b")};
    event.budgets[0] = 1;
    event.budgets[1] = 0xffffffff;
    event.budget_count = 2;
    event_put_json(&out, &event);
    CHECK_STR(buf_str(&out),
              "{\"event\":\"loss\",\"time_us\":5,\"auction\":\"0000070000000001\",\"line\":"
              "\"00000abc\",\"reason\":102,\"budgets\":[\"00000001\",\"ffffffff\"],"
              "\"account\":\"a\\\"b\",\"billable\":true}");
    buf_deinit(&out);
}
