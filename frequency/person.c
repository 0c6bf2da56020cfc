/* Person ids: paths, canonical forms, keys. Pure; owns nothing.
 *
 *   value -> trim, lower-case -> known-bad? absent
 *         -> device ids: the md5 hex of it (kept when it is one already)
 *         -> HMAC(secret, space || 0 || canonical), 14 bytes, top bit set -> key
 *
 * All ids of devices share one space: a platform id that one exchange sends raw in device.ifa and
 * another as md5 in device.dpidmd5 or device.ext.oaid_md5 is one person, whatever the field is
 * called. */
#include "frequency/person.h"

#include <arpa/inet.h>

#include "bidder/base/bug.h"

#define ID_MAX_BYTES 256 /* longer values are not ids */

static const struct {
    const char *path;
    enum id_source source;
    const char *type;
    bool of_exchange; /* only meaningful inside one exchange: type@exchange */
} known_paths[] = {
    {"device.ifa", ID_DEVICE_IFA, "ifa", false},
    {"device.didmd5", ID_DEVICE_DIDMD5, "did_md5", false},
    {"device.dpidmd5", ID_DEVICE_DPIDMD5, "dpid_md5", false},
    {"device.didsha1", ID_DEVICE_DIDSHA1, "did_sha1", false},
    {"device.dpidsha1", ID_DEVICE_DPIDSHA1, "dpid_sha1", false},
    {"device.macmd5", ID_DEVICE_MACMD5, "mac_md5", false},
    {"device.macsha1", ID_DEVICE_MACSHA1, "mac_sha1", false},
    {"device.ip", ID_DEVICE_IP, "ip", false},
    {"user.id", ID_USER_ID, "user", true},
    {"user.buyeruid", ID_USER_BUYERUID, "buyeruid", true},
};

/* Types whose values name a device, apart from "x_md5" and device.ext paths. */
static const char *const device_types[] = {"ifa",  "did",  "dpid", "oaid", "caid",      "idfa",
                                           "gaid", "aaid", "imei", "mac",  "androidid", "device"};

/* What devices and SDKs send when they have no id, and the md5 of it. */
#define BAD(raw, md5)                                                                              \
    {                                                                                              \
        {raw, sizeof(raw) - 1}, md5                                                                \
    }
static const struct {
    struct str raw;
    char md5[CRYPTO_MD5_HEX + 1];
} bad_ids[] = {
    BAD("", "d41d8cd98f00b204e9800998ecf8427e"),
    BAD("0", "cfcd208495d565ef66e7dff9f98764da"),
    BAD("unknown", "ad921d60486366258809553a3db49a4a"),
    BAD("null", "37a6259cc0c1dae299a7866489dff0bd"),
    BAD("undefined", "5e543256c480ac577d30f76f9120eb74"),
    BAD("none", "334c4a4c42fdb79d7ebc3e73b517e6f8"),
    BAD("nil", "852438d026c018c4307b916406f98c62"),
    BAD("000000000000000", "5284047f4ffb4e04824a2fd1d1f0cd62"),
    BAD("0000000000000000", "1e4a1b03d1b6cd8a174a826f76e009f4"),
    BAD("00000000-0000-0000-0000-000000000000", "9f89c84a559f573636a47ff8daed0d33"),
    BAD("00000000000000000000000000000000", "cd9e459ea708a948d5c2f5a6ca8838cf"),
    BAD("02:00:00:00:00:00", "0f607264fc6318a92b9e13c65db7cd3c"),
    BAD("020000000000", "e3f5536a141811db40efd6400f1d0a4e"),
    BAD("123456789012345", "58b9b9268acaef64ac6a80b0543357e6"),
    BAD("00:00:00:00:00:00", "528c8e6cd4a3c6598999a0e9df15ad32"),
    BAD("012345678912345", "21371d265b5711b289344b479f583909"),
    BAD("9774d56d682e549c", "cf95dc53f383f9a836fd749f3ef439cd"), /* an emulator's Android id */
};
#undef BAD

