// Listening unix sockets with the mode that their door wants from the first moment.
#pragma once

#include <berth/fd.h>
#include <berth/status.h>

#include <atomic>
#include <functional>
#include <string>
#include <thread>

namespace berth::rpc {

/// Binds and listens. The path must be absolute and in the file system (never abstract); a stale
/// socket is replaced, one that still answers is an error. The file has mode 0660 and belongs to
/// uid:gid before anyone can connect.
Result<UniqueFd> listen_unix(const std::string& path, uint32_t uid, uint32_t gid);

/// Accepts connections on a thread of its own and hands each over. Connections whose peer the
/// kernel does not name are closed. Stops and joins when destroyed.
class Acceptor {
 public:
  using Accepted = std::function<void(UniqueFd connection)>;
  Acceptor(UniqueFd listener, std::string path, Accepted accepted);
  ~Acceptor();
  Acceptor(const Acceptor&) = delete;
  Acceptor& operator=(const Acceptor&) = delete;

 private:
  void run();

  UniqueFd listener_;
  UniqueFd wake_;
  std::string path_;
  Accepted accepted_;
  std::thread thread_;
};

}  // namespace berth::rpc
