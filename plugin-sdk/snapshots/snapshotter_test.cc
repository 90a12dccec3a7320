#include <berth/file_tree.h>
#include <berth/snapshotter.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <thread>

namespace berth {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

// Plain directories; active and committed ones in different folders.
class Plain final : public Snapshotter {
 public:
  using Snapshotter::Snapshotter;
  std::function<Status(const std::string& path)> on_make;
  std::function<Status()> on_sync;
  std::function<Status()> on_sync_made;
  std::function<Status()> on_commit;
  std::vector<std::string> steps;

 protected:
  std::vector<std::string> folders() const override { return {"active", "done"}; }
  std::string place(const SnapshotRecord& record) const override {
    return (record.kind == SnapshotKind::kCommitted ? "done/" : "active/") +
           std::to_string(record.id);
  }
  Status make_tree(const Snapshot& snapshot) override {
    const std::string path = absolute(place(snapshot.record));
    if (!fs::create_directory(path)) return internal_error(path + " exists");
    return on_make ? on_make(path) : Status();
  }
  Result<MountList> mounts_of(const Snapshot& snapshot) const override {
    ::containerd::types::Mount mount;
    mount.set_source(absolute(place(snapshot.record)));
    return MountList{mount};
  }
  Status sync_tree(const Snapshot&) const override { return on_sync ? on_sync() : Status(); }
  Status sync_made(const Snapshot& snapshot) const override {
    return on_sync_made ? on_sync_made() : Snapshotter::sync_made(snapshot);
  }
  Status commit_tree(const Snapshot& active, const SnapshotRecord& committed) override {
    if (on_commit) BERTH_RETURN_IF_ERROR(on_commit());
    fs::copy(absolute(place(active.record)), absolute(place(committed)),
             fs::copy_options::recursive);
    return {};
  }
};

class SnapshotterTest : public testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/berth-snapshotter-XXXXXX";
    ASSERT_NE(::mkdtemp(name), nullptr);
    folder_ = name;
    options_.root = folder_ + "/root";
    options_.warn = [this](std::string_view text) { warnings_.emplace_back(text); };
    reopen();
  }
  void TearDown() override {
    plain_.reset();
    EXPECT_TRUE(remove_tree(folder_).ok());
  }
  void reopen() {
    plain_.reset();
    plain_ = std::make_unique<Plain>(options_);
    const Status opened = plain_->open();
    ASSERT_TRUE(opened.ok()) << opened.to_string();
  }
  Status prepare(const std::string& key, const std::string& parent = "") {
    snapshots_v1::PrepareSnapshotRequest request;
    snapshots_v1::PrepareSnapshotResponse response;
    request.set_key(key);
    request.set_parent(parent);
    BERTH_RETURN_IF_ERROR(plain_->Prepare(ctx_, request, &response));
    source_ = response.mounts(0).source();
    return {};
  }
  Status commit(const std::string& name, const std::string& key) {
    snapshots_v1::CommitSnapshotRequest request;
    request.set_name(name);
    request.set_key(key);
    return plain_->Commit(ctx_, request, &empty_);
  }
  Status remove(const std::string& key) {
    snapshots_v1::RemoveSnapshotRequest request;
    request.set_key(key);
    return plain_->Remove(ctx_, request, &empty_);
  }
  Status clean_up() { return plain_->Cleanup(ctx_, {}, &empty_); }
  Status mounts(const std::string& key) {
    snapshots_v1::MountsRequest request;
    snapshots_v1::MountsResponse response;
    request.set_key(key);
    return plain_->Mounts(ctx_, request, &response);
  }
  std::vector<std::string> trees(const std::string& folder) {
    std::vector<std::string> found;
    for (const auto& entry : fs::directory_iterator(options_.root + "/" + folder)) {
      found.push_back(entry.path().filename());
    }
    std::sort(found.begin(), found.end());
    return found;
  }

  std::string folder_;
  std::string source_;
  SnapshotterOptions options_;
  std::vector<std::string> warnings_;
  std::unique_ptr<Plain> plain_;
  Context ctx_;
  google::protobuf::Empty empty_;
};

TEST_F(SnapshotterTest, FailedMakingLeavesNothing) {
  plain_->on_make = [](const std::string& path) {
    std::ofstream(path + "/half") << "x";
    return resource_exhausted("disk full");
  };
  const Status failed = prepare("a");
  EXPECT_EQ(failed.code(), Code::kResourceExhausted);
  EXPECT_THAT(failed.message(), HasSubstr("\"a\""));
  EXPECT_THAT(trees("active"), IsEmpty());
  plain_->on_make = nullptr;
  EXPECT_TRUE(prepare("a").ok());
}

TEST_F(SnapshotterTest, LosingARaceForAKeyLeavesNothing) {
  plain_->on_make = [this](const std::string&) {
    plain_->on_make = nullptr;
    return prepare("a");
  };
  EXPECT_EQ(prepare("a").code(), Code::kAlreadyExists);
  EXPECT_THAT(trees("active"), ElementsAre("2"));
}

TEST_F(SnapshotterTest, CleanupSparesWhatIsBeingMade) {
  plain_->on_make = [this](const std::string& path) {
    EXPECT_TRUE(clean_up().ok());
    EXPECT_TRUE(fs::exists(path));
    return Status();
  };
  ASSERT_TRUE(prepare("a").ok());
  plain_->on_commit = [this] { return clean_up(); };
  ASSERT_TRUE(commit("layer", "a").ok());
  EXPECT_THAT(trees("done"), ElementsAre("1"));
  EXPECT_THAT(trees("active"), IsEmpty());
}

