/* Lines that want an impression: the intersection, dimension by dimension, of unions of sets.
 *
 *   block     4096 positions. Those of the dimension with the fewest words are visited; the others
 *             say with one mask each which of its 64 words they have anything in
 *   word      what is left of the masks: the bits themselves, until they are zero
 *   deny      taken out
 *   circles   what the grid let through is measured
 *
 * A dimension whose union holds every line is not asked at all. What the request decides alone
 * (device, place, medium, ...) is looked up once in prepare; deal and format belong to the
 * impression. Pure but for target_index.live, which remembers what the clock says. Lifetimes: a
 * prepared request borrows catalog, request and arena. */
#include "bidder/target.h"

#include "bidder/base/bug.h"
#include "bidder/select.h"
#include "bidder/target_index.h"
#include "bidder/target_rules.h"

/* Where a search stands in one set; block numbers only grow. */
struct cursor {
    const struct target_block *blocks; /* of the set */
    const struct target_block *block;  /* the first that is not behind the search */
    const uint64_t *words;             /* of the set */
    uint64_t nonzero;                  /* of the block the search is in; 0 = it has none there */
};

/* The union of some sets of one dimension. */
struct dim_query {
    struct cursor *cursors;
    uint32_t count, capacity;
    uint32_t words, lines; /* upper bounds of the union's */
    bool full;             /* every line is in it: nothing to ask */
    uint64_t *gathered;    /* the union's words of the block the search is in; NULL = few cursors */
};

