/* Inside of the catalog loader; nobody but catalog_*.c includes this.
 *
 *   text --json_dom--> tree --catalog_ids--> every id has its index
 *        --catalog_fields + catalog_tables--> structs filled, references resolved
 *        --catalog_check--> what fields cannot see alone
 *        --catalog_build--> caps, budgets, lookups --> snapshot
 *
 * Every step reports all it finds and carries on with the rest, so that a planner sees all problems
 * at once. The tree and all lists here lie in the scratch arena and die with the load; what the
 * snapshot keeps lies in the snapshot's arena. */
#pragma once

#include <inttypes.h>
#include <stdarg.h>
#include <stddef.h>

#include "bidder/base/json_dom.h"
#include "bidder/catalog_load.h"

enum entity_kind {
    ENTITY_EXCHANGE,
    ENTITY_ADVERTISER,
    ENTITY_BRAND,
    ENTITY_AUDIENCE,
    ENTITY_CAP,
    ENTITY_DEAL,
    ENTITY_CAMPAIGN,
    ENTITY_LINE,
    ENTITY_CREATIVE,
    ENTITY_ROTATION,
    ENTITY_SWAP,
    ENTITY_DMP,
    ENTITY_KIND_COUNT
};

/* All entities of one kind, in the order of their future indexes. */
struct entity_set {
    const struct json_value **sources; /* by index: its object in the tree */
    struct str *ids;                   /* snapshot arena; ptr NULL where the id was unusable */
    uint32_t *parents;                 /* a brand's advertiser, a line's campaign */
    uint32_t *same_id;                 /* deals: the next one of the same id, or CATALOG_NONE */
    uint32_t count, capacity;
    struct str_table by_id; /* the first of each id */
};

struct catalog_reader;
struct field;

/* A word of the file and what it means to us. Ends with name NULL. */
struct choice {
    const char *name;
    int64_t value;
};

enum field_kind {
    FIELD_ID,
    FIELD_STRING,   /* struct str; rule */
    FIELD_BOOL,     /* bool */
    FIELD_INT,      /* any integer; min, max; stored times scale */
    FIELD_MICROS,   /* int64_t; number or text, exactly; min, max in micros */
    FIELD_DURATION, /* int64_t seconds; min, max in seconds */
    FIELD_CHOICE,   /* any integer; choices */
    FIELD_START,    /* int64_t UTC second */
    FIELD_END,      /* the same; a plain day means its end */
    FIELD_REF,      /* uint32_t; target; CATALOG_NONE when absent */
    FIELD_REFS,     /* struct index_list; target */
    FIELD_STRINGS,  /* struct str_list; rule */
    FIELD_INTS,     /* struct int_list; min, max of the items */
    FIELD_BITS,     /* uint32_t: bits named by choices */
    FIELD_OBJECT,   /* shape, in place */
    FIELD_OBJECTS,  /* pointer, uint32_t count; shape */
    FIELD_CAPS,     /* ids of frequency caps */
    FIELD_ENTITIES, /* entities of kind target, read by themselves; shape */
    FIELD_SPECIAL,  /* read() does it */
};

/* What a text must look like; each has a check, a JSON Schema pattern and an explanation. */
enum text_rule {
    TEXT_ANY,
    TEXT_ID,
    TEXT_PATH_ID, /* stands in a url path */
    TEXT_URL,
    TEXT_DOMAIN,
    TEXT_MEDIUM, /* a domain or an app bundle */
    TEXT_LOWER,  /* kept in lower case */
    TEXT_COUNTRY,
    TEXT_CURRENCY,
    TEXT_MIME,
    TEXT_HEADER,
    TEXT_RULE_COUNT
};

struct field {
    const char *name;
    enum field_kind kind;
    bool required;
    uint16_t size; /* bytes of the member: integers are stored by size */
    uint16_t offset;
    enum text_rule rule;
    enum entity_kind target;
    uint32_t scale;   /* 0 = 1 */
    int64_t min, max; /* of the value as written (micros for money, seconds for durations) */
    int64_t standard; /* value when absent, as stored */
    const struct choice *choices;
    const struct shape *shape;
    void (*read)(struct catalog_reader *reader, const struct field *field,
                 const struct json_value *value, void *object);
    const char *schema;    /* JSON Schema of a special field; NULL: that of its shape */
    const char *text;      /* one sentence for planners */
    const char *otherwise; /* the default in words, where standard does not say it */
};

