/* SHA-256, and digests as images write them: "sha256:" and 64 small hexadecimal digits. */
#ifndef DIGEST_H
#define DIGEST_H

#include <stddef.h>
#include <stdint.h>

#include "failure.h"

#define DIGEST_SIZE 72 /* of a digest's text, with its NUL */
#define DIGEST_PREFIX "sha256:"

struct sha256 {
  uint32_t state[8];
  uint64_t size; /* bytes added */
  unsigned char block[64];
};

void sha256_begin(struct sha256 *self);
void sha256_add(struct sha256 *self, const void *bytes, size_t size);
/* Of what was added so far; more may be added. */
void sha256_digest(const struct sha256 *self, char out[DIGEST_SIZE]);
void digest_of(const void *bytes, size_t size, char out[DIGEST_SIZE]);

/* INVALID_ARGUMENT for what is no such digest. One that is, is a safe name of a file but for its colon. */
int32_t check_digest(const char *text, struct failure *why);

#endif
