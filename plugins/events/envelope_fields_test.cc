#include "envelope_fields.h"

#include <gtest/gtest.h>

#include "containerd/events/container.pb.h"
#include "containerd/events/image.pb.h"
#include "containerd/events/task.pb.h"

namespace berth::events {
namespace {

using containerd::types::Envelope;

template <typename Event>
Envelope envelope_of(const Event& event, const std::string& prefix = {}) {
  Envelope envelope;
  envelope.set_namespace_("default");
  envelope.set_topic("/test/topic");
  envelope.mutable_event()->set_type_url(prefix + Event::descriptor()->full_name());
  envelope.mutable_event()->set_value(event.SerializeAsString());
  return envelope;
}

std::optional<std::string> find(const Envelope& envelope, std::vector<std::string> path) {
  return EnvelopeFields(envelope).find(path);
}

TEST(EnvelopeFields, OfTheEnvelope) {
  const Envelope envelope = envelope_of(containerd::events::TaskStart());
  EXPECT_EQ(find(envelope, {"namespace"}), "default");
  EXPECT_EQ(find(envelope, {"topic"}), "/test/topic");
  EXPECT_EQ(find(envelope, {"timestamp"}), std::nullopt);
  EXPECT_EQ(find(envelope, {"event"}), std::nullopt);
  EXPECT_EQ(find(Envelope(), {"namespace"}), std::nullopt);
}

TEST(EnvelopeFields, OfTheEvent) {
  containerd::events::TaskCreate event;
  event.set_container_id("web");
  event.mutable_io()->set_stdout("/run/out");
  event.set_pid(7);
  for (const char* prefix : {"", "types.containerd.io/", "type.googleapis.com/"}) {
    const Envelope envelope = envelope_of(event, prefix);
    EXPECT_EQ(find(envelope, {"event", "container_id"}), "web");
    EXPECT_EQ(find(envelope, {"event", "io", "stdout"}), "/run/out");
    EXPECT_EQ(find(envelope, {"event", "io", "terminal"}), "false");
    EXPECT_EQ(find(envelope, {"event", "io", "stdin"}), std::nullopt);
    EXPECT_EQ(find(envelope, {"event", "io"}), std::nullopt);
    EXPECT_EQ(find(envelope, {"event", "bundle"}), std::nullopt);
    EXPECT_EQ(find(envelope, {"event", "pid"}), std::nullopt);
    EXPECT_EQ(find(envelope, {"event", "rootfs"}), std::nullopt);
    EXPECT_EQ(find(envelope, {"event", "nonsense"}), std::nullopt);
  }
}

TEST(EnvelopeFields, LabelsMayHaveDots) {
  containerd::services::images::v1::ImageCreate event;
  event.set_name("busybox");
  (*event.mutable_labels())["io.x/y.z"] = "v";
  (*event.mutable_labels())["empty"] = "";
  const Envelope envelope = envelope_of(event);
  EXPECT_EQ(find(envelope, {"event", "labels", "io.x/y.z"}), "v");
  EXPECT_EQ(find(envelope, {"event", "labels", "io", "x/y", "z"}), "v");
  EXPECT_EQ(find(envelope, {"event", "labels", "empty"}), "");
  EXPECT_EQ(find(envelope, {"event", "labels", "other"}), std::nullopt);
}

TEST(EnvelopeFields, OfAnAnyInsideTheEvent) {
  containerd::events::TaskStart options;
  options.set_container_id("inner");
  containerd::events::ContainerCreate event;
  event.mutable_runtime()->set_name("runc");
  event.mutable_runtime()->mutable_options()->set_type_url("containerd.events.TaskStart");
  event.mutable_runtime()->mutable_options()->set_value(options.SerializeAsString());
  const Envelope envelope = envelope_of(event);
  EXPECT_EQ(find(envelope, {"event", "runtime", "name"}), "runc");
  EXPECT_EQ(find(envelope, {"event", "runtime", "options", "container_id"}), "inner");
}

TEST(EnvelopeFields, UnknownAndBrokenEventsHaveNoFields) {
  Envelope envelope;
  envelope.mutable_event()->set_type_url("example.Unknown");
  EXPECT_EQ(find(envelope, {"event", "container_id"}), std::nullopt);
  envelope.mutable_event()->set_type_url("containerd.events.TaskStart");
  envelope.mutable_event()->set_value("\xff\xff\xff");
  EXPECT_EQ(find(envelope, {"event", "container_id"}), std::nullopt);
  envelope.mutable_event()->set_type_url("");
  EXPECT_EQ(find(envelope, {"event", "container_id"}), std::nullopt);
}

}  // namespace
}  // namespace berth::events
