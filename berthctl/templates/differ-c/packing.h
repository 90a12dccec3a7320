/* How layers are compressed. */
#ifndef PACKING_H
#define PACKING_H

#include "bytes.h"
#include "failure.h"

enum packing { PLAIN, GZIP, ZSTD };

/* Adds to `out`. INVALID_ARGUMENT for what is damaged or cut. */
int32_t unpack(const struct bytes *blob, enum packing packing, struct bytes *out, struct failure *why);
int32_t pack(const struct bytes *layer, enum packing packing, struct bytes *out, struct failure *why);

#endif
