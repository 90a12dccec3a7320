#include "process/memory_cgroup.h"

#include <berth/fd.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <optional>
#include <sstream>
#include <thread>
#include <vector>

namespace berth::process {
namespace {

constexpr std::string_view kPrefix = "berth-plugin-";

Result<std::string> read_text(const std::string& path) {
  const UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file) return errno_status(errno, "read " + path);
  std::string text;
  char buffer[4096];
  ssize_t got = 0;
  while ((got = ::read(file.get(), buffer, sizeof buffer)) > 0) {
    text.append(buffer, static_cast<size_t>(got));
  }
  if (got < 0) return errno_status(errno, "read " + path);
  return text;
}

Status write_text(const std::string& path, const std::string& text) {
  const UniqueFd file(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
  if (!file) return errno_status(errno, "open " + path);
  if (::write(file.get(), text.data(), text.size()) < 0) {
    return errno_status(errno, "write " + text + " to " + path);
  }
  return {};
}

std::vector<std::string> words_of(std::string_view line, char separator = ' ') {
  std::vector<std::string> words;
  std::istringstream in{std::string(line)};
  for (std::string word; std::getline(in, word, separator);) words.push_back(word);
  return words;
}

bool has_word(std::string_view text, std::string_view word, char separator) {
  if (!text.empty() && text.back() == '\n') text.remove_suffix(1);
  for (const std::string& one : words_of(text, separator)) {
    if (one == word) return true;
  }
  return false;
}

/// Where a cgroup file system is mounted, and which part of it.
struct Mount {
  std::string root, point;
};

/// "36 25 0:32 ROOT POINT OPTIONS [optional...] - TYPE SOURCE SUPER-OPTIONS"
std::optional<Mount> find_mount(std::string_view mountinfo, std::string_view type,
                                std::string_view controller) {
  std::istringstream in{std::string(mountinfo)};
  for (std::string line; std::getline(in, line);) {
    const size_t dash = line.find(" - ");
    if (dash == std::string::npos) continue;
    const auto before = words_of(std::string_view(line).substr(0, dash));
    const auto after = words_of(std::string_view(line).substr(dash + 3));
    if (before.size() < 5 || after.size() < 3 || after[0] != type) continue;
    if (!controller.empty() && !has_word(after[2], controller, ',')) continue;
    return Mount{before[3], before[4]};
  }
  return std::nullopt;
}

/// A process's cgroup as a path below the mount, which may show a part of the hierarchy only.
Result<std::string> below(const Mount& mount, const std::string& path) {
  if (mount.root == "/") return path;
  if (path == mount.root) return std::string("/");
  if (path.starts_with(mount.root + "/")) return path.substr(mount.root.size());
  return failed_precondition("this process's cgroup " + path + " is not below " + mount.point);
}

/// Whether a folder is what a process that is gone has left.
bool is_left_over(const std::string& name) {
  if (!name.starts_with(kPrefix)) return false;
  char* end = nullptr;
  const long pid = std::strtol(name.c_str() + kPrefix.size(), &end, 10);
  return pid > 0 && *end == '-' && ::kill(static_cast<pid_t>(pid), 0) != 0 && errno == ESRCH;
}

void clear(const std::string& parent) {
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(parent, error)) {
    if (is_left_over(entry.path().filename())) (void)::rmdir(entry.path().c_str());
  }
}

}  // namespace

Result<std::string> parent_in(const MemoryHierarchy& hierarchy) {
  std::filesystem::path path = hierarchy.own;
  if (!hierarchy.unified) return hierarchy.mount + (path == "/" ? "" : path.string());
  while (true) {
    const std::string folder = hierarchy.mount + (path == "/" ? "" : path.string());
    const auto given = read_text(folder + "/cgroup.subtree_control");
    if (given.ok() && has_word(*given, "memory", ' ')) return folder;
    if (path == "/" || path.empty()) break;
    path = path.parent_path();
  }
  return failed_precondition("no cgroup from " + hierarchy.own +
                             " up gives its children the memory controller");
}

