/* File: header | int32 weights[targets][2^bits]; numbers little-endian as the machine's.
 * Owns the mapping. */
#include "bidder/predict.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bidder/base/hash.h"

#define PREDICT_MAGIC    "JCMODEL1"
#define PREDICT_MIN_BITS 8
#define PREDICT_MAX_BITS 24
#define LOGIT_ONE        1000000
#define RATE_ONE         1000000000

struct predict_header {
    char magic[8];
    uint32_t bits;
    uint32_t targets;
    int32_t bias[PREDICT_TARGET_COUNT];
    uint64_t checksum; /* hash_bytes of the weights */
};

struct predict_model {
    const struct predict_header *header; /* mapping */
    const int32_t *weights;              /* behind it */
    size_t size;
    uint32_t mask;
};

static size_t file_size(uint32_t bits)
{
    return sizeof(struct predict_header) +
           sizeof(int32_t) * PREDICT_TARGET_COUNT * ((size_t)1 << bits);
}

static const char *header_problem(const struct predict_header *header, size_t size)
{
    if (size < sizeof(*header) || memcmp(header->magic, PREDICT_MAGIC, 8) != 0) {
        return "not a model file";
    }
    if (header->bits < PREDICT_MIN_BITS || header->bits > PREDICT_MAX_BITS ||
        header->targets != PREDICT_TARGET_COUNT || size != file_size(header->bits)) {
        return "its size does not fit its header; it may be cut";
    }
    if (hash_bytes(header + 1, size - sizeof(*header), 0) != header->checksum) {
        return "its checksum is wrong";
    }
    return NULL;
}

enum status predict_open(const char *path, struct predict_model **model, struct buf *error)
{
    enum status status = STATUS_IO;
    void *mapping = MAP_FAILED;
    struct stat info;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &info) != 0) {
        buf_printf(error, "%s: %s", path, strerror(errno));
        goto out;
    }
    mapping =
        info.st_size ? mmap(NULL, (size_t)info.st_size, PROT_READ, MAP_SHARED, fd, 0) : MAP_FAILED;
    const char *problem =
        mapping == MAP_FAILED ? "cannot be mapped" : header_problem(mapping, (size_t)info.st_size);
    if (problem) {
        buf_printf(error, "%s: %s", path, problem);
        status = STATUS_INVALID;
        goto out;
    }
    *model = malloc(sizeof(**model));
    if (!*model) {
        status = STATUS_NO_MEMORY;
        goto out;
    }
    const struct predict_header *header = mapping;
    **model = (struct predict_model){.header = header,
                                     .weights = (const int32_t *)(header + 1),
                                     .size = (size_t)info.st_size,
                                     .mask = ((uint32_t)1 << header->bits) - 1};
    mapping = MAP_FAILED;
    status = STATUS_OK;
out:
    if (mapping != MAP_FAILED) {
        munmap(mapping, (size_t)info.st_size);
    }
    if (fd >= 0) {
        close(fd);
    }
    return status;
}

void predict_close(struct predict_model **model)
{
    if (*model) {
        munmap((void *)(uintptr_t)(*model)->header, (*model)->size);
        free(*model);
        *model = NULL;
    }
}

/* The hash of "name=value" without putting the text together: FNV runs on over the pieces. */
static uint64_t feature_hash(struct str name, struct str value)
{
    uint64_t hash = 0xcbf29ce484222325ull;
    struct str pieces[] = {name, STR("="), value};
    for (int p = 0; p < 3; p++) {
        for (size_t i = 0; i < pieces[p].len; i++) {
            hash = (hash ^ (unsigned char)str_ascii_lower(pieces[p].ptr[i])) * 0x100000001b3ull;
        }
    }
    hash = (hash ^ (hash >> 32)) * 0x9e3779b97f4a7c15ull;
    return hash ^ (hash >> 29);
}

static struct str number_text(int64_t value, char *text, size_t size)
{
    return (struct str){text, (size_t)snprintf(text, size, "%lld", (long long)value)};
}

void predict_prepare(struct predict_request *prepared, struct str exchange_id,
                     const struct bid_request *request, int hour_of_week)
{
    char text[24];
    const struct bidreq_media *media = &request->media;
    struct str place = media->bundle.len ? media->bundle : media->domain;
    uint64_t *hashes = prepared->hashes;
    uint32_t n = 0;
    hashes[n++] = feature_hash(STR("exchange"), exchange_id);
    hashes[n++] = feature_hash(STR("media"), place);
    hashes[n++] = feature_hash(STR("hour"), number_text(hour_of_week % 24, text, sizeof(text)));
    hashes[n++] = feature_hash(STR("day"), number_text(hour_of_week / 24, text, sizeof(text)));
    hashes[n++] =
        feature_hash(STR("device"), number_text(request->device.devicetype, text, sizeof(text)));
    hashes[n++] = feature_hash(STR("os"), request->device.os);
    hashes[n++] = feature_hash(STR("city"), request->device.geo.city);
    hashes[n++] = feature_hash(STR("connection"),
                               number_text(request->device.connectiontype, text, sizeof(text)));
    prepared->count = n;
}

static int64_t rate_of_logit(int64_t logit)
{
    double rate = 1.0 / (1.0 + exp(-(double)logit / LOGIT_ONE));
    return llround(rate * RATE_ONE);
}

