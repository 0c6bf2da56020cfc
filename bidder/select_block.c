/* Who may buy: seats, domains, categories, apps. Pure; keeps nothing. */
#include "bidder/select_internal.h"

#include "bidder/base/bug.h"

static bool list_has_exact(const struct str_list *list, struct str value)
{
    for (uint32_t i = 0; i < list->count; i++) {
        if (str_eq(list->items[i], value)) {
            return true;
        }
    }
    return false;
}

enum select_miss select_request_seats(const struct bid_request *request, struct str seat,
                                      struct buf *detail)
{
    if (request->wseat.count && !list_has_exact(&request->wseat, seat)) {
        SELECT_DETAIL(detail, "seat \"%.*s\" is not in wseat", STR_ARG(seat));
        return SELECT_SEAT;
    }
    if (seat.len && list_has_exact(&request->bseat, seat)) {
        SELECT_DETAIL(detail, "seat \"%.*s\" is in bseat", STR_ARG(seat));
        return SELECT_SEAT;
    }
    return SELECT_OK;
}

static struct str without_www(struct str domain)
{
    if (domain.len > 4 && str_eq_nocase((struct str){domain.ptr, 4}, STR("www."))) {
        return (struct str){domain.ptr + 4, domain.len - 4};
    }
    return domain;
}

/* domain is parent, or lies below it. */
static bool domain_covered(struct str domain, struct str parent)
{
    if (parent.len == 0 || domain.len < parent.len) {
        return false;
    }
    struct str tail = {domain.ptr + domain.len - parent.len, parent.len};
    return str_eq_nocase(tail, parent) &&
           (domain.len == parent.len || domain.ptr[domain.len - parent.len - 1] == '.');
}

enum select_miss select_deal_open(const struct select_context *context,
                                  const struct bidreq_deal *deal)
{
    if (deal->wseat.count && !list_has_exact(&deal->wseat, context->exchange->seat)) {
        SELECT_DETAIL(context->detail, "seat \"%.*s\" is not in wseat of deal %.*s; ",
                      STR_ARG(context->exchange->seat), STR_ARG(deal->id));
        return SELECT_SEAT;
    }
    if (deal->wadomain.count == 0) {
        return SELECT_OK;
    }
    struct str domain = without_www(context->advertiser->domain);
    for (uint32_t i = 0; i < deal->wadomain.count; i++) {
        if (str_eq_nocase(without_www(str_trim(deal->wadomain.items[i])), domain)) {
            return SELECT_OK;
        }
    }
    SELECT_DETAIL(context->detail, "domain %.*s is not in wadomain of deal %.*s; ", STR_ARG(domain),
                  STR_ARG(deal->id));
    return SELECT_DEAL_DOMAIN;
}

/* IAB7 covers IAB7-39. Taxonomies of plain numbers have no parents in their codes. */
static bool category_covered(struct str category, struct str parent)
{
    if (parent.len == 0 || category.len < parent.len) {
        return false;
    }
    struct str head = {category.ptr, parent.len};
    return str_eq_nocase(head, parent) &&
           (category.len == parent.len || category.ptr[parent.len] == '-');
}

static bool category_in(struct str category, const struct str_list *list)
{
    for (uint32_t i = 0; i < list->count; i++) {
        if (category_covered(category, str_trim(list->items[i]))) {
            return true;
        }
    }
    return false;
}

