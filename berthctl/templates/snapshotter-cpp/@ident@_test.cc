// The class alone, without a daemon; nothing is mounted, so no root is needed. That it does all that
// a snapshotter must is tested by the conformance kit (`ctest -R plugin-`).
#include "@ident@.h"

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
  {
    berth::SnapshotterOptions options;
    options.root = root;
    @ident@_plugin::@Class@ snapshotter(options);
    expect(snapshotter.open().ok(), "it opens an empty directory");

    berth::Context context;
    berth::snapshots_v1::PrepareSnapshotRequest prepare;
    berth::snapshots_v1::PrepareSnapshotResponse prepared;
    prepare.set_key("work");
    expect(snapshotter.Prepare(context, prepare, &prepared).ok(), "a snapshot is prepared");
    expect(prepared.mounts_size() == 1 && prepared.mounts(0).type() == "bind",
           "without a parent it is one directory");

    berth::snapshots_v1::CommitSnapshotRequest commit;
    google::protobuf::Empty empty;
    commit.set_key("work");
    commit.set_name("layer");
    expect(snapshotter.Commit(context, commit, &empty).ok(), "it is committed");

    prepare.set_key("next");
    prepare.set_parent("layer");
    prepared.Clear();
    expect(snapshotter.Prepare(context, prepare, &prepared).ok(), "a second one on top of it");
    expect(prepared.mounts_size() == 1 && prepared.mounts(0).type() == "overlay",
           "with a parent it is a stack");
    expect(snapshotter.Prepare(context, prepare, &prepared).code() == berth::Code::kAlreadyExists,
           "a key is given once");
  }
  std::error_code ignored;
  std::filesystem::remove_all(root, ignored);
  return failures == 0 ? 0 : 1;
}
