/* The snapshotter alone, without a daemon; nothing is mounted, so no root is needed. That it does all that a snapshotter must is
 * tested by the conformance kit (`ctest -R plugin-`). */
#define _GNU_SOURCE
#include "@ident@.h"

#include <berth/c_helpers.h>
#include <stdio.h>
#include <stdlib.h>

#include "tree.h"

static int failures = 0;

static void expect(int holds, const char *what) {
  if (holds) return;
  fprintf(stderr, "FAILED: %s\n", what);
  ++failures;
}

int main(void) {
  char root[] = "/tmp/@ident@.XXXXXX";
  struct failure why = {0, ""};
  struct mounts mounts;
  struct @ident@_plugin *snapshots = NULL;
  info_message *info = NULL;
  if (mkdtemp(root) == NULL) return 1;
  snapshots = @ident@_open(root, &why);
  expect(snapshots != NULL, "it opens an empty directory");
  if (snapshots == NULL) return 1;
  expect(@ident@_make(snapshots, KIND(ACTIVE), "work", "", NULL, 0, &mounts, &why) == 0, "a snapshot is prepared");
  expect(strcmp(mounts.type, "bind") == 0, "without a parent it is one directory");
  mounts_free(&mounts);
  expect(@ident@_commit(snapshots, "layer", "work", NULL, 0, &why) == 0, "it is committed");
  expect(@ident@_make(snapshots, KIND(ACTIVE), "next", "layer", NULL, 0, &mounts, &why) == 0, "a second one on top of it");
  expect(strcmp(mounts.type, "overlay") == 0, "with a parent it is a stack");
  mounts_free(&mounts);
  expect(@ident@_make(snapshots, KIND(ACTIVE), "next", "layer", NULL, 0, &mounts, &why) == BERTH_CODE_ALREADY_EXISTS,
         "a key is given once");
  @ident@_close(snapshots);

  snapshots = @ident@_open(root, &why);
  expect(snapshots != NULL, "it opens what an earlier life left");
  if (snapshots == NULL) return 1;
  info = @ident@_stat(snapshots, "next", &why);
  expect(info != NULL && strcmp(info->parent, "layer") == 0, "and knows it");
  if (info != NULL) protobuf_c_message_free_unpacked(&info->base, NULL);
  expect(@ident@_remove(snapshots, "layer", &why) == BERTH_CODE_FAILED_PRECONDITION, "a layer with something on top stays");
  expect(@ident@_remove(snapshots, "next", &why) == 0 && @ident@_remove(snapshots, "layer", &why) == 0, "else it goes");
  @ident@_close(snapshots);
  (void)remove_tree(root, &why);
  return failures == 0 ? 0 : 1;
}
