// Snapshots as subvolumes of btrfs: <root>/{active,view,snapshots}/<id>. The root has to be on
// btrfs.
#pragma once

#include <berth/snapshotter.h>

namespace berth::btrfs {

/// OK when `directory`, which must exist, is on btrfs; else FAILED_PRECONDITION, which tells what
/// it is on.
Status check_support(const std::string& directory);

/// The device that is mounted where `directory` lies, from the text of /proc/self/mountinfo.
/// NOT_FOUND when no mount holds it. `directory` is an absolute path without symbolic links.
Result<std::string> device_of(const std::string& directory, std::string_view mountinfo);

/// Thread rule: that of Snapshotter.
class Btrfs : public Snapshotter {
 public:
  using Snapshotter::Snapshotter;
  Status open() override;

 protected:
  std::vector<std::string> folders() const override;
  std::string place(const SnapshotRecord& record) const override;
  Status make_tree(const Snapshot& snapshot) override;
  Result<MountList> mounts_of(const Snapshot& snapshot) const override;
  Status commit_tree(const Snapshot& active, const SnapshotRecord& committed) override;
  Status sync_tree(const Snapshot& snapshot) const override;
  Result<SnapshotUsage> measure(const Snapshot& snapshot,
                                const Cancelled& cancelled) const override;
  Status remove_place(const std::string& relative) override;

 private:
  std::string device_;  // written by open()
};

}  // namespace berth::btrfs
