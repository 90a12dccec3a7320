// Threads that may block: handlers that are called from outside run here, each with a thread of its
// own.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>

namespace berth::bus {

/// An elastic pool: a task always has a thread at once, an idle one or a new one; nothing is queued
/// behind a task that runs (ABI rule 10). Idle threads end after some seconds. Any thread.
class Workers {
 public:
  explicit Workers(uint32_t limit) : limit_(limit) {}

  /// Runs `task` on a thread that may block. False when `limit` threads are busy; `task` is then
  /// dropped.
  bool spawn(std::function<void()> task) { return add(std::move(task), limit_); }
  /// The same for callbacks, which are never dropped: not held to the limit.
  void spawn_unlimited(std::function<void()> task) { (void)add(std::move(task), UINT32_MAX); }

  uint32_t threads() const;

  /// `quiet` runs on a worker once after each time of work, when for a second no task has been
  /// begun; long tasks may still be under way. To be set before the first task.
  void on_quiet(std::function<void()> quiet) { quiet_ = std::move(quiet); }

 private:
  bool wait_for_task(std::unique_lock<std::mutex>& lock);
  bool add(std::function<void()> task, uint32_t limit);
  void run();

  const uint32_t limit_;
  mutable std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::function<void()>> tasks_;  // each has a thread that is on its way
  uint32_t idle_ = 0;
  uint32_t threads_ = 0;
  uint64_t begun_ = 0;        // tasks
  uint64_t quiet_after_ = 0;  // begun_ when it was quiet last
  std::function<void()> quiet_;
};

/// Process-wide pool of the bus; lives for ever, since plugins are never unloaded.
Workers& workers();

/// Marks the current thread as one that must not block while in scope: an event loop's.
class EventScope {
 public:
  EventScope();
  ~EventScope();
  EventScope(const EventScope&) = delete;
  EventScope& operator=(const EventScope&) = delete;
  static bool active();
};

}  // namespace berth::bus
