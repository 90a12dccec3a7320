// A parent for the test, which cleans up also when the test is interrupted, crashes or is killed.
#pragma once

#include <functional>
#include <string>

namespace berth::crash {

/// What one run calls its own: everything is below `folder` or named after `space`.
struct Territory {
  std::string folder;
  std::string space;
};

/// Runs `test` in a child and returns its exit code, or 1 when it was killed, after nothing is left
/// of it. SIGINT, SIGTERM and SIGHUP end the test at once. First removes what earlier runs have
/// left whose parent was killed, and of them only that. No threads before.
int supervise(const std::function<int(const Territory&)>& test);

}  // namespace berth::crash
