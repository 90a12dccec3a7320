// Layers alone, without a daemon; unpacking needs root and is skipped without it. That it does all that a differ must is tested by the
// conformance kit (`ctest -R plugin-`).
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "layer.h"
#include "mounted.h"
#include "packing.h"

namespace {

namespace fs = std::filesystem;

int failures = 0;

void expect(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "FAILED: %s\n", what);
  ++failures;
}

std::vector<containerd::types::Mount> bound(const std::string& folder) {
  containerd::types::Mount mount;
  mount.set_type("bind");
  mount.set_source(folder);
  mount.add_options("rbind");
  return {mount};
}

}  // namespace

int main() {
  using @ident@_plugin::Packing;
  for (const Packing packing : {Packing::kPlain, Packing::kGzip, Packing::kZstd}) {
    const auto packed = @ident@_plugin::packed("some bytes", packing);
    expect(packed.ok() && *@ident@_plugin::unpacked(*packed, packing) == "some bytes", "what is packed can be unpacked");
  }
  expect(!@ident@_plugin::unpacked("noise", Packing::kGzip).ok(), "noise is no gzip stream");
  if (::geteuid() != 0) return failures == 0 ? 0 : 1;

  std::string scratch = (fs::temp_directory_path() / "@ident@.XXXXXX").string();
  if (::mkdtemp(scratch.data()) == nullptr) return 1;
  for (const char* name : {"/lower", "/upper", "/copy"}) fs::create_directory(scratch + name);
  std::ofstream(scratch + "/lower/gone") << "1";
  std::ofstream(scratch + "/copy/gone") << "1";
  std::ofstream(scratch + "/upper/new") << "2";
  @ident@_plugin::Tree lower;
  std::string layer;
  expect(@ident@_plugin::in_root_of(bound(scratch + "/lower"), scratch, [&] { return @ident@_plugin::look_at_tree(&lower); }).ok(), "a tree is seen");
  expect(@ident@_plugin::in_root_of(bound(scratch + "/upper"), scratch, [&] { return @ident@_plugin::pack_changes(lower, &layer); }).ok(),
         "its changes are a layer");
  expect(@ident@_plugin::in_root_of(bound(scratch + "/copy"), scratch, [&] { return @ident@_plugin::unpack_here(layer); }).ok(),
         "which can be unpacked");
  expect(fs::exists(scratch + "/copy/new") && !fs::exists(scratch + "/copy/gone"), "and gives the tree");
  fs::remove_all(scratch);
  return failures == 0 ? 0 : 1;
}
