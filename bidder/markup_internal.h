/* Shared by the parts of markup only. */
#pragma once

#include "bidder/markup_template.h"

enum { VAST_VERSION_COUNT = 5 };

/* Every template in every form. */
struct markup_templates {
    struct arena arena;                                                    /* all of them */
    struct markup_template vast[VAST_VERSION_COUNT][2][MARKUP_FORM_COUNT]; /* video, audio */
    struct markup_template image[MARKUP_FORM_COUNT]; /* banner: image in a link, and the pixel */
    struct markup_template pixel[MARKUP_FORM_COUNT]; /* banner: behind its own HTML */
    struct markup_template click[MARKUP_FORM_COUNT], impression[MARKUP_FORM_COUNT]; /* urls */
    struct markup_template win[MARKUP_FORM_COUNT], bill[MARKUP_FORM_COUNT];
    struct markup_template loss[MARKUP_FORM_COUNT];
};

/* Writing one bid's texts. */
struct markup_work {
    const struct markup_input *input;
    enum markup_form form; /* of the pieces; a VAST in a native ad is JSON in any answer */
    struct str values[HOLE_COUNT];
    bool failed; /* arena or scratch is full */
};

/* A media file: a video creative's, or a native asset's. */
struct markup_media {
    struct str url, mime;
    int32_t w, h, bitrate_kbps;
    bool audio;
};

/* The text of a template, before it is compiled. version: place in the table of versions. */
void markup_put_vast_template(struct str base, unsigned version, bool audio, struct buf *out);
void markup_put_image_template(struct str base, struct buf *out);
void markup_put_pixel_template(struct str base, struct buf *out);
/* <base>/notice/<event>/<token>. What comes from the base cannot end the place it stands in, because
 * everything but url bytes is percent-encoded; a token has no other bytes. */
void markup_put_notice_url(struct str base, const char *event, struct buf *out);

/* For markup_prepare. */
struct str markup_media_file(struct markup_work *work, const struct markup_media *media);
struct str markup_duration(struct markup_work *work, int32_t duration_s);
struct str markup_image(struct markup_work *work, const struct catalog_creative *creative);
bool markup_cut_html(struct markup_work *work, struct str html, struct str_list *parts);

/* Fills work->values, but for HOLE_DURATION and HOLE_MEDIA. The template they are for: of this
 * protocol, 0 = none of ours was listed. */
const struct markup_template *markup_vast(struct markup_work *work, int32_t protocol, bool audio);
struct bid_text markup_make_vast(struct markup_work *work);
struct bid_text markup_make_banner(struct markup_work *work);
struct bid_text markup_make_native(struct markup_work *work);

/* A template filled with work->values. */
struct bid_text markup_fill(struct markup_work *work, const struct markup_template *template);
/* Room for so many pieces; NULL, and work->failed, when the arena is full. */
struct str *markup_pieces(struct markup_work *work, uint32_t count);

/* Values of holes, escaped for the form; views of the text given when it needs nothing. */
struct str markup_xml_value(struct markup_work *work, struct str text); /* text and attributes */
struct str markup_url_value(struct markup_work *work, struct str url);
struct str markup_attribute_url_value(struct markup_work *work, struct str url);
/* A text that is escaped for its place already. */
struct str markup_form_value(struct markup_work *work, struct str text);
/* A buffer of fixed size in the arena; what is put into it must fit. */
struct buf markup_fixed_buf(struct markup_work *work, size_t bytes);

/* A url of the catalog, made harmless for any place: blanks, controls, quotes, angle brackets and
 * all beyond ASCII percent-encoded; macros ([...], ${...}, %%...%%) stay. */
void markup_put_url(struct buf *out, struct str url);
