/* Finds the ids in JSON and protobuf bid requests and overwrites them.
 *
 *   file --find slots--> body with slots --put behind a head--> one HTTP request, sent as it is
 *
 * A person has one value per id field, so a person drawn twice is the same device to the bidder. An
 * id that is empty or all zeros stays: that request means to have none. */
#include "bench/load/template.h"

#include <dirent.h>
#include <sys/stat.h>

#include "bench/load/json_walk.h"
#include "bench/load/pb.h"
#include "bidder/base/buf.h"
#include "bidder/base/bug.h"
#include "bidder/base/prng.h"

#define REQUEST_ID_WIDTH 16 /* shorter ids are widened, so that they stay unique */
#define IP_WIDTH         15
#define FIELD_REQUEST    0
#define FIELD_IP         1
#define FIELD_EID        64 /* and on, one for each */

struct id_field {
    const char *path;
    uint8_t field;
    uint8_t message; /* protobuf: field number of device or user in the request */
    uint8_t number;  /* and of the id in it */
};

static const struct id_field id_fields[] = {
    {"device.ip", FIELD_IP, 5, 3}, {"device.ifa", TEMPLATE_FIELD_IFA, 5, 20},
    {"device.didmd5", 3, 5, 6},    {"device.didsha1", 4, 5, 5},
    {"device.dpidmd5", 5, 5, 8},   {"device.dpidsha1", 6, 5, 7},
    {"device.macmd5", 7, 5, 22},   {"device.macsha1", 8, 5, 21},
    {"device.ext.oaid", 9, 0, 0},  {"device.ext.caid", 10, 0, 0},
    {"device.ext.ifv", 11, 0, 0},  {"device.ext.idfv", 12, 0, 0},
    {"device.ext.imei", 13, 0, 0}, {"device.ext.androidid", 14, 0, 0},
    {"user.id", 15, 6, 1},         {"user.buyeruid", 16, 6, 2},
    {"user.ext.id", 17, 0, 0},
};

/* Where the ids stand in a body. */
struct found {
    struct str body;
    unsigned count;
    struct template_slot slots[TEMPLATE_SLOTS];
    unsigned eids;
};

static bool means_no_id(struct str value)
{
    for (size_t i = 0; i < value.len; i++) {
        if (value.ptr[i] != '0' && value.ptr[i] != '-') {
            return false;
        }
    }
    return true;
}

static void found_add(struct found *found, struct str value, uint8_t field)
{
    if (found->count == TEMPLATE_SLOTS || value.len > 1024) {
        return;
    }
    if (field != FIELD_REQUEST && means_no_id(value)) {
        return;
    }
    if (field == FIELD_IP && !memchr(value.ptr, '.', value.len)) {
        return;
    }
    bool is_uuid = value.len == 36 && value.ptr[8] == '-' && value.ptr[23] == '-';
    found->slots[found->count++] =
        (struct template_slot){.offset = (uint32_t)(value.ptr - found->body.ptr),
                               .width = (uint16_t)value.len,
                               .style = field == FIELD_IP ? SLOT_IP
                                        : is_uuid         ? SLOT_UUID
                                                          : SLOT_HEX,
                               .field = field};
}

static void on_json_scalar(void *context, const struct json_scalar *scalar)
{
    struct found *found = context;
    if (scalar->kind != JSON_STRING) {
        return;
    }
    if (json_path_is(scalar, "id")) {
        found_add(found, scalar->value, FIELD_REQUEST);
        return;
    }
    for (size_t i = 0; i < COUNT_OF(id_fields); i++) {
        if (json_path_is(scalar, id_fields[i].path)) {
            found_add(found, scalar->value, id_fields[i].field);
            return;
        }
    }
    if (json_path_is(scalar, "user.eids.[].uids.[].id") ||
        json_path_is(scalar, "user.ext.eids.[].uids.[].id")) {
        found_add(found, scalar->value, (uint8_t)(FIELD_EID + found->eids++ % 64));
    }
}

static bool find_in_protobuf(struct found *found)
{
    struct str rest = found->body;
    struct pb_field outer, inner;
    while (rest.len) {
        if (!pb_next(&rest, &outer)) {
            return false;
        }
        if (outer.number == 1) {
            found_add(found, outer.bytes, FIELD_REQUEST);
        }
        struct str message = outer.bytes;
        while ((outer.number == 5 || outer.number == 6) && message.len) {
            if (!pb_next(&message, &inner)) {
                return false;
            }
            for (size_t i = 0; i < COUNT_OF(id_fields); i++) {
                bool is_it =
                    id_fields[i].message == outer.number && id_fields[i].number == inner.number;
                if (is_it && (id_fields[i].field != FIELD_IP || inner.bytes.len == IP_WIDTH)) {
                    found_add(found, inner.bytes, id_fields[i].field);
                }
            }
        }
    }
    return true;
}

static uint16_t final_width(const struct template_slot *slot)
{
    if (slot->style == SLOT_IP) {
        return IP_WIDTH;
    }
    bool is_narrow = slot->field == FIELD_REQUEST && slot->width < REQUEST_ID_WIDTH;
    return is_narrow ? REQUEST_ID_WIDTH : slot->width;
}

