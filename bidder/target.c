/* Lines that want an impression: the intersection, dimension by dimension, of unions of sets.
 *
 *   driver    the dimension whose sets have the fewest words: only these words are visited
 *   others    from the fewest words to the most, until the word is zero; where a dimension has
 *             nothing, the search goes on at its next word
 *   deny      taken out
 *   circles   what the grid let through is measured
 *
 * What the request decides alone (device, place, medium, ...) is looked up once in prepare; deal
 * and format belong to the impression. Pure but for target_index.live, which remembers what the
 * clock says. Lifetimes: a prepared request borrows catalog, request and arena. */
#include "bidder/target.h"

#include "bidder/base/bug.h"
#include "bidder/select.h"
#include "bidder/target_index.h"
#include "bidder/target_rules.h"

struct cursor {
    const struct target_set *set;
    uint32_t next; /* sparse: how far it was read; word numbers only grow */
};

/* The union of some sets of one dimension. */
struct dim_query {
    struct cursor *cursors;
    uint32_t count, capacity;
    uint32_t words, lines; /* upper bounds of the union's */
};

struct target_request {
    const struct catalog *catalog;
    const struct target_index *index;
    const struct bid_request *request;
    struct arena *arena;
    uint32_t exchange;
    struct dim_query *dims; /* DIM_COUNT; those of impressions stay empty here */
};

/* --- live lines ---------------------------------------------------------------------------- */

/* When the hour of the week next changes: at the full local hour or at a change of offset. */
static int64_t hour_ends_s(const struct tz *tz, int64_t now_s)
{
    int64_t local = now_s + tz_offset_s(tz, now_s);
    int64_t ends = now_s + 3600 - ((local % 3600) + 3600) % 3600;
    for (uint32_t i = 0; i < tz->count; i++) {
        int64_t at = tz->transitions[i].at_s;
        if (at > now_s && at < ends) {
            ends = at;
        }
    }
    return ends;
}

static void refresh_live(const struct catalog *catalog, struct target_index *index, int64_t now_s)
{
    if (LIKELY(now_s >= index->live_from_s && now_s < index->live_until_s)) {
        return;
    }
    int hour = tz_hour_of_week(&catalog->tz, now_s);
    int64_t until = hour_ends_s(&catalog->tz, now_s);
    memset(index->live, 0, index->word_count * sizeof(*index->live));
    for (uint32_t i = 0; i < index->line_count; i++) {
        const struct target_flight *flight = &index->flights[i];
        const uint8_t *hours = index->dayparts[flight->daypart];
        bool inside = now_s >= flight->start_s && now_s < flight->end_s;
        bool wanted = flight->daypart == 0 || (hours[hour / 8] >> (hour % 8) & 1);
        index->live[i / 64] |= (uint64_t)(inside && wanted) << (i % 64);
        if (flight->start_s > now_s && flight->start_s < until) {
            until = flight->start_s;
        }
        if (flight->end_s > now_s && flight->end_s < until) {
            until = flight->end_s;
        }
    }
    index->live_from_s = now_s;
    index->live_until_s = until;
}

/* --- cursors ------------------------------------------------------------------------------- */

