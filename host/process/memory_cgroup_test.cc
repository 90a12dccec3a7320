#include "process/memory_cgroup.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

namespace berth::process {
namespace {

using ::testing::HasSubstr;

constexpr const char* kOne =
    "25 1 0:23 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755\n"
    "26 25 0:24 / /sys/fs/cgroup/cpu rw shared:9 - cgroup cgroup rw,cpu\n"
    "27 25 0:25 / /sys/fs/cgroup/memory rw shared:10 master:2 - cgroup cgroup rw,memory\n"
    "28 25 0:26 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";
constexpr const char* kTwo =
    "28 25 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n";

TEST(MemoryHierarchyTest, VersionOneWhereItHasTheController) {
  const auto found = memory_hierarchy(kOne, "4:memory:/some/where\n1:cpu:/\n0::/else\n");
  ASSERT_TRUE(found.ok()) << found.status().to_string();
  EXPECT_FALSE(found->unified);
  EXPECT_EQ(found->mount, "/sys/fs/cgroup/memory");
  EXPECT_EQ(found->own, "/some/where");
  EXPECT_EQ(parent_in(*found).value(), "/sys/fs/cgroup/memory/some/where");
}

TEST(MemoryHierarchyTest, VersionTwo) {
  const auto found = memory_hierarchy(kTwo, "0::/system.slice/berthd.service\n");
  ASSERT_TRUE(found.ok()) << found.status().to_string();
  EXPECT_TRUE(found->unified);
  EXPECT_EQ(found->own, "/system.slice/berthd.service");
}

TEST(MemoryHierarchyTest, AMountThatShowsAPart) {
  const std::string mount = "27 25 0:25 /box /cg rw - cgroup cgroup rw,memory\n";
  EXPECT_EQ(memory_hierarchy(mount, "4:memory:/box/a\n")->own, "/a");
  EXPECT_EQ(memory_hierarchy(mount, "4:memory:/box\n")->own, "/");
  EXPECT_THAT(memory_hierarchy(mount, "4:memory:/boxer\n").status().message(),
              HasSubstr("/boxer is not below /cg"));
}

TEST(MemoryHierarchyTest, SaysWhatIsMissing) {
  EXPECT_THAT(memory_hierarchy("25 1 0:23 / / rw - ext4 /dev/x rw\n", "").status().message(),
              HasSubstr("no cgroup file system"));
  EXPECT_THAT(memory_hierarchy(kOne, "1:cpu:/\n").status().message(),
              HasSubstr("in no cgroup with memory"));
}

/// A folder in the place of a hierarchy: what is looked for is found, what the kernel would do is
/// not done.
class MemoryCgroupTest : public ::testing::Test {
 protected:
  MemoryCgroupTest() {
    folder_ = std::filesystem::temp_directory_path().string() + "/berth-cgroup.XXXXXX";
    EXPECT_NE(::mkdtemp(folder_.data()), nullptr);
  }
  ~MemoryCgroupTest() override { std::filesystem::remove_all(folder_); }
  void give(const std::string& where, const char* what) const {
    std::filesystem::create_directories(folder_ + where);
    std::ofstream(folder_ + where + "/cgroup.subtree_control") << what << "\n";
  }

  std::string folder_;
};

// The kernel refuses controllers to the children of a cgroup that has processes, this one's own
// above all.
TEST_F(MemoryCgroupTest, OfVersionTwoTheNearestThatGivesTheController) {
  const MemoryHierarchy hierarchy{true, folder_, "/outer/middle/own"};
  give("/outer/middle/own", "");
  EXPECT_THAT(parent_in(hierarchy).status().message(),
              HasSubstr("no cgroup from /outer/middle/own"));
  give("", "cpu memory pids");
  EXPECT_EQ(parent_in(hierarchy).value(), folder_);
  give("/outer", "memory");
  give("/outer/middle", "cpu hugememory");
  EXPECT_EQ(parent_in(hierarchy).value(), folder_ + "/outer");
}

TEST_F(MemoryCgroupTest, WhereTheKernelDoesNotTakeTheLimitNothingIsLeft) {
  const auto made = MemoryCgroup::make_in({false, folder_, "/"}, "x", 1 << 20);
  EXPECT_THAT(made.status().message(), HasSubstr("/memory.limit_in_bytes"));
  EXPECT_TRUE(std::filesystem::is_empty(folder_));
  EXPECT_THAT(MemoryCgroup::make_in({false, folder_, "/none"}, "x", 1 << 20).status().message(),
              HasSubstr("make cgroup " + folder_ + "/none/berth-plugin-"));
}

TEST_F(MemoryCgroupTest, WhatADaemonThatIsGoneHasLeftIsRemoved) {
  const pid_t gone = ::fork();
  if (gone == 0) ::_exit(0);
  ASSERT_EQ(::waitpid(gone, nullptr, 0), gone);
  const std::string prefix = folder_ + "/berth-plugin-";
  const std::string left = prefix + std::to_string(gone) + "-1-x";
  const std::string of_one_that_runs = prefix + std::to_string(::getppid()) + "-1-x";
  for (const std::string& one : {left, of_one_that_runs, prefix + "mine"}) {
    std::filesystem::create_directory(one);
  }
  (void)MemoryCgroup::make_in({false, folder_, "/"}, "x", 1 << 20);
  EXPECT_FALSE(std::filesystem::exists(left));
  EXPECT_TRUE(std::filesystem::exists(of_one_that_runs));
  EXPECT_TRUE(std::filesystem::exists(prefix + "mine"));
}

}  // namespace
}  // namespace berth::process
