/* Shared by the parts of markup only. */
#pragma once

#include "bidder/markup.h"

void markup_put_vast(const struct markup_input *input, struct buf *out);
/* A VAST document for one media file: a video creative's, or a native asset's. */
struct markup_media {
    struct str url, mime;
    int32_t w, h, duration_s, bitrate_kbps;
    int32_t protocol; /* markup_vast_protocol */
    bool audio;
};
void markup_put_vast_media(const struct markup_input *input, const struct markup_media *media,
                           struct buf *out);
void markup_put_banner(const struct markup_input *input, struct buf *out);
void markup_put_native(const struct markup_input *input, struct buf *out);

/* <base>/notice/<event>/<client token>: what comes from the catalog or the token cannot end the
 * place it stands in, because everything but url bytes is percent-encoded. */
void markup_put_client_url(const struct markup_urls *urls, const char *event, struct buf *out);
/* A url of the catalog, made harmless for any place: blanks, controls, quotes, angle brackets and
 * all beyond ASCII percent-encoded; macros ([...], ${...}, %%...%%) stay. */
void markup_put_url(struct buf *out, struct str url);
