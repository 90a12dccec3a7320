// Places at which a test can end, stop or hold up a process. They exist only in programs that are
// compiled with BERTH_FAULTS (tests/crash); everywhere else each of them is nothing at all.
#pragma once

#ifndef BERTH_FAULTS

#define BERTH_FAULT_POINT(name) static_cast<void>(0)
#define BERTH_FAULT_CHILD(arguments, pid) static_cast<void>(0)

#else

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

// The mark is how tests/crash finds the names of all points in a program's bytes.
#define BERTH_FAULT_MARK "berth-fault-point:"

/// Does what the file BERTH_FAULT_DIR/name says, if there is one: "kill", "stop", or "wait" and
/// milliseconds. The first process that gets there takes the file; so a point is armed once, for
/// one process, at any time, and has been reached when its file is gone.
#define BERTH_FAULT_POINT(name) ::berth::fault::act(BERTH_FAULT_MARK name)
/// The same for a command of the OCI runtime, as "runtime.create": the file has the microseconds
/// after which the child is killed.
#define BERTH_FAULT_CHILD(arguments, pid) ::berth::fault::kill_soon(arguments, pid)

namespace berth::fault {

/// The content of a point's file, which is gone then.
inline std::optional<std::string> take(std::string_view marked) {
  static const char* const folder = ::getenv("BERTH_FAULT_DIR");
  if (folder == nullptr) return std::nullopt;
  marked.remove_prefix(sizeof BERTH_FAULT_MARK - 1);
  const std::string path = std::string(folder) + "/" + std::string(marked);
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return std::nullopt;
  std::array<char, 64> text{};
  const ssize_t size = ::read(fd, text.data(), text.size());
  ::close(fd);
  if (size < 0 || ::unlink(path.c_str()) != 0) return std::nullopt;  // another one's
  return std::string(text.data(), static_cast<size_t>(size));
}

inline void act(std::string_view marked) {
  const auto order = take(marked);
  if (!order) return;
  if (*order == "kill") ::kill(::getpid(), SIGKILL);
  if (*order == "stop") ::kill(::getpid(), SIGSTOP);
  if (order->starts_with("wait ")) {
    ::usleep(1000 * static_cast<useconds_t>(std::atoi(order->c_str() + 5)));
  }
}

inline void kill_soon(const std::vector<std::string>& arguments, pid_t pid) {
  constexpr std::array<std::string_view, 5> kPoints = {
      BERTH_FAULT_MARK "runtime.create", BERTH_FAULT_MARK "runtime.start",
      BERTH_FAULT_MARK "runtime.exec", BERTH_FAULT_MARK "runtime.kill",
      BERTH_FAULT_MARK "runtime.delete"};
  for (const std::string_view point : kPoints) {
    const std::string_view command = point.substr(point.rfind('.') + 1);
    if (std::find(arguments.begin(), arguments.end(), command) == arguments.end()) continue;
    if (const auto order = take(point)) {
      const auto delay = static_cast<useconds_t>(std::atoi(order->c_str()));
      std::thread([pid, delay] {
        ::usleep(delay);
        ::kill(pid, SIGKILL);
      }).detach();
    }
    return;
  }
}

}  // namespace berth::fault

#endif