static bool is_hex(struct str text)
{
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        if (!(c >= '0' && c <= '9') && !(c >= 'a' && c <= 'f')) {
            return false;
        }
    }
    return true;
}

static bool ends_with(struct str text, struct str suffix)
{
    return text.len >= suffix.len &&
           memcmp(text.ptr + text.len - suffix.len, suffix.ptr, suffix.len) == 0;
}

/* How values of a type are made canonical. */
static enum id_form form_of(struct str type)
{
    if (str_eq(type, STR("ip"))) {
        return ID_FORM_IP;
    }
    if (memchr(type.ptr, '@', type.len) || memchr(type.ptr, ':', type.len)) {
        return ID_FORM_PLAIN;
    }
    if (ends_with(type, STR("sha1"))) {
        return ID_FORM_SHA1;
    }
    if (ends_with(type, STR("md5"))) {
        return ID_FORM_DEVICE_MD5;
    }
    for (size_t i = 0; i < COUNT_OF(device_types); i++) {
        if (str_eq(type, str_from(device_types[i]))) {
            return ID_FORM_DEVICE;
        }
    }
    return ID_FORM_PLAIN;
}

/* --- paths ---------------------------------------------------------------------------------- */

/* first + second + third in the arena; ptr NULL when it is out of memory. */
static struct str join(struct arena *arena, struct str first, struct str second, struct str third)
{
    char text[3 * ID_MAX_BYTES];
    size_t len = 0;
    const struct str parts[] = {first, second, third};
    for (size_t i = 0; i < 3; i++) {
        BUG_ON(parts[i].len > ID_MAX_BYTES);
        if (parts[i].len) {
            memcpy(text + len, parts[i].ptr, parts[i].len);
            len += parts[i].len;
        }
    }
    return arena_strdup(arena, (struct str){text, len});
}

static enum status path_finish(struct id_path *path)
{
    if (!path->type.ptr || !path->argument.ptr) {
        return STATUS_NO_MEMORY;
    }
    path->form = form_of(path->type);
    return STATUS_OK;
}

/* "[source=x].uids[0].id" or "[source=x]" behind "user.eids" */
static enum status parse_eid(struct str rest, struct arena *arena, struct id_path *path)
{
    static const struct str open = {"[source=", 8};
    if (!str_starts(rest, open)) {
        return STATUS_INVALID;
    }
    rest = (struct str){rest.ptr + open.len, rest.len - open.len};
    const char *close = rest.len ? memchr(rest.ptr, ']', rest.len) : NULL;
    if (!close || close == rest.ptr) {
        return STATUS_INVALID;
    }
    struct str source = {rest.ptr, (size_t)(close - rest.ptr)};
    struct str tail = {close + 1, rest.len - source.len - 1};
    if (tail.len && !str_eq(tail, STR(".uids[0].id"))) {
        return STATUS_INVALID;
    }
    path->source = ID_USER_EID;
    path->argument = arena_strdup(arena, source);
    path->type = join(arena, STR("eid:"), source, STR_NONE);
    return path_finish(path);
}

static enum status parse_ext(struct str text, struct str exchange_id, struct arena *arena,
                             struct id_path *path)
{
    bool of_device = str_starts(text, STR("device.ext."));
    size_t prefix = of_device ? 11 : 9;
    struct str name = {text.ptr + prefix, text.len - prefix};
    if (!name.len || memchr(name.ptr, '.', name.len) || memchr(name.ptr, '[', name.len)) {
        return STATUS_INVALID;
    }
    path->source = ID_EXT;
    path->argument = arena_strdup(arena, text);
    if (of_device && ends_with(name, STR("sha1"))) {
        path->type = arena_strdup(arena, name);
    } else if (of_device) {
        bool md5 = ends_with(name, STR("md5"));
        bool caid = str_eq(name, STR("caid"));
        path->type = caid ? arena_strdup(arena, name)
                          : arena_strdup(arena, md5 ? STR("device_md5") : STR("device"));
    } else {
        path->type = join(arena, text, STR("@"), exchange_id);
    }
    return path_finish(path);
}

