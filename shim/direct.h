// What runc and crun do when they are asked to start a container that was created, or to delete one
// that has ended: little, beside becoming a process. The shim does it itself where it knows the
// runtime's version and the container needs nothing else (decision 10).
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "cgroup.h"
#include "spec.h"

namespace berth::shim {

enum class DirectKind {
  kNone,  // another runtime, or another version
  kRunc,
  kCrun,
};

/// What the daemon found out about a runtime, as it says so in the environment: "runc IDENTITY" or
/// "crun IDENTITY", with file_identity() of the program. kNone when `binary`, a path or a name to
/// be found in PATH, is another file, and for an empty or unknown text.
DirectKind direct_kind(std::string_view told, const std::string& binary);
/// The same of this process's environment: BERTH_DIRECT_RUNTIME.
DirectKind direct_kind(const std::string& binary);

/// Whether start and delete of such a container are no more than what the functions below do: it
/// has no hooks for these moments, its cgroups are named by an absolute path, its processes end
/// with the first one.
bool is_direct(const SpecFacts& facts);

/// Lets the first process of a created container go on, and returns when it has become the
/// container's program, as the runtime's `start` does. False: nothing was done, ask the runtime.
/// `state` is the runtime's folder of the container; `ended` tells whether the process has ended.
/// Blocks; any thread.
bool direct_start(DirectKind kind, const std::string& state, const std::function<bool()>& ended);

/// Removes the cgroups and the runtime's state of a container all of whose processes have ended.
/// False: some of it may be left, let the runtime delete it. `cgroup` is where its first process
/// was. Blocks; any thread.
bool direct_remove(DirectKind kind, const std::string& state, const SpecFacts& facts,
                   const Cgroup& cgroup);

}  // namespace berth::shim
