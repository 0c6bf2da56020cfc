/* Predicted click and action rates: hashed logistic regression over a few categorical features.
 *
 *   logit = bias + sum over features of weight[hash("name=value") mod 2^bits]
 *   rate  = 1 / (1 + e^-logit)
 *
 * The model is a read-only memory-mapped file, swapped like a catalog. Weights are integers
 * (millionths of a logit), rates are parts per billion, so that prices made of them repeat to the
 * last micro. Features describe the place, the time, the device and the ad. Nothing about what a
 * person bought or how loyal they are goes in: a price never depends on it (RULES: no price
 * discrimination by person). */
#pragma once

#include "bidder/base/buf.h"
#include "bidder/base/status.h"
#include "bidder/catalog.h"
#include "proto/bidreq.h"

enum predict_target { PREDICT_CLICK, PREDICT_ACTION, PREDICT_TARGET_COUNT };

struct predict_model; /* owned by who opened it */

/* Maps a model file. STATUS_IO: cannot be read; STATUS_INVALID: not a model (error says why). */
enum status predict_open(const char *path, struct predict_model **model,
                         struct buf *error) MUST_USE;
void predict_close(struct predict_model **model);

/* Hashes of what a request's impressions and lines have in common: once per request. */
struct predict_request {
    uint64_t hashes[8];
    uint32_t count;
};
void predict_prepare(struct predict_request *prepared, struct str exchange_id,
                     const struct bid_request *request, int hour_of_week);

/* Rate in parts per billion (0 .. 1e9) for a creative on an impression. Under 1 us. */
int64_t predict_rate_ppb(const struct predict_model *model, enum predict_target target,
                         const struct predict_request *prepared, const struct bidreq_imp *imp,
                         struct str line_id, struct str creative_id);

/* The CPM (micros) that a goal is worth: goal * rate * 1000. */
int64_t predict_cpm_micros(int64_t goal_micros, int64_t rate_ppb);

/* Text -> model file. Lines "click|action <TAB> feature <TAB> weight", feature "bias" or
 * "name=value"; # comments. bits: log2 of the table size, 8..24. Written beside path and renamed
 * into place. */
enum status predict_import(struct str text, int bits, const char *path, struct buf *error) MUST_USE;
