// Hears of changes of metadata, as long as it lives.
#pragma once

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>

#include "berth/metadata/v1/collector.berth.h"

namespace berth::gc {

/// A Collector.WatchMutations call that is begun again, a second later, when it ends. It holds a
/// thread only while it waits for that second. Owned by a shared_ptr, since callbacks hold it too.
class MutationWatch : public std::enable_shared_from_this<MutationWatch> {
 public:
  using Mutated = std::function<void(uint64_t mutations, bool dirty)>;
  using Ended = std::function<void(const Status& why)>;
  /// Runs work on a thread that may block; false when there is none.
  using Spawn = std::function<bool(std::function<void()>)>;

  /// `mutated` and `ended` are called on any thread, one at a time.
  MutationWatch(metadata::v1::CollectorClient collector, Mutated mutated, Ended ended, Spawn spawn)
      : collector_(collector),
        mutated_(std::move(mutated)),
        ended_(std::move(ended)),
        spawn_(std::move(spawn)) {}

  void start() { open(); }
  /// After it nothing is called any more. Waits for what is being called, until `deadline` at most
  /// (CLOCK_MONOTONIC nanoseconds).
  void stop(int64_t deadline);

 private:
  void open();
  void arm();
  void pump();
  void reopen_later();

  const metadata::v1::CollectorClient collector_;
  const Mutated mutated_;
  const Ended ended_;
  const Spawn spawn_;

  ClientCall call_;  // set by open() while not active_; used by callbacks and stop() while active_
  std::mutex mutex_;
  std::condition_variable changed_;
  bool active_ = false;    // guarded by mutex_: a call is under way
  bool stopping_ = false;  // guarded by mutex_
};

}  // namespace berth::gc
