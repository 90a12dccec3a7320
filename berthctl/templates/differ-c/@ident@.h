/* A differ: layers from the content store onto mounts, and the difference of mounts into the content store. Functions return 0, or a
 * code and why. Any thread, several at once. */
#ifndef @IDENT@_H
#define @IDENT@_H

#include "blobs.h"
#include "containerd/services/diff/v1/diff.pb-c.h"
#include "digest.h"
#include "failure.h"

struct @ident@_plugin {
  struct blobs content;
  char *folder; /* an existing directory for mount points */
};

/* What is told of a layer. */
struct layer_facts {
  const char *media_type; /* lives as long as the request */
  char digest[DIGEST_SIZE];
  int64_t size;
};

/* The facts are those of the layer, uncompressed. */
int32_t @ident@_apply(const struct @ident@_plugin *self, berth_call *call, const Containerd__Services__Diff__V1__ApplyRequest *request,
                      struct layer_facts *out, struct failure *why);
/* The facts are those of what is in the store. */
int32_t @ident@_diff(const struct @ident@_plugin *self, berth_call *call, const Containerd__Services__Diff__V1__DiffRequest *request,
                     struct layer_facts *out, struct failure *why);

#endif
