/* Memory for a program that is of no use without: it ends then, and the daemon cleans up after it. */
#ifndef MEMORY_H
#define MEMORY_H

#include <stddef.h>

/* Zeroes. */
void *zeroed(size_t size);
/* Grows or makes an array; what is new is not set. */
void *resized(void *array, size_t count, size_t size);
char *copied(const char *text);
char *printed(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
