#include "collector.h"

#include "fixture.h"

namespace berth::metadata {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Pair;

using Removed = std::map<std::string, uint64_t>;

constexpr char kConfig[] = "containerd.io/gc.ref.content.config";
constexpr char kPast[] = "2001-02-03T04:05:06Z";
constexpr char kFuture[] = "2199-02-03T04:05:06Z";

class CollectorTest : public MetadataTest {
 protected:
  Labels ref(const std::string& label, const std::string& value) {
    Labels labels;
    labels[label] = value;
    return labels;
  }
  std::string blob(const std::string& bytes, const Labels& labels = {},
                   const Context& context = in("default")) {
    const Status status = write_blob(context, bytes, labels);
    EXPECT_TRUE(status.ok()) << status.to_string();
    return digest(bytes);
  }
  Labels expiring(const std::string& time) { return ref("containerd.io/gc.expire", time); }
  void layer(const std::string& name, const std::string& parent, const Labels& labels = {}) {
    ASSERT_TRUE(prepare("active-" + name, parent).ok());
    ASSERT_TRUE(commit(name, "active-" + name, labels).ok());
  }
};

TEST_F(CollectorTest, AnImageKeepsWhatItsContentNames) {
  const std::string config = blob("config");
  const std::string manifest = blob("manifest", ref(kConfig, config));
  blob("stray");
  ASSERT_TRUE(create_image("i", manifest).ok());
  EXPECT_THAT(collect(), ElementsAre(Pair("content", 1U)));
  EXPECT_TRUE(has_content("default", config));
  EXPECT_EQ(blobs_.blobs.size(), 2U);
  ASSERT_TRUE(delete_image("i").ok());
  EXPECT_THAT(collect(), ElementsAre(Pair("content", 2U)));
  EXPECT_THAT(blobs_.blobs, IsEmpty());
  EXPECT_THAT(collect(), IsEmpty());
}

TEST_F(CollectorTest, ABlobStaysWhileAnotherNamespaceHasIt) {
  const std::string shared = blob("shared");
  const Status second = write_blob(in("other"), "shared", ref("containerd.io/gc.root", "now"));
  ASSERT_TRUE(second.ok()) << second.to_string();
  EXPECT_THAT(collect(), IsEmpty());
  EXPECT_FALSE(has_content("default", shared));
  EXPECT_TRUE(has_content("other", shared));
  EXPECT_TRUE(blobs_.blobs.contains(shared));
}

TEST_F(CollectorTest, RootAndExpireLabels) {
  const std::string root = blob("root", ref("containerd.io/gc.root", "x"));
  const std::string later = blob("later", expiring(kFuture));
  const std::string over = blob("over", expiring(kPast));
  collect();
  EXPECT_TRUE(has_content("default", root));
  EXPECT_TRUE(has_content("default", later));
  EXPECT_FALSE(has_content("default", over));
}

TEST_F(CollectorTest, AnExpiredImageGoesUnlessSomethingKeepsIt) {
  const std::string one = blob("one");
  const std::string two = blob("two");
  ASSERT_TRUE(create_image("gone", one, expiring(kPast)).ok());
  ASSERT_TRUE(create_image("kept", two, expiring(kPast)).ok());
  ASSERT_TRUE(create_container("c", "", ref("containerd.io/gc.ref.image.x", "kept")).ok());
  EXPECT_THAT(collect(), ElementsAre(Pair("content", 1U), Pair("image", 1U)));
  EXPECT_FALSE(has_content("default", one));
  EXPECT_TRUE(has_content("default", two));
  EXPECT_THAT(events_, Contains("default /images/delete"));
}

TEST_F(CollectorTest, AContainerKeepsItsSnapshotAndThatItsParents) {
  layer("base", "");
  layer("top", "base");
  layer("stray", "base");
  ASSERT_TRUE(prepare("rw", "top").ok());
  ASSERT_TRUE(create_container("c", "rw").ok());
  EXPECT_THAT(collect(), ElementsAre(Pair("snapshot/fake", 1U)));
  EXPECT_THAT(snapshot_keys(), ElementsAre("base", "rw", "top"));
  EXPECT_THAT(events_, Contains("default /snapshot/remove"));
  EXPECT_EQ(snapshotter_->cleanups, 1);
  containerd::services::containers::v1::DeleteContainerRequest request;
  request.set_id("c");
  google::protobuf::Empty empty;
  Context context = in("default");
  ASSERT_TRUE(containers_->Delete(context, request, &empty).ok());
  snapshotter_->removed.clear();
  EXPECT_THAT(collect(), ElementsAre(Pair("snapshot/fake", 3U)));
  ASSERT_EQ(snapshotter_->removed.size(), 3U);  // children first
  EXPECT_THAT(snapshotter_->removed[0], HasSubstr("/rw"));
  EXPECT_THAT(snapshotter_->removed[2], HasSubstr("/base"));
}

TEST_F(CollectorTest, LeasesKeepAndExpire) {
  ASSERT_TRUE(create_lease("l").ok());
  ASSERT_TRUE(create_lease("old", expiring(kPast)).ok());
  const std::string kept = blob("kept", {}, leased("l"));
  const std::string lost = blob("lost", {}, leased("old"));
  ASSERT_TRUE(prepare("s", "", {}, leased("l")).ok());
  EXPECT_THAT(collect(), ElementsAre(Pair("content", 1U), Pair("lease", 1U)));
  EXPECT_TRUE(has_content("default", kept));
  EXPECT_FALSE(has_content("default", lost));
  EXPECT_THAT(snapshot_keys(), ElementsAre("s"));
  ASSERT_TRUE(delete_lease("l").ok());
  EXPECT_THAT(collect(), ElementsAre(Pair("content", 1U), Pair("snapshot/fake", 1U)));
}

TEST_F(CollectorTest, AFlatLeaseKeepsNoLabeledReferences) {
  ASSERT_TRUE(create_lease("flat", ref("containerd.io/gc.flat", "1")).ok());
  const std::string config = blob("config");
  const std::string manifest = blob("manifest", ref(kConfig, config), leased("flat"));
  layer("base", "");
  layer("top", "base");
  containerd::services::leases::v1::AddResourceRequest add;
  add.set_id("flat");
  add.mutable_resource()->set_type("snapshots/fake");
  add.mutable_resource()->set_id("top");
  google::protobuf::Empty empty;
  Context context = in("default");
  ASSERT_TRUE(leases_->AddResource(context, add, &empty).ok());
  collect();
  EXPECT_TRUE(has_content("default", manifest));
  EXPECT_FALSE(has_content("default", config));
  EXPECT_THAT(snapshot_keys(), ElementsAre("base", "top"));
}

TEST_F(CollectorTest, ContentAndSnapshotsReferToEachOther) {
  layer("layer", "", {});
  const std::string config = blob("config", ref("containerd.io/gc.ref.snapshot.fake", "layer"));
  ASSERT_TRUE(create_image("i", config).ok());
  EXPECT_THAT(collect(), IsEmpty());
  EXPECT_THAT(snapshot_keys(), ElementsAre("layer"));
}

TEST_F(CollectorTest, BackReferencesTieAChildToItsParent) {
  const std::string image = blob("image");
  ASSERT_TRUE(create_image("i", image).ok());
  const std::string note = blob("note", ref("containerd.io/gc.bref.image", "i"));
  layer("cache", "", ref("containerd.io/gc.bref.content.x", note));
  ASSERT_TRUE(create_container("c", "").ok());
  const std::string log = blob("log", ref("containerd.io/gc.bref.container", "c"));
  EXPECT_THAT(collect(), IsEmpty());
  ASSERT_TRUE(delete_image("i").ok());
  EXPECT_THAT(collect(), ElementsAre(Pair("content", 2U), Pair("snapshot/fake", 1U)));
  EXPECT_TRUE(has_content("default", log));
}

// What gains a reference between mark and sweep stays, with all that it refers to.
TEST_F(CollectorTest, WhatIsReferredToDuringACollectionStays) {
  const std::string config = blob("config");
  const std::string manifest = blob("manifest", ref(kConfig, config));
  const std::string other = blob("other");
  layer("base", "");
  layer("top", "base");
  const int64_t now = wall_now();
  Collection collection(*store_);
  const auto garbage = collection.mark(now);
  ASSERT_TRUE(garbage.ok()) << garbage.status().to_string();
  EXPECT_EQ(garbage->size(), 5U);

  ASSERT_TRUE(create_image("i", manifest).ok());
  ASSERT_TRUE(create_container("c", "top").ok());
  const auto removed = collection.sweep(*garbage, now);
  ASSERT_TRUE(removed.ok()) << removed.status().to_string();
  ASSERT_EQ(removed->removed.size(), 1U);
  EXPECT_EQ(removed->removed.front().key, other);
  EXPECT_TRUE(has_content("default", config));
  EXPECT_THAT(snapshot_keys(), ElementsAre("base", "top"));
}

TEST_F(CollectorTest, ALeaseTakenDuringACollectionHolds) {
  const std::string config = blob("config");
  const std::string manifest = blob("manifest", ref(kConfig, config));
  ASSERT_TRUE(create_lease("l").ok());
  const int64_t now = wall_now();
  Collection collection(*store_);
  const auto garbage = collection.mark(now);
  ASSERT_TRUE(garbage.ok());
  // A client finds its blob there and gets it leased instead of writing it.
  EXPECT_EQ(write_blob(leased("l"), "manifest").code(), Code::kAlreadyExists);
  const auto removed = collection.sweep(*garbage, now);
  ASSERT_TRUE(removed.ok());
  EXPECT_THAT(removed->removed, IsEmpty());
  EXPECT_TRUE(has_content("default", manifest));
  EXPECT_TRUE(has_content("default", config));
}

TEST_F(CollectorTest, NotesOfACollectionThatFailedDoNotDisturbTheNext) {
  {
    Collection collection(*store_);
    ASSERT_TRUE(collection.mark(wall_now()).ok());
  }
  blob("stray");
  EXPECT_THAT(collect(), ElementsAre(Pair("content", 1U)));
}

TEST_F(CollectorTest, ABlobThatIsBeingCommittedIsNotRemoved) {
  const std::string stray = blob("stray");
  {
    const auto hold = in_flight_.use(Context(), blob_name(stray));
    ASSERT_TRUE(hold.ok());
    EXPECT_THAT(collect(), IsEmpty());
    EXPECT_TRUE(blobs_.blobs.contains(stray));
  }
  EXPECT_THAT(collect(), ElementsAre(Pair("content", 1U)));
}

TEST_F(CollectorTest, ABlobThatComesBackBeforeItsRemovalStays) {
  const std::string stray = blob("stray");
  containerd::services::content::v1::DeleteContentRequest request;
  request.set_digest(stray);
  google::protobuf::Empty empty;
  Context context = in("default");
  ASSERT_TRUE(content_->Delete(context, request, &empty).ok());
  blob("stray", ref("containerd.io/gc.root", "1"));
  EXPECT_THAT(collect(), IsEmpty());
  EXPECT_TRUE(blobs_.blobs.contains(stray));
}

TEST_F(CollectorTest, FindsWhatACrashLeftInTheStores) {
  const std::string orphan = blobs_.put("orphan");
  blobs_.ingests["default/7/half"] = "ha";
  blobs_.ingests["not ours"] = "x";
  snapshotter_->snapshots["default/3/parent"].set_name("default/3/parent");
  auto& child = snapshotter_->snapshots["default/4/child"];
  child.set_name("default/4/child");
  child.set_parent("default/3/parent");
  snapshotter_->snapshots["foreign"].set_name("foreign");
  EXPECT_THAT(collect(), ElementsAre(Pair("content", 1U), Pair("snapshot/fake", 2U)));
  EXPECT_THAT(blobs_.blobs, IsEmpty());
  EXPECT_THAT(blobs_.ingests, ElementsAre(Pair("not ours", "x")));
  EXPECT_EQ(snapshotter_->snapshots.size(), 1U);
}

TEST_F(CollectorTest, ASnapshotBeingMadeIsNoOrphan) {
  std::map<std::string, uint64_t> during;
  snapshotter_->before_create = [&] {
    // The call is in the backend; the name is reserved, and the row not there yet.
    snapshotter_->snapshots["default/1/s"].set_name("default/1/s");
    during = collect();
  };
  ASSERT_TRUE(prepare("s", "", ref("containerd.io/gc.root", "1")).ok());
  EXPECT_THAT(during, IsEmpty());
  EXPECT_THAT(snapshot_keys(), ElementsAre("s"));
}

TEST_F(CollectorTest, AStoreThatDoesNotAnswerIsTriedAgainNextTime) {
  layer("stray", "");
  blob("stray");
  snapshotter_->before_remove = [](const std::string&) { return unavailable("hangs"); };
  EXPECT_THAT(collect(), ElementsAre(Pair("content", 1U)));  // the others do not wait for it
  EXPECT_THAT(log_, Contains(HasSubstr("hangs")));
  EXPECT_EQ(snapshotter_->snapshots.size(), 1U);
  snapshotter_->before_remove = [](const std::string&) { return Status(); };
  EXPECT_THAT(collect(), ElementsAre(Pair("snapshot/fake", 1U)));
}

TEST_F(CollectorTest, StaleIngestsGo) {
  const auto begin = [&](const std::string& ref_name) {
    WriteSession session(*store_, blobs_, in_flight_, SharingPolicy::kShared, in("default"),
                         "default");
    WriteRequest request;
    request.head.set_ref(ref_name);
    request.head.set_action(containerd::services::content::v1::WRITE);
    request.data = "abc";
    containerd::services::content::v1::WriteContentResponse response;
    ASSERT_TRUE(session.handle(request, &response).ok());
  };
  begin("fresh");
  begin("stale");
  ASSERT_TRUE(store_
                  ->write([](Tx& tx) {
                    return run(tx, "UPDATE ingests SET root_until = 1 WHERE ref = 'stale'");
                  })
                  .ok());
  EXPECT_THAT(collect(), ElementsAre(Pair("ingest", 1U)));
  EXPECT_EQ(blobs_.ingests.size(), 1U);
  EXPECT_THAT(blobs_.ingests.begin()->first, HasSubstr("/fresh"));
}

TEST(BackendNumber, OnlyOfOurForm) {
  EXPECT_EQ(backend_number("default/12/sha256:x/y"), 12);
  for (const char* name : {"", "a", "a/b", "a/x/c", "/1/c", "a/1", "a//c", "a/1x/c"}) {
    EXPECT_FALSE(backend_number(name).has_value()) << name;
  }
}

}  // namespace
}  // namespace berth::metadata
