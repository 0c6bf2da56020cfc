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
    HOLE_DELIVERY,
    HOLE_MIME,
    HOLE_W,
    HOLE_H,
    HOLE_BITRATE_OPEN, /* of the attribute; empty when it is unknown */
    HOLE_BITRATE,
    HOLE_BITRATE_CLOSE,
    HOLE_URL, /* media file or image */
    HOLE_COUNT
};
#define MARK_TOKEN                                                                                 \
    "\x01"                                                                                         \
    "A"
#define MARK_BID_ID                                                                                \
    "\x01"                                                                                         \
    "B"
#define MARK_ADVERTISER_OPEN                                                                       \
    "\x01"                                                                                         \
    "C"
#define MARK_ADVERTISER                                                                            \
    "\x01"                                                                                         \
    "D"
#define MARK_ADVERTISER_CLOSE                                                                      \
    "\x01"                                                                                         \
    "E"
#define MARK_CREATIVE_ID                                                                           \
    "\x01"                                                                                         \
    "F"
#define MARK_AD_ID                                                                                 \
    "\x01"                                                                                         \
    "G"
#define MARK_DURATION                                                                              \
    "\x01"                                                                                         \
    "H"
#define MARK_DELIVERY                                                                              \
    "\x01"                                                                                         \
    "I"
#define MARK_MIME                                                                                  \
    "\x01"                                                                                         \
    "J"
#define MARK_W                                                                                     \
    "\x01"                                                                                         \
    "K"
#define MARK_H                                                                                     \
    "\x01"                                                                                         \
    "L"
#define MARK_BITRATE_OPEN                                                                          \
    "\x01"                                                                                         \
    "M"
#define MARK_BITRATE                                                                               \
    "\x01"                                                                                         \
    "N"
#define MARK_BITRATE_CLOSE                                                                         \
    "\x01"                                                                                         \
    "O"
#define MARK_URL                                                                                   \
    "\x01"                                                                                         \
    "P"

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
