// The root file system of a container: mounted before the runtime creates it, unmounted after.
#pragma once

#include <berth/status.h>

#include <string>
#include <vector>

namespace berth::shim {

struct Mount {
  std::string type;
  std::string source;
  std::string target;  // below the root file system; usually empty
  std::vector<std::string> options;
};

/// What mount(2) wants of the options in words.
struct MountCall {
  unsigned long flags = 0;
  unsigned long propagation = 0;  // set by a call of its own
  std::string data;
  std::string directory;  // paths in `data` are relative to it; empty: they are not
  bool loop = false;      // the source is a file that needs a loop device
};

/// Options that do not fit into a page are shortened where a folder is common to the lower layers;
/// INVALID_ARGUMENT when that does not help.
Result<MountCall> mount_call(const Mount& mount);

/// Mounts all at `rootfs`, which is made; nothing stays mounted on failure. On a worker's thread
/// (it may change the thread's working directory).
Status mount_rootfs(const std::vector<Mount>& mounts, const std::string& rootfs);

/// Unmounts whatever is at `rootfs`, stacked mounts too. OK when nothing is.
Status unmount_rootfs(const std::string& rootfs);

}  // namespace berth::shim