int64_t predict_rate_ppb(const struct predict_model *model, enum predict_target target,
                         const struct predict_request *prepared, const struct bidreq_imp *imp,
                         struct str line_id, struct str creative_id)
{
    const int32_t *weights = model->weights + (size_t)target * ((size_t)model->mask + 1);
    int64_t logit = model->header->bias[target];
    for (uint32_t i = 0; i < prepared->count; i++) {
        logit += weights[prepared->hashes[i] & model->mask];
    }
    struct str format = imp->video    ? STR("video")
                        : imp->audio  ? STR("audio")
                        : imp->native ? STR("native")
                                      : STR("banner");
    logit += weights[feature_hash(STR("format"), format) & model->mask];
    logit += weights[feature_hash(STR("tag"), imp->tagid) & model->mask];
    logit += weights[feature_hash(STR("line"), line_id) & model->mask];
    logit += weights[feature_hash(STR("creative"), creative_id) & model->mask];
    return rate_of_logit(logit);
}

int64_t predict_cpm_micros(int64_t goal_micros, int64_t rate_ppb)
{
    __extension__ typedef __int128 wide;
    wide cpm = (wide)goal_micros * rate_ppb / (RATE_ONE / 1000);
    return cpm > INT64_MAX ? INT64_MAX : (int64_t)cpm;
}

/* --- import --------------------------------------------------------------------------------- */

static bool import_line(struct str line, struct predict_header *header, int32_t *weights,
                        struct buf *error)
{
    struct str target_text = str_cut(&line, '\t');
    struct str feature = str_trim(str_cut(&line, '\t'));
    struct str weight_text = str_trim(line);
    target_text = str_trim(target_text);
    int target = str_eq(target_text, STR("click"))    ? PREDICT_CLICK
                 : str_eq(target_text, STR("action")) ? PREDICT_ACTION
                                                      : -1;
    int64_t weight;
    if (target < 0) {
        buf_printf(error, "expected \"click\" or \"action\", got \"%.*s\"", STR_ARG(target_text));
        return false;
    }
    if (!str_to_micros(weight_text, &weight) || weight > 1000 * (int64_t)LOGIT_ONE ||
        weight < -1000 * (int64_t)LOGIT_ONE) {
        buf_printf(error, "\"%.*s\" is not a weight between -1000 and 1000", STR_ARG(weight_text));
        return false;
    }
    if (str_eq(feature, STR("bias"))) {
        header->bias[target] = (int32_t)weight;
        return true;
    }
    struct str value = feature;
    struct str name = str_cut(&value, '=');
    if (!name.len || name.len == feature.len) {
        buf_printf(error, "expected \"bias\" or \"name=value\", got \"%.*s\"", STR_ARG(feature));
        return false;
    }
    size_t table = (size_t)1 << header->bits;
    int32_t *cell = &weights[(size_t)target * table + (feature_hash(name, value) & (table - 1))];
    int64_t sum = *cell + weight; /* features that share a cell add up */
    *cell = sum > INT32_MAX ? INT32_MAX : sum < INT32_MIN ? INT32_MIN : (int32_t)sum;
    return true;
}

static enum status write_file(const char *path, const void *bytes, size_t size, struct buf *error)
{
    char temporary[4096];
    if (snprintf(temporary, sizeof(temporary), "%s.new", path) >= (int)sizeof(temporary)) {
        BUF_PUT_LITERAL(error, "the path is too long");
        return STATUS_INVALID;
    }
    FILE *file = fopen(temporary, "wb");
    bool written = file && fwrite(bytes, 1, size, file) == size;
    if (file) {
        written &= fflush(file) == 0 && fsync(fileno(file)) == 0;
        written &= fclose(file) == 0;
    }
    if (!written || rename(temporary, path) != 0) {
        buf_printf(error, "%s: %s", path, strerror(errno));
        (void)unlink(temporary);
        return STATUS_IO;
    }
    return STATUS_OK;
}

enum status predict_import(struct str text, int bits, const char *path, struct buf *error)
{
    if (bits < PREDICT_MIN_BITS || bits > PREDICT_MAX_BITS) {
        buf_printf(error, "bits must be %d to %d", PREDICT_MIN_BITS, PREDICT_MAX_BITS);
        return STATUS_INVALID;
    }
    size_t size = file_size((uint32_t)bits);
    struct predict_header *header = calloc(1, size);
    if (!header) {
        return STATUS_NO_MEMORY;
    }
    memcpy(header->magic, PREDICT_MAGIC, 8);
    header->bits = (uint32_t)bits;
    header->targets = PREDICT_TARGET_COUNT;
    enum status status = STATUS_OK;
    for (int number = 1; text.len && status == STATUS_OK; number++) {
        struct str line = str_trim(str_cut(&text, '\n'));
        if (line.len && line.ptr[line.len - 1] == '\r') {
            line.len--;
        }
        if (!line.len || line.ptr[0] == '#') {
            continue;
        }
        struct buf problem;
        buf_init(&problem, 1024);
        if (!import_line(line, header, (int32_t *)(header + 1), &problem)) {
            buf_printf(error, "line %d: %.*s", number, STR_ARG(buf_str(&problem)));
            status = STATUS_INVALID;
        }
        buf_deinit(&problem);
    }
    if (status == STATUS_OK) {
        header->checksum = hash_bytes(header + 1, size - sizeof(*header), 0);
        status = write_file(path, header, size, error);
    }
    free(header);
    return status;
}
