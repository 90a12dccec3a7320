// A cheap client of containerd's API, the same for every daemon.
#pragma once

#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>

#include <memory>
#include <string>

namespace berth::bench {

/// One connection. One thread.
class Client {
 public:
  explicit Client(const std::string& address);

  /// Whether Version is answered within a second.
  bool answers();
  /// Each throws std::runtime_error when the daemon refuses.
  void version();
  /// Number of containers listed.
  size_t list_containers();
  /// With a specification of `spec_bytes` bytes.
  void create_container(const std::string& id, size_t spec_bytes);

 private:
  grpc::ByteBuffer call(const std::string& method, const grpc::ByteBuffer& request, int timeout_ms);

  std::shared_ptr<grpc::Channel> channel_;
  grpc::GenericStub stub_;
};

}  // namespace berth::bench
