/* POST /consent and /audience: what a consent platform and a CDP write about one person. Handled in
 * a worker over its Redis connection, beside the request path:
 *
 *   HGETALL key  --links-->  one script call per id  --all replies-->  answer
 *
 * A withdrawal does all that twice, PERSON_ADMIN_SETTLE_US apart: an auction that had read the
 * person before may reserve behind the first time.
 *
 * A job lives from the request to the last reply; it owns its memory. */
#include "bidder/admin_person.h"

#include <stdio.h>
#include <stdlib.h>

#include "bidder/admin.h"
#include "bidder/base/bug.h"
#include "bidder/base/clock.h"
#include "bidder/base/json_dom.h"
#include "bidder/bidding.h"
#include "bidder/catalog_values.h"
#include "bidder/worker.h"
#include "frequency/freq_codec.h"
#include "frequency/person_admin.h"

#define MAX_FIELDS  64
#define MAX_DEPTH   8
#define DEADLINE_US 2000000
#define EXPIRES_S   ((int64_t)30 * 86400)

/* KEYS key   ARGV mode, seconds to live, then field, value ("": taken away) ...
 * mode w: consent is withdrawn   v: the second time, unless it was given again meanwhile
 *      g: given again            a: audiences, refused (-1) when withdrawn */
static const char script[] =
    "local p,m=KEYS[1],ARGV[1]\n"
    "if m=='a' and redis.call('HEXISTS',p,'w')==1 then return -1 end\n"
    "if m=='v' and redis.call('HEXISTS',p,'w')==0 then return 1 end\n"
    "if m=='w' or m=='v' then\n"
    "  for _,f in ipairs(redis.call('HKEYS',p)) do\n"
    "    local t=string.sub(f,1,1)\n"
    "    if #f==7 or t=='s' or t=='d' then redis.call('HDEL',p,f) end\n"
    "  end\n"
    "end\n"
    "if m=='w' then redis.call('HSET',p,'w','1')\n"
    "elseif m=='g' then redis.call('HDEL',p,'w') end\n"
    "for i=3,#ARGV,2 do\n"
    "  if ARGV[i+1]=='' then redis.call('HDEL',p,ARGV[i])\n"
    "  else redis.call('HSET',p,ARGV[i],ARGV[i+1]) end\n"
    "end\n"
    "if redis.call('TTL',p)<tonumber(ARGV[2]) then redis.call('EXPIRE',p,ARGV[2]) end\n"
    "return 1\n";
_Static_assert(FREQ_FIELD_BYTES == 7, "as in the script");

struct change {
    char field[5], value[4];
    uint8_t field_len, value_len; /* value_len 0: taken away */
};

struct job {
    struct admin_call *call;
    struct redis *redis;   /* borrowed */
    struct person_key key; /* asked for */
    struct person_key household;
    char mode; /* of the script; 'n': none of them */
    int64_t ttl_s;
    struct change changes[MAX_FIELDS];
    uint32_t change_count;
    uint32_t pending;
    bool refused, failed;
    struct loop_timer settle;
};

/* --- the request ---------------------------------------------------------------------------- */

static void put_be(char *out, uint32_t value, int bytes)
{
    for (int i = 0; i < bytes; i++) {
        out[i] = (char)(value >> (8 * (bytes - 1 - i)) & 0xff);
    }
}

/* Each text of the array becomes a change of the field kind + cap_ref32(text). */
static const char *add_refs(struct job *job, const struct json_value *array, char kind,
                            const char *value, uint8_t value_len)
{
    if (!array) {
        return NULL;
    }
    if (array->type != JSON_ARRAY) {
        return "add, remove, mute and unmute are arrays of texts";
    }
    for (uint32_t i = 0; i < array->count; i++) {
        const struct json_value *item = &array->items[i];
        if (item->type != JSON_STRING || !item->text.len) {
            return "add, remove, mute and unmute are arrays of texts";
        }
        if (job->change_count == MAX_FIELDS) {
            return "at most 64 changes at once";
        }
        struct change *change = &job->changes[job->change_count++];
        *change = (struct change){.field = {kind}, .field_len = 5, .value_len = value_len};
        put_be(change->field + 1, cap_ref32(item->text), 4);
        memcpy(change->value, value, value_len);
    }
    return NULL;
}

static const char *read_id(struct job *job, const struct crypto_key *secret,
                           const struct json_value *body)
{
    const struct json_value *id = json_dom_get(body, STR("id"));
    struct str type, value;
    if (!id || id->type != JSON_STRING || !person_split_typed(id->text, &type, &value)) {
        return "id is a text such as \"ifa:38400000-8cf0-...\"";
    }
    if (!person_type_is_known(type)) {
        return "no ids have this type";
    }
    return person_key_of(secret, type, value, &job->key) &&
                   person_household_key_of(secret, type, value, &job->household)
               ? NULL
               : "this id names nobody";
}

