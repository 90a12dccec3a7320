// Undoing what was mounted below a bundle.
#pragma once

#include <berth/status.h>

#include <string>
#include <string_view>
#include <vector>

namespace berth::shim_client {

/// Mount points at or below `directory` in the text of a mountinfo file (proc(5)), innermost last.
std::vector<std::string> mounts_below(std::string_view mountinfo, std::string_view directory);

/// Unmounts everything at and below `directory`, innermost first. One that is busy is detached
/// after a moment.
Status unmount_below(const std::string& directory);

}  // namespace berth::shim_client
