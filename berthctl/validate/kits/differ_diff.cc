// Level "serves", for differs: layers made.
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <filesystem>

#include "testing/snapshotter_suite.h"
#include "testing/suite_files.h"
#include "validate/kits/differ_kit.h"

namespace berth::ctl::validate {

namespace fs = std::filesystem;
using berth::testing::write;

namespace {

void set_time(const std::string& path, time_t seconds) {
  const timespec times[2] = {{seconds, 0}, {seconds, 0}};
  EXPECT_EQ(::utimensat(AT_FDCWD, path.c_str(), times, AT_SYMLINK_NOFOLLOW), 0) << path;
}

/// A tree with something of each kind.
void make_lower(const std::string& root) {
  for (const char* name : {"/same", "/changed", "/removed", "/becomes-dir", "/mode", "/owner"}) {
    write(root + name, std::string("1 of ") + name);
  }
  for (const char* name : {"/dir", "/dir/sub", "/removed-dir", "/becomes-file", "/moded-dir"}) {
    fs::create_directory(root + name);
  }
  write(root + "/dir/sub/deep", "1");
  write(root + "/removed-dir/inside", "1");
  write(root + "/becomes-file/inside", "1");
  fs::create_symlink("same", root + "/link");
  fs::create_symlink("same", root + "/link-changed");
  EXPECT_EQ(::link((root + "/same").c_str(), (root + "/same-too").c_str()), 0);
  for (const auto& entry : fs::recursive_directory_iterator(root)) {
    set_time(entry.path(), 1'500'000'000);
  }
}

void change(const std::string& root) {
  write(root + "/changed", "2, and longer than it was");
  fs::remove(root + "/removed");
  fs::remove(root + "/becomes-dir");
  fs::create_directory(root + "/becomes-dir");
  write(root + "/becomes-dir/inside", "2");
  fs::remove_all(root + "/becomes-file");
  write(root + "/becomes-file", "2");
  fs::remove_all(root + "/removed-dir");
  EXPECT_EQ(::chmod((root + "/mode").c_str(), 04711), 0);
  EXPECT_EQ(::chown((root + "/owner").c_str(), 12, 34), 0);
  EXPECT_EQ(::chmod((root + "/moded-dir").c_str(), 01777), 0);
  write(root + "/dir/sub/new", std::string(100'000, '2'));
  fs::remove(root + "/link-changed");
  fs::create_symlink("dir/sub/new", root + "/link-changed");
  fs::create_directories(root + "/new/" + std::string(150, 'n') + "/" + std::string(150, 'm'));
  write(root + "/new/one", "x");
  EXPECT_EQ(::link((root + "/new/one").c_str(), (root + "/new/two").c_str()), 0);
  EXPECT_EQ(::mkfifo((root + "/new/fifo").c_str(), 0640), 0);
  EXPECT_EQ(::mknod((root + "/new/null").c_str(), S_IFCHR | 0666, makedev(1, 3)), 0);
  write(root + "/new/attribute", "x");
  EXPECT_EQ(::lsetxattr((root + "/new/attribute").c_str(), "user.berth", "value", 5, 0), 0);
  write(root + "/new/\xc3\xa4 name", "x");
}

}  // namespace

TEST_F(DifferKit, ALayerMadeGivesTheTree) {
  const std::string a = folder("a");
  const std::string b = folder("b");
  make_lower(a);
  ASSERT_EQ(std::system(("cp -a '" + a + "/.' '" + b + "'").c_str()), 0);
  change(b);
  for (const char* media_type : {kPlainLayer, kGzipLayer, kZstdLayer, ""}) {
    if (media_type == std::string_view(kZstdLayer) &&
        diff({bind(a, false)}, {bind(b, false)}, media_type).status().code() ==
            Code::kUnimplemented) {
      continue;
    }
    expect_same_tree(a, b, {bind(a, false)}, {bind(b, false)}, media_type);
  }
  EXPECT_EQ(content_->ingests(), std::set<std::string>()) << "ingests are left";
}

TEST_F(DifferKit, ALayerOfAnOverlay) {
  const std::string a = folder("a");
  const std::string upper = folder("upper");
  const std::string target = folder("mnt");
  make_lower(a);
  const containerd::types::Mount mount = overlay(a, upper, folder("work"));
  if (!berth::testing::make_mounts({mount}, target).ok()) GTEST_SKIP() << "no overlayfs here";
  change(target);
  fs::remove_all(target + "/dir");
  fs::create_directory(target + "/dir");  // opaque
  write(target + "/dir/only", "2");
  const std::string b = folder("b");
  ASSERT_EQ(std::system(("cp -a '" + target + "/.' '" + b + "'").c_str()), 0);
  ASSERT_EQ(::umount2(target.c_str(), 0), 0);
  expect_same_tree(a, b, {bind(a, false)}, {mount}, kGzipLayer);
}

TEST_F(DifferKit, AgainstNothing) {
  const std::string a = folder("a");
  const std::string b = folder("b");
  make_lower(b);
  change(b);
  expect_same_tree(a, b, {bind(a, false)}, {bind(b, false)}, kPlainLayer);
  expect_same_tree(a, b, {}, {bind(b, false)}, kPlainLayer);
}

TEST_F(DifferKit, OfNoChange) {
  const std::string a = folder("a");
  const std::string b = folder("b");
  make_lower(a);
  ASSERT_EQ(std::system(("cp -a '" + a + "/.' '" + b + "'").c_str()), 0);
  expect_same_tree(a, b, {bind(a, false)}, {bind(b, false)}, kGzipLayer);
}

TEST_F(DifferKit, TheSameAgainIsTheSameLayer) {
  const std::string a = folder("a");
  const std::string b = folder("b");
  make_lower(a);
  ASSERT_EQ(std::system(("cp -a '" + a + "/.' '" + b + "'").c_str()), 0);
  write(b + "/new", "x");
  const auto first = diff({bind(a, false)}, {bind(b, false)}, kGzipLayer, "my ref");
  ASSERT_TRUE(first.ok()) << first.status().to_string();
  const auto second = diff({bind(a, false)}, {bind(b, false)}, kGzipLayer, "my ref");
  ASSERT_TRUE(second.ok()) << "a layer that is in the store already: "
                           << second.status().to_string();
  EXPECT_EQ(second->digest(), first->digest());
  EXPECT_EQ(content_->ingests(), std::set<std::string>()) << "ingests are left";
}

TEST_F(DifferKit, AFullStoreIsToldAndLeavesNothing) {
  const std::string b = folder("b");
  write(b + "/file", std::string(3U << 20, 'x'));
  content_->be_full();
  const auto made = diff({bind(folder("a"), false)}, {bind(b, false)}, kPlainLayer);
  EXPECT_EQ(made.status().code(), Code::kResourceExhausted)
      << "the store's own words are lost: " << made.status().to_string();
  EXPECT_EQ(content_->ingests(), std::set<std::string>())
      << "an ingest is left that nobody knows the name of";
}

}  // namespace berth::ctl::validate
