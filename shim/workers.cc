#include "workers.h"

#include <malloc.h>
#include <pthread.h>
#include <sched.h>

#include <chrono>

namespace berth::shim {
namespace {

// Each may stand in a runtime that hangs; a pod has some dozens of processes at most.
constexpr size_t kMaxThreads = 64;
constexpr size_t kStackSize = 256 << 10;
constexpr auto kIdleTime = std::chrono::milliseconds(500);

}  // namespace

void Workers::post(std::function<void()> work) {
  std::unique_lock lock(mutex_);
  queue_.push_back(std::move(work));
  if (idle_ >= queue_.size()) {
    lock.unlock();  // who is woken needs it
    arrived_.notify_one();
    return;
  }
  if (threads_ >= kMaxThreads) return;
  pthread_attr_t attributes;
  ::pthread_attr_init(&attributes);
  ::pthread_attr_setstacksize(&attributes, kStackSize);
  ::pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
  pthread_t thread{};
  // A refusal leaves the work to the threads that exist; the first one is made when memory is
  // there.
  if (::pthread_create(&thread, &attributes, &Workers::run, this) == 0) ++threads_;
  ::pthread_attr_destroy(&attributes);
}

void* Workers::run(void* self) {
  // Mounts with long options change directory; that must not move other threads.
  ::unshare(CLONE_FS);
  static_cast<Workers*>(self)->work();
  return nullptr;
}

void Workers::work() {
  std::unique_lock lock(mutex_);
  while (true) {
    if (queue_.empty()) {
      ++idle_;
      idle_changed_.notify_all();
      const bool more = arrived_.wait_for(lock, kIdleTime, [this] { return !queue_.empty(); });
      --idle_;
      if (!more) break;
    }
    auto next = std::move(queue_.front());
    queue_.pop_front();
    lock.unlock();
    next();
    next = nullptr;
    lock.lock();
  }
  --threads_;
  idle_changed_.notify_all();
  const bool last = threads_ == 0;
  lock.unlock();
  if (last) ::malloc_trim(0);
}

bool Workers::wait_idle(int seconds) {
  std::unique_lock lock(mutex_);
  return idle_changed_.wait_for(lock, std::chrono::seconds(seconds),
                                [this] { return queue_.empty() && idle_ == threads_; });
}

}  // namespace berth::shim
