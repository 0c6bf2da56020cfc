/* Which member of which object goes where: the tables that drive openrtb_json.c. Internal to
 * proto/. To read another field, add its line in openrtb_fields.c (and to the oracle). */
#pragma once

#include <stdint.h>

#include "bidder/base/str.h"

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

struct field {
    struct str name;
    enum field_kind kind;
    uint32_t offset;
    struct field_table *table; /* of the objects inside */
    uint32_t arg;              /* FIELD_OBJECTS: the limit; FIELD_ASSET: the kind */
    uint64_t word;             /* computed: see openrtb_fields.c */
};

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

/* Up to the first eight bytes of a key; with its length it tells keys up to eight bytes apart. */
static inline uint64_t field_word(struct str key)
{
    uint64_t word = 0;
    if (key.len >= 8) {
        memcpy(&word, key.ptr, 8);
    } else if (key.len >= 4) {
        uint32_t head, tail;
        memcpy(&head, key.ptr, 4);
        memcpy(&tail, key.ptr + key.len - 4, 4);
        word = head | (uint64_t)tail << 32;
    } else if (key.len) {
        word = (uint64_t)(unsigned char)key.ptr[0] |
               (uint64_t)(unsigned char)key.ptr[key.len / 2] << 8 |
               (uint64_t)(unsigned char)key.ptr[key.len - 1] << 16;
    }
    return word;
}

static inline uint32_t field_slot(uint64_t word, size_t len, uint64_t seed)
{
    return (uint32_t)(((word ^ (uint64_t)len << 56) * seed) >> 57);
}

/* The field of that name, or NULL. */
static inline const struct field *field_find(const struct field_table *table, struct str key)
{
    uint64_t word = field_word(key);
    uint8_t index = table->slots[field_slot(word, key.len, table->seed)];
    if (index == FIELD_NONE) {
        return NULL;
    }
    const struct field *field = &table->fields[index];
    if (field->word != word || field->name.len != key.len) {
        return NULL;
    }
    return key.len <= 8 || memcmp(field->name.ptr + 8, key.ptr + 8, key.len - 8) == 0 ? field
                                                                                      : NULL;
}
