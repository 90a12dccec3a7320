#include <berth/ttrpc/server.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <algorithm>

#include "server_stream.h"

namespace berth::ttrpc {
namespace {

// How long no connection is accepted after descriptors ran out, which would otherwise spin.
constexpr int64_t kAcceptPauseNs = 100'000'000;

Peer peer_of(int socket) {
  ucred credentials{};
  socklen_t size = sizeof credentials;
  if (::getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &credentials, &size) != 0) return {};
  return {credentials.pid, credentials.uid, credentials.gid};
}

}  // namespace

struct Server::Shared {
  std::shared_ptr<Loop> loop;
  UniqueFd listening;
  Handler handler;
  ServerLimits limits;
  std::mutex mutex;  // guards what follows
  bool stopped = false;
  Loop::Id source = 0;
  std::unordered_set<std::shared_ptr<detail::ServerConnection>> connections;
};

Result<std::unique_ptr<Server>> Server::serve(std::shared_ptr<Loop> loop, UniqueFd listening,
                                              Handler handler, ServerLimits limits) {
  auto shared = std::make_shared<Shared>();
  shared->loop = std::move(loop);
  shared->listening = std::move(listening);
  shared->handler = std::move(handler);
  shared->limits = limits;
  {
    const std::lock_guard lock(shared->mutex);
    BERTH_ASSIGN_OR_RETURN(shared->source,
                           shared->loop->add(shared->listening.get(), EPOLLIN,
                                             [weak = std::weak_ptr(shared)](uint32_t) {
                                               if (const auto alive = weak.lock())
                                                 accept_all(alive);
                                             }));
  }
  return std::unique_ptr<Server>(new Server(std::move(shared)));
}

void Server::accept_all(const std::shared_ptr<Shared>& shared) {
  while (true) {
    UniqueFd socket(
        ::accept4(shared->listening.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (!socket) {
      if (errno == EINTR || errno == ECONNABORTED) continue;
      if (errno == EAGAIN) return;
      // No descriptors or memory: the listening socket stays readable, so look away for a moment.
      const std::lock_guard lock(shared->mutex);
      if (shared->stopped) return;
      (void)shared->loop->modify(shared->source, shared->listening.get(), 0);
      shared->loop->at(monotonic_ns() + kAcceptPauseNs, [weak = std::weak_ptr(shared)] {
        const auto alive = weak.lock();
        if (alive == nullptr) return;
        const std::lock_guard again(alive->mutex);
        if (!alive->stopped) {
          (void)alive->loop->modify(alive->source, alive->listening.get(), EPOLLIN);
        }
      });
      return;
    }
    const Peer peer = peer_of(socket.get());
    auto connection = std::make_shared<detail::ServerConnection>(
        shared->loop, std::move(socket), peer, shared->handler, shared->limits);
    {
      const std::lock_guard lock(shared->mutex);
      if (shared->stopped) return;
      if (shared->connections.size() >= shared->limits.connections) continue;  // closes it
      shared->connections.insert(connection);
    }
    const auto closed = [weak = std::weak_ptr(shared), raw = std::weak_ptr(connection)] {
      const auto alive = weak.lock();
      if (alive == nullptr) return;
      const std::lock_guard lock(alive->mutex);
      alive->connections.erase(raw.lock());
    };
    if (!connection->begin(closed).ok()) closed();
  }
}

void Server::stop_accepting() {
  Loop::Id source = 0;
  {
    const std::lock_guard lock(shared_->mutex);
    shared_->stopped = true;
    std::swap(source, shared_->source);
  }
  if (source != 0) shared_->loop->remove(source, shared_->listening.get());
}

Server::~Server() {
  stop_accepting();
  std::unordered_set<std::shared_ptr<detail::ServerConnection>> connections;
  {
    const std::lock_guard lock(shared_->mutex);
    connections.swap(shared_->connections);
  }
  for (const auto& connection : connections) connection->close();
}

size_t Server::connections() const {
  const std::lock_guard lock(shared_->mutex);
  return shared_->connections.size();
}

Result<UniqueFd> listen_unix(const std::string& path, mode_t mode) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof address.sun_path) {
    return invalid_argument("listen on \"" + path + "\": a socket path has 1 to " +
                            std::to_string(sizeof address.sun_path - 1) + " bytes");
  }
  std::copy(path.begin(), path.end(), address.sun_path);
  UniqueFd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket) return errno_status(errno, "listen on " + path + ": socket");
  struct stat found {};
  if (::lstat(path.c_str(), &found) == 0) {
    if (!S_ISSOCK(found.st_mode)) {
      return already_exists("listen on " + path + ": something that is not a socket is there");
    }
    if (::unlink(path.c_str()) != 0) return errno_status(errno, "remove the stale socket " + path);
  }
  const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + path.size() + 1);
  if (::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), size) != 0) {
    return errno_status(errno, "listen on " + path + ": bind");
  }
  // Nobody can connect before listen(): between the two the mode is set.
  if (::chmod(path.c_str(), mode) != 0) return errno_status(errno, "set the mode of " + path);
  if (::listen(socket.get(), SOMAXCONN) != 0) return errno_status(errno, "listen on " + path);
  return socket;
}

}  // namespace berth::ttrpc
