// Snapshots as complete copies: <root>/snapshots/<id> is the whole root file system, bind mounted.
// Works on every file system; costs time and, where files cannot be reflinked, space.
#pragma once

#include <berth/snapshotter.h>

namespace berth::native {

/// Thread rule: that of Snapshotter.
class Native : public Snapshotter {
 public:
  using Snapshotter::Snapshotter;
  Status open() override;

 protected:
  std::vector<std::string> folders() const override;
  /// A view on a parent has no tree of its own: it shows the parent's.
  std::string place(const SnapshotRecord& record) const override;
  Status make_tree(const Snapshot& snapshot) override;
  Status sync_made(const Snapshot& snapshot) const override;
  Result<MountList> mounts_of(const Snapshot& snapshot) const override;
};

}  // namespace berth::native
