// Processes that a shim which does not do its work leaves behind.
#pragma once

#include <cstddef>
#include <string>

namespace berth::shim_client {

/// Kills every process whose working directory is `bundle`, and which runs `program` unless that is
/// empty; waits for their ends, and returns how many there were. The bundle is where shims are
/// started, and what they run before there is a container. Without a program only for a shim that
/// was never any use: one that had a task may have log writers that still have something to write.
/// Any thread.
size_t kill_processes_in(const std::string& bundle, const std::string& program = {});

}  // namespace berth::shim_client
