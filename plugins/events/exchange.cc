#include "exchange.h"

#include <time.h>

#include <algorithm>

#include "envelope_fields.h"
#include "topic.h"

namespace berth::events {
namespace {

using containerd::types::Envelope;

// Go's zero time, which is what its clients send when they have set none.
constexpr int64_t kYearOne = -62135596800;

bool has_time(const Envelope& envelope) {
  if (!envelope.has_timestamp()) return false;
  return envelope.timestamp().seconds() != kYearOne || envelope.timestamp().nanos() != 0;
}

Status validate(const Envelope& envelope) {
  BERTH_RETURN_IF_ERROR(validate_identifier(envelope.namespace_())
                            .with_context("event envelope has invalid namespace"));
  BERTH_RETURN_IF_ERROR(validate_topic(envelope.topic()));
  if (!has_time(envelope))
    return invalid_argument("timestamp must be set on forwarded event " + envelope.topic());
  return {};
}

}  // namespace

Status Exchange::publish(const std::string& ns, const std::string& topic,
                         const google::protobuf::Any& event) {
  Envelope envelope;
  envelope.set_namespace_(ns);
  envelope.set_topic(topic);
  *envelope.mutable_event() = event;
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME, &now);
  envelope.mutable_timestamp()->set_seconds(now.tv_sec);
  envelope.mutable_timestamp()->set_nanos(static_cast<int32_t>(now.tv_nsec));
  return forward(envelope);
}

Status Exchange::forward(const Envelope& envelope) {
  BERTH_RETURN_IF_ERROR(validate(envelope));
  distribute(envelope);
  return {};
}

void Exchange::distribute(const Envelope& envelope) {
  const std::shared_ptr<const Subscriptions> subscriptions = subscriptions_of(envelope);
  EnvelopeFields fields(envelope);
  const FieldLookup lookup = [&](std::span<const std::string> path) { return fields.find(path); };
  EventBytes bytes;  // made when someone wants it
  for (const std::shared_ptr<Subscription>& subscription : *subscriptions) {
    if (!subscription->wants(lookup)) continue;
    if (!bytes) bytes = std::make_shared<const std::string>(envelope.SerializeAsString());
    subscription->offer(bytes);
  }
}

void Exchange::subscribe(FilterSet filters, std::unique_ptr<Sink> sink) {
  const auto subscription =
      std::make_shared<Subscription>(std::move(filters), std::move(sink), queue_limit_,
                                     [this](Subscription* ended) { remove(ended); });
  {
    const std::lock_guard lock(mutex_);
    // Into its queue, as it has not been started.
    for (const Envelope& envelope : missed_.kept()) {
      EnvelopeFields fields(envelope);
      if (subscription->wants([&](std::span<const std::string> path) { return fields.find(path); }))
        subscription->offer(std::make_shared<const std::string>(envelope.SerializeAsString()));
    }
    Subscriptions with = *subscriptions_;
    with.push_back(subscription);
    subscriptions_ = std::make_shared<const Subscriptions>(std::move(with));
  }
  subscription->start();
}

void Exchange::remove(Subscription* subscription) {
  const std::lock_guard lock(mutex_);
  Subscriptions without = *subscriptions_;
  std::erase_if(without, [&](const auto& one) { return one.get() == subscription; });
  subscriptions_ = std::make_shared<const Subscriptions>(std::move(without));
}

std::shared_ptr<const Exchange::Subscriptions> Exchange::subscriptions() const {
  const std::lock_guard lock(mutex_);
  return subscriptions_;
}

// Whoever subscribes gets the event either as one that is missed or as a new one, and not twice.
std::shared_ptr<const Exchange::Subscriptions> Exchange::subscriptions_of(
    const Envelope& envelope) {
  if (!returning_) return subscriptions();
  const std::lock_guard lock(mutex_);
  if (!missed_.note(envelope)) returning_ = false;
  return subscriptions_;
}

size_t Exchange::subscriber_count() const { return subscriptions()->size(); }

}  // namespace berth::events
