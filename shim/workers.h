// Threads for what blocks: made when there is work, ended when there is none, so that an idle shim
// has only the two that wait.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>

namespace berth::shim {

class Workers {
 public:
  /// Runs `work` on a thread with a working directory of its own. Never blocks; beyond the limit of
  /// threads work waits its turn. Any thread.
  void post(std::function<void()> work);
  /// Waits until nothing is left or `seconds` have passed; true for the former.
  bool wait_idle(int seconds);

 private:
  static void* run(void* self);
  void work();

  std::mutex mutex_;  // guards what follows
  std::condition_variable arrived_;
  std::condition_variable idle_changed_;
  std::deque<std::function<void()>> queue_;
  size_t threads_ = 0;
  size_t idle_ = 0;
};

}  // namespace berth::shim
