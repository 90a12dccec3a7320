// Files that say who works on a folder. The kernel lets go of them with the process.
#pragma once

#include <berth/fd.h>
#include <berth/status.h>

#include <string>

namespace berth::ops {

enum class LockKind { kAlone, kShared };

/// Holds the lock `file`, which is made where it is missing, or that of a folder that is there,
/// until the descriptor is closed. Waits for nobody: FAILED_PRECONDITION, with `taken` for a text,
/// where another process has it.
Result<UniqueFd> lock_file(const std::string& file, LockKind kind, const std::string& taken);

}  // namespace berth::ops
