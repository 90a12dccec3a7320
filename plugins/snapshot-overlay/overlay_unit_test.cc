#include <berth/file_tree.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>

#include "overlay.h"

namespace berth::overlay {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

class OverlayMountsTest : public testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/berth-overlay-XXXXXX";
    ASSERT_NE(::mkdtemp(name), nullptr);
    folder_ = name;
    options_.common.root = folder_ + "/root";
    options_.mount_options = {"volatile", "index=on"};
    reopen();
  }
  void TearDown() override {
    overlay_.reset();
    EXPECT_TRUE(remove_tree(folder_).ok());
  }
  void reopen() {
    overlay_ = std::make_unique<Overlay>(options_);
    ASSERT_TRUE(overlay_->open().ok());
  }
  containerd::types::Mount prepare(const std::string& key, const std::string& parent,
                                   const std::map<std::string, std::string>& labels = {}) {
    snapshots_v1::PrepareSnapshotRequest request;
    snapshots_v1::PrepareSnapshotResponse response;
    request.set_key(key);
    request.set_parent(parent);
    request.mutable_labels()->insert(labels.begin(), labels.end());
    status_ = overlay_->Prepare(ctx_, request, &response);
    return response.mounts_size() == 1 ? response.mounts(0) : containerd::types::Mount();
  }
  containerd::types::Mount view(const std::string& key, const std::string& parent) {
    snapshots_v1::ViewSnapshotRequest request;
    snapshots_v1::ViewSnapshotResponse response;
    request.set_key(key);
    request.set_parent(parent);
    status_ = overlay_->View(ctx_, request, &response);
    return response.mounts_size() == 1 ? response.mounts(0) : containerd::types::Mount();
  }
  void layer(const std::string& name, const std::string& parent) {
    prepare("key", parent);
    snapshots_v1::CommitSnapshotRequest request;
    request.set_key("key");
    request.set_name(name);
    google::protobuf::Empty empty;
    ASSERT_TRUE(overlay_->Commit(ctx_, request, &empty).ok());
  }
  std::string in_root(const std::string& name) {
    return options_.common.root + "/snapshots/" + name;
  }

  std::string folder_;
  Options options_;
  std::unique_ptr<Overlay> overlay_;
  Context ctx_;
  Status status_;
};

TEST_F(OverlayMountsTest, WithoutParentIsABindMount) {
  const auto active = prepare("a", "");
  EXPECT_EQ(active.type(), "bind");
  EXPECT_EQ(active.source(), in_root("1/fs"));
  EXPECT_THAT(active.options(), ElementsAre("rw", "rbind"));
  const auto look = view("v", "");
  EXPECT_EQ(look.source(), in_root("2/fs"));
  EXPECT_THAT(look.options(), ElementsAre("ro", "rbind"));
}

TEST_F(OverlayMountsTest, ViewOfOneLayerIsABindMountOfIt) {
  layer("1", "");
  const auto look = view("v", "1");
  EXPECT_EQ(look.type(), "bind");
  EXPECT_EQ(look.source(), in_root("1/fs"));
  EXPECT_THAT(look.options(), ElementsAre("ro", "rbind"));
}

TEST_F(OverlayMountsTest, OptionsInContainerdsOrder) {
  layer("1", "");
  layer("2", "1");
  const auto active = prepare("a", "2");
  EXPECT_EQ(active.type(), "overlay");
  EXPECT_EQ(active.source(), "overlay");
  EXPECT_THAT(
      active.options(),
      ElementsAre("workdir=" + in_root("3/work"), "upperdir=" + in_root("3/fs"),
                  "lowerdir=" + in_root("2/fs") + ":" + in_root("1/fs"), "volatile", "index=on"));
  const auto look = view("v", "2");
  EXPECT_THAT(look.options(), ElementsAre("lowerdir=" + in_root("2/fs") + ":" + in_root("1/fs"),
                                          "volatile", "index=on"));
  struct stat status {};
  ASSERT_EQ(::stat(in_root("3/work").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 07777, 0711U);
  EXPECT_NE(::stat(in_root("4/work").c_str(), &status), 0) << "a view has none";
}

TEST_F(OverlayMountsTest, MappingLabelsBecomeOptionsAndOwner) {
  if (::geteuid() != 0) GTEST_SKIP() << "changing owners needs root";
  options_.remap_ids = true;
  reopen();
  const std::map<std::string, std::string> labels = {
      {std::string(kUidMappingLabel), "0:100000:65536"},
      {std::string(kGidMappingLabel), "1:5:1,0:200000:65536"}};
  const auto active = prepare("a", "", labels);
  EXPECT_THAT(active.options(),
              ElementsAre("uidmap=0:100000:65536", "gidmap=1:5:1,0:200000:65536", "rw", "rbind"));
  struct stat status {};
  ASSERT_EQ(::stat(active.source().c_str(), &status), 0);
  EXPECT_EQ(status.st_uid, 100000U);
  EXPECT_EQ(status.st_gid, 200000U);
  options_.remap_ids = false;
  reopen();
  EXPECT_THAT(prepare("b", "", labels).options(), ElementsAre("rw", "rbind"));
}

TEST_F(OverlayMountsTest, BrokenMappingsAreRefusedAndLeaveNothing) {
  for (const char* mapping : {"", "x", "0:1", "0:1:2:3", "0:1:0", "1:1:1", "0:1:2,", "0:1:-2"}) {
    prepare("a", "",
            {{std::string(kUidMappingLabel), mapping}, {std::string(kGidMappingLabel), "0:0:1"}});
    EXPECT_EQ(status_.code(), Code::kInvalidArgument) << mapping;
    EXPECT_THAT(status_.message(), HasSubstr(std::string(kUidMappingLabel)));
  }
  prepare("a", "", {{std::string(kUidMappingLabel), "0:1:1"}});
  EXPECT_EQ(status_.code(), Code::kInvalidArgument);
  prepare("a", "");
  EXPECT_TRUE(status_.ok());
}

TEST_F(OverlayMountsTest, UpperdirLabelIsComputed) {
  options_.upperdir_label = true;
  reopen();
  prepare("a", "");
  snapshots_v1::StatSnapshotRequest request;
  snapshots_v1::StatSnapshotResponse response;
  request.set_key("a");
  ASSERT_TRUE(overlay_->Stat(ctx_, request, &response).ok());
  EXPECT_EQ(response.info().labels().at("containerd.io/snapshot/overlay.upperdir"),
            in_root("1/fs"));
}

TEST(NeededOptions, AreAddedUnlessConfigured) {
  EXPECT_THAT(with_needed_options({}, false, true), ElementsAre("index=off"));
  EXPECT_THAT(with_needed_options({}, true, false), ElementsAre("userxattr"));
  EXPECT_THAT(with_needed_options({"volatile"}, true, true),
              ElementsAre("volatile", "userxattr", "index=off"));
  EXPECT_THAT(with_needed_options({"index=on", "userxattr"}, true, true),
              ElementsAre("index=on", "userxattr"));
}

}  // namespace
}  // namespace berth::overlay
