// What a bench takes from the machine and has to give back: processes, mounts, cgroups, files.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

namespace berth::bench {

/// The whole file, or what could be read of it.
std::string read_file(const std::string& path);

/// Arguments of a process, separated by single spaces; empty when there is none.
std::string command_line(pid_t pid);

/// Processes with `text` in their arguments, without this one.
std::vector<pid_t> processes_with(const std::string& text);

/// Ends everything that daemons under `directory` left behind, by force, and removes it: processes
/// that name it in their arguments (the daemon, its shims), containers in the cgroup `space` and in
/// those whose names begin with it and "-", their mounts, the cgroups, runc's state, the shims'
/// sockets, at last the directory. Safe to call when nothing is left.
void clean_up(const std::string& directory, const std::string& space);

/// The program of that name in PATH, or empty.
std::string find_program(const std::string& name);

/// Runs a program and waits; its output goes to `log`. The exit code, 128 + signal, or 127. `more`
/// is set in its environment, as "KEY=value".
int run(const std::vector<std::string>& arguments, const std::string& log,
        const std::vector<std::string>& more = {});

/// Likewise without waiting: the process, or -1.
pid_t begin(const std::vector<std::string>& arguments, const std::string& log,
            const std::vector<std::string>& more = {});

/// A new ext4 with a journal, as an ordinary machine has it, in a file beside its mount point.
class FreshFilesystem {
 public:
  /// `directory` is made. Throws std::runtime_error with what mkfs or mount said. Needs root.
  explicit FreshFilesystem(const std::string& directory);
  /// Unmounts it and removes it, whatever is in it.
  ~FreshFilesystem();
  FreshFilesystem(const FreshFilesystem&) = delete;
  FreshFilesystem& operator=(const FreshFilesystem&) = delete;

 private:
  void discard();

  const std::string directory_, image_;
};

/// This environment with `more` in it, which wins.
std::vector<std::string> environment_with(const std::vector<std::string>& more);

/// A mount namespace of its own for this process and its children, without the empty unified cgroup
/// beside version 1, which crun 1.8 refuses. Whether there was one. One thread only.
bool leave_unified_cgroup();

/// Where CPU time of the cgroup `name` and those in it is counted, or empty: only version 1 lets a
/// thread join.
std::string cpu_cgroup(const std::string& name);

/// In milliseconds, of a folder that cpu_cgroup() gave.
double cpu_milliseconds_of(const std::string& cgroup);

}  // namespace berth::bench
