// The service over the bus: calls that are kept, and subscribers that do not read.
#include <berth/testing/fake_host.h>
#include <gtest/gtest.h>

#include <thread>

#include "events.h"

namespace berth::events {
namespace {

using api::EventsClient;
using containerd::types::Envelope;

class EventsBusTest : public ::testing::Test {
 protected:
  EventsBusTest() : client_(host_.serve(std::make_unique<EventsService>(64 << 10))) {}

  Status publish(const std::string& topic, const std::string& ns = "default") {
    api::PublishRequest request;
    request.set_topic(topic);
    request.mutable_event()->set_type_url("example.Event");
    google::protobuf::Empty nothing;
    return client_.Publish(Context().with_ns(ns), request, &nothing);
  }
  ClientReader<Envelope> subscribe(const std::string& filter = {}) {
    api::SubscribeRequest request;
    if (!filter.empty()) request.add_filters(filter);
    return client_.Subscribe(Context(), request);
  }

  berth::testing::FakeHost host_;
  EventsClient client_;
};

TEST_F(EventsBusTest, DeliversWhatWasPublished) {
  auto all = subscribe();
  auto some = subscribe("topic==\"/b\"");
  ASSERT_TRUE(publish("/a").ok());
  ASSERT_TRUE(publish("/b", "other").ok());
  Envelope envelope;
  ASSERT_TRUE(all.Read(&envelope));
  EXPECT_EQ(envelope.topic(), "/a");
  EXPECT_EQ(envelope.namespace_(), "default");
  EXPECT_EQ(envelope.event().type_url(), "example.Event");
  ASSERT_TRUE(all.Read(&envelope));
  ASSERT_TRUE(some.Read(&envelope));
  EXPECT_EQ(envelope.topic(), "/b");
  EXPECT_EQ(envelope.namespace_(), "other");
}

TEST_F(EventsBusTest, SaysWhatIsWrong) {
  EXPECT_EQ(publish("/a", "").code(), Code::kFailedPrecondition);
  EXPECT_EQ(publish("a").code(), Code::kInvalidArgument);
  EXPECT_EQ(subscribe("topic=a").Finish().code(), Code::kInvalidArgument);
  google::protobuf::Empty nothing;
  EXPECT_EQ(client_.Forward(Context(), {}, &nothing).code(), Code::kInvalidArgument);
}

TEST_F(EventsBusTest, ForwardKeepsTheEnvelope) {
  auto reader = subscribe();
  api::ForwardRequest request;
  request.mutable_envelope()->set_namespace_("moby");
  request.mutable_envelope()->set_topic("/tasks/exit");
  request.mutable_envelope()->mutable_timestamp()->set_seconds(5);
  google::protobuf::Empty nothing;
  ASSERT_TRUE(client_.Forward(Context(), request, &nothing).ok());
  Envelope envelope;
  ASSERT_TRUE(reader.Read(&envelope));
  EXPECT_EQ(envelope.SerializeAsString(), request.envelope().SerializeAsString());
}

TEST_F(EventsBusTest, WhoDoesNotReadIsDroppedAndOthersGetEverything) {
  constexpr int kEvents = 20000;
  auto stuck = subscribe();
  auto reader = subscribe();
  std::thread publisher([&] {
    for (int i = 0; i < kEvents; ++i) {
      EXPECT_TRUE(publish("/n/" + std::to_string(i)).ok());
      if (i % 50 == 49)
        std::this_thread::sleep_for(std::chrono::milliseconds(1));  // the reader can follow
    }
  });
  Envelope envelope;
  for (int i = 0; i < kEvents; ++i) {
    if (!reader.Read(&envelope)) {
      ADD_FAILURE() << i << ": " << reader.Finish().to_string();
      break;
    }
    EXPECT_EQ(envelope.topic(), "/n/" + std::to_string(i));
  }
  publisher.join();
  const Status status = stuck.Finish();
  EXPECT_EQ(status.code(), Code::kResourceExhausted) << status.to_string();
}

TEST_F(EventsBusTest, SubscribersComeAndGoWhileEventsArePublished) {
  std::atomic<bool> done = false;
  std::thread publisher([&] {
    while (!done) EXPECT_TRUE(publish("/n").ok());
  });
  for (int i = 0; i < 200; ++i) {
    auto reader = subscribe();
    Envelope envelope;
    EXPECT_TRUE(reader.Read(&envelope));
  }
  done = true;
  publisher.join();
}

}  // namespace
}  // namespace berth::events
