#define _GNU_SOURCE
#include "memory.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *had(void *memory) {
  if (memory == NULL) {
    fputs("no memory\n", stderr);
    abort();
  }
  return memory;
}

void *zeroed(size_t size) { return had(calloc(1, size)); }

void *resized(void *array, size_t count, size_t size) {
  if (size != 0 && count > SIZE_MAX / size) return had(NULL);
  return had(realloc(array, count * size + 1));
}

char *copied(const char *text) { return had(strdup(text)); }

char *printed(const char *format, ...) {
  char *out = NULL;
  va_list arguments;
  va_start(arguments, format);
  if (vasprintf(&out, format, arguments) < 0) out = NULL;
  va_end(arguments);
  return had(out);
}
