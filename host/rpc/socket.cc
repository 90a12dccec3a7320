#include "rpc/socket.h"

#include <poll.h>
#include <spdlog/spdlog.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <filesystem>

namespace berth::rpc {
namespace {

Result<sockaddr_un> address_of(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (!path.starts_with('/')) {
    return invalid_argument("listen on \"" + path +
                            "\": the address must be an absolute path in the file system");
  }
  if (path.size() >= sizeof address.sun_path) {
    return invalid_argument("listen on " + path + ": the path has " + std::to_string(path.size()) +
                            " bytes, a unix socket takes at most " +
                            std::to_string(sizeof address.sun_path - 1));
  }
  path.copy(address.sun_path, path.size());
  return address;
}

bool answers(const sockaddr_un& address) {
  const UniqueFd probe(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  return ::connect(probe.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
}

}  // namespace

Result<UniqueFd> listen_unix(const std::string& path, uint32_t uid, uint32_t gid) {
  BERTH_ASSIGN_OR_RETURN(const sockaddr_un address, address_of(path));
  std::error_code error;
  std::filesystem::create_directories(std::filesystem::path(path).parent_path(), error);
  if (error) return errno_status(error.value(), "make the directory of socket " + path);
  if (answers(address)) {
    return failed_precondition("listen on " + path +
                               ": another daemon answers there; stop it or choose another address");
  }
  // What an earlier process has left, and nothing else.
  struct stat there {};
  if (::lstat(path.c_str(), &there) == 0) {
    if (!S_ISSOCK(there.st_mode)) {
      return failed_precondition("listen on " + path +
                                 ": that is no socket; remove it or choose another address");
    }
    ::unlink(path.c_str());
  }
  UniqueFd listener(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!listener) return errno_status(errno, "make a socket for " + path);
  // The mode must hold from the moment the name exists, hence the umask; nobody can connect before
  // listen().
  const mode_t before = ::umask(0117);
  const int bound =
      ::bind(listener.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address);
  const int bind_error = errno;
  ::umask(before);
  if (bound != 0) return errno_status(bind_error, "bind " + path);
  if (::lchown(path.c_str(), uid, gid) != 0) {
    const int chown_error = errno;
    ::unlink(path.c_str());
    return errno_status(chown_error, "give socket " + path + " to user " + std::to_string(uid) +
                                         " and group " + std::to_string(gid) +
                                         " (run as root, or name your own)");
  }
  if (::listen(listener.get(), SOMAXCONN) != 0) return errno_status(errno, "listen on " + path);
  return listener;
}

Acceptor::Acceptor(UniqueFd listener, std::string path, Accepted accepted)
    : listener_(std::move(listener)),
      wake_(::eventfd(0, EFD_CLOEXEC)),
      path_(std::move(path)),
      accepted_(std::move(accepted)),
      thread_([this] { run(); }) {}

Acceptor::~Acceptor() {
  const uint64_t one = 1;
  (void)!::write(wake_.get(), &one, sizeof one);
  thread_.join();
  ::unlink(path_.c_str());
}

void Acceptor::run() {
  while (true) {
    pollfd events[2] = {{listener_.get(), POLLIN, 0}, {wake_.get(), POLLIN, 0}};
    if (::poll(events, 2, -1) < 0 && errno != EINTR) return;
    if (events[1].revents != 0) return;
    UniqueFd connection(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (!connection) {
      if (errno == EMFILE || errno == ENFILE || errno == ENOMEM) {
        spdlog::error("accept on {}: {}; waiting for descriptors", path_, strerror(errno));
        std::this_thread::sleep_for(std::chrono::milliseconds(100));
      }
      continue;
    }
    ucred peer{};
    socklen_t size = sizeof peer;
    if (::getsockopt(connection.get(), SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0 ||
        peer.pid == 0) {
      spdlog::warn("connection on {} refused: the kernel does not say who it is", path_);
      continue;
    }
    spdlog::debug("connection on {} from pid {} uid {}", path_, peer.pid, peer.uid);
    accepted_(std::move(connection));
  }
}

}  // namespace berth::rpc
