#include "text.h"

#include <stdlib.h>
#include <string.h>

/* Bytes of the character that a text begins with; 0: it begins with none. */
static size_t character(const unsigned char *at) {
  size_t size = 0;
  size_t i = 0;
  if (*at < 0x80) return 1;
  if (*at >= 0xc2 && *at < 0xe0) size = 2;
  if (*at >= 0xe0 && *at < 0xf0) size = 3;
  if (*at >= 0xf0 && *at < 0xf5) size = 4;
  /* Longer than need be, halves of pairs, and beyond the last. */
  if ((*at == 0xe0 && at[1] < 0xa0) || (*at == 0xed && at[1] > 0x9f) || (*at == 0xf0 && at[1] < 0x90) || (*at == 0xf4 && at[1] > 0x8f)) {
    return 0;
  }
  for (i = 1; i < size; ++i) {
    if ((at[i] & 0xc0) != 0x80) return 0;
  }
  return size;
}

int is_text(const char *text) {
  const unsigned char *at = (const unsigned char *)text;
  while (*at != '\0') {
    const size_t size = character(at);
    if (size == 0) return 0;
    at += size;
  }
  return 1;
}

void make_text(char *text) {
  while (*text != '\0') {
    const size_t size = character((const unsigned char *)text);
    if (size == 0) *text = '?';
    text += size == 0 ? 1 : size;
  }
}

char *copy_text(berth_str text) {
  char *out = malloc((size_t)text.size + 1);
  if (out == NULL) return NULL;
  if (text.size != 0) memcpy(out, text.data, text.size);
  out[text.size] = '\0';
  return out;
}
