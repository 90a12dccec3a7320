// The store alone, without a daemon. That it does all that a content store must is tested by the conformance kit
// (`ctest -R plugin-`).
#include "store.h"

#include <cstdio>
#include <cstdlib>
#include <filesystem>

namespace {

int failures = 0;

void expect(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "FAILED: %s\n", what);
  ++failures;
}

}  // namespace

int main() {
  std::string root = (std::filesystem::temp_directory_path() / "@ident@.XXXXXX").string();
  if (::mkdtemp(root.data()) == nullptr) return 1;
  const berth::Digest digest = berth::digest_of("hello world");
  {
    auto store = @ident@_plugin::Store::open(root);
    expect(store.ok(), "it opens an empty directory");
    auto ingest = (*store)->begin("ref", 0);
    expect(ingest.ok() && (*ingest)->write("hello ").ok(), "bytes are taken");
    expect((*store)->begin("ref", 0).status().code() == berth::Code::kUnavailable, "by one writer");
  }
  {
    auto store = @ident@_plugin::Store::open(root);
    auto ingest = (*store)->begin("ref", 0);
    expect(ingest.ok() && (*ingest)->status().offset() == 6, "and are there after a restart");
    expect((*ingest)->write("world").ok() && (*ingest)->commit(11, digest, {}).ok(), "all of them are a blob");
    expect((*store)->info(digest).ok() && (*store)->info(digest)->size() == 11, "which is found");
    expect((*store)->status("ref").status().code() == berth::Code::kNotFound, "and the ingest is gone");
  }
  std::error_code ignored;
  std::filesystem::remove_all(root, ignored);
  return failures == 0 ? 0 : 1;
}
