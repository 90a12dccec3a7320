#define _GNU_SOURCE
#include "bytes.h"

#include <stdlib.h>
#include <string.h>

int bytes_add(struct bytes *self, const void *more, size_t size) {
  if (size > self->room - self->size) {
    const size_t room = 2 * self->room + size + 64;
    char *data = realloc(self->data, room);
    if (data == NULL) return -1;
    self->data = data;
    self->room = room;
  }
  if (size != 0) memcpy(self->data + self->size, more, size);
  self->size += size;
  return 0;
}

void bytes_free(struct bytes *self) {
  free(self->data);
  memset(self, 0, sizeof *self);
}

int names_add(struct names *self, const char *name) {
  if (self->count == self->room) {
    const size_t room = 2 * self->room + 64;
    char **at = realloc(self->at, room * sizeof *at);
    if (at == NULL) return -1;
    self->at = at;
    self->room = room;
  }
  self->at[self->count] = strdup(name);
  if (self->at[self->count] == NULL) return -1;
  ++self->count;
  return 0;
}

static int compare(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

void names_sort(struct names *self) {
  if (self->count > 1) qsort(self->at, self->count, sizeof *self->at, compare);
}

size_t names_find(const struct names *self, const char *name) {
  char *const *found = self->count == 0 ? NULL : bsearch(&name, self->at, self->count, sizeof *self->at, compare);
  return found == NULL ? self->count : (size_t)(found - self->at);
}

void names_free(struct names *self) {
  size_t i = 0;
  for (i = 0; i < self->count; ++i) free(self->at[i]);
  free(self->at);
  memset(self, 0, sizeof *self);
}
