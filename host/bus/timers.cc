#include "bus/timers.h"

#include <berth/context.h>

#include <algorithm>
#include <chrono>
#include <thread>

namespace berth::bus {

Timers::Timers() {
  std::thread([this] { run(); }).detach();
}

Timers::Id Timers::add(int64_t due, std::function<void()> callback) {
  std::unique_lock lock(mutex_);
  const Id id{due, sequence_++};
  timers_.emplace(id, std::move(callback));
  const bool wake = due < sleeps_until_;
  if (wake) sleeps_until_ = due;  // one call is enough
  lock.unlock();
  if (wake) wake_.notify_one();
  return id;
}

void Timers::remove(const Id& id) {
  std::map<Id, std::function<void()>>::node_type node;  // destroyed after the lock
  const std::lock_guard lock(mutex_);
  node = timers_.extract(id);
}

void Timers::run() {
  std::unique_lock lock(mutex_);
  while (true) {
    const int64_t now = monotonic_now();
    const int64_t next = timers_.empty() ? INT64_MAX : timers_.begin()->first.first;
    if (next > now) {
      sleeps_until_ = sleeps_until_ > now ? std::min(sleeps_until_, next) : next;
      if (sleeps_until_ == INT64_MAX) {
        wake_.wait(lock);
      } else {
        wake_.wait_for(lock, std::chrono::nanoseconds(sleeps_until_ - now));
      }
      continue;
    }
    auto node = timers_.extract(timers_.begin());
    lock.unlock();
    node.mapped()();
    node = {};
    lock.lock();
  }
}

Timers& timers() {
  static auto* instance = new Timers;
  return *instance;
}

}  // namespace berth::bus
