#include "subscription.h"

namespace berth::events {
namespace {

// What an event costs beyond its bytes, as flow control counts it (ABI rule 9).
constexpr size_t kCharge = 256;
// A thread that publishes sends this many events at most, then lets the sink's thread go on.
constexpr int kSendsPerTurn = 128;

size_t cost_of(const EventBytes& event) { return event->size() + kCharge; }

}  // namespace

Subscription::Subscription(FilterSet filters, std::unique_ptr<Sink> sink, size_t queue_limit,
                           std::function<void(Subscription*)> ended)
    : filters_(std::move(filters)),
      queue_limit_(queue_limit),
      sink_(std::move(sink)),
      ended_(std::move(ended)) {}

void Subscription::start() {
  sink_->when_gone([self = shared_from_this()] { self->gone(); });
  drain();
}

void Subscription::offer(EventBytes event) {
  {
    const std::lock_guard lock(mutex_);
    if (ending_) return;
    const size_t cost = cost_of(event);
    if (!queue_.empty() && queued_bytes_ + cost > queue_limit_) {
      ending_ =
          resource_exhausted("subscriber of events is too slow: " + std::to_string(queue_.size()) +
                             " events of " + std::to_string(queued_bytes_) +
                             " bytes were waiting for it and are dropped; subscribe again");
      queue_.clear();
      queued_bytes_ = 0;
      if (state_ == State::kDraining) return;
    } else {
      queue_.push_back(std::move(event));
      queued_bytes_ += cost;
      if (state_ != State::kIdle) return;
    }
    state_ = State::kDraining;
  }
  drain();
}

void Subscription::gone() {
  {
    const std::lock_guard lock(mutex_);
    if (ending_) return;
    ending_ = cancelled("the subscriber is gone");
    queue_.clear();
    queued_bytes_ = 0;
    if (state_ == State::kDraining) return;
    state_ = State::kDraining;
  }
  drain();
}

void Subscription::writable() {
  {
    const std::lock_guard lock(mutex_);
    if (state_ == State::kDraining) writable_told_ = true;
    if (state_ != State::kParked) return;
    state_ = State::kDraining;
  }
  drain();
}

// Called by the one thread that has set kDraining.
void Subscription::drain() {
  const std::shared_ptr<Subscription> alive =
      shared_from_this();  // the sink's callbacks may hold the last reference
  for (int sends = 0;; ++sends) {
    EventBytes next;
    {
      const std::lock_guard lock(mutex_);
      if (ending_) {
        state_ = State::kEnded;
      } else if (queue_.empty()) {
        state_ = State::kIdle;
        return;
      } else {
        next = queue_.front();
        writable_told_ = false;
      }
    }
    if (!next) return end(*ending_);  // set once, so it may be read without the lock
    Sink::Outcome outcome = sends < kSendsPerTurn ? sink_->send(*next) : Sink::Outcome::kFull;
    if (outcome == Sink::Outcome::kFull) {
      // Told before this thread has let go of the sink, it is noted in writable_told_.
      sink_->when_writable([self = alive] { self->writable(); });
    }
    const std::lock_guard lock(mutex_);
    if (outcome == Sink::Outcome::kGone && !ending_) ending_ = cancelled("the subscriber is gone");
    if (ending_) continue;
    if (outcome == Sink::Outcome::kSent) {
      queue_.pop_front();
      queued_bytes_ -= cost_of(next);
    } else if (writable_told_) {
      sends = -1;
    } else {
      state_ = State::kParked;
      return;
    }
  }
}

void Subscription::end(const Status& status) {
  ended_(this);
  sink_->finish(status);
}

}  // namespace berth::events
