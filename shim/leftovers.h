// What a runtime that was killed in the middle of a command leaves, and what one leaves that works
// for a shim which is no more.
#pragma once

#include <optional>
#include <set>
#include <string>

#include "arguments.h"
#include "cgroup.h"
#include "runtime.h"

namespace berth::shim {

/// Ends every command of the runtime that works on container `id`, and waits until it is gone. For
/// a shim's successor: the runtime may be its child of before. `dead` are the arguments of a shim
/// that is gone for certain: then also children of it that have yet to become a command.
void end_commands(const Runtime& runtime, const std::string& id,
                  const std::optional<Arguments>& dead = std::nullopt);

/// Removes the container, however much of it was made: the runtime's state, processes that wait to
/// be started, the cgroups of the specification (`cgroups_path`, as it stands there). OK also when
/// there is nothing.
Status remove_half_made(const Runtime& runtime, const std::string& id,
                        const std::string& cgroups_path);

/// Kills processes that an `exec` of the runtime left to this process before it named them: those
/// that began after `since_ns` (CLOCK_BOOTTIME), lead a session, are in the container's cgroup and
/// not among `known`.
void end_strays(const Cgroup& cgroup, int64_t since_ns, const std::set<pid_t>& known);

}  // namespace berth::shim
