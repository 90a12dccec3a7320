#include <berth/c_helpers.h>
#include <berth/testing/fake_host.h>
#include <gtest/gtest.h>

#include <condition_variable>
#include <filesystem>
#include <mutex>

#include "containerd/services/version/v1/version.berth.h"

namespace berth::testing {
namespace {

using containerd::services::version::v1::VersionClient;
using containerd::services::version::v1::VersionResponse;
using containerd::services::version::v1::VersionService;

class FakePeer final : public VersionService {
 public:
  Status Version(Context&, const google::protobuf::Empty&, VersionResponse* response) override {
    response->set_version("from the peer");
    return {};
  }
};

/// Answers with its peer's version, its configuration and its directory.
class Asking final : public VersionService {
 public:
  static Status probe(const Self& self) {
    return self.config("skip") == "true" ? failed_precondition("told to skip") : Status();
  }
  static Result<std::unique_ptr<Asking>> create(const Self& self) {
    auto made = std::make_unique<Asking>();
    made->peer_ = self.connect_to<VersionClient>("peer");
    made->revision_ =
        std::string(self.config("nested.key")) + " " + std::string(self.property("root"));
    return made;
  }
  Status Version(Context& context, const google::protobuf::Empty& request,
                 VersionResponse* response) override {
    BERTH_RETURN_IF_ERROR(peer_.Version(context, request, response));
    response->set_revision(revision_);
    if (context.ns() == "throw") throw std::runtime_error("thrown on purpose");
    return {};
  }

 private:
  VersionClient peer_;
  std::string revision_;
};

TEST(FakeHost, RunsAPluginWithPeersAndConfiguration) {
  FakeHost host;
  host.bind("peer", host.serve<FakePeer>());
  host.config(R"({"nested": {"key": 5}})");
  ASSERT_TRUE(host.start<Asking>("test.type", "asking").ok());
  VersionResponse response;
  const Status status = VersionClient(host.target()).Version(Context(), {}, &response);
  ASSERT_TRUE(status.ok()) << status.to_string();
  EXPECT_EQ(response.version(), "from the peer");
  EXPECT_EQ(response.revision(), "5 " + host.directory() + "/root/test.type.asking");
  EXPECT_TRUE(std::filesystem::is_directory(host.directory() + "/root/test.type.asking"));
}

TEST(FakeHost, AProbeThatSkipsSaysWhy) {
  FakeHost host;
  host.config(R"({"skip": true})");
  const Status status = host.start<Asking>("test.type", "asking");
  EXPECT_EQ(status.code(), Code::kFailedPrecondition);
  EXPECT_EQ(status.message(), "told to skip");
}

TEST(FakeHost, AnUnconnectedPeerIsUnavailableAndAThrowIsInternal) {
  FakeHost alone;
  ASSERT_TRUE(alone.start<Asking>("test.type", "asking").ok());
  VersionResponse response;
  EXPECT_EQ(VersionClient(alone.target()).Version(Context(), {}, &response).code(),
            Code::kUnavailable);

  FakeHost host;
  host.bind("peer", host.serve<FakePeer>());
  ASSERT_TRUE(host.start<Asking>("test.type", "asking").ok());
  const Status status =
      VersionClient(host.target()).Version(Context().with_ns("throw"), {}, &response);
  EXPECT_EQ(status.code(), Code::kInternal);
  EXPECT_EQ(status.message(), "exception: thrown on purpose");
}

TEST(FakeHost, AfterStopCallsAreRefused) {
  FakeHost host;
  host.bind("peer", host.serve<FakePeer>());
  ASSERT_TRUE(host.start<Asking>("test.type", "asking").ok());
  const VersionClient client(host.target());
  host.stop();
  VersionResponse response;
  EXPECT_EQ(client.Version(Context(), {}, &response).code(), Code::kUnavailable);
}

TEST(FakeHost, APluginWithoutAnInstanceIsStoppedTooAndOneThatFailedIsNot) {
  static int stops;
  stops = 0;
  berth_plugin plugin{};
  plugin.struct_size = sizeof plugin;
  plugin.init = [](const berth_host*, berth_self*, void**) -> int32_t { return 0; };
  plugin.handle = [](void*, uint32_t, uint32_t, berth_call*) {};
  plugin.stop = [](void* instance, int64_t) { stops += instance == nullptr ? 1 : 100; };
  {
    FakeHost host;
    ASSERT_TRUE(host.start_plugin(plugin, "test.type", "none").ok());
  }
  EXPECT_EQ(stops, 1);
  plugin.init = [](const berth_host*, berth_self*, void** out) -> int32_t {
    *out = &stops;
    return BERTH_CODE_INTERNAL;
  };
  {
    FakeHost host;
    EXPECT_EQ(host.start_plugin(plugin, "test.type", "none").code(), Code::kInternal);
    host.stop();
  }
  EXPECT_EQ(stops, 1);
}

TEST(FakeHost, AsynchronousCallsAnswerOnAnotherThread) {
  FakeHost host;
  host.bind("peer", host.serve<FakePeer>());
  ASSERT_TRUE(host.start<Asking>("test.type", "asking").ok());
  std::mutex mutex;
  std::condition_variable done;
  std::optional<std::string> version;
  VersionClient(host.target())
      .VersionAsync(Context(), {}, [&](Status status, VersionResponse response) {
        const std::lock_guard lock(mutex);
        version = status.ok() ? response.version() : status.to_string();
        done.notify_one();
      });
  std::unique_lock lock(mutex);
  ASSERT_TRUE(done.wait_for(lock, std::chrono::seconds(5), [&] { return version.has_value(); }));
  EXPECT_EQ(*version, "from the peer");
}

}  // namespace
}  // namespace berth::testing
