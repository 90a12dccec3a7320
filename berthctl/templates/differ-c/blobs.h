/* The content store that this plugin is connected to. */
#ifndef BLOBS_H
#define BLOBS_H

#include <berth/abi.h>

#include "bytes.h"
#include "containerd/services/diff/v1/diff.pb-c.h"
#include "failure.h"

typedef Containerd__Services__Diff__V1__DiffRequest__LabelsEntry blob_label;

struct blobs {
  const berth_host *host;
  berth_target *target;
  uint32_t read, write, abort; /* methods */
};

/* In init. UNIMPLEMENTED when what is there does not serve content. */
int32_t blobs_connect(struct blobs *self, const berth_host *host, berth_self *plugin, struct failure *why);

/* All of a blob, added to `out`. Calls are made in the name of `parent`: its deadline, its namespace. */
int32_t blobs_read(const struct blobs *self, berth_call *parent, const char *digest, struct bytes *out, struct failure *why);
/* A blob that is there already is success. What failed may leave an ingest. */
int32_t blobs_store(const struct blobs *self, berth_call *parent, const char *ref, const struct bytes *blob, const char *digest,
                    blob_label **labels, size_t label_count, struct failure *why);
/* Also when the parent has been cancelled. */
void blobs_abort(const struct blobs *self, berth_call *parent, const char *ref);

#endif
