#include "bus/workers.h"

#include <pthread.h>

#include <chrono>
#include <memory>

namespace berth::bus {
namespace {

constexpr auto kIdleTime = std::chrono::seconds(10);
constexpr auto kQuietTime = std::chrono::seconds(1);
constexpr size_t kStackBytes = 1 << 20;
constexpr uint32_t kHandlerLimit = 4096;

thread_local int event_depth = 0;

}  // namespace

bool Workers::add(std::function<void()> task, uint32_t limit) {
  std::unique_lock lock(mutex_);
  if (idle_ > tasks_.size()) {
    tasks_.push_back(std::move(task));
    lock.unlock();
    wake_.notify_one();
    return true;
  }
  if (threads_ >= limit) return false;
  tasks_.push_back(std::move(task));
  ++threads_;
  lock.unlock();

  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, kStackBytes);
  pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
  pthread_t thread;
  const auto entry = [](void* self) -> void* {
    static_cast<Workers*>(self)->run();
    return nullptr;
  };
  const int error = pthread_create(&thread, &attributes, entry, this);
  pthread_attr_destroy(&attributes);
  if (error == 0) return true;
  lock.lock();
  --threads_;
  // The machine has no thread for us. Take a task back unless another thread has taken it
  // meanwhile.
  if (tasks_.size() > idle_) {
    tasks_.pop_back();
    return false;
  }
  return true;
}

// False when there was none for a long time.
bool Workers::wait_for_task(std::unique_lock<std::mutex>& lock) {
  const auto arrived = [&] { return !tasks_.empty(); };
  const uint64_t begun = begun_;
  ++idle_;
  bool woken = wake_.wait_for(lock, kQuietTime, arrived);
  if (!woken && begun_ == begun && quiet_after_ != begun && quiet_) {
    quiet_after_ = begun;
    lock.unlock();
    quiet_();
    lock.lock();
  }
  woken = woken || wake_.wait_for(lock, kIdleTime, arrived);
  --idle_;
  return woken;
}

void Workers::run() {
  std::unique_lock lock(mutex_);
  while (true) {
    if (tasks_.empty() && !wait_for_task(lock)) break;
    ++begun_;
    std::function<void()> task = std::move(tasks_.front());
    tasks_.pop_front();
    lock.unlock();
    task();
    task = nullptr;
    lock.lock();
  }
  --threads_;
}

uint32_t Workers::threads() const {
  const std::lock_guard lock(mutex_);
  return threads_;
}

Workers& workers() {
  static auto* pool = new Workers(kHandlerLimit);
  return *pool;
}

EventScope::EventScope() { ++event_depth; }
EventScope::~EventScope() { --event_depth; }
bool EventScope::active() { return event_depth > 0; }

}  // namespace berth::bus
