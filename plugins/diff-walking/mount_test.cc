// Needs root: mounts.
#include "mount.h"

#include <gmock/gmock.h>
#include <sys/mount.h>

#include <cstdlib>
#include <thread>

#include "testing.h"

namespace berth::diff_walking {
namespace {

using ::testing::ElementsAre;
using testing::exists;
using ::testing::HasSubstr;
using testing::read_file;
using testing::TempDir;
using testing::write_file;

TEST(MountOptionsTest, SeparatesFlagsFromData) {
  const auto options =
      parse_mount_options({"rbind", "ro", "nosuid", "suid", "rprivate", "size=1m"});
  ASSERT_TRUE(options.ok());
  EXPECT_EQ(options->flags, 0ul + (MS_BIND | MS_REC | MS_RDONLY));
  EXPECT_EQ(options->propagation, 0ul + (MS_PRIVATE | MS_REC));
  EXPECT_THAT(options->data, ElementsAre("size=1m"));
  EXPECT_FALSE(options->loop);
  EXPECT_TRUE(parse_mount_options({"loop"})->loop);
  EXPECT_EQ(parse_mount_options({"uidmap=0:1000:1"}).status().code(), Code::kUnimplemented);
}

TEST(MountOptionsTest, TakesOverlaysApart) {
  const OverlayLayers layers =
      overlay_layers({"index=off", "userxattr", "upperdir=/u", "workdir=/w", "lowerdir=/a\\:b:/c"});
  EXPECT_EQ(layers.upper, "/u");
  EXPECT_THAT(layers.lower, ElementsAre("/a:b", "/c"));
  EXPECT_TRUE(layers.user_xattr);
}

TEST(MountOptionsTest, ReadOnlyTurnsTheUpperDirectoryIntoALowerOne) {
  const auto mounts = read_only_mounts(
      {{"overlay", "overlay", "", {"workdir=/w", "upperdir=/u", "lowerdir=/a:/b", "rw"}},
       {"bind", "/x", "", {"rbind", "rw"}}});
  EXPECT_THAT(mounts[0].options, ElementsAre("lowerdir=/u:/a:/b", "ro"));
  EXPECT_THAT(mounts[1].options, ElementsAre("rbind", "ro"));
}

TEST(MountOptionsTest, CompactsByTheCommonDirectory) {
  const CompactedOverlay compact = compact_overlay_options(
      {"index=off", "lowerdir=/var/lib/s/12/fs:/var/lib/s/1/fs:/var/lib/s/123/fs"});
  EXPECT_EQ(compact.directory, "/var/lib/s");
  EXPECT_THAT(compact.options, ElementsAre("index=off", "lowerdir=12/fs:1/fs:123/fs"));
  EXPECT_EQ(compact_overlay_options({"lowerdir=/a:/b"}).directory, "");
  EXPECT_EQ(compact_overlay_options({"lowerdir=/var/lib/s/1/fs"}).directory, "");
  // A layer that is a prefix of another one keeps a name.
  EXPECT_THAT(compact_overlay_options({"lowerdir=/v/s/1:/v/s/1/fs"}).options,
              ElementsAre("lowerdir=1:1/fs"));
}

class MountTest : public ::testing::TestWithParam<MountedTree::Method> {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root";
    mount_points_ = scratch_.dir("mounts");
  }
  /// Nothing is mounted below the scratch directory and no mount point is left.
  void TearDown() override {
    if (::geteuid() != 0) return;
    EXPECT_TRUE(std::filesystem::is_empty(mount_points_));
    EXPECT_THAT(read_file("/proc/self/mounts"), ::testing::Not(HasSubstr(scratch_.path())));
  }
  Result<MountedTree> mount(const std::vector<Mount>& mounts) {
    return MountedTree::mount(mounts, mount_points_, GetParam());
  }
  std::string read_in(const MountedTree& tree, const std::string& name) {
    UniqueFd fd(tree.root().resolve(name, O_RDONLY));
    char text[100];
    const ssize_t size = ::read(fd.get(), text, sizeof text);
    return size < 0 ? "<none>" : std::string(text, static_cast<size_t>(size));
  }
  /// 0 or the errno of making a file.
  int write_in(const MountedTree& tree, const char* name) {
    UniqueFd fd(::openat(tree.root().fd(), name, O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
    return fd ? 0 : errno;
  }

  TempDir scratch_;
  std::string mount_points_;
};

TEST_P(MountTest, Bind) {
  write_file(scratch_ / "source/file", "text");
  {
    const auto tree = mount({{"bind", scratch_ / "source", "", {"rbind", "rw"}}});
    ASSERT_TRUE(tree.ok()) << tree.status().to_string();
    EXPECT_EQ(read_in(*tree, "file"), "text");
    EXPECT_EQ(write_in(*tree, "new"), 0);
  }
  EXPECT_TRUE(exists(scratch_ / "source/new"));
  const auto tree = mount({{"bind", scratch_ / "source", "", {"rbind", "ro"}}});
  ASSERT_TRUE(tree.ok()) << tree.status().to_string();
  EXPECT_EQ(write_in(*tree, "more"), EROFS);
}

TEST_P(MountTest, Overlay) {
  write_file(scratch_ / "a:b/file", "a");
  write_file(scratch_ / "b/file", "b");
  write_file(scratch_ / "b/other", "b");
  scratch_.dir("upper");
  scratch_.dir("work");
  const std::vector<Mount> mounts = {
      {"overlay",
       "overlay",
       "",
       {"index=off", "workdir=" + scratch_ / "work", "upperdir=" + scratch_ / "upper",
        "lowerdir=" + scratch_.path() + "/a\\:b:" + scratch_ / "b"}}};
  {
    auto tree = mount(mounts);
    ASSERT_TRUE(tree.ok()) << tree.status().to_string();
    EXPECT_EQ(read_in(*tree, "file"), "a");
    EXPECT_EQ(read_in(*tree, "other"), "b");
    EXPECT_EQ(write_in(*tree, "new"), 0);
    EXPECT_TRUE(tree->unmount().ok());
  }
  EXPECT_TRUE(exists(scratch_ / "upper/new"));
  const auto tree = mount(read_only_mounts(mounts));
  ASSERT_TRUE(tree.ok()) << tree.status().to_string();
  EXPECT_EQ(write_in(*tree, "more"), EROFS);
  EXPECT_TRUE(exists(scratch_ / "upper/new"));
}

// One page of options does not hold them.
TEST_P(MountTest, OverlayOf128Layers) {
  std::string lower;
  for (int i = 0; i < 128; ++i) {
    const std::string layer =
        scratch_ / ("snapshots/with/a/long/path/" + std::to_string(i) + "/fs");
    write_file(layer + "/" + std::to_string(i), std::to_string(i));
    lower += (i == 0 ? "" : ":") + layer;
  }
  ASSERT_GT(lower.size(), 4096u);
  const auto tree = mount({{"overlay", "overlay", "", {"ro", "lowerdir=" + lower}}});
  ASSERT_TRUE(tree.ok()) << tree.status().to_string();
  EXPECT_EQ(read_in(*tree, "0"), "0");
  EXPECT_EQ(read_in(*tree, "127"), "127");
}

TEST_P(MountTest, LaterMountsGoBelowTheirTarget) {
  write_file(scratch_ / "source/file", "text");
  scratch_.dir("base/sub");
  auto tree = mount(
      {{"bind", scratch_ / "base", "", {"bind"}}, {"bind", scratch_ / "source", "/sub", {"bind"}}});
  ASSERT_TRUE(tree.ok()) << tree.status().to_string();
  EXPECT_EQ(read_in(*tree, "sub/file"), "text");
}

TEST_P(MountTest, FileBehindALoopDevice) {
  write_file(scratch_ / "tree/file", "text");
  const std::string image = scratch_ / "image";
  ASSERT_EQ(std::system(("mkfs.ext4 -q -d " + (scratch_ / "tree") + " " + image + " 4M").c_str()),
            0);
  {
    const auto tree = mount({{"ext4", image, "", {"loop", "rw"}}});
    ASSERT_TRUE(tree.ok()) << tree.status().to_string();
    EXPECT_EQ(read_in(*tree, "file"), "text");
    EXPECT_EQ(write_in(*tree, "new"), 0);
  }
  {
    const auto tree = mount({{"ext4", image, "", {"loop", "ro"}}});
    ASSERT_TRUE(tree.ok()) << tree.status().to_string();
    EXPECT_EQ(read_in(*tree, "new"), "");
    EXPECT_EQ(write_in(*tree, "more"), EROFS);
  }
  const auto missing = mount({{"ext4", scratch_ / "no-such", "", {"loop"}}});
  EXPECT_EQ(missing.status().code(), Code::kNotFound);
  EXPECT_THAT(missing.status().message(), HasSubstr(scratch_ / "no-such"));
  // The kernel takes the file off some time after the last use.
  for (int i = 0; i < 100 && testing::loop_files().find(image) != std::string::npos; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  EXPECT_THAT(testing::loop_files(), ::testing::Not(HasSubstr(image)));
}

TEST_P(MountTest, FailuresSayWhatAndLeaveNothing) {
  const auto missing = mount({{"bind", scratch_ / "no-such", "", {"bind"}}});
  EXPECT_EQ(missing.status().code(), Code::kNotFound);
  EXPECT_THAT(missing.status().message(), HasSubstr(scratch_ / "no-such"));
  const auto overlay =
      mount({{"overlay", "overlay", "", {"lowerdir=" + scratch_ / "x:" + scratch_ / "y"}}});
  EXPECT_FALSE(overlay.ok());
  EXPECT_THAT(overlay.status().message(), HasSubstr("mount overlay"));
  EXPECT_EQ(mount({}).status().code(), Code::kInvalidArgument);
  EXPECT_EQ(mount({{"fuse3.sshfs", "x", "", {}}}).status().code(), Code::kUnimplemented);
}

INSTANTIATE_TEST_SUITE_P(Methods, MountTest,
                         ::testing::Values(MountedTree::Method::kBest,
                                           MountedTree::Method::kAttached),
                         [](const auto& test) {
                           return test.param == MountedTree::Method::kBest ? "Best" : "Attached";
                         });

TEST(StaleMountPointsTest, AreRemoved) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root";
  TempDir scratch;
  const std::string stale = scratch.dir("berth-mount-abc");
  scratch.dir("berth-empty-abc");
  write_file(scratch / "source/file", "text");
  ASSERT_EQ(::mount((scratch / "source").c_str(), stale.c_str(), nullptr, MS_BIND, nullptr), 0);
  EXPECT_TRUE(remove_stale_mount_points(scratch.path()).ok());
  EXPECT_FALSE(exists(stale));
  EXPECT_FALSE(exists(scratch / "berth-empty-abc"));
  EXPECT_EQ(read_file(scratch / "source/file"), "text");
}

}  // namespace
}  // namespace berth::diff_walking
