// A snapshotter that stacks directories with overlayfs: <root>/snapshots/<id>/{fs,work}.
#pragma once

#include <berth/snapshotter.h>

namespace @ident@_plugin {

/// The base class keeps the records, gives containerd's codes, orders the writes, removes in the
/// background and recovers after a crash. What is left to say: where a tree lies, how one is made,
/// and how it is mounted. Calls come from any thread, several at once.
class @Class@ : public berth::Snapshotter {
 public:
  using Snapshotter::Snapshotter;

 protected:
  std::vector<std::string> folders() const override;
  std::string place(const berth::SnapshotRecord& record) const override;
  berth::Status make_tree(const berth::Snapshot& snapshot) override;
  berth::Result<MountList> mounts_of(const berth::Snapshot& snapshot) const override;
  berth::Result<berth::SnapshotUsage> measure(const berth::Snapshot& snapshot,
                                              const Cancelled& cancelled) const override;

 private:
  std::string upper(uint64_t id) const { return absolute("snapshots/" + std::to_string(id) + "/fs"); }
  std::string work(uint64_t id) const { return absolute("snapshots/" + std::to_string(id) + "/work"); }
};

}  // namespace @ident@_plugin
