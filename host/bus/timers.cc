#include "bus/timers.h"

#include <berth/context.h>

#include <chrono>
#include <thread>

namespace berth::bus {

Timers::Timers() {
  std::thread([this] { run(); }).detach();
}

Timers::Id Timers::add(int64_t due, std::function<void()> callback) {
  std::unique_lock lock(mutex_);
  const Id id{due, sequence_++};
  const bool first = timers_.empty() || id < timers_.begin()->first;
  timers_.emplace(id, std::move(callback));
  lock.unlock();
  if (first) wake_.notify_one();
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
    if (timers_.empty()) {
      wake_.wait(lock);
      continue;
    }
    const int64_t wait = timers_.begin()->first.first - monotonic_now();
    if (wait > 0) {
      wake_.wait_for(lock, std::chrono::nanoseconds(wait));
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
