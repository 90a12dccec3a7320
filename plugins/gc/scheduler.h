// Runs garbage collections, one at a time, on a thread of its own.
#pragma once

#include <berth/status.h>

#include <condition_variable>
#include <functional>
#include <mutex>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

#include "berth/gc/v1/gc.pb.h"
#include "schedule.h"

namespace berth::gc {

/// Any thread, unless said otherwise.
class Scheduler {
 public:
  using Collection = berth::gc::v1::CollectResponse;
  /// Runs one collection; is called on the scheduler's thread with no lock held. Returns soon once
  /// `stop` is requested.
  using Collector = std::function<Result<Collection>(std::stop_token stop)>;
  using Done = std::function<void(const Result<Collection>&)>;
  /// Told of each collection, on the scheduler's thread.
  using Observer = std::function<void(const Result<Collection>&)>;

  Scheduler(const ScheduleOptions& options, Collector collector, Observer observer);
  Scheduler(const Scheduler&) = delete;
  Scheduler& operator=(const Scheduler&) = delete;
  ~Scheduler() { stop(); }

  /// Begins the thread. Once. UNAVAILABLE when the system has no thread to give.
  Status start();
  /// Interrupts a collection under way, answers everyone who waits with UNAVAILABLE, and ends the
  /// thread.
  void stop();

  /// Calls `done` with the outcome of a collection that begins after this call: on the scheduler's
  /// thread, or here with UNAVAILABLE when it has been stopped. All who ask before it begins share
  /// one.
  void collect(Done done);
  /// As Schedule::mutated.
  void mutated(uint64_t mutations, bool dirty);
  berth::gc::v1::StatsResponse stats() const;

 private:
  void run(std::stop_token stop);
  void run_collection(std::unique_lock<std::mutex>& lock, std::stop_token stop);

  const Collector collector_;
  const Observer observer_;

  mutable std::mutex mutex_;  // guards what follows
  std::condition_variable_any changed_;
  Schedule schedule_;
  std::vector<Done> waiting_;  // for a collection that has not begun
  bool stopped_ = false;
  uint64_t collections_ = 0;
  uint64_t last_duration_ns_ = 0;
  std::string last_error_;

  std::jthread thread_;
};

}  // namespace berth::gc
