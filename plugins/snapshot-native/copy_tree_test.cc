#include "copy_tree.h"

#include <berth/fd.h>
#include <berth/file_tree.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

namespace berth::native {
namespace {

namespace fs = std::filesystem;

class CopyTreeTest : public testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/berth-copy-XXXXXX";
    ASSERT_NE(::mkdtemp(name), nullptr);
    folder_ = name;
    for (const char* sub : {"/from", "/to", "/scratch"}) fs::create_directory(folder_ + sub);
  }
  void TearDown() override { EXPECT_TRUE(remove_tree(folder_).ok()); }
  std::string from(const std::string& name) const { return folder_ + "/from/" + name; }
  std::string to(const std::string& name) const { return folder_ + "/to/" + name; }
  void write(const std::string& path, const std::string& text) { std::ofstream(path) << text; }
  std::string read(const std::string& path) {
    std::ifstream file(path);
    return {std::istreambuf_iterator<char>(file), {}};
  }
  void copy() {
    const Status copied = copy_tree(folder_ + "/from", folder_ + "/to", folder_ + "/scratch");
    ASSERT_TRUE(copied.ok()) << copied.to_string();
    EXPECT_TRUE(fs::is_empty(folder_ + "/scratch"));
  }
  struct stat status(const std::string& path) {
    struct stat status {};
    EXPECT_EQ(::lstat(path.c_str(), &status), 0) << path;
    return status;
  }

  std::string folder_;
};

TEST_F(CopyTreeTest, ContentsAndStructure) {
  const std::string big(3'000'000, 'b');
  fs::create_directories(from("a/b/c"));
  write(from("a/file"), "text");
  write(from("a/b/c/big"), big);
  write(from("empty"), "");
  fs::create_symlink("../outside", from("a/link"));
  ASSERT_EQ(::mkfifo(from("fifo").c_str(), 0640), 0);
  copy();
  EXPECT_EQ(read(to("a/file")), "text");
  EXPECT_EQ(read(to("a/b/c/big")), big);
  EXPECT_EQ(status(to("empty")).st_size, 0);
  EXPECT_EQ(fs::read_symlink(to("a/link")), "../outside");
  EXPECT_TRUE(S_ISFIFO(status(to("fifo")).st_mode));
  EXPECT_EQ(status(to("fifo")).st_mode & 0777, 0640U);
}

TEST_F(CopyTreeTest, HardLinksFarApart) {
  fs::create_directories(from("x/y"));
  write(from("x/y/one"), "1");
  ASSERT_EQ(::link(from("x/y/one").c_str(), from("two").c_str()), 0);
  write(from("three"), "3");
  ASSERT_EQ(::link(from("three").c_str(), from("x/four").c_str()), 0);
  copy();
  EXPECT_EQ(status(to("x/y/one")).st_ino, status(to("two")).st_ino);
  EXPECT_EQ(status(to("three")).st_ino, status(to("x/four")).st_ino);
  EXPECT_NE(status(to("two")).st_ino, status(to("three")).st_ino);
  EXPECT_EQ(status(to("two")).st_nlink, 2U);
}

TEST_F(CopyTreeTest, ModesTimesAndAttributes) {
  fs::create_directory(from("locked"));
  write(from("locked/file"), "x");
  ASSERT_EQ(::chmod(from("locked/file").c_str(), 0400), 0);
  const bool attributes = ::lsetxattr(from("locked/file").c_str(), "user.a", "v", 1, 0) == 0 &&
                          ::lsetxattr(from("locked").c_str(), "user.d", "w", 1, 0) == 0;
  const timespec times[2] = {{1, 2}, {1'000'000'000, 987'654'321}};
  ASSERT_EQ(::utimensat(AT_FDCWD, from("locked/file").c_str(), times, 0), 0);
  ASSERT_EQ(::chmod(from("locked").c_str(), 0555), 0);
  ASSERT_EQ(::utimensat(AT_FDCWD, from("locked").c_str(), times, 0), 0);
  ASSERT_EQ(::chmod(from("").c_str(), 0711), 0);
  copy();
  EXPECT_EQ(status(to("locked/file")).st_mode & 07777, 0400U);
  EXPECT_EQ(status(to("locked")).st_mode & 07777, 0555U);
  EXPECT_EQ(status(to("")).st_mode & 07777, 0711U);
  for (const char* name : {"locked", "locked/file"}) {
    EXPECT_EQ(status(to(name)).st_mtim.tv_sec, 1'000'000'000) << name;
    EXPECT_EQ(status(to(name)).st_mtim.tv_nsec, 987'654'321) << name;
  }
  if (attributes) {
    char value[8];
    EXPECT_EQ(::lgetxattr(to("locked/file").c_str(), "user.a", value, sizeof value), 1);
    EXPECT_EQ(value[0], 'v');
    EXPECT_EQ(::lgetxattr(to("locked").c_str(), "user.d", value, sizeof value), 1);
    EXPECT_EQ(value[0], 'w');
  }
  ASSERT_EQ(::chmod(from("locked").c_str(), 0755), 0);  // so that a user can remove it
  ASSERT_EQ(::chmod(to("locked").c_str(), 0755), 0);
}

TEST_F(CopyTreeTest, HolesStayHoles) {
  const UniqueFd fd(::open(from("sparse").c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
  ASSERT_EQ(::pwrite(fd.get(), "x", 1, 10 << 20), 1);
  ASSERT_EQ(::ftruncate(fd.get(), 20 << 20), 0);
  copy();
  EXPECT_EQ(status(to("sparse")).st_size, 20 << 20);
  EXPECT_LT(status(to("sparse")).st_blocks * 512, 1 << 20);
  std::ifstream file(to("sparse"));
  file.seekg(10 << 20);
  EXPECT_EQ(file.get(), 'x');
  EXPECT_EQ(file.get(), 0);
}

TEST_F(CopyTreeTest, FailureNamesThePlace) {
  write(from("file"), "x");
  write(to("file"), "in the way");
  const Status failed = copy_tree(folder_ + "/from", folder_ + "/to", folder_ + "/scratch");
  EXPECT_EQ(failed.code(), Code::kAlreadyExists);
  EXPECT_NE(failed.message().find("from/file"), std::string::npos) << failed.message();
}

}  // namespace
}  // namespace berth::native