Result<MemoryHierarchy> memory_hierarchy(std::string_view mountinfo, std::string_view cgroup) {
  MemoryHierarchy out;
  // With both versions there the memory controller is at one of them; where version 1 has it, it
  // is mounted as such.
  auto mount = find_mount(mountinfo, "cgroup", "memory");
  if (!mount) {
    mount = find_mount(mountinfo, "cgroup2", "");
    out.unified = true;
  }
  if (!mount) return failed_precondition("no cgroup file system with memory is mounted");
  std::istringstream in{std::string(cgroup)};
  for (std::string line; std::getline(in, line);) {  // "4:memory:/path", "0::/path"
    const size_t first = line.find(':');
    const size_t second = first == std::string::npos ? first : line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string_view names = std::string_view(line).substr(first + 1, second - first - 1);
    if (out.unified ? !names.empty() : !has_word(names, "memory", ',')) continue;
    BERTH_ASSIGN_OR_RETURN(out.own, below(*mount, line.substr(second + 1)));
    out.mount = mount->point;
    return out;
  }
  return failed_precondition("this process is in no cgroup with memory");
}

Result<MemoryCgroup> MemoryCgroup::make(std::string_view name, uint64_t memory_max) {
  BERTH_ASSIGN_OR_RETURN(const std::string mountinfo, read_text("/proc/self/mountinfo"));
  BERTH_ASSIGN_OR_RETURN(const std::string cgroup, read_text("/proc/self/cgroup"));
  BERTH_ASSIGN_OR_RETURN(const MemoryHierarchy hierarchy, memory_hierarchy(mountinfo, cgroup));
  return make_in(hierarchy, name, memory_max);
}

Result<MemoryCgroup> MemoryCgroup::make_in(const MemoryHierarchy& hierarchy, std::string_view name,
                                           uint64_t memory_max) {
  static std::atomic<uint32_t> count{0};
  BERTH_ASSIGN_OR_RETURN(const std::string parent, parent_in(hierarchy));
  clear(parent);
  const std::string folder = parent + "/" + std::string(kPrefix) + std::to_string(::getpid()) +
                             "-" + std::to_string(++count) + "-" + std::string(name);
  if (::mkdir(folder.c_str(), 0755) != 0) return errno_status(errno, "make cgroup " + folder);
  MemoryCgroup made(folder, hierarchy.unified);
  BERTH_RETURN_IF_ERROR(made.set_limit(memory_max));
  return made;
}

MemoryCgroup::MemoryCgroup(MemoryCgroup&& other) noexcept
    : folder_(std::exchange(other.folder_, {})), unified_(other.unified_) {}

MemoryCgroup::~MemoryCgroup() {
  if (folder_.empty()) return;
  // A process that has just been reaped may still be counted for a moment.
  for (int attempt = 0; attempt < 50; ++attempt) {
    if (::rmdir(folder_.c_str()) == 0 || errno != EBUSY) return;
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
}

Status MemoryCgroup::set_limit(uint64_t memory_max) const {
  const std::string bytes = std::to_string(memory_max);
  if (unified_) {
    BERTH_RETURN_IF_ERROR(write_text(folder_ + "/memory.max", bytes));
    // Else it would be swapped out instead of ended. Absent where the kernel does not count swap.
    const std::string swap = folder_ + "/memory.swap.max";
    return ::access(swap.c_str(), F_OK) == 0 ? write_text(swap, "0") : Status();
  }
  BERTH_RETURN_IF_ERROR(write_text(folder_ + "/memory.limit_in_bytes", bytes));
  const std::string with_swap = folder_ + "/memory.memsw.limit_in_bytes";
  return ::access(with_swap.c_str(), F_OK) == 0 ? write_text(with_swap, bytes) : Status();
}

Status MemoryCgroup::add(pid_t pid) const {
  return write_text(folder_ + "/cgroup.procs", std::to_string(pid));
}

bool MemoryCgroup::was_exceeded() const {
  const auto text = read_text(folder_ + (unified_ ? "/memory.events" : "/memory.oom_control"));
  if (!text.ok()) return false;
  std::istringstream in(*text);
  std::string word;
  for (uint64_t value = 0; in >> word >> value;) {
    if (word == "oom_kill") return value != 0;
  }
  return false;
}

}  // namespace berth::process
