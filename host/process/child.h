// The process of one plugin, as the kernel has it.
#pragma once

#include <berth/fd.h>
#include <berth/status.h>
#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace berth::process {

/// What a process uses now; zeroes when it is gone.
struct Usage {
  uint64_t resident_bytes = 0;
  uint64_t own_bytes = 0;  // of those, what is not a file's nor shared memory
  uint64_t cpu_nanoseconds = 0;
};

/// A child of this process, which must be reaped. One thread, except for pid(), kill() and
/// ending(), which any may call until reap().
class Child {
 public:
  /// The descriptor that the program finds its link at.
  static constexpr int kLinkFd = 3;

  /// Runs the program with one end of `link`, in a process group of its own, with no signal
  /// blocked. The kernel ends it with the thread that calls this, if the program asks for that.
  static Result<Child> spawn(const std::vector<std::string>& words, UniqueFd link);

  pid_t pid() const { return pid_; }
  void kill() const;
  /// How it ended, in words ("ended by SIGSEGV"), when it has within that time; it is not reaped.
  std::optional<std::string> ending(std::chrono::milliseconds patience) const;
  /// Readable once it has ended.
  int pidfd() const { return pidfd_.get(); }
  Usage usage() const;
  /// Waits until it has ended, and frees its number. The CPU time that it has used.
  uint64_t reap();

 private:
  Child(pid_t pid, UniqueFd pidfd) : pid_(pid), pidfd_(std::move(pidfd)) {}
  pid_t pid_ = -1;
  UniqueFd pidfd_;
};

}  // namespace berth::process
