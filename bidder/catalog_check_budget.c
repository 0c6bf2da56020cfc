/* Cross checks of budgets, and what names them in Redis. */
#include <stdlib.h>

#include "bidder/base/bug.h"
#include "bidder/catalog_reader.h"

/* --- limits --------------------------------------------------------------------------------- */

static void check_budget(struct catalog_reader *reader, const struct read_budget *read)
{
    const struct catalog_budget *budget = &read->budget;
    const struct json_value *daily = json_dom_get(read->source, STR("daily"));
    if (read->source->type == JSON_OBJECT && !budget->total && !budget->daily) {
        reader_error(reader, read->source, "expected \"total\" or \"daily\" or both");
    } else if (budget->total && budget->daily > budget->total) {
        reader_error(reader, daily ? daily : read->source, "is more than the total");
    }
}

/* A line item cannot spend more than its campaign allows. */
static void check_line_budget(struct catalog_reader *reader, const struct read_budget *read,
                              const struct read_budget *of_campaign)
{
    const struct catalog_budget *own = &read->budget, *shared = &of_campaign->budget;
    const struct json_value *total = json_dom_get(read->source, STR("total"));
    const struct json_value *daily = json_dom_get(read->source, STR("daily"));
    if (own->impressions != shared->impressions) {
        return;
    }
    if (total && shared->total && own->total > shared->total) {
        reader_warn(reader, total, "is more than the campaign's total");
    }
    if (daily && shared->daily && own->daily > shared->daily) {
        reader_warn(reader, daily, "is more than the campaign's daily budget");
    }
}

static void check_limits(struct catalog_reader *reader)
{
    const struct catalog *catalog = reader->catalog;
    const struct read_budget **of_campaign =
        reader_scrap(reader, catalog->campaign_count, sizeof(*of_campaign));
    for (uint32_t i = 0; i < reader->budget_count && of_campaign; i++) {
        check_budget(reader, &reader->budgets[i]);
        if (reader->budgets[i].kind == ENTITY_CAMPAIGN) {
            of_campaign[reader->budgets[i].index] = &reader->budgets[i];
        }
    }
    for (uint32_t i = 0; i < reader->budget_count && of_campaign; i++) {
        const struct read_budget *read = &reader->budgets[i];
        const struct read_budget *shared =
            read->kind == ENTITY_LINE ? of_campaign[catalog->lines[read->index].campaign] : NULL;
        if (shared) {
            check_line_budget(reader, read, shared);
        }
    }
}

/* --- refs ----------------------------------------------------------------------------------- */

/* Money and impressions are different accounts: from what one counted the other cannot go on, and
 * what is in flight when the unit changes settles where it was committed. */
uint32_t reader_budget_ref(struct str name, bool impressions)
{
    char text[192];
    int length =
        snprintf(text, sizeof(text), "%s%.*s", impressions ? "impressions:" : "", STR_ARG(name));
    return cap_ref32((struct str){text, (size_t)length});
}

struct named {
    uint32_t ref;
    struct str name;
};

static int by_ref(const void *a, const void *b)
{
    const struct named *left = a, *right = b;
    return (left->ref > right->ref) - (left->ref < right->ref);
}

static void check_changed_units(struct catalog_reader *reader)
{
    const struct catalog *previous = reader->previous;
    uint32_t count = previous ? previous->budget_count : 0;
    struct named *before = reader_scrap(reader, count, sizeof(*before));
    if (!before || !count) {
        return;
    }
    for (uint32_t i = 0; i < count; i++) {
        before[i] = (struct named){previous->budgets[i].ref, previous->budgets[i].name};
    }
    qsort(before, count, sizeof(*before), by_ref);
    for (uint32_t i = 0; i < reader->budget_count; i++) {
        const struct catalog_budget *budget = &reader->catalog->budgets[i];
        struct named other = {.ref = reader_budget_ref(budget->name, !budget->impressions)};
        const struct named *found = bsearch(&other, before, count, sizeof(*before), by_ref);
        if (found && str_eq(found->name, budget->name)) {
            reader_warn(reader, reader->budgets[i].source,
                        "counted %s so far and counts %s now: it starts as a new budget, nothing "
                        "of what was spent is taken over",
                        budget->impressions ? "money" : "impressions",
                        budget->impressions ? "impressions" : "money");
        }
    }
}

void reader_check_budgets(struct catalog_reader *reader)
{
    check_limits(reader);
    check_changed_units(reader);
}
