/* Trees, whatever somebody put into them: links, names, any depth. */
#ifndef TREE_H
#define TREE_H

#include <stdint.h>

#include "failure.h"

/* With all that is below it, never through a symbolic link; what is absent is success. */
int32_t remove_tree(const char *path, struct failure *why);
/* Bytes on disk and files of a directory and all below it; names of one file count once. */
int32_t measure_tree(const char *path, int64_t *bytes, int64_t *inodes, struct failure *why);

#endif
