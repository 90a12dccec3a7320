// Tells the event exchange what a client has changed.
#pragma once

#include <berth/plugin.h>

#include <string_view>

#include "containerd/services/events/v1/events.berth.h"

namespace berth::services {

/// An event as containerd's clients expect it: the type url is the bare name of the message.
containerd::services::events::v1::PublishRequest event_of(std::string_view topic,
                                                          const google::protobuf::Message& event);

/// Publishes events about changes that have happened. A value; any thread; may block for as long as
/// the exchange does.
class Notices {
 public:
  /// Without an exchange (`events` not connected) events are dropped in silence: nobody can
  /// subscribe either.
  Notices(Self self, containerd::services::events::v1::EventsClient events)
      : self_(self), events_(std::move(events)) {}

  /// In the namespace of `context`. What has been changed stays changed, so a failure is logged and
  /// not returned.
  void publish(const Context& context, std::string_view topic,
               const google::protobuf::Message& event) const;

 private:
  Self self_;
  containerd::services::events::v1::EventsClient events_;
};

}  // namespace berth::services
