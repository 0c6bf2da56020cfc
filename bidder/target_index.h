/* What target_build.c makes and target.c reads: sets of line positions, by targeted value.
 *
 *   position   lines sorted so that alike ones are neighbours: guaranteed modes first, then by
 *              deal, exchange, format, place, medium, ... Alike lines share 64-bit words, so that few
 *              words of a set are not zero. order[position] = line.
 *   set        one bit per position, in words of 64 and blocks of 64 words. Of a block that is not
 *              empty: which of its words are not zero, and these. A block of it is intersected with
 *              others by one AND, whatever it holds, before any word is looked at.
 *   dimension  sets by value; set 0 = lines that ask nothing of this dimension ("any").
 *              A line wants a request when each dimension has it in set 0 or in the set of one of
 *              the request's values.
 *
 * Everything lies in the catalog's arena and never changes, but for live: which positions are
 * inside their flight and daypart. It is remembered until the next moment it can change. */
#pragma once

#include "bidder/base/hash.h"
#include "bidder/catalog.h"

enum target_dim {
    DIM_DEAL,       /* by catalog deal + 1; any = lines that buy openly */
    DIM_FORMAT,     /* FORMAT_... and FORMAT_SIZE + size; no any */
    DIM_EXCHANGE,   /* by exchange + 1 */
    DIM_DEVICE,     /* by devicetype + 1 */
    DIM_CONNECTION, /* by connectiontype + 1 */
    DIM_OS,         /* by text, as all below */
    DIM_GEO,        /* "c" country, "r" region, "t" city; "f" fine, "g" coarse grid cell, "w" */
    DIM_MEDIA,      /* bundle or domain */
    DIM_CATEGORY,   /* taxonomy ":" code */
    DIM_LANGUAGE,
    DIM_DENY_MEDIA,    /* no any; lines in a set of the request's values are taken out */
    DIM_DENY_CATEGORY, /* the same */
    DIM_COUNT
};

enum { FORMAT_VIDEO = 1, FORMAT_AUDIO, FORMAT_NATIVE, FORMAT_BANNER, FORMAT_SIZE };

#define TARGET_NO_BLOCK UINT32_MAX

struct target_block {
    uint32_t number;  /* of positions number * 4096 and on; TARGET_NO_BLOCK behind the last */
    uint32_t first;   /* its first word, in the set's words */
    uint64_t nonzero; /* bit w: its word w is there */
};

struct target_set {
    uint32_t word_count;               /* that are not zero */
    uint32_t line_count;               /* bits */
    bool full;                         /* all lines */
    const struct target_block *blocks; /* ascending, with one behind the last; NULL = no line */
    const uint64_t *words;
};

struct target_dimension {
    struct target_set *sets;
    uint32_t set_count;
    bool unused;           /* no line asks anything of it */
    struct str_table keys; /* text -> set; empty for dimensions by number */
};

struct target_size {
    int32_t w, h;
};

struct target_flight {
    int64_t start_s, end_s;
    uint32_t daypart; /* index into dayparts; 0 = always */
};

struct target_index {
    uint32_t line_count; /* positions: enabled lines */
    uint32_t word_count;
    uint32_t *order; /* position -> line */
    struct target_dimension dims[DIM_COUNT];
    struct target_size *sizes; /* of banners; FORMAT_SIZE + i is the set */
    uint32_t size_count;
    uint64_t *circled; /* lines with circles: the grid only says "perhaps" */
    bool has_circles;
    struct target_flight *flights; /* by position */
    uint8_t (*dayparts)[21];
    uint32_t daypart_count;
    uint64_t *live;
    int64_t live_from_s, live_until_s; /* live holds for [from, until) */
};

/* Grid cells. A circle up to 50 km goes into fine cells, up to 1000 km into coarse ones; larger
 * ones and those near a pole go everywhere ("w"). */
#define GRID_FINE_MICRO   INT64_C(250000)
#define GRID_COARSE_MICRO INT64_C(4000000)
/* Writes the key of the cell a point is in; returns its length. */
size_t target_cell_key(int64_t lat_micro, int64_t lon_micro, int64_t cell_micro, char key[16]);
