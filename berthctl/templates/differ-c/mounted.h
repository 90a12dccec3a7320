/* Work in what mounts show, as in a root of its own. */
#ifndef MOUNTED_H
#define MOUNTED_H

#include "containerd/types/mount.pb-c.h"
#include "failure.h"

typedef int32_t (*work_function)(void *context, struct failure *why);

/* Mounts on a new directory in `folder` and runs `work` on a thread whose root directory that is: whatever names and links a layer
 * has, the kernel resolves them there and nowhere else. Mounts live in a namespace of that thread and go with it, also when the daemon is
 * killed. Without mounts the root is empty. */
int32_t in_root_of(Containerd__Types__Mount *const *mounts, size_t count, const char *folder, work_function work, void *context,
                   struct failure *why);

#endif
