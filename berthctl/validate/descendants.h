// What a case that was killed leaves running.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <set>

namespace berth::ctl::validate {

/// Children of children become this process's when their parents end, wherever they went.
void adopt_orphans();

/// Takes the end of a child of this process, if it is one; whether it is gone.
bool is_gone(pid_t pid);

/// The processes whose parent this one is, also those that have ended and are not waited for.
std::set<pid_t> children();

/// Kills all children of this process but `others`, and what becomes one, until there are none.
/// False: some do not end in time, as those in a cgroup that is frozen. Nobody else waits for them.
bool end_children(const std::set<pid_t>& others, std::chrono::milliseconds patience);

}  // namespace berth::ctl::validate
