/* What the loader's tables say, for editors and for people. Pure. */
#pragma once

#include "bidder/base/buf.h"

/* JSON Schema, draft 2020-12. Whatever it refuses the loader refuses; the loader sees more. */
void catalog_schema_put(struct buf *out);
/* The reference part of CATALOG.md. */
void catalog_reference_put(struct buf *out);
