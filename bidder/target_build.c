/* Catalog -> index. Runs at load, so it may allocate; the result lies in the catalog's arena.
 *
 *   lines --sort--> positions --per dimension--> (set, position) pairs --counting sort--> sets */
#include "bidder/base/bug.h"
#include "bidder/target.h"
#include "bidder/target_index.h"
#include "bidder/target_rules.h"

struct pair {
    uint32_t set, position;
};

struct dim_builder {
    struct pair *pairs; /* heap; positions ascend */
    size_t count, capacity;
    uint32_t set_count;
    struct str_table table; /* in the builder's arena */
    struct str *keys;       /* heap: by set; [0] unused */
    uint32_t key_capacity;
};

struct builder {
    struct catalog *catalog;
    struct target_index *index;
    struct arena scratch;
    struct dim_builder dims[DIM_COUNT];
    uint32_t position;
    bool failed; /* out of memory */
};

/* --- collecting ---------------------------------------------------------------------------- */

static void put_pair(struct builder *b, enum target_dim dim, uint32_t set)
{
    struct dim_builder *d = &b->dims[dim];
    if (d->count == d->capacity) {
        size_t capacity = d->capacity ? d->capacity * 2 : 1024;
        struct pair *pairs = realloc(d->pairs, capacity * sizeof(*pairs));
        if (!pairs) {
            b->failed = true;
            return;
        }
        d->pairs = pairs;
        d->capacity = capacity;
    }
    d->pairs[d->count++] = (struct pair){set, b->position};
    if (set >= d->set_count) {
        d->set_count = set + 1;
    }
}

static bool grow_keys(struct builder *b, struct dim_builder *d)
{
    uint32_t capacity = d->key_capacity ? d->key_capacity * 2 : 64;
    struct str *keys = realloc(d->keys, capacity * sizeof(*keys));
    if (!keys) {
        return false;
    }
    d->keys = keys;
    d->key_capacity = capacity;
    if (!str_table_init(&d->table, &b->scratch, capacity)) {
        return false;
    }
    for (uint32_t i = 1; i < d->set_count; i++) {
        str_table_add(&d->table, d->keys[i], i);
    }
    return true;
}

/* The line wants this text; interned as a set of the dimension. */
static void put_text(struct builder *b, enum target_dim dim, const void *bytes, size_t len)
{
    struct dim_builder *d = &b->dims[dim];
    struct str key = {bytes, len};
    if (b->failed || len == 0) {
        return;
    }
    uint32_t set = d->key_capacity ? str_table_get(&d->table, key) : STR_TABLE_NONE;
    if (set == STR_TABLE_NONE) {
        set = d->set_count ? d->set_count : 1;
        d->set_count = set;
        struct str copy = arena_strdup(&b->catalog->arena, key);
        if (!copy.ptr || (set >= d->key_capacity && !grow_keys(b, d))) {
            b->failed = true;
            return;
        }
        d->keys[set] = copy;
        str_table_add(&d->table, copy, set);
    }
    put_pair(b, dim, set);
}

static void put_lowered(struct builder *b, enum target_dim dim, struct str prefix, struct str text)
{
    char key[TARGET_KEY_MAX + 16];
    if (text.len == 0 || text.len > TARGET_KEY_MAX) {
        return;
    }
    memcpy(key, prefix.ptr ? prefix.ptr : "", prefix.len);
    for (size_t i = 0; i < text.len; i++) {
        key[prefix.len + i] = str_ascii_lower(text.ptr[i]);
    }
    put_text(b, dim, key, prefix.len + text.len);
}

/* --- what a line wants --------------------------------------------------------------------- */

static void put_format(struct builder *b, const struct catalog_line *line)
{
    for (uint32_t i = 0; i < line->creative_count; i++) {
        const struct catalog_creative *creative =
            &b->catalog->creatives[line->creatives[i].creative];
        switch (creative->type) {
        case CREATIVE_VIDEO:
            put_pair(b, DIM_FORMAT, FORMAT_VIDEO);
            break;
        case CREATIVE_AUDIO:
            put_pair(b, DIM_FORMAT, FORMAT_AUDIO);
            break;
        case CREATIVE_NATIVE:
            put_pair(b, DIM_FORMAT, FORMAT_NATIVE);
            break;
        case CREATIVE_BANNER:
            put_pair(b, DIM_FORMAT, FORMAT_BANNER);
            for (uint32_t k = 0; k < b->index->size_count; k++) {
                const struct target_size *size = &b->index->sizes[k];
                if (size->w == creative->w && size->h == creative->h) {
                    put_pair(b, DIM_FORMAT, FORMAT_SIZE + k);
                }
            }
            break;
        }
    }
}

