// The cgroups of a container, of either version.
#pragma once

#include <berth/status.h>
#include <sys/types.h>

#include <chrono>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace berth::shim {

struct Cgroup {
  /// Version 2: the folder. Empty where the controllers are on version 1.
  std::string unified;
  /// Version 1: folder by controller ("memory", "cpuacct").
  std::map<std::string, std::string, std::less<>> controllers;

  bool empty() const { return unified.empty() && controllers.empty(); }
  /// The folder that lists the processes.
  std::string processes_folder() const;
};

/// From the text of /proc/PID/cgroup. `unified` says that /sys/fs/cgroup itself is version 2.
Cgroup parse_cgroup(std::string_view text, bool unified);

/// The cgroups that a process is in.
Result<Cgroup> cgroup_of(pid_t pid);

/// All processes in it and below it.
std::vector<uint32_t> processes_of(const Cgroup& cgroup);

/// Moves a process into the cgroup of that name in every hierarchy, which is made where it is
/// missing.
Status join_cgroup(const std::string& name, pid_t pid);

/// Removes the cgroups of a container from every hierarchy, as far as nobody is in them: those that
/// `cgroups_path` of its specification names, with what is below them. Processes that were killed a
/// moment ago hold theirs until they are reaped: waits for them, but not longer than `patience`.
/// True when none is left; a path that is empty, climbs or is systemd's names none, and that is
/// false.
bool remove_cgroups(const std::string& cgroups_path,
                    std::chrono::milliseconds patience = std::chrono::seconds(2));
/// Lets the processes in these cgroups run again: with version 1 what is frozen does not die.
void thaw_cgroups(const std::string& cgroups_path);

/// The metrics as containerd's clients know them: type and value of an Any with
/// io.containerd.cgroups.v1.Metrics or v2.
struct Metrics {
  std::string type;
  std::string value;
};
Result<Metrics> read_metrics(const Cgroup& cgroup);

}  // namespace berth::shim
