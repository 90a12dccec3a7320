#include "process/memory_cgroup.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

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

// The kernel refuses controllers to the children of a cgroup that has processes, this one's own
// above all.
TEST(MemoryHierarchyTest, OfVersionTwoTheNearestThatGivesTheController) {
  std::string folder = std::filesystem::temp_directory_path().string() + "/berth-cgroup.XXXXXX";
  ASSERT_NE(::mkdtemp(folder.data()), nullptr);
  std::filesystem::create_directories(folder + "/outer/middle/own");
  const auto give = [&](const std::string& where, const char* what) {
    std::ofstream(folder + where + "/cgroup.subtree_control") << what << "\n";
  };
  const MemoryHierarchy hierarchy{true, folder, "/outer/middle/own"};
  give("/outer/middle/own", "");
  EXPECT_THAT(parent_in(hierarchy).status().message(),
              HasSubstr("no cgroup from /outer/middle/own"));
  give("", "cpu memory pids");
  EXPECT_EQ(parent_in(hierarchy).value(), folder);
  give("/outer", "memory");
  give("/outer/middle", "cpu hugememory");
  EXPECT_EQ(parent_in(hierarchy).value(), folder + "/outer");
  std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace berth::process
