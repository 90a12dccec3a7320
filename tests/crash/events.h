// The daemon's events, followed through all its lives.
#pragma once

#include <chrono>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "daemon.h"

namespace berth::crash {

struct SeenExit {
  int life = 0;       // of the daemon that told
  std::string event;  // as it came, with the time of the end
  std::string container;
  std::string process;  // the exec's id, or the container's
  uint32_t pid = 0;
  uint32_t status = 0;
  std::chrono::steady_clock::time_point at;  // when it arrived
};

/// Any thread.
class Events {
 public:
  explicit Events(const Daemon& daemon);
  ~Events();
  Events(const Events&) = delete;
  Events& operator=(const Events&) = delete;

  /// Waits until events of the daemon's present life arrive.
  void synchronize();
  /// How many ends have been told so far.
  size_t count() const;
  /// The ends told since count() was `since`. One that is told again is the same end when it is the
  /// same event to the nanosecond, and the daemon that told it first died within a moment: before
  /// the shim, or who speaks for it, had its answer. `repeated` counts those.
  std::vector<SeenExit> exits(size_t since, size_t* repeated = nullptr) const;

 private:
  void follow();
  void end();

  const Daemon& daemon_;
  mutable std::mutex mutex_;  // guards what follows
  std::condition_variable changed_;
  bool stopping_ = false;
  int probe_ = 0;  // the newest that has come back
  grpc::ClientContext* reading_ = nullptr;
  std::vector<SeenExit> exits_;
  std::map<int, std::chrono::steady_clock::time_point> deaths_;  // of daemons, by their lives
  std::thread thread_;
};

}  // namespace berth::crash
