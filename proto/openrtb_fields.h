/* Which member of which object goes where: the tables that drive openrtb_json.c. Internal to
 * proto/. To read another field, add its line in openrtb_fields.c (and to the oracle). */
#pragma once

#include <stdint.h>

#include "bidder/base/json_text.h"

enum field_kind {
    FIELD_TEXT,     /* struct str; numbers as written; "" is absent */
    FIELD_INT,      /* int32_t, saturated */
    FIELD_COUNT,    /* int32_t; a negative one is absent */
    FIELD_FLAG,     /* int32_t 0 or 1; above 1 is 1 (dnt: 2), negative is absent */
    FIELD_BOOL,     /* bool, as FIELD_FLAG */
    FIELD_PRICE,    /* int64_t micros; a negative one is absent */
    FIELD_DEGREES,  /* int64_t micros */
    FIELD_TEXTS,    /* struct str_list; a scalar is a list of one */
    FIELD_INTS,     /* struct int_list; likewise */
    FIELD_KEYWORDS, /* struct str_list; comma text or list, trimmed */
    FIELD_APPEND,   /* a text onto a struct str_list */
    FIELD_INSIDE,   /* object whose members land at offset of the same struct */
    FIELD_EACH,     /* array of objects, all landing at offset of the same struct */
    FIELD_FIRST,    /* array of objects, the first landing there */
    FIELD_OBJECT,   /* object into an allocated struct; the member is a pointer to it */
    FIELD_OBJECTS,  /* array of objects into a list; one object is a list of one */
    FIELD_MARKUP,   /* native.request */
    FIELD_ASSET,    /* title, img, video or data of a native asset; arg says which */
};

/* A name of up to 15 bytes, padded with zeros, and its length: equal words are equal names. */
#define FIELD_NAME_MAX 15
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define FIELD_LAST_BYTE 56 /* how far up in the tail the last byte in memory is */
#else
#define FIELD_LAST_BYTE 0
#endif
struct field_words {
    uint64_t head, tail;
};

struct field {
    struct field_words words; /* computed: see openrtb_fields.c */
    struct str name;
    struct field_table *table; /* of the objects inside */
    enum field_kind kind;
    uint32_t offset;
    uint32_t arg;               /* FIELD_OBJECTS: the limit; FIELD_ASSET: the kind */
} __attribute__((aligned(64))); /* a cache line each, and found by a shift */

_Static_assert(JSON_TEXT_WIDE == FIELD_NAME_MAX + 1, "json_text_holds_wide is asked for names");

#define FIELD_SLOTS 128
#define FIELD_NONE  0xff

struct field_table {
    struct field *fields;
    uint32_t count;        /* at most 64: the decoder keeps a bit for each */
    uint32_t size;         /* of the struct, for FIELD_OBJECT and FIELD_OBJECTS */
    void (*enter)(void *); /* defaults of a new struct, or a mark that the object was there */
    struct str scalars;    /* "device.ext.": every scalar is kept under this prefix, too */
    uint64_t seed;         /* computed: makes the hash of the names perfect */
    uint8_t slots[FIELD_SLOTS];
};

/* The top of a bid request, for a struct openrtb_wire; and of native markup, for a
 * struct openrtb_markup. */
extern struct field_table openrtb_root_table;
extern struct field_table openrtb_markup_table;

/* Of the name of len bytes at the start of `bytes`, of which all must be readable. No branch: lengths
 * are as good as random to the branch predictor. */
static inline struct field_words field_words(const char bytes[FIELD_NAME_MAX + 1], size_t len)
{
    static const unsigned char masks[2 * FIELD_NAME_MAX + 1] = {
        0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
    struct field_words words, mask;
    memcpy(&words, bytes, sizeof(words));
    memcpy(&mask, masks + FIELD_NAME_MAX - len, sizeof(mask));
    words.head &= mask.head;
    words.tail &= mask.tail;
    words.tail |= (uint64_t)len << FIELD_LAST_BYTE; /* in the place of the 16th byte */
    return words;
}

static inline uint32_t field_slot(struct field_words words, uint64_t seed)
{
    return (uint32_t)(((words.head ^ (words.tail << 1 | words.tail >> 63)) * seed) >> 57);
}

/* Index of the field of that name, or FIELD_NONE. text: what the key is a view into, unless it was
 * escaped. */
static inline unsigned field_find(const struct field_table *table, struct str key,
                                  const struct json_text *text)
{
    struct field_words words;
    if (UNLIKELY(key.len > FIELD_NAME_MAX)) {
        return FIELD_NONE;
    }
    if (LIKELY(json_text_holds_wide(text, key.ptr))) {
        words = field_words(key.ptr, key.len);
    } else {
        char bytes[FIELD_NAME_MAX + 1] = {0};
        memcpy(bytes, key.ptr, key.len);
        words = field_words(bytes, key.len);
    }
    unsigned index = table->slots[field_slot(words, table->seed)];
    if (index == FIELD_NONE) {
        return FIELD_NONE;
    }
    const struct field *field = &table->fields[index];
    bool same = field->words.head == words.head && field->words.tail == words.tail;
    return same ? index : FIELD_NONE;
}