static enum select_miss categories_allowed(const struct bid_request *request,
                                           const struct str_list *categories, int32_t cattax,
                                           struct buf *detail)
{
    bool comparable = (request->cattax > 0 ? request->cattax : 1) == (cattax > 0 ? cattax : 1);
    if (!comparable && request->acat.count) {
        SELECT_DETAIL(detail, "acat is in taxonomy %d, the ad's categories in %d", request->cattax,
                      cattax);
        return SELECT_BCAT;
    }
    if (!comparable) {
        return SELECT_OK;
    }
    if (request->acat.count && categories->count == 0) {
        SELECT_DETAIL(detail, "acat lists categories, the ad has none");
        return SELECT_BCAT;
    }
    for (uint32_t i = 0; i < categories->count; i++) {
        struct str category = categories->items[i];
        if (category_in(category, &request->bcat)) {
            SELECT_DETAIL(detail, "category %.*s is in bcat", STR_ARG(category));
            return SELECT_BCAT;
        }
        if (request->acat.count && !category_in(category, &request->acat)) {
            SELECT_DETAIL(detail, "category %.*s is not in acat", STR_ARG(category));
            return SELECT_BCAT;
        }
    }
    return SELECT_OK;
}

enum select_miss select_advertiser_allowed(const struct catalog *catalog,
                                           const struct bid_request *request, uint32_t advertiser,
                                           const struct catalog_creative *creative,
                                           struct buf *detail)
{
    BUG_ON(advertiser >= catalog->advertiser_count);
    const struct catalog_advertiser *who = &catalog->advertisers[advertiser];
    for (uint32_t i = 0; i < request->badv.count; i++) {
        struct str blocked = without_www(str_trim(request->badv.items[i]));
        if (domain_covered(who->domain, blocked)) {
            SELECT_DETAIL(detail, "domain %.*s is blocked by badv %.*s", STR_ARG(who->domain),
                          STR_ARG(blocked));
            return SELECT_BADV;
        }
    }
    const struct str_list *categories = &who->categories;
    if (creative && creative->categories.count) {
        categories = &creative->categories;
    }
    return categories_allowed(request, categories, who->cattax, detail);
}

/* The value of ?name= or &name= in a url. */
static struct str query_value(struct str url, struct str name)
{
    for (size_t i = 0; i + name.len + 2 <= url.len; i++) {
        if ((url.ptr[i] == '?' || url.ptr[i] == '&') && url.ptr[i + 1 + name.len] == '=' &&
            memcmp(url.ptr + i + 1, name.ptr, name.len) == 0) {
            struct str value = {url.ptr + i + name.len + 2, url.len - i - name.len - 2};
            size_t end = 0;
            while (end < value.len && value.ptr[end] != '&' && value.ptr[end] != '#') {
                end++;
            }
            return (struct str){value.ptr, end};
        }
    }
    return STR_NONE;
}

struct str select_advertised_app(const struct catalog_creative *creative)
{
    struct str url = creative->landing, host;
    if (str_starts(url, STR("https://"))) {
        url = (struct str){url.ptr + 8, url.len - 8};
    } else if (str_starts(url, STR("http://"))) {
        url = (struct str){url.ptr + 7, url.len - 7};
    } else {
        return STR_NONE;
    }
    host = str_cut(&url, '/');
    if (str_eq_nocase(host, STR("play.google.com"))) {
        return query_value(url, STR("id"));
    }
    if (!str_eq_nocase(host, STR("apps.apple.com")) &&
        !str_eq_nocase(host, STR("itunes.apple.com"))) {
        return STR_NONE;
    }
    while (url.len) { /* .../id123456789?mt=8 */
        struct str part = str_cut(&url, '/');
        part = str_cut(&part, '?');
        size_t digits = 2;
        while (digits < part.len && part.ptr[digits] >= '0' && part.ptr[digits] <= '9') {
            digits++;
        }
        if (str_starts(part, STR("id")) && digits > 2 && digits == part.len) {
            return (struct str){part.ptr + 2, part.len - 2};
        }
    }
    return STR_NONE;
}

enum select_miss select_app_allowed(const struct select_context *context,
                                    const struct catalog_creative *creative)
{
    if (context->request->bapp.count == 0) {
        return SELECT_OK;
    }
    struct str app = select_advertised_app(creative);
    if (app.len && select_strs_have(&context->request->bapp, app)) {
        SELECT_DETAIL(context->detail, "app %.*s is in bapp", STR_ARG(app));
        return SELECT_BAPP;
    }
    return SELECT_OK;
}
