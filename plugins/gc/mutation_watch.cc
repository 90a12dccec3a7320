#include "mutation_watch.h"

#include <algorithm>
#include <chrono>

namespace berth::gc {

using metadata::v1::CollectorClient;

void MutationWatch::open() {
  // No lock here: opening a call may run the other plugin on this thread (ABI rule 5).
  ClientCall call =
      detail::open_with(collector_.target(), collector_.method(CollectorClient::kWatchMutations),
                        Context(), metadata::v1::WatchMutationsRequest());
  call_ = std::move(call);
  {
    const std::lock_guard lock(mutex_);
    if (stopping_) return;
    active_ = true;
  }
  arm();
}

void MutationWatch::arm() {
  call_.on_ready(
      BERTH_READABLE, [](void* self) { static_cast<MutationWatch*>(self)->pump(); }, this);
}

void MutationWatch::pump() {
  const std::shared_ptr<MutationWatch> alive = shared_from_this();
  while (true) {
    Message message;
    const int32_t outcome = call_.recv(&message, /*timeout_ns=*/0);
    if (outcome == BERTH_AGAIN) return arm();
    if (outcome != BERTH_OK) break;
    metadata::v1::MutationEvent event;
    if (message.parse(&event).ok()) mutated_(event.mutations(), event.dirty());
  }
  const Status why = call_.finish();
  bool stopping = false;
  {
    const std::lock_guard lock(mutex_);
    stopping = stopping_;
  }
  if (!stopping) {
    ended_(why);
    reopen_later();
  }
  const std::lock_guard lock(mutex_);
  active_ = false;
  changed_.notify_all();
}

void MutationWatch::reopen_later() {
  (void)spawn_([self = shared_from_this()] {
    {
      std::unique_lock lock(self->mutex_);
      self->changed_.wait_for(lock, std::chrono::seconds(1), [&] { return self->stopping_; });
      self->changed_.wait(lock, [&] { return self->stopping_ || !self->active_; });
      if (self->stopping_) return;
    }
    self->open();
  });
}

void MutationWatch::stop(int64_t deadline) {
  std::unique_lock lock(mutex_);
  stopping_ = true;
  changed_.notify_all();
  if (!active_) return;
  lock.unlock();
  call_.cancel();  // its end comes as a callback, which clears active_
  lock.lock();
  const auto left = std::chrono::nanoseconds(std::max<int64_t>(deadline - monotonic_now(), 0));
  changed_.wait_for(lock, left, [&] { return !active_; });
}

}  // namespace berth::gc
