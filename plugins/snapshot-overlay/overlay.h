// Snapshots as directories that the kernel's overlayfs stacks: <root>/snapshots/<id>/{fs,work}.
#pragma once

#include <berth/snapshotter.h>

#include "overlay_support.h"

namespace berth::overlay {

struct Options {
  SnapshotterOptions common;
  /// Adds label containerd.io/snapshot/overlay.upperdir, the path of a snapshot's own layer.
  bool upperdir_label = false;
  /// Added to every overlay mount (not to bind mounts).
  std::vector<std::string> mount_options;
  /// Passes the mappings of the labels containerd.io/snapshot/{uid,gid}mapping on as mount options,
  /// for a mount that shows the layers idmapped. Without it only the snapshot's own directory gets
  /// the mapped owner.
  bool remap_ids = false;
};

/// Thread rule: that of Snapshotter.
class Overlay : public Snapshotter {
 public:
  explicit Overlay(Options options);

  /// Also finds out which mount options are needed. check_support() tells whether it can work.
  Status open() override;

  const std::vector<std::string>& mount_options() const { return mount_options_; }

 protected:
  std::vector<std::string> folders() const override;
  std::string place(const SnapshotRecord& record) const override;
  Status make_tree(const Snapshot& snapshot) override;
  Result<MountList> mounts_of(const Snapshot& snapshot) const override;
  Status sync_tree(const Snapshot& snapshot) const override;
  Result<SnapshotUsage> measure(const Snapshot& snapshot,
                                const Cancelled& cancelled) const override;
  void add_labels(const SnapshotRecord& record, SnapshotLabels* labels) const override;

 private:
  std::string upper_path(uint64_t id) const;
  std::string work_path(uint64_t id) const;

  const bool upperdir_label_;
  const bool remap_ids_;
  std::vector<std::string> mount_options_;
};

}  // namespace berth::overlay
