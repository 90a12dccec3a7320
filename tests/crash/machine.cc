#include "machine.h"

#include <berth/digest.h>
#include <linux/magic.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <iomanip>
#include <map>
#include <sstream>

namespace berth::crash {
namespace {

namespace fs = std::filesystem;

constexpr const char* kRuntimeState = "/run/containerd/runc/";
constexpr const char* kSockets = "/run/containerd/s/";

std::vector<std::string> names_in(const std::string& folder) {
  std::vector<std::string> names;
  std::error_code error;
  for (fs::directory_iterator entry(folder, error), end; !error && entry != end;
       entry.increment(error)) {
    names.push_back(entry->path().filename().string());
  }
  return names;
}

std::vector<std::string> mounts_below(const std::string& folder) {
  std::istringstream table(read_file("/proc/self/mountinfo"));
  std::vector<std::string> points;
  for (std::string line; std::getline(table, line);) {
    std::istringstream fields(line);
    std::string field;
    for (int i = 0; i < 5; ++i) fields >> field;
    if (field.starts_with(folder + "/")) points.push_back(field);
  }
  std::reverse(points.begin(), points.end());
  return points;
}

/// The cgroups of the namespace's containers, in every hierarchy.
std::vector<std::string> cgroups(const std::string& space) {
  std::vector<std::string> found;
  std::vector<std::string> hierarchies = {"/sys/fs/cgroup"};
  for (const std::string& name : names_in("/sys/fs/cgroup")) {
    hierarchies.push_back("/sys/fs/cgroup/" + name);
  }
  std::error_code error;
  for (const std::string& hierarchy : hierarchies) {
    struct statfs kind {};
    if (fs::is_symlink(hierarchy, error) || ::statfs(hierarchy.c_str(), &kind) != 0 ||
        (kind.f_type != CGROUP_SUPER_MAGIC && kind.f_type != CGROUP2_SUPER_MAGIC)) {
      continue;
    }
    const std::string parent = hierarchy + "/" + space;
    for (const std::string& name : names_in(parent)) {
      if (fs::is_directory(parent + "/" + name, error)) found.push_back(parent + "/" + name);
    }
  }
  return found;
}

std::string tasks(const std::string& folder, const char* place, const std::string& space) {
  return folder + "/" + place + "/io.containerd.runtime.v2.task/" + space;
}

}  // namespace

std::string read_file(const std::string& path) {
  std::ifstream in(path);
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

void write_file(const std::string& path, const std::string& content) {
  // Whole at once: somebody may be waiting for it.
  std::ofstream(path + ".new") << content;
  fs::rename(path + ".new", path);
}

std::string command_line(pid_t pid) {
  std::string text = read_file("/proc/" + std::to_string(pid) + "/cmdline");
  std::replace(text.begin(), text.end(), '\0', ' ');
  return text;
}

std::set<pid_t> descendants() {
  std::multimap<pid_t, pid_t> children;
  for (const std::string& name : names_in("/proc")) {
    if (name.find_first_not_of("0123456789") != std::string::npos) continue;
    const std::string stat = read_file("/proc/" + name + "/stat");
    const size_t end = stat.rfind(')');
    if (end == std::string::npos) continue;
    std::istringstream fields(stat.substr(end + 2));
    char state = 0;
    pid_t parent = 0;
    fields >> state >> parent;
    if (state != 'Z' && state != 'X') children.emplace(parent, std::stoi(name));
  }
  std::set<pid_t> found;
  std::vector<pid_t> todo = {::getpid()};
  while (!todo.empty()) {
    const auto [begin, end] = children.equal_range(todo.back());
    todo.pop_back();
    for (auto child = begin; child != end; ++child) {
      found.insert(child->second);
      todo.push_back(child->second);
    }
  }
  return found;
}

std::set<std::string> traces(const std::string& folder, const std::string& space, pid_t daemon) {
  std::set<std::string> found;
  for (const pid_t pid : descendants()) {
    if (pid != daemon) {
      found.insert("process " + std::to_string(pid) + ": " + command_line(pid));
    }
  }
  for (const std::string& point : mounts_below(folder)) found.insert("mount " + point);
  for (const std::string& cgroup : cgroups(space)) found.insert("cgroup " + cgroup);
  for (const char* place : {"state", "root"}) {
    for (const std::string& name : names_in(tasks(folder, place, space))) {
      found.insert("bundle " + tasks(folder, place, space) + "/" + name);
    }
  }
  for (const std::string& name : names_in(kRuntimeState + space)) {
    found.insert("state of the runtime " + (kRuntimeState + space) + "/" + name);
  }
  // Their names are digests of what only this test has; so the owner of each is known.
  for (int i = 0; i < 100; ++i) {
    const std::string name = folder + "/d.sock/" + space + "/c" + std::to_string(i);
    const std::string path = kSockets + std::string(digest_of(name).hex());
    std::error_code error;
    if (fs::exists(path, error)) {
      found.insert("socket " + path + " of c" + std::to_string(i));
    }
  }
  return found;
}

namespace {

/// Also of a run whose processes are nobody's descendants any more: what berthd starts has the name
/// of the folder of fault points, and containers have their cgroups.
std::set<pid_t> processes(const std::string& folder, const std::string& space) {
  std::set<pid_t> found = descendants();
  for (const std::string& cgroup : cgroups(space)) {
    std::ifstream in(cgroup + "/cgroup.procs");
    for (pid_t pid = 0; in >> pid;) found.insert(pid);
  }
  const std::string mark = "BERTH_FAULT_DIR=" + folder + "/";
  for (const std::string& name : names_in("/proc")) {
    if (name.find_first_not_of("0123456789") != std::string::npos) continue;
    if (read_file("/proc/" + name + "/environ").find(mark) != std::string::npos) {
      found.insert(std::stoi(name));
    }
  }
  return found;
}

/// Version 1 has the first of these files, version 2 the second.
void set_frozen(const std::string& cgroup, bool frozen) {
  const auto write = [&](const char* name, const char* word) {
    const std::string path = cgroup + name;
    if (fs::exists(path)) std::ofstream(path) << word;
  };
  write("/freezer.state", frozen ? "FROZEN" : "THAWED");
  write("/cgroup.freeze", frozen ? "1" : "0");
}

}  // namespace

std::vector<std::string> details(const std::string& trace) {
  std::vector<std::string> lines;
  if (trace.starts_with("process ")) {
    const std::string folder = "/proc/" + trace.substr(8, trace.find(':') - 8);
    std::istringstream status(read_file(folder + "/status"));
    for (std::string line; std::getline(status, line);) {
      if (line.starts_with("State") || line.starts_with("PPid") || line.starts_with("Sig")) {
        lines.push_back(line);
      }
    }
    lines.push_back("waits in " + read_file(folder + "/wchan"));
    return lines;
  }
  std::error_code error;
  for (fs::recursive_directory_iterator entry(trace.substr(trace.find('/')), error), end;
       !error && entry != end; entry.increment(error)) {
    struct stat found {};
    if (::lstat(entry->path().c_str(), &found) != 0) continue;
    std::ostringstream line;
    line << entry->path().string() << ": " << found.st_size << " bytes, of second "
         << found.st_mtim.tv_sec % 60 << "." << std::setw(9) << std::setfill('0')
         << found.st_mtim.tv_nsec;
    lines.push_back(line.str());
  }
  return lines;
}

bool freeze(const std::string& cgroup) {
  const std::string first = "/sys/fs/cgroup/freezer/" + cgroup;
  const std::string second = "/sys/fs/cgroup/" + cgroup;
  for (int attempt = 0; attempt < 200; ++attempt) {
    // Again each time: a process that was just forking is passed over.
    set_frozen(first, true);
    set_frozen(second, true);
    if (read_file(first + "/freezer.state") == "FROZEN\n" ||
        read_file(second + "/cgroup.events").find("frozen 1") != std::string::npos) {
      return true;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  return false;
}

void clean_up(const std::string& folder, const std::string& space) {
  for (int attempt = 0; attempt < 100; ++attempt) {
    // Those that have ended wait for nobody.
    while (::waitpid(-1, nullptr, WNOHANG) > 0) continue;
    const std::set<pid_t> left = processes(folder, space);
    if (left.empty()) break;
    for (const std::string& cgroup : cgroups(space)) set_frozen(cgroup, false);
    for (const pid_t pid : left) {
      ::kill(pid, SIGKILL);
      ::kill(pid, SIGCONT);
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  for (const std::string& point : mounts_below(folder)) {
    ::umount2(point.c_str(), MNT_DETACH | UMOUNT_NOFOLLOW);
  }
  for (const std::string& cgroup : cgroups(space)) {
    ::rmdir(cgroup.c_str());
    ::rmdir(fs::path(cgroup).parent_path().c_str());
  }
  for (const std::string& hierarchy : names_in("/sys/fs/cgroup")) {
    ::rmdir(("/sys/fs/cgroup/" + hierarchy + "/" + space).c_str());
  }
  for (const std::string& trace : traces(folder, space, 0)) {
    if (!trace.starts_with("socket ")) continue;
    ::unlink(trace.substr(7, trace.find(' ', 7) - 7).c_str());
  }
  std::error_code ignored;
  fs::remove_all(kRuntimeState + space, ignored);
  fs::remove_all(folder, ignored);
}

Reaper::Reaper(std::function<void(pid_t pid, int status)> ended) {
  ::prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
  thread_ = std::thread([this, ended = std::move(ended)] {
    while (true) {
      int status = 0;
      const pid_t pid = ::waitpid(-1, &status, 0);
      if (pid > 0) ended(pid, status);
      if (pid >= 0 || errno == EINTR) continue;
      if (stopping_) return;
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
  });
}

Reaper::~Reaper() {
  stopping_ = true;
  thread_.join();
}

}  // namespace berth::crash
