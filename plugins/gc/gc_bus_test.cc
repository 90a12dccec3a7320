// The service over the bus, with a metadata store of the test's making.
#include <berth/testing/fake_host.h>
#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "gc.h"

namespace berth::gc {
namespace {

using std::chrono::milliseconds;

struct Metadata {
  std::atomic<int> collections = 0;
  std::atomic<int> watches = 0;
  std::atomic<bool> fails = false;
  std::atomic<bool> hangs = false;
  std::atomic<bool> refuses_watch = false;
  std::atomic<uint64_t> mutations = 0;
};

class FakeCollector final : public metadata::v1::CollectorService {
 public:
  explicit FakeCollector(Metadata& metadata) : metadata_(metadata) {}
  Status Collect(Context& context, const metadata::v1::CollectRequest&,
                 metadata::v1::CollectResponse* response) override {
    ++metadata_.collections;
    while (metadata_.hangs && !context.cancelled()) std::this_thread::sleep_for(milliseconds(1));
    if (metadata_.fails) return data_loss("rows are missing");
    response->set_duration_ns(5);
    auto* removed = response->add_removed();
    removed->set_kind("snapshot");
    removed->set_name("overlayfs");
    removed->set_count(3);
    return {};
  }
  Status WatchMutations(Context& context, const metadata::v1::WatchMutationsRequest&,
                        ServerWriter<metadata::v1::MutationEvent>& writer) override {
    ++metadata_.watches;
    if (metadata_.refuses_watch) return unavailable("not now");
    uint64_t told = UINT64_MAX;
    while (!context.cancelled()) {
      const uint64_t mutations = metadata_.mutations;
      if (mutations != told) {
        metadata::v1::MutationEvent event;
        event.set_mutations(mutations);
        event.set_dirty(mutations > 0);
        if (!writer.Write(event)) break;
        told = mutations;
      }
      std::this_thread::sleep_for(milliseconds(1));
    }
    return {};
  }

 private:
  Metadata& metadata_;
};

class Gc final : public GcService {
 public:
  using GcService::GcService;
  static Result<std::unique_ptr<Gc>> create(const Self& self) {
    ScheduleOptions options;
    options.startup_delay = nanoseconds(0);
    return std::make_unique<Gc>(
        options, self.connect_to<metadata::v1::CollectorClient>("metadata"),
        [](bool, const std::string&, const std::string&) {},
        [self](std::function<void()> work) { return self.spawn(std::move(work)); });
  }
};

class GcBusTest : public ::testing::Test {
 protected:
  void start() {
    host_.bind("metadata", host_.serve(std::make_unique<FakeCollector>(metadata_)));
    ASSERT_TRUE(host_.start<Gc>("io.containerd.gc.v1", "scheduler").ok());
    client_ = v1::SchedulerClient(host_.target());
  }
  template <typename Condition>
  static bool eventually(Condition condition) {
    for (int i = 0; i < 10000; ++i) {
      if (condition()) return true;
      std::this_thread::sleep_for(milliseconds(1));
    }
    return false;
  }

  // Outlives the host and its handlers, which the bus keeps for ever.
  Metadata& metadata_ = *new Metadata;  // NOLINT: see above
  berth::testing::FakeHost host_;
  v1::SchedulerClient client_;
};

TEST_F(GcBusTest, CollectTellsWhatWasRemoved) {
  start();
  v1::CollectResponse response;
  ASSERT_TRUE(client_.Collect(Context(), {}, &response).ok());
  EXPECT_EQ(response.duration_ns(), 5U);
  ASSERT_EQ(response.removed_size(), 1);
  EXPECT_EQ(response.removed(0).kind(), "snapshot");
  EXPECT_EQ(response.removed(0).name(), "overlayfs");
  EXPECT_EQ(response.removed(0).count(), 3U);
  v1::StatsResponse stats;
  ASSERT_TRUE(client_.Stats(Context(), {}, &stats).ok());
  EXPECT_EQ(stats.collections(), 1U);
  EXPECT_GT(stats.last_duration_ns(), 0U);
}

TEST_F(GcBusTest, AFailureIsTheCallersToo) {
  start();
  metadata_.fails = true;
  v1::CollectResponse response;
  const Status status = client_.Collect(Context(), {}, &response);
  EXPECT_EQ(status.code(), Code::kDataLoss);
  EXPECT_NE(status.message().find("rows are missing"), std::string::npos);
  v1::StatsResponse stats;
  ASSERT_TRUE(client_.Stats(Context(), {}, &stats).ok());
  EXPECT_NE(stats.last_error().find("rows are missing"), std::string::npos);
}

TEST_F(GcBusTest, HearsOfDeletions) {
  start();
  ASSERT_TRUE(eventually([&] { return metadata_.watches == 1; }));
  EXPECT_EQ(metadata_.collections, 0);
  metadata_.mutations = 1;
  EXPECT_TRUE(eventually([&] { return metadata_.collections == 1; }));
}

TEST_F(GcBusTest, AWatchThatEndedIsBegunAgain) {
  metadata_.refuses_watch = true;
  start();
  ASSERT_TRUE(eventually([&] { return metadata_.watches >= 2; }));
  metadata_.refuses_watch = false;
  metadata_.mutations = 1;
  EXPECT_TRUE(eventually([&] { return metadata_.collections == 1; }));
}

TEST_F(GcBusTest, StopDoesNotWaitForACollectionThatHangs) {
  start();
  metadata_.hangs = true;
  Status status;
  std::thread caller([&] {
    v1::CollectResponse response;
    status = client_.Collect(Context(), {}, &response);
  });
  ASSERT_TRUE(eventually([&] { return metadata_.collections == 1; }));
  const int64_t begin = monotonic_now();
  host_.stop();
  EXPECT_LT(monotonic_now() - begin, 5'000'000'000);
  caller.join();
  EXPECT_FALSE(status.ok());
}

TEST_F(GcBusTest, StopDoesNotWaitForTheNextAttemptToWatch) {
  metadata_.refuses_watch = true;
  start();
  ASSERT_TRUE(eventually([&] { return metadata_.watches >= 1; }));
  const int64_t begin = monotonic_now();
  host_.stop();
  EXPECT_LT(monotonic_now() - begin, 900'000'000);
}

}  // namespace
}  // namespace berth::gc
