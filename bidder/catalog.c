/* Lookups on a finished snapshot, and its life: see catalog.h. Nothing here changes a snapshot but
 * its reference count. */
#include "bidder/catalog.h"

#include "bidder/base/bug.h"

#define MICROS_PER_UNIT 1000000

const char *buying_mode_name(enum buying_mode mode)
{
    static const char *const names[BUYING_MODE_COUNT] = {"cpd", "pdb", "pd", "rtb"};
    return (unsigned)mode < BUYING_MODE_COUNT ? names[mode] : "?";
}

struct catalog *catalog_retain(struct catalog *catalog)
{
    BUG_ON(catalog->references == 0 || catalog->references == UINT32_MAX);
    catalog->references++;
    return catalog;
}

void catalog_release(struct catalog **catalog)
{
    struct catalog *gone = *catalog;
    *catalog = NULL;
    if (!gone) {
        return;
    }
    BUG_ON(gone->references == 0);
    if (--gone->references == 0) {
        struct arena arena = gone->arena; /* the arena outlives what lies beside it */
        arena_deinit(&arena);
        free(gone);
    }
}

uint32_t catalog_deal_payer(const struct catalog *catalog, const struct catalog_deal *deal)
{
    for (uint32_t i = 0; i < deal->lines.count; i++) {
        if (catalog->lines[deal->lines.items[i]].brand == deal->owner) {
            return deal->lines.items[i];
        }
    }
    return CATALOG_NONE;
}

uint32_t catalog_find_deal(const struct catalog *catalog, uint32_t exchange, struct str wire_id)
{
    uint32_t deal = str_table_get(&catalog->deal_by_id, wire_id);
    while (deal != CATALOG_NONE && catalog->deals[deal].exchange != exchange) {
        deal = catalog->next_deal[deal];
    }
    return deal;
}

static int64_t currency_rate(const struct catalog *catalog, struct str code)
{
    for (uint32_t i = 0; i < catalog->currency_count; i++) {
        if (str_eq(catalog->currencies[i].code, code)) {
            return catalog->currencies[i].rate_micros;
        }
    }
    return 0;
}

__extension__ typedef __int128 wide;

static bool narrow(wide value, int64_t *out)
{
    if (value > INT64_MAX || value < INT64_MIN) {
        return false;
    }
    *out = (int64_t)value;
    return true;
}

/* dividend / divisor rounded towards minus infinity, or plus infinity with up. divisor > 0. */
static wide divide(wide dividend, int64_t divisor, bool up)
{
    wide quotient = dividend / divisor, rest = dividend % divisor;
    if (rest > 0 && up) {
        quotient++;
    } else if (rest < 0 && !up) {
        quotient--;
    }
    return quotient;
}

bool catalog_to_own_currency(const struct catalog *catalog, struct str code, int64_t micros,
                             int64_t *own_micros)
{
    int64_t rate = currency_rate(catalog, code);
    if (LIKELY(rate == MICROS_PER_UNIT)) { /* our own: nothing to divide */
        *own_micros = micros;
        return true;
    }
    return rate > 0 && narrow(divide((wide)micros * rate, MICROS_PER_UNIT, true), own_micros);
}

bool catalog_from_own_currency(const struct catalog *catalog, struct str code, int64_t own_micros,
                               int64_t *micros)
{
    int64_t rate = currency_rate(catalog, code);
    if (LIKELY(rate == MICROS_PER_UNIT)) {
        *micros = own_micros;
        return true;
    }
    return rate > 0 && narrow(divide((wide)own_micros * MICROS_PER_UNIT, rate, false), micros);
}

static bool has_segment(const uint32_t *segments, uint32_t count, uint32_t wanted)
{
    uint32_t low = 0;
    while (count > 0) {
        uint32_t half = count / 2;
        if (segments[low + half] < wanted) {
            low += half + 1;
            count -= half + 1;
        } else {
            count = half;
        }
    }
    return segments[low] == wanted;
}

static uint32_t count_segments(const uint32_t *wanted, uint32_t wanted_count,
                               const uint32_t *segments, uint32_t segment_count)
{
    uint32_t found = 0;
    for (uint32_t i = 0; i < wanted_count && segment_count; i++) {
        /* The person's list lies between the first and the last: most misses end here. */
        if (wanted[i] >= segments[0] && wanted[i] <= segments[segment_count - 1]) {
            found += has_segment(segments, segment_count, wanted[i]);
        }
    }
    return found;
}

static uint32_t count_audiences(const struct catalog *catalog, const struct index_list *audiences,
                                const uint32_t *segments, uint32_t segment_count)
{
    uint32_t found = 0;
    for (uint32_t i = 0; i < audiences->count; i++) {
        const struct catalog_audience *audience = &catalog->audiences[audiences->items[i]];
        found += audience_expr_matches(catalog, &audience->expr, segments, segment_count);
    }
    return found;
}

/* Recursion ends: an audience only names audiences of smaller index. */
bool audience_expr_matches(const struct catalog *catalog, const struct audience_expr *expr,
                           const uint32_t *segments, uint32_t segment_count)
{
    return !count_segments(expr->none_segments, expr->none_segment_count, segments,
                           segment_count) &&
           count_segments(expr->all_segments, expr->all_segment_count, segments, segment_count) ==
               expr->all_segment_count &&
           (!expr->any_segment_count ||
            count_segments(expr->any_segments, expr->any_segment_count, segments, segment_count)) &&
           !count_audiences(catalog, &expr->none_audiences, segments, segment_count) &&
           count_audiences(catalog, &expr->all_audiences, segments, segment_count) ==
               expr->all_audiences.count &&
           (!expr->any_audiences.count ||
            count_audiences(catalog, &expr->any_audiences, segments, segment_count));
}
