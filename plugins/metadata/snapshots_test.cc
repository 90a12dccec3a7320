#include "snapshots.h"

#include "fixture.h"

namespace berth::metadata {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class SnapshotsTest : public MetadataTest {
 protected:
  Result<Snapshots::SnapshotInfo> stat(const std::string& key) {
    containerd::services::snapshots::v1::StatSnapshotRequest request;
    request.set_snapshotter("fake");
    request.set_key(key);
    containerd::services::snapshots::v1::StatSnapshotResponse response;
    Context context = in("default");
    BERTH_RETURN_IF_ERROR(snapshots_->Stat(context, request, &response));
    return response.info();
  }
};

TEST_F(SnapshotsTest, LifeOfALayer) {
  Labels labels;
  labels["containerd.io/snapshot/x"] = "told";
  labels["mine"] = "kept here";
  ASSERT_TRUE(prepare("a", "", labels).ok());
  EXPECT_EQ(prepare("a", "").code(), Code::kAlreadyExists);
  ASSERT_EQ(snapshotter_->snapshots.size(), 1U);
  const auto& inner = snapshotter_->snapshots.begin()->second;
  EXPECT_THAT(inner.name(), testing::MatchesRegex("default/[0-9]+/a"));
  EXPECT_EQ(inner.labels().size(), 1U);
  ASSERT_TRUE(stat("a").ok());
  EXPECT_EQ(stat("a")->labels().at("mine"), "kept here");
  EXPECT_EQ(stat("a")->kind(), containerd::services::snapshots::v1::ACTIVE);

  ASSERT_TRUE(commit("layer", "a").ok());
  EXPECT_EQ(stat("a").status().code(), Code::kNotFound);
  EXPECT_EQ(stat("layer")->kind(), containerd::services::snapshots::v1::COMMITTED);
  EXPECT_EQ(commit("layer", "a").code(), Code::kAlreadyExists);
  EXPECT_EQ(commit("layer2", "a").code(), Code::kNotFound);
  ASSERT_TRUE(prepare("rw", "layer").ok());
  EXPECT_EQ(stat("rw")->parent(), "layer");
  EXPECT_EQ(prepare("x", "nobody").code(), Code::kNotFound);
  EXPECT_EQ(remove_snapshot("layer").code(), Code::kFailedPrecondition);
  EXPECT_TRUE(remove_snapshot("rw").ok());
  EXPECT_TRUE(remove_snapshot("layer").ok());
  EXPECT_EQ(remove_snapshot("layer").code(), Code::kNotFound);
  EXPECT_EQ(snapshotter_->snapshots.size(), 2U);  // until the next collection
  EXPECT_THAT(events_, ElementsAre("default /snapshot/prepare", "default /snapshot/commit",
                                   "default /snapshot/prepare", "default /snapshot/remove",
                                   "default /snapshot/remove"));
  collect();
  EXPECT_THAT(snapshotter_->snapshots, IsEmpty());
}

TEST_F(SnapshotsTest, UnknownSnapshotters) {
  containerd::services::snapshots::v1::MountsRequest request;
  request.set_snapshotter("bogus");
  containerd::services::snapshots::v1::MountsResponse response;
  Context context = in("default");
  const Status status = snapshots_->Mounts(context, request, &response);
  EXPECT_EQ(status.code(), Code::kInvalidArgument);
  EXPECT_THAT(status.message(), HasSubstr("snapshotter not loaded: bogus"));
}

TEST_F(SnapshotsTest, NamespacesDoNotSeeEachOther) {
  ASSERT_TRUE(prepare("a", "").ok());
  ASSERT_TRUE(prepare("a", "", {}, in("other")).ok());
  EXPECT_EQ(snapshotter_->snapshots.size(), 2U);
  EXPECT_THAT(snapshot_keys(), ElementsAre("a"));
}

TEST_F(SnapshotsTest, AnExistingTargetIsToldAndLeased) {
  ASSERT_TRUE(prepare("a", "").ok());
  ASSERT_TRUE(commit("layer", "a").ok());
  ASSERT_TRUE(create_lease("l").ok());
  Labels labels;
  labels["containerd.io/snapshot.ref"] = "layer";
  const Status status = prepare("b", "", labels, leased("l"));
  EXPECT_EQ(status.code(), Code::kAlreadyExists);
  EXPECT_THAT(status.message(), HasSubstr("target snapshot \"layer\""));
  EXPECT_THAT(collect(), IsEmpty());  // the lease holds it
  EXPECT_THAT(snapshot_keys(), ElementsAre("layer"));
}

TEST_F(SnapshotsTest, ATargetThatTheSnapshotterHasIsTakenOver) {
  Snapshots::SnapshotInfo& remote = snapshotter_->snapshots["remote-1"];
  remote.set_name("remote-1");
  remote.set_kind(containerd::services::snapshots::v1::COMMITTED);
  (*remote.mutable_labels())["containerd.io/snapshot.ref"] = "layer";
  Labels labels;
  labels["containerd.io/snapshot.ref"] = "layer";
  EXPECT_EQ(prepare("extract-1", "", labels).code(), Code::kAlreadyExists);
  EXPECT_THAT(snapshot_keys(), ElementsAre("layer"));
  ASSERT_TRUE(prepare("rw", "layer").ok());
  EXPECT_EQ(stat("rw")->parent(), "layer");
}

TEST_F(SnapshotsTest, ASnapshotWhoseRecordFailsIsLeftToTheCollector) {
  ASSERT_TRUE(prepare("p", "").ok());
  ASSERT_TRUE(commit("parent", "p").ok());
  snapshotter_->before_create = [&] {  // the parent goes while the backend works
    EXPECT_TRUE(remove_snapshot("parent").ok());
  };
  EXPECT_EQ(prepare("child", "parent").code(), Code::kNotFound);
  EXPECT_EQ(snapshotter_->snapshots.size(), 2U);
  collect();
  EXPECT_THAT(snapshotter_->snapshots, IsEmpty());
}

TEST_F(SnapshotsTest, UpdatesLabelsByMask) {
  Labels labels;
  labels["a"] = "1";
  labels["b"] = "2";
  ASSERT_TRUE(prepare("s", "", labels).ok());
  containerd::services::snapshots::v1::UpdateSnapshotRequest request;
  request.set_snapshotter("fake");
  request.mutable_info()->set_name("s");
  (*request.mutable_info()->mutable_labels())["a"] = "9";
  request.mutable_update_mask()->add_paths("labels.a");
  containerd::services::snapshots::v1::UpdateSnapshotResponse response;
  Context context = in("default");
  ASSERT_TRUE(snapshots_->Update(context, request, &response).ok());
  EXPECT_EQ(response.info().labels().at("a"), "9");
  EXPECT_EQ(stat("s")->labels().at("b"), "2");
  request.mutable_update_mask()->add_paths("parent");
  EXPECT_EQ(snapshots_->Update(context, request, &response).code(), Code::kInvalidArgument);
}

}  // namespace
}  // namespace berth::metadata
