/* Compiling templates. Only when a worker starts, so it is written for plainness. */
#include "bidder/markup_template.h"

#include "bidder/base/bug.h"

#define MARK '\x01'

static bool put_literal(struct str text, enum markup_form form, struct arena *arena,
                        struct str *literal)
{
    struct buf escaped;
    buf_init(&escaped, 6 * text.len);
    form == MARKUP_JSON ? buf_put_json_escaped(&escaped, text) : buf_put_str(&escaped, text);
    bool ok = !buf_failed(&escaped);
    *literal = ok ? arena_strdup(arena, buf_str(&escaped)) : STR_NONE;
    buf_deinit(&escaped);
    return literal->ptr != NULL;
}

static bool compile(struct str text, enum markup_form form, struct arena *arena,
                    struct markup_template *template)
{
    uint32_t hole_count = 0;
    for (size_t i = 0; i < text.len; i++) {
        hole_count += text.ptr[i] == MARK;
    }
    struct str *literals = arena_calloc(arena, hole_count + 1, sizeof(*literals));
    enum markup_hole *holes = arena_calloc(arena, hole_count + 1, sizeof(*holes));
    if (!literals || !holes) {
        return false;
    }
    *template = (struct markup_template){literals, holes, hole_count};
    for (uint32_t i = 0; i < hole_count; i++) {
        struct str literal = str_cut(&text, MARK);
        BUG_ON(!text.len || text.ptr[0] < 'A' || text.ptr[0] >= 'A' + HOLE_COUNT);
        holes[i] = (enum markup_hole)(text.ptr[0] - 'A');
        text = (struct str){text.ptr + 1, text.len - 1};
        if (!put_literal(literal, form, arena, &literals[i])) {
            return false;
        }
    }
    return put_literal(text, form, arena, &literals[hole_count]);
}

bool markup_template_compile(const struct buf *text, struct arena *arena,
                             struct markup_template forms[MARKUP_FORM_COUNT])
{
    return !buf_failed(text) && compile(buf_str(text), MARKUP_PLAIN, arena, &forms[MARKUP_PLAIN]) &&
           compile(buf_str(text), MARKUP_JSON, arena, &forms[MARKUP_JSON]);
}
