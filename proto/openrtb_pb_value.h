/* Values out of protobuf-c's messages, by the rules of proto/README.md. Internal to the protobuf
 * decoder. */
#pragma once

#include "proto/openrtb.pb-c.h"
#include "proto/openrtb_wire.h"

struct pb {
    struct arena *arena;
    struct openrtb_wire *wire;
    bool no_memory;
    bool too_large;
};

/* Each sets (to) from has_x and x of a message, when it is there and makes sense. */
#define GET_INT(to, message, field)                                                                \
    do {                                                                                           \
        if ((message)->has_##field) {                                                              \
            (to) = (message)->field;                                                               \
        }                                                                                          \
    } while (0)

#define GET_COUNT(to, message, field)                                                              \
    do {                                                                                           \
        if ((message)->has_##field && (message)->field >= 0) {                                     \
            (to) = (message)->field;                                                               \
        }                                                                                          \
    } while (0)

#define GET_FLAG(to, message, field)                                                               \
    do {                                                                                           \
        if ((message)->has_##field && (message)->field >= 0) {                                     \
            (to) = (message)->field != 0;                                                          \
        }                                                                                          \
    } while (0)

#define GET_PRICE(to, message, field)                                                              \
    do {                                                                                           \
        int64_t micros_;                                                                           \
        if ((message)->has_##field && pb_micros((message)->field, &micros_) && micros_ >= 0) {     \
            (to) = micros_;                                                                        \
        }                                                                                          \
    } while (0)

#define GET_TEXTS(pb, list, message, field)                                                        \
    pb_get_texts((pb), (message)->field, (message)->n_##field, (list))

#define GET_INTS(pb, list, message, field)                                                         \
    pb_get_ints((pb), (message)->field, (message)->n_##field, (list))

/* Rounded half away from zero and saturated; false for NaN. */
bool pb_micros(double value, int64_t *micros);
/* Empty when NULL, not UTF-8, or too long (noted). */
struct str pb_text(struct pb *pb, const char *c_string);
void pb_get_text(struct pb *pb, const char *c_string, struct str *to);
/* One more item on a list, or NULL with the reason noted. */
void *pb_push(struct pb *pb, void *list, size_t size, uint32_t max);
void pb_push_text(struct pb *pb, struct str_list *list, struct str text);
void pb_get_texts(struct pb *pb, char *const *texts, size_t count, struct str_list *list);
void pb_get_keywords(struct pb *pb, const char *c_string, struct str_list *list);
void pb_get_kwarray(struct pb *pb, char *const *texts, size_t count, struct str_list *list);
void pb_get_ints(struct pb *pb, int32_t *ints, size_t count, struct int_list *list);
void pb_get_durfloors(struct pb *pb, Openrtb__BidRequest__DurFloors *const *messages, size_t count,
                      struct bidreq_durfloors *list);
/* A zeroed struct when wanted, else NULL. */
void *pb_make(struct pb *pb, bool wanted, size_t size);

/* openrtb_pb_imp.c */
void pb_read_imp(struct pb *pb, const Openrtb__BidRequest__Imp *m, struct bidreq_imp *imp);
