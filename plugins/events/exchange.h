// The exchange: every event goes to every subscriber whose filters match it.
#pragma once

#include <atomic>

#include "containerd/types/event.pb.h"
#include "missed.h"
#include "subscription.h"

namespace berth::events {

/// Any thread. Publishing never waits for a subscriber.
class Exchange {
 public:
  /// queue_limit: bytes that may wait for one subscriber, beyond what its call buffers.
  /// returning: how long subscribers may take to come back after a restart; see missed.h.
  explicit Exchange(size_t queue_limit, Missed::Clock::duration returning = {})
      : queue_limit_(queue_limit), missed_(returning) {}
  Exchange(const Exchange&) = delete;
  Exchange& operator=(const Exchange&) = delete;

  /// A new event of `ns`, now. Returns when every subscriber has it in its queue; events that one
  /// thread publishes reach every subscriber in that order. INVALID_ARGUMENT for a bad topic or
  /// namespace.
  Status publish(const std::string& ns, const std::string& topic,
                 const google::protobuf::Any& event);
  /// The same for an event that says itself when and where it happened. INVALID_ARGUMENT when it
  /// does not.
  Status forward(const containerd::types::Envelope& envelope);
  /// Sends events to `sink` from now on, and those before that it has missed, until it is gone or
  /// too slow; it is finished then.
  void subscribe(FilterSet filters, std::unique_ptr<Sink> sink);

  size_t subscriber_count() const;

 private:
  using Subscriptions = std::vector<std::shared_ptr<Subscription>>;
  void distribute(const containerd::types::Envelope& envelope);
  std::shared_ptr<const Subscriptions> subscriptions() const;
  std::shared_ptr<const Subscriptions> subscriptions_of(
      const containerd::types::Envelope& envelope);
  void remove(Subscription* subscription);

  const size_t queue_limit_;
  std::atomic<bool> returning_ = true;  // missed_ has to be told
  mutable std::mutex mutex_;
  Missed missed_;  // guarded by mutex_
  // Guarded by mutex_; the list itself is never changed, only replaced, so that publishers walk it
  // without the lock.
  std::shared_ptr<const Subscriptions> subscriptions_ = std::make_shared<const Subscriptions>();
};

}  // namespace berth::events
