/* Every problem the loader knows, with its place and its text: tests/data/catalog/problems.txt.
 * Also what no file can show: cuts at every byte, memory that runs out, limits. */
#include "bidder/catalog_reader.h"

#include "tests/test.h"
#include "tests/unit/catalog_text.h"

#define BASE "tests/data/catalog/base.json"

/* --- the cases ------------------------------------------------------------------------------ */

static struct str replace_once(struct str text, struct str find, struct str with, struct buf *out)
{
    for (size_t i = 0; i + find.len <= text.len; i++) {
        if (memcmp(text.ptr + i, find.ptr, find.len) == 0) {
            buf_put(out, text.ptr, i);
            buf_put_str(out, with);
            buf_put(out, text.ptr + i + find.len, text.len - i - find.len);
            return buf_str(out);
        }
    }
    return STR_NONE;
}

struct problem_case {
    struct str name, find, with;
    struct buf say;
    bool says_error;
};

static void run_case(const struct problem_case *test, struct str base)
{
    struct buf text;
    struct loaded loaded;
    buf_init(&text, 1u << 20);
    struct str changed = replace_once(base, test->find, test->with, &text);
    if (!changed.ptr) {
        TEST_FAIL("[%.*s] finds nothing to change", STR_ARG(test->name));
        buf_deinit(&text);
        return;
    }
    load_text(&loaded, changed);
    if (!str_eq(loaded.printed, buf_str(&test->say))) {
        TEST_FAIL("[%.*s] says\n%.*sexpected\n%.*s", STR_ARG(test->name), STR_ARG(loaded.printed),
                  STR_ARG(buf_str(&test->say)));
    }
    if (loaded.status != (test->says_error ? STATUS_INVALID : STATUS_OK)) {
        TEST_FAIL("[%.*s] status %s", STR_ARG(test->name), status_name(loaded.status));
    }
    CHECK_INT(loaded.problems.error_count > 0, test->says_error);
    CHECK_INT(loaded.catalog == NULL, test->says_error);
    unload(&loaded);
    buf_deinit(&text);
}

static struct str behind(struct str line, size_t prefix)
{
    return (struct str){line.ptr + prefix, line.len - prefix};
}

TEST(every_problem_has_its_place_and_text)
{
    struct buf base, cases;
    buf_init(&base, 1u << 20);
    buf_init(&cases, 1u << 20);
    struct str text = read_whole_file(BASE, &base);
    struct str rest = read_whole_file("tests/data/catalog/problems.txt", &cases);
    struct problem_case test = {.name = STR_NONE};
    buf_init(&test.say, 65536);
    int run = 0;
    while (rest.len) {
        struct str line = str_cut(&rest, '\n');
        if (str_starts(line, STR("["))) {
            test.name = (struct str){line.ptr + 1, line.len - 2};
            test.find = test.with = STR_NONE;
            test.says_error = false;
            buf_reset(&test.say);
        } else if (str_starts(line, STR("find "))) {
            test.find = behind(line, 5);
        } else if (str_starts(line, STR("with "))) {
            test.with = behind(line, 5);
        } else if (str_starts(line, STR("say "))) {
            buf_printf(&test.say, "f:%.*s\n", STR_ARG(behind(line, 4)));
            test.says_error = test.says_error || strstr(line.ptr, ": error: ") < rest.ptr;
        }
        bool last = !rest.len || rest.ptr[0] == '[' || rest.ptr[0] == '#';
        if (last && test.find.len) {
            run_case(&test, text);
            test.find.len = 0;
            run++;
        }
    }
    CHECK(run > 100);
    buf_deinit(&test.say);
    buf_deinit(&base);
    buf_deinit(&cases);
}

TEST(base_is_good)
{
    struct loaded loaded;
    load_file(&loaded, BASE);
    CHECK_INT(loaded.status, STATUS_OK);
    CHECK_STR(loaded.printed, "");
    unload(&loaded);
}

/* --- cuts, limits, memory ------------------------------------------------------------------- */

static void cut_everywhere(const char *path, size_t step)
{
    struct buf file;
    buf_init(&file, 1u << 20);
    struct str text = read_whole_file(path, &file);
    while (text.len && text.ptr[text.len - 1] == '\n') {
        text.len--;
    }
    for (size_t length = 0; length < text.len; length += step) {
        struct loaded loaded;
        load_text(&loaded, (struct str){text.ptr, length});
        if (loaded.status != STATUS_INVALID || loaded.problems.error_count != 1) {
            TEST_FAIL("%s cut at %zu: %s", path, length, status_name(loaded.status));
        }
        unload(&loaded);
    }
    buf_deinit(&file);
}

TEST(cut_at_every_byte_never_loads)
{
    cut_everywhere(BASE, 1);
    cut_everywhere("deploy/catalog.json", 1);
}

