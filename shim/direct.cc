#include "direct.h"

#include <berth/fault.h>
#include <berth/fd.h>
#include <berth/program_file.h>
#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstdlib>
#include <memory>
#include <vector>

#include "log.h"

namespace berth::shim {
namespace {

constexpr int kLookMilliseconds = 100;
constexpr std::chrono::milliseconds kPatience(500);

// runc's process opens the fifo, writes a byte and closes its end by becoming the program.
bool start_runc(const std::string& fifo, const std::function<bool()>& ended) {
  const UniqueFd reading(::open(fifo.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
  if (!reading) return false;
  bool told = false;
  while (true) {
    pollfd entry{reading.get(), POLLIN, 0};
    const int ready = ::poll(&entry, 1, kLookMilliseconds);
    if (ready < 0 && errno != EINTR) return told;
    if (ready <= 0) {
      // Without a byte it has ended before it came to the fifo, or in front of it.
      if (!told && ended()) return false;
      continue;
    }
    std::array<char, 16> bytes;
    const ssize_t size = ::read(reading.get(), bytes.data(), bytes.size());
    if (size > 0) told = true;
    if (size == 0) return told;
    if (size < 0 && errno != EAGAIN && errno != EINTR) return told;
  }
}

// crun's process reads the fifo, which it has open.
bool start_crun(const std::string& fifo) {
  const UniqueFd writing(::open(fifo.c_str(), O_WRONLY | O_NONBLOCK | O_CLOEXEC));
  if (!writing) return false;
  const char byte = 0;
  return ::write(writing.get(), &byte, 1) == 1;
}

// The names in a folder that has no folders; nothing otherwise.
std::vector<std::string> files_in(const std::string& folder) {
  std::vector<std::string> names;
  const std::unique_ptr<DIR, int (*)(DIR*)> directory(::opendir(folder.c_str()), ::closedir);
  if (directory == nullptr) return {};
  while (const dirent* const entry = ::readdir(directory.get())) {
    const std::string_view name = entry->d_name;
    if (name == "." || name == "..") continue;
    if (entry->d_type != DT_REG && entry->d_type != DT_FIFO && entry->d_type != DT_SOCK) return {};
    names.emplace_back(name);
  }
  return names;
}

bool has_file(const std::vector<std::string>& names, std::string_view wanted) {
  for (const std::string& name : names) {
    if (name == wanted) return true;
  }
  return false;
}

}  // namespace

DirectKind direct_kind(std::string_view told, const std::string& binary) {
  const size_t space = told.find(' ');
  if (space == std::string_view::npos) return DirectKind::kNone;
  const std::string_view name = told.substr(0, space);
  const DirectKind kind = name == "runc"   ? DirectKind::kRunc
                          : name == "crun" ? DirectKind::kCrun
                                           : DirectKind::kNone;
  const auto path = find_program(binary);
  if (kind == DirectKind::kNone || !path.ok()) return DirectKind::kNone;
  const auto identity = file_identity(*path);
  return identity.ok() && *identity == told.substr(space + 1) ? kind : DirectKind::kNone;
}

DirectKind direct_kind(const std::string& binary) {
  const char* const told = ::getenv("BERTH_DIRECT_RUNTIME");
  return told != nullptr ? direct_kind(told, binary) : DirectKind::kNone;
}

bool is_direct(const SpecFacts& facts) {
  return facts.own_pid_namespace && !facts.needs_runtime && facts.cgroups_path.starts_with("/");
}

bool direct_start(DirectKind kind, const std::string& state, const std::function<bool()>& ended) {
  const std::string fifo = state + "/exec.fifo";
  const bool started = kind == DirectKind::kRunc   ? start_runc(fifo, ended)
                       : kind == DirectKind::kCrun ? start_crun(fifo)
                                                   : false;
  if (!started) return false;
  BERTH_FAULT_POINT("shim.direct.started");
  // Its absence is how the runtime knows a started container.
  if (::unlink(fifo.c_str()) != 0 && errno != ENOENT) {
    log(Level::kWarning, errno_status(errno, "remove " + fifo).message());
  }
  log(Level::kDebug, "started without the runtime: " + state);
  return true;
}

bool direct_remove(DirectKind kind, const std::string& state, const SpecFacts& facts,
                   const Cgroup& cgroup) {
  if (kind == DirectKind::kNone) return false;
  const std::vector<std::string> names = files_in(state);
  if (!has_file(names, kind == DirectKind::kRunc ? "state.json" : "status")) return false;
  if (!remove_cgroups(facts.cgroups_path, kPatience)) return false;
  // What the path names is where the process was, or the runtime knows better.
  const std::string folder = cgroup.processes_folder();
  if (folder.empty() || ::access(folder.c_str(), F_OK) == 0) return false;
  BERTH_FAULT_POINT("shim.direct.cgroups");
  for (const std::string& name : names) {
    if (::unlink((state + "/" + name).c_str()) != 0 && errno != ENOENT) return false;
  }
  if (::rmdir(state.c_str()) != 0) return false;
  log(Level::kDebug, "deleted without the runtime: " + state);
  return true;
}

}  // namespace berth::shim
