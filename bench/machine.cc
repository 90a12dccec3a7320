#include "machine.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>
#include <thread>

namespace berth::bench {
namespace {

namespace fs = std::filesystem;
using std::chrono::milliseconds;

constexpr char kCgroups[] = "/sys/fs/cgroup";
constexpr char kRuntimeState[] = "/run/containerd/runc";  // of containerd's runc shim

/// Kills until nothing is there any more, for at most two seconds.
void kill_all(const std::vector<pid_t>& processes) {
  for (int attempt = 0; attempt < 100; ++attempt) {
    bool alive = false;
    for (const pid_t process : processes) alive |= ::kill(process, SIGKILL) == 0;
    if (!alive) return;
    while (::waitpid(-1, nullptr, WNOHANG) > 0) {
    }
    std::this_thread::sleep_for(milliseconds(20));
  }
}

/// The cgroup of that name in every hierarchy: version 2, or each of version 1.
std::vector<fs::path> cgroups(const std::string& name) {
  std::vector<fs::path> found;
  std::error_code error;
  std::vector<fs::path> places = {kCgroups};
  for (const auto& entry : fs::directory_iterator(kCgroups, error)) places.push_back(entry.path());
  for (const fs::path& place : places) {
    if (!fs::is_symlink(place, error) && fs::is_directory(place / name, error)) {
      found.push_back(place / name);
    }
  }
  return found;
}

/// A cgroup and those in it, innermost first.
std::vector<fs::path> with_children(const fs::path& group) {
  std::vector<fs::path> all = {group};
  std::error_code error;
  for (fs::recursive_directory_iterator it(group, error), end; !error && it != end;
       it.increment(error)) {
    if (it->is_directory(error)) all.push_back(it->path());
  }
  std::reverse(all.begin(), all.end());
  return all;
}

void kill_containers(const std::string& space) {
  std::set<pid_t> processes;
  for (const fs::path& group : cgroups(space)) {
    for (const fs::path& one : with_children(group)) {
      std::ifstream in(one / "cgroup.procs");
      for (pid_t pid = 0; in >> pid;) processes.insert(pid);
    }
  }
  kill_all({processes.begin(), processes.end()});
}

void remove_cgroups(const std::string& space) {
  for (int attempt = 0; attempt < 20; ++attempt) {
    bool left = false;
    for (const fs::path& group : cgroups(space)) {
      for (const fs::path& one : with_children(group)) ::rmdir(one.c_str());
      std::error_code error;
      left |= fs::exists(group, error);
    }
    if (!left) return;
    std::this_thread::sleep_for(milliseconds(50));
  }
}

void unmount_under(const std::string& directory) {
  std::istringstream mounts(read_file("/proc/self/mountinfo"));
  std::vector<std::string> points;
  for (std::string line; std::getline(mounts, line);) {
    std::istringstream fields(line);
    std::string field;
    for (int i = 0; i < 5; ++i) fields >> field;
    if (field.starts_with(directory + "/")) points.push_back(field);
  }
  for (auto point = points.rbegin(); point != points.rend(); ++point) {
    ::umount2(point->c_str(), MNT_DETACH | UMOUNT_NOFOLLOW);
  }
}

/// A bundle names the socket of its shim in a file; a shim that was killed leaves the socket.
void remove_shim_sockets(const std::string& directory) {
  std::error_code error;
  std::vector<fs::path> states;
  for (const auto& entry : fs::directory_iterator(directory, error)) {
    const fs::path tasks = entry.path() / "state" / "io.containerd.runtime.v2.task";
    if (fs::is_directory(tasks, error)) states.push_back(tasks);
  }
  const fs::path own = fs::path(directory) / "state" / "io.containerd.runtime.v2.task";
  if (fs::is_directory(own, error)) states.push_back(own);
  for (const fs::path& state : states) {
    for (const auto& space : fs::directory_iterator(state, error)) {
      for (const auto& bundle : fs::directory_iterator(space.path(), error)) {
        const std::string address = read_file((bundle.path() / "address").string());
        constexpr std::string_view kScheme = "unix://";
        if (address.starts_with(kScheme)) ::unlink(address.c_str() + kScheme.size());
      }
    }
  }
}

}  // namespace

std::string read_file(const std::string& path) {
  std::ifstream in(path);
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

std::string command_line(pid_t pid) {
  std::string text = read_file("/proc/" + std::to_string(pid) + "/cmdline");
  std::replace(text.begin(), text.end(), '\0', ' ');
  return text;
}

std::vector<pid_t> processes_with(const std::string& text) {
  std::vector<pid_t> found;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator("/proc", error)) {
    const std::string name = entry.path().filename().string();
    pid_t pid = 0;
    const auto [end, bad] = std::from_chars(name.data(), name.data() + name.size(), pid);
    if (bad != std::errc() || end != name.data() + name.size() || pid == ::getpid()) continue;
    if (command_line(pid).find(text) != std::string::npos) found.push_back(pid);
  }
  return found;
}

void clean_up(const std::string& directory, const std::string& space) {
  if (directory.empty() || space.empty()) return;
  kill_all(processes_with(directory + "/"));
  kill_containers(space);
  unmount_under(directory);
  remove_cgroups(space);
  remove_shim_sockets(directory);
  std::error_code ignored;
  fs::remove_all(fs::path(kRuntimeState) / space, ignored);
  fs::remove_all(directory, ignored);
}

std::string find_program(const std::string& name) {
  const char* path = std::getenv("PATH");
  std::istringstream places(path != nullptr ? path : "/usr/sbin:/usr/bin:/sbin:/bin");
  for (std::string place; std::getline(places, place, ':');) {
    const std::string program = place + "/" + name;
    if (::access(program.c_str(), X_OK) == 0) return program;
  }
  return {};
}

int run(const std::vector<std::string>& arguments, const std::string& log) {
  std::vector<std::string> copies = arguments;
  std::vector<char*> argv;
  for (std::string& argument : copies) argv.push_back(argument.data());
  argv.push_back(nullptr);
  const pid_t pid = ::fork();
  if (pid < 0) return 127;
  if (pid == 0) {
    const int fd = ::open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    ::dup2(fd, 1);
    ::dup2(fd, 2);
    ::execv(argv[0], argv.data());
    ::_exit(127);
  }
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

}  // namespace berth::bench
