/* Results of operations that can fail for reasons outside the program. */
#pragma once

#define MUST_USE __attribute__((warn_unused_result))

/* A programmer's error is a BUG_ON (bug.h), never a status. */
enum status {
    STATUS_OK = 0,
    STATUS_INVALID,   /* the input is wrong and will stay wrong */
    STATUS_LIMIT,     /* a configured limit was hit; the caller counts it */
    STATUS_NO_MEMORY, /* an allocation failed */
    STATUS_NOT_FOUND, /* the thing asked for is not there */
    STATUS_DENIED,    /* signature, token or permission is wrong */
    STATUS_TIMEOUT,   /* the deadline passed first */
    STATUS_IO,        /* the system or a peer failed; errno or the log says how */
    STATUS_COUNT
};

/* The name of a status in lower case, for logs. Static memory. */
static inline const char *status_name(enum status status)
{
    static const char *const names[STATUS_COUNT] = {"ok",        "invalid", "limit",   "no_memory",
                                                    "not_found", "denied",  "timeout", "io"};
    return (unsigned)status < STATUS_COUNT ? names[status] : "?";
}
