/* Layers and trees; all of it in the root of the calling thread (mounted.h). */
#ifndef LAYER_H
#define LAYER_H

#include "bytes.h"
#include "failure.h"

/* Whether a layer has a say in an attribute. */
int is_of_layers(const char *attribute);

/* Unpacks a tar archive: what it brings replaces what is there, ".wh.NAME" removes NAME, ".wh..wh..opq" all that the lower layers have
 * in its directory. INVALID_ARGUMENT for what is no sound archive. */
int32_t unpack_here(const struct bytes *archive, struct failure *why);

/* Paths without the first slash, sorted, and of each all that makes it another file when it changes. */
struct tree {
  struct names paths;
  struct names looks; /* in the same order */
};
int32_t look_at_tree(struct tree *out, struct failure *why);
void tree_free(struct tree *tree);

/* Adds what this root has other than `lower` to `archive`, as a layer. */
int32_t pack_changes(const struct tree *lower, struct bytes *archive, struct failure *why);

#endif
