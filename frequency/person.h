/* Who a request is about: ids in the request -> keyed person keys. Pure. No raw id leaves here.
 *
 * key = first 14 bytes of HMAC-SHA-256(secret, type || 0x00 || canonical id), first bit set: 111
 * bits, with which 10^12 ids meet once in 10^9 deployments. Redis keeps a key of 14 bytes in 16.
 * canonical id = lower-cased; ids of devices, raw or hashed, become the md5 hex of the raw id and
 * share one type, so that the raw and the md5 form meet under whatever name they are sent. (sha1
 * forms cannot be brought to meet: they are types of their own.) */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "bidder/base/crypto.h"
#include "bidder/base/status.h"
#include "proto/bidreq.h"

#define PERSON_KEY_BYTES 14
#define PERSON_MAX_KEYS  4 /* different ids of one request that are looked up */

struct person_key {
    uint8_t bytes[PERSON_KEY_BYTES];
};

/* Where in a request an id stands: parsed once from catalog text by id_path_parse. */
enum id_source {
    ID_DEVICE_IFA,
    ID_DEVICE_DIDMD5,
    ID_DEVICE_DPIDMD5,
    ID_DEVICE_DIDSHA1,
    ID_DEVICE_DPIDSHA1,
    ID_DEVICE_MACMD5,
    ID_DEVICE_MACSHA1,
    ID_DEVICE_IP, /* household only */
    ID_USER_ID,
    ID_USER_BUYERUID,
    ID_USER_EID, /* user.eids[source=x].uids[0].id */
    ID_EXT,      /* device.ext.* or user.ext.* scalar */
};

/* How an id becomes canonical; its type says it. */
enum id_form { ID_FORM_PLAIN, ID_FORM_DEVICE, ID_FORM_DEVICE_MD5, ID_FORM_SHA1, ID_FORM_IP };

struct id_path {
    enum id_source source;
    enum id_form form;   /* of the type */
    struct str argument; /* eid source or ext path; borrowed */
    struct str type; /* as person_key_of takes it: "ifa", "did_md5", "device", "buyeruid@exchange",
                      * "eid:source", "ip" */
};

/* text as in the catalog ("device.ext.oaid", "user.eids[source=x.com].uids[0].id"); exchange_id
 * scopes ids that only that exchange understands (user.id, user.buyeruid). Strings made go to the
 * arena. STATUS_INVALID: not a path we know. */
enum status id_path_parse(struct str text, struct str exchange_id, struct arena *arena,
                          struct id_path *path) MUST_USE;

enum person_absence {
    PERSON_PRESENT = 0,
    PERSON_NO_ID, /* none of the paths held a usable id */
    PERSON_LMT,   /* lmt=1 or dnt=1 */
    PERSON_COPPA,
    PERSON_NO_CONSENT, /* regs.gdpr=1 without a consent string, us_privacy opt-out, gpc, ... */
    PERSON_ABSENCE_COUNT
};
const char *person_absence_name(enum person_absence absence);

struct person {
    struct person_key keys[PERSON_MAX_KEYS];
    uint8_t key_count;
    bool has_household;
    struct person_key household; /* OTT device id or IP, for caps with identity: household */
    enum person_absence absence; /* why key_count is 0 */
};

void person_identify(const struct crypto_key *secret, const struct id_path *paths,
                     uint32_t path_count, const struct id_path *household_paths,
                     uint32_t household_count, const struct bid_request *request,
                     struct person *person);

/* The key of an id typed by a person at the command line or in a CSV: type as in id_path.type, or
 * any of ifa did dpid oaid caid idfa gaid aaid imei mac androidid device, each also with _md5.
 * False when the id is empty or known-bad (all zeros, ...); *key is then undefined. */
bool person_key_of(const struct crypto_key *secret, struct str type, struct str id,
                   struct person_key *key);
/* The same id as the name of a household: another record, for an OTT device may be both. */
bool person_household_key_of(const struct crypto_key *secret, struct str type, struct str id,
                             struct person_key *key);

/* Is it a type that ids of requests have? For what people type: an id under a misspelt one would be
 * somebody else. */
bool person_type_is_known(struct str type);
/* "ifa:38400000-8cf0" -> type and id, views into text; "eid:source.com:id" has a type with a colon.
 * False when there is no type or no id. */
bool person_split_typed(struct str text, struct str *type, struct str *id);