enum status id_path_parse(struct str text, struct str exchange_id, struct arena *arena,
                          struct id_path *path)
{
    *path = (struct id_path){.argument = STR("")};
    text = str_trim(text);
    if (text.len > ID_MAX_BYTES || exchange_id.len > ID_MAX_BYTES - 16) {
        return STATUS_INVALID;
    }
    for (size_t i = 0; i < COUNT_OF(known_paths); i++) {
        if (str_eq(text, str_from(known_paths[i].path))) {
            struct str type = str_from(known_paths[i].type);
            path->source = known_paths[i].source;
            path->type =
                known_paths[i].of_exchange ? join(arena, type, STR("@"), exchange_id) : type;
            return path_finish(path);
        }
    }
    static const struct str eids[] = {{"user.eids", 9}, {"user.ext.eids", 13}};
    for (size_t i = 0; i < COUNT_OF(eids); i++) {
        if (str_starts(text, eids[i]) && text.len > eids[i].len && text.ptr[eids[i].len] == '[') {
            return parse_eid((struct str){text.ptr + eids[i].len, text.len - eids[i].len}, arena,
                             path);
        }
    }
    if (str_starts(text, STR("device.ext.")) || str_starts(text, STR("user.ext."))) {
        return parse_ext(text, exchange_id, arena, path);
    }
    return STATUS_INVALID;
}

/* --- canonical forms ------------------------------------------------------------------------ */

/* One digit over and over (zeros, f's), apart from separators: no device has such an id. */
static bool is_one_digit(struct str id)
{
    char digit = 0;
    for (size_t i = 0; i < id.len; i++) {
        char c = id.ptr[i];
        if (c == '-' || c == ':' || c == '.') {
            continue;
        }
        if (digit && c != digit) {
            return false;
        }
        digit = c;
    }
    return digit == 0 || digit == '0' || (digit == 'f' && id.len > 4);
}

/* hashed: id is the md5 of one. */
static bool is_known_bad(struct str id, bool hashed)
{
    if (!id.len || is_one_digit(id)) {
        return true;
    }
    /* an unreplaced macro: {{ifa}}, ${IFA}, __OAID__, [IDFA] */
    if (id.ptr[0] == '{' || id.ptr[0] == '$' || id.ptr[0] == '[' ||
        (id.len > 3 && str_starts(id, STR("__")))) {
        return true;
    }
    for (size_t i = 0; i < COUNT_OF(bad_ids); i++) {
        if (hashed ? memcmp(id.ptr, bad_ids[i].md5, CRYPTO_MD5_HEX) == 0
                   : str_eq(id, bad_ids[i].raw)) {
            return true;
        }
    }
    return false;
}

/* IPv4 whole, IPv6 by its /64, which is what a household is given. Addresses that no household
 * has alone (private, cut off at the end) are absent. Returns the number of bytes, 0 = absent. */
static size_t canonical_ip(struct str text, unsigned char out[16])
{
    char copy[INET6_ADDRSTRLEN + 1];
    if (text.len >= sizeof(copy)) {
        return 0;
    }
    memcpy(copy, text.ptr, text.len);
    copy[text.len] = '\0';
    if (inet_pton(AF_INET, copy, out) == 1) {
        bool local = out[0] == 0 || out[0] == 10 || out[0] == 127 || out[0] >= 224 ||
                     (out[0] == 192 && out[1] == 168) || (out[0] == 169 && out[1] == 254) ||
                     (out[0] == 172 && (out[1] & 0xf0) == 16);
        return local || out[3] == 0 ? 0 : 4;
    }
    if (inet_pton(AF_INET6, copy, out) == 1) {
        return (out[0] & 0xe0) == 0x20 ? 8 : 0; /* 2000::/3, global unicast */
    }
    return 0;
}

