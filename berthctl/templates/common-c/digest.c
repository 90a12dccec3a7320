#include "digest.h"

#include <berth/c_helpers.h>
#include <stdio.h>
#include <string.h>

/* FIPS 180-4 has the names and the numbers. */
static const uint32_t k[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5, 0xd807aa98, 0x12835b01, 0x243185be,
    0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174, 0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa,
    0x5cb0a9dc, 0x76f988da, 0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967, 0x27b70a85,
    0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85, 0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3,
    0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070, 0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f,
    0x682e6ff3, 0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

static uint32_t turned(uint32_t value, int bits) { return value >> bits | value << (32 - bits); }

static void take_block(uint32_t state[8], const unsigned char *block) {
  uint32_t w[64];
  uint32_t s[8];
  int i = 0;
  for (i = 0; i < 16; ++i, block += 4) {
    w[i] = (uint32_t)block[0] << 24 | (uint32_t)block[1] << 16 | (uint32_t)block[2] << 8 | block[3];
  }
  for (; i < 64; ++i) {
    const uint32_t s0 = turned(w[i - 15], 7) ^ turned(w[i - 15], 18) ^ w[i - 15] >> 3;
    const uint32_t s1 = turned(w[i - 2], 17) ^ turned(w[i - 2], 19) ^ w[i - 2] >> 10;
    w[i] = w[i - 16] + s0 + w[i - 7] + s1;
  }
  memcpy(s, state, sizeof s);
  for (i = 0; i < 64; ++i) {
    const uint32_t s1 = turned(s[4], 6) ^ turned(s[4], 11) ^ turned(s[4], 25);
    const uint32_t t1 = s[7] + s1 + ((s[4] & s[5]) ^ (~s[4] & s[6])) + k[i] + w[i];
    const uint32_t s0 = turned(s[0], 2) ^ turned(s[0], 13) ^ turned(s[0], 22);
    const uint32_t t2 = s0 + ((s[0] & s[1]) ^ (s[0] & s[2]) ^ (s[1] & s[2]));
    memmove(s + 1, s, 7 * sizeof *s);
    s[4] += t1;
    s[0] = t1 + t2;
  }
  for (i = 0; i < 8; ++i) state[i] += s[i];
}

void sha256_begin(struct sha256 *self) {
  static const uint32_t first[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
  memcpy(self->state, first, sizeof first);
  self->size = 0;
}

void sha256_add(struct sha256 *self, const void *bytes, size_t size) {
  const unsigned char *at = bytes;
  while (size > 0) {
    const size_t filled = self->size % sizeof self->block;
    const size_t room = sizeof self->block - filled;
    const size_t step = size < room ? size : room;
    if (step == sizeof self->block) {
      take_block(self->state, at);
    } else {
      memcpy(self->block + filled, at, step);
      if (step == room) take_block(self->state, self->block);
    }
    self->size += step;
    at += step;
    size -= step;
  }
}

void sha256_digest(const struct sha256 *self, char out[DIGEST_SIZE]) {
  static const unsigned char end[64] = {0x80};
  struct sha256 copy = *self;
  unsigned char size[8];
  int i = 0;
  for (i = 0; i < 8; ++i) size[i] = (unsigned char)(self->size * 8 >> (56 - 8 * i));
  sha256_add(&copy, end, 1 + (119 - self->size % 64) % 64); /* so that 8 bytes are left of the last block */
  sha256_add(&copy, size, sizeof size);
  memcpy(out, DIGEST_PREFIX, sizeof DIGEST_PREFIX);
  for (i = 0; i < 8; ++i) (void)snprintf(out + strlen(DIGEST_PREFIX) + 8 * i, 9, "%08x", (unsigned)copy.state[i]);
}

void digest_of(const void *bytes, size_t size, char out[DIGEST_SIZE]) {
  struct sha256 sum;
  sha256_begin(&sum);
  sha256_add(&sum, bytes, size);
  sha256_digest(&sum, out);
}

int32_t check_digest(const char *text, struct failure *why) {
  const size_t prefix = strlen(DIGEST_PREFIX);
  if (strlen(text) == DIGEST_SIZE - 1 && strncmp(text, DIGEST_PREFIX, prefix) == 0 &&
      strspn(text + prefix, "0123456789abcdef") == DIGEST_SIZE - 1 - prefix) {
    return 0;
  }
  return fail(why, BERTH_CODE_INVALID_ARGUMENT, "\"%.200s\" is no digest of SHA-256", text);
}
