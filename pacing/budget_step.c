#include "pacing/budget_step.h"

#include <stdio.h>

#include "bidder/base/bug.h"

#define DAILY_TTL_S (4 * 86400)
#define TOTAL_TTL_S (400 * 86400)

size_t budget_step_key_text(const struct budget_step_key *key, char text[BUDGET_KEY_MAX])
{
    int len = key->date
                  ? snprintf(text, BUDGET_KEY_MAX, "%c:{%08x}:%d", key->kind, (unsigned)key->ref,
                             (int)key->date)
                  : snprintf(text, BUDGET_KEY_MAX, "%c:{%08x}:t", key->kind, (unsigned)key->ref);
    BUG_ON(len <= 0 || len >= BUDGET_KEY_MAX);
    return (size_t)len;
}

/* Answers one line of integers: kind life seq used lease grant extra S O X owners regress. */
const char budget_step_script[] =
    "local k, id = KEYS[1], ARGV[1]\n"
    "local recover = ARGV[2] == '1'\n"
    "local a = {}\n"
    "for i = 3, 10 do a[i] = tonumber(ARGV[i]) end\n"
    "local life, seq, used, lease, extra, want, least, cap = unpack(a, 3, 10)\n"
    "local rec = redis.call('HGET', k, id)\n"
    "local rl, rs, ru, rh, rg, rx = 0, 0, 0, 0, 0, 0\n"
    "if rec then\n"
    "  local it = string.gmatch(rec, '%S+')\n"
    "  rl, rs, ru = tonumber(it()), tonumber(it()), tonumber(it())\n"
    "  rh, rg, rx = tonumber(it()), tonumber(it()), tonumber(it())\n"
    "end\n"
    "local t = redis.call('HMGET', k, 'S', 'O', 'X', 'H')\n"
    "local s, o, x = tonumber(t[1] or 0), tonumber(t[2] or 0), tonumber(t[3] or 0)\n"
    "local hold, regress = tonumber(t[4] or 0), 0\n"
    "local function answer(kind)\n"
    "  local n = redis.call('HLEN', k) - 4\n"
    "  return string.format('%d %.0f %.0f %.0f %.0f %.0f %.0f %.0f %.0f %.0f %d %d',\n"
    "    kind, rl, rs, ru, rh, rg, rx, s, o, x, n, regress)\n"
    "end\n"
    "local function store()\n"
    "  redis.call('HSET', k, id, string.format('%.0f %.0f %.0f %.0f %.0f %.0f',\n"
    "    rl, rs, ru, rh, rg, rx), 'S', string.format('%.0f', s), 'O', string.format('%.0f', o),\n"
    "    'X', string.format('%.0f', x), 'H', string.format('%.0f', hold))\n"
    "  redis.call('EXPIRE', k, ARGV[11])\n"
    "end\n"
    "if recover then\n"
    "  if rl ~= life then\n"
    "    rl = math.max(life, rl + 1)\n"
    "    rs, rg = 0, 0\n"
    "    store()\n"
    "  end\n"
    "  return answer(1)\n"
    "end\n"
    "if rl > life then return answer(3) end\n"
    "if rl == life and seq <= rs then return answer(seq == rs and 0 or 2) end\n"
    "local now = tonumber(redis.call('TIME')[1])\n"
    "if rl ~= life or seq ~= rs + 1 then\n"
    "  regress, hold = 1, now + 10\n"
    "end\n"
    "s, o, x = s + used - ru, o + lease - rh, x + extra - rx\n"
    "local grant = 0\n"
    "if now >= hold then\n"
    "  grant = math.max(0, math.min(want, cap - s - o))\n"
    "  if grant < least then grant = 0 end\n"
    "end\n"
    "o = o + grant\n"
    "rl, rs, ru, rh, rg, rx = life, seq, used, lease + grant, grant, extra\n"
    "store()\n"
    "return answer(0)\n";

void budget_step_args(const struct budget_step *step, int64_t args[BUDGET_STEP_ARGS])
{
    const int64_t values[BUDGET_STEP_ARGS] = {step->owner,
                                              step->recover,
                                              step->life,
                                              step->seq,
                                              step->used,
                                              step->lease,
                                              step->extra,
                                              step->want,
                                              step->least,
                                              step->cap,
                                              step->key.date ? DAILY_TTL_S : TOTAL_TTL_S};
    memcpy(args, values, sizeof(values));
}

