/* Request templates: whole HTTP requests, built once from body files, in which the request id and
 * the ids of a person are overwritten in place, at fixed width, before each send. */
#pragma once

#include <stdint.h>

#include "bench/load/options.h"
#include "bidder/base/status.h"
#include "bidder/base/str.h"

#define TEMPLATE_SLOTS     32
#define TEMPLATE_BODY_MAX  (1 << 20)
#define TEMPLATE_PICKS_MAX 65536
#define TEMPLATE_FIELD_IFA 2 /* of a slot: device.ifa */

enum slot_style { SLOT_HEX, SLOT_UUID, SLOT_IP };

struct template_slot {
    uint32_t offset; /* from the first byte of the HTTP request */
    uint16_t width;
    uint8_t style;
    uint8_t field; /* 0: the request id; else which id of the person */
};

struct template
{
    char *bytes; /* owned */
    size_t len;
    size_t body_offset;
    unsigned slot_count;
    struct template_slot slots[TEMPLATE_SLOTS];
};

struct templates {
    struct template *items; /* owned */
    unsigned count;
    unsigned with_request_id;
    unsigned with_person;
    size_t longest;
    uint32_t *picks; /* owned; indexes of items, each as often as it weighs */
    unsigned pick_count;
};

/* Reads the bodies named by the options; path and host go into the request line and headers.
 * Says on standard error what is wrong. */
enum status templates_load(struct templates *templates, const struct options *options,
                           struct str host, struct str path) MUST_USE;
void templates_deinit(struct templates *templates);

/* Writes the ids. Person and request numbers name them: the same number gives the same ids, in
 * every template. */
void template_patch(struct template *item, uint64_t request, uint64_t person, uint64_t salt);