TEST_F(SnapshotterTest, DataIsSyncedBeforeTheRecord) {
  ASSERT_TRUE(prepare("a").ok());
  plain_->on_sync = [] { return internal_error("EIO"); };
  EXPECT_EQ(commit("layer", "a").code(), Code::kInternal);
  EXPECT_TRUE(mounts("a").ok()) << "still active";
  EXPECT_EQ(mounts("layer").code(), Code::kNotFound);
  options_.sync = false;
  reopen();
  plain_->on_sync = [] { return internal_error("not to be called"); };
  EXPECT_TRUE(commit("layer", "a").ok());
}

TEST_F(SnapshotterTest, ANewTreeIsSyncedBeforeTheRecord) {
  plain_->on_sync_made = [this] {
    EXPECT_EQ(trees("active").size(), 1u);
    EXPECT_EQ(mounts("a").code(), Code::kNotFound) << "recorded before it is on the disk";
    return internal_error("EIO");
  };
  EXPECT_EQ(prepare("a").code(), Code::kInternal);
  EXPECT_THAT(trees("active"), IsEmpty());
  options_.sync = false;
  reopen();
  plain_->on_sync_made = [] { return internal_error("not to be called"); };
  EXPECT_TRUE(prepare("a").ok());
  options_.sync = true;
  reopen();
  EXPECT_TRUE(prepare("b").ok());
}

TEST_F(SnapshotterTest, FailedCommitLeavesTheActiveSnapshot) {
  ASSERT_TRUE(prepare("a").ok());
  std::ofstream(source_ + "/file") << "x";
  plain_->on_commit = [this] {
    fs::create_directory(options_.root + "/done/1");
    return resource_exhausted("disk full");
  };
  EXPECT_EQ(commit("layer", "a").code(), Code::kResourceExhausted);
  EXPECT_THAT(trees("done"), IsEmpty());
  EXPECT_TRUE(fs::exists(source_ + "/file"));
  plain_->on_commit = nullptr;
  EXPECT_TRUE(commit("layer", "a").ok());
  EXPECT_TRUE(fs::exists(options_.root + "/done/1/file"));
}

TEST_F(SnapshotterTest, RemovalIsLeftToCleanupWithoutThreads) {
  ASSERT_TRUE(prepare("a").ok());
  ASSERT_TRUE(remove("a").ok());
  EXPECT_THAT(trees("active"), ElementsAre("1"));
  EXPECT_TRUE(prepare("a").ok()) << "the key is free at once";
  ASSERT_TRUE(clean_up().ok());
  EXPECT_THAT(trees("active"), ElementsAre("2"));
}

TEST_F(SnapshotterTest, RemovalAtOnceWhenAskedFor) {
  options_.sync_remove = true;
  reopen();
  ASSERT_TRUE(prepare("a").ok());
  ASSERT_TRUE(remove("a").ok());
  EXPECT_THAT(trees("active"), IsEmpty());
}

TEST_F(SnapshotterTest, RemovalInTheBackground) {
  std::vector<std::thread> threads;
  options_.spawn = [&](std::function<void()> work) {
    threads.emplace_back(std::move(work));
    return true;
  };
  reopen();
  for (int i = 0; i < 5; ++i) {
    ASSERT_TRUE(prepare("a").ok());
    ASSERT_TRUE(remove("a").ok());
  }
  for (auto& thread : threads) thread.join();
  EXPECT_THAT(trees("active"), IsEmpty());
  plain_->stop(monotonic_now());
}

TEST_F(SnapshotterTest, StartRemovesTreesThatNobodyKnows) {
  ASSERT_TRUE(prepare("a").ok());
  plain_.reset();
  for (const char* name : {"/active/7", "/done/9", "/active/what"}) {
    fs::create_directories(options_.root + name + "/sub");
  }
  reopen();
  EXPECT_THAT(trees("active"), ElementsAre("1"));
  EXPECT_THAT(trees("done"), IsEmpty());
  EXPECT_THAT(warnings_, ElementsAre(HasSubstr("3 trees")));
  ASSERT_TRUE(prepare("b").ok());
  EXPECT_THAT(trees("active"), ElementsAre("1", "10")) << "ids on disk are not given again";
}

TEST_F(SnapshotterTest, MissingTreesAreNamedAndRefused) {
  ASSERT_TRUE(prepare("a").ok());
  ASSERT_TRUE(commit("layer", "a").ok());
  ASSERT_TRUE(prepare("child", "layer").ok());
  plain_.reset();
  fs::remove_all(options_.root + "/done/1");
  reopen();
  EXPECT_THAT(warnings_, ElementsAre(HasSubstr("\"layer\"")));
  EXPECT_EQ(mounts("child").code(), Code::kDataLoss);
  EXPECT_EQ(prepare("other", "layer").code(), Code::kDataLoss);
  EXPECT_EQ(commit("other", "child").code(), Code::kDataLoss);
  EXPECT_TRUE(prepare("fresh").ok());
  EXPECT_TRUE(remove("child").ok());
  EXPECT_TRUE(remove("layer").ok());
  EXPECT_TRUE(prepare("layer").ok());
}

TEST_F(SnapshotterTest, RootMustBeAbsolute) {
  SnapshotterOptions options;
  options.root = "relative";
  EXPECT_EQ(Plain(options).open().code(), Code::kInvalidArgument);
}

}  // namespace
}  // namespace berth
