/* Holds the swap ledger's Lua script against the same rule in C: random steps of several workers
 * with crashes, repeats, reordering and changing limits, applied to a real Redis and to a ledger in
 * memory. Every reply must be equal, and the bounds must hold after every step.
 *
 *   drive_swap REDIS-ADDRESS [SEQUENCES [STEPS [SEED]]]
 *
 * Prints one line; exit code 1 at the first difference. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "bidder/base/bug.h"
#include "bidder/base/prng.h"
#include "pacing/swap.h"

#define OWNERS     6
#define TIMEOUT_US 5000000

/* What a worker knows of itself. */
struct owner {
    int64_t life, seq, used[2], held[2], undo[2];
    struct swap_step last; /* sent last, for repeats */
};

static bool ask(struct redis_sync *sync, struct str key, const struct swap_step *step,
                struct swap_step_reply *reply)
{
    int64_t args[SWAP_STEP_ARGS];
    char texts[SWAP_STEP_ARGS][24];
    struct str argv[4 + SWAP_STEP_ARGS] = {STR("EVAL"), str_from(swap_step_script), STR("1"), key};
    swap_step_args(step, args);
    for (int i = 0; i < SWAP_STEP_ARGS; i++) {
        int len = snprintf(texts[i], sizeof(texts[i]), "%" PRId64, args[i]);
        argv[4 + i] = (struct str){texts[i], (size_t)len};
    }
    const struct redis_value *value = redis_sync_command(sync, COUNT_OF(argv), argv);
    if (!value || value->type != REDIS_STRING || !swap_step_parse(value->text, reply)) {
        fprintf(stderr, "unexpected answer: %.*s\n", STR_ARG(value ? value->text : STR_NONE));
        return false;
    }
    return true;
}

static bool same(const struct swap_step_reply *a, const struct swap_step_reply *b)
{
    return a->seq == b->seq && a->grant[0] == b->grant[0] && a->grant[1] == b->grant[1] &&
           a->given[0] == b->given[0] && a->given[1] == b->given[1] && a->out[0] == b->out[0] &&
           a->out[1] == b->out[1];
}

/* What happens at a worker between two of its steps. */
static void live(struct prng *prng, struct owner *owner)
{
    for (int i = 0; i < 2; i++) {
        int64_t give = (int64_t)prng_below(prng, (uint64_t)owner->held[i] + 1);
        owner->held[i] -= give;
        owner->used[i] += give;
        if (owner->used[i] > owner->undo[i] && prng_below(prng, 4) == 0) {
            owner->undo[i] +=
                (int64_t)prng_below(prng, (uint64_t)(owner->used[i] - owner->undo[i]) + 1);
        }
    }
}

static struct swap_step next_step(struct prng *prng, uint32_t index, struct owner *owner,
                                  int64_t limit)
{
    uint64_t luck = prng_below(prng, 20);
    if (luck == 0 && owner->seq) { /* the reply was lost: the same words again */
        return owner->last;
    }
    if (luck == 1) { /* crashed, started again */
        *owner = (struct owner){.life = owner->life + 1 + (int64_t)prng_below(prng, 3)};
    }
    live(prng, owner);
    struct swap_step step = {.owner = index + 1,
                             .life = owner->life,
                             .seq = ++owner->seq,
                             .limit = limit,
                             .least = 1 + (int64_t)prng_below(prng, 3)};
    for (int i = 0; i < 2; i++) {
        step.used[i] = owner->used[i];
        step.held[i] = owner->held[i];
        step.undo[i] = owner->undo[i];
        step.want[i] = (int64_t)prng_below(prng, 30);
    }
    if (luck == 2 && owner->seq > 2) { /* an old one that was long on its way */
        step = owner->last;
        step.seq -= 1;
        owner->seq--;
    }
    return step;
}

static bool run_sequence(struct redis_sync *sync, struct prng *prng, uint64_t number,
                         uint64_t steps, uint64_t *granted)
{
    static struct swap_step_ledger ledger;
    struct owner owners[OWNERS];
    char key_text[SWAP_KEY_MAX];
    struct str key = {key_text, swap_key_text((uint32_t)number, key_text)};
    int64_t scale = prng_below(prng, 4) ? 1 : 25000; /* some go by value */
    int64_t limit = (10 + (int64_t)prng_below(prng, 200)) * scale, most = limit;
    memset(&ledger, 0, sizeof(ledger));
    for (int i = 0; i < OWNERS; i++) {
        owners[i] = (struct owner){.life = 1 + (int64_t)prng_below(prng, 1u << 30)};
    }
    for (uint64_t s = 0; s < steps; s++) {
        struct swap_step_reply lua, c;
        uint32_t at = (uint32_t)prng_below(prng, OWNERS);
        struct owner *owner = &owners[at];
        limit = prng_below(prng, 50) ? limit : limit * 9 / 10; /* the flight's end */
        struct swap_step step = next_step(prng, at, owner, limit);
        swap_step_apply(&ledger, &step, &c);
        if (!ask(sync, key, &step, &lua)) {
            return false;
        }
        int64_t x = lua.given[0] - lua.given[1];
        if (!same(&lua, &c) || x > most || -x > most) {
            fprintf(stderr,
                    "sequence %" PRIu64 " step %" PRIu64 ": Lua %" PRId64 " grant %" PRId64
                    " %" PRId64 " given %" PRId64 " %" PRId64 ", C %" PRId64 " grant %" PRId64
                    " %" PRId64 " given %" PRId64 " %" PRId64 ", limit %" PRId64 "\n",
                    number, s, lua.seq, lua.grant[0], lua.grant[1], lua.given[0], lua.given[1],
                    c.seq, c.grant[0], c.grant[1], c.given[0], c.given[1], limit);
            return false;
        }
        bool fresh = lua.seq == step.seq && step.seq == owner->seq &&
                     (owner->last.seq != step.seq || owner->last.life != step.life);
        for (int i = 0; i < 2 && fresh; i++) {
            owner->held[i] += lua.grant[i];
            *granted += (uint64_t)lua.grant[i];
        }
        owner->last = fresh ? step : owner->last;
    }
    return true;
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        fputs("usage: drive_swap REDIS-ADDRESS [SEQUENCES [STEPS [SEED]]]\n", stderr);
        return 2;
    }
    uint64_t sequences = argc > 2 ? strtoull(argv[2], NULL, 10) : 100;
    uint64_t steps = argc > 3 ? strtoull(argv[3], NULL, 10) : 200;
    uint64_t seed = argc > 4 ? strtoull(argv[4], NULL, 10) : 1;
    struct prng prng = {.state = seed};
    struct buf error;
    buf_init(&error, 1024);
    struct redis_sync *sync = redis_sync_connect(argv[1], TIMEOUT_US, &error);
    if (!sync) {
        fprintf(stderr, "%.*s\n", STR_ARG(buf_str(&error)));
        buf_deinit(&error);
        return 1;
    }
    uint64_t granted = 0, i = 0;
    while (i < sequences && run_sequence(sync, &prng, i, steps, &granted)) {
        i++;
    }
    printf("seed %" PRIu64 ": %" PRIu64 " sequences of %" PRIu64 " steps equal, %" PRIu64
           " rights granted\n",
           seed, i, steps, granted);
    redis_sync_close(&sync);
    buf_deinit(&error);
    return i == sequences ? 0 : 1;
}
