#include "machine.h"

#include <berth/spawn.h>
#include <fcntl.h>
#include <sched.h>
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

bool belongs_to(const std::string& name, const std::string& space) {
  return name == space || name.starts_with(space + "-");
}

/// Folders in `place` that belong to a space.
std::vector<fs::path> folders_of(const std::string& space, const fs::path& place) {
  std::vector<fs::path> found;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(place, error)) {
    if (belongs_to(entry.path().filename(), space)) found.push_back(entry.path());
  }
  return found;
}

/// The cgroups of a space in every hierarchy: version 2, or each of version 1.
std::vector<fs::path> cgroups(const std::string& space) {
  std::error_code error;
  std::vector<fs::path> places = {kCgroups};
  for (const auto& entry : fs::directory_iterator(kCgroups, error)) {
    if (!entry.is_symlink(error)) places.push_back(entry.path());
  }
  std::vector<fs::path> found;
  for (const fs::path& place : places) {
    for (fs::path& folder : folders_of(space, place)) found.push_back(std::move(folder));
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
  for (const fs::path& state : folders_of(space, kRuntimeState)) fs::remove_all(state, ignored);
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

std::vector<std::string> environment_with(const std::vector<std::string>& more) {
  std::vector<std::string> variables = more;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string_view text(*entry);
    const std::string_view key = text.substr(0, text.find('=') + 1);
    const bool known = std::any_of(
        more.begin(), more.end(), [&](const std::string& other) { return other.starts_with(key); });
    if (!known) variables.emplace_back(text);
  }
  return variables;
}

pid_t begin(const std::vector<std::string>& arguments, const std::string& log,
            const std::vector<std::string>& more) {
  SpawnSettings settings;
  ::posix_spawn_file_actions_addopen(&settings.actions, 0, "/dev/null", O_RDONLY, 0);
  ::posix_spawn_file_actions_addopen(&settings.actions, 1, log.c_str(),
                                     O_WRONLY | O_CREAT | O_APPEND, 0600);
  ::posix_spawn_file_actions_adddup2(&settings.actions, 1, 2);
  const std::vector<std::string> variables = environment_with(more);
  const auto argv = pointers(arguments);
  const auto envp = pointers(variables);
  pid_t pid = 0;
  if (::posix_spawn(&pid, argv[0], &settings.actions, &settings.attributes, argv.data(),
                    envp.data()) != 0) {
    return -1;
  }
  return pid;
}

int run(const std::vector<std::string>& arguments, const std::string& log,
        const std::vector<std::string>& more) {
  const pid_t pid = begin(arguments, log, more);
  if (pid < 0) return 127;
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

FreshFilesystem::FreshFilesystem(const std::string& directory)
    : directory_(directory), image_(directory + ".ext4") {
  constexpr uintmax_t kBytes = 3ULL << 30;
  const std::string log = image_ + ".log";
  fs::create_directory(directory_);
  std::ofstream(image_).flush();
  fs::resize_file(image_, kBytes);
  // Nothing is left to be done in the background by the kernel.
  const bool made =
      run({find_program("mkfs.ext4"), "-q", "-E", "lazy_itable_init=0,lazy_journal_init=0", image_},
          log) == 0 &&
      run({find_program("mount"), "-o", "loop", image_, directory_}, log) == 0;
  const std::string words = read_file(log);
  fs::remove(log);
  if (made) return;
  discard();
  throw std::runtime_error("make an ext4 for " + directory_ + ": " + words);
}

FreshFilesystem::~FreshFilesystem() { discard(); }

void FreshFilesystem::discard() {
  ::umount2(directory_.c_str(), MNT_DETACH | UMOUNT_NOFOLLOW);
  std::error_code error;
  fs::remove(directory_, error);
  fs::remove(image_, error);
}

bool leave_unified_cgroup() {
  if (!fs::exists("/sys/fs/cgroup/unified/cgroup.procs") || ::unshare(CLONE_NEWNS) != 0) {
    return false;
  }
  // What is mounted here shall not appear elsewhere, nor this go away there.
  ::mount("", "/", "", MS_REC | MS_PRIVATE, nullptr);
  return ::umount2("/sys/fs/cgroup/unified", MNT_DETACH) == 0;
}

std::string cpu_cgroup(const std::string& name) {
  for (const char* hierarchy : {"cpuacct", "cpu,cpuacct"}) {
    const fs::path place = fs::path(kCgroups) / hierarchy;
    std::error_code error;
    if (fs::exists(place / "cpuacct.usage", error)) return (place / name).string();
  }
  return {};
}

double cpu_milliseconds_of(const std::string& cgroup) {
  return std::strtod(read_file(cgroup + "/cpuacct.usage").c_str(), nullptr) / 1e6;
}

}  // namespace berth::bench
