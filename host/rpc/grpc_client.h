// Calls of a daemon by the name of the method, with messages as bytes, as its clients make them: of
// berthctl, and of tests. The daemon itself has no use for it.
#pragma once

#include <berth/status.h>

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace berth::rpc {

struct GrpcCallOptions {
  std::map<std::string, std::string> headers;
  std::chrono::milliseconds timeout{30'000};
};

/// One connection, made at the first call and, when it broke, at a later one. Any thread.
class GrpcClient {
 public:
  /// `path`: absolute, of the daemon's socket.
  explicit GrpcClient(const std::string& path);
  ~GrpcClient();
  GrpcClient(const GrpcClient&) = delete;
  GrpcClient& operator=(const GrpcClient&) = delete;

  /// Takes one response; runs on the thread that called.
  using OnResponse = std::function<void(std::string bytes)>;

  /// Sends all requests, then takes all responses, in their order, of any size. `method`:
  /// "package.Service/Method", with or without a slash before it. Blocks. The status that the
  /// daemon gave, with its details; UNAVAILABLE when nobody listens, DEADLINE_EXCEEDED after the
  /// timeout.
  Status call(std::string_view method, const std::vector<std::string>& requests,
              const GrpcCallOptions& options, const OnResponse& on_response);

 private:
  struct Connection;
  const std::unique_ptr<Connection> connection_;
};

}  // namespace berth::rpc
