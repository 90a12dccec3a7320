// The daemon's events, followed through all its lives.
#pragma once

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
  /// The ends told since count() was `since`. What is told again, because a daemon died before it
  /// had thanked for it, is the same event to the nanosecond and one end.
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
  std::thread thread_;
};

}  // namespace berth::crash
