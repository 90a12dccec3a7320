// One event thread for any number of descriptors: what keeps a thousand shims from costing a
// thousand threads.
#pragma once

#include <berth/fd.h>
#include <berth/status.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <unordered_map>
#include <vector>

namespace berth::ttrpc {

/// Waits for descriptors and timers on a thread of its own. What it runs must not block and must
/// not throw.
class Loop {
 public:
  /// Called with EPOLLIN, EPOLLOUT, EPOLLERR and EPOLLHUP bits, on the loop's thread.
  using Ready = std::function<void(uint32_t events)>;
  /// Never 0; not used again.
  using Id = uint64_t;

  /// Starts the thread, with all signals blocked. RESOURCE_EXHAUSTED and the like when the kernel
  /// refuses.
  static Result<std::shared_ptr<Loop>> start();
  /// Ends the thread and waits for it; on the loop's own thread (the last reference was there) it
  /// ends by itself.
  ~Loop();
  Loop(const Loop&) = delete;
  Loop& operator=(const Loop&) = delete;

  /// Watches `fd`, borrowed until remove(). Level triggered. Any thread.
  Result<Id> add(int fd, uint32_t events, Ready ready);
  /// Waits for other events. Any thread.
  Status modify(Id id, int fd, uint32_t events);
  /// Forgets the descriptor. A call of `ready` may still be running on the loop's thread, none
  /// begins after. Any thread.
  void remove(Id id, int fd);

  /// Runs `work` on the loop's thread, soon. Any thread.
  void post(std::function<void()> work);
  /// Runs `work` on the loop's thread at or after `when`, CLOCK_MONOTONIC in nanoseconds. Any
  /// thread.
  Id at(int64_t when, std::function<void()> work);
  /// Takes a timer back; false when it has run, is running or was never set. Any thread.
  bool cancel(Id timer);

  bool on_loop_thread() const { return std::this_thread::get_id() == thread_.get_id(); }

 private:
  struct Core;  // what the thread needs; outlives the object while the thread is on its way out
  explicit Loop(std::shared_ptr<Core> core) : core_(std::move(core)) {}
  std::shared_ptr<Core> core_;
  std::thread thread_;
};

/// CLOCK_MONOTONIC in nanoseconds.
int64_t monotonic_ns();

}  // namespace berth::ttrpc
