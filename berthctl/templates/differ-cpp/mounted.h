// Work in what mounts show, as in a root of its own.
#pragma once

#include <berth/status.h>

#include <functional>
#include <string>
#include <vector>

#include "containerd/types/mount.pb.h"

namespace @ident@_plugin {

/// Mounts on a new directory in `folder` and runs `work` on a thread whose root directory that is: whatever names and links a
/// layer has, the kernel resolves them there and nowhere else. Mounts live in a namespace of that thread and go with it, also when the
/// daemon is killed. Without mounts the root is empty.
berth::Status in_root_of(const std::vector<containerd::types::Mount>& mounts, const std::string& folder,
                         const std::function<berth::Status()>& work);

}  // namespace @ident@_plugin
