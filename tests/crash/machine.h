// What a round may leave behind: processes, mounts, cgroups, bundles, fifos, sockets, states of the
// runtime.
#pragma once

#include <sys/types.h>

#include <functional>
#include <set>
#include <string>
#include <thread>
#include <vector>

namespace berth::crash {

/// The whole file, or what could be read of it.
std::string read_file(const std::string& path);
void write_file(const std::string& path, const std::string& content);

/// Arguments of a process, separated by spaces; empty when there is none.
std::string command_line(pid_t pid);

/// Processes that this one, a subreaper, has below it; without zombies.
std::set<pid_t> descendants();

/// What there is of the daemon in `folder` and of containers in the namespace `space`, as
/// sentences. The daemon's process is not told.
std::set<std::string> traces(const std::string& folder, const std::string& space, pid_t daemon);

/// More about a trace of processes or of files, for whoever looks for its cause.
std::vector<std::string> details(const std::string& trace);

/// Freezes a cgroup, of version 1 or 2, and waits until it is; false without one.
bool freeze(const std::string& cgroup);

/// Ends and removes everything that traces() would tell, by force.
void clean_up(const std::string& folder, const std::string& space);

/// Collects the ends of all children, of which a subreaper gets many, and tells of each.
class Reaper {
 public:
  explicit Reaper(std::function<void(pid_t pid, int status)> ended);
  /// Ends when there are no children any more.
  ~Reaper();
  Reaper(const Reaper&) = delete;
  Reaper& operator=(const Reaper&) = delete;

 private:
  std::atomic<bool> stopping_ = false;
  std::thread thread_;
};

}  // namespace berth::crash
