// The shared suite on a btrfs image, mounted over a loop device in the suite's own mount namespace.
#include "btrfs.h"

#include <berth/fd.h>
#include <berth/file_tree.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "testing/snapshotter_suite.h"

namespace berth::testing {
namespace {

namespace fs = std::filesystem;

constexpr off_t kImageSize = 1 << 30;  // sparse

// One file system for all tests of the process.
class Image : public ::testing::Environment {
 public:
  Result<std::string> mount_point() {
    if (folder_.empty()) outcome_ = make();
    BERTH_RETURN_IF_ERROR(outcome_);
    return folder_ + "/fs";
  }
  void TearDown() override {
    if (folder_.empty()) return;
    // The loop device goes with the mount.
    if (outcome_.ok()) {
      EXPECT_EQ(::umount2((folder_ + "/fs").c_str(), 0), 0) << std::strerror(errno);
    }
    EXPECT_TRUE(remove_tree(folder_).ok());
  }

 private:
  Status make() {
    folder_ = "/tmp/berth-btrfs-XXXXXX";
    if (::mkdtemp(folder_.data()) == nullptr) return errno_status(errno, "make " + folder_);
    const std::string image = folder_ + "/image";
    const UniqueFd fd(::open(image.c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0600));
    if (!fd || ::ftruncate(fd.get(), kImageSize) != 0) return errno_status(errno, "make " + image);
    if (std::system("command -v mkfs.btrfs >/dev/null") != 0) {
      return unimplemented("mkfs.btrfs is not installed");
    }
    if (std::system(("mkfs.btrfs -q " + image + " >/dev/null 2>&1").c_str()) != 0)
      return internal_error("mkfs.btrfs failed");
    fs::create_directory(folder_ + "/fs");
    if (std::system(("mount -o loop " + image + " " + folder_ + "/fs").c_str()) != 0) {
      return unimplemented("no btrfs image can be mounted over a loop device here");
    }
    return {};
  }
  std::string folder_;
  Status outcome_;
};

Image* const kImage =
    static_cast<Image*>(::testing::AddGlobalTestEnvironment(new Image));  // gtest owns it

Result<std::unique_ptr<Snapshotter>> open_btrfs(SnapshotterOptions options) {
  auto btrfs = std::make_unique<btrfs::Btrfs>(std::move(options));
  BERTH_RETURN_IF_ERROR(btrfs->open());
  return std::unique_ptr<Snapshotter>(std::move(btrfs));
}

}  // namespace

INSTANTIATE_TEST_SUITE_P(Btrfs, SnapshotterSuite,
                         ::testing::Values(SnapshotterUnderTest{
                             .open = open_btrfs,
                             .folders = {"active", "view", "snapshots"},
                             .base = [] { return kImage->mount_point(); }}));

namespace {

class BtrfsTest : public SnapshotterSuite {};

TEST_P(BtrfsTest, MountsBySubvolumeId) {
  const auto active = prepare("active");
  ASSERT_TRUE(active.ok()) << active.status().to_string();
  ASSERT_EQ(active->size(), 1U);
  EXPECT_EQ(active->front().type(), "btrfs");
  EXPECT_TRUE(active->front().source().starts_with("/dev/loop")) << active->front().source();
  ASSERT_EQ(active->front().options_size(), 1);
  EXPECT_TRUE(active->front().options(0).starts_with("subvolid="));
  ASSERT_TRUE(commit("layer", "active").ok());
  const auto look = view("view", "layer");
  ASSERT_EQ(look->front().options_size(), 2);
  EXPECT_EQ(look->front().options(1), "ro");
}

TEST_P(BtrfsTest, UsageIsOfWhatChanged) {
  layer("base", "", [](const std::string& root) {
    std::ofstream(root + "/big") << std::string(8 << 20, 'x');
    std::ofstream(root + "/touched") << std::string(1 << 20, 'x');
    fs::create_directories(root + "/dir/sub");
    std::ofstream(root + "/dir/sub/file") << "x";
    std::ofstream(root + "/linked") << std::string(1 << 20, 'x');
    fs::create_hard_link(root + "/linked", root + "/link");
  });
  mounted(prepare("active", "base"), [&](const std::string& root) {
    const auto unchanged = usage("active");
    ASSERT_TRUE(unchanged.ok()) << unchanged.status().to_string();
    EXPECT_EQ(unchanged->inodes, 0);
    EXPECT_EQ(unchanged->bytes, 0);
    // Neither reading nor losing a link is a change.
    fs::remove(root + "/link");
    std::ifstream(root + "/big").get();
    std::ofstream(root + "/dir/new") << std::string(2 << 20, 'y');
    std::ofstream(root + "/touched", std::ios::app) << "z";
    fs::create_directory(root + "/dir/sub2");
    fs::remove_all(root + "/dir/sub");
    ::sync();
  });
  const auto changed = usage("active");
  ASSERT_TRUE(changed.ok());
  EXPECT_EQ(changed->inodes, 3);  // new, touched, sub2
  EXPECT_GE(changed->bytes, 3 << 20);
  EXPECT_LT(changed->bytes, 4 << 20);
}

TEST_P(BtrfsTest, SubvolumesMadeInsideGoWithTheSnapshot) {
  mounted(prepare("active"), [](const std::string& root) {
    EXPECT_EQ(std::system(("btrfs -q subvolume create " + root + "/inner").c_str()), 0);
    std::ofstream(root + "/inner/file") << "x";
  });
  ASSERT_TRUE(remove("active").ok());
  expect_nothing_left();
}

INSTANTIATE_TEST_SUITE_P(Btrfs, BtrfsTest,
                         ::testing::Values(SnapshotterUnderTest{
                             .open = open_btrfs,
                             .folders = {"active", "view", "snapshots"},
                             .base = [] { return kImage->mount_point(); }}));

}  // namespace
}  // namespace berth::testing
