// What subscribers miss who come back after a restart of the daemon.
#pragma once

#include <chrono>
#include <deque>
#include <string>
#include <unordered_set>

#include "containerd/types/event.pb.h"

namespace berth::events {

/// Clients whose connection breaks try again after up to 3.6 seconds, and learn of a container's
/// end by its event alone; Docker Engine is one. What ends while the daemon is away is told by its
/// shim as soon as the daemon is back, and so before they are. Therefore the ends (and the OOM
/// events before them) of processes that an earlier life of the daemon started are kept for the
/// first moments, for those who subscribe in that time.
///
/// Not thread-safe.
class Missed {
 public:
  using Clock = std::chrono::steady_clock;

  /// Keeps events for `window` from now on.
  explicit Missed(Clock::duration window);

  /// Keeps `envelope` when it is of that kind. False: the time is over, for good.
  bool note(const containerd::types::Envelope& envelope, Clock::time_point now = Clock::now());
  /// In the order in which they came; empty when the time is over.
  const std::deque<containerd::types::Envelope>& kept(Clock::time_point now = Clock::now());

 private:
  bool over(Clock::time_point now);
  void remember_start(const containerd::types::Envelope& envelope, std::string process);

  const google::protobuf::Timestamp born_;
  const Clock::time_point until_;
  bool over_ = false;
  std::deque<containerd::types::Envelope> kept_;
  // Started in this life: who is told of them missed nothing.
  std::unordered_set<std::string> started_;
};

}  // namespace berth::events