#define SHAPE_MAX_FIELDS 64

/* An object of the file: its fields. */
struct shape {
    const char *name; /* $defs name in the schema */
    const char *text;
    const struct field *fields;
    uint32_t field_count;
    size_t size; /* of the struct filled */
};

extern const struct shape shape_root, shape_budget, shape_targeting, shape_audience_terms,
    shape_goal, shape_line_creative, shape_cap_members, shape_price_encoding, shape_rotation_brand,
    shape_daypart;

/* The file's own fields. */
struct catalog_root {
    struct str schema, timezone, currency;
    int64_t lifetime_s;
    char unused;
};

/* Objects read into a form of their own before they become part of the snapshot. */
struct read_goal_amounts {
    int64_t cpc, cpa;
};
struct read_share {
    uint32_t brand;
    int64_t weight;
};
struct read_daypart {
    struct str days, hours;
};

/* A cap counts for an entity: from frequency_caps of the entity or members of the cap. */
struct cap_pair {
    uint32_t entity, cap;
};
struct cap_pairs {
    struct cap_pair *items; /* scratch */
    uint32_t count, capacity;
};

/* A budget as read, with whose it is. */
struct read_budget {
    struct catalog_budget budget;
    enum entity_kind kind; /* campaign or line */
    uint32_t index;
    const struct json_value *source;
};

/* "line:ID" or "campaign:ID": names a budget in Redis. */
#define READER_BUDGET_NAME_BYTES 160
struct str reader_budget_name(const struct catalog_reader *reader, uint32_t index,
                              char name[READER_BUDGET_NAME_BYTES]);

struct found_problem {
    enum problem_severity severity;
    uint32_t order; /* of reporting */
    size_t offset;
    struct str text; /* in the problem list's arena */
};

#define PROBLEM_LIMIT 1000

struct catalog_reader {
    struct str text;
    const struct json_value *root;
    struct catalog *catalog; /* being filled */
    const struct catalog *previous;
    struct arena *arena; /* the snapshot's */
    struct arena scratch;
    struct problem_list *problems;
    struct found_problem *found; /* scratch, PROBLEM_LIMIT */
    uint32_t found_count, found_warnings, found_dropped, error_count;
    bool no_memory;       /* sticky; everything carries on harmlessly */
    bool has_tz;          /* dates are only read with a timezone */
    int64_t lifetime_s;   /* of lifetime caps */
    int64_t now_s;        /* for "is over" warnings only */
    int64_t guess_budget; /* comparisons left for guesses at ids */
    struct entity_set sets[ENTITY_KIND_COUNT];
    enum entity_kind current_kind; /* the entity whose fields are read */
    uint32_t current;
    struct cap_pairs cap_pairs[ENTITY_KIND_COUNT];
    struct index_list *own_line_caps; /* scratch, by line: without those of its campaign ... */
    struct read_budget *budgets;      /* scratch */
    uint32_t budget_count, budget_capacity;
};

/* --- catalog_problem.c --- */
void reader_report(struct catalog_reader *reader, enum problem_severity severity, size_t offset,
                   const char *format, ...) __attribute__((format(printf, 4, 5)));
#define reader_error(reader, value, ...)                                                           \
    reader_report((reader), PROBLEM_ERROR, (value)->offset, __VA_ARGS__)
#define reader_warn(reader, value, ...)                                                            \
    reader_report((reader), PROBLEM_WARNING, (value)->offset, __VA_ARGS__)
/* Appends the JSON pointer of what stands at the offset. */
void reader_pointer(const struct catalog_reader *reader, size_t offset, struct buf *out);
/* Sorts what was found by place and moves it to the problem list. */
void reader_place_problems(struct catalog_reader *reader);

/* --- memory: NULL sets reader->no_memory --- */
void *reader_keep(struct catalog_reader *reader, size_t count, size_t size);  /* snapshot */
void *reader_scrap(struct catalog_reader *reader, size_t count, size_t size); /* scratch */
struct str reader_keep_str(struct catalog_reader *reader, struct str text);
/* Room for one more in a scratch array; false when memory is out. */
bool reader_grow(struct catalog_reader *reader, void **items, uint32_t count, uint32_t *capacity,
                 size_t size);

