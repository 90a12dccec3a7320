// The socket over which an OCI runtime hands over a new terminal.
#pragma once

#include <berth/fd.h>
#include <berth/status.h>

#include <string>

namespace berth::shim {

class ConsoleSocket {
 public:
  /// In the folder `bundle`, so that whoever removes that removes it; under a name of its own.
  static Result<ConsoleSocket> open(const std::string& bundle, const std::string& name);
  ConsoleSocket(ConsoleSocket&&) = default;
  ConsoleSocket& operator=(ConsoleSocket&&) = delete;
  ~ConsoleSocket();

  /// For --console-socket. Short however deep the bundle lies: it goes through this process's
  /// descriptors.
  std::string path() const;

  /// The terminal's master; when the runtime has ended it is there or will not come.
  Result<UniqueFd> receive() const;

 private:
  ConsoleSocket(UniqueFd folder, UniqueFd socket, std::string name)
      : folder_(std::move(folder)), socket_(std::move(socket)), name_(std::move(name)) {}

  UniqueFd folder_;
  UniqueFd socket_;
  std::string name_;
};

}  // namespace berth::shim
