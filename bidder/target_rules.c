/* The rules of targeting, plainly: each looks at one dimension of one line. Pure. */
#include "bidder/target_rules.h"

#include <math.h>

#include "bidder/select.h"
#include "bidder/target.h"

/* --- where it is bought -------------------------------------------------------------------- */

bool target_rule_exchange(const struct targeting *targeting, uint32_t exchange)
{
    for (uint32_t i = 0; i < targeting->exchanges.count; i++) {
        if (targeting->exchanges.items[i] == exchange) {
            return true;
        }
    }
    return targeting->exchanges.count == 0;
}

bool target_rule_deal(const struct catalog *catalog, uint32_t exchange,
                      const struct bidreq_imp *imp, const struct catalog_line *line)
{
    for (uint32_t i = 0; i < line->deals.count; i++) {
        const struct catalog_deal *deal = &catalog->deals[line->deals.items[i]];
        for (uint32_t k = 0; k < imp->deals.count && deal->exchange == exchange; k++) {
            if (str_eq(deal->id, imp->deals.items[k].id)) {
                return true;
            }
        }
    }
    return line->deals.count == 0 && !imp->private_auction;
}

static bool creative_has_place(const struct bidreq_imp *imp,
                               const struct catalog_creative *creative)
{
    switch (creative->type) {
    case CREATIVE_BANNER:
        return imp->banner && select_banner_size_fits(imp->banner, creative->w, creative->h);
    case CREATIVE_VIDEO:
        return imp->video != NULL;
    case CREATIVE_AUDIO:
        return imp->audio != NULL;
    case CREATIVE_NATIVE:
        return imp->native && !imp->native->malformed;
    }
    return false;
}

bool target_rule_format(const struct catalog *catalog, const struct bidreq_imp *imp,
                        const struct catalog_line *line)
{
    for (uint32_t i = 0; i < line->creative_count; i++) {
        if (creative_has_place(imp, &catalog->creatives[line->creatives[i].creative])) {
            return true;
        }
    }
    return false;
}

/* --- the device ---------------------------------------------------------------------------- */

static bool bit_allows(uint32_t mask, int32_t bit)
{
    return mask == 0 || (bit >= 0 && bit < 32 && (mask >> bit & 1));
}

bool target_rule_device(const struct targeting *targeting, const struct bidreq_device *device)
{
    return bit_allows(targeting->devices, device->devicetype);
}

bool target_rule_connection(const struct targeting *targeting, const struct bidreq_device *device)
{
    return bit_allows(targeting->connections, device->connectiontype);
}

static bool list_has(const struct str_list *list, struct str value)
{
    for (uint32_t i = 0; i < list->count; i++) {
        if (str_eq_nocase(list->items[i], value)) {
            return true;
        }
    }
    return false;
}

bool target_rule_os(const struct targeting *targeting, const struct bidreq_device *device)
{
    struct str os = str_trim(device->os);
    return targeting->os.count == 0 ||
           (os.len && os.len <= TARGET_KEY_MAX && list_has(&targeting->os, os));
}

struct str target_language(const struct bid_request *request)
{
    struct str language = str_trim(request->device.language);
    return language.len ? language : str_trim(request->media.content_language);
}

bool target_rule_language(const struct targeting *targeting, const struct bid_request *request)
{
    struct str language = target_language(request);
    for (uint32_t i = 0; i < targeting->languages.count; i++) {
        struct str want = targeting->languages.items[i];
        if (want.len && language.len <= TARGET_KEY_MAX && language.len >= want.len &&
            str_eq_nocase((struct str){language.ptr, want.len}, want) &&
            (language.len == want.len || language.ptr[want.len] == '-' ||
             language.ptr[want.len] == '_')) {
            return true;
        }
    }
    return targeting->languages.count == 0;
}

/* --- the place ----------------------------------------------------------------------------- */

static bool all_digits(struct str text)
{
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] < '0' || text.ptr[i] > '9') {
            return false;
        }
    }
    return text.len > 0;
}

static bool is_letter(char c)
{
    c = str_ascii_lower(c);
    return c >= 'a' && c <= 'z';
}

struct str target_place_key(struct str place, char *key)
{
    place = str_trim(place);
    if (place.len > 3 && place.ptr[2] == '-' && is_letter(place.ptr[0]) &&
        is_letter(place.ptr[1])) {
        place = (struct str){place.ptr + 3, place.len - 3};
    }
    if (place.len > TARGET_KEY_MAX) {
        return STR_NONE;
    }
    if ((place.len == 6 || place.len == 4) && all_digits(place)) {
        while (place.len > 2 && place.ptr[place.len - 1] == '0' &&
               place.ptr[place.len - 2] == '0') {
            place.len -= 2;
        }
    }
    for (size_t i = 0; i < place.len; i++) {
        key[i] = str_ascii_lower(place.ptr[i]);
    }
    return (struct str){key, place.len};
}

static bool places_have(const struct str_list *places, struct str wire)
{
    char wire_key[TARGET_KEY_MAX], key[TARGET_KEY_MAX];
    wire = target_place_key(wire, wire_key);
    for (uint32_t i = 0; wire.len && i < places->count; i++) {
        if (str_eq(target_place_key(places->items[i], key), wire)) {
            return true;
        }
    }
    return false;
}

