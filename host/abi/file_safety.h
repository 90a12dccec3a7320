// Plugins run as root, so the file and the directory must be ones that only root, or the daemon's
// own user, can write.
#pragma once

#include <berth/status.h>

#include <string>

namespace berth::abi {

/// OK, or PERMISSION_DENIED that names the path, its owner or mode, and the command that mends it.
/// Checks the file itself (not through a link that others could turn) and the directory that holds
/// it.
Status check_plugin_file(const std::string& path);

/// The same for a directory alone.
Status check_plugin_directory(const std::string& path);

}  // namespace berth::abi
