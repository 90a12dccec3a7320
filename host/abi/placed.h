// A plugin that is started and stopped, wherever it runs: in this process or in one of its own.
#pragma once

#include <berth/status.h>

#include <cstdint>

#include "bus/target.h"

namespace berth::abi {

/// Lives for ever once made. Lifecycle functions are called on one thread, in their order.
class Placed {
 public:
  enum class Outcome { kOk, kSkip, kFailed };
  struct Step {
    Outcome outcome = Outcome::kOk;
    Status status;
  };

  virtual Step probe() = 0;
  virtual Step init() = 0;
  virtual Step start() = 0;
  /// From now on calls are taken. After init().
  virtual void ready() = 0;
  /// Refuses new calls, cancels those in flight, stops the plugin, waits for what is left (ABI rule
  /// 11).
  virtual void stop(int64_t deadline) = 0;
  /// After a probe() that is kOk.
  virtual bus::Target& target() = 0;

 protected:
  Placed() = default;
  ~Placed() = default;
};

}  // namespace berth::abi
