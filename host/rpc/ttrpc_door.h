// The ttrpc door: the same services as the gRPC door, on the socket where shims publish their
// events.
#pragma once

#include <berth/status.h>

#include <cstdint>
#include <memory>
#include <string>

#include "rpc/router.h"

namespace berth::rpc {

/// Serves until destroyed.
class TtrpcDoor {
 public:
  static Result<std::unique_ptr<TtrpcDoor>> open(const std::string& address, uint32_t uid,
                                                 uint32_t gid, const Router& router);
  virtual ~TtrpcDoor() = default;
  /// Accepts no more connections; calls under way go on.
  virtual void close() = 0;
};

}  // namespace berth::rpc