/* The body with room for widened ids, behind its HTTP head. */
static enum status build(struct template *item, struct found *found, struct str head,
                         struct buf *scratch)
{
    struct buf *out = scratch;
    size_t widened = 0, at = 0;
    for (unsigned i = 0; i < found->count; i++) {
        widened += (size_t)final_width(&found->slots[i]) - found->slots[i].width;
    }
    buf_reset(out);
    buf_put_str(out, head);
    buf_printf(out, "Content-Length: %zu\r\n\r\n", found->body.len + widened);
    item->body_offset = out->len;
    for (unsigned i = 0; i < found->count; i++) {
        struct template_slot slot = found->slots[i];
        buf_put(out, found->body.ptr + at, slot.offset - at);
        at = slot.offset + slot.width;
        slot.offset = (uint32_t)out->len;
        slot.width = final_width(&slot);
        for (unsigned k = 0; k < slot.width; k++) {
            buf_put_char(out, '0');
        }
        item->slots[item->slot_count++] = slot;
    }
    buf_put(out, found->body.ptr + at, found->body.len - at);
    item->bytes = buf_failed(out) ? NULL : malloc(out->len);
    if (!item->bytes) {
        return STATUS_NO_MEMORY;
    }
    memcpy(item->bytes, out->data, out->len);
    item->len = out->len;
    return STATUS_OK;
}

static enum status read_file(const char *path, struct buf *into)
{
    FILE *file = fopen(path, "rb");
    if (!file) {
        perror(path);
        return STATUS_IO;
    }
    buf_reset(into);
    size_t got = 1;
    while (got && !buf_failed(into)) {
        char *room = buf_reserve(into, 65536);
        got = room ? fread(room, 1, 65536, file) : 0;
        into->len += got;
    }
    bool is_bad = ferror(file) || buf_failed(into) || !into->len;
    fclose(file);
    if (is_bad) {
        fprintf(stderr, "jointcap-load: %s: empty, unreadable or larger than %d bytes\n", path,
                TEMPLATE_BODY_MAX);
    }
    return is_bad ? STATUS_INVALID : STATUS_OK;
}

struct loader {
    struct templates *templates;
    const struct options *options;
    struct str host;
    struct str path;
    struct buf body;
    struct buf head;
    struct buf out;
};

static bool ends_with(const char *text, const char *end)
{
    size_t text_len = strlen(text), end_len = strlen(end);
    return text_len >= end_len && memcmp(text + text_len - end_len, end, end_len) == 0;
}

static void put_head(struct loader *loader, const char *content_type)
{
    struct buf *head = &loader->head;
    buf_reset(head);
    buf_printf(head, "POST %.*s HTTP/1.1\r\nHost: %.*s\r\nContent-Type: %s\r\n",
               STR_ARG(loader->path), STR_ARG(loader->host), content_type);
    for (unsigned i = 0; i < loader->options->headers.count; i++) {
        buf_printf(head, "%s\r\n", loader->options->headers.items[i]);
    }
}

static enum status add_picks(struct templates *templates, unsigned weight)
{
    for (unsigned i = 0; i < weight; i++) {
        if (templates->pick_count == TEMPLATE_PICKS_MAX) {
            fputs("jointcap-load: too many bodies or weights\n", stderr);
            return STATUS_LIMIT;
        }
        templates->picks[templates->pick_count++] = templates->count;
    }
    templates->count++;
    return STATUS_OK;
}

static enum status add_file(struct loader *loader, const char *path, unsigned weight)
{
    struct templates *templates = loader->templates;
    enum status status = read_file(path, &loader->body);
    if (status != STATUS_OK) {
        return status;
    }
    bool is_protobuf = ends_with(path, ".pb");
    struct found found = {.body = buf_str(&loader->body)};
    bool is_good =
        is_protobuf ? find_in_protobuf(&found) : json_walk(found.body, on_json_scalar, &found);
    if (!is_good) {
        fprintf(stderr, "jointcap-load: %s is no %s object\n", path,
                is_protobuf ? "protobuf" : "JSON");
        return STATUS_INVALID;
    }
    for (unsigned i = 0; is_protobuf && i < found.count; i++) {
        if (found.slots[i].field == FIELD_REQUEST && found.slots[i].width < REQUEST_ID_WIDTH) {
            fprintf(stderr, "jointcap-load: %s: a protobuf request id needs %d characters\n", path,
                    REQUEST_ID_WIDTH);
            return STATUS_INVALID;
        }
    }
    const char *type = loader->options->content_type;
    put_head(loader, type ? type : is_protobuf ? "application/x-protobuf" : "application/json");
    struct template *grown =
        realloc(templates->items, (templates->count + 1) * sizeof(*templates->items));
    if (!grown) {
        return STATUS_NO_MEMORY;
    }
    templates->items = grown;
    struct template *item = &templates->items[templates->count];
    *item = (struct template){0};
    status = build(item, &found, buf_str(&loader->head), &loader->out);
    if (status != STATUS_OK) {
        return status;
    }
    bool has_person = false, has_request = false;
    for (unsigned i = 0; i < item->slot_count; i++) {
        has_request |= item->slots[i].field == FIELD_REQUEST;
        has_person |= item->slots[i].field > FIELD_IP;
    }
    templates->with_request_id += has_request;
    templates->with_person += has_person;
    templates->longest = item->len > templates->longest ? item->len : templates->longest;
    return add_picks(templates, weight);
}

