// A faithful copy of a file tree.
#pragma once

#include <berth/status.h>

#include <string>

namespace berth::native {

/// Copies what is in directory `source`, and the attributes of `source` itself, into the empty
/// directory `target`: contents (shared with the original where the file system can, holes stay
/// holes), hard links, symbolic links, devices, FIFOs, sockets, owners, modes, times, extended
/// attributes. Attributes of the security.* kind that may not be set here are left out. Mounts
/// inside `source` are not entered. `scratch` is a directory on the same file system as `target`,
/// for hard links on the way. Any thread. On failure `target` holds a part.
Status copy_tree(const std::string& source, const std::string& target, const std::string& scratch);

}  // namespace berth::native