bool budget_step_parse(struct str text, struct budget_step_reply *reply)
{
    int64_t v[12];
    for (size_t i = 0; i < COUNT_OF(v); i++) {
        if (!str_to_i64(str_cut(&text, ' '), &v[i])) {
            return false;
        }
    }
    if (text.len || v[0] < BUDGET_STEP_DONE || v[0] > BUDGET_STEP_FENCED) {
        return false;
    }
    for (size_t i = 1; i < COUNT_OF(v); i++) {
        /* settled and out may pass below zero for a moment when a damaged hash heals */
        if (v[i] > BUDGET_STEP_MAX_AMOUNT || v[i] < -BUDGET_STEP_MAX_AMOUNT) {
            return false;
        }
    }
    if (v[2] < 0 || v[4] < 0 || v[5] < 0) {
        return false;
    }
    *reply = (struct budget_step_reply){.kind = (enum budget_step_kind)v[0],
                                        .life = v[1],
                                        .seq = v[2],
                                        .used = v[3],
                                        .lease = v[4],
                                        .grant = v[5],
                                        .own_extra = v[6],
                                        .settled = v[7],
                                        .out = v[8],
                                        .extra = v[9],
                                        .owners = v[10],
                                        .regress = v[11] != 0};
    return true;
}

/* --- the model ------------------------------------------------------------------------------ */

static int find_record(struct budget_step_account *account, uint32_t owner)
{
    for (int i = 0; i < BUDGET_STEP_MODEL_OWNERS; i++) {
        if (account->records[i].owner == owner || !account->records[i].owner) {
            return i;
        }
    }
    BUG_ON(true); /* simulations have few workers */
}

static void answer(const struct budget_step_account *account, int at, enum budget_step_kind kind,
                   bool regress, struct budget_step_reply *reply)
{
    int64_t owners = 0;
    for (int i = 0; i < BUDGET_STEP_MODEL_OWNERS; i++) {
        owners += account->records[i].owner != 0;
    }
    *reply = (struct budget_step_reply){.kind = kind,
                                        .life = account->records[at].life,
                                        .seq = account->records[at].seq,
                                        .used = account->records[at].used,
                                        .lease = account->records[at].lease,
                                        .grant = account->records[at].grant,
                                        .own_extra = account->records[at].extra,
                                        .settled = account->settled,
                                        .out = account->out,
                                        .extra = account->extra,
                                        .owners = owners,
                                        .regress = regress};
}

void budget_step_apply(struct budget_step_account *account, const struct budget_step *step,
                       int64_t now_s, struct budget_step_reply *reply)
{
    int at = find_record(account, step->owner);
    __typeof__(account->records[0]) *record = &account->records[at];
    if (step->recover) {
        record->owner = step->owner;
        if (record->life != step->life) {
            record->life = step->life > record->life + 1 ? step->life : record->life + 1;
            record->seq = record->grant = 0;
        }
        answer(account, at, BUDGET_STEP_RECOVERED, false, reply);
        return;
    }
    if (record->life > step->life) {
        answer(account, at, BUDGET_STEP_FENCED, false, reply);
        return;
    }
    if (record->life == step->life && step->seq <= record->seq) {
        answer(account, at, step->seq == record->seq ? BUDGET_STEP_DONE : BUDGET_STEP_STALE, false,
               reply);
        return;
    }
    bool regress = record->life != step->life || step->seq != record->seq + 1;
    if (regress) {
        account->hold_s = now_s + BUDGET_STEP_HOLD_S;
    }
    account->settled += step->used - record->used;
    account->out += step->lease - record->lease;
    account->extra += step->extra - record->extra;
    int64_t grant = 0;
    if (now_s >= account->hold_s) {
        int64_t room = step->cap - account->settled - account->out;
        grant = step->want < room ? step->want : room;
        grant = grant < 0 || grant < step->least ? 0 : grant;
    }
    account->out += grant;
    record->owner = step->owner;
    record->life = step->life;
    record->seq = step->seq;
    record->used = step->used;
    record->lease = step->lease + grant;
    record->grant = grant;
    record->extra = step->extra;
    answer(account, at, BUDGET_STEP_DONE, regress, reply);
}
