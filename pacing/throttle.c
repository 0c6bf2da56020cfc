/* No state but the caller's. Sums carry 8 binary digits so that small counts survive decay. */
#include "pacing/throttle.h"

#include "pacing/plan.h"

#define SECOND_US      1000000
#define COMMIT_TAU_US  (120 * (int64_t)SECOND_US)
#define LOAD_TAU_US    (300 * (int64_t)SECOND_US)
#define SHORT_TAU_US   (10 * (int64_t)SECOND_US)
#define WIN_TAU_US     (600 * (int64_t)SECOND_US)
#define NOTICE_TAU_US  (20 * (int64_t)SECOND_US) /* with ticks of 10 s: 30 s in flight */
#define NOTICE_TICKS   3                         /* the same, in ticks */
#define STEER_US       (60 * (int64_t)SECOND_US)
#define MIN_EVENTS     64  /* participations, requests: no ratio forgets below this */
#define BURST_EVENTS   150 /* requests the short load needs to overrule the long */
#define OUTAGE_EVENTS  20  /* expected requests per tick from which silence means something */
#define OUTAGE_TICKS   720 /* two hours: then it is not an outage but the traffic */
#define P_MIN          (THROTTLE_ONE / 10000)
#define Q              256
#define MAX_ELAPSED_US (60 * (int64_t)SECOND_US)

__extension__ typedef __int128 wide;

void throttle_init(struct throttle *throttle)
{
    *throttle = (struct throttle){.p = THROTTLE_START, .pending = -1};
}

void throttle_replan(struct throttle *throttle)
{
    throttle->slot_s = 0;
}

static int64_t muldiv(int64_t a, int64_t b, int64_t c)
{
    wide result = (wide)a * b / c, most = INT64_MAX / 4;
    return (int64_t)(result > most ? most : result < -most ? -most : result);
}

/* keep = tau / (tau + elapsed): an exponential window in exact integers, right for uneven ticks.
 * Not decayed when min_under of the denominator would not remain. */
static void ratio_add(struct throttle_ratio *ratio, int64_t over, int64_t under, int64_t tau_us,
                      int64_t elapsed_us, int64_t min_under)
{
    int64_t kept = muldiv(ratio->under, tau_us, tau_us + elapsed_us);
    if (kept + under * Q >= min_under * Q) {
        ratio->over = muldiv(ratio->over, tau_us, tau_us + elapsed_us);
        ratio->under = kept;
    }
    ratio->over += over * Q;
    ratio->under += under * Q;
}

static int64_t ratio_apply(const struct throttle_ratio *ratio, int64_t value, int64_t unknown)
{
    return ratio->under > 0 ? muldiv(value, ratio->over, ratio->under) : unknown;
}

void throttle_rescale(struct throttle *throttle, int64_t before, int64_t after)
{
    if (before > 0 && after > 0) {
        throttle->load.under = muldiv(throttle->load.under, after, before);
        throttle->load_short.under = muldiv(throttle->load_short.under, after, before);
    }
}

/* Requests expected while the plan expects planned (PLAN_TRAFFIC_ONE a request). */
static int64_t expect_requests(const struct throttle *throttle, int64_t planned)
{
    const struct throttle_ratio *slow = &throttle->load, *fast = &throttle->load_short;
    int64_t by_slow = ratio_apply(slow, planned, 0);
    if (fast->over < BURST_EVENTS * Q) {
        return by_slow;
    }
    int64_t by_fast = ratio_apply(fast, planned, 0);
    int64_t apart = by_fast > by_slow ? by_fast - by_slow : by_slow - by_fast;
    return apart > by_slow / 4 ? by_fast : by_slow;
}

int64_t throttle_expect_spend(const struct throttle *throttle, int64_t planned_traffic)
{
    if (throttle->load.under <= 0 || throttle->commit.under <= 0) {
        return -1;
    }
    /* Requests are scaled up so that fractions of one survive: quiet lines at night. */
    int64_t requests_q8 = expect_requests(throttle, planned_traffic * Q);
    int64_t commits_q8 = ratio_apply(&throttle->commit, requests_q8, 0);
    return ratio_apply(&throttle->win, commits_q8, commits_q8) / Q;
}

/* True while the traffic is away: the numbers of this tick say nothing about what comes next. */
static bool in_outage(struct throttle *throttle, const struct throttle_input *input)
{
    int64_t expected = ratio_apply(&throttle->load, input->planned_traffic, 0);
    bool away = expected >= OUTAGE_EVENTS && input->eligible * 20 < expected;
    throttle->outage_ticks = away ? throttle->outage_ticks + 1 : 0;
    return away && throttle->outage_ticks <= OUTAGE_TICKS;
}

