// The service over the bus: the stream of List, and codes as a caller sees them.
#include <berth/file_tree.h>
#include <berth/snapshotter.h>
#include <berth/testing/fake_host.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstdlib>

namespace berth {
namespace {

class Directories final : public Snapshotter {
 public:
  using Snapshotter::Snapshotter;

 protected:
  std::vector<std::string> folders() const override { return {"snapshots"}; }
  std::string place(const SnapshotRecord& record) const override {
    return "snapshots/" + std::to_string(record.id);
  }
  Status make_tree(const Snapshot& snapshot) override {
    return make_directories(absolute(place(snapshot.record)), 0700);
  }
  Result<MountList> mounts_of(const Snapshot& snapshot) const override {
    ::containerd::types::Mount mount;
    mount.set_type("bind");
    mount.set_source(absolute(place(snapshot.record)));
    mount.add_options("rbind");
    return MountList{mount};
  }
};

class SnapshotterBusTest : public ::testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/berth-snapshotter-XXXXXX";
    ASSERT_NE(::mkdtemp(name), nullptr);
    folder_ = name;
    SnapshotterOptions options;
    options.root = folder_ + "/root";
    options.sync = false;
    auto snapshotter = std::make_unique<Directories>(options);
    ASSERT_TRUE(snapshotter->open().ok());
    client_ = snapshots_v1::SnapshotsClient(host_.serve(std::move(snapshotter)));
  }
  void TearDown() override { EXPECT_TRUE(remove_tree(folder_).ok()); }

  Result<snapshots_v1::PrepareSnapshotResponse> prepare(const std::string& key) {
    snapshots_v1::PrepareSnapshotRequest request;
    snapshots_v1::PrepareSnapshotResponse response;
    request.set_key(key);
    BERTH_RETURN_IF_ERROR(client_.Prepare(Context(), request, &response));
    return response;
  }

  std::string folder_;
  berth::testing::FakeHost host_;
  snapshots_v1::SnapshotsClient client_;
};

TEST_F(SnapshotterBusTest, ListSendsAtMostAHundredPerMessage) {
  for (int i = 0; i < 201; ++i) ASSERT_TRUE(prepare("key-" + std::to_string(1000 + i)).ok());
  auto reader = client_.List(Context(), {});
  snapshots_v1::ListSnapshotsResponse response;
  std::vector<int> sizes;
  std::string last;
  while (reader.Read(&response)) {
    sizes.push_back(response.info_size());
    for (const auto& info : response.info()) {
      EXPECT_LT(last, info.name());
      last = info.name();
    }
  }
  EXPECT_TRUE(reader.Finish().ok());
  EXPECT_EQ(sizes, (std::vector<int>{100, 100, 1}));
}

TEST_F(SnapshotterBusTest, ListOfNothingAndOfABrokenFilter) {
  snapshots_v1::ListSnapshotsRequest request;
  snapshots_v1::ListSnapshotsResponse response;
  auto empty = client_.List(Context(), request);
  EXPECT_FALSE(empty.Read(&response));
  EXPECT_TRUE(empty.Finish().ok());
  request.add_filters("kind=active");
  auto broken = client_.List(Context(), request);
  EXPECT_FALSE(broken.Read(&response));
  EXPECT_EQ(broken.Finish().code(), Code::kInvalidArgument);
}

// A reader that leaves after one message must not keep the snapshotter from working.
TEST_F(SnapshotterBusTest, ListThatNobodyReads) {
  for (int i = 0; i < 120; ++i) ASSERT_TRUE(prepare("key-" + std::to_string(i)).ok());
  auto reader = client_.List(Context(), {});
  EXPECT_TRUE(prepare("meanwhile").ok());
  snapshots_v1::ListSnapshotsResponse response;
  EXPECT_TRUE(reader.Read(&response));
}

TEST_F(SnapshotterBusTest, CodesAndMountsCross) {
  const auto made = prepare("a");
  ASSERT_TRUE(made.ok()) << made.status().to_string();
  ASSERT_EQ(made->mounts_size(), 1);
  EXPECT_EQ(made->mounts(0).source(), folder_ + "/root/snapshots/1");
  EXPECT_EQ(prepare("a").status().code(), Code::kAlreadyExists);
  snapshots_v1::RemoveSnapshotRequest request;
  google::protobuf::Empty empty;
  request.set_key("b");
  EXPECT_EQ(client_.Remove(Context(), request, &empty).code(), Code::kNotFound);
}

}  // namespace
}  // namespace berth
