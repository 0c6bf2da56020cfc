/* How tables of fields are written; shared by catalog_tables*.c. */
#pragma once

#include "bidder/catalog_reader.h"

#define AT(type, member)                                                                           \
    .offset = offsetof(struct type, member), .size = sizeof(((struct type *)0)->member)
#define SHAPE(name_, struct_, fields_, text_)                                                      \
    {                                                                                              \
        .name = (name_), .text = (text_), .fields = (fields_),                                     \
        .field_count = sizeof(fields_) / sizeof((fields_)[0]), .size = sizeof(struct struct_)      \
    }
#define MICROS(units) ((int64_t)(units)*1000000)
#define DAY_S         86400
#define MAX_MONEY     MICROS(1000000000000) /* a million millions of the currency's unit */

#define ID_FIELD(type_, text_)                                                                     \
    {                                                                                              \
        "id", FIELD_ID, .required = true, AT(type_, id), .rule = TEXT_ID, .text = (text_)          \
    }
#define CAPS_FIELD(text_)                                                                          \
    {                                                                                              \
        "frequency_caps", FIELD_CAPS, .target = ENTITY_CAP, .text = (text_), .otherwise = "none"   \
    }

#define ID_LIST_SCHEMA "{\"type\":\"array\",\"items\":{\"$ref\":\"#/$defs/id\"}}"

extern const struct choice catalog_buying_choices[];
extern const struct shape shape_campaign;
