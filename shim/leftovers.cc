#include "leftovers.h"

#include <berth/fd.h>
#include <dirent.h>
#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <functional>
#include <memory>
#include <vector>

#include "files.h"
#include "log.h"

namespace berth::shim {
namespace {

constexpr int kEndMilliseconds = 2000;

void each_name(const std::string& folder, const std::function<void(const char*)>& visit) {
  const std::unique_ptr<DIR, int (*)(DIR*)> directory(::opendir(folder.c_str()), ::closedir);
  if (directory == nullptr) return;
  while (const dirent* const entry = ::readdir(directory.get())) {
    if (entry->d_name[0] != '.') visit(entry->d_name);
  }
}

std::vector<std::string> words_of(pid_t pid) {
  constexpr int kAttempts = 10;
  const std::string folder = "/proc/" + std::to_string(pid);
  std::vector<std::string> words;
  auto text = read_file(folder + "/cmdline");
  // Between two programs a process has no words for a moment; one of the kernel has no program.
  for (int i = 0; text.ok() && text->empty() && i < kAttempts; ++i) {
    char program[1];
    if (::readlink((folder + "/exe").c_str(), program, sizeof program) < 0) break;
    ::usleep(1000);
    text = read_file(folder + "/cmdline");
  }
  if (!text.ok()) return words;
  for (size_t at = 0; at < text->size();) {
    words.emplace_back(text->c_str() + at);
    at += words.back().size() + 1;
  }
  return words;
}

/// Kills every process of which `is_one` is true, also when asked again with the process held: its
/// number may have gone to another one. Waits for their ends.
void kill_processes(const std::function<bool(pid_t)>& is_one) {
  std::vector<UniqueFd> killed;
  each_name("/proc", [&](const char* name) {
    const pid_t pid = std::atoi(name);
    if (pid <= 1 || pid == ::getpid() || !is_one(pid)) return;
    UniqueFd process(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
    if (!process || !is_one(pid)) return;
    log(Level::kWarning, "kill what a runtime left: process " + std::to_string(pid));
    if (::syscall(SYS_pidfd_send_signal, process.get(), SIGKILL, nullptr, 0) == 0) {
      killed.push_back(std::move(process));
    }
  });
  for (const UniqueFd& process : killed) {
    pollfd entry{process.get(), POLLIN, 0};
    ::poll(&entry, 1, kEndMilliseconds);
  }
}

// Whether these are a command of the runtime as Runtime::run() gives it.
bool works_on(const std::vector<std::string>& words, const std::string& root,
              const std::string& id) {
  size_t at = 1;
  while (at + 1 < words.size() && (words[at] != "--root" || words[at + 1] != root)) ++at;
  while (at < words.size() && words[at].starts_with("--")) {
    at += words[at] == "--systemd-cgroup" ? 1 : 2;
  }
  if (at >= words.size()) return false;
  // A signal comes after the id.
  const size_t last = words.size() - (words[at] == "kill" ? 2 : 1);
  return last > at && words[last] == id;
}

// Whether these are the words of a shim itself, which its children have until they are programs.
bool is_shim(std::vector<std::string> words, const Arguments& wanted) {
  std::vector<char*> arguments;
  for (auto word = std::find(words.begin(), words.end(), "-namespace"); word != words.end();
       ++word) {
    arguments.push_back(word->data());
  }
  const auto found = parse_arguments(arguments);
  return found.ok() && found->action.empty() && found->ns == wanted.ns && found->id == wanted.id &&
         found->address == wanted.address;
}

// What waits to be started holds the fifo that the runtime's `start` reads: runc's and crun's do.
bool holds(pid_t pid, const std::string& path) {
  bool found = false;
  const std::string folder = "/proc/" + std::to_string(pid) + "/fd";
  each_name(folder, [&](const char* name) {
    char target[4096];
    const ssize_t size = ::readlink((folder + "/" + name).c_str(), target, sizeof target);
    found = found || (size > 0 && std::string_view(target, static_cast<size_t>(size)) == path);
  });
  return found;
}

}  // namespace

void end_commands(const Runtime& runtime, const std::string& id,
                  const std::optional<Arguments>& dead) {
  kill_processes([&](pid_t pid) {
    const auto words = words_of(pid);
    return works_on(words, runtime.root(), id) || (dead && is_shim(words, *dead));
  });
}

Status remove_half_made(const Runtime& runtime, const std::string& id,
                        const std::string& cgroups_path) {
  // As a `kill --all` leaves it that was killed.
  thaw_cgroups(cgroups_path);
  const std::string fifo = runtime.root() + "/" + id + "/exec.fifo";
  kill_processes([&](pid_t pid) { return holds(pid, fifo); });
  const Status removed = runtime.remove(id, true);
  remove_cgroups(cgroups_path);
  return removed;
}

void end_strays(const Cgroup& cgroup, int64_t since_ns, const std::set<pid_t>& known) {
  const auto inside = processes_of(cgroup);
  const long ticks = ::sysconf(_SC_CLK_TCK);
  kill_processes([&](pid_t pid) {
    if (known.contains(pid)) return false;
    if (std::find(inside.begin(), inside.end(), static_cast<uint32_t>(pid)) == inside.end()) {
      return false;
    }
    const auto stat = read_file("/proc/" + std::to_string(pid) + "/stat");
    const size_t end = stat.ok() ? stat->rfind(')') : std::string::npos;
    if (end == std::string::npos) return false;
    // After the name: state, parent, process group, session, …; the 20th is the start in ticks.
    std::vector<long long> fields;
    const char* at = stat->c_str() + end + 3;
    for (char* next = nullptr; fields.size() < 20; at = next) {
      fields.push_back(std::strtoll(at, &next, 10));
      if (next == at) break;
    }
    return fields.size() == 20 && fields[0] == ::getpid() && fields[2] == pid &&
           fields[18] * (1'000'000'000 / ticks) >= since_ns - 1'000'000'000 / ticks;
  });
}

}  // namespace berth::shim
