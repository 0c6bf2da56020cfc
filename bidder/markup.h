/* Ad markup and the tracking urls inside it. Pure: appends to a buffer.
 *
 * Escaping is by place: XML text and attributes in VAST, HTML attributes in banners, JSON strings
 * in native. A url never ends the CDATA section or attribute it stands in. */
#pragma once

#include "bidder/base/buf.h"
#include "bidder/catalog.h"
#include "proto/bidreq.h"
#include "proto/bidresp.h"

/* Where notices come back. token is url-safe text (base64url). client events:
 * <base>/notice/<event>/<client_token>; exchange events:
 * <base>/notice/<event>/<exchange_token>?price=${AUCTION_PRICE}... */
struct markup_urls {
    struct str base;           /* public_url, no trailing slash */
    struct str exchange_token; /* nurl, burl, lurl */
    struct str client_token;   /* impression, quartiles, click, error */
};

/* What the chosen creative becomes on this impression. */
struct markup_input {
    const struct catalog *catalog;
    const struct catalog_creative *creative;
    const struct bidreq_imp *imp;
    struct str bid_id, advertiser_domain;
    struct markup_urls urls;
    bool vast_3; /* the exchange prefers VAST 3.0; what the impression lists decides */
};

/* Which VAST to answer, as AdCOM creative subtype (bid.protocol): 13 = 4.2, 11 = 4.1, 7 = 4.0,
 * 3 = 3.0, 2 = 2.0. The newest listed, 3.0 first when the exchange prefers it; nothing listed: 4.2
 * or 3.0 by preference. 0: none listed is one we make (wrappers only). */
int32_t markup_vast_protocol(const struct int_list *protocols, bool vast_3);

/* The asset of the creative that fills a requested one, or CATALOG_NONE. *used (bit per creative
 * asset, 0 at first) makes two alike requests take different assets while there are any. */
uint32_t markup_native_fill(const struct catalog_creative *creative,
                            const struct bidreq_asset *asset, uint64_t *used);

/* Appends the markup (VAST, HTML or native JSON by creative->type). A native creative needs
 * imp->native. */
void markup_put(const struct markup_input *input, struct buf *out);
void markup_put_nurl(const struct markup_urls *urls, struct buf *out);
void markup_put_burl(const struct markup_urls *urls, struct buf *out);
void markup_put_lurl(const struct markup_urls *urls, struct buf *out);

void markup_put_xml_escaped(struct buf *out, struct str text); /* text and attributes */
