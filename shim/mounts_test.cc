// Needs root: mounts.
#include "mounts.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

namespace berth::shim {
namespace {

class RootfsTest : public testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root";
    char name[] = "/tmp/berth-shim-mounts-XXXXXX";
    folder_ = ::mkdtemp(name);
  }
  void TearDown() override {
    if (folder_.empty()) return;
    EXPECT_TRUE(unmount_rootfs(folder_ + "/rootfs").ok());
    std::filesystem::remove_all(folder_);
  }
  void write(const std::string& name) {
    std::filesystem::create_directories(std::filesystem::path(folder_ + "/" + name).parent_path());
    std::ofstream(folder_ + "/" + name) << name;
  }
  bool is_there(const std::string& name) { return std::filesystem::exists(folder_ + "/" + name); }

  std::string folder_;
};

TEST_F(RootfsTest, IsAFileBehindALoopDevice) {
  write("tree/file");
  const std::string image = folder_ + "/image";
  ASSERT_EQ(std::system(("mkfs.ext4 -q -d " + folder_ + "/tree " + image + " 4M").c_str()), 0);
  const Status mounted = mount_rootfs({{"ext4", image, "", {"loop", "ro"}}}, folder_ + "/rootfs");
  ASSERT_TRUE(mounted.ok()) << mounted.to_string();
  EXPECT_TRUE(is_there("rootfs/file"));
  EXPECT_FALSE(std::ofstream(folder_ + "/rootfs/new").is_open());
  EXPECT_TRUE(unmount_rootfs(folder_ + "/rootfs").ok());
  EXPECT_FALSE(is_there("rootfs/file"));
}

TEST_F(RootfsTest, WhatWasMountedBeforeAFailureIsUnmounted) {
  write("below/file");
  const Status mounted = mount_rootfs(
      {{"bind", folder_ + "/below", "", {"rbind"}}, {"ext4", folder_ + "/no-such", "", {"loop"}}},
      folder_ + "/rootfs");
  EXPECT_EQ(mounted.code(), Code::kNotFound);
  EXPECT_NE(mounted.message().find(folder_ + "/no-such"), std::string::npos) << mounted.to_string();
  EXPECT_FALSE(is_there("rootfs/file"));
}

}  // namespace
}  // namespace berth::shim