static const char *read_contacts(struct job *job, const struct json_value *body)
{
    const struct json_value *most = json_dom_get(body, STR("max_contacts_per_day"));
    int64_t contacts;
    if (!most) {
        return NULL;
    }
    if (most->type != JSON_NUMBER || !str_to_i64(most->text, &contacts) || contacts < 0 ||
        contacts > UINT16_MAX) {
        return "max_contacts_per_day is a number from 0 (no limit) to 65535";
    }
    struct change *change = &job->changes[job->change_count++];
    *change = (struct change){.field = {'m'}, .field_len = 1, .value_len = contacts ? 2 : 0};
    put_be(change->value, (uint32_t)contacts, 2);
    return NULL;
}

static const char *read_consent(struct job *job, const struct json_value *body)
{
    const struct json_value *withdrawn = json_dom_get(body, STR("withdrawn"));
    if (withdrawn && withdrawn->type != JSON_BOOL) {
        return "withdrawn is true or false";
    }
    job->mode = withdrawn ? (withdrawn->boolean ? 'w' : 'g') : 'n';
    job->ttl_s = job->mode == 'w' ? PERSON_ADMIN_WITHDRAWN_TTL_S : PERSON_ADMIN_PROFILE_TTL_S;
    const char *problem = read_contacts(job, body);
    if (!problem) {
        problem = add_refs(job, json_dom_get(body, STR("mute")), 'x', "1", 1);
    }
    if (!problem) {
        problem = add_refs(job, json_dom_get(body, STR("unmute")), 'x', "", 0);
    }
    return problem ? problem : job->mode == 'n' && !job->change_count ? "nothing to change" : NULL;
}

static const char *read_audience(struct job *job, const struct json_value *body)
{
    const struct json_value *expires = json_dom_get(body, STR("expires"));
    int64_t seconds = EXPIRES_S, now_s = clock_wall_us() / 1000000;
    char hours[4];
    if (expires && (expires->type != JSON_STRING || !value_duration(expires->text, &seconds))) {
        return "expires is a duration such as \"30d\"";
    }
    uint32_t hour = (uint32_t)((now_s + seconds) / 3600 + 1);
    put_be(hours, hour, 4);
    job->mode = 'a';
    const struct json_value *add = json_dom_get(body, STR("add"));
    job->ttl_s = add ? (int64_t)hour * 3600 - now_s : 1;
    const char *problem = add_refs(job, add, 's', hours, sizeof(hours));
    if (!problem) {
        problem = add_refs(job, json_dom_get(body, STR("remove")), 's', "", 0);
    }
    return problem ? problem : job->change_count ? NULL : "nothing to change";
}

/* --- Redis ---------------------------------------------------------------------------------- */

static void start(struct job *job);

static void on_settled(void *context)
{
    struct job *job = context;
    job->mode = 'v';
    job->change_count = 0;
    start(job);
}

static void job_end(struct job *job)
{
    if (job->mode == 'w' && !job->failed) {
        loop_timer_start(&job->settle, PERSON_ADMIN_SETTLE_US);
        return;
    }
    if (job->failed) {
        admin_reply_text(job->call, 503, "Redis did not answer: try again\n");
    } else if (job->refused) {
        admin_reply_text(job->call, 409, "consent is withdrawn: nothing was stored\n");
    } else {
        admin_reply_text(job->call, 200, "done\n");
    }
    free(job);
}

static void on_written(void *owner, enum redis_result result, const struct redis_value *value)
{
    struct job *job = owner;
    if (result != REDIS_OK || value->type != REDIS_INT) {
        job->failed = true;
    } else if (value->integer < 0) {
        job->refused = true;
    }
    if (--job->pending == 0) {
        job_end(job);
    }
}

static struct str view(const char *bytes, size_t len)
{
    return (struct str){.ptr = bytes, .len = len};
}

static void send_script(struct job *job, const struct person_key *key)
{
    redis_begin(job->redis, 6 + 2 * job->change_count);
    redis_arg(job->redis, STR("EVAL"));
    redis_arg(job->redis, view(script, sizeof(script) - 1));
    redis_arg(job->redis, STR("1"));
    redis_arg(job->redis, freq_codec_key(key));
    redis_arg(job->redis, view(&job->mode, 1));
    redis_arg_i64(job->redis, job->ttl_s);
    for (uint32_t i = 0; i < job->change_count; i++) {
        redis_arg(job->redis, view(job->changes[i].field, job->changes[i].field_len));
        redis_arg(job->redis, view(job->changes[i].value, job->changes[i].value_len));
    }
    if (redis_send(job->redis, freq_codec_key(key), clock_mono_us() + DEADLINE_US, on_written,
                   job)) {
        job->pending++;
    } else {
        job->failed = true;
    }
}

