/* What the three decoders share: a request while it is being read, with the places older versions
 * of OpenRTB used beside the new ones, and the rules that turn it into a struct bid_request.
 * Internal to proto/. */
#pragma once

#include <stddef.h>

#include "proto/bidreq.h"

/* site, app or dooh; media.kind is BIDREQ_MEDIUM_NONE when it was not sent. */
struct openrtb_media {
    struct bidreq_media media;
    struct str_list kwarray; /* counts when keywords is empty */
};

/* All bidreq_av of a decoder are one of these. */
struct openrtb_av {
    struct bidreq_av av; /* first: imp->video points here */
    int32_t protocol;    /* the deprecated single one; 0 = absent */
};

/* All bidreq_native of a decoder are one of these. */
struct openrtb_native {
    struct bidreq_native native; /* first: imp->native points here; ver is imp.native.ver */
    struct str markup_ver;       /* more exact, so it wins; empty = absent */
};

/* native.request at its top: either the markup itself or {"native": markup}. */
struct openrtb_markup {
    struct bidreq_native top;
    struct bidreq_native *root; /* arena; NULL = no root */
};

struct openrtb_schain {
    bool present;
    int32_t complete; /* -1 = absent */
    struct {
        struct bidreq_schain_node *items;
        uint32_t count;
    } nodes;
};

/* Each old_x is x.ext.x: counts where the new place says nothing. */
struct openrtb_wire {
    struct bid_request request;
    struct openrtb_media site, app, dooh;
    struct bidreq_geo user_geo;
    struct str_list user_kwarray;
    struct bidreq_user old_user; /* consent, eids */
    struct bidreq_regs old_regs;
    struct openrtb_schain schain, old_schain;
};

void openrtb_wire_init(struct openrtb_wire *wire, struct arena *arena);

/* Applies the merge rules, copies into *request and says whether it can be answered. */
enum bidreq_reject openrtb_wire_finish(struct openrtb_wire *wire, struct bid_request *request);

/* The body a ready probe sends: the number 1 or an empty object. */
bool openrtb_is_ping(struct str body);

/* Defaults of what lies in lists; the argument is zeroed. Declared for void * to stand in tables.
 */
void openrtb_default_imp(void *imp);
void openrtb_default_deal(void *deal);
void openrtb_default_banner(void *banner);
void openrtb_default_av(void *openrtb_av);
void openrtb_default_native(void *openrtb_native);
void openrtb_default_asset(void *asset);
void openrtb_default_durfloor(void *durfloor);

/* Takes what one of title, img, video, data said, unless a part that goes first was there. */
void openrtb_asset_adopt(struct bidreq_asset *asset, const struct bidreq_asset *part,
                         enum bidreq_asset_kind kind);
/* Chooses between the markup and its root. NULL: nothing usable was sent. */
void openrtb_native_adopt(struct openrtb_native *to, const struct openrtb_markup *markup);

/* native.request as a JSON text into *native. False only when the arena is full; text that is no
 * usable markup leaves native malformed. */
bool openrtb_markup_decode(struct str text, struct arena *arena, struct openrtb_native *native)
    __attribute__((warn_unused_result));

enum openrtb_push { OPENRTB_PUSHED, OPENRTB_FULL, OPENRTB_NO_MEMORY };

/* Every {items, count} list has this layout. Copied in and out rather than cast: the lists are of
 * different types. */
struct openrtb_list {
    void *items;
    uint32_t count;
};
_Static_assert(sizeof(struct openrtb_list) == sizeof(struct str_list), "lists share one layout");
_Static_assert(offsetof(struct openrtb_list, count) == offsetof(struct int_list, count),
               "as above");

#define OPENRTB_FIRST_ITEMS 4 /* then 8, 16, ...: a list's capacity follows from its count */

/* Twice the room, or the first. False when the arena is full. */
bool openrtb_list_grow(struct arena *arena, struct openrtb_list *list, size_t size)
    __attribute__((warn_unused_result));

/* One more zeroed item of size bytes on a {items, count} list, at *item. FULL at max items. The
 * list grows by doubling in the arena, so pointers into it die with the next push. */
static inline enum openrtb_push openrtb_push(struct arena *arena, void *list, size_t size,
                                             uint32_t max, void **item)
{
    struct openrtb_list l;
    memcpy(&l, list, sizeof(l));
    if (l.count >= max) {
        return OPENRTB_FULL;
    }
    bool power_of_two = (l.count & (l.count - 1)) == 0; /* or 0 */
    if (power_of_two && (l.count == 0 || l.count >= OPENRTB_FIRST_ITEMS) &&
        !openrtb_list_grow(arena, &l, size)) {
        return OPENRTB_NO_MEMORY;
    }
    *item = memset((char *)l.items + l.count * size, 0, size);
    l.count++;
    memcpy(list, &l, sizeof(l));
    return OPENRTB_PUSHED;
}
