#include "mutation_watch.h"

#include "berth/metadata/v1/collector.pb.h"

namespace berth::metadata {

// A writer wakes nobody between two bursts: on a busy store that would be a change of threads, here
// and at each receiver, for every commit.
void MutationWatch::changed(const Changes& changes) {
  bool waiting = false;
  {
    std::lock_guard lock(mutex_);
    now_.mutations = changes.mutations;
    if (changes.dirty) {
      now_.dirty = true;
      dirty_while_sending_ = true;
      for (Watcher& watcher : watchers_) watcher.dirty = true;
      for (Watcher& watcher : arrivals_) watcher.dirty = true;
    }
    waiting = !pausing_;
  }
  if (waiting) wake_.notify_one();
}

void MutationWatch::add(ServerCall call) {
  // Without the lock: it runs at once for a call that has been cancelled by now.
  call.on_cancel(
      [](void* self) {
        auto& watch = *static_cast<MutationWatch*>(self);
        {
          std::lock_guard lock(watch.mutex_);
          watch.cancelled_ = true;
        }
        watch.wake_.notify_one();
      },
      this);
  {
    std::lock_guard lock(mutex_);
    if (!stopping_) arrivals_.push_back({std::move(call), false, 0, now_.dirty});
  }
  // Without it again: a finish waits for a callback that runs.
  if (call) return call.finish(unavailable("watch mutations: the plugin is stopping"));
  wake_.notify_one();
}

void MutationWatch::start() {
  thread_ = std::thread([this] { loop(); });
}

void MutationWatch::stop() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_one();
  if (thread_.joinable()) thread_.join();
  for (auto* list : {&watchers_, &arrivals_}) {
    for (Watcher& watcher : *list) {
      watcher.call.finish(unavailable("watch mutations: the plugin is stopping"));
    }
    list->clear();
  }
}

void MutationWatch::loop() {
  constexpr std::chrono::milliseconds kRetry(100);  // when a receiver has not taken the last event
  constexpr std::chrono::milliseconds kPause(20);   // changes within it are one burst
  std::unique_lock lock(mutex_);
  bool retry = false;
  while (true) {
    const auto due = [&] {
      if (stopping_ || cancelled_ || !arrivals_.empty()) return true;
      for (const Watcher& watcher : watchers_) {
        if (watcher.mutations != now_.mutations) return true;
      }
      return false;
    };
    pausing_ = true;
    wake_.wait_for(lock, retry ? kRetry : kPause, [&] { return stopping_ || !arrivals_.empty(); });
    pausing_ = false;
    if (!retry) wake_.wait(lock, due);
    if (stopping_) return;
    std::vector<Watcher> sending = std::move(watchers_);
    watchers_.clear();
    for (Watcher& watcher : arrivals_) sending.push_back(std::move(watcher));
    arrivals_.clear();
    const uint64_t mutations = now_.mutations;
    dirty_while_sending_ = false;
    cancelled_ = false;
    lock.unlock();

    retry = false;
    std::vector<Watcher> kept;
    for (Watcher& watcher : sending) {
      if (watcher.call.cancelled()) {
        watcher.call.finish(cancelled("watch mutations: the caller is gone"));
        continue;
      }
      if (watcher.told && watcher.mutations == mutations) {
        kept.push_back(std::move(watcher));
        continue;
      }
      ::berth::metadata::v1::MutationEvent event;
      event.set_mutations(mutations);
      event.set_dirty(watcher.dirty);
      const int32_t outcome = watcher.call.send(Message::of(event), 0);
      if (outcome == BERTH_CANCELLED) {
        watcher.call.finish(cancelled("watch mutations: the caller is gone"));
        continue;
      }
      if (outcome == BERTH_OK) {
        watcher.told = true;
        watcher.mutations = mutations;
        watcher.dirty = false;
      } else {
        retry = true;
      }
      kept.push_back(std::move(watcher));
    }

    lock.lock();
    for (Watcher& watcher : kept) {
      watcher.dirty = watcher.dirty || dirty_while_sending_;
      watchers_.push_back(std::move(watcher));
    }
  }
}

}  // namespace berth::metadata