static void put_mask(struct builder *b, enum target_dim dim, uint32_t mask)
{
    if (mask == 0) {
        put_pair(b, dim, 0);
    }
    for (uint32_t bit = 0; bit < 32; bit++) {
        if (mask >> bit & 1) {
            put_pair(b, dim, bit + 1);
        }
    }
}

static void put_numbers(struct builder *b, enum target_dim dim, const struct index_list *list)
{
    if (list->count == 0) {
        put_pair(b, dim, 0);
    }
    for (uint32_t i = 0; i < list->count; i++) {
        put_pair(b, dim, list->items[i] + 1);
    }
}

static void put_texts(struct builder *b, enum target_dim dim, struct str prefix,
                      const struct str_list *list)
{
    if (list->count == 0) {
        put_pair(b, dim, 0);
    }
    for (uint32_t i = 0; i < list->count; i++) {
        put_lowered(b, dim, prefix, list->items[i]);
    }
}

static void put_media(struct builder *b, enum target_dim dim, const struct str_list *list)
{
    for (uint32_t i = 0; i < list->count; i++) {
        put_lowered(b, dim, STR_NONE, target_media_entry(list->items[i]));
    }
}

size_t target_cell_key(int64_t lat_micro, int64_t lon_micro, int64_t cell_micro, char key[16])
{
    /* Shifted, so that division rounds down on both sides of zero. */
    int32_t row = (int32_t)((lat_micro + 90000000) / cell_micro);
    int32_t column = (int32_t)((lon_micro + 180000000) / cell_micro);
    key[0] = cell_micro == GRID_FINE_MICRO ? 'f' : 'g';
    memcpy(key + 1, &row, sizeof(row));
    memcpy(key + 1 + sizeof(row), &column, sizeof(column));
    return 1 + sizeof(row) + sizeof(column);
}

/* All cells the circle can touch: its bounding box, a tenth wider. */
static void put_circle(struct builder *b, const struct geo_circle *circle)
{
    static const int64_t micro_per_km = 8994; /* of latitude: 1e6 / 111.19, rounded up */
    int64_t lat_reach = (circle->radius_m / 1000 + 1) * micro_per_km * 11 / 10;
    int64_t furthest = (circle->lat_micro < 0 ? -circle->lat_micro : circle->lat_micro) + lat_reach;
    char key[16];
    if (circle->radius_m > 1000000 || furthest > 80000000) {
        put_text(b, DIM_GEO, "w", 1);
        return;
    }
    /* Longitude degrees shrink by cos(latitude): below 80 degrees at most 5.76 times. */
    int64_t shrink = furthest > 60000000 ? 576 : furthest > 40000000 ? 200 : 131;
    int64_t lon_reach = lat_reach * shrink / 100;
    int64_t cell = circle->radius_m > 50000 ? GRID_COARSE_MICRO : GRID_FINE_MICRO;
    for (int64_t lat = circle->lat_micro - lat_reach;; lat += cell) {
        int64_t lat_now = lat < circle->lat_micro + lat_reach ? lat : circle->lat_micro + lat_reach;
        for (int64_t lon = circle->lon_micro - lon_reach;; lon += cell) {
            int64_t end = circle->lon_micro + lon_reach;
            int64_t lon_now = lon < end ? lon : end;
            /* Around the back of the world. */
            lon_now = lon_now >= 180000000   ? lon_now - 360000000
                      : lon_now < -180000000 ? lon_now + 360000000
                                             : lon_now;
            put_text(b, DIM_GEO, key, target_cell_key(lat_now, lon_now, cell, key));
            if (lon >= end) {
                break;
            }
        }
        if (lat >= circle->lat_micro + lat_reach) {
            break;
        }
    }
}

static void put_places(struct builder *b, char kind, const struct str_list *places)
{
    char key[TARGET_KEY_MAX + 1];
    key[0] = kind;
    for (uint32_t i = 0; i < places->count; i++) {
        struct str place = target_place_key(places->items[i], key + 1);
        if (place.len) {
            put_text(b, DIM_GEO, key, place.len + 1);
        }
    }
}

