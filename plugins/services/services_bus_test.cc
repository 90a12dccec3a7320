// The services on the real bus, between fake peers that write down what they are asked.
#include <berth/testing/fake_host.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "containers.h"
#include "content.h"
#include "differs.h"
#include "events.h"
#include "images.h"
#include "leases.h"
#include "namespaces.h"

namespace berth::services {
namespace {

using ::berth::testing::FakeHost;
using google::protobuf::Empty;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

namespace diff = containerd::services::diff::v1;
namespace events = containerd::services::events::v1;
namespace images = containerd::services::images::v1;
namespace leases = containerd::services::leases::v1;
namespace namespaces = containerd::services::namespaces::v1;

/// What the peers were asked, in order. Unary calls run on the caller's thread, so one thread
/// writes.
std::vector<std::string>& asked() {
  static std::vector<std::string> list;
  return list;
}

class FakeImages final : public images::ImagesService {
 public:
  Status Get(Context& context, const images::GetImageRequest& request,
             images::GetImageResponse* response) override {
    asked().push_back("get " + request.name() + " in " + std::string(context.ns()));
    response->mutable_image()->set_name(request.name());
    return {};
  }
  Status Create(Context&, const images::CreateImageRequest& request,
                images::CreateImageResponse* response) override {
    *response->mutable_image() = request.image();
    return {};
  }
  Status Delete(Context&, const images::DeleteImageRequest& request, Empty*) override {
    asked().push_back("delete " + request.name());
    if (request.name() == "absent") return not_found("image \"absent\"");
    return {};
  }
};

class FakeLeases final : public leases::LeasesService {
 public:
  Status Delete(Context&, const leases::DeleteRequest& request, Empty*) override {
    asked().push_back("delete lease " + request.id());
    return {};
  }
};

class FakeNamespaces final : public namespaces::NamespacesService {
 public:
  Status Create(Context&, const namespaces::CreateNamespaceRequest& request,
                namespaces::CreateNamespaceResponse* response) override {
    *response->mutable_namespace_() = request.namespace_();
    return {};
  }
  Status Delete(Context&, const namespaces::DeleteNamespaceRequest&, Empty*) override { return {}; }
};

class FakeCollector final : public ::berth::gc::v1::SchedulerService {
 public:
  Status Collect(Context&, const ::berth::gc::v1::CollectRequest&,
                 ::berth::gc::v1::CollectResponse*) override {
    asked().push_back("collect");
    return {};
  }
};

class FakeExchange final : public events::EventsService {
 public:
  Status Publish(Context& context, const events::PublishRequest& request, Empty*) override {
    asked().push_back(request.topic() + " in " + std::string(context.ns()));
    return {};
  }
  Status Forward(Context&, const events::ForwardRequest& request, Empty*) override {
    asked().push_back("forward " + request.envelope().topic());
    return {};
  }
};

class BrokenExchange final : public events::EventsService {};  // answers UNIMPLEMENTED

class DeafDiffer final : public diff::DiffService {};  // answers UNIMPLEMENTED

class WalkingDiffer final : public diff::DiffService {
 public:
  Status Apply(Context&, const diff::ApplyRequest&, diff::ApplyResponse* response) override {
    response->mutable_applied()->set_digest("sha256:walked");
    return {};
  }
};

class ServicesOnTheBus : public ::testing::Test {
 protected:
  void SetUp() override { asked().clear(); }