/* First index >= from whose word number is >= word; doubling steps, then halving. */
static uint32_t gallop(const struct target_set *set, uint32_t from, uint32_t word)
{
    uint32_t low = from, step = 1;
    while (low + step < set->word_count && set->at[low + step] < word) {
        low += step;
        step *= 2;
    }
    uint32_t high = low + step < set->word_count ? low + step : set->word_count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (set->at[middle] < word) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static inline uint64_t query_word(struct dim_query *query, uint32_t word)
{
    uint64_t bits = 0;
    for (uint32_t i = 0; i < query->count; i++) {
        struct cursor *cursor = &query->cursors[i];
        const struct target_set *set = cursor->set;
        if (!set->at) {
            bits |= set->words[word];
            continue;
        }
        if (cursor->next < set->word_count && set->at[cursor->next] < word) {
            cursor->next = gallop(set, cursor->next, word);
        }
        if (cursor->next < set->word_count && set->at[cursor->next] == word) {
            bits |= set->words[cursor->next];
        }
    }
    return bits;
}

/* The next word number >= word at which the union is not zero; word_count when there is none. */
static uint32_t query_next(struct dim_query *query, uint32_t word, uint32_t word_count)
{
    uint32_t next = word_count;
    for (uint32_t i = 0; i < query->count; i++) {
        struct cursor *cursor = &query->cursors[i];
        const struct target_set *set = cursor->set;
        uint32_t found = word;
        if (set->at) {
            if (cursor->next < set->word_count && set->at[cursor->next] < word) {
                cursor->next = gallop(set, cursor->next, word);
            }
            found = cursor->next < set->word_count ? set->at[cursor->next] : word_count;
        } else {
            while (found < next && set->words[found] == 0) {
                found++;
            }
        }
        next = found < next ? found : next;
    }
    return next;
}

static bool query_reserve(struct dim_query *query, struct arena *arena, uint32_t capacity)
{
    query->cursors = arena_alloc(arena, (size_t)capacity * sizeof(*query->cursors) + 1);
    query->capacity = query->cursors ? capacity : 0;
    return query->cursors != NULL;
}

static void query_add(struct dim_query *query, const struct target_dimension *dim, uint32_t set)
{
    if (set >= dim->set_count || dim->sets[set].line_count == 0) {
        return;
    }
    BUG_ON(query->count == query->capacity);
    query->cursors[query->count++] = (struct cursor){.set = &dim->sets[set]};
    query->words += dim->sets[set].word_count;
    query->lines += dim->sets[set].line_count;
}

static void query_add_key(struct dim_query *query, const struct target_dimension *dim,
                          const char *key, size_t len)
{
    uint32_t set = str_table_get(&dim->keys, (struct str){key, len});
    if (set != STR_TABLE_NONE) {
        query_add(query, dim, set);
    }
}

/* --- what the request says ----------------------------------------------------------------- */

static size_t lowered(struct str text, char *key)
{
    if (text.len > TARGET_KEY_MAX) {
        return 0;
    }
    for (size_t i = 0; i < text.len; i++) {
        key[i] = str_ascii_lower(text.ptr[i]);
    }
    return text.len;
}

/* Reserves room and adds the lines that ask nothing. False: out of memory. */
static bool start_dim(struct target_request *prepared, enum target_dim dim, uint32_t values)
{
    struct dim_query *query = &prepared->dims[dim];
    if (!query_reserve(query, prepared->arena, values + 1)) {
        return false;
    }
    query_add(query, &prepared->index->dims[dim], 0);
    return true;
}

static bool prepare_number(struct target_request *prepared, enum target_dim dim, int64_t value)
{
    if (prepared->index->dims[dim].unused) {
        return true;
    }
    if (!start_dim(prepared, dim, 1)) {
        return false;
    }
    if (value >= 0 && value < UINT32_MAX - 1) {
        query_add(&prepared->dims[dim], &prepared->index->dims[dim], (uint32_t)value + 1);
    }
    return true;
}

static bool prepare_os_and_language(struct target_request *prepared)
{
    char key[TARGET_KEY_MAX];
    const struct target_dimension *os = &prepared->index->dims[DIM_OS];
    if (!os->unused) {
        if (!start_dim(prepared, DIM_OS, 1)) {
            return false;
        }
        size_t len = lowered(str_trim(prepared->request->device.os), key);
        query_add_key(&prepared->dims[DIM_OS], os, key, len);
    }
    const struct target_dimension *language = &prepared->index->dims[DIM_LANGUAGE];
    if (language->unused) {
        return true;
    }
    size_t len = lowered(target_language(prepared->request), key);
    uint32_t parts = 1;
    for (size_t i = 0; i < len; i++) {
        parts += key[i] == '-' || key[i] == '_';
    }
    if (!start_dim(prepared, DIM_LANGUAGE, parts)) {
        return false;
    }
    for (size_t i = 1; i <= len; i++) { /* zh, zh-hans, zh-hans-cn */
        if (i == len || key[i] == '-' || key[i] == '_') {
            query_add_key(&prepared->dims[DIM_LANGUAGE], language, key, i);
        }
    }
    return true;
}

static bool prepare_geo(struct target_request *prepared)
{
    const struct target_dimension *dim = &prepared->index->dims[DIM_GEO];
    const struct bidreq_geo *geo = &prepared->request->device.geo;
    if (dim->unused) {
        return true;
    }
    if (!start_dim(prepared, DIM_GEO, 6)) {
        return false;
    }
    struct dim_query *query = &prepared->dims[DIM_GEO];
    const struct str places[] = {geo->country, geo->region, geo->city};
    char key[TARGET_KEY_MAX + 1];
    for (size_t i = 0; i < COUNT_OF(places); i++) {
        key[0] = "crt"[i];
        struct str place = target_place_key(places[i], key + 1);
        if (place.len) {
            query_add_key(query, dim, key, place.len + 1);
        }
    }
    if (target_has_point(geo) && prepared->index->has_circles) {
        int64_t lat = geo->lat_micro, lon = geo->lon_micro;
        lon = lon == 180000000 ? -lon : lon; /* one meridian, one column of cells */
        query_add_key(query, dim, "w", 1);
        query_add_key(query, dim, key, target_cell_key(lat, lon, GRID_FINE_MICRO, key));
        query_add_key(query, dim, key, target_cell_key(lat, lon, GRID_COARSE_MICRO, key));
    }
    return true;
}

/* The bundle, the domain and every domain above it, into the allow or the deny dimension. */
static bool prepare_media(struct target_request *prepared, enum target_dim dim)
{
    const struct target_dimension *media = &prepared->index->dims[dim];
    if (media->unused) {
        return true;
    }
    char bundle[TARGET_KEY_MAX], domain[TARGET_KEY_MAX];
    size_t bundle_len = lowered(str_trim(prepared->request->media.bundle), bundle);
    size_t len = lowered(target_domain(&prepared->request->media), domain);
    uint32_t labels = 1;
    for (size_t i = 0; i < len; i++) {
        labels += domain[i] == '.';
    }
    if (!start_dim(prepared, dim, labels + 1)) {
        return false;
    }
    struct dim_query *query = &prepared->dims[dim];
    query_add_key(query, media, bundle, bundle_len);
    for (size_t i = 0; i < len; i++) {
        if (i == 0 || domain[i - 1] == '.') {
            query_add_key(query, media, domain + i, len - i);
        }
    }
    return true;
}

static void add_categories(struct dim_query *query, const struct target_dimension *dim,
                           int32_t taxonomy, const struct str_list *list)
{
    char key[16 + TARGET_KEY_MAX];
    size_t prefix = (size_t)snprintf(key, 16, "%d:", taxonomy);
    for (uint32_t i = 0; i < list->count; i++) {
        size_t len = lowered(str_trim(list->items[i]), key + prefix), parent = 0;
        while (parent < len && key[prefix + parent] != '-') {
            parent++;
        }
        if (len) {
            query_add_key(query, dim, key, prefix + len);
        }
        if (parent && parent < len) {
            query_add_key(query, dim, key, prefix + parent);
        }
    }
}

static bool prepare_categories(struct target_request *prepared, enum target_dim dim)
{
    const struct target_dimension *categories = &prepared->index->dims[dim];
    const struct bidreq_media *media = &prepared->request->media;
    if (categories->unused) {
        return true;
    }
    uint32_t count = media->cat.count + media->sectioncat.count + media->pagecat.count +
                     media->content_cat.count;
    if (!start_dim(prepared, dim, 2 * count)) {
        return false;
    }
    struct dim_query *query = &prepared->dims[dim];
    add_categories(query, categories, media->cattax, &media->cat);
    add_categories(query, categories, media->cattax, &media->sectioncat);
    add_categories(query, categories, media->cattax, &media->pagecat);
    add_categories(query, categories, media->content_cattax, &media->content_cat);
    return true;
}

struct target_request *target_request_prepare(const struct catalog *catalog, uint32_t exchange,
                                              const struct bid_request *request, int64_t now_s,
                                              struct arena *arena)
{
    BUG_ON(!catalog->index);
    struct target_request *prepared = arena_calloc(arena, 1, sizeof(*prepared));
    struct dim_query *dims = arena_calloc(arena, DIM_COUNT, sizeof(*dims));
    if (!prepared || !dims) {
        return NULL;
    }
    *prepared = (struct target_request){.catalog = catalog,
                                        .index = catalog->index,
                                        .request = request,
                                        .arena = arena,
                                        .exchange = exchange,
                                        .dims = dims};
    refresh_live(catalog, catalog->index, now_s);
    const struct bidreq_device *device = &request->device;
    bool ok =
        prepare_number(prepared, DIM_EXCHANGE, exchange) &&
        prepare_number(prepared, DIM_DEVICE, device->devicetype < 32 ? device->devicetype : -1) &&
        prepare_number(prepared, DIM_CONNECTION,
                       device->connectiontype < 32 ? device->connectiontype : -1) &&
        prepare_os_and_language(prepared) && prepare_geo(prepared) &&
        prepare_media(prepared, DIM_MEDIA) && prepare_media(prepared, DIM_DENY_MEDIA) &&
        prepare_categories(prepared, DIM_CATEGORY) &&
        prepare_categories(prepared, DIM_DENY_CATEGORY);
    return ok ? prepared : NULL;
}

/* --- what the impression says -------------------------------------------------------------- */

static bool prepare_deals(const struct target_request *prepared, const struct bidreq_imp *imp,
                          struct dim_query *query)
{
    const struct target_dimension *dim = &prepared->index->dims[DIM_DEAL];
    if (!query_reserve(query, prepared->arena, imp->deals.count + 1)) {
        return false;
    }
    if (!imp->private_auction) {
        query_add(query, dim, 0);
    }
    /* Also when no line has a deal: a private auction is then for nobody. */
    for (uint32_t i = 0; i < imp->deals.count && !dim->unused; i++) {
        uint32_t deal =
            catalog_find_deal(prepared->catalog, prepared->exchange, imp->deals.items[i].id);
        if (deal != CATALOG_NONE) {
            query_add(query, dim, deal + 1);
        }
    }
    return true;
}

static bool banner_says_no_size(const struct bidreq_banner *banner)
{
    for (uint32_t i = 0; i < banner->format.count; i++) {
        const struct bidreq_size *size = &banner->format.items[i];
        if ((size->w > 0 && size->h > 0) || (size->wratio > 0 && size->hratio > 0)) {
            return false;
        }
    }
    return banner->w <= 0 || banner->h <= 0;
}

static bool prepare_format(const struct target_request *prepared, const struct bidreq_imp *imp,
                           struct dim_query *query)
{
    const struct target_index *index = prepared->index;
    const struct target_dimension *dim = &index->dims[DIM_FORMAT];
    if (!query_reserve(query, prepared->arena, 4 + index->size_count)) {
        return false;
    }
    if (imp->video) {
        query_add(query, dim, FORMAT_VIDEO);
    }
    if (imp->audio) {
        query_add(query, dim, FORMAT_AUDIO);
    }
    if (imp->native && !imp->native->malformed) {
        query_add(query, dim, FORMAT_NATIVE);
    }
    if (imp->banner && banner_says_no_size(imp->banner)) {
        query_add(query, dim, FORMAT_BANNER);
        return true;
    }
    for (uint32_t i = 0; imp->banner && i < index->size_count; i++) {
        if (select_banner_size_fits(imp->banner, index->sizes[i].w, index->sizes[i].h)) {
            query_add(query, dim, FORMAT_SIZE + i);
        }
    }
    return true;
}

/* --- finding ------------------------------------------------------------------------------- */

struct search {
    const struct target_request *prepared;
    struct dim_query *queries[DIM_COUNT]; /* by words ascending; [0] drives */
    uint32_t query_count;
    uint32_t *lines;
    uint32_t max, found;
};

static void search_add(struct search *search, struct dim_query *query)
{
    for (uint32_t i = 0; i < query->count; i++) {
        query->cursors[i].next = 0; /* another impression may have moved it */
    }
    search->queries[search->query_count++] = query;
}

/* Fewest words first; of as many words, fewest lines. */
static bool query_before(const struct dim_query *a, const struct dim_query *b)
{
    return a->words != b->words ? a->words < b->words : a->lines < b->lines;
}

static void search_order(struct search *search)
{
    for (uint32_t i = 1; i < search->query_count; i++) {
        struct dim_query *moving = search->queries[i];
        uint32_t k = i;
        for (; k > 0 && query_before(moving, search->queries[k - 1]); k--) {
            search->queries[k] = search->queries[k - 1];
        }
        search->queries[k] = moving;
    }
}

static void emit_word(struct search *search, uint32_t word, uint64_t bits)
{
    const struct target_index *index = search->prepared->index;
    while (bits) {
        uint32_t position = word * 64 + (uint32_t)__builtin_ctzll(bits);
        uint32_t line = index->order[position];
        bits &= bits - 1;
        if ((index->circled[word] >> (position % 64) & 1) &&
            !target_rule_geo(&search->prepared->catalog->lines[line].targeting,
                             &search->prepared->request->device.geo)) {
            continue;
        }
        if (search->found < search->max) {
            search->lines[search->found] = line;
        }
        search->found++;
    }
}

/* The bits all dimensions agree on; when there are none, *next is the word to look at next. */
static uint64_t search_word(struct search *search, uint32_t word, uint32_t *next)
{
    const struct target_index *index = search->prepared->index;
    uint64_t bits = index->live[word];
    for (uint32_t i = 0; i < search->query_count; i++) {
        uint64_t wanted = query_word(search->queries[i], word);
        bits &= wanted;
        if (bits == 0) {
            if (wanted == 0) { /* alike lines are neighbours: this one is zero for a while */
                *next = query_next(search->queries[i], word + 1, index->word_count);
            }
            return 0;
        }
    }
    return bits;
}

static void search_run(struct search *search)
{
    const struct target_request *prepared = search->prepared;
    uint32_t word_count = prepared->index->word_count;
    uint32_t word = query_next(search->queries[0], 0, word_count);
    while (word < word_count) {
        uint32_t next = word + 1;
        uint64_t bits = search_word(search, word, &next);
        if (bits) {
            bits &= ~query_word(&prepared->dims[DIM_DENY_MEDIA], word);
            bits &= ~query_word(&prepared->dims[DIM_DENY_CATEGORY], word);
            emit_word(search, word, bits);
        }
        word = next < word_count ? query_next(search->queries[0], next, word_count) : next;
    }
}

/* Shell sort: in place, good enough for the few lines that match. Gaps: Ciura 2001. */
static void sort_lines(uint32_t *lines, uint32_t count)
{
    static const uint32_t gaps[] = {3942, 1750, 701, 301, 132, 57, 23, 10, 4, 1};
    for (size_t g = 0; g < COUNT_OF(gaps); g++) {
        for (uint32_t i = gaps[g]; i < count; i++) {
            uint32_t moving = lines[i], k = i;
            for (; k >= gaps[g] && lines[k - gaps[g]] > moving; k -= gaps[g]) {
                lines[k] = lines[k - gaps[g]];
            }
            lines[k] = moving;
        }
    }
}

uint32_t target_find(const struct catalog *catalog, const struct target_request *prepared,
                     const struct bidreq_imp *imp, uint32_t *lines, uint32_t max, bool *truncated)
{
    BUG_ON(prepared->catalog != catalog);
    const struct target_index *index = prepared->index;
    struct search search = {.prepared = prepared, .lines = lines, .max = max};
    struct dim_query deals = {0}, formats = {0};
    *truncated = false;
    if (index->line_count == 0) {
        return 0;
    }
    if (!prepare_deals(prepared, imp, &deals) || !prepare_format(prepared, imp, &formats)) {
        *truncated = true; /* the arena is full: not everything was looked at */
        return 0;
    }
    for (unsigned dim = 0; dim < DIM_COUNT; dim++) {
        struct dim_query *query = dim == DIM_DEAL     ? &deals
                                  : dim == DIM_FORMAT ? &formats
                                                      : &prepared->dims[dim];
        if (dim == DIM_DENY_MEDIA || dim == DIM_DENY_CATEGORY) {
            for (uint32_t i = 0; i < query->count; i++) {
                query->cursors[i].next = 0;
            }
        } else if (dim == DIM_DEAL || dim == DIM_FORMAT || !index->dims[dim].unused) {
            if (query->count == 0) {
                return 0; /* nobody asks nothing, nobody wants this value */
            }
            search_add(&search, query);
        }
    }
    search_order(&search);
    search_run(&search);
    uint32_t kept = search.found < max ? search.found : max;
    sort_lines(lines, kept);
    *truncated = search.found > max;
    return kept;
}
