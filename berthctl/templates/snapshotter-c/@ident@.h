/* A snapshotter that stacks directories with overlayfs: <root>/snapshots/<id>/{fs,work}, and what is known of each in
 * <root>/records/<id>, a message Info. Functions return 0, or a code and why. Any thread; one at a time works. */
#ifndef @IDENT@_H
#define @IDENT@_H

#include "containerd/services/snapshots/v1/snapshots.pb-c.h"
#include "failure.h"
#include "filter.h"
#include "records.h"

typedef Containerd__Services__Snapshots__V1__Info info_message;
typedef struct label info_label;
typedef Containerd__Services__Snapshots__V1__Kind snapshot_kind;
#define KIND(name) CONTAINERD__SERVICES__SNAPSHOTS__V1__KIND__##name

struct @ident@_plugin;

/* How to mount a snapshot: one mount, of type "bind" or "overlay". */
struct mounts {
  char *type;
  char *source;
  char **options;
  size_t option_count;
};
void mounts_free(struct mounts *mounts);

/* Finds what an earlier life left below `root`, which must be there. NULL and why. */
struct @ident@_plugin *@ident@_open(const char *root, struct failure *why);
void @ident@_close(struct @ident@_plugin *self);

/* A new snapshot, ACTIVE or VIEW, on top of a committed one; no parent is "". */
int32_t @ident@_make(struct @ident@_plugin *self, snapshot_kind kind, const char *key, const char *parent, info_label **labels,
                     size_t label_count, struct mounts *out, struct failure *why);
int32_t @ident@_mounts(struct @ident@_plugin *self, const char *key, struct mounts *out, struct failure *why);
/* An active snapshot becomes a layer, durable when this returns 0. */
int32_t @ident@_commit(struct @ident@_plugin *self, const char *name, const char *key, info_label **labels, size_t label_count,
                       struct failure *why);
int32_t @ident@_remove(struct @ident@_plugin *self, const char *key, struct failure *why);
/* A copy, to be freed with protobuf_c_message_free_unpacked(). NULL and why. */
info_message *@ident@_stat(struct @ident@_plugin *self, const char *key, struct failure *why);
/* Labels by a field mask: "labels", "labels.KEY", or none for all of them. The copy is as it is then. */
info_message *@ident@_update(struct @ident@_plugin *self, const info_message *wanted, char **paths, size_t path_count, struct failure *why);
/* Copies of those that match, ended by NULL; free each and the array. NULL and why. */
info_message **@ident@_list(struct @ident@_plugin *self, const struct filter_set *filters, struct failure *why);
int32_t @ident@_usage(struct @ident@_plugin *self, const char *key, int64_t *bytes, int64_t *inodes, struct failure *why);

#endif
