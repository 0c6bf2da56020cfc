/* The one atomic thing that happens to a swap's ledger, as a Lua script and in C. */
#include <stdio.h>

#include "bidder/base/bug.h"
#include "pacing/swap.h"

#define SWAP_LIMIT_MIN 100

int64_t swap_limit_base(int64_t planned_impressions)
{
    int64_t part = planned_impressions / 100;
    return part > SWAP_LIMIT_MIN ? part : SWAP_LIMIT_MIN;
}

int64_t swap_limit(int64_t base, int64_t start_s, int64_t end_s, int64_t now_s)
{
    int64_t flight_s = end_s - start_s;
    int64_t left_s = end_s - now_s;
    if (left_s <= 0 || flight_s <= 0) {
        return 0;
    }
    if (left_s * 10 >= flight_s) {
        return base;
    }
    __extension__ typedef __int128 wide;
    return (int64_t)((wide)base * left_s * 10 / flight_s);
}

size_t swap_key_text(uint32_t ref, char text[SWAP_KEY_MAX])
{
    int len = snprintf(text, SWAP_KEY_MAX, "s:{%08x}", (unsigned)ref);
    BUG_ON(len <= 0 || len >= SWAP_KEY_MAX);
    return (size_t)len;
}

/* KEYS[1] ledger hash: S0 S1 O0 O1 Z0 Z1 U0 U1, and per owner "life seq used0 used1 held0 held1
 * undo0 undo1 grant0 grant1". Answers "seq grant0 grant1 S0 S1 out0 out1". */
const char swap_step_script[] =
    "local k, id = KEYS[1], ARGV[1]\n"
    "local a = {}\n"
    "for i = 2, 13 do a[i] = tonumber(ARGV[i]) end\n"
    "local life, seq, limit, least = a[2], a[3], a[4], a[5]\n"
    "local used, held = {a[6], a[7]}, {a[8], a[9]}\n"
    "local undo, want = {a[10], a[11]}, {a[12], a[13]}\n"
    "local r = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0}\n"
    "local rec = redis.call('HGET', k, id)\n"
    "if rec then\n"
    "  local i = 1\n"
    "  for w in string.gmatch(rec, '%S+') do r[i] = tonumber(w); i = i + 1 end\n"
    "end\n"
    "local t = redis.call('HMGET', k, 'S0', 'S1', 'O0', 'O1', 'Z0', 'Z1', 'U0', 'U1')\n"
    "for i = 1, 8 do t[i] = tonumber(t[i] or 0) end\n"
    "local s, o, z, u = {t[1], t[2]}, {t[3], t[4]}, {t[5], t[6]}, {t[7], t[8]}\n"
    "local grant = {0, 0}\n"
    "if r[1] == life and seq <= r[2] then\n"
    "  if seq == r[2] then grant = {r[9], r[10]} end\n"
    "elseif r[1] <= life then\n"
    "  if r[1] ~= life then\n"
    "    for i = 1, 2 do\n"
    "      z[i] = z[i] + r[4 + i]; o[i] = o[i] - r[4 + i]\n"
    "      r[2 + i], r[4 + i], r[6 + i] = 0, 0, 0\n"
    "    end\n"
    "  end\n"
    "  for i = 1, 2 do\n"
    "    s[i] = s[i] + used[i] - r[2 + i]\n"
    "    o[i] = o[i] + held[i] - r[4 + i]\n"
    "    u[i] = u[i] + undo[i] - r[6 + i]\n"
    "  end\n"
    "  for i = 1, 2 do\n"
    "    local j = 3 - i\n"
    "    local back = math.max(0, math.min(u[i], limit - (s[j] - s[i]) - o[j] - z[j]))\n"
    "    s[i] = s[i] - back; u[i] = u[i] - back\n"
    "  end\n"
    "  for i = 1, 2 do\n"
    "    local j = 3 - i\n"
    "    grant[i] = math.max(0, math.min(want[i], limit - (s[i] - s[j]) - o[i] - z[i]))\n"
    "    if grant[i] < least then grant[i] = 0 end\n"
    "    o[i] = o[i] + grant[i]\n"
    "  end\n"
    "  r = {life, seq, used[1], used[2], held[1] + grant[1], held[2] + grant[2], undo[1],\n"
    "       undo[2], grant[1], grant[2]}\n"
    "  for i = 1, 10 do r[i] = string.format('%.0f', r[i]) end\n"
    "  local f = function(v) return string.format('%.0f', v) end\n"
    "  redis.call('HSET', k, id, table.concat(r, ' '), 'S0', f(s[1]), 'S1', f(s[2]),\n"
    "    'O0', f(o[1]), 'O1', f(o[2]), 'Z0', f(z[1]), 'Z1', f(z[2]), 'U0', f(u[1]), 'U1', "
    "f(u[2]))\n"
    "  redis.call('EXPIRE', k, 34560000)\n"
    "  r[2] = seq\n"
    "end\n"
    "return string.format('%.0f %.0f %.0f %.0f %.0f %.0f %.0f', tonumber(r[2]), grant[1], "
    "grant[2],\n"
    "  s[1], s[2], o[1] + z[1], o[2] + z[2])\n";

