#include "ops/sd_notify.h"

#include <berth/fd.h>
#include <spdlog/spdlog.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cerrno>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <string>

namespace berth::ops {

void sd_notify(std::string_view state) {
  const char* path = std::getenv("NOTIFY_SOCKET");
  if (path == nullptr || *path == '\0') return;
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const size_t length = std::strlen(path);
  if (length >= sizeof address.sun_path) return;
  std::memcpy(address.sun_path, path, length);
  if (address.sun_path[0] == '@') address.sun_path[0] = '\0';  // the manager's own abstract socket
  const UniqueFd socket(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + length);
  if (::sendto(socket.get(), state.data(), state.size(), MSG_NOSIGNAL,
               reinterpret_cast<const sockaddr*>(&address), size) < 0) {
    spdlog::warn("tell systemd \"{}\" through {}: {}", state, path, std::strerror(errno));
  }
}

std::optional<std::chrono::microseconds> watchdog_interval() {
  const char* microseconds = std::getenv("WATCHDOG_USEC");
  const char* pid = std::getenv("WATCHDOG_PID");
  if (microseconds == nullptr) return std::nullopt;
  if (pid != nullptr && std::to_string(::getpid()) != pid) return std::nullopt;
  const long long interval = std::strtoll(microseconds, nullptr, 10);
  if (interval <= 0) return std::nullopt;
  return std::chrono::microseconds(interval / 2);
}

}  // namespace berth::ops
