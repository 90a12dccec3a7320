// io.containerd.grpc.v1.events: the exchange, for clients and (over ttrpc) for shims.
#pragma once

#include <berth/plugin.h>

#include "containerd/services/events/v1/events.berth.h"
#include "containerd/services/ttrpc/events/v1/events.berth.h"
#include "forwarding.h"

namespace berth::services {

/// What shims call. Its one request has the wire form of events.v1's ForwardRequest, so it is
/// handed on unread.
class ShimEvents final : public containerd::services::events::ttrpc::v1::EventsService {
 public:
  static constexpr std::string_view kNoBlock[] = {"Forward"};
  explicit ShimEvents(containerd::services::events::v1::EventsClient exchange)
      : exchange_(std::move(exchange)) {}
  void ForwardCall(ServerCall call) override {
    exchange_.forward(std::move(call), containerd::services::events::v1::EventsClient::kForward);
  }

 private:
  containerd::services::events::v1::EventsClient exchange_;
};

class Events final {
 public:
  using ClientEvents = Forwarding<containerd::services::events::v1::EventsService,
                                  containerd::services::events::v1::EventsClient>;
  using Services = ::berth::Services<ClientEvents, ShimEvents>;

  static Result<std::unique_ptr<Events>> create(const Self& self) {
    return std::make_unique<Events>(
        self.connect_to<containerd::services::events::v1::EventsClient>("exchange"));
  }
  explicit Events(const containerd::services::events::v1::EventsClient& exchange)
      : clients_(exchange), shims_(exchange) {}
  std::array<Service*, 2> services() { return {&clients_, &shims_}; }

 private:
  ClientEvents clients_;
  ShimEvents shims_;
};

}  // namespace berth::services
