/* Jointcap's options. The table here is the only list: --help, deploy/jointcap.conf and the struct
 * are made from it, and tests/check_options.py holds the file against it.
 *
 * X(TYPE, field, "name", "default", min, max, "text") */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "bidder/base/option.h"

#define SECOND_US 1000000LL
#define MINUTE_US (60 * SECOND_US)
#define HOUR_US   (60 * MINUTE_US)
#define DAY_US    (24 * HOUR_US)

/* clang-format off */
#define CONFIG_OPTIONS(X)                                                                          \
    X(STRING, listen, "listen", "127.0.0.1:8080", 0, 0,                                            \
      "Where ad exchanges send bid requests and notices: address:port. Port 0 takes a free one.") \
    X(STRING, admin, "admin", "127.0.0.1:8081", 0, 0,                                              \
      "Where health, metrics, catalog and reports are served: address:port or unix:/path.")        \
    X(BOOL, admin_public, "admin_public", "no", 0, 0,                                              \
      "Allow admin to be an address that is not loopback. Health and metrics are open to all.")    \
    X(SECRET, admin_token, "admin_token", "", 0, 0,                                                \
      "Bearer token for admin requests: without one what changes something is refused; with one "  \
      "explanations and pacing need it, too.")                                                      \
    X(STRING, admin_token_file, "admin_token_file", "", 0, 0,                                      \
      "File that holds the admin token.")                                                          \
    X(INT, workers, "workers", "0", 0, 256,                                                        \
      "Worker processes; 0: one per processor.")                                                   \
    X(BOOL, pin, "pin", "no", 0, 0,                                                                \
      "Pin worker n to the n-th processor this process may use.")                                  \
    X(BOOL, mlock, "mlock", "no", 0, 0,                                                            \
      "Lock all memory, so that no page of a worker is ever fetched from swap.")                   \
    X(INT, machine, "machine", "0", 0, 65535,                                                      \
      "Number of this machine, different on each: part of every lease and bid id.")                \
    X(STRING, redis, "redis", "127.0.0.1:6379", 0, 0,                                              \
      "Where counts live: unix:/path, host:port, or cluster:host:port,host:port,...")              \
    X(DURATION, redis_timeout_us, "redis_timeout", "5ms", 100, 10 * SECOND_US,                     \
      "Longest wait for an answer of Redis; an auction's own deadline may be shorter.")            \
    X(DURATION, redis_connect_timeout_us, "redis_connect_timeout", "1s", 1000, 60 * SECOND_US,     \
      "Longest wait for a connection to Redis.")                                                   \
    X(INT, redis_in_flight, "redis_in_flight", "20000", 1, 10000000,                               \
      "Redis commands of one worker under way at once; further ones fail at once.")                \
    X(STRING, catalog, "catalog", "", 0, 0,                                                        \
      "The catalog file: exchanges, deals, campaigns. Read at the start and at SIGHUP.")           \
    X(STRING, model, "model", "", 0, 0,                                                            \
      "Model of click and action rates for lines with a goal (jointcapctl model); empty: none.")   \
    X(SECRET, secret, "secret", "", 0, 0,                                                          \
      "The deployment's secret, at least 32 characters, the same on every machine: person keys "   \
      "and notice urls are made with it. Changing it forgets every count.")                        \
    X(STRING, secret_file, "secret_file", "", 0, 0,                                                \
      "File that holds the secret.")                                                               \
    X(BOOL, dev, "dev", "no", 0, 0,                                                                \
      "Development: start without a secret (a random one, counts are lost at restart).")           \
    X(STRING, public_url, "public_url", "http://127.0.0.1:8080", 0, 0,                             \
      "Base of the notice and tracking urls, as exchanges and browsers reach this bidder.")        \
    X(STRING, state_dir, "state_dir", "/var/lib/jointcap", 0, 0,                                   \
      "Directory for what must outlive a restart: the catalog loaded last.")                       \
    X(STRING, event_log, "event_log", "", 0, 0,                                                    \
      "Directory of the event logs, and of the swap rights workers hold (else lost with a killed "   \
      "worker); empty: none are written.")                                                           \
    X(STRING, event_fsync, "event_fsync", "second", 0, 0,                                          \
      "When event logs reach the disk: off, second or batch.")                                     \
    X(DURATION, deadline_us, "deadline", "100ms", 1000, 10 * SECOND_US,                            \
      "Time for an auction when neither the request (tmax) nor the exchange says one.")            \
    X(DURATION, encode_us, "encode_time", "500us", 0, SECOND_US,                                   \
      "Kept free at the end of an auction's deadline for encoding and sending.")                   \
    X(DURATION, shed_lag_us, "shed_lag", "20ms", 100, 10 * SECOND_US,                              \
      "A request that waited longer for its worker is answered with a counted no-bid at once.")    \
    X(INT, max_auctions, "max_auctions", "4096", 1, 1000000,                                       \
      "Auctions of one worker under way at once; further ones are answered with a no-bid.")        \
    X(INT, reserve_seconds, "reserve_seconds", "60", 1, 65534,                                     \
      "How long a bid's reservation counts against a frequency cap without an impression; the "    \
      "exchange is told (exp) to show within five sixths of it. An exchange that may show later "  \
      "(imp.exp of its requests) wants more, else a cap may be passed; the price is that a bid "   \
      "lost without a loss notice keeps its place as long.")                                       \
    X(DURATION, win_timeout_us, "win_timeout", "10m", SECOND_US, DAY_US,                           \
      "How long a bid's money stays committed without a notice.")                                  \
    X(INT, max_open_bids, "max_open_bids", "1048576", 16, 1 << 28,                                 \
      "Bids of one worker on budgets whose outcome is open: neither won, lost nor timed out. At "  \
      "least bids per second x win_timeout; beyond it there are no bids (budget_busy). 72 bytes "  \
      "each, once used.")                                                                          \
    X(DURATION, notice_ttl_us, "notice_ttl", "2h", MINUTE_US, 30 * DAY_US,                         \
      "How long notice and tracking urls are honoured; each shown impression takes about 200 "     \
      "bytes of Redis for so long. A later click still leads to the landing page, uncounted.")         \
    X(SIZE, max_body_bytes, "max_body", "1m", 1024, 64 << 20,                                      \
      "Largest request body; a larger one is answered with 413.")                                  \
    X(SIZE, max_head_bytes, "max_head", "16k", 1024, 1 << 20,                                      \
      "Largest request line and headers together; more is answered with 431.")                     \
    X(SIZE, max_catalog_bytes, "max_catalog", "256m", 1024, 1 << 30,                               \
      "Largest catalog the admin port takes.")                                                     \
    X(INT, max_connections, "max_connections", "10000", 1, 1000000,                                \
      "Connections of one worker; further ones are answered with 503 and closed.")                 \
    X(DURATION, head_timeout_us, "head_timeout", "10s", 1000, HOUR_US,                             \
      "From a request's first byte to the end of its headers; later: 408.")                        \
    X(DURATION, body_timeout_us, "body_timeout", "10s", 1000, HOUR_US,                             \
      "From the end of the headers to the end of the body; later: 408.")                           \
    X(DURATION, write_timeout_us, "write_timeout", "10s", 1000, HOUR_US,                           \
      "For a client that does not read its answer.")                                               \
    X(DURATION, idle_timeout_us, "idle_timeout", "180s", 1000, DAY_US,                             \
      "For a connection without requests; exchanges expect 150 s and more.")                       \
    X(DURATION, drain_timeout_us, "drain_timeout", "10s", 0, HOUR_US,                              \
      "Longest wait at SIGTERM for requests under way.")                                           \
    X(DURATION, drain_grace_us, "drain_grace", "1s", 0, HOUR_US,                                   \
      "At SIGTERM, how long idle connections may still bring a last request.")                     \
    X(INT, metric_rows, "metric_rows", "1000", 1, 1000000,                                         \
      "Line items up to which /metrics lists each; with more they are in /metrics/lines only.")    \
    X(STRING, log_level, "log_level", "info", 0, 0,                                                \
      "error, warn, info or debug.")
/* clang-format on */

#define CONFIG_FIELD_BOOL(field)     bool field
#define CONFIG_FIELD_INT(field)      int64_t field
#define CONFIG_FIELD_SIZE(field)     int64_t field
#define CONFIG_FIELD_DURATION(field) int64_t field
#define CONFIG_FIELD_STRING(field)   char *field /* owned; never NULL */
#define CONFIG_FIELD_SECRET(field)   char *field

struct config {
#define CONFIG_FIELD(type, field, name, standard, min, max, help) CONFIG_FIELD_##type(field);
    CONFIG_OPTIONS(CONFIG_FIELD)
#undef CONFIG_FIELD
};

extern const struct option_table config_table;

/* Defaults, then --config=FILE, then JOINTCAP_<NAME>, then the other arguments; then the checks
 * that need several options, and the files that hold secrets. With --dev a missing secret becomes
 * a random one. STATUS_INVALID or STATUS_IO: *error says why. */
enum status config_load(struct config *config, int argc, char **argv, struct buf *error) MUST_USE;
void config_free(struct config *config);
/* The whole commented configuration file. */
void config_print_docs(struct buf *out);
