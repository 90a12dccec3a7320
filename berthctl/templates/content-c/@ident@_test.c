/* The store alone, without a daemon. That it does all that a content store must is tested by the conformance kit
 * (`ctest -R plugin-`). */
#define _GNU_SOURCE
#include "@ident@.h"

#include <berth/c_helpers.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tree.h"

static int failures = 0;

static void expect(int holds, const char *what) {
  if (holds) return;
  fprintf(stderr, "FAILED: %s\n", what);
  ++failures;
}

/* What FIPS 180-4 gives as examples, and one that ends at the edge of a block. */
static void test_digests(void) {
  char digest[DIGEST_SIZE];
  char many[119];
  struct sha256 sum;
  struct failure why;
  digest_of("abc", 3, digest);
  expect(strcmp(digest, "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad") == 0, "the digest of abc");
  digest_of("", 0, digest);
  expect(strcmp(digest, "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855") == 0, "the digest of nothing");
  memset(many, 'a', sizeof many);
  sha256_begin(&sum);
  sha256_add(&sum, many, 60);
  sha256_add(&sum, many, sizeof many - 60);
  sha256_digest(&sum, digest);
  expect(strcmp(digest, "sha256:31eba51c313a5c08226adf18d4a359cfdfd8d2e816b13f4af952f7ea6584dcfb") == 0, "a digest in two pieces");
  expect(check_digest(digest, &why) == 0 && check_digest("sha256:../../etc/passwd", &why) != 0, "paths are no digests");
}

int main(void) {
  char root[] = "/tmp/@ident@.XXXXXX";
  char digest[DIGEST_SIZE];
  struct failure why = {0, ""};
  struct @ident@_plugin *store = NULL;
  struct blob_writer *ingest = NULL;
  info_message *info = NULL;
  test_digests();
  if (mkdtemp(root) == NULL) return 1;
  digest_of("hello world", 11, digest);
  store = @ident@_open(root, &why);
  ingest = store == NULL ? NULL : writer_begin(store, "ref", 0, &why);
  expect(ingest != NULL && writer_write(ingest, "hello ", 6, &why) == 0, "bytes are taken");
  if (ingest == NULL) return 1;
  expect(writer_begin(store, "ref", 0, &why) == NULL && why.code == BERTH_CODE_UNAVAILABLE, "by one writer");
  writer_end(ingest);
  @ident@_close(store);

  store = @ident@_open(root, &why);
  ingest = store == NULL ? NULL : writer_begin(store, "ref", 0, &why);
  expect(ingest != NULL && ingest->status.offset == 6, "and are there after a restart");
  if (ingest == NULL) return 1;
  expect(writer_write(ingest, "world", 5, &why) == 0 && writer_commit(ingest, 11, digest, NULL, 0, &why) == 0, "all of them are a blob");
  writer_end(ingest);
  info = @ident@_info(store, digest, &why);
  expect(info != NULL && info->size == 11, "which is found");
  if (info != NULL) protobuf_c_message_free_unpacked(&info->base, NULL);
  expect(@ident@_status(store, "ref", &why) == NULL && why.code == BERTH_CODE_NOT_FOUND, "and the ingest is gone");
  @ident@_close(store);
  (void)remove_tree(root, &why);
  return failures == 0 ? 0 : 1;
}
