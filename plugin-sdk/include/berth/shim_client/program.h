// Runs a short-lived program to its end: how shims are asked to start, to delete and to describe
// themselves.
#pragma once

#include <berth/status.h>

#include <functional>
#include <string>
#include <vector>

namespace berth::shim_client {

struct Program {
  std::string path;
  std::vector<std::string> arguments;    // without the program's own name
  std::vector<std::string> environment;  // "KEY=value"; all that it gets
  std::string directory;                 // where it runs; empty is here
  std::string input;                     // its standard input
};

struct ProgramOutcome {
  int exit_status = 0;  // 128 + n when signal n ended it
  std::string output;
  std::string errors;
};

/// Runs the program as leader of its own process group, with default signals and no descriptor but
/// its three, and waits for its end, not for the end of what it left running. DEADLINE_EXCEEDED: it
/// took longer than `deadline_ns` (CLOCK_MONOTONIC), and its group was killed. CANCELLED: the same,
/// because `cancelled`, asked every 100 ms, said so. Each output is kept up to 1 MiB. Blocks.
Result<ProgramOutcome> run_program(const Program& program, int64_t deadline_ns,
                                   const std::function<bool()>& cancelled = {});

}  // namespace berth::shim_client
