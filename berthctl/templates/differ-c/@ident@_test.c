/* Layers alone, without a daemon; unpacking needs root and is skipped without it. That it does all that a differ must is tested by the
 * conformance kit (`ctest -R plugin-`). */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "layer.h"
#include "mounted.h"
#include "packing.h"

static int failures = 0;

static void expect(int holds, const char *what) {
  if (holds) return;
  fprintf(stderr, "FAILED: %s\n", what);
  ++failures;
}

static void test_packing(void) {
  static const enum packing packings[] = {PLAIN, GZIP, ZSTD};
  struct bytes some = {(char *)"some bytes", 10, 10};
  struct failure why;
  size_t i = 0;
  for (i = 0; i < 3; ++i) {
    struct bytes packed = {NULL, 0, 0};
    struct bytes again = {NULL, 0, 0};
    expect(pack(&some, packings[i], &packed, &why) == 0 && unpack(&packed, packings[i], &again, &why) == 0 && again.size == 10 &&
               memcmp(again.data, some.data, 10) == 0,
           "what is packed can be unpacked");
    bytes_free(&packed);
    bytes_free(&again);
    expect(packings[i] == PLAIN || unpack(&some, packings[i], &again, &why) != 0, "noise is not unpacked");
    bytes_free(&again);
  }
}

static struct tree lower;
static struct bytes layer;

static int32_t look_at(void *context, struct failure *why) {
  (void)context;
  return look_at_tree(&lower, why);
}

static int32_t pack_it(void *context, struct failure *why) {
  (void)context;
  return pack_changes(&lower, &layer, why);
}

static int32_t unpack_it(void *context, struct failure *why) {
  (void)context;
  return unpack_here(&layer, why);
}

static void write_file(const char *folder, const char *name) {
  char path[4096];
  FILE *file = NULL;
  (void)snprintf(path, sizeof path, "%s/%s", folder, name);
  file = fopen(path, "w");
  if (file == NULL) return;
  (void)fputs("1", file);
  fclose(file);
}

static int is_there(const char *name) {
  struct stat status;
  return lstat(name, &status) == 0;
}

static int32_t in(const char *folder, work_function work, struct failure *why) {
  char *options[] = {(char *)"rbind"};
  Containerd__Types__Mount mount = CONTAINERD__TYPES__MOUNT__INIT;
  Containerd__Types__Mount *mounts[1];
  mounts[0] = &mount;
  mount.type = (char *)"bind";
  mount.source = (char *)folder;
  mount.options = options;
  mount.n_options = 1;
  return in_root_of(mounts, 1, ".", work, NULL, why);
}

int main(void) {
  char scratch[] = "/tmp/@ident@.XXXXXX";
  struct failure why = {0, ""};
  test_packing();
  if (geteuid() != 0) return failures == 0 ? 0 : 1;

  if (mkdtemp(scratch) == NULL || chdir(scratch) != 0) return 1;
  if (mkdir("lower", 0755) != 0 || mkdir("upper", 0755) != 0 || mkdir("copy", 0755) != 0) return 1;
  write_file("lower", "gone");
  write_file("copy", "gone");
  write_file("upper", "new");
  expect(in("lower", look_at, &why) == 0, "a tree is seen");
  expect(in("upper", pack_it, &why) == 0, "its changes are a layer");
  expect(in("copy", unpack_it, &why) == 0, "which can be unpacked");
  expect(is_there("copy/new") && !is_there("copy/gone"), "and gives the tree");
  if (failures != 0) fprintf(stderr, "%s\n", why.text);
  tree_free(&lower);
  bytes_free(&layer);
  (void)unlink("lower/gone");
  (void)unlink("copy/new");
  (void)unlink("upper/new");
  (void)rmdir("lower");
  (void)rmdir("upper");
  (void)rmdir("copy");
  (void)rmdir(scratch);
  return failures == 0 ? 0 : 1;
}