static void put_geo(struct builder *b, const struct targeting *targeting)
{
    if (targeting->countries.count + targeting->regions.count + targeting->cities.count +
            targeting->circle_count ==
        0) {
        put_pair(b, DIM_GEO, 0);
        return;
    }
    put_places(b, 'c', &targeting->countries);
    put_places(b, 'r', &targeting->regions);
    put_places(b, 't', &targeting->cities);
    for (uint32_t i = 0; i < targeting->circle_count; i++) {
        put_circle(b, &targeting->circles[i]);
    }
    if (targeting->circle_count) {
        b->index->circled[b->position / 64] |= UINT64_C(1) << (b->position % 64);
        b->index->has_circles = true;
    }
}

static void put_line(struct builder *b, const struct catalog_line *line)
{
    const struct targeting *targeting = &line->targeting;
    put_numbers(b, DIM_DEAL, &line->deals);
    put_format(b, line);
    put_numbers(b, DIM_EXCHANGE, &targeting->exchanges);
    put_mask(b, DIM_DEVICE, targeting->devices);
    put_mask(b, DIM_CONNECTION, targeting->connections);
    put_texts(b, DIM_OS, STR_NONE, &targeting->os);
    put_geo(b, targeting);
    if (targeting->media_allow.count == 0) {
        put_pair(b, DIM_MEDIA, 0);
    }
    put_media(b, DIM_MEDIA, &targeting->media_allow);
    put_media(b, DIM_DENY_MEDIA, &targeting->media_deny);
    char taxonomy[16];
    int len =
        snprintf(taxonomy, sizeof(taxonomy), "%d:", targeting->cattax > 0 ? targeting->cattax : 1);
    struct str prefix = {taxonomy, (size_t)len};
    put_texts(b, DIM_CATEGORY, prefix, &targeting->categories_allow);
    if (targeting->categories_deny.count) {
        put_texts(b, DIM_DENY_CATEGORY, prefix, &targeting->categories_deny);
    }
    put_texts(b, DIM_LANGUAGE, STR_NONE, &targeting->languages);
}

/* --- order of positions -------------------------------------------------------------------- */

struct sort_key {
    uint64_t parts[9];
    uint32_t line;
};

static uint64_t first_text(const struct str_list *list)
{
    return list->count ? hash_str(list->items[0]) : 0;
}

static int compare_keys(const void *left, const void *right)
{
    const struct sort_key *a = left, *b = right;
    for (size_t i = 0; i < COUNT_OF(a->parts); i++) {
        if (a->parts[i] != b->parts[i]) {
            return a->parts[i] < b->parts[i] ? -1 : 1;
        }
    }
    return a->line < b->line ? -1 : a->line > b->line;
}

static struct sort_key sort_key_of(const struct catalog *catalog, uint32_t line_index)
{
    const struct catalog_line *line = &catalog->lines[line_index];
    const struct targeting *t = &line->targeting;
    const struct catalog_creative *creative =
        line->creative_count ? &catalog->creatives[line->creatives[0].creative] : NULL;
    struct sort_key key = {.line = line_index};
    key.parts[0] =
        (uint64_t)line->buying << 32 | (line->deals.count ? line->deals.items[0] : CATALOG_NONE);
    key.parts[1] = t->exchanges.count ? t->exchanges.items[0] + UINT64_C(1) : 0;
    key.parts[2] = creative
                       ? (uint64_t)creative->type << 60 ^ (uint64_t)(uint32_t)creative->w << 24 ^
                             (uint64_t)(uint32_t)creative->h
                       : 0;
    key.parts[3] = first_text(&t->countries) ^ first_text(&t->regions) ^ first_text(&t->cities);
    key.parts[4] = first_text(&t->media_allow);
    key.parts[5] = first_text(&t->categories_allow);
    key.parts[6] = first_text(&t->os);
    key.parts[7] = first_text(&t->languages);
    key.parts[8] = (uint64_t)t->devices << 32 | t->connections;
    return key;
}

