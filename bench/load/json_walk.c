/* A walker over JSON text without recursion or allocation: a stack of open containers, each with
 * the key it stands under.
 *
 *   value --{ or [--> push --...--> value
 *     |                               ^ , (and key)
 *     +--scalar--> callback ----------+--} or ]--> pop
 */
#include "bench/load/json_walk.h"

#include <string.h>

struct walk {
    const char *at;
    const char *end;
    unsigned depth;
    unsigned objects;
    unsigned object_of[JSON_WALK_DEPTH + 1]; /* number of the object open at this depth */
    bool is_object[JSON_WALK_DEPTH + 1];
    struct str path[JSON_WALK_DEPTH + 1];
    json_scalar_fn on_scalar;
    void *context;
};

static void skip_space(struct walk *walk)
{
    while (walk->at < walk->end &&
           (*walk->at == ' ' || *walk->at == '\n' || *walk->at == '\t' || *walk->at == '\r')) {
        walk->at++;
    }
}

/* At the opening quote; leaves the position behind the closing one. */
static bool take_string(struct walk *walk, struct str *text)
{
    const char *start = ++walk->at;
    while (walk->at < walk->end) {
        const char *quote = memchr(walk->at, '"', (size_t)(walk->end - walk->at));
        if (!quote) {
            return false;
        }
        const char *slash = quote;
        while (slash > start && slash[-1] == '\\') {
            slash--;
        }
        walk->at = quote + 1;
        if ((quote - slash) % 2 == 0) {
            *text = (struct str){.ptr = start, .len = (size_t)(quote - start)};
            return true;
        }
    }
    return false;
}

static bool take_key(struct walk *walk)
{
    skip_space(walk);
    if (walk->at >= walk->end || *walk->at != '"' ||
        !take_string(walk, &walk->path[walk->depth - 1])) {
        return false;
    }
    skip_space(walk);
    if (walk->at >= walk->end || *walk->at != ':') {
        return false;
    }
    walk->at++;
    return true;
}

static void give(struct walk *walk, enum json_kind kind, struct str value)
{
    struct json_scalar scalar = {.kind = kind,
                                 .value = value,
                                 .depth = walk->depth,
                                 .path = walk->path,
                                 .element = walk->object_of[walk->depth]};
    walk->on_scalar(walk->context, &scalar);
}

static bool take_scalar(struct walk *walk)
{
    struct str value;
    if (*walk->at == '"') {
        if (!take_string(walk, &value)) {
            return false;
        }
        give(walk, JSON_STRING, value);
        return true;
    }
    const char *start = walk->at;
    while (walk->at < walk->end && !memchr(",]} \n\t\r", *walk->at, 7)) {
        walk->at++;
    }
    value = (struct str){.ptr = start, .len = (size_t)(walk->at - start)};
    bool number = value.len && (*start == '-' || (*start >= '0' && *start <= '9'));
    give(walk, number ? JSON_NUMBER : JSON_OTHER, value);
    return value.len > 0;
}

static bool open_container(struct walk *walk)
{
    if (walk->depth >= JSON_WALK_DEPTH) {
        return false;
    }
    bool is_object = *walk->at++ == '{';
    unsigned parent = walk->object_of[walk->depth];
    walk->depth++;
    walk->is_object[walk->depth] = is_object;
    walk->object_of[walk->depth] = is_object ? ++walk->objects : parent;
    walk->path[walk->depth - 1] = STR_NONE;
    return true;
}

/* Behind a value: closes what ends here; leaves the position at the next value, or depth 0. */
static bool step_on(struct walk *walk)
{
    while (walk->depth) {
        skip_space(walk);
        if (walk->at >= walk->end) {
            return false;
        }
        char c = *walk->at++;
        if (c == ',') {
            return !walk->is_object[walk->depth] || take_key(walk);
        }
        if (c != (walk->is_object[walk->depth] ? '}' : ']')) {
            return false;
        }
        walk->depth--;
    }
    return true;
}

bool json_walk(struct str text, json_scalar_fn on_scalar, void *context)
{
    struct walk walk = {
        .at = text.ptr, .end = text.ptr + text.len, .on_scalar = on_scalar, .context = context};
    skip_space(&walk);
    if (walk.at >= walk.end || *walk.at != '{') {
        return false;
    }
    do {
        skip_space(&walk);
        if (walk.at >= walk.end) {
            return false;
        }
        if (*walk.at == '{' || *walk.at == '[') {
            if (!open_container(&walk)) {
                return false;
            }
            skip_space(&walk);
            bool is_empty = walk.at < walk.end && (*walk.at == '}' || *walk.at == ']');
            if (!is_empty) {
                if (walk.is_object[walk.depth] && !take_key(&walk)) {
                    return false;
                }
                continue;
            }
        } else if (!take_scalar(&walk)) {
            return false;
        }
        if (!step_on(&walk)) {
            return false;
        }
    } while (walk.depth);
    return true;
}

bool json_path_is(const struct json_scalar *scalar, const char *dotted)
{
    struct str rest = str_from(dotted);
    for (unsigned i = 0; i < scalar->depth; i++) {
        if (!rest.len) {
            return false;
        }
        struct str want = str_cut(&rest, '.');
        bool is_element = str_eq(want, STR("[]"));
        if (is_element ? scalar->path[i].len != 0 : !str_eq(want, scalar->path[i])) {
            return false;
        }
    }
    return rest.len == 0;
}
