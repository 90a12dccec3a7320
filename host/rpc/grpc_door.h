// The gRPC door: one generic service that carries every method of every client-facing plugin as
// bytes.
#pragma once

#include <berth/status.h>

#include <cstdint>
#include <memory>
#include <string>

#include "rpc/router.h"

namespace berth::rpc {

struct GrpcDoorOptions {
  std::string address;  // absolute path of the socket
  uint32_t uid = 0;
  uint32_t gid = 0;
  int max_receive_bytes = 16 << 20;
  int max_send_bytes = 16 << 20;
};

/// Serves until destroyed. The door has a thread per lane (grpc_door.cc), half as many as cores,
/// which moves bytes and runs handlers that do not block; the others run on the bus's threads.
class GrpcDoor {
 public:
  static Result<std::unique_ptr<GrpcDoor>> open(const GrpcDoorOptions& options,
                                                const Router& router);
  virtual ~GrpcDoor() = default;
  /// No new connections; calls under way get until `deadline` (CLOCK_MONOTONIC nanoseconds) and are
  /// cancelled then. Returns when the last one has ended, whether clients stay connected or not.
  virtual void close(int64_t deadline) = 0;
};

}  // namespace berth::rpc