static bool order_lines(struct builder *b)
{
    const struct catalog *catalog = b->catalog;
    struct target_index *index = b->index;
    struct sort_key *keys = malloc((catalog->line_count + 1) * sizeof(*keys));
    if (!keys) {
        return false;
    }
    uint32_t count = 0;
    for (uint32_t i = 0; i < catalog->line_count; i++) {
        if (catalog->lines[i].enabled) {
            keys[count++] = sort_key_of(catalog, i);
        }
    }
    qsort(keys, count, sizeof(*keys), compare_keys);
    index->line_count = count;
    index->word_count = (count + 63) / 64;
    index->order = arena_alloc(&b->catalog->arena, (count + 1) * sizeof(*index->order));
    for (uint32_t i = 0; index->order && i < count; i++) {
        index->order[i] = keys[i].line;
    }
    free(keys);
    return index->order != NULL;
}

/* --- distinct values ----------------------------------------------------------------------- */

static bool collect_sizes(struct builder *b)
{
    const struct catalog *catalog = b->catalog;
    struct target_index *index = b->index;
    uint32_t capacity = 0;
    struct target_size *sizes = NULL;
    for (uint32_t i = 0; i < catalog->creative_count; i++) {
        const struct catalog_creative *creative = &catalog->creatives[i];
        uint32_t k = 0;
        while (k < index->size_count && (sizes[k].w != creative->w || sizes[k].h != creative->h)) {
            k++;
        }
        if (creative->type != CREATIVE_BANNER || k < index->size_count) {
            continue;
        }
        if (index->size_count == capacity) {
            capacity = capacity ? 2 * capacity : 16;
            struct target_size *grown = realloc(sizes, capacity * sizeof(*sizes));
            if (!grown) {
                free(sizes);
                return false;
            }
            sizes = grown;
        }
        sizes[index->size_count++] = (struct target_size){creative->w, creative->h};
    }
    index->sizes = arena_alloc(&b->catalog->arena, (index->size_count + 1) * sizeof(*sizes));
    if (index->sizes && sizes) {
        memcpy(index->sizes, sizes, index->size_count * sizeof(*sizes));
    }
    free(sizes);
    return index->sizes != NULL;
}

/* Flights by position; equal dayparts share one pattern, pattern 0 = always. */
static bool collect_flights(struct builder *b)
{
    const struct catalog *catalog = b->catalog;
    struct target_index *index = b->index;
    struct str_table patterns;
    size_t count = index->line_count;
    index->flights = arena_alloc(&b->catalog->arena, (count + 1) * sizeof(*index->flights));
    index->dayparts = arena_alloc(&b->catalog->arena, (count + 1) * sizeof(*index->dayparts));
    if (!index->flights || !index->dayparts ||
        !str_table_init(&patterns, &b->scratch, (uint32_t)count + 1)) {
        return false;
    }
    memset(index->dayparts[0], 0, sizeof(index->dayparts[0]));
    index->daypart_count = 1;
    str_table_add(&patterns, (struct str){(const char *)index->dayparts[0], 21}, 0);
    for (uint32_t i = 0; i < count; i++) {
        const struct catalog_line *line = &catalog->lines[index->order[i]];
        struct str pattern = {(const char *)line->targeting.dayparts, 21};
        uint32_t known = str_table_get(&patterns, pattern);
        if (known == STR_TABLE_NONE) {
            known = index->daypart_count++;
            memcpy(index->dayparts[known], pattern.ptr, 21);
            str_table_add(&patterns, (struct str){(const char *)index->dayparts[known], 21}, known);
        }
        index->flights[i] = (struct target_flight){line->start_s, line->end_s, known};
    }
    return true;
}

/* --- pairs to sets ------------------------------------------------------------------------- */