/* --- catalog_ids.c --- */
/* Finds every entity and gives it its index. */
void reader_collect_ids(struct catalog_reader *reader);
/* value is a string with the id of an entity; CATALOG_NONE and a problem when there is none. */
uint32_t reader_resolve(struct catalog_reader *reader, enum entity_kind kind,
                        const struct json_value *value);
const char *entity_name(enum entity_kind kind); /* "line item" */

/* --- catalog_fields.c --- */
/* Fills object (zeroed by the caller) from value by the shape. */
void reader_read_object(struct catalog_reader *reader, const struct shape *shape,
                        const struct json_value *value, void *object);
/* Type check with a problem: "expected an array of ..., found ...". */
bool reader_expect(struct catalog_reader *reader, const struct json_value *value,
                   enum json_type type, const char *expected);
/* The value as people call it, shortened: number 12, text "abc", an object. */
struct str reader_found(struct catalog_reader *reader, const struct json_value *value);
void reader_read_refs(struct catalog_reader *reader, const struct json_value *value,
                      enum entity_kind target, struct index_list *list);
void reader_read_strings(struct catalog_reader *reader, const struct json_value *value,
                         enum text_rule rule, struct str_list *list);
bool reader_read_micros(struct catalog_reader *reader, const struct json_value *value, int64_t min,
                        int64_t max, int64_t *micros);
bool reader_read_int(struct catalog_reader *reader, const struct json_value *value, int64_t min,
                     int64_t max, int64_t *number);
bool reader_read_duration(struct catalog_reader *reader, const struct json_value *value,
                          int64_t min, int64_t max, int64_t *seconds);
void reader_add_cap(struct catalog_reader *reader, enum entity_kind kind, uint32_t entity,
                    uint32_t cap);

/* --- catalog_special.c: fields with a form of their own; see struct field.read --- */
#define FIELD_READER(name)                                                                         \
    void name(struct catalog_reader *reader, const struct field *field,                            \
              const struct json_value *value, void *object)
FIELD_READER(read_currencies);
FIELD_READER(read_id_paths);
FIELD_READER(read_price_encoding);
FIELD_READER(read_segments);
FIELD_READER(read_window);
FIELD_READER(read_cap_members);
FIELD_READER(read_budget);
FIELD_READER(read_hourly);
FIELD_READER(read_line_creatives);
FIELD_READER(read_own_targeting);
FIELD_READER(read_goal);
FIELD_READER(read_dayparts);
FIELD_READER(read_audience_terms);
FIELD_READER(read_asset_kind);
FIELD_READER(read_shares);
FIELD_READER(read_between);
/* Id paths of exchanges that name none. */
void reader_set_default_ids(struct catalog_reader *reader);
/* Largest remainder: out sums to total exactly and follows the weights. False when they sum to 0.
 */
bool share_out(const int64_t *weights, uint32_t count, uint32_t total, uint32_t *out);

/* --- catalog_check.c, catalog_check_line.c, catalog_check_share.c --- */
void reader_check(struct catalog_reader *reader);
void reader_check_budgets(struct catalog_reader *reader);
/* What names a budget in Redis. */
uint32_t reader_budget_ref(struct str name, bool impressions);
void reader_check_lines(struct catalog_reader *reader);
void reader_check_creatives(struct catalog_reader *reader);
void reader_check_rotations(struct catalog_reader *reader);
void reader_check_swaps(struct catalog_reader *reader);
/* The member of an entity's object, or the object where the member is absent: where to point. */
const struct json_value *reader_at(const struct catalog_reader *reader, enum entity_kind kind,
                                   uint32_t index, const char *member);

/* --- catalog_build.c --- */
/* Caps onto entities and lines; before the checks, which look at them. */
void reader_build_caps(struct catalog_reader *reader);
/* Flights of lines, budgets, deals' lines. */
void reader_build_lines(struct catalog_reader *reader);
/* Lookups, cap book, indexes; only for a catalog without errors. */
enum status reader_finish(struct catalog_reader *reader) MUST_USE;

/* --- for tests --- */
/* catalog_load with a limit for the snapshot's and for the scratch memory. */
enum status catalog_load_within(struct str text, const struct catalog *previous,
                                uint64_t generation, size_t snapshot_bytes, size_t scratch_bytes,
                                struct catalog **out, struct problem_list *problems) MUST_USE;
