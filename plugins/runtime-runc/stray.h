// Processes that a shim which does not do its work leaves behind.
#pragma once

#include <cstddef>
#include <string>

namespace berth::runtime {

/// Kills every process whose working directory is `bundle`, waits for their ends, and returns how
/// many there were: that is where
/// shims are started, and what they run before there is a container. For a shim that was never any
/// use: one that had a task may have log writers that still have something to write. Any thread.
size_t kill_processes_in(const std::string& bundle);

}  // namespace berth::runtime
