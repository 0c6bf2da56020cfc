/* The control law: with which probability a budget's lines take part, so that the money lands on
 * plan. Pure integer arithmetic; one call every 10 s.
 *
 *   need = R * (F(t+d) - F(t)) / (1 - F(t))        R = remaining - w * young in flight
 *   p*   = need / (c * l * (G(t+d) - G(t)))        c * l * dG = what p = 1 would spend until t+d
 *   p    = clamp(p*, 1e-4, min(1, 1.5 p + 0.005)), from 0.02
 *
 *   c = w * committed per participating request. Commitments are known at once; w, the part of a
 *       closed commitment that became spend, starts at 1 (errs to slower) and is learned as notices
 *       come. So a late notice does not look like a cheap request.
 *   l = eligible requests against the plan's traffic.
 *
 * All three are ratios of decayed sums: c over 120 s, l over 300 s, w over 600 s, and never over
 * fewer than a minimum of events, so that a small line's ratios do not flicker. Two refinements:
 *  - a burst: when l over 10 s differs from l over 300 s by a quarter, and enough was seen for that
 *    not to be chance, the short one counts (300 s alone spends four times the plan for minutes);
 *  - an outage: while under a twentieth of the expected traffic comes, nothing is learned and p
 *    stays, or the returning traffic would meet p = 1.
 *
 * R alone forgives what a quarter hour missed: it is dealt out over the rest of the day. So within
 * a slot the law also steers by the slot's own line:
 *
 *   due   = R * (F(slot end) - F(slot start)) / (1 - F(slot start)), made when the slot begins:
 *           what is left by then, on plan; so what an outage or a lack of traffic left unspent is
 *           owed by the rest of the day and by no single slot
 *   done  = settled since then + what is in flight now - what is in flight when all is on plan
 *   need' = need of the slot's line + (due by now - done) * 10 s / 60 s, within need / 2 .. need * 2
 *
 * In flight counts by its age: of w * committed, a third settles every 10 s (notices take half a
 * minute). Bids whose loss nobody tells stay committed for minutes, but are not spend to come. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define THROTTLE_ONE     (1u << 30) /* p = 1 */
#define THROTTLE_START   (THROTTLE_ONE / 50)
#define THROTTLE_TICK_US 10000000

/* sum of the numerator and the denominator, decayed alike; * 256 */
struct throttle_ratio {
    int64_t over, under;
};

struct throttle {
    uint32_t p;                       /* 0 .. THROTTLE_ONE */
    uint32_t outage_ticks;            /* how long hardly any traffic has come */
    struct throttle_ratio commit;     /* committed / participated */
    struct throttle_ratio win;        /* settled / closed commitments */
    struct throttle_ratio load;       /* eligible / planned traffic, 300 s */
    struct throttle_ratio load_short; /* the same, 10 s */
    int64_t pending;                  /* committed and young: w of it settles soon; -1 = unknown */
    int64_t slot_s;                   /* the slot steered in; 0 = none: the next tick begins one */
    int64_t slot_share, slot_remaining, slot_due; /* F(t), remaining when it began; what is due */
};

/* What happened since the last tick, and what is planned until the next. */
struct throttle_input {
    int64_t elapsed_us;
    int64_t eligible;         /* requests the budget's lines would have bid on at p = 1 */
    int64_t participated;     /* of these, those let through */
    int64_t committed;        /* amount */
    int64_t closed;           /* amount of commitments settled or freed */
    int64_t settled;          /* amount booked */
    int64_t planned_traffic;  /* G over the time elapsed */
    int64_t remaining;        /* of the day's target, not yet settled; may be negative */
    int64_t in_flight;        /* committed, not yet closed */
    int64_t spend_share;      /* F(t), PLAN_ONE = 1 */
    int64_t spend_share_next; /* F(t + d) */
    int64_t traffic_next;     /* G(t + d) - G(t) */
    int64_t slot_s;           /* names the quarter hour of the plan t lies in; 0 = do not steer */
    int64_t slot_share_end;   /* F(its end) */
};

void throttle_init(struct throttle *throttle);
/* Sets throttle->p. */
void throttle_tick(struct throttle *throttle, const struct throttle_input *input);
/* The plan counts traffic anew: what it expected as `before` it now expects as `after`. */
void throttle_rescale(struct throttle *throttle, int64_t before, int64_t after);
/* The plan or the target is another: what is due in this slot is made anew. */
void throttle_replan(struct throttle *throttle);
/* Expected spend at p = 1 over planned traffic; -1 while nothing is known. For forecasts. */
int64_t throttle_expect_spend(const struct throttle *throttle, int64_t planned_traffic);

/* hash: of request id and line, uniform in its upper bits. The same request gets the same answer
 * from every worker. */
static inline bool throttle_participates(uint32_t p, uint64_t hash)
{
    return (uint32_t)(hash >> 34) < p;
}