/* One set out of its pairs: positions ascend, the same one may repeat. */
static bool make_set(struct builder *b, const uint32_t *positions, size_t count,
                     struct target_set *set)
{
    uint32_t block_count = 0, last = UINT32_MAX;
    for (size_t i = 0; i < count; last = positions[i++]) {
        bool first = last == UINT32_MAX;
        set->line_count += first || positions[i] != last;
        set->word_count += first || positions[i] / 64 != last / 64;
        block_count += first || positions[i] / 4096 != last / 4096;
    }
    set->full = set->line_count == b->index->line_count;
    if (!count) {
        return true;
    }
    struct target_block *blocks =
        arena_calloc(&b->catalog->arena, 1,
                     (block_count + 1) * sizeof(*blocks) + set->word_count * sizeof(uint64_t));
    if (!blocks) {
        return false;
    }
    uint64_t *words = (uint64_t *)(blocks + block_count + 1), *word = words - 1;
    struct target_block *block = blocks - 1;
    last = UINT32_MAX;
    for (size_t i = 0; i < count; last = positions[i++]) {
        word += last == UINT32_MAX || positions[i] / 64 != last / 64;
        if (last == UINT32_MAX || positions[i] / 4096 != last / 4096) {
            *++block = (struct target_block){.number = positions[i] / 4096,
                                             .first = (uint32_t)(word - words)};
        }
        block->nonzero |= UINT64_C(1) << (positions[i] / 64 % 64);
        *word |= UINT64_C(1) << (positions[i] % 64);
    }
    *++block = (struct target_block){.number = TARGET_NO_BLOCK};
    set->blocks = blocks;
    set->words = words;
    return true;
}

static bool make_sets(struct builder *b, enum target_dim dim)
{
    struct dim_builder *d = &b->dims[dim];
    struct target_dimension *made = &b->index->dims[dim];
    uint32_t set_count = d->set_count ? d->set_count : 1;
    made->sets = arena_calloc(&b->catalog->arena, set_count, sizeof(*made->sets));
    size_t *from = calloc((size_t)set_count + 1, sizeof(*from));
    uint32_t *positions = malloc((d->count + 1) * sizeof(*positions));
    bool ok = made->sets && from && positions;
    for (size_t i = 0; ok && i < d->count; i++) {
        from[d->pairs[i].set + 1]++;
    }
    for (uint32_t s = 0; ok && s < set_count; s++) {
        from[s + 1] += from[s];
    }
    for (size_t i = 0; ok && i < d->count; i++) {
        positions[from[d->pairs[i].set]++] = d->pairs[i].position; /* from[s] becomes its end */
    }
    size_t start = 0;
    for (uint32_t s = 0; ok && s < set_count; s++) {
        ok = make_set(b, positions + start, from[s] - start, &made->sets[s]);
        start = from[s];
    }
    made->set_count = set_count;
    made->unused = ok && (dim == DIM_DENY_MEDIA || dim == DIM_DENY_CATEGORY
                              ? d->count == 0
                              : made->sets[0].line_count == b->index->line_count);
    uint32_t key_count = d->keys ? set_count - 1 : 0;
    ok = ok && str_table_init(&made->keys, &b->catalog->arena, key_count ? key_count : 1);
    for (uint32_t s = 1; ok && s <= key_count; s++) {
        str_table_add(&made->keys, d->keys[s], s);
    }
    free(from);
    free(positions);
    return ok;
}

static bool build(struct builder *b)
{
    struct target_index *index = b->index;
    if (!order_lines(b) || !collect_sizes(b) || !collect_flights(b)) {
        return false;
    }
    struct arena *arena = &b->catalog->arena;
    index->circled = arena_calloc(arena, index->word_count + 1, sizeof(*index->circled));
    index->live = arena_calloc(arena, index->word_count + 1, sizeof(*index->live));
    if (!index->circled || !index->live) {
        return false;
    }
    for (b->position = 0; b->position < index->line_count && !b->failed; b->position++) {
        put_line(b, &b->catalog->lines[index->order[b->position]]);
    }
    for (unsigned dim = 0; dim < DIM_COUNT && !b->failed; dim++) {
        b->failed = !make_sets(b, (enum target_dim)dim);
    }
    return !b->failed;
}

enum status target_index_build(struct catalog *catalog)
{
    BUG_ON(catalog->line_count > CATALOG_MAX_LINES);
    struct builder *b = calloc(1, sizeof(*b));
    struct target_index *index = arena_calloc(&catalog->arena, 1, sizeof(*index));
    if (!b || !index || !arena_init(&b->scratch, 1 << 20, (size_t)1 << 30)) {
        free(b);
        return STATUS_NO_MEMORY;
    }
    b->catalog = catalog;
    b->index = index;
    bool ok = build(b);
    for (unsigned dim = 0; dim < DIM_COUNT; dim++) {
        free(b->dims[dim].pairs);
        free(b->dims[dim].keys);
    }
    arena_deinit(&b->scratch);
    free(b);
    catalog->index = ok ? index : NULL;
    return ok ? STATUS_OK : STATUS_NO_MEMORY;
}
