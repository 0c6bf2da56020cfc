/* Shared by the parts of select only. */
#pragma once

#include "bidder/select.h"

/* What one call of select_offer works on. */
struct select_context {
    struct select_imp *on;
    const struct catalog *catalog;
    const struct catalog_exchange *exchange;
    const struct bid_request *request;
    const struct bidreq_imp *imp;
    const struct catalog_line *line;
    const struct catalog_advertiser *advertiser;
    struct buf *detail; /* NULL = nobody asks */
};

#define SELECT_DETAIL(detail, ...)                                                                 \
    do {                                                                                           \
        if (UNLIKELY(detail)) {                                                                    \
            buf_printf(detail, __VA_ARGS__);                                                       \
        }                                                                                          \
    } while (0)

static inline bool select_ints_have(const struct int_list *list, int32_t value)
{
    for (uint32_t i = 0; i < list->count; i++) {
        if (list->items[i] == value) {
            return true;
        }
    }
    return false;
}

static inline bool select_strs_have(const struct str_list *list, struct str value)
{
    for (uint32_t i = 0; i < list->count; i++) {
        if (str_eq_nocase(list->items[i], value)) {
            return true;
        }
    }
    return false;
}

/* "image/jpg; q=1" in a list of MIME types: parameters do not count, jpg is jpeg, "video/" followed
 * by a star covers all video types. An empty list says nothing, so it allows everything. */
bool select_mimes_allow(const struct str_list *mimes, struct str mime);
/* From the end of a url's path; empty when it is not an image we know. */
struct str select_image_mime(struct str url);

/* HLS and DASH playlists. */
bool select_mime_is_streaming(struct str mime);

/* select_block.c */
enum select_miss select_request_seats(const struct bid_request *request, struct str seat,
                                      struct buf *detail);
enum select_miss select_deal_open(const struct select_context *context,
                                  const struct bidreq_deal *deal);
enum select_miss select_app_allowed(const struct select_context *context,
                                    const struct catalog_creative *creative);

/* select_price.c: the price of the offer through offer->wire_deal and offer->deal in
 * offer->currency; drops creatives whose floor is above it. */
enum select_miss select_price_offer(const struct select_context *context, int64_t price_cpm_micros,
                                    struct offer *offer);
