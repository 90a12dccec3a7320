/* What a process shall be: from OCI specifications, and from what a daemon adds. */
#ifndef SPEC_H
#define SPEC_H

#include <stddef.h>
#include <sys/types.h>

#include "failure.h"

struct mount_point {
  char *type, *source, *target; /* the target below the root */
  unsigned long flags;
  char *data;
};

/* All of it is its own; spec_clear() frees it. */
struct spec {
  char **args, **env; /* end with NULL */
  char *cwd;
  uid_t uid;
  gid_t gid;
  char *root;                 /* a directory, seen after the mounts were made */
  struct mount_point *mounts; /* in a mount namespace of its own, with which they go; none: no namespace */
  size_t mount_count;
  char *in, *out, *err; /* fifos or files; empty: /dev/null */
};

/* `process` of an OCI specification, as JSON. */
int32_t spec_read_process(const char *json, size_t size, struct spec *out, struct failure *why);
/* Process, root and mounts of a bundle's config.json. */
int32_t spec_read_bundle(const char *bundle, struct spec *out, struct failure *why);
/* A mount more, by its options as they are written in specifications. */
void spec_add_mount(struct spec *spec, const char *type, const char *source, const char *target, char *const *options, size_t count);
void spec_clear(struct spec *spec);

#endif
