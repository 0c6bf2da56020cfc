/* The rules of targeting, one predicate each: the plain version that target_explain runs and that
 * the index of target.c must agree with. Shared by the parts of target only. Pure. */
#pragma once

#include "bidder/catalog.h"
#include "proto/bidreq.h"

#define TARGET_KEY_MAX                                                                             \
    255 /* bytes of a place, domain, bundle, os or category; longer: no match                      \
         */

bool target_rule_exchange(const struct targeting *targeting, uint32_t exchange);
bool target_rule_deal(const struct catalog *catalog, uint32_t exchange,
                      const struct bidreq_imp *imp, const struct catalog_line *line);
bool target_rule_format(const struct catalog *catalog, const struct bidreq_imp *imp,
                        const struct catalog_line *line);
bool target_rule_device(const struct targeting *targeting, const struct bidreq_device *device);
bool target_rule_connection(const struct targeting *targeting, const struct bidreq_device *device);
bool target_rule_os(const struct targeting *targeting, const struct bidreq_device *device);
bool target_rule_geo(const struct targeting *targeting, const struct bidreq_geo *geo);
bool target_rule_media(const struct targeting *targeting, const struct bidreq_media *media);
bool target_rule_category(const struct targeting *targeting, const struct bidreq_media *media);
bool target_rule_language(const struct targeting *targeting, const struct bid_request *request);
bool target_rule_daypart(const struct targeting *targeting, int hour_of_week);

/* Where the impression is: the site's or app's domain, else the page's host; without a dot at the
 * end. Empty when unknown or too long. */
struct str target_domain(const struct bidreq_media *media);
/* "www.x.example" as a planner writes it means x.example. */
struct str target_media_entry(struct str entry);
/* The device's language, else the content's; trimmed. */
struct str target_language(const struct bid_request *request);

/* The form in which places are compared: ASCII lower case; "CN-31" is "31"; six- and four-digit
 * codes (GB/T 2260) lose pairs of zeros at the end, so that "310000" is "31". The result views
 * place or key (TARGET_KEY_MAX bytes); empty: no place. */
struct str target_place_key(struct str place, char *key);

/* Coordinates were sent and are on the globe. */
bool target_has_point(const struct bidreq_geo *geo);
/* Great-circle distance on a sphere of 6371.0088 km (mean radius, IUGG), haversine formula. */
double target_distance_m(int64_t lat_a, int64_t lon_a, int64_t lat_b, int64_t lon_b);
