#include "notices.h"

namespace berth::services {

using containerd::services::events::v1::PublishRequest;

PublishRequest event_of(std::string_view topic, const google::protobuf::Message& event) {
  PublishRequest request;
  request.set_topic(std::string(topic));
  request.mutable_event()->set_type_url(event.GetTypeName());
  event.SerializeToString(request.mutable_event()->mutable_value());
  return request;
}

void Notices::publish(const Context& context, std::string_view topic,
                      const google::protobuf::Message& event) const {
  if (!events_) return;
  google::protobuf::Empty response;
  const Status status = events_.Publish(context, event_of(topic, event), &response);
  if (!status.ok()) {
    self_.warn("an event was not published", {{"topic", topic}, {"error", status.to_string()}});
  }
}

}  // namespace berth::services
