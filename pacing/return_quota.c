/* Nothing may be returned yet. */
#include "pacing/return_quota.h"

void return_quota_note_push(struct return_quota *quota, uint32_t deal, int64_t now_s)
{
    (void)quota;
    (void)deal;
    (void)now_s;
}

bool return_quota_take(struct return_quota *quota, uint32_t deal, int64_t now_s)
{
    (void)quota;
    (void)deal;
    (void)now_s;
    return false;
}