double target_distance_m(int64_t lat_a, int64_t lon_a, int64_t lat_b, int64_t lon_b)
{
    const double to_radians = 3.14159265358979323846 / 180e6, radius_m = 6371008.8;
    double phi_a = (double)lat_a * to_radians, phi_b = (double)lat_b * to_radians;
    double half_phi = sin((phi_b - phi_a) / 2);
    double half_lambda = sin((double)(lon_b - lon_a) * to_radians / 2);
    double h = half_phi * half_phi + cos(phi_a) * cos(phi_b) * half_lambda * half_lambda;
    return 2 * radius_m * asin(h < 1 ? sqrt(h) : 1);
}

bool target_has_point(const struct bidreq_geo *geo)
{
    return geo->has_point && geo->lat_micro >= -90000000 && geo->lat_micro <= 90000000 &&
           geo->lon_micro >= -180000000 && geo->lon_micro <= 180000000;
}

bool target_rule_geo(const struct targeting *targeting, const struct bidreq_geo *geo)
{
    if (targeting->countries.count + targeting->regions.count + targeting->cities.count +
            targeting->circle_count ==
        0) {
        return true;
    }
    if (places_have(&targeting->countries, geo->country) ||
        places_have(&targeting->regions, geo->region) ||
        places_have(&targeting->cities, geo->city)) {
        return true;
    }
    for (uint32_t i = 0; target_has_point(geo) && i < targeting->circle_count; i++) {
        const struct geo_circle *circle = &targeting->circles[i];
        if (target_distance_m(circle->lat_micro, circle->lon_micro, geo->lat_micro,
                              geo->lon_micro) <= (double)circle->radius_m) {
            return true;
        }
    }
    return false;
}

/* --- the medium ---------------------------------------------------------------------------- */

static struct str host_of(struct str url)
{
    if (url.len == 0) {
        return STR_NONE;
    }
    for (size_t i = 0; i + 3 <= url.len; i++) {
        if (memcmp(url.ptr + i, "://", 3) == 0) {
            url = (struct str){url.ptr + i + 3, url.len - i - 3};
            break;
        }
    }
    size_t end = 0, from = 0;
    while (end < url.len && url.ptr[end] != '/' && url.ptr[end] != '?' && url.ptr[end] != '#') {
        if (url.ptr[end++] == '@') {
            from = end;
        }
    }
    struct str host = {url.ptr + from, end - from};
    return str_cut(&host, ':');
}

struct str target_domain(const struct bidreq_media *media)
{
    struct str domain = str_trim(media->domain);
    if (domain.len == 0) {
        domain = host_of(str_trim(media->page));
    }
    if (domain.len && domain.ptr[domain.len - 1] == '.') {
        domain.len--;
    }
    return domain.len <= TARGET_KEY_MAX ? domain : STR_NONE;
}

struct str target_media_entry(struct str entry)
{
    entry = str_trim(entry);
    if (entry.len > 4 && str_eq_nocase((struct str){entry.ptr, 4}, STR("www."))) {
        entry = (struct str){entry.ptr + 4, entry.len - 4};
    }
    return entry;
}

static bool media_listed(const struct str_list *list, struct str bundle, struct str domain)
{
    for (uint32_t i = 0; i < list->count; i++) {
        struct str entry = target_media_entry(list->items[i]);
        if (entry.len == 0 || entry.len > TARGET_KEY_MAX) {
            continue;
        }
        if (str_eq_nocase(entry, bundle)) {
            return true;
        }
        if (domain.len >= entry.len &&
            str_eq_nocase((struct str){domain.ptr + domain.len - entry.len, entry.len}, entry) &&
            (domain.len == entry.len || domain.ptr[domain.len - entry.len - 1] == '.')) {
            return true;
        }
    }
    return false;
}

bool target_rule_media(const struct targeting *targeting, const struct bidreq_media *media)
{
    struct str bundle = str_trim(media->bundle), domain = target_domain(media);
    return (targeting->media_allow.count == 0 ||
            media_listed(&targeting->media_allow, bundle, domain)) &&
           !media_listed(&targeting->media_deny, bundle, domain);
}

/* A category of the request or its parent (IAB1 of IAB1-6) is listed. */
static bool categories_listed(const struct str_list *listed, const struct str_list *wire)
{
    for (uint32_t i = 0; i < wire->count; i++) {
        struct str code = str_trim(wire->items[i]), parent = code;
        parent = str_cut(&parent, '-');
        if (code.len && code.len <= TARGET_KEY_MAX &&
            (list_has(listed, code) || (parent.len && list_has(listed, parent)))) {
            return true;
        }
    }
    return false;
}

static bool media_in_categories(const struct targeting *targeting, const struct str_list *listed,
                                const struct bidreq_media *media)
{
    int32_t taxonomy = targeting->cattax > 0 ? targeting->cattax : 1;
    return (taxonomy == media->cattax && (categories_listed(listed, &media->cat) ||
                                          categories_listed(listed, &media->sectioncat) ||
                                          categories_listed(listed, &media->pagecat))) ||
           (taxonomy == media->content_cattax && categories_listed(listed, &media->content_cat));
}

bool target_rule_category(const struct targeting *targeting, const struct bidreq_media *media)
{
    return (targeting->categories_allow.count == 0 ||
            media_in_categories(targeting, &targeting->categories_allow, media)) &&
           !(targeting->categories_deny.count &&
             media_in_categories(targeting, &targeting->categories_deny, media));
}

/* --- the time ------------------------------------------------------------------------------ */

bool target_rule_daypart(const struct targeting *targeting, int hour_of_week)
{
    static const uint8_t always[sizeof(targeting->dayparts)];
    return memcmp(targeting->dayparts, always, sizeof(always)) == 0 ||
           (targeting->dayparts[hour_of_week / 8] >> (hour_of_week % 8) & 1);
}
