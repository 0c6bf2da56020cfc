/* Owns: one entry per counted line, in ascending order of ref. An entry is not moved while a read
 * of it is on its way. */
#include "bidder/creative_counts.h"

#include <inttypes.h>
#include <stdlib.h>

#include "bidder/base/bug.h"

#define ROUND_TICKS 20 /* every line once in so many ticks */
#define TTL_S       (90 * 86400)
#define KEY_BYTES   24

struct option {
    uint32_t creative_ref;
    struct creative_tally known; /* by all workers, what we added included */
    int64_t add[2];              /* not sent yet: shown, clicks */
};

struct entry {
    uint32_t line_ref;
    uint32_t count;
    bool pending; /* a read is on its way */
    bool dropped; /* freed when it has come */
    struct option options[];
};

struct creative_counts {
    struct redis *redis;    /* borrowed */
    struct entry **entries; /* owned; ascending by line_ref */
    uint32_t count;
    uint32_t next;
};

struct creative_counts *creative_counts_create(struct redis *redis)
{
    struct creative_counts *counts = calloc(1, sizeof(*counts));
    if (counts) {
        counts->redis = redis;
    }
    return counts;
}

static void entry_drop(struct entry *entry)
{
    entry->dropped = true;
    if (!entry->pending) {
        free(entry);
    }
}

void creative_counts_destroy(struct creative_counts **counts)
{
    if (*counts) {
        for (uint32_t i = 0; i < (*counts)->count; i++) {
            entry_drop((*counts)->entries[i]);
        }
        free((*counts)->entries);
        free(*counts);
        *counts = NULL;
    }
}

static struct entry *find_entry(const struct creative_counts *counts, uint32_t line_ref)
{
    uint32_t low = 0, high = counts ? counts->count : 0;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (counts->entries[middle]->line_ref < line_ref) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    bool found = counts && low < counts->count && counts->entries[low]->line_ref == line_ref;
    return found ? counts->entries[low] : NULL;
}

static struct option *find_option(struct entry *entry, uint32_t creative_ref)
{
    for (uint32_t i = 0; entry && i < entry->count; i++) {
        if (entry->options[i].creative_ref == creative_ref) {
            return &entry->options[i];
        }
    }
    return NULL;
}

/* --- configure ------------------------------------------------------------------------------ */

static struct entry *make_entry(const struct creative_counts *old, const struct catalog *catalog,
                                const struct catalog_line *line)
{
    struct entry *entry =
        calloc(1, sizeof(*entry) + line->creative_count * sizeof(entry->options[0]));
    if (!entry) {
        return NULL;
    }
    entry->line_ref = line->ref;
    entry->count = line->creative_count;
    struct entry *before = find_entry(old, line->ref);
    for (uint32_t i = 0; i < entry->count; i++) {
        entry->options[i].creative_ref = catalog->creatives[line->creatives[i].creative].ref;
        const struct option *kept = find_option(before, entry->options[i].creative_ref);
        if (kept) {
            entry->options[i] = *kept;
        }
    }
    return entry;
}

static int by_ref(const void *a, const void *b)
{
    const struct entry *x = *(struct entry *const *)a, *y = *(struct entry *const *)b;
    return x->line_ref < y->line_ref ? -1 : x->line_ref > y->line_ref;
}

bool creative_counts_configure(struct creative_counts *counts, const struct catalog *catalog)
{
    struct creative_counts next = {.redis = counts->redis};
    next.entries = calloc(catalog->line_count + 1, sizeof(struct entry *));
    bool good = next.entries != NULL;
    for (uint32_t i = 0; good && i < catalog->line_count; i++) {
        const struct catalog_line *line = &catalog->lines[i];
        if (line->best_performing && line->creative_count > 1) {
            struct entry *entry = make_entry(counts, catalog, line);
            good = entry != NULL;
            if (entry) {
                next.entries[next.count++] = entry;
            }
        }
    }
    struct creative_counts gone = good ? *counts : next;
    for (uint32_t i = 0; i < gone.count; i++) {
        entry_drop(gone.entries[i]);
    }
    free(gone.entries);
    if (good) {
        qsort(next.entries, next.count, sizeof(struct entry *), by_ref);
        *counts = next;
    }
    return good;
}