void swap_step_args(const struct swap_step *step, int64_t args[SWAP_STEP_ARGS])
{
    const int64_t values[SWAP_STEP_ARGS] = {
        step->owner,   step->life,    step->seq,     step->limit,   step->least,
        step->used[0], step->used[1], step->held[0], step->held[1], step->undo[0],
        step->undo[1], step->want[0], step->want[1]};
    memcpy(args, values, sizeof(values));
}

bool swap_step_parse(struct str text, struct swap_step_reply *reply)
{
    int64_t v[7];
    for (size_t i = 0; i < COUNT_OF(v); i++) {
        if (!str_to_i64(str_cut(&text, ' '), &v[i])) {
            return false;
        }
    }
    if (text.len || v[1] < 0 || v[2] < 0) {
        return false;
    }
    *reply = (struct swap_step_reply){
        .seq = v[0], .grant = {v[1], v[2]}, .given = {v[3], v[4]}, .out = {v[5], v[6]}};
    return true;
}

/* --- the same in C -------------------------------------------------------------------------- */

static int64_t clamp_grant(int64_t want, int64_t room)
{
    int64_t grant = want < room ? want : room;
    return grant > 0 ? grant : 0;
}

static void apply(struct swap_step_ledger *l, int at, const struct swap_step *step)
{
    __typeof__(l->records[0]) *record = &l->records[at];
    for (int i = 0; i < 2 && record->life != step->life; i++) {
        l->unknown[i] += record->held[i];
        l->out[i] -= record->held[i];
        record->used[i] = record->held[i] = record->undo[i] = 0;
    }
    for (int i = 0; i < 2; i++) {
        l->given[i] += step->used[i] - record->used[i];
        l->out[i] += step->held[i] - record->held[i];
        l->undo[i] += step->undo[i] - record->undo[i];
    }
    for (int i = 0; i < 2; i++) {
        int j = 1 - i;
        int64_t room = step->limit - (l->given[j] - l->given[i]) - l->out[j] - l->unknown[j];
        int64_t back = clamp_grant(l->undo[i], room);
        l->given[i] -= back;
        l->undo[i] -= back;
    }
    for (int i = 0; i < 2; i++) {
        int j = 1 - i;
        int64_t room = step->limit - (l->given[i] - l->given[j]) - l->out[i] - l->unknown[i];
        int64_t grant = clamp_grant(step->want[i], room);
        record->grant[i] = grant < step->least ? 0 : grant;
        l->out[i] += record->grant[i];
        record->used[i] = step->used[i];
        record->held[i] = step->held[i] + record->grant[i];
        record->undo[i] = step->undo[i];
    }
    record->owner = step->owner;
    record->life = step->life;
    record->seq = step->seq;
}

void swap_step_apply(struct swap_step_ledger *ledger, const struct swap_step *step,
                     struct swap_step_reply *reply)
{
    int at = 0;
    while (ledger->records[at].owner && ledger->records[at].owner != step->owner) {
        at++;
        BUG_ON(at >= (int)COUNT_OF(ledger->records));
    }
    __typeof__(ledger->records[0]) *record = &ledger->records[at];
    bool old =
        record->life > step->life || (record->life == step->life && step->seq <= record->seq);
    bool repeated = record->life == step->life && step->seq == record->seq;
    if (!old) {
        apply(ledger, at, step);
    }
    *reply = (struct swap_step_reply){.seq = record->seq};
    for (int i = 0; i < 2; i++) {
        reply->grant[i] = old && !repeated ? 0 : record->grant[i];
        reply->given[i] = ledger->given[i];
        reply->out[i] = ledger->out[i] + ledger->unknown[i];
    }
}