static enum status add_folder(struct loader *loader, const char *path, unsigned weight)
{
    struct dirent **entries;
    int count = scandir(path, &entries, NULL, alphasort);
    if (count < 0) {
        perror(path);
        return STATUS_IO;
    }
    enum status status = STATUS_OK;
    for (int i = 0; i < count; i++) {
        const char *name = entries[i]->d_name;
        char full[4096 + 256 + 2];
        snprintf(full, sizeof(full), "%s/%s", path, name);
        if (status == STATUS_OK && (ends_with(name, ".json") || ends_with(name, ".pb"))) {
            status = add_file(loader, full, weight);
        }
        free(entries[i]);
    }
    free(entries);
    return status;
}

/* PATH or PATH=WEIGHT */
static enum status add_item(struct loader *loader, const char *text)
{
    char path[4096];
    snprintf(path, sizeof(path), "%s", text);
    int64_t weight = 1;
    char *equals = strrchr(path, '=');
    if (equals && str_to_i64(str_from(equals + 1), &weight)) {
        *equals = '\0';
    }
    if (weight < 1 || weight > 100) {
        fprintf(stderr, "jointcap-load: the weight in \"%s\" is not 1 to 100\n", text);
        return STATUS_INVALID;
    }
    struct stat info;
    bool is_folder = stat(path, &info) == 0 && S_ISDIR(info.st_mode);
    return is_folder ? add_folder(loader, path, (unsigned)weight)
                     : add_file(loader, path, (unsigned)weight);
}

enum status templates_load(struct templates *templates, const struct options *options,
                           struct str host, struct str path)
{
    *templates = (struct templates){.picks = malloc(TEMPLATE_PICKS_MAX * sizeof(uint32_t))};
    struct loader loader = {.templates = templates, .options = options, .host = host, .path = path};
    buf_init(&loader.body, TEMPLATE_BODY_MAX);
    buf_init(&loader.head, 65536);
    buf_init(&loader.out, 2 * TEMPLATE_BODY_MAX);
    enum status status = templates->picks ? STATUS_OK : STATUS_NO_MEMORY;
    for (unsigned i = 0; status == STATUS_OK && i < options->bodies.count; i++) {
        status = add_item(&loader, options->bodies.items[i]);
    }
    if (status == STATUS_OK && !templates->count) {
        fputs("jointcap-load: no *.json or *.pb in the folders given\n", stderr);
        status = STATUS_INVALID;
    }
    buf_deinit(&loader.body);
    buf_deinit(&loader.head);
    buf_deinit(&loader.out);
    return status;
}

void templates_deinit(struct templates *templates)
{
    for (unsigned i = 0; i < templates->count; i++) {
        free(templates->items[i].bytes);
    }
    free(templates->items);
    free(templates->picks);
    *templates = (struct templates){0};
}

static void put_hex(char *out, unsigned width, uint64_t seed)
{
    static const char digits[] = "0123456789abcdef";
    for (unsigned done = 0; done < width; done += 16) {
        uint64_t word = prng_mix(seed + done * 0x9e3779b97f4a7c15ull);
        unsigned end = width - done < 16 ? width : done + 16;
        for (unsigned i = done; i < end; i++) {
            out[i] = digits[word >> 60];
            word <<= 4;
        }
    }
}

/* Each part 100 to 199, so that the width is fixed. */
static void put_ip(char *out, uint64_t seed)
{
    uint64_t word = prng_mix(seed);
    for (unsigned part = 0; part < 4; part++, word >>= 16) {
        char *at = out + part * 4;
        at[0] = '1';
        at[1] = (char)('0' + (word & 0xff) % 10);
        at[2] = (char)('0' + ((word >> 8) & 0xff) % 10);
        if (part < 3) {
            at[3] = '.';
        }
    }
}

void template_patch(struct template *item, uint64_t request, uint64_t person, uint64_t salt)
{
    uint64_t person_seed = prng_mix(person + salt * 0x9e3779b97f4a7c15ull);
    for (unsigned i = 0; i < item->slot_count; i++) {
        const struct template_slot *slot = &item->slots[i];
        char *out = item->bytes + slot->offset;
        /* prng_mix is a bijection: request numbers that differ give ids that differ. */
        uint64_t seed =
            slot->field == FIELD_REQUEST ? request : person_seed + slot->field * 0xd1b54a32d192ull;
        if (slot->style == SLOT_IP) {
            put_ip(out, seed);
            continue;
        }
        put_hex(out, slot->width, seed);
        if (slot->style == SLOT_UUID) {
            out[8] = out[13] = out[18] = out[23] = '-';
        }
    }
}