/* One byte changed, anywhere: loads or says why, and never crashes. Not every change is wrong. */
TEST(changed_bytes_never_crash)
{
    struct buf file;
    buf_init(&file, 1u << 20);
    struct str text = read_whole_file(BASE, &file);
    static const char instead[] = {'"', '{', ']', ',', '9', 'x', ' ', '\\', '\0', (char)0xff};
    for (size_t i = 0; i < text.len; i++) {
        char before = file.data[i];
        file.data[i] = instead[i % sizeof(instead)];
        struct loaded loaded;
        load_text(&loaded, text);
        CHECK(loaded.status == STATUS_OK || loaded.status == STATUS_INVALID);
        CHECK_INT(loaded.status == STATUS_INVALID, loaded.problems.error_count > 0);
        unload(&loaded);
        file.data[i] = before;
    }
    buf_deinit(&file);
}

static enum status load_within(struct str text, size_t snapshot_bytes, size_t scratch_bytes)
{
    struct arena arena;
    struct problem_list problems;
    struct catalog *catalog = NULL;
    CHECK(arena_init(&arena, 4096, 1u << 20));
    problem_list_init(&problems, &arena);
    enum status status =
        catalog_load_within(text, NULL, 1, snapshot_bytes, scratch_bytes, &catalog, &problems);
    CHECK_INT(status == STATUS_OK, catalog != NULL);
    CHECK_INT(problems.error_count, 0);
    catalog_release(&catalog);
    problem_list_deinit(&problems);
    arena_deinit(&arena);
    return status;
}

/* Memory that runs out at any point is no problem of the file, leaks nothing and builds nothing. */
TEST(memory_runs_out)
{
    struct buf file;
    buf_init(&file, 1u << 20);
    struct str text = read_whole_file("deploy/catalog.json", &file);
    const size_t plenty = 64u << 20;
    CHECK_INT(load_within(text, plenty, plenty), STATUS_OK);
    for (size_t bytes = 64; bytes < 200000; bytes += bytes < 4096 ? 64 : 1500) {
        enum status snapshot = load_within(text, bytes, plenty);
        enum status scratch = load_within(text, plenty, bytes);
        CHECK(snapshot == STATUS_NO_MEMORY || snapshot == STATUS_OK);
        CHECK(scratch == STATUS_NO_MEMORY || scratch == STATUS_OK);
    }
    CHECK_INT(load_within(text, 1000, plenty), STATUS_NO_MEMORY);
    CHECK_INT(load_within(text, plenty, 1000), STATUS_NO_MEMORY);
    buf_deinit(&file);
}

TEST(problems_are_limited_and_errors_first)
{
    struct buf text;
    struct loaded loaded;
    buf_init(&text, 1u << 24);
    BUF_PUT_LITERAL(&text, "{\"timezone\":\"UTC\",\"currency\":\"CNY\",\"frequency_caps\":[\n");
    for (int i = 0; i < 3000; i++) { /* unused: a warning each */
        buf_printf(&text, "{\"id\":\"c%d\",\"max\":1,\"window\":\"lifetime\"},\n", i);
    }
    for (int i = 0; i < 3000; i++) { /* and an error each */
        buf_printf(&text, "{\"id\":\"e%d\",\"max\":-1,\"window\":\"lifetime\"}%s\n", i,
                   i == 2999 ? "]}" : ",");
    }
    load_text(&loaded, buf_str(&text));
    CHECK_INT(loaded.status, STATUS_INVALID);
    CHECK_INT(loaded.problems.count, 1000);
    CHECK_INT(loaded.problems.error_count, 3000);
    CHECK(loaded.problems.dropped >= 5000);
    uint32_t errors = 0, line = 0;
    for (uint32_t i = 0; i < loaded.problems.count; i++) {
        errors += loaded.problems.items[i].severity == PROBLEM_ERROR;
        CHECK(loaded.problems.items[i].line >= line);
        line = loaded.problems.items[i].line;
    }
    CHECK(errors >= 750);
    unload(&loaded);
    buf_deinit(&text);
}

TEST(guesses_at_ids_are_bounded)
{
    struct buf text;
    struct loaded loaded;
    buf_init(&text, 1u << 26);
    BUF_PUT_LITERAL(&text,
                    "{\"timezone\":\"UTC\",\"currency\":\"CNY\",\"exchanges\":[{\"id\":\"x\"}],"
                    "\"deals\":[");
    for (int i = 0; i < 20000; i++) {
        buf_printf(&text,
                   "%s{\"id\":\"deal-%06d\",\"exchange\":\"x\",\"buying\":\"pd\",\"owner\":"
                   "\"brand-%d\"}",
                   i ? "," : "", i, i);
    }
    BUF_PUT_LITERAL(&text, "],\"rotations\":[{\"id\":\"r\",\"brands\":[],\"deals\":[");
    for (int i = 0; i < 3000; i++) {
        buf_printf(&text, "%s\"deal_%06d\"", i ? "," : "", i);
    }
    BUF_PUT_LITERAL(&text, "]}]}");
    load_text(&loaded, buf_str(&text));
    CHECK_INT(loaded.status, STATUS_INVALID);
    CHECK(loaded.problems.error_count >= 23000);
    unload(&loaded);
    buf_deinit(&text);
}

