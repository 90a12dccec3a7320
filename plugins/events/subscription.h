// One subscriber of events: its filters, its queue and how the queue empties.
#pragma once

#include <berth/filter.h>

#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

namespace berth::events {

/// A serialized envelope, shared by all subscribers that take it.
using EventBytes = std::shared_ptr<const std::string>;

/// Where a subscriber's events go. The subscription calls send, when_writable and finish from one
/// thread at a time.
class Sink {
 public:
  virtual ~Sink() = default;

  enum class Outcome { kSent, kFull, kGone };
  /// Does not wait. kFull: nothing was taken. kGone: nothing will be taken any more.
  virtual Outcome send(const std::string& event) = 0;
  /// Calls `run` once when there is room again, or when there never will be; on another thread or
  /// at once.
  virtual void when_writable(std::function<void()> run) = 0;
  /// Calls `run` at most once when the subscriber has gone, at once if it has; never after finish.
  /// Called first and once.
  virtual void when_gone(std::function<void()> run) = 0;
  /// The last call to the sink; waits for callbacks that are running on other threads.
  virtual void finish(const Status& status) = 0;
};

/// Passes events on in the order in which they were offered, and never lets who offers them wait:
/// what the sink does not take at once is queued, and who lets the queue grow beyond its limit is
/// dropped. Any thread. Calls its sink with no lock held; whichever thread brings an event, or
/// tells that there is room, does the sending.
class Subscription : public std::enable_shared_from_this<Subscription> {
 public:
  /// `ended` is called once, before the sink is finished.
  Subscription(FilterSet filters, std::unique_ptr<Sink> sink, size_t queue_limit,
               std::function<void(Subscription*)> ended);

  /// Listens for the end of the subscriber. Events offered before are queued. Called once.
  void start();
  bool wants(const FieldLookup& fields) const { return filters_.matches(fields); }
  void offer(EventBytes event);

 private:
  enum class State {
    kIdle,      // the queue is empty, the sink free
    kDraining,  // a thread uses the sink
    kParked,    // the sink is full and will tell
    kEnded,
  };
  void writable();
  void gone();
  void drain();
  void end(const Status& status);

  const FilterSet filters_;
  const size_t queue_limit_;
  const std::unique_ptr<Sink> sink_;
  const std::function<void(Subscription*)> ended_;

  std::mutex mutex_;                // guards what follows
  State state_ = State::kDraining;  // start() frees it
  bool writable_told_ = false;
  std::deque<EventBytes> queue_;
  size_t queued_bytes_ = 0;
  std::optional<Status> ending_;  // set once: why it ends
};

}  // namespace berth::events
