/* The small languages inside catalog texts: durations, dates, hours, days; and guesses at what a
 * misspelt word meant. Pure. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "bidder/base/str.h"
#include "bidder/base/tz.h"

/* "90s" "30m" "1h" "7d" "2w", also added up: "1d12h". Not "0s", not negative, at most 100 years. */
bool value_duration(struct str text, int64_t *seconds);

enum date_error { DATE_OK, DATE_FORM, DATE_NO_SUCH_DAY };
/* "2026-10-01" (local midnight; for an end the midnight behind that day),
 * "2026-10-01T20:00" or "...:30" (local), "2026-10-01T20:00:00+08:00" or "...Z". Years 2000-2199.
 */
enum date_error value_date(struct str text, const struct tz *tz, bool is_end, int64_t *utc_s);

/* Has a number, as JSON writes them, no more than six decimals? "1e-7" has seven, "70e-7" six. */
bool value_in_micros(struct str number);

/* "mon-fri,sun" -> bit 0 = Monday ... 6 = Sunday; a range may wrap ("sat-mon"); "all". */
bool value_days(struct str text, uint8_t *days);
/* "18-24,0-2,9" -> bit per hour; the end of a range is not part of it; may wrap ("22-2"). */
bool value_hours(struct str text, uint32_t *hours);

/* Number of letters to insert, drop, change or swap; limit + 1 when more than limit. Case is
 * folded. */
uint32_t value_distance(struct str a, struct str b, uint32_t limit);
/* How many letters a word of this length may be off and still be guessed. */
uint32_t value_guess_limit(size_t length);

/* Nothing that moves a terminal's cursor or turns a line round: ids stand in tables and logs. No
 * C0 or C1 control characters, no DEL, no bidirectional override or isolate. */
bool value_printable(struct str text);
/* Puts ? in their place. */
void value_make_printable(char *text, size_t len);
bool value_url(struct str text);
bool value_domain(struct str text);