static void key_make(const struct crypto_key *secret, struct str space, struct str canonical,
                     struct person_key *key)
{
    char first[ID_MAX_BYTES + 1]; /* space and its 0 */
    uint8_t mac[CRYPTO_MAC_BYTES];
    BUG_ON(space.len >= sizeof(first));
    memcpy(first, space.ptr, space.len);
    first[space.len] = '\0';
    crypto_mac2(secret, (struct str){first, space.len + 1}, canonical, mac);
    memcpy(key->bytes, mac, PERSON_KEY_BYTES);
    key->bytes[0] |= 0x80; /* what else lies in Redis has a key of ASCII */
}

/* form: of the type. False: as person_key_of. */
static bool key_of_form(const struct crypto_key *secret, struct str type, enum id_form form,
                        struct str id, struct person_key *key)
{
    char lower[ID_MAX_BYTES];
    char md5[CRYPTO_MD5_HEX];
    id = str_trim(id);
    if (!id.len || id.len > sizeof(lower)) {
        return false;
    }
    for (size_t i = 0; i < id.len; i++) {
        lower[i] = str_ascii_lower(id.ptr[i]);
    }
    id.ptr = lower;
    if (form == ID_FORM_IP) {
        unsigned char ip[16];
        size_t len = canonical_ip(id, ip);
        key_make(secret, STR("ip"), (struct str){(const char *)ip, len}, key);
        return len != 0;
    }
    /* 32 hex digits are an md5 already; only a CAID looks like that when raw. */
    bool hex32 = id.len == CRYPTO_MD5_HEX && is_hex(id);
    bool is_md5 = form == ID_FORM_DEVICE_MD5 ||
                  (form == ID_FORM_DEVICE && hex32 && !str_eq(type, STR("caid")));
    if ((form == ID_FORM_DEVICE_MD5 && !hex32) ||
        (form == ID_FORM_SHA1 && (id.len != 40 || !is_hex(id))) || is_known_bad(id, is_md5)) {
        return false;
    }
    struct str space = form == ID_FORM_SHA1 ? STR("sha1") : type;
    if (form == ID_FORM_DEVICE || form == ID_FORM_DEVICE_MD5) {
        space = STR("device");
        if (!is_md5) {
            crypto_md5_hex(id, md5);
            id = (struct str){md5, sizeof(md5)};
        }
    }
    key_make(secret, space, id, key);
    return true;
}

bool person_key_of(const struct crypto_key *secret, struct str type, struct str id,
                   struct person_key *key)
{
    return type.len && type.len <= ID_MAX_BYTES &&
           key_of_form(secret, type, form_of(type), id, key);
}

/* An OTT device may be both: its household has another record than the person. */
static void make_household(struct person_key *key)
{
    key->bytes[PERSON_KEY_BYTES - 1] ^= 0x5a;
}

bool person_household_key_of(const struct crypto_key *secret, struct str type, struct str id,
                             struct person_key *key)
{
    bool found = person_key_of(secret, type, id, key);
    make_household(key);
    return found;
}

/* --- a request ------------------------------------------------------------------------------ */

static struct str value_at(const struct id_path *path, const struct bid_request *request)
{
    const struct bidreq_device *device = &request->device;
    switch (path->source) {
    case ID_DEVICE_IFA:
        return device->ifa;
    case ID_DEVICE_DIDMD5:
        return device->didmd5;
    case ID_DEVICE_DPIDMD5:
        return device->dpidmd5;
    case ID_DEVICE_DIDSHA1:
        return device->didsha1;
    case ID_DEVICE_DPIDSHA1:
        return device->dpidsha1;
    case ID_DEVICE_MACMD5:
        return device->macmd5;
    case ID_DEVICE_MACSHA1:
        return device->macsha1;
    case ID_DEVICE_IP:
        return device->ip.len ? device->ip : device->ipv6;
    case ID_USER_ID:
        return request->user.id;
    case ID_USER_BUYERUID:
        return request->user.buyeruid;
    case ID_USER_EID:
        for (uint32_t i = 0; i < request->user.eids.count; i++) {
            if (str_eq(request->user.eids.items[i].source, path->argument)) {
                return request->user.eids.items[i].id;
            }
        }
        return STR_NONE;
    case ID_EXT:
        for (uint32_t i = 0; i < request->ext.count; i++) {
            if (str_eq(request->ext.items[i].path, path->argument)) {
                return request->ext.items[i].value;
            }
        }
        return STR_NONE;
    }
    return STR_NONE;
}

