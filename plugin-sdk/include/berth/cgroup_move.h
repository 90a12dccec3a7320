// The wait before a process is moved between cgroups, had ahead of time. Linux only.
#pragma once

#include <berth/fd.h>
#include <berth/status.h>
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <string>
#include <string_view>

namespace berth {

/// Before a process is moved between cgroups the kernel waits for a grace period of some
/// milliseconds, unless one has just passed. This moves the calling process to where it is already,
/// so that the wait is over, or nearly, when an OCI runtime that is about to be started moves its
/// process. Blocks for as long: have it done by another thread than the one that makes the
/// container. Any thread. Failure does no harm; it is NOT_FOUND without a cgroup that can be
/// written to.
inline Status anticipate_cgroup_move() {
  constexpr std::string_view kRoot = "/sys/fs/cgroup";
  const UniqueFd list(::open("/proc/self/cgroup", O_RDONLY | O_CLOEXEC));
  if (!list) return errno_status(errno, "open /proc/self/cgroup");
  std::array<char, 16384> buffer;
  const ssize_t length = ::read(list.get(), buffer.data(), buffer.size());
  if (length < 0) return errno_status(errno, "read /proc/self/cgroup");
  std::string_view text(buffer.data(), static_cast<size_t>(length));
  // Lines are "ID:CONTROLLER,CONTROLLER:PATH"; version 2 has no controllers in it.
  for (size_t end = text.find('\n'); end != std::string_view::npos; end = text.find('\n')) {
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(end + 1);
    const size_t names = line.find(':');
    const size_t path = names == std::string_view::npos ? names : line.find(':', names + 1);
    if (path == std::string_view::npos) continue;
    std::string folder(kRoot);
    const std::string_view all = line.substr(names + 1, path - names - 1);
    if (all.starts_with("name=")) continue;
    if (!all.empty()) folder.append("/").append(all.substr(0, all.find(',')));
    folder.append(line.substr(path + 1)).append("/cgroup.procs");
    const UniqueFd processes(::open(folder.c_str(), O_WRONLY | O_CLOEXEC));
    if (!processes) continue;
    const std::string self = std::to_string(::getpid());
    if (::write(processes.get(), self.data(), self.size()) < 0)
      return errno_status(errno, "write to " + folder);
    return {};
  }
  return not_found("this process is in no cgroup that can be written to");
}

}  // namespace berth
