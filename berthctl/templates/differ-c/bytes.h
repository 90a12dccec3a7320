/* Bytes and names that grow. */
#ifndef BYTES_H
#define BYTES_H

#include <stddef.h>

struct bytes {
  char *data;
  size_t size, room;
};

/* 0, or -1 when memory is gone; then nothing was added. */
int bytes_add(struct bytes *self, const void *more, size_t size);
void bytes_free(struct bytes *self);

struct names {
  char **at;
  size_t count, room;
};

/* A copy of the name. 0, or -1 when memory is gone. */
int names_add(struct names *self, const char *name);
void names_sort(struct names *self);
/* Of sorted names: which one it is, or `count`. */
size_t names_find(const struct names *self, const char *name);
void names_free(struct names *self);

#endif
