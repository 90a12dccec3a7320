// A cgroup with a limit of memory, for the process of one plugin.
#pragma once

#include <berth/status.h>
#include <sys/types.h>

#include <cstdint>
#include <string>
#include <string_view>

namespace berth::process {

/// Where the memory controller is, and where a cgroup with it may be made.
struct MemoryHierarchy {
  bool unified = false;  // version 2
  std::string mount;     // "/sys/fs/cgroup/memory"
  std::string own;       // this process's cgroup below it, "/" or "/system.slice/berthd.service"
};
/// From the texts of /proc/self/mountinfo and /proc/self/cgroup. An error says what is missing.
Result<MemoryHierarchy> memory_hierarchy(std::string_view mountinfo, std::string_view cgroup);

/// The folder below which a cgroup with the memory controller can be made.
Result<std::string> parent_in(const MemoryHierarchy& hierarchy);

/// One cgroup; its folder is removed when it is destroyed. One thread, but for was_exceeded().
class MemoryCgroup {
 public:
  /// Makes one for a process of `name`. With version 1 it is below this process's own cgroup. With
  /// version 2, where a cgroup has either processes or children with controllers, it is below the
  /// nearest ancestor that gives its children the memory controller, so that all limits above hold.
  /// What earlier lives of this program left there is removed.
  static Result<MemoryCgroup> make(std::string_view name, uint64_t memory_max);
  /// The same in a hierarchy given by the caller.
  static Result<MemoryCgroup> make_in(const MemoryHierarchy& hierarchy, std::string_view name,
                                      uint64_t memory_max);
  MemoryCgroup(MemoryCgroup&& other) noexcept;
  MemoryCgroup& operator=(MemoryCgroup&&) = delete;
  ~MemoryCgroup();

  Status add(pid_t pid) const;
  /// Whether the kernel has ended a process of it for want of memory. Any thread.
  bool was_exceeded() const;
  const std::string& folder() const { return folder_; }

 private:
  MemoryCgroup(std::string folder, bool unified) : folder_(std::move(folder)), unified_(unified) {}
  Status set_limit(uint64_t memory_max) const;

  std::string folder_;  // empty: moved from
  bool unified_;
};

}  // namespace berth::process
