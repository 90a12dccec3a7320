// containerd.services.events.v1.Events over one Exchange.
#pragma once

#include "containerd/services/events/v1/events.berth.h"
#include "exchange.h"

namespace berth::events {

namespace api = containerd::services::events::v1;

/// Any thread. A subscription holds no thread: its call is kept and served by whoever publishes.
class EventsService : public api::EventsService {
 public:
  static constexpr std::string_view kNoBlock[] = {"Publish", "Forward", "Subscribe"};

  /// The same as of Exchange.
  explicit EventsService(size_t queue_limit, Missed::Clock::duration returning = {})
      : exchange_(queue_limit, returning) {}

  /// Needs the header containerd-namespace.
  Status Publish(Context& context, const api::PublishRequest& request,
                 google::protobuf::Empty* response) override;
  Status Forward(Context& context, const api::ForwardRequest& request,
                 google::protobuf::Empty* response) override;
  /// Ends with RESOURCE_EXHAUSTED when the subscriber is too slow.
  void SubscribeCall(ServerCall call) override;

 private:
  Exchange exchange_;
};

}  // namespace berth::events