static void learn(struct throttle *throttle, const struct throttle_input *input)
{
    int64_t elapsed_us = input->elapsed_us < MAX_ELAPSED_US ? input->elapsed_us : MAX_ELAPSED_US;
    ratio_add(&throttle->commit, input->committed, input->participated, COMMIT_TAU_US, elapsed_us,
              MIN_EVENTS);
    /* The denominator of the loads is planned traffic; their events are requests: a window that
     * holds fewer than MIN_EVENTS requests is kept by its numerator. */
    bool quiet = throttle->load.over < MIN_EVENTS * Q;
    ratio_add(&throttle->load, input->eligible, input->planned_traffic, LOAD_TAU_US,
              quiet ? 0 : elapsed_us, 0);
    ratio_add(&throttle->load_short, input->eligible, input->planned_traffic, SHORT_TAU_US,
              elapsed_us, 0);
    ratio_add(&throttle->win, input->settled, input->closed, WIN_TAU_US, elapsed_us, 1);
}

/* What is in flight and still settles, by age alone: when notices come faster or slower than
 * thought, both sides of the slot's line are wrong by the same. */
static void age_pending(struct throttle *throttle, const struct throttle_input *input)
{
    int64_t elapsed_us = input->elapsed_us > 0 ? input->elapsed_us : 0;
    if (throttle->pending < 0) { /* a new pacer does not know how old it is */
        throttle->pending = input->in_flight > 0 ? input->in_flight : 0;
    } else {
        throttle->pending =
            muldiv(throttle->pending, NOTICE_TAU_US, NOTICE_TAU_US + elapsed_us) + input->committed;
    }
}

/* need: by the rest of the day. The answer: by this slot's line. */
static int64_t steer(struct throttle *throttle, const struct throttle_input *input, int64_t left,
                     int64_t need)
{
    if (throttle->slot_s != input->slot_s) {
        throttle->slot_s = input->slot_s;
        throttle->slot_share = input->spend_share;
        throttle->slot_remaining = input->remaining;
        throttle->slot_due =
            muldiv(left, input->slot_share_end - input->spend_share, PLAN_ONE - input->spend_share);
    }
    int64_t length = input->slot_share_end - throttle->slot_share;
    int64_t next = input->spend_share_next < input->slot_share_end ? input->spend_share_next
                                                                   : input->slot_share_end;
    int64_t step = next - input->spend_share;
    if (!input->slot_s || length <= 0 || step <= 0) {
        return need;
    }
    int64_t due = muldiv(throttle->slot_due, input->spend_share - throttle->slot_share, length);
    int64_t usual = muldiv(throttle->slot_due, step * NOTICE_TICKS, length);
    int64_t pending = ratio_apply(&throttle->win, throttle->pending, throttle->pending);
    int64_t done = throttle->slot_remaining - input->remaining + pending - usual;
    int64_t wanted =
        muldiv(throttle->slot_due, step, length) + muldiv(due - done, THROTTLE_TICK_US, STEER_US);
    int64_t most = need < INT64_MAX / 4 ? need * 2 : need;
    return wanted < need / 2 ? need / 2 : wanted > most ? most : wanted;
}

void throttle_tick(struct throttle *throttle, const struct throttle_input *input)
{
    age_pending(throttle, input);
    if (in_outage(throttle, input)) {
        throttle_replan(throttle);
        return;
    }
    if (input->elapsed_us > 0) { /* a clock that stood or stepped back teaches nothing */
        learn(throttle, input);
    }
    int64_t in_flight = input->in_flight > 0 ? input->in_flight : 0;
    in_flight = throttle->pending < in_flight ? throttle->pending : in_flight;
    int64_t left = input->remaining - ratio_apply(&throttle->win, in_flight, in_flight);
    if (left <= 0 || input->spend_share_next <= input->spend_share) {
        bool over = input->spend_share >= PLAN_ONE;
        if (left <= 0 || !over) { /* nothing left, or an hour without a share */
            throttle->p = 0;
            return;
        }
    }
    int64_t need = left;
    if (input->spend_share < PLAN_ONE) {
        need = muldiv(left, input->spend_share_next - input->spend_share,
                      PLAN_ONE - input->spend_share);
        need = steer(throttle, input, left, need);
    }
    uint64_t limit = (uint64_t)throttle->p * 3 / 2 + THROTTLE_ONE / 200;
    limit = limit < THROTTLE_ONE ? limit : THROTTLE_ONE;
    int64_t full = throttle_expect_spend(throttle, input->traffic_next);
    uint64_t wanted = limit; /* nothing known, or nothing expected: feel forward */
    if (full > 0) {
        wanted = (uint64_t)muldiv(need, THROTTLE_ONE, full);
    }
    wanted = wanted < P_MIN ? P_MIN : wanted;
    throttle->p = (uint32_t)(wanted < limit ? wanted : limit);
}
