// Mounts as snapshotters describe them, made for the time of one unpack or comparison.
//
// Wherever the kernel allows it (5.12, overlay layers one by one since 6.5), the mount is never
// attached to a path: it exists as long as its descriptor, so nothing is left behind by an error or
// a kill -9, no other process sees it, and the number of layers is not bounded by one page of
// options. Otherwise it goes onto a temporary directory.
#pragma once

#include <berth/fd.h>
#include <berth/status.h>

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "root_dir.h"

namespace berth::diff_walking {

/// One mount as containerd's API has it; options as in fstab.
struct Mount {
  std::string type;
  std::string source;
  std::string target;
  std::vector<std::string> options;
};

/// Options taken apart: flags for the system call, data for the file system.
struct MountOptions {
  unsigned long flags = 0;        // MS_* without propagation
  unsigned long propagation = 0;  // MS_PRIVATE and the like, with MS_REC
  std::vector<std::string> data;
  bool loop = false;  // the source is a file that needs a loop device
};
/// UNIMPLEMENTED for options that need more than that: id maps.
Result<MountOptions> parse_mount_options(const std::vector<std::string>& options);

/// The directories that an overlay is made of. Escapes (a backslash before a colon) are undone.
struct OverlayLayers {
  std::string upper;               // empty: read-only
  std::vector<std::string> lower;  // topmost first
  bool user_xattr = false;
};
OverlayLayers overlay_layers(const std::vector<std::string>& options);

/// The same content without a way to write: an overlay's upper directory becomes its topmost lower
/// one.
std::vector<Mount> read_only_mounts(const std::vector<Mount>& mounts);

/// Shortens "lowerdir=" by the directory that all layers have in common; it is the directory to be
/// in when mounting. Empty when there is nothing to gain.
struct CompactedOverlay {
  std::string directory;
  std::vector<std::string> options;
};
CompactedOverlay compact_overlay_options(const std::vector<std::string>& options);

/// A mounted tree; unmounts when destroyed. Movable. Any thread.
class MountedTree {
 public:
  enum class Method { kBest, kAttached };
  /// Mounts the list, each one onto the result of those before it. `temp_dir` is an existing
  /// directory for mount points, used where a mount cannot stay detached. INVALID_ARGUMENT for an
  /// empty list.
  static Result<MountedTree> mount(const std::vector<Mount>& mounts, const std::string& temp_dir,
                                   Method method = Method::kBest);

  MountedTree(MountedTree&& other) noexcept;
  MountedTree& operator=(MountedTree&&) = delete;
  ~MountedTree();

  const RootDir& root() const { return *root_; }
  /// The temporary mount point; empty for a detached mount.
  const std::string& mount_point() const { return mount_point_; }
  /// Undoes the mount and says how that went; afterwards the object is of no use.
  Status unmount();

 private:
  MountedTree() = default;
  static Result<MountedTree> mount_attached(const std::vector<Mount>& mounts,
                                            const std::string& temp_dir);

  std::optional<RootDir> root_;
  std::string mount_point_;
  int attached_ = 0;
};

/// Removes what an earlier process, killed at a bad moment, has left in a directory for mount
/// points.
Status remove_stale_mount_points(const std::string& temp_dir);

}  // namespace berth::diff_walking
