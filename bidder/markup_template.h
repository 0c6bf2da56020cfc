/* Text with holes. A template is written like any text, with a mark wherever a bid differs from the
 * next; compiling cuts it there and escapes what is between for the form wanted. */
#pragma once

#include "bidder/base/arena.h"
#include "bidder/markup.h"

/* What goes into a hole, and its mark in the text: a control byte, which has no other place in
 * markup, and a letter. */
enum markup_hole {
    HOLE_TOKEN, /* of the notice url it stands in */
    HOLE_BID_ID,
    HOLE_ADVERTISER_OPEN, /* the element's tags; empty as the domain is */
    HOLE_ADVERTISER,
    HOLE_ADVERTISER_CLOSE,
    HOLE_CREATIVE_ID,
    HOLE_AD_ID,
    HOLE_DURATION,
    HOLE_MEDIA, /* the creative's MediaFile or img */
    HOLE_COUNT
};
#define MARK_TOKEN            "\001A"
#define MARK_BID_ID           "\001B"
#define MARK_ADVERTISER_OPEN  "\001C"
#define MARK_ADVERTISER       "\001D"
#define MARK_ADVERTISER_CLOSE "\001E"
#define MARK_CREATIVE_ID      "\001F"
#define MARK_AD_ID            "\001G"
#define MARK_DURATION         "\001H"
#define MARK_MEDIA            "\001I"

struct markup_template {
    const struct str *literals;    /* hole_count + 1; some may be empty */
    const enum markup_hole *holes; /* holes[i] is between literals[i] and literals[i + 1] */
    uint32_t hole_count;
};

/* In every form, into the arena. False when it is full, or the text failed. */
bool markup_template_compile(const struct buf *text, struct arena *arena,
                             struct markup_template forms[MARKUP_FORM_COUNT]);

static inline uint32_t markup_template_pieces(const struct markup_template *template)
{
    return 2 * template->hole_count + 1;
}

/* Writes the template's pieces; returns where the next ones go. */
static inline struct str *markup_template_fill(const struct markup_template *template,
                                               const struct str values[HOLE_COUNT],
                                               struct str *pieces)
{
    *pieces++ = template->literals[0];
    for (uint32_t i = 0; i < template->hole_count; i++) {
        *pieces++ = values[template->holes[i]];
        *pieces++ = template->literals[i + 1];
    }
    return pieces;
}