struct target_request {
    const struct catalog *catalog;
    const struct target_index *index;
    const struct bid_request *request;
    struct arena *arena;
    uint32_t exchange;
    struct dim_query dims[DIM_COUNT]; /* deal and format: of the impression in hand */
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

/* --- unions -------------------------------------------------------------------------------- */

/* More sets than this are joined block by block, instead of being asked one by one for each word:
 * an impression may name a thousand deals. */
#define GATHER_CURSORS 8

/* The first block number >= number in which the union has anything. */
static uint32_t query_next(struct dim_query *query, uint32_t number)
{
    uint32_t next = TARGET_NO_BLOCK;
    for (uint32_t i = 0; i < query->count; i++) {
        struct cursor *cursor = &query->cursors[i];
        while (cursor->block->number < number) {
            cursor->block++;
        }
        next = cursor->block->number < next ? cursor->block->number : next;
    }
    return next;
}

static void gather(struct dim_query *query, const struct cursor *cursor)
{
    const uint64_t *word = cursor->words + cursor->block->first;
    for (uint64_t left = cursor->nonzero; left; left &= left - 1) {
        query->gathered[__builtin_ctzll(left)] |= *word++;
    }
}

/* Moves to a block; returns which of its words are not zero in the union. */
static uint64_t query_enter(struct dim_query *query, uint32_t number)
{
    uint64_t nonzero = 0;
    if (query->gathered) {
        memset(query->gathered, 0, 64 * sizeof(*query->gathered));
    }
    for (uint32_t i = 0; i < query->count; i++) {
        struct cursor *cursor = &query->cursors[i];
        while (cursor->block->number < number) {
            cursor->block++;
        }
        cursor->nonzero = cursor->block->number == number ? cursor->block->nonzero : 0;
        nonzero |= cursor->nonzero;
        if (query->gathered) {
            gather(query, cursor);
        }
    }
    return nonzero;
}

/* A word of the block that was entered. */
static inline uint64_t query_word(const struct dim_query *query, unsigned word)
{
    if (query->gathered) {
        return query->gathered[word];
    }
    uint64_t bits = 0, bit = UINT64_C(1) << word;
    for (uint32_t i = 0; i < query->count; i++) {
        const struct cursor *cursor = &query->cursors[i];
        if (cursor->nonzero & bit) {
            unsigned before = (unsigned)__builtin_popcountll(cursor->nonzero & (bit - 1));
            bits |= cursor->words[cursor->block->first + before];
        }
    }
    return bits;
}

/* Empties the query and makes room for so many sets. */
static bool query_reserve(struct dim_query *query, struct arena *arena, uint32_t capacity)
{
    struct dim_query empty = {.cursors = query->cursors, .capacity = query->capacity};
    if (capacity > empty.capacity) {
        empty.cursors = arena_alloc(arena, (size_t)capacity * sizeof(*empty.cursors));
        empty.capacity = empty.cursors ? capacity : 0;
    }
    if (capacity > GATHER_CURSORS) {
        empty.gathered = arena_alloc(arena, 64 * sizeof(*empty.gathered));
    }
    *query = empty;
    return empty.cursors && (capacity <= GATHER_CURSORS || empty.gathered);
}

static void query_add(struct dim_query *query, const struct target_dimension *dim, uint32_t number)
{
    if (number >= dim->set_count || dim->sets[number].line_count == 0) {
        return;
    }
    const struct target_set *set = &dim->sets[number];
    BUG_ON(query->count == query->capacity);
    query->cursors[query->count++] = (struct cursor){.blocks = set->blocks, .words = set->words};
    query->words += set->word_count;
    query->lines += set->line_count;
    query->full |= set->full;
}

static void query_add_key(struct dim_query *query, const struct target_dimension *dim,
                          const char *key, size_t len)
{
    uint32_t set = str_table_get(&dim->keys, (struct str){key, len});
    if (set != STR_TABLE_NONE) {
        query_add(query, dim, set);
    }
}

/* Back to the start: another impression may have moved the cursors. */
static void query_rewind(struct dim_query *query)
{
    for (uint32_t i = 0; i < query->count; i++) {
        query->cursors[i].block = query->cursors[i].blocks;
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
    char number[STR_I64_BYTES], key[STR_I64_BYTES + 1 + TARGET_KEY_MAX];
    struct str text = str_of_i64(taxonomy, number);
    size_t prefix = text.len + 1;
    memcpy(key, text.ptr, text.len);
    key[text.len] = ':';
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
    struct target_request *prepared = arena_alloc(arena, sizeof(*prepared));
    if (!prepared) {
        return NULL;
    }
    *prepared = (struct target_request){.catalog = catalog,
                                        .index = catalog->index,
                                        .request = request,
                                        .arena = arena,
                                        .exchange = exchange};
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

static bool prepare_deals(struct target_request *prepared, const struct imp_deals *deals)
{
    const struct target_dimension *dim = &prepared->index->dims[DIM_DEAL];
    struct dim_query *query = &prepared->dims[DIM_DEAL];
    uint32_t count = deals->imp->deals.count;
    if (!query_reserve(query, prepared->arena, count + 1)) {
        return false;
    }
    if (!deals->imp->private_auction) {
        query_add(query, dim, 0);
    }
    /* Also when no line has a deal: a private auction is then for nobody. */
    for (uint32_t i = 0; i < count && !dim->unused; i++) {
        if (deals->deals[i] != CATALOG_NONE) {
            query_add(query, dim, deals->deals[i] + 1);
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

static bool prepare_format(struct target_request *prepared, const struct bidreq_imp *imp)
{
    const struct target_index *index = prepared->index;
    const struct target_dimension *dim = &index->dims[DIM_FORMAT];
    struct dim_query *query = &prepared->dims[DIM_FORMAT];
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
    struct target_request *prepared;
    struct dim_query *queries[DIM_COUNT]; /* by words ascending; [0] drives; none: all lines */
    uint32_t query_count;
    uint32_t *lines;
    uint32_t max, found;
};

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

/* The bits all dimensions agree on, but for those that deny. */
static uint64_t search_word(struct search *search, uint32_t number, unsigned word)
{
    uint64_t bits = search->prepared->index->live[number * 64 + word];
    for (uint32_t i = 0; bits && i < search->query_count; i++) {
        bits &= query_word(search->queries[i], word);
    }
    return bits;
}

static void search_block(struct search *search, uint32_t number)
{
    struct dim_query *deny_media = &search->prepared->dims[DIM_DENY_MEDIA];
    struct dim_query *deny_category = &search->prepared->dims[DIM_DENY_CATEGORY];
    uint32_t words = search->prepared->index->word_count - number * 64;
    uint64_t left = words < 64 ? (UINT64_C(1) << words) - 1 : UINT64_MAX;
    for (uint32_t i = 0; left && i < search->query_count; i++) {
        left &= query_enter(search->queries[i], number);
    }
    uint64_t denied = left ? query_enter(deny_media, number) : 0;
    denied |= left ? query_enter(deny_category, number) : 0;
    for (; left; left &= left - 1) {
        unsigned word = (unsigned)__builtin_ctzll(left);
        uint64_t bits = search_word(search, number, word);
        if (bits && (denied >> word & 1)) {
            bits &= ~(query_word(deny_media, word) | query_word(deny_category, word));
        }
        emit_word(search, number * 64 + word, bits);
    }
}

/* The next block worth a look. */
static uint32_t search_next(struct search *search, uint32_t number)
{
    return search->query_count ? query_next(search->queries[0], number) : number;
}

static void search_run(struct search *search)
{
    uint32_t count = (search->prepared->index->word_count + 63) / 64;
    for (uint32_t number = search_next(search, 0); number < count;
         number = search_next(search, number + 1)) {
        search_block(search, number);
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

uint32_t target_find(const struct catalog *catalog, struct target_request *prepared,
                     const struct imp_deals *deals, uint32_t *lines, uint32_t max, bool *truncated)
{
    BUG_ON(prepared->catalog != catalog);
    const struct target_index *index = prepared->index;
    struct search search = {.prepared = prepared, .lines = lines, .max = max};
    *truncated = false;
    if (index->line_count == 0) {
        return 0;
    }
    if (!prepare_deals(prepared, deals) || !prepare_format(prepared, deals->imp)) {
        *truncated = true; /* the arena is full: not everything was looked at */
        return 0;
    }
    for (unsigned dim = 0; dim < DIM_COUNT; dim++) {
        struct dim_query *query = &prepared->dims[dim];
        query_rewind(query);
        if (dim == DIM_DENY_MEDIA || dim == DIM_DENY_CATEGORY) {
            continue;
        }
        bool asked = dim == DIM_DEAL || dim == DIM_FORMAT || !index->dims[dim].unused;
        if (asked && query->count == 0) {
            return 0; /* nobody asks nothing, nobody wants this value */
        }
        if (asked && !query->full) {
            search.queries[search.query_count++] = query;
        }
    }
    search_order(&search);
    search_run(&search);
    uint32_t kept = search.found < max ? search.found : max;
    sort_lines(lines, kept);
    *truncated = search.found > max;
    return kept;
}
