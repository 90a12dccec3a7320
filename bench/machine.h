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
/// that name it in their arguments (the daemon, its shims), containers in the cgroup `space`, their
/// mounts, the cgroups, runc's state, the shims' sockets, at last the directory. Safe to call when
/// nothing is left.
void clean_up(const std::string& directory, const std::string& space);

/// The program of that name in PATH, or empty.
std::string find_program(const std::string& name);

/// Runs a program and waits; its output goes to `log`. The exit code, 128 + signal, or 127.
int run(const std::vector<std::string>& arguments, const std::string& log);

}  // namespace berth::bench
