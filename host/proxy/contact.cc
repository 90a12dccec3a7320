#include "proxy/contact.h"

#include <berth/context.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string_view>

#include "ops/stopped.h"

namespace berth::proxy {
namespace {

using namespace std::string_view_literals;

// The preface of HTTP/2 and a SETTINGS frame that has no settings in it.
constexpr std::string_view kGreeting =
    "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
    "\0\0\0\x04\0\0\0\0\0"sv;
// The server's SETTINGS frame comes first of all: length (3), type, flags, stream (4).
constexpr size_t kFrameHeader = 9;
constexpr char kSettingsType = 4;

/// Its program's, where this process may see that; else what the kernel calls it, cut short.
std::string name_of(pid_t pid) {
  const std::string folder = "/proc/" + std::to_string(pid);
  std::error_code error;
  std::string name = std::filesystem::read_symlink(folder + "/exe", error).filename();
  if (name.empty()) std::getline(std::ifstream(folder + "/comm"), name);
  return name;
}

}  // namespace

std::string path_of(const std::string& address) {
  constexpr std::string_view kUnix = "unix://";
  return address.starts_with(kUnix) ? address.substr(kUnix.size()) : address;
}

Contacted Greeting::failed(Contact contact, const std::string& why) const {
  Contacted out = known_;
  out.contact = contact;
  out.reason = why;
  return out;
}

std::string Greeting::listener() const {
  if (known_.pid == 0) return "what listens at " + address_;
  std::string text = "process " + std::to_string(known_.pid);
  if (!known_.process_name.empty()) text += " (" + known_.process_name + ")";
  return text + ", which listens at " + address_ + ",";
}

Greeting::Greeting(std::string address) : address_(std::move(address)) {
  const std::string path = path_of(address_);
  sockaddr_un name{};
  name.sun_family = AF_UNIX;
  if (path.size() >= sizeof name.sun_path) {
    known_ = failed(Contact::kNobody, "nobody listens at " + address_ +
                                          ": it is longer than the path of a socket may be");
    return;
  }
  std::copy(path.begin(), path.end(), name.sun_path);
  socket_ = UniqueFd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  // Of a unix socket it is known at once whether somebody listens.
  if (!socket_ ||
      ::connect(socket_.get(), reinterpret_cast<const sockaddr*>(&name), sizeof name) != 0) {
    const int why = errno;
    if (why == ENOENT || why == ENOTDIR) {
      known_ = failed(Contact::kNobody, "nobody listens at " + address_ + ": there is no socket");
    } else if (why == ECONNREFUSED) {
      std::error_code error;
      known_ = failed(Contact::kNobody,
                      "nobody listens at " + address_ +
                          (std::filesystem::is_socket(path, error)
                               ? ": there is a socket, but the program that made it has ended"
                               : ": it is no socket"));
    } else if (why == EAGAIN) {
      known_ = failed(Contact::kSilent, "what listens at " + address_ +
                                            " takes no connections: as many as may wait do wait");
    } else if (why == EPROTOTYPE) {
      known_ =
          failed(Contact::kForeign, "the socket " + address_ + " is of another type than gRPC's");
    } else {
      known_ = failed(Contact::kForbidden, "nobody knows whether somebody listens at " + address_ +
                                               ": " + std::strerror(why));
    }
    return;
  }
  ucred peer{};
  socklen_t size = sizeof peer;
  if (::getsockopt(socket_.get(), SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 && peer.pid > 0) {
    known_.pid = peer.pid;
    known_.process_name = name_of(peer.pid);
  }
  // It fits into an empty buffer. Where the other side has gone away already, reading says so.
  (void)::send(socket_.get(), kGreeting.data(), kGreeting.size(), MSG_NOSIGNAL);
}

Contacted Greeting::answer(int64_t deadline) {
  if (known_.contact != Contact::kAnswers) return known_;
  std::array<char, kFrameHeader> header{};
  size_t have = 0;
  while (have < header.size()) {
    const int64_t left = std::max<int64_t>(deadline - monotonic_now(), 0);
    pollfd wait{socket_.get(), POLLIN, 0};
    const int ready = ::poll(&wait, 1, static_cast<int>((left + 999'999) / 1'000'000));
    if (ready < 0 && errno == EINTR) continue;
    if (ready == 0) {
      const std::string stopped = known_.pid == 0 ? std::string() : ops::why_stopped(known_.pid);
      known_.stopped = !stopped.empty();
      return failed(Contact::kSilent,
                    listener() + " " + (known_.stopped ? stopped : "does not answer as gRPC does"));
    }
    const ssize_t got = ::recv(socket_.get(), header.data() + have, header.size() - have, 0);
    if (got < 0 && (errno == EINTR || errno == EAGAIN)) continue;
    if (got <= 0) break;
    have += static_cast<size_t>(got);
  }
  if (have == header.size() && header[3] == kSettingsType && header[4] == 0) return known_;
  return failed(Contact::kForeign,
                listener() + (have == 0 ? " ends connections without a word: it does not speak "
                                          "gRPC, or is about to end"
                                        : " does not speak gRPC"));
}

}  // namespace berth::proxy
