#include "console.h"

#include <berth/ttrpc/server.h>
#include <fcntl.h>
#include <sys/socket.h>

#include <array>
#include <cstring>

namespace berth::shim {

Result<ConsoleSocket> ConsoleSocket::open(const std::string& bundle, const std::string& name) {
  UniqueFd folder(::open(bundle.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!folder) return errno_status(errno, "open " + bundle);
  ConsoleSocket out(std::move(folder), UniqueFd(), name);
  BERTH_ASSIGN_OR_RETURN(out.socket_, ttrpc::listen_unix(out.path(), 0600));
  return out;
}

ConsoleSocket::~ConsoleSocket() {
  if (folder_) ::unlinkat(folder_.get(), name_.c_str(), 0);
}

std::string ConsoleSocket::path() const {
  return "/proc/" + std::to_string(::getpid()) + "/fd/" + std::to_string(folder_.get()) + "/" +
         name_;
}

Result<UniqueFd> ConsoleSocket::receive() const {
  const UniqueFd connection(::accept4(socket_.get(), nullptr, nullptr, SOCK_CLOEXEC));
  if (!connection) return errno_status(errno, "accept the runtime's connection with the terminal");
  std::array<char, 4096> name;  // the terminal's, in which nobody is interested
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control{};
  iovec vector{name.data(), name.size()};
  msghdr message{};
  message.msg_iov = &vector;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  if (::recvmsg(connection.get(), &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT) < 0) {
    return errno_status(errno, "receive the terminal from the runtime");
  }
  const cmsghdr* const header = CMSG_FIRSTHDR(&message);
  if (header == nullptr || header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) {
    return internal_error("receive the terminal from the runtime: it sent no descriptor");
  }
  int fd = -1;
  std::memcpy(&fd, CMSG_DATA(header), sizeof fd);
  return UniqueFd(fd);
}

}  // namespace berth::shim
