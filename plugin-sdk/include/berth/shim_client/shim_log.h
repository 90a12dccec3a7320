// Copies what a shim logs into the daemon's log.
#pragma once

#include <berth/shim_client/bundle.h>
#include <berth/ttrpc/loop.h>

#include <functional>
#include <memory>
#include <string>

namespace berth::shim_client {

/// The reading end of the fifo "log" of a bundle, until destroyed. Shims open the writing end and
/// fail without a reader.
class ShimLog {
 public:
  /// One line without its end, on the loop's thread; must not block.
  using Line = std::function<void(std::string_view line)>;

  /// Makes the fifo unless it is there, as after a restart of the daemon.
  static Result<std::unique_ptr<ShimLog>> open(std::shared_ptr<ttrpc::Loop> loop,
                                               const Bundle& bundle, Line line);
  ~ShimLog();
  ShimLog(const ShimLog&) = delete;
  ShimLog& operator=(const ShimLog&) = delete;

 private:
  struct Reader;
  ShimLog(std::shared_ptr<ttrpc::Loop> loop, std::shared_ptr<Reader> reader)
      : loop_(std::move(loop)), reader_(std::move(reader)) {}
  std::shared_ptr<ttrpc::Loop> loop_;
  std::shared_ptr<Reader> reader_;
  ttrpc::Loop::Id source_ = 0;
};

}  // namespace berth::shim_client