TEST(problems_as_json)
{
    struct loaded loaded;
    struct buf out;
    buf_init(&out, 65536);
    load_text(&loaded, STR("{\"timezone\":\"UTC\",\n \"a\\\"b\": 1}"));
    problem_list_print_json(&loaded.problems, &out);
    CHECK_STR(buf_str(&out),
              "{\"errors\":2,\"dropped\":0,\"problems\":["
              "{\"severity\":\"error\",\"line\":1,\"column\":1,\"pointer\":\"\",\"text\":"
              "\"\\\"currency\\\" is missing: of every amount in the file\"},"
              "{\"severity\":\"error\",\"line\":2,\"column\":2,\"pointer\":\"/a\\\"b\",\"text\":"
              "\"unknown field \\\"a\\\\\\\"b\\\"\"}]}");
    unload(&loaded);
    buf_deinit(&out);
}

TEST(a_text_has_an_end)
{
    for (int more = 0; more < 2; more++) {
        struct loaded loaded;
        struct buf text;
        buf_init(&text, 1 << 20);
        BUF_PUT_LITERAL(&text, "{\"timezone\":\"UTC\",\"currency\":\"CNY\",\"$schema\":\"");
        for (int i = 0; i < 65536 + more; i++) {
            buf_put_char(&text, 'x');
        }
        BUF_PUT_LITERAL(&text, "\"}");
        load_text(&loaded, buf_str(&text));
        CHECK_INT((int)loaded.problems.error_count, more);
        if (loaded.problems.error_count) {
            CHECK(str_starts(loaded.problems.items[0].text, STR("expected a text of 1 to 65536")));
        }
        unload(&loaded);
        buf_deinit(&text);
    }
}

/* Found by search: the budgets' names hash alike, the lines' ids do not. */
TEST(budgets_whose_hashes_meet_are_refused)
{
    static const char text[] =
        "{\"timezone\":\"UTC\",\"currency\":\"CNY\",\"advertisers\":[{\"id\":\"a\",\"domain\":"
        "\"a.example\",\"brands\":[{\"id\":\"b\"}]}],\"creatives\":[{\"id\":\"c\",\"type\":"
        "\"banner\",\"w\":1,\"h\":1,\"image\":\"https://c.example/i\",\"landing\":"
        "\"https://a.example/\"}],\"campaigns\":[{\"id\":\"k\",\"brand\":\"b\",\"start\":"
        "\"2026-01-01\",\"end\":\"2100-01-01\",\"line_items\":[{\"id\":\"b77555\",\"buying\":"
        "\"rtb\",\"bid_cpm\":1,\"creatives\":[\"c\"],\"budget\":{\"total\":5}},{\"id\":"
        "\"b183600\",\"buying\":\"rtb\",\"bid_cpm\":1,\"creatives\":[\"c\"],\"budget\":"
        "{\"total\":5}}]}]}";
    struct loaded loaded;
    CHECK_INT(cap_ref32(STR("line:b77555")), cap_ref32(STR("line:b183600")));
    load_text(&loaded, str_from(text));
    CHECK_INT(loaded.status, STATUS_INVALID);
    CHECK_INT(loaded.problems.count, 1);
    if (loaded.problems.count) {
        CHECK_STR(loaded.problems.items[0].pointer, "/campaigns/0/line_items/1/budget");
        CHECK(str_starts(
            loaded.problems.items[0].text,
            STR("the hash of the budget \"line:b183600\" meets that of \"line:b77555\"")));
    }
    unload(&loaded);
}

/* Found by search: both pairs hash alike. */
TEST(ids_whose_hashes_meet_are_refused)
{
    char first[32], second[32];
    static struct {
        uint32_t ref;
        int number;
    } table[1 << 16];
    bool found = false;
    for (int i = 1; i < 60000 && !found; i++) {
        snprintf(first, sizeof(first), "b%d", i);
        uint32_t ref = cap_ref24(str_from(first));
        uint32_t at = ref & 0xffff;
        while (table[at].number && table[at].ref != ref) {
            at = (at + 1) & 0xffff;
        }
        if (table[at].number) {
            snprintf(second, sizeof(second), "b%d", table[at].number);
            found = true;
        }
        table[at].ref = ref;
        table[at].number = i;
    }
    CHECK(found);
    struct buf text;
    struct loaded loaded;
    buf_init(&text, 4096);
    buf_printf(
        &text,
        "{\"timezone\":\"UTC\",\"currency\":\"CNY\",\"advertisers\":[{\"id\":\"a\",\"domain\":"
        "\"a.example\",\"brands\":[{\"id\":\"%s\"},{\"id\":\"%s\"}]}]}",
        second, first);
    load_text(&loaded, buf_str(&text));
    CHECK_INT(loaded.status, STATUS_INVALID);
    CHECK_INT(loaded.problems.count, 1);
    if (loaded.problems.count) {
        CHECK_STR(loaded.problems.items[0].pointer, "/advertisers/0/brands/1/id");
        CHECK(str_starts(loaded.problems.items[0].text,
                         STR("the hash of this brand's id meets that of \"b")));
    }
    unload(&loaded);
    buf_deinit(&text);
}
