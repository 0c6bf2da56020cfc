/* Orchestrates a load: text -> tree -> ids -> fields -> checks -> snapshot. The order matters only
 * in that ids come first, so that every reference can be resolved where it stands. */
#include "bidder/catalog_load.h"

#include "bidder/base/bug.h"
#include "bidder/base/clock.h"
#include "bidder/catalog_reader.h"

#define MAX_DEPTH      16
#define BLOCK_BYTES    ((size_t)256 << 10)
#define SNAPSHOT_BYTES ((size_t)2 << 30)
#define SCRATCH_BYTES  ((size_t)8 << 30)
#define GUESS_BUDGET   4000000

/* A JSON syntax error: the one problem of the file. */
static void report_syntax(struct catalog_reader *reader, const struct json_dom_error *error)
{
    if (error->error == JSON_ERROR_MEMORY) {
        reader->no_memory = true;
        return;
    }
    reader_report(reader, PROBLEM_ERROR, error->offset, "not valid JSON: %s",
                  json_error_text(error->error));
}

/* Comes before everything else, because rates and messages need it. */
static void read_own_currency(struct catalog_reader *reader)
{
    struct catalog *catalog = reader->catalog;
    const struct json_value *value = json_dom_get(reader->root, STR("currency"));
    catalog->currencies = reader_keep(reader, 1, sizeof(*catalog->currencies));
    if (!catalog->currencies || !value || value->type != JSON_STRING) {
        return; /* reported with the other fields */
    }
    catalog->currency = reader_keep_str(reader, value->text);
    catalog->currencies[0] =
        (struct catalog_currency){.code = catalog->currency, .rate_micros = 1000000};
    catalog->currency_count = 1;
}

static void load_timezone(struct catalog_reader *reader, struct str name)
{
    enum status status = tz_load(name, reader->arena, &reader->catalog->tz);
    reader->has_tz = status == STATUS_OK;
    if (status == STATUS_NO_MEMORY) {
        reader->no_memory = true;
    } else if (status != STATUS_OK) {
        reader_error(reader, json_dom_get(reader->root, STR("timezone")),
                     "this system has no timezone \"%.*s\"; expected an IANA name such as "
                     "\"Asia/Shanghai\" or \"UTC\"",
                     STR_ARG(name));
    }
}

static void read_root(struct catalog_reader *reader)
{
    struct catalog_root root = {0};
    read_own_currency(reader);
    reader_read_object(reader, &shape_root, reader->root, &root);
    reader->lifetime_s = root.lifetime_s;
    if (root.timezone.ptr) {
        load_timezone(reader, root.timezone);
    }
}

/* Reads all entities of a kind into an array of the shape's structs, which begin with the id. */
static void *read_entities(struct catalog_reader *reader, const struct field *field)
{
    struct entity_set *set = &reader->sets[field->target];
    char *items = reader_keep(reader, set->count, field->shape->size);
    for (uint32_t i = 0; i < set->count && items && !reader->no_memory; i++) {
        void *item = items + i * field->shape->size;
        *(struct str *)item = set->ids[i];
        reader->current_kind = field->target;
        reader->current = i;
        reader_read_object(reader, field->shape, set->sources[i], item);
    }
    return items;
}

static const struct field *entities_field(const struct shape *shape, enum entity_kind kind)
{
    for (uint32_t i = 0; i < shape->field_count; i++) {
        const struct field *field = &shape->fields[i];
        if (field->kind == FIELD_ENTITIES) {
            const struct field *inner =
                field->target == kind ? field : entities_field(field->shape, kind);
            if (inner) {
                return inner;
            }
        }
    }
    return NULL;
}

static void read_all_entities(struct catalog_reader *reader)
{
    struct catalog *catalog = reader->catalog;
    const struct {
        void *items; /* struct x **: where the array goes */
        uint32_t *count;
    } into[ENTITY_KIND_COUNT] = {
        [ENTITY_EXCHANGE] = {&catalog->exchanges, &catalog->exchange_count},
        [ENTITY_ADVERTISER] = {&catalog->advertisers, &catalog->advertiser_count},
        [ENTITY_BRAND] = {&catalog->brands, &catalog->brand_count},
        [ENTITY_AUDIENCE] = {&catalog->audiences, &catalog->audience_count},
        [ENTITY_CAP] = {&catalog->caps, &catalog->cap_count},
        [ENTITY_DEAL] = {&catalog->deals, &catalog->deal_count},
        [ENTITY_CAMPAIGN] = {&catalog->campaigns, &catalog->campaign_count},
        [ENTITY_LINE] = {&catalog->lines, &catalog->line_count},
        [ENTITY_CREATIVE] = {&catalog->creatives, &catalog->creative_count},
        [ENTITY_ROTATION] = {&catalog->rotations, &catalog->rotation_count},
        [ENTITY_SWAP] = {&catalog->swaps, &catalog->swap_count},
        [ENTITY_DMP] = {&catalog->dmps, &catalog->dmp_count},
    };
    for (int kind = 0; kind < ENTITY_KIND_COUNT && !reader->no_memory; kind++) {
        void *items = read_entities(reader, entities_field(&shape_root, kind));
        memcpy(into[kind].items, &items, sizeof(items));
        *into[kind].count = items ? reader->sets[kind].count : 0;
    }
}

