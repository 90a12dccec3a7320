#include "cgroup.h"

#include <dirent.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <memory>
#include <thread>

#include "files.h"

namespace berth::shim {
namespace {

constexpr const char* kRoot = "/sys/fs/cgroup";
constexpr int kDepth = 8;  // of cgroups below a container's

bool root_is_unified() {
  struct statfs found {};
  return ::statfs(kRoot, &found) == 0 && found.f_type == CGROUP2_SUPER_MAGIC;
}

std::vector<std::string> folders_in(const std::string& folder) {
  std::vector<std::string> names;
  const std::unique_ptr<DIR, int (*)(DIR*)> directory(::opendir(folder.c_str()), ::closedir);
  if (directory == nullptr) return names;
  while (const dirent* const entry = ::readdir(directory.get())) {
    if (entry->d_type == DT_DIR && entry->d_name[0] != '.') names.emplace_back(entry->d_name);
  }
  return names;
}

void collect(const std::string& folder, int depth, std::vector<uint32_t>* out) {
  if (const auto text = read_file(folder + "/cgroup.procs"); text.ok()) {
    const char* at = text->c_str();
    char* end = nullptr;
    for (unsigned long pid = std::strtoul(at, &end, 10); end != at;
         pid = std::strtoul(at, &end, 10)) {
      out->push_back(static_cast<uint32_t>(pid));
      at = end;
    }
  }
  if (depth == 0) return;
  for (const std::string& name : folders_in(folder)) collect(folder + "/" + name, depth - 1, out);
}

// With what is below it; also true when there is none. False leaves the reason in errno. A folder
// that is no cgroup, such as crun makes where a hierarchy was unmounted, is none: it is not empty,
// where a cgroup is busy.
bool remove_folder(const std::string& folder, int depth) {
  const auto removed = [&] {
    return ::rmdir(folder.c_str()) == 0 || errno == ENOENT || errno == ENOTEMPTY;
  };
  if (removed()) return true;
  if (errno != EBUSY || depth == 0) return false;
  for (const std::string& name : folders_in(folder)) remove_folder(folder + "/" + name, depth - 1);
  return removed();
}

// In every hierarchy, there or not. "slice:prefix:name" is systemd's, which removes empty scopes
// itself.
std::vector<std::string> folders_of(const std::string& cgroups_path) {
  const bool climbs = ("/" + cgroups_path + "/").find("/../") != std::string::npos;
  if (climbs || cgroups_path.find(':') != std::string::npos ||
      cgroups_path.find_first_not_of('/') == std::string::npos) {
    return {};
  }
  const std::string path = (cgroups_path.starts_with("/") ? "" : "/") + cgroups_path;
  std::vector<std::string> folders = {kRoot + path};
  for (const std::string& name : folders_in(kRoot)) {
    folders.push_back(std::string(kRoot) + "/" + name + path);
  }
  return folders;
}

}  // namespace

std::string Cgroup::processes_folder() const {
  if (!unified.empty()) return unified;
  for (const char* const name : {"pids", "memory", "devices", "freezer"}) {
    if (const auto found = controllers.find(name); found != controllers.end()) return found->second;
  }
  return controllers.empty() ? std::string() : controllers.begin()->second;
}

Cgroup parse_cgroup(std::string_view text, bool unified) {
  Cgroup out;
  while (!text.empty()) {
    const size_t end = text.find('\n');
    std::string_view line = text.substr(0, end);
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    const size_t first = line.find(':');
    const size_t second = first == std::string_view::npos ? first : line.find(':', first + 1);
    if (second == std::string_view::npos) continue;
    std::string_view names = line.substr(first + 1, second - first - 1);
    const std::string path(line.substr(second + 1));
    if (names.empty()) {
      if (unified) out.unified = kRoot + path;
      continue;
    }
    if (unified || names.starts_with("name=")) continue;
    while (!names.empty()) {
      const size_t comma = names.find(',');
      const std::string name(names.substr(0, comma));
      names.remove_prefix(comma == std::string_view::npos ? names.size() : comma + 1);
      out.controllers[name] = std::string(kRoot) + "/" + name + path;
    }
  }
  return out;
}

Result<Cgroup> cgroup_of(pid_t pid) {
  BERTH_ASSIGN_OR_RETURN(const std::string text,
                         read_file("/proc/" + std::to_string(pid) + "/cgroup"));
  return parse_cgroup(text, root_is_unified());
}

std::vector<uint32_t> processes_of(const Cgroup& cgroup) {
  std::vector<uint32_t> pids;
  if (!cgroup.empty()) collect(cgroup.processes_folder(), kDepth, &pids);
  return pids;
}

bool remove_cgroups(const std::string& cgroups_path, std::chrono::milliseconds patience) {
  const std::vector<std::string> folders = folders_of(cgroups_path);
  bool gone = !folders.empty();
  const auto end = std::chrono::steady_clock::now() + patience;
  for (const std::string& folder : folders) {
    std::chrono::milliseconds pause(1);
    bool removed = remove_folder(folder, kDepth);
    while (!removed && errno == EBUSY && std::chrono::steady_clock::now() < end) {
      std::this_thread::sleep_for(pause);
      pause = std::min(2 * pause, std::chrono::milliseconds(10));
      removed = remove_folder(folder, kDepth);
    }
    gone = gone && removed;
  }
  return gone;
}

void thaw_cgroups(const std::string& cgroups_path) {
  for (const std::string& folder : folders_of(cgroups_path)) {
    const auto write = [&](const char* name, const char* word) {
      const std::string path = folder + name;
      if (::access(path.c_str(), F_OK) == 0) (void)write_file(path, word);
    };
    write("/freezer.state", "THAWED");  // version 1, in one of the hierarchies
    write("/cgroup.freeze", "0");       // version 2
  }
}

Status join_cgroup(const std::string& name, pid_t pid) {
  BERTH_ASSIGN_OR_RETURN(const Cgroup own, cgroup_of(::getpid()));
  if (name.find("..") != std::string::npos) {
    return invalid_argument("move the shim into the cgroup " + name + ": the name has \"..\"");
  }
  const std::string path = name.starts_with("/") ? name : "/" + name;
  std::vector<std::string> folders;
  if (!own.unified.empty()) {
    folders.push_back(kRoot + path);
  } else {
    for (const auto& [controller, folder] : own.controllers) {
      folders.push_back(std::string(kRoot) + "/" + controller + path);
    }
  }
  for (const std::string& folder : folders) {
    for (size_t at = folder.find('/', 1); at != std::string::npos; at = folder.find('/', at + 1)) {
      ::mkdir(folder.substr(0, at).c_str(), 0755);
    }
    ::mkdir(folder.c_str(), 0755);
    const Status moved = write_file(folder + "/cgroup.procs", std::to_string(pid));
    // A new cpuset has no processors and takes nobody; the shim stays where it is, as with
    // containerd's.
    if (!moved.ok() && folder.find("/cpuset/") == std::string::npos) {
      return moved.with_context("move the shim into the cgroup " + name);
    }
  }
  return {};
}

}  // namespace berth::shim
