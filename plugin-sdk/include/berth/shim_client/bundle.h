// The directory of one task, laid out as containerd lays it out, so that its shims find what they
// expect. docs/formats/bundle.md describes every file.
#pragma once

#include <berth/status.h>
#include <sys/types.h>

#include <compare>
#include <string>
#include <string_view>

namespace berth::shim_client {

/// What a task is called.
struct TaskKey {
  std::string ns;
  std::string id;
  auto operator<=>(const TaskKey&) const = default;
  /// "namespace/id", for messages.
  std::string to_string() const { return ns + "/" + id; }
};

/// Where bundles live: `state` is lost at a reboot, `root` is not.
struct BundleRoots {
  std::string state;
  std::string root;
};

/// An identifier as containerd takes it: at most 76 bytes of letters, digits and single separators
/// . _ - inside. INVALID_ARGUMENT otherwise; such an id becomes a file name.
Status validate_identifier(std::string_view what, std::string_view id);

/// A value: the paths of one bundle. Functions touch the disk; none is for two threads at once on
/// the same bundle.
class Bundle {
 public:
  /// Makes the directories and writes `spec`, an OCI runtime specification as JSON, unless empty.
  /// The group of a container with a user namespace may enter. ALREADY_EXISTS when there is a
  /// bundle of this name. Undone on failure.
  static Result<Bundle> create(const BundleRoots& roots, const TaskKey& key, std::string_view spec);
  /// Names the bundle of a task, without looking.
  Bundle(const BundleRoots& roots, TaskKey key);

  const TaskKey& key() const { return key_; }
  const std::string& path() const { return path_; }
  std::string file(std::string_view name) const { return path_ + "/" + std::string(name); }
  std::string rootfs() const { return file("rootfs"); }
  /// A directory for what is too large for `path`, which may be in memory.
  const std::string& work() const { return work_; }

  /// Replaces a file of the bundle as a whole: readers see the old or the new bytes.
  Status write(std::string_view name, std::string_view bytes, mode_t mode = 0600) const;
  /// NOT_FOUND when there is none; at most 16 MiB.
  Result<std::string> read(std::string_view name) const;

  /// Unmounts what is left below rootfs and removes both directories, each renamed to a hidden name
  /// first. Never removes what a container wrote into its rootfs: FAILED_PRECONDITION when rootfs
  /// cannot be emptied by unmounting.
  Status remove() const;

 private:
  TaskKey key_;
  std::string path_;
  std::string work_;
};

/// Removes a directory with all that is below it; absent is success.
Status remove_tree(const std::string& path);

/// The group that the root of the container is, outside; 0 without a user namespace or when `spec`
/// cannot be read.
gid_t container_root_group(std::string_view spec);

}  // namespace berth::shim_client
