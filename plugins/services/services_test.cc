#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "containers.h"
#include "differs.h"
#include "events.h"
#include "forwarding.h"
#include "images.h"

namespace berth::services {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

using Strings = std::vector<std::string>;

TEST(OrderOfDiffers, FollowsTheConfiguration) {
  const auto order =
      order_of_differs(Strings{"windows", "walking"}, Strings{"erofs", "walking", "windows"});
  ASSERT_TRUE(order.ok()) << order.status().to_string();
  EXPECT_THAT(*order, ElementsAre(2, 1));
}

TEST(OrderOfDiffers, NamesTheAbsentOneAndThosePresent) {
  const auto order = order_of_differs(Strings{"erofs"}, Strings{"walking"});
  ASSERT_FALSE(order.ok());
  EXPECT_EQ(order.status().code(), Code::kInvalidArgument);
  EXPECT_THAT(order.status().message(), HasSubstr("\"erofs\""));
  EXPECT_THAT(order.status().message(), HasSubstr("there are walking"));
}

TEST(OrderOfDiffers, RefusesAnEmptyList) {
  EXPECT_EQ(order_of_differs({}, Strings{"walking"}).status().code(), Code::kInvalidArgument);
}

TEST(ListOfJson, TakesListsOfStringsOnly) {
  EXPECT_THAT(*list_of_json(R"(["a","b"])"), ElementsAre("a", "b"));
  EXPECT_FALSE(list_of_json(R"("a")").ok());
  EXPECT_FALSE(list_of_json("[1]").ok());
  EXPECT_FALSE(list_of_json("[").ok());
}

TEST(EventOf, HasTheBareNameOfTheMessageAsItsType) {
  containerd::events::ContainerDelete event;
  event.set_id("c1");
  const auto request = event_of("/containers/delete", event);
  EXPECT_EQ(request.topic(), "/containers/delete");
  EXPECT_EQ(request.event().type_url(), "containerd.events.ContainerDelete");
  containerd::events::ContainerDelete back;
  ASSERT_TRUE(back.ParseFromString(request.event().value()));
  EXPECT_EQ(back.id(), "c1");
}

TEST(ContainerEvents, SayWhatTheContainerIs) {
  containers::Container container;
  container.set_id("c1");
  container.set_image("docker.io/library/busybox:latest");
  container.set_snapshot_key("c1-rw");
  container.mutable_runtime()->set_name("io.containerd.runc.v2");
  container.mutable_runtime()->mutable_options()->set_type_url("containerd.runc.v1.Options");
  (*container.mutable_labels())["a"] = "b";

  const auto created = container_created(container);
  EXPECT_EQ(created.id(), "c1");
  EXPECT_EQ(created.image(), container.image());
  EXPECT_EQ(created.runtime().name(), "io.containerd.runc.v2");
  EXPECT_EQ(created.runtime().options().type_url(), "containerd.runc.v1.Options");

  const auto updated = container_updated(container);
  EXPECT_EQ(updated.id(), "c1");
  EXPECT_EQ(updated.snapshot_key(), "c1-rw");
  EXPECT_EQ(updated.labels().at("a"), "b");
}

TEST(CollectGarbage, SaysThatTheDeletionIsDoneWhenThereIsNoCollector) {
  const Status status = collect_garbage({}, Context(), "image \"x\"");
  EXPECT_EQ(status.code(), Code::kUnimplemented);
  EXPECT_THAT(status.message(), HasSubstr("image \"x\" is deleted"));
  EXPECT_THAT(status.message(), HasSubstr("io.containerd.gc.v1"));
}

TEST(AllMethods, ListsEveryMethodOfTheService) {
  Strings names;
  for (const std::string_view name : Events::ClientEvents::kNoBlock) names.emplace_back(name);
  EXPECT_THAT(names, ElementsAre("Publish", "Forward", "Subscribe"));
}

// Shims' requests are handed on unread, which is right only as long as both messages have one wire
// form.
TEST(ShimEvents, RequestsReadTheSameOnBothSides) {
  containerd::services::events::ttrpc::v1::ForwardRequest from_shim;
  from_shim.mutable_envelope()->set_namespace_("default");
  from_shim.mutable_envelope()->set_topic("/tasks/exit");
  from_shim.mutable_envelope()->mutable_event()->set_value("bytes");
  containerd::services::events::v1::ForwardRequest to_exchange;
  ASSERT_TRUE(to_exchange.ParseFromString(from_shim.SerializeAsString()));
  EXPECT_EQ(to_exchange.envelope().SerializeAsString(), from_shim.envelope().SerializeAsString());
}

TEST(Differs, WithoutAnyAnswerUnimplemented) {
  Differs differs({});
  Context context;
  containerd::services::diff::v1::ApplyResponse response;
  EXPECT_EQ(differs.Apply(context, {}, &response).code(), Code::kUnimplemented);
}

}  // namespace
}  // namespace berth::services
