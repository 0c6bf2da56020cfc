/* One worker that bids on 50 lines in 5 campaigns through the real ledger and a real Redis.
 *
 *   drive_money ADDRESS TRUTH OWNER LATE_PERMILLE LINE_CAP
 *
 * TRUTH is a file of int64 pairs [owner 1..8][account 0..54] = {settled, committed}, mapped by all
 * and written before the ledger is told, as an event log would be. Notices come after up to 1.5 s,
 * out of order, some twice, a tenth never; LATE_PERMILLE of the wins behind the timeout of 2 s.
 * At SIGTERM: no more bids, all notices are waited for, leases go back. */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bidder/base/bug.h"
#include "bidder/base/clock.h"
#include "bidder/base/loop.h"
#include "bidder/base/prng.h"
#include "pacing/budget.h"

#define LINES      50
#define CAMPAIGNS  5
#define ACCOUNTS   (LINES + CAMPAIGNS)
#define OWNERS     8
#define TIMEOUT_US 2000000
#define MAX_BIDS   65536
#define REF        1000

struct truth {
    int64_t settled, committed;
};

struct bid {
    bool open, won, told, twice;
    uint32_t flight, line;
    int64_t amount, price, until_us, notice_us;
};

static struct {
    struct loop loop;
    struct loop_timer timer;
    struct redis *redis;
    struct budget_ledger *ledger;
    struct truth *mine;
    int64_t dead[ACCOUNTS]; /* committed by a former run: nobody will tell of it */
    int64_t began_us, late_permille, stop_us;
    struct prng prng;
    struct bid bids[MAX_BIDS];
    uint32_t first, next;
    bool stopping, dead_gone;
} drive;

static void free_commitment(struct bid *bid)
{
    if (bid->open) {
        bid->open = false;
        drive.mine[bid->line].committed -= bid->amount;
        drive.mine[LINES + bid->line % CAMPAIGNS].committed -= bid->amount;
    }
}

static void tell(struct bid *bid, int64_t now_us)
{
    bid->told = true;
    free_commitment(bid);
    if (!bid->won) {
        (void)budget_release(drive.ledger, bid->flight, now_us);
        return;
    }
    drive.mine[bid->line].settled += bid->price;
    drive.mine[LINES + bid->line % CAMPAIGNS].settled += bid->price;
    enum budget_settlement settlement =
        budget_settle(drive.ledger, bid->flight, bid->price, now_us);
    BUG_ON(settlement != BUDGET_SETTLED && settlement != BUDGET_LATE);
    if (bid->twice) {
        settlement = budget_settle(drive.ledger, bid->flight, bid->price, now_us);
        BUG_ON(settlement != BUDGET_DUPLICATE);
    }
}

static void place(int64_t now_us)
{
    uint32_t line = (uint32_t)prng_below(&drive.prng, LINES);
    uint32_t budgets[2] = {line, LINES + line % CAMPAIGNS};
    int64_t amount = 200 + (int64_t)prng_below(&drive.prng, 6000);
    struct bid *bid = &drive.bids[drive.next % MAX_BIDS];
    uint32_t flight;
    if (drive.next - drive.first == MAX_BIDS ||
        budget_commit(drive.ledger, budgets, 2, amount, now_us, &flight) != BUDGET_OK) {
        return;
    }
    bool late = prng_below(&drive.prng, 1000) < (uint64_t)drive.late_permille;
    uint64_t wait = prng_below(&drive.prng, 1500000);
    *bid = (struct bid){.open = true,
                        .won = prng_below(&drive.prng, 2) == 0,
                        .twice = prng_below(&drive.prng, 10) == 0,
                        .flight = flight,
                        .line = line,
                        .amount = amount,
                        .price = 1 + (int64_t)prng_below(&drive.prng, (uint64_t)amount),
                        .until_us = now_us + TIMEOUT_US,
                        .notice_us = now_us + (late ? TIMEOUT_US + 300000 : (int64_t)wait)};
    bid->won |= late;
    bid->told = !late && prng_below(&drive.prng, 10) == 0; /* lost on its way */
    drive.mine[line].committed += amount;
    drive.mine[LINES + line % CAMPAIGNS].committed += amount;
    drive.next++;
}

