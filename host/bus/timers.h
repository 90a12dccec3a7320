// Deadlines: one thread that calls back at points of CLOCK_MONOTONIC.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>

namespace berth::bus {

/// Any thread. Callbacks run on the timer thread one after another and must be short.
class Timers {
 public:
  using Id = std::pair<int64_t, uint64_t>;  // due time, sequence number

  Timers();
  /// Runs `callback` at or soon after `due` (CLOCK_MONOTONIC nanoseconds).
  Id add(int64_t due, std::function<void()> callback);
  /// Takes a timer back. One that is just running is not waited for.
  void remove(const Id& id);

 private:
  void run();

  std::mutex mutex_;
  std::condition_variable wake_;
  std::map<Id, std::function<void()>> timers_;
  /// Until when the thread sleeps, though the timer of that time may be gone. It is not woken for a
  /// later one: most timers are deadlines of calls that end long before, and each would cost a
  /// switch to this thread.
  int64_t sleeps_until_ = INT64_MAX;
  uint64_t sequence_ = 0;
};

/// Process-wide; lives for ever.
Timers& timers();

}  // namespace berth::bus