/* --- counting ------------------------------------------------------------------------------- */

void creative_counts_note(struct creative_counts *counts, uint32_t line_ref, uint32_t creative_ref,
                          bool click)
{
    struct option *option = find_option(find_entry(counts, line_ref), creative_ref);
    if (option) {
        option->add[click]++;
        option->known.shown += !click;
        option->known.clicks += click;
    }
}

struct creative_tally creative_counts_get(const struct creative_counts *counts, uint32_t line_ref,
                                          uint32_t creative_ref)
{
    const struct option *option = find_option(find_entry(counts, line_ref), creative_ref);
    return option ? option->known : (struct creative_tally){0, 0};
}

static struct str key_of(const struct entry *entry, char text[KEY_BYTES])
{
    int len = snprintf(text, KEY_BYTES, "cc:{%08" PRIx32 "}", entry->line_ref);
    return (struct str){text, (size_t)len};
}

/* "s1a2b3c4d" -> the option and which of its counts; NULL: a creative the line has no more. */
static struct option *field_option(struct entry *entry, struct str field, bool *click)
{
    char name[10];
    *click = field.len == 9 && field.ptr[0] == 'c';
    for (uint32_t i = 0; field.len == 9 && i < entry->count; i++) {
        snprintf(name, sizeof(name), "%c%08" PRIx32, *click ? 'c' : 's',
                 entry->options[i].creative_ref);
        if (memcmp(name, field.ptr, 9) == 0) {
            return &entry->options[i];
        }
    }
    return NULL;
}

static void on_read(void *owner, enum redis_result result, const struct redis_value *value)
{
    struct entry *entry = owner;
    entry->pending = false;
    if (entry->dropped) {
        free(entry);
        return;
    }
    for (uint32_t i = 0; result == REDIS_OK && value->type == REDIS_ARRAY && i + 1 < value->count;
         i += 2) {
        bool click;
        int64_t n;
        struct option *option = field_option(entry, value->items[i].text, &click);
        if (option && str_to_i64(value->items[i + 1].text, &n)) {
            n += option->add[click]; /* came while the read was on its way */
            *(click ? &option->known.clicks : &option->known.shown) = n;
        }
    }
}

static bool send_adds(struct redis *redis, struct entry *entry, struct str key)
{
    bool any = false;
    for (uint32_t i = 0; i < entry->count; i++) {
        struct option *option = &entry->options[i];
        for (int click = 0; click < 2; click++) {
            char name[10];
            int len = snprintf(name, sizeof(name), "%c%08" PRIx32, click ? 'c' : 's',
                               option->creative_ref);
            if (!option->add[click]) {
                continue;
            }
            redis_begin(redis, 4);
            redis_arg(redis, STR("HINCRBY"));
            redis_arg(redis, key);
            redis_arg(redis, (struct str){name, (size_t)len});
            redis_arg_i64(redis, option->add[click]);
            if (redis_send(redis, key, 0, NULL, NULL)) {
                option->add[click] = 0;
                any = true;
            }
        }
    }
    return any;
}

static void exchange(struct redis *redis, struct entry *entry, int64_t now_us)
{
    char text[KEY_BYTES];
    struct str key = key_of(entry, text);
    if (send_adds(redis, entry, key)) {
        redis_begin(redis, 3);
        redis_arg(redis, STR("EXPIRE"));
        redis_arg(redis, key);
        redis_arg_i64(redis, TTL_S);
        (void)redis_send(redis, key, 0, NULL, NULL);
    }
    redis_begin(redis, 2);
    redis_arg(redis, STR("HGETALL"));
    redis_arg(redis, key);
    entry->pending = redis_send(redis, key, now_us + 1000000, on_read, entry);
}

void creative_counts_tick(struct creative_counts *counts, int64_t now_us)
{
    if (!redis_is_up(counts->redis)) {
        return;
    }
    for (uint32_t i = 0; i < (counts->count + ROUND_TICKS - 1) / ROUND_TICKS; i++) {
        counts->next = counts->next + 1 < counts->count ? counts->next + 1 : 0;
        struct entry *entry = counts->entries[counts->next];
        if (!entry->pending) {
            exchange(counts->redis, entry, now_us);
        }
    }
}