static void on_tick(void *context)
{
    (void)context;
    int64_t now_us = clock_mono_us();
    loop_timer_start(&drive.timer, 5000);
    budget_tick(drive.ledger, now_us, clock_wall_us() / 1000000);
    for (uint32_t i = drive.first; i != drive.next; i++) {
        struct bid *bid = &drive.bids[i % MAX_BIDS];
        if (!bid->told && now_us >= bid->notice_us) {
            tell(bid, now_us);
        } else if (now_us >= bid->until_us) {
            free_commitment(bid);
        }
        drive.first += i == drive.first && bid->told && !bid->open;
    }
    if (!drive.dead_gone && now_us - drive.began_us > TIMEOUT_US) {
        drive.dead_gone = true;
        for (uint32_t i = 0; i < ACCOUNTS; i++) {
            drive.mine[i].committed -= drive.dead[i];
        }
    }
    for (uint64_t more = drive.stopping ? 0 : prng_below(&drive.prng, 24); more; more--) {
        place(now_us);
    }
    if (drive.stopping && drive.first == drive.next) {
        budget_ledger_drain(drive.ledger);
        bool done = budget_ledger_is_drained(drive.ledger) && now_us > drive.stop_us + 3000000;
        if (done || now_us > drive.stop_us + 20000000) {
            loop_stop(&drive.loop);
        }
    }
}

static void on_signal(void *context, int number)
{
    (void)context;
    (void)number;
    drive.stopping = true;
    drive.stop_us = clock_mono_us();
}

static struct truth *map_truth(const char *path)
{
    int fd = open(path, O_RDWR | O_CLOEXEC);
    size_t size = sizeof(struct truth) * OWNERS * ACCOUNTS;
    BUG_ON(fd < 0);
    struct truth *truth = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    BUG_ON(truth == MAP_FAILED);
    close(fd);
    return truth;
}

static void setup_ledger(uint32_t owner, int64_t line_cap)
{
    static struct tz_transition always = {.at_s = INT64_MIN};
    static const struct tz utc = {.transitions = &always, .count = 1};
    struct budget_plan plans[ACCOUNTS];
    struct budget_options options = {.owner = owner,
                                     .max_flights = MAX_BIDS,
                                     .win_timeout_us = TIMEOUT_US,
                                     .sync_interval_us = 100000};
    drive.ledger = budget_ledger_create(drive.redis, &options);
    BUG_ON(!drive.ledger);
    for (uint32_t i = 0; i < ACCOUNTS; i++) {
        int64_t cap = i < LINES ? line_cap : line_cap * 7; /* of ten lines */
        plans[i] = (struct budget_plan){.ref = REF + i, .total = cap};
    }
    BUG_ON(budget_ledger_configure(drive.ledger, plans, ACCOUNTS, &utc,
                                   clock_wall_us() / 1000000) != STATUS_OK);
    for (uint32_t i = 0; i < ACCOUNTS; i++) { /* what the log of former runs says */
        budget_reconcile(drive.ledger, REF + i, 0, drive.mine[i].settled);
        drive.dead[i] = drive.mine[i].committed;
    }
}

int main(int argc, char **argv)
{
    if (argc != 6) {
        fprintf(stderr, "drive_money ADDRESS TRUTH OWNER LATE_PERMILLE LINE_CAP\n");
        return 2;
    }
    uint32_t owner = (uint32_t)strtoul(argv[3], NULL, 10);
    BUG_ON(owner < 1 || owner > OWNERS || loop_init(&drive.loop) != STATUS_OK);
    struct truth *truth = map_truth(argv[2]);
    drive.mine = truth + (size_t)(owner - 1) * ACCOUNTS;
    drive.late_permille = strtol(argv[4], NULL, 10);
    drive.prng.state = owner * 7919 + (uint64_t)clock_wall_us();
    struct redis_options options = {.address = argv[1],
                                    .connect_timeout_us = 500000,
                                    .command_timeout_us = 500000,
                                    .max_in_flight = 4096};
    drive.redis = redis_create(&drive.loop, &options);
    BUG_ON(!drive.redis);
    setup_ledger(owner, strtol(argv[5], NULL, 10));
    drive.began_us = clock_mono_us();
    struct loop_signal terminate;
    BUG_ON(loop_signal_start(&terminate, &drive.loop, SIGTERM, on_signal, NULL) != STATUS_OK);
    loop_timer_init(&drive.timer, &drive.loop, on_tick, NULL);
    loop_timer_start(&drive.timer, 1000);
    loop_run(&drive.loop);
    loop_timer_stop(&drive.timer);
    loop_signal_stop(&terminate);
    const struct budget_stats *stats = budget_stats(drive.ledger);
    printf("{\"owner\":%u,\"commits\":%llu,\"late_wins\":%llu,\"regress\":%llu,\"steps\":%llu}\n",
           (unsigned)owner, (unsigned long long)stats->commits,
           (unsigned long long)stats->late_wins, (unsigned long long)stats->regress,
           (unsigned long long)stats->steps);
    budget_ledger_destroy(&drive.ledger);
    redis_destroy(&drive.redis);
    loop_deinit(&drive.loop);
    return 0;
}
