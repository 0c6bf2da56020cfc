/* What person_admin.c and person_describe.c share. Nobody else includes this. */
#pragma once

#include "frequency/person_admin.h"

/* A person's ids while a tool works on them. */
struct person_group {
    struct person_key keys[PERSON_ADMIN_MAX_IDS];
    uint32_t count;
};

/* Adds key, its links, their links, and so on. */
enum status person_group_find(struct redis_sync *sync, const struct person_key *key,
                              struct person_group *group, struct buf *error) MUST_USE;
/* HGETALL of a key's hash of that kind; NULL with words in *error. */
const struct redis_value *person_hash_get(struct redis_sync *sync, struct buf *error,
                                          const struct person_key *key);
