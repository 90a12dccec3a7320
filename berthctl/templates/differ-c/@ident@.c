#define _GNU_SOURCE
#include "@ident@.h"

#include <berth/c_helpers.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "layer.h"
#include "mounted.h"
#include "packing.h"

#define LAYER "application/vnd.oci.image.layer.v1.tar"
#define UNCOMPRESSED "containerd.io/uncompressed" /* the label by which clients know a layer's diff id */

/* Told by the end of the media type: OCI writes "+gzip", docker ".gzip". */
static int32_t packing_of(const char *media_type, enum packing *out, struct failure *why) {
  static const char *const bases[] = {LAYER, "application/vnd.docker.image.rootfs.diff.tar"};
  static const char *const ends[] = {"", "gzip", "zstd"}; /* in order of enum packing */
  size_t base = 0;
  size_t end = 0;
  for (base = 0; base < 2; ++base) {
    const size_t size = strlen(bases[base]);
    if (strncmp(media_type, bases[base], size) != 0) continue;
    for (end = 0; end < 3; ++end) {
      const char *rest = media_type + size;
      if (end > 0 && (*rest == '+' || *rest == '.')) ++rest;
      *out = (enum packing)end;
      if (strcmp(rest, ends[end]) == 0) return 0;
    }
  }
  return fail(why, BERTH_CODE_UNIMPLEMENTED, "media type \"%.200s\" is not that of a layer which this differ knows: not implemented",
              media_type);
}

static void facts_of(const char *media_type, const struct bytes *layer, struct layer_facts *out) {
  out->media_type = media_type;
  digest_of(layer->data, layer->size, out->digest);
  out->size = (int64_t)layer->size;
}

static int32_t unpack_layer(void *context, struct failure *why) { return unpack_here(context, why); }

/* The blob, checked: what the store gives may be damaged. */
static int32_t read_checked(const struct @ident@_plugin *self, berth_call *call, const char *digest, struct bytes *out, struct failure *why) {
  char actual[DIGEST_SIZE];
  if (check_digest(digest, why) != 0 || blobs_read(&self->content, call, digest, out, why) != 0) return why->code;
  digest_of(out->data, out->size, actual);
  if (strcmp(actual, digest) == 0) return 0;
  return fail(why, BERTH_CODE_DATA_LOSS, "content %s: the store gives other bytes", digest);
}

/* The layer is in memory: simple first. */
int32_t @ident@_apply(const struct @ident@_plugin *self, berth_call *call, const Containerd__Services__Diff__V1__ApplyRequest *request,
                      struct layer_facts *out, struct failure *why) {
  struct bytes blob = {NULL, 0, 0};
  struct bytes layer = {NULL, 0, 0};
  enum packing packing = PLAIN;
  int32_t code = 0;
  if (request->diff == NULL) return fail(why, BERTH_CODE_INVALID_ARGUMENT, "apply: the request names no layer");
  if (packing_of(request->diff->media_type, &packing, why) != 0) return why->code;
  code = read_checked(self, call, request->diff->digest, &blob, why);
  if (code == 0) code = unpack(&blob, packing, &layer, why);
  bytes_free(&blob);
  if (code == 0) code = in_root_of(request->mounts, request->n_mounts, self->folder, unpack_layer, &layer, why);
  if (code == 0) facts_of(LAYER, &layer, out);
  bytes_free(&layer);
  return code;
}

static int32_t look_at_lower(void *context, struct failure *why) { return look_at_tree(context, why); }

struct changes {
  struct tree lower;
  struct bytes layer;
};

static int32_t look_at_upper(void *context, struct failure *why) {
  struct changes *changes = context;
  return pack_changes(&changes->lower, &changes->layer, why);
}

static int32_t make_layer(const struct @ident@_plugin *self, const Containerd__Services__Diff__V1__DiffRequest *request, struct bytes *out,
                          struct failure *why) {
  struct changes changes = {{{NULL, 0, 0}, {NULL, 0, 0}}, {NULL, 0, 0}};
  int32_t code = in_root_of(request->left, request->n_left, self->folder, look_at_lower, &changes.lower, why);
  if (code == 0) code = in_root_of(request->right, request->n_right, self->folder, look_at_upper, &changes, why);
  tree_free(&changes.lower);
  if (code != 0) bytes_free(&changes.layer);
  *out = changes.layer;
  return code;
}

/* With the labels of the request and, of a compressed one, that of the layer's digest. */
static int32_t store(const struct @ident@_plugin *self, berth_call *call, const Containerd__Services__Diff__V1__DiffRequest *request,
                     const struct bytes *blob, const char *digest, const char *uncompressed, struct failure *why) {
  char made_up[64];
  const char *ref = request->ref;
  blob_label more = CONTAINERD__SERVICES__DIFF__V1__DIFF_REQUEST__LABELS_ENTRY__INIT;
  size_t count = request->n_labels;
  unsigned long long random = 0;
  int32_t code = 0;
  blob_label **labels = calloc(count + 1, sizeof *labels);
  if (labels == NULL) return fail(why, BERTH_CODE_RESOURCE_EXHAUSTED, "no memory for labels");
  if (count != 0) memcpy(labels, request->labels, count * sizeof *labels);
  more.key = (char *)UNCOMPRESSED;
  more.value = (char *)uncompressed;
  if (uncompressed != NULL) labels[count++] = &more;
  if (*ref == '\0') {
    (void)!getrandom(&random, sizeof random, 0);
    (void)snprintf(made_up, sizeof made_up, "@name@-%llx", random);
    ref = made_up;
  }
  code = blobs_store(&self->content, call, ref, blob, digest, labels, count, why);
  if (code != 0 && ref == made_up) blobs_abort(&self->content, call, ref); /* nobody else knows its name */
  free(labels);
  return code;
}

int32_t @ident@_diff(const struct @ident@_plugin *self, berth_call *call, const Containerd__Services__Diff__V1__DiffRequest *request,
                     struct layer_facts *out, struct failure *why) {
  const char *media_type = *request->media_type == '\0' ? LAYER "+gzip" : request->media_type;
  struct bytes layer = {NULL, 0, 0};
  struct bytes blob = {NULL, 0, 0};
  char uncompressed[DIGEST_SIZE];
  enum packing packing = PLAIN;
  int32_t code = 0;
  if (packing_of(media_type, &packing, why) != 0 || make_layer(self, request, &layer, why) != 0) return why->code;
  digest_of(layer.data, layer.size, uncompressed);
  code = pack(&layer, packing, &blob, why);
  bytes_free(&layer);
  facts_of(media_type, &blob, out);
  if (code == 0) code = store(self, call, request, &blob, out->digest, packing == PLAIN ? NULL : uncompressed, why);
  bytes_free(&blob);
  return code;
}