static void set_parents(struct catalog_reader *reader)
{
    struct catalog *catalog = reader->catalog;
    for (uint32_t i = 0; i < catalog->brand_count; i++) {
        catalog->brands[i].advertiser = reader->sets[ENTITY_BRAND].parents[i];
    }
    for (uint32_t i = 0; i < catalog->line_count; i++) {
        struct catalog_line *line = &catalog->lines[i];
        line->campaign = reader->sets[ENTITY_LINE].parents[i];
        struct catalog_campaign *campaign = &catalog->campaigns[line->campaign];
        if (campaign->line_count++ == 0) {
            campaign->first_line = i;
        }
        line->brand = campaign->brand;
        line->advertiser =
            line->brand == CATALOG_NONE ? CATALOG_NONE : catalog->brands[line->brand].advertiser;
    }
}

/* Everything up to the decision whether the catalog is good. */
static void read_catalog(struct catalog_reader *reader)
{
    struct json_dom_error error;
    reader->root = json_dom_parse(reader->text, &reader->scratch, MAX_DEPTH, &error);
    if (!reader->root) {
        report_syntax(reader, &error);
        return;
    }
    if (!reader_expect(reader, reader->root, JSON_OBJECT, "an object: the catalog")) {
        return;
    }
    reader_collect_ids(reader);
    if (reader->sets[ENTITY_LINE].count > CATALOG_MAX_LINES) {
        reader_error(reader, reader->root, "%u line items are more than the limit of %d",
                     reader->sets[ENTITY_LINE].count, CATALOG_MAX_LINES);
        return;
    }
    if (!reader->no_memory) {
        read_root(reader);
        read_all_entities(reader);
        reader_set_default_ids(reader);
    }
    if (!reader->no_memory) {
        set_parents(reader);
        reader_build_caps(reader);
    }
    if (!reader->no_memory) {
        reader_build_lines(reader);
    }
    if (!reader->no_memory) {
        reader_check(reader);
    }
}

static struct catalog *catalog_create(size_t limit_bytes)
{
    struct catalog *catalog = calloc(1, sizeof(*catalog));
    size_t block = limit_bytes < BLOCK_BYTES ? limit_bytes : BLOCK_BYTES;
    if (catalog && !arena_init(&catalog->arena, block, limit_bytes)) {
        free(catalog);
        return NULL;
    }
    if (catalog) {
        catalog->references = 1;
    }
    return catalog;
}

enum status catalog_load_within(struct str text, const struct catalog *previous,
                                uint64_t generation, size_t snapshot_bytes, size_t scratch_bytes,
                                struct catalog **out, struct problem_list *problems)
{
    *out = NULL;
    struct catalog *catalog = catalog_create(snapshot_bytes);
    if (!catalog) {
        return STATUS_NO_MEMORY;
    }
    struct catalog_reader reader = {
        .text = text,
        .catalog = catalog,
        .previous = previous,
        .arena = &catalog->arena,
        .problems = problems,
        .now_s = clock_wall_us() / 1000000,
        .guess_budget = GUESS_BUDGET,
    };
    enum status status = STATUS_NO_MEMORY;
    size_t block = scratch_bytes < BLOCK_BYTES ? scratch_bytes : BLOCK_BYTES;
    if (!arena_init(&reader.scratch, block, scratch_bytes)) {
        catalog_release(&catalog);
        return status;
    }
    catalog->generation = generation;
    catalog->digest = hash_str(text);
    reader.found = reader_scrap(&reader, PROBLEM_LIMIT, sizeof(*reader.found));
    if (reader.found) {
        read_catalog(&reader);
    }
    if (!reader.no_memory) { /* else what was found may only be missing for want of memory */
        reader_place_problems(&reader);
        status = reader.error_count ? STATUS_INVALID : reader_finish(&reader);
    }
    if (status == STATUS_OK) {
        *out = catalog;
        catalog = NULL;
    }
    arena_deinit(&reader.scratch);
    catalog_release(&catalog);
    return status;
}

enum status catalog_load(struct str text, const struct catalog *previous, uint64_t generation,
                         struct catalog **out, struct problem_list *problems)
{
    return catalog_load_within(text, previous, generation, SNAPSHOT_BYTES, SCRATCH_BYTES, out,
                               problems);
}
