#include <berth/fd.h>
#include <berth/ttrpc/envelope.h>
#include <berth/ttrpc/frame.h>
#include <berth/ttrpc/probe.h>
#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <thread>

namespace berth::ttrpc {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

// Of no service, so that every server answers it at once.
std::string question() {
  constexpr uint32_t kStream = 1;
  std::string bytes;
  (void)append_frame(kStream, kRequest, kRemoteClosed,
                     encode(RequestEnvelope{"berth.Probe", "Ask", {}, 0, {}}), &bytes);
  return bytes;
}

// False when the connection has ended.
bool answers(int socket, Clock::time_point end) {
  const std::string asked = question();
  if (::send(socket, asked.data(), asked.size(), MSG_NOSIGNAL) < 0) return false;
  while (true) {
    const auto left = std::chrono::ceil<milliseconds>(end - Clock::now()).count();
    pollfd entry{socket, POLLIN, 0};
    const int ready = left <= 0 ? 0 : ::poll(&entry, 1, static_cast<int>(left));
    if (ready < 0 && errno == EINTR) continue;
    if (ready <= 0) return true;  // silent, and there
    char byte = 0;
    return ::recv(socket, &byte, 1, 0) > 0;
  }
}

}  // namespace

bool is_served(const std::string& path, milliseconds patience) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof address.sun_path) return false;
  std::copy(path.begin(), path.end(), address.sun_path);
  const auto end = Clock::now() + patience;
  do {
    const UniqueFd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!socket) return true;  // unknown, and what is unknown is not removed
    if (::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0) {
      // Else the listening socket is gone by now, unless it was a living server that hung up.
      if (answers(socket.get(), end)) return true;
    } else if (errno != EAGAIN && errno != EINTR) {
      return false;
    }  // else a full backlog, which is somebody's, dead or alive
    std::this_thread::sleep_for(milliseconds(1));
  } while (Clock::now() < end);
  return true;
}

void remove_dead_socket(const std::string& path) {
  if (!is_served(path)) ::unlink(path.c_str());
}

}  // namespace berth::ttrpc
