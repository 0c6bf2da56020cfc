/* Ad markup and the tracking urls inside it.
 *
 * What all bids share is written once, when a worker starts, as templates: literals between holes,
 * in both forms, escaped already. A bid fills the holes, and is a list of pieces for the encoder.
 *
 *   templates (per worker, know public_url)   <?xml .. <Ad id=" # "> .. /notice/start/ # ]]> ..
 *   values    (per bid or creative, escaped)        bid id ---'      client token ---'
 *   bid_text  (arena of the request)          [literal][value][literal][value]...
 *
 * Escaping is by place: XML text and attributes in VAST, HTML attributes in banners, JSON strings
 * in native. A url never ends the CDATA section or attribute it stands in. */
#pragma once

#include "bidder/base/buf.h"
#include "bidder/catalog.h"
#include "proto/bidreq.h"
#include "proto/bidresp.h"

/* What the answer's encoder wants: the markup itself (protobuf), or as it stands between the quotes
 * of a JSON string. */
enum markup_form { MARKUP_PLAIN, MARKUP_JSON, MARKUP_FORM_COUNT };

struct markup_templates;
/* base: public_url, no trailing slash; not kept. NULL when memory is out. */
struct markup_templates *markup_templates_create(struct str base);
void markup_templates_destroy(struct markup_templates **templates);

/* What can be made of a creative before any bid. Once, when the catalog loads, into its arena. False
 * when that is full. */
bool markup_prepare(struct catalog_creative *creative, struct arena *arena);

/* What the chosen creative becomes on this impression. Tokens are ours, base64url, and go into urls
 * as they are: client events come back to <base>/notice/<event>/<client_token>, exchange events to
 * <base>/notice/<event>/<exchange_token>?price=${AUCTION_PRICE}... */
struct markup_input {
    const struct markup_templates *templates;
    enum markup_form form;
    const struct catalog_creative *creative; /* prepared */
    const struct bidreq_imp *imp;
    struct str bid_id, advertiser_domain;
    struct str exchange_token; /* nurl, burl, lurl */
    struct str client_token;   /* impression, quartiles, click, error */
    bool vast_3;         /* the exchange prefers VAST 3.0; what the impression lists decides */
    struct arena *arena; /* of the request: holds what is made */
    struct buf *scratch; /* overwritten */
};

struct markup_texts {
    struct bid_text adm; /* VAST, HTML or native JSON by creative->type */
    struct bid_text nurl, burl, lurl;
};

/* A native creative needs imp->native. Pieces are views into the arena, the templates, the catalog
 * and the input's texts. False when arena or scratch is full. */
bool markup_make(const struct markup_input *input, struct markup_texts *texts);

/* Which VAST to answer, as AdCOM creative subtype (bid.protocol): 13 = 4.2, 11 = 4.1, 7 = 4.0,
 * 3 = 3.0, 2 = 2.0. The newest listed, 3.0 first when the exchange prefers it; nothing listed: 4.2
 * or 3.0 by preference. 0: none listed is one we make (wrappers only). */
int32_t markup_vast_protocol(const struct int_list *protocols, bool vast_3);

/* The asset of the creative that fills a requested one, or CATALOG_NONE. *used (bit per creative
 * asset, 0 at first) makes two alike requests take different assets while there are any. */
uint32_t markup_native_fill(const struct catalog_creative *creative,
                            const struct bidreq_asset *asset, uint64_t *used);
