#include <berth/file_tree.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mount.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>

namespace berth {
namespace {

namespace fs = std::filesystem;

class FileTreeTest : public testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/berth-tree-XXXXXX";
    ASSERT_NE(::mkdtemp(name), nullptr);
    folder_ = name;
  }
  void TearDown() override { EXPECT_TRUE(remove_tree(folder_).ok()); }
  std::string path(const std::string& name) const { return folder_ + "/" + name; }
  void write(const std::string& name, size_t bytes) {
    std::ofstream(path(name)) << std::string(bytes, 'x');
  }

  std::string folder_;
};

TEST_F(FileTreeTest, UsageCountsHardLinksOnceAndTheRoot) {
  fs::create_directories(path("a/b"));
  write("a/file", 10'000);
  fs::create_hard_link(path("a/file"), path("a/b/again"));
  fs::create_symlink("/etc", path("a/link"));
  const auto usage = tree_usage(folder_);
  ASSERT_TRUE(usage.ok()) << usage.status().to_string();
  EXPECT_EQ(usage->inodes, 5);  // root, a, b, file, link
  int64_t blocks = 0;
  for (const char* name : {"", "a", "a/b", "a/file", "a/link"}) {
    struct stat status {};
    ASSERT_EQ(::lstat(path(name).c_str(), &status), 0);
    blocks += status.st_blocks;
  }
  EXPECT_EQ(usage->bytes, blocks * 512);
}

TEST_F(FileTreeTest, UsageStopsWhenCancelled) {
  const auto usage = tree_usage(folder_, [] { return true; });
  ASSERT_FALSE(usage.ok());
  EXPECT_EQ(usage.status().code(), Code::kCancelled);
}

TEST_F(FileTreeTest, RemovesWithoutFollowingLinks) {
  fs::create_directories(path("keep"));
  write("keep/file", 1);
  fs::create_directories(path("tree/sub"));
  fs::create_directory_symlink(path("keep"), path("tree/sub/link"));
  ASSERT_TRUE(remove_tree(path("tree")).ok());
  EXPECT_FALSE(fs::exists(path("tree")));
  EXPECT_TRUE(fs::exists(path("keep/file")));
  EXPECT_TRUE(remove_tree(path("tree")).ok()) << "absent is success";
  fs::create_directory_symlink(path("keep"), path("link"));
  ASSERT_TRUE(remove_tree(path("link")).ok());
  EXPECT_TRUE(fs::exists(path("keep/file")));
}

// Deeper than a path name may be long, than descriptors are many, and than the walk keeps open.
TEST_F(FileTreeTest, DepthIsNoLimit) {
  constexpr int kDepth = 1200;
  ASSERT_EQ(::mkdir(path("deep").c_str(), 0700), 0);
  UniqueFd fd(::open(path("deep").c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  for (int i = 0; i < kDepth; ++i) {
    ASSERT_EQ(::mkdirat(fd.get(), "dddd", 0700), 0);
    fd.reset(::openat(fd.get(), "dddd", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    ASSERT_TRUE(fd);
  }
  UniqueFd file(::openat(fd.get(), "file", O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
  ASSERT_TRUE(file);
  const auto usage = tree_usage(path("deep"));
  ASSERT_TRUE(usage.ok()) << usage.status().to_string();
  EXPECT_EQ(usage->inodes, kDepth + 2);
  ASSERT_TRUE(remove_tree(path("deep")).ok());
  EXPECT_FALSE(fs::exists(path("deep")));
}

TEST_F(FileTreeTest, MountsInsideAreNeitherMeasuredNorRemoved) {
  fs::create_directories(path("tree/mnt"));
  fs::create_directories(path("elsewhere"));
  write("elsewhere/file", 1);
  if (::mount(path("elsewhere").c_str(), path("tree/mnt").c_str(), nullptr, MS_BIND, nullptr) !=
      0) {
    GTEST_SKIP() << "no bind mount here: " << std::strerror(errno);
  }
  const auto usage = tree_usage(path("tree"));
  const Status removed = remove_tree(path("tree"));
  ASSERT_EQ(::umount2(path("tree/mnt").c_str(), MNT_DETACH), 0);
  ASSERT_TRUE(usage.ok());
  EXPECT_EQ(usage->inodes, 1);
  EXPECT_EQ(removed.code(), Code::kFailedPrecondition);
  EXPECT_NE(removed.message().find("tree/mnt"), std::string::npos) << removed.message();
  EXPECT_TRUE(fs::exists(path("elsewhere/file")));
}

TEST_F(FileTreeTest, AWalkFromAnOpenDirectoryEntersNeitherLinksNorMounts) {
  struct Seen : TreeVisitor {
    Status visit(const TreeEntry& entry) override {
      names.emplace_back(entry.name);
      return {};
    }
    Status mount_point(const TreeEntry& entry) override {
      names.emplace_back(std::string("mount ") + entry.name);
      return {};
    }
    std::vector<std::string> names;
  } seen;
  fs::create_directories(path("tree/sub"));
  write("tree/sub/file", 1);
  fs::create_directory_symlink("sub", path("tree/link"));
  const UniqueFd tree(::open(path("tree").c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  EXPECT_TRUE(walk_tree_at(tree.get(), "sub", seen).ok());
  EXPECT_TRUE(walk_tree_at(tree.get(), ".", seen).ok());
  std::sort(seen.names.begin(), seen.names.end());
  EXPECT_EQ(seen.names, (std::vector<std::string>{"file", "file", "link"}));
  EXPECT_FALSE(walk_tree_at(tree.get(), "link", seen).ok());
  if (::mount(path("tree/sub").c_str(), path("tree/sub").c_str(), nullptr, MS_BIND, nullptr) != 0) {
    GTEST_SKIP() << "no bind mount here: " << std::strerror(errno);
  }
  seen.names.clear();
  EXPECT_TRUE(walk_tree_at(tree.get(), "sub", seen).ok());
  ASSERT_EQ(::umount2(path("tree/sub").c_str(), MNT_DETACH), 0);
  EXPECT_EQ(seen.names, std::vector<std::string>{"mount sub"});
}

TEST_F(FileTreeTest, SyncNamesWhatIsMissing) {
  EXPECT_TRUE(sync_file_system(folder_).ok());
  const Status missing = sync_file_system(path("absent"));
  EXPECT_EQ(missing.code(), Code::kNotFound);
  EXPECT_NE(missing.message().find("absent"), std::string::npos);
}

}  // namespace
}  // namespace berth
