/* Files that are there, whole, after a crash. */
#ifndef DISK_H
#define DISK_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "failure.h"

#define PATH_SIZE 4096

/* Replaces a file as a whole and durably: readers see the old or the new bytes, also after a crash. */
int32_t write_durably(const char *directory, const char *name, const void *bytes, size_t size, struct failure *why);
/* All of a file, to be freed. NULL and why. */
void *read_whole(const char *path, size_t *size, struct failure *why);
/* Makes what happened to the names in a directory durable. */
int32_t sync_directory(const char *path, struct failure *why);
/* A directory with this mode, whatever the umask; one that is there is success. */
int32_t make_directory(const char *path, unsigned mode, struct failure *why);

#endif
