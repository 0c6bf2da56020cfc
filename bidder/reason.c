#include "bidder/reason.h"

#include "bidder/base/bug.h"

static const struct {
    char name[24];
    int nbr;
    const char *text;
} reasons[NO_BID_REASON_COUNT] = {[NO_BID_NONE] = {"none", 0, "bid"},
#define X(name_, nbr_, text_) [NO_BID_##name_] = {#name_, nbr_, text_},
                                  NO_BID_REASONS(X)
#undef X
};

/* The table holds upper-case names; metrics want them lower. Filled once, before any thread. */
static char lower_names[NO_BID_REASON_COUNT][24];

__attribute__((constructor)) static void fill_lower_names(void)
{
    for (unsigned i = 0; i < NO_BID_REASON_COUNT; i++) {
        for (unsigned c = 0; c < sizeof(lower_names[i]) && reasons[i].name[c]; c++) {
            char ch = reasons[i].name[c];
            lower_names[i][c] = (char)(ch >= 'A' && ch <= 'Z' ? ch + ('a' - 'A') : ch);
        }
    }
}

const char *no_bid_reason_label(unsigned index)
{
    BUG_ON(index >= NO_BID_REASON_COUNT);
    return lower_names[index];
}

const char *no_bid_reason_name(enum no_bid_reason reason)
{
    return no_bid_reason_label((unsigned)reason);
}

const char *no_bid_reason_text(enum no_bid_reason reason)
{
    BUG_ON((unsigned)reason >= NO_BID_REASON_COUNT);
    return reasons[reason].text;
}

int no_bid_reason_nbr(enum no_bid_reason reason)
{
    BUG_ON((unsigned)reason >= NO_BID_REASON_COUNT);
    return reasons[reason].nbr;
}