/* US Privacy String 1.0: version, notice given, opted out of sale, LSPA. */
static bool us_opted_out(struct str us_privacy)
{
    return us_privacy.len == 4 && us_privacy.ptr[0] == '1' &&
           (us_privacy.ptr[2] == 'Y' || us_privacy.ptr[2] == 'y');
}

/* A consent string under GDPR: TCF in user.consent, or inside GPP with section 2 (TCF EU v2). */
static bool has_consent_string(const struct bid_request *request)
{
    if (request->user.consent.len) {
        return true;
    }
    for (uint32_t i = 0; request->regs.gpp.len && i < request->regs.gpp_sid.count; i++) {
        if (request->regs.gpp_sid.items[i] == 2) {
            return true;
        }
    }
    return false;
}

static enum person_absence absence_of(const struct bid_request *request)
{
    const struct bidreq_regs *regs = &request->regs;
    if (regs->coppa == 1) {
        return PERSON_COPPA;
    }
    if (request->device.lmt == 1 || request->device.dnt == 1) {
        return PERSON_LMT;
    }
    if ((regs->gdpr == 1 && !has_consent_string(request)) || us_opted_out(regs->us_privacy) ||
        regs->gpc == 1) {
        return PERSON_NO_CONSENT;
    }
    return PERSON_PRESENT;
}

static bool has_key(const struct person *person, const struct person_key *key)
{
    for (uint8_t i = 0; i < person->key_count; i++) {
        if (memcmp(&person->keys[i], key, sizeof(*key)) == 0) {
            return true;
        }
    }
    return false;
}

void person_identify(const struct crypto_key *secret, const struct id_path *paths,
                     uint32_t path_count, const struct id_path *household_paths,
                     uint32_t household_count, const struct bid_request *request,
                     struct person *person)
{
    *person = (struct person){.absence = absence_of(request)};
    if (person->absence != PERSON_PRESENT) {
        return;
    }
    for (uint32_t i = 0; i < path_count && person->key_count < PERSON_MAX_KEYS; i++) {
        struct person_key key;
        struct str value = value_at(&paths[i], request);
        if (value.len && key_of_form(secret, paths[i].type, paths[i].form, value, &key) &&
            !has_key(person, &key)) {
            person->keys[person->key_count++] = key;
        }
    }
    for (uint32_t i = 0; i < household_count && !person->has_household; i++) {
        const struct id_path *path = &household_paths[i];
        struct str value = value_at(path, request);
        person->has_household =
            value.len && key_of_form(secret, path->type, path->form, value, &person->household);
        make_household(&person->household);
    }
    person->absence = person->key_count ? PERSON_PRESENT : PERSON_NO_ID;
}

const char *person_absence_name(enum person_absence absence)
{
    static const char *const names[PERSON_ABSENCE_COUNT] = {"present", "no_id", "lmt", "coppa",
                                                            "no_consent"};
    return (unsigned)absence < PERSON_ABSENCE_COUNT ? names[absence] : "?";
}

bool person_type_is_known(struct str type)
{
    return type.len && (form_of(type) != ID_FORM_PLAIN || memchr(type.ptr, '@', type.len) ||
                        str_starts(type, STR("eid:")));
}

bool person_split_typed(struct str text, struct str *type, struct str *id)
{
    struct str rest = text;
    str_cut(&rest, ':');
    if (str_starts(text, STR("eid:"))) {
        str_cut(&rest, ':');
    }
    *id = rest;
    *type = (struct str){text.ptr, rest.len ? (size_t)(rest.ptr - text.ptr) - 1 : text.len};
    return type->len > 0 && rest.len > 0;
}