/* What the id saw as a household goes with the consent. */
static void send_forget_household(struct job *job)
{
    struct str record = freq_codec_key(&job->household);
    redis_begin(job->redis, 2);
    redis_arg(job->redis, STR("DEL"));
    redis_arg(job->redis, record);
    if (redis_send(job->redis, record, clock_mono_us() + DEADLINE_US, on_written, job)) {
        job->pending++;
    } else {
        job->failed = true;
    }
}

static void on_profile(void *owner, enum redis_result result, const struct redis_value *value)
{
    struct job *job = owner;
    job->pending = 1; /* ours, so that the job lives through this function */
    if (result != REDIS_OK || value->type != REDIS_ARRAY) {
        job->failed = true;
    } else {
        /* Links go from each id of a person to all others: one look is enough. */
        struct person_key linked[PERSON_ADMIN_MAX_IDS];
        uint32_t count = 0;
        for (uint32_t i = 0; i + 1 < value->count && count < COUNT_OF(linked); i += 2) {
            struct str field = value->items[i].text;
            if (field.len == 1 + PERSON_KEY_BYTES && field.ptr[0] == 'l') {
                memcpy(linked[count++].bytes, field.ptr + 1, PERSON_KEY_BYTES);
            }
        }
        send_script(job, &job->key);
        for (uint32_t i = 0; i < count; i++) {
            send_script(job, &linked[i]);
        }
        if (job->mode == 'w' || job->mode == 'v') {
            send_forget_household(job);
        }
    }
    if (--job->pending == 0) {
        job_end(job);
    }
}

static void start(struct job *job)
{
    struct str key = freq_codec_key(&job->key);
    redis_begin(job->redis, 2);
    redis_arg(job->redis, STR("HGETALL"));
    redis_arg(job->redis, key);
    if (!redis_send(job->redis, key, clock_mono_us() + DEADLINE_US, on_profile, job)) {
        job->failed = true;
        job_end(job);
    }
}

/* --- endpoints ------------------------------------------------------------------------------ */

static void handle(struct worker *worker, struct admin_call *call,
                   const char *(*read_change)(struct job *, const struct json_value *))
{
    struct job *job = calloc(1, sizeof(*job));
    struct arena arena;
    if (!job || !arena_init(&arena, 16384, (size_t)4 << 20)) {
        free(job);
        admin_reply_text(call, 503, "out of memory\n");
        return;
    }
    struct crypto_key secret;
    crypto_key_init(&secret, worker->config->secret, strlen(worker->config->secret));
    job->call = call;
    job->redis = bidding_redis(worker->bidding);
    loop_timer_init(&job->settle, &worker->loop, on_settled, job);
    const struct json_value *body = json_dom_parse(call->body, &arena, MAX_DEPTH, NULL);
    const char *problem = body && body->type == JSON_OBJECT ? read_id(job, &secret, body)
                                                            : "the body is not a JSON object";
    problem = problem ? problem : read_change(job, body);
    explicit_bzero(&secret, sizeof(secret));
    arena_deinit(&arena);
    if (problem) {
        char text[256];
        snprintf(text, sizeof(text), "%s\n", problem);
        admin_reply_text(call, 400, text);
        free(job);
        return;
    }
    start(job);
}

static void handle_consent(void *context, struct admin_call *call)
{
    handle(context, call, read_consent);
}

static void handle_audience(void *context, struct admin_call *call)
{
    handle(context, call, read_audience);
}

static const struct admin_endpoint consent_endpoint = {
    .path = "/consent",
    .methods = HTTP_POST,
    .right = ADMIN_WRITES,
    .where = ADMIN_ANY_WORKER,
    .handle = handle_consent,
    .help = "A person's consent and preferences: {\"id\": \"ifa:...\", \"withdrawn\": true, "
            "\"max_contacts_per_day\": 3, \"mute\": [\"brand or category\"], \"unmute\": []}.",
};

static const struct admin_endpoint audience_endpoint = {
    .path = "/audience",
    .methods = HTTP_POST,
    .right = ADMIN_WRITES,
    .where = ADMIN_ANY_WORKER,
    .handle = handle_audience,
    .help = "A person's segments: {\"id\": \"ifa:...\", \"add\": [\"segment\"], \"remove\": [], "
            "\"expires\": \"30d\"}.",
};

void admin_person_register(void)
{
    admin_register(&consent_endpoint);
    admin_register(&audience_endpoint);
}
