// A disk that fills up in the middle of a copy.
#include <berth/file_tree.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "native.h"

namespace berth::native {
namespace {

namespace fs = std::filesystem;

TEST(NativeOnAFullDisk, PrepareFailsAndLeavesNothing) {
  if (::geteuid() != 0) GTEST_SKIP() << "mounting needs root";
  if (::unshare(CLONE_NEWNS) != 0 ||
      ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) {
    GTEST_SKIP() << "no mount namespace to be had: " << std::strerror(errno);
  }
  char name[] = "/tmp/berth-full-XXXXXX";
  ASSERT_NE(::mkdtemp(name), nullptr);
  const std::string folder = name;
  const berth::Cleanup cleanup([&] {
    ::umount2(folder.c_str(), MNT_DETACH);
    EXPECT_EQ(::rmdir(folder.c_str()), 0);
  });
  ASSERT_EQ(::mount("tmpfs", folder.c_str(), "tmpfs", 0, "size=12m"), 0) << std::strerror(errno);

  SnapshotterOptions options;
  options.root = folder + "/root";
  Native native(options);
  ASSERT_TRUE(native.open().ok());
  Context ctx;
  snapshots_v1::PrepareSnapshotRequest prepare;
  snapshots_v1::PrepareSnapshotResponse response;
  prepare.set_key("base");
  ASSERT_TRUE(native.Prepare(ctx, prepare, &response).ok());
  const std::string base = response.mounts(0).source();
  for (int i = 0; i < 8; ++i) {
    std::ofstream(base + "/file-" + std::to_string(i)) << std::string(1 << 20, 'x');
  }
  snapshots_v1::CommitSnapshotRequest commit;
  google::protobuf::Empty empty;
  commit.set_key("base");
  commit.set_name("layer");
  ASSERT_TRUE(native.Commit(ctx, commit, &empty).ok());

  prepare.set_key("copy");
  prepare.set_parent("layer");
  response.Clear();
  const Status full = native.Prepare(ctx, prepare, &response);
  EXPECT_EQ(full.code(), Code::kResourceExhausted) << full.to_string();
  EXPECT_NE(full.message().find("file-"), std::string::npos) << full.message();
  EXPECT_EQ(std::distance(fs::directory_iterator(folder + "/root/snapshots"), {}), 1);
  EXPECT_TRUE(fs::is_empty(folder + "/root/links"));
  snapshots_v1::StatSnapshotRequest stat;
  snapshots_v1::StatSnapshotResponse info;
  stat.set_key("copy");
  EXPECT_EQ(native.Stat(ctx, stat, &info).code(), Code::kNotFound);
  // With room again it goes on.
  ASSERT_EQ(::mount(nullptr, folder.c_str(), nullptr, MS_REMOUNT, "size=32m"), 0);
  EXPECT_TRUE(native.Prepare(ctx, prepare, &response).ok());
}

}  // namespace
}  // namespace berth::native