  FakeHost host_;
  Context context_ = Context().with_ns("default");
};

TEST_F(ServicesOnTheBus, AReadIsHandedOnWithItsNamespace) {
  host_.bind("metadata", host_.serve<FakeImages>());
  ASSERT_TRUE(host_.start<Images>("io.containerd.grpc.v1", "images").ok());
  images::GetImageRequest request;
  request.set_name("busybox");
  images::GetImageResponse response;
  const Status status = images::ImagesClient(host_.target()).Get(context_, request, &response);
  ASSERT_TRUE(status.ok()) << status.to_string();
  EXPECT_EQ(response.image().name(), "busybox");
  EXPECT_THAT(asked(), ElementsAre("get busybox in default"));
}

TEST_F(ServicesOnTheBus, ASynchronousDeletionIsDeletedThenAnnouncedThenCollected) {
  host_.bind("metadata", host_.serve<FakeImages>());
  host_.bind("events", host_.serve<FakeExchange>());
  host_.bind("gc", host_.serve<FakeCollector>());
  ASSERT_TRUE(host_.start<Images>("io.containerd.grpc.v1", "images").ok());
  const images::ImagesClient client(host_.target());
  images::DeleteImageRequest request;
  request.set_name("busybox");
  Empty response;
  ASSERT_TRUE(client.Delete(context_, request, &response).ok());
  EXPECT_THAT(asked(), ElementsAre("delete busybox", "/images/delete in default"));

  asked().clear();
  request.set_sync(true);
  ASSERT_TRUE(client.Delete(context_, request, &response).ok());
  EXPECT_THAT(asked(), ElementsAre("delete busybox", "/images/delete in default", "collect"));
}

TEST_F(ServicesOnTheBus, AFailedDeletionIsNeitherAnnouncedNorCollected) {
  host_.bind("metadata", host_.serve<FakeImages>());
  host_.bind("events", host_.serve<FakeExchange>());
  host_.bind("gc", host_.serve<FakeCollector>());
  ASSERT_TRUE(host_.start<Images>("io.containerd.grpc.v1", "images").ok());
  images::DeleteImageRequest request;
  request.set_name("absent");
  request.set_sync(true);
  Empty response;
  const Status status = images::ImagesClient(host_.target()).Delete(context_, request, &response);
  EXPECT_EQ(status.code(), Code::kNotFound);
  EXPECT_THAT(asked(), ElementsAre("delete absent"));
}

TEST_F(ServicesOnTheBus, AnEventThatCannotBePublishedDoesNotUndoTheChange) {
  host_.bind("metadata", host_.serve<FakeImages>());
  host_.bind("events", host_.serve<BrokenExchange>());
  ASSERT_TRUE(host_.start<Images>("io.containerd.grpc.v1", "images").ok());
  images::CreateImageRequest request;
  request.mutable_image()->set_name("busybox");
  images::CreateImageResponse response;
  EXPECT_TRUE(images::ImagesClient(host_.target()).Create(context_, request, &response).ok());
}

TEST_F(ServicesOnTheBus, ASynchronousDeletionOfALeaseCollects) {
  host_.bind("metadata", host_.serve<FakeLeases>());
  host_.bind("gc", host_.serve<FakeCollector>());
  ASSERT_TRUE(host_.start<Leases>("io.containerd.grpc.v1", "leases").ok());
  leases::DeleteRequest request;
  request.set_id("l1");
  request.set_sync(true);
  Empty response;
  ASSERT_TRUE(leases::LeasesClient(host_.target()).Delete(context_, request, &response).ok());
  EXPECT_THAT(asked(), ElementsAre("delete lease l1", "collect"));
}

TEST_F(ServicesOnTheBus, EventsOfNamespacesAreInTheNamespaceThatTheyAreAbout) {
  host_.bind("metadata", host_.serve<FakeNamespaces>());
  host_.bind("events", host_.serve<FakeExchange>());
  ASSERT_TRUE(host_.start<Namespaces>("io.containerd.grpc.v1", "namespaces").ok());
  const namespaces::NamespacesClient client(host_.target());
  namespaces::CreateNamespaceRequest create;
  create.mutable_namespace_()->set_name("team");
  namespaces::CreateNamespaceResponse created;
  ASSERT_TRUE(client.Create(context_, create, &created).ok());
  ASSERT_TRUE(client.Create(Context(), create, &created).ok());
  namespaces::DeleteNamespaceRequest remove;
  remove.set_name("team");
  Empty response;
  ASSERT_TRUE(client.Delete(context_, remove, &response).ok());
  EXPECT_THAT(asked(), ElementsAre("/namespaces/create in team", "/namespaces/create in team",
                                   "/namespaces/delete in team"));
}

TEST_F(ServicesOnTheBus, ADifferThatCannotLeavesTheLayerToTheNext) {
  host_.bind("differs", host_.serve<WalkingDiffer>(std::make_unique<WalkingDiffer>(), "walking"));
  host_.bind("differs", host_.serve<DeafDiffer>(std::make_unique<DeafDiffer>(), "deaf"));
  host_.config(R"({"default": ["deaf", "walking"]})");
  ASSERT_TRUE(host_.start<Differs>("io.containerd.grpc.v1", "diff").ok());
  diff::ApplyResponse response;
  const Status status = diff::DiffClient(host_.target()).Apply(context_, {}, &response);
  ASSERT_TRUE(status.ok()) << status.to_string();
  EXPECT_EQ(response.applied().digest(), "sha256:walked");
}

TEST_F(ServicesOnTheBus, AnAbsentDifferFailsTheStartAndIsNamed) {
  host_.bind("differs", host_.serve<WalkingDiffer>(std::make_unique<WalkingDiffer>(), "walking"));
  host_.config(R"({"default": ["erofs"]})");
  const Status status = host_.start<Differs>("io.containerd.grpc.v1", "diff");
  EXPECT_EQ(status.code(), Code::kInvalidArgument);
  EXPECT_THAT(status.message(), HasSubstr("erofs"));
}

TEST_F(ServicesOnTheBus, ShimsAndClientsReachTheExchange) {
  host_.bind("exchange", host_.serve<FakeExchange>());
  ASSERT_TRUE(host_.start<Events>("io.containerd.grpc.v1", "events").ok());
  Empty response;
  events::PublishRequest publish;
  publish.set_topic("/mine");
  ASSERT_TRUE(events::EventsClient(host_.target()).Publish(context_, publish, &response).ok());
  containerd::services::events::ttrpc::v1::ForwardRequest forward;
  forward.mutable_envelope()->set_topic("/tasks/exit");
  ASSERT_TRUE(containerd::services::events::ttrpc::v1::EventsClient(host_.target())
                  .Forward(context_, forward, &response)
                  .ok());
  EXPECT_THAT(asked(), ElementsAre("/mine in default", "forward /tasks/exit"));
}

}  // namespace
}  // namespace berth::services
