/* Decoders: wire bytes -> struct bid_request. Pure; nothing is kept but what is in the arena.
 *
 * All decoders follow the same rules (proto/README.md): unknown fields and odd types are tolerated,
 * the first of duplicate keys wins, a view into body is taken where no unescaping is needed, so
 * body must outlive *request. Where the answer is not BIDREQ_OK, *request holds what was read until
 * then: good for a message, not for a bid. */
#pragma once

#include "bidder/base/status.h"
#include "proto/bidreq.h"

/* The request path's decoder: one pass, strict JSON, no allocation outside the arena. */
enum bidreq_reject openrtb_json_decode(struct str body, struct arena *arena,
                                       struct bid_request *request) MUST_USE;

/* The oracle: the same through cJSON. Slow; tests and fuzzing compare the two. */
enum bidreq_reject openrtb_cjson_decode(struct str body, struct arena *arena,
                                        struct bid_request *request) MUST_USE;

/* protobuf, IAB's field numbers (proto/openrtb.proto). */
enum bidreq_reject openrtb_pb_decode(struct str body, struct arena *arena,
                                     struct bid_request *request) MUST_USE;
