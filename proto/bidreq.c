#include "proto/bidreq.h"

const char *bidreq_reject_name(enum bidreq_reject reject)
{
    static const char *const names[BIDREQ_REJECT_COUNT] = {
        [BIDREQ_OK] = "ok",
        [BIDREQ_NOT_JSON] = "not_json",
        [BIDREQ_NOT_OBJECT] = "not_object",
        [BIDREQ_TOO_DEEP] = "too_deep",
        [BIDREQ_TOO_LARGE] = "too_large",
        [BIDREQ_NO_ID] = "no_id",
        [BIDREQ_NO_IMP] = "no_imp",
        [BIDREQ_NO_IMP_ID] = "no_imp_id",
        [BIDREQ_DUPLICATE_IMP_ID] = "duplicate_imp_id",
        [BIDREQ_NO_MEMORY] = "no_memory",
        [BIDREQ_PING] = "ping",
    };
    return (unsigned)reject < BIDREQ_REJECT_COUNT ? names[reject] : "?";
}
