// All child processes of the shim: programs that it runs, and what those leave to it as subreaper.
#pragma once

#include <berth/status.h>
#include <sys/types.h>

#include <functional>
#include <mutex>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

namespace berth::shim {

struct Exit {
  pid_t pid = 0;
  uint32_t status = 0;  // the exit code, or 128 and the signal's number
  int64_t seconds = 0;  // since the epoch: when it was reaped
  int32_t nanos = 0;
};

/// The clock's time in a new Exit.
Exit exit_now(pid_t pid, uint32_t status);

struct Command {
  std::string program;  // a path, or a name to be found in PATH
  std::vector<std::string> arguments;
  std::string directory;
  int in = -1;  // borrowed; -1 is /dev/null
  int out = -1;
  int err = -1;
  /// Descriptors 3 and up of the program, borrowed.
  std::vector<int> more;
  std::vector<std::string> more_environment;
};

class Children {
 public:
  /// Runs on the thread that reaps; must not block.
  using Ended = std::function<void(const Exit&)>;

  /// `orphan` is told of children that spawn() did not make. Blocks SIGCHLD: call it before other
  /// threads are made.
  explicit Children(Ended orphan);

  /// NOT_FOUND without such a program. Any thread.
  Result<pid_t> spawn(const Command& command, Ended ended);
  /// Runs it to its end. Not on the thread that reaps.
  Result<Exit> run(const Command& command);

  /// Reaps for ever, all children in the order in which the kernel hands them out.
  [[noreturn]] void serve();
  /// Reaps what has ended already.
  void reap();

 private:
  const Ended orphan_;
  std::mutex mutex_;  // guards what follows; held across a spawn, so that no end is missed
  std::unordered_map<pid_t, Ended> programs_;
};

}  // namespace berth::shim
