// Needs root: owners, devices, capabilities.
#include "extractor.h"

#include <gmock/gmock.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

#include <atomic>
#include <thread>

#include "testing.h"

namespace berth::diff_walking {
namespace {

using testing::bytes_of;
using testing::exists;
using ::testing::HasSubstr;
using testing::RawTar;
using testing::read_file;
using testing::stat_of;
using testing::TempDir;
using testing::write_file;

class ExtractorTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root";
    root_ = scratch_.dir("root");
    write_file(scratch_ / "outside", "untouched");
    ::chmod((scratch_ / "outside").c_str(), 0600);
  }

  Status extract(const std::string& archive, ExtractOptions options = {}) {
    Result<RootDir> root = RootDir::open(root_);
    if (!root.ok()) return root.status();
    MemorySource source(bytes_of(archive), 1000);
    TarReader reader(&source);
    return Extractor(&*root, std::move(options)).extract(&reader);
  }
  void apply(const RawTar& tar, ExtractOptions options = {}) {
    const Status status = extract(tar.end(), std::move(options));
    ASSERT_TRUE(status.ok()) << status.to_string();
  }
  std::string in(const std::string& name) const { return root_ + "/" + name; }

  /// Nothing of the archive may have had an effect outside of the root.
  void expect_outside_untouched() {
    EXPECT_EQ(read_file(scratch_ / "outside"), "untouched");
    EXPECT_EQ(stat_of(scratch_ / "outside").st_mode & 07777, 0600u);
    std::vector<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(scratch_.path())) {
      names.push_back(entry.path().filename());
    }
    EXPECT_THAT(names, ::testing::UnorderedElementsAre("root", "outside"));
  }

  TempDir scratch_;
  std::string root_;
};

std::string xattr_of(const std::string& path, const char* key) {
  char value[256];
  const ssize_t size = ::lgetxattr(path.c_str(), key, value, sizeof value);
  return size < 0 ? "<none>" : std::string(value, static_cast<size_t>(size));
}

TEST_F(ExtractorTest, MakesAllKindsOfEntries) {
  const std::string capability("\x01\0\0\x02\0\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 20);
  RawTar tar;
  tar.dir("./", "0000700").dir("./etc/", "0001777");
  tar.pax({{"mtime", "1000000000.123456789"},
           {"SCHILY.xattr.security.capability", capability},
           {"SCHILY.xattr.user.note", "hello"},
           {"SCHILY.xattr.trusted.overlay.opaque", "y"}});
  tar.add({.name = "etc/tool",
           .content = "#!/bin/sh",
           .mode = "0006755",
           .uid = "0001750",
           .gid = "0001751"});
  tar.symlink("etc/link", "/etc/tool");
  tar.pax({{"mtime", "1000000000.123456789"}, {"SCHILY.xattr.security.capability", capability}});
  tar.add({.name = "etc/same",
           .type = '1',
           .link = "etc/tool",
           .mode = "0006755",
           .uid = "0001750",
           .gid = "0001751"});
  tar.add(
      {.name = "dev/null", .type = '3', .mode = "0000666", .major = "0000001", .minor = "0000003"});
  tar.add({.name = "dev/sda",
           .type = '4',
           .mode = "0000660",
           .gid = "0000006",
           .major = "0000010",
           .minor = "0000020"});
  tar.add({.name = "run/fifo", .type = '6', .mode = "0000622"});
  tar.file("/abs/file", "absolute");
  apply(tar);

  EXPECT_EQ(stat_of(in("etc")).st_mode, S_IFDIR | 01777u);
  EXPECT_EQ(stat_of(in("etc")).st_mtim.tv_sec, 1700000000) << "set after its content was made";
  const struct stat tool = stat_of(in("etc/tool"));
  EXPECT_EQ(tool.st_mode, S_IFREG | 06755u);
  EXPECT_EQ(tool.st_uid, 1000u);
  EXPECT_EQ(tool.st_gid, 1001u);
  EXPECT_EQ(tool.st_mtim.tv_sec, 1000000000);
  EXPECT_EQ(tool.st_mtim.tv_nsec, 123456789);
  EXPECT_EQ(xattr_of(in("etc/tool"), "security.capability"), capability);
  EXPECT_EQ(xattr_of(in("etc/tool"), "user.note"), "hello");
  EXPECT_EQ(xattr_of(in("etc/tool"), "trusted.overlay.opaque"), "<none>");
  EXPECT_EQ(std::filesystem::read_symlink(in("etc/link")), "/etc/tool");
  EXPECT_EQ(stat_of(in("etc/link")).st_mtim.tv_sec, 1700000000);
  EXPECT_EQ(stat_of(in("etc/same")).st_ino, tool.st_ino);
  EXPECT_EQ(stat_of(in("dev/null")).st_rdev, makedev(1, 3));
  EXPECT_EQ(stat_of(in("dev/null")).st_mode, S_IFCHR | 0666u);
  EXPECT_EQ(stat_of(in("dev/sda")).st_mode, S_IFBLK | 0660u);
  EXPECT_EQ(stat_of(in("dev/sda")).st_gid, 6u);
  EXPECT_EQ(stat_of(in("dev")).st_mode, S_IFDIR | 0755u) << "a parent that no entry describes";
  EXPECT_EQ(stat_of(in("run/fifo")).st_mode, S_IFIFO | 0622u);
  EXPECT_EQ(read_file(in("abs/file")), "absolute");
}

TEST_F(ExtractorTest, IsNotTouchedByTheUmask) {
  const mode_t before = ::umask(0077);
  RawTar tar;
  tar.dir("d/", "0000777").add({.name = "d/f", .mode = "0000666"}).file("implied/f", "");
  apply(tar);
  ::umask(before);
  EXPECT_EQ(stat_of(in("d")).st_mode & 07777, 0777u);
  EXPECT_EQ(stat_of(in("d/f")).st_mode & 07777, 0666u);
  EXPECT_EQ(stat_of(in("implied")).st_mode & 07777, 0755u);
}

TEST_F(ExtractorTest, KeepsHoles) {
  RawTar tar;
  tar.pax({{"GNU.sparse.size", "10000000"}, {"GNU.sparse.map", "5000000,3"}}).file("s", "abc");
  apply(tar);
  const struct stat info = stat_of(in("s"));
  EXPECT_EQ(info.st_size, 10000000);
  EXPECT_LT(info.st_blocks * 512, 100000);
  EXPECT_EQ(read_file(in("s")).substr(5000000, 3), "abc");
}

TEST_F(ExtractorTest, ReplacesFilesAndMergesDirectories) {
  write_file(in("file"), "old");
  write_file(in("file2dir"), "old");
  write_file(in("dir/kept"), "kept");
  write_file(in("dir2file/gone"), "gone");
  write_file(in("target"), "target");
  std::filesystem::create_symlink("target", in("link"));
  std::filesystem::create_symlink("dir", in("link2dir"));
  RawTar tar;
  tar.file("file", "new").dir("file2dir").dir("dir", "0000700").file("dir2file", "now a file");
  tar.file("link", "no link any more").dir("link2dir").file("link2dir/x", "x");
  apply(tar);
  EXPECT_EQ(read_file(in("file")), "new");
  EXPECT_TRUE(S_ISDIR(stat_of(in("file2dir")).st_mode));
  EXPECT_EQ(read_file(in("dir/kept")), "kept");
  EXPECT_EQ(stat_of(in("dir")).st_mode & 07777, 0700u);
  EXPECT_EQ(read_file(in("dir2file")), "now a file");
  EXPECT_EQ(read_file(in("target")), "target") << "the file was not written through the link";
  EXPECT_EQ(read_file(in("link")), "no link any more");
  EXPECT_FALSE(exists(in("dir/x"))) << "a directory replaces a link";
}

TEST_F(ExtractorTest, ReplacingAFileLeavesItsOtherNames) {
  write_file(in("a"), "shared");
  std::filesystem::create_hard_link(in("a"), in("b"));
  apply(RawTar().file("a", "changed"));
  EXPECT_EQ(read_file(in("b")), "shared");
}

TEST_F(ExtractorTest, FollowsLinksInsideTheRootAsAContainerWould) {
  std::filesystem::create_directories(in("usr/bin"));
  std::filesystem::create_symlink("usr/bin", in("bin"));
  std::filesystem::create_symlink("/berth-no-such/place", in("dangling"));
  apply(RawTar().file("bin/tool", "tool").file("dangling/file", "made"));
  EXPECT_EQ(read_file(in("usr/bin/tool")), "tool");
  EXPECT_EQ(read_file(in("berth-no-such/place/file")), "made");
  expect_outside_untouched();
}

TEST_F(ExtractorTest, WhiteoutsRemove) {
  write_file(in("dir/a"), "a");
  write_file(in("dir/sub/b"), "b");
  write_file(in("other"), "o");
  RawTar tar;
  tar.file("dir/.wh.a", "").file(".wh.other", "").file("dir/.wh.sub", "").file(".wh.absent", "");
  tar.file(".wh..wh.plnk", "");
  apply(tar);
  EXPECT_FALSE(exists(in("dir/a")));
  EXPECT_FALSE(exists(in("dir/sub")));
  EXPECT_FALSE(exists(in("other")));
  EXPECT_TRUE(exists(in("dir")));
  EXPECT_FALSE(exists(in(".wh..wh.plnk")));
}

TEST_F(ExtractorTest, OpaqueDirectoriesKeepWhatTheLayerBrings) {
  write_file(in("dir/old"), "old");
  write_file(in("dir/sub/old"), "old");
  write_file(in("dir/below/old"), "old");
  RawTar tar;
  tar.dir("dir").file("dir/new", "new").file("dir/sub/new", "new").file("dir/.wh..wh..opq", "");
  tar.file("dir/later", "later");
  apply(tar);
  EXPECT_EQ(read_file(in("dir/new")), "new");
  EXPECT_EQ(read_file(in("dir/sub/new")), "new");
  EXPECT_EQ(read_file(in("dir/later")), "later");
  EXPECT_FALSE(exists(in("dir/old")));
  EXPECT_FALSE(exists(in("dir/sub/old")));
  EXPECT_FALSE(exists(in("dir/below")));
}

TEST_F(ExtractorTest, WhiteoutsDoNotRemoveWhatTheSameLayerBrings) {
  write_file(in("dir/old"), "old");
  RawTar tar;
  tar.dir("dir")
      .file("dir/new", "new")
      .file("file", "new")
      .file(".wh.dir", "")
      .file(".wh.file", "");
  apply(tar);
  EXPECT_EQ(read_file(in("dir/new")), "new");
  EXPECT_EQ(read_file(in("file")), "new");
  EXPECT_FALSE(exists(in("dir/old")));
}

TEST_F(ExtractorTest, ConvertsWhiteoutsForAnOverlay) {
  RawTar tar;
  tar.file("dir/.wh.gone", "").dir("opaque").file("opaque/.wh..wh..opq", "").file("opaque/f", "");
  tar.file(".wh.again", "").dir("again").file("again/f", "");
  tar.file(".wh.file", "").file("file", "new");
  apply(tar, {.whiteouts = Whiteouts::kOverlay});
  EXPECT_EQ(stat_of(in("dir/gone")).st_mode & S_IFMT, S_IFCHR + 0u);
  EXPECT_EQ(stat_of(in("dir/gone")).st_rdev, makedev(0, 0));
  EXPECT_EQ(xattr_of(in("opaque"), "trusted.overlay.opaque"), "y");
  EXPECT_TRUE(exists(in("opaque/f")));
  EXPECT_EQ(xattr_of(in("again"), "trusted.overlay.opaque"), "y")
      << "what the whiteout hid must not shine through";
  EXPECT_EQ(read_file(in("file")), "new");
}

TEST_F(ExtractorTest, TakesImpliedDirectoriesFromTheLowerLayers) {
  TempDir lower;
  std::filesystem::create_directories(lower / "top/a");
  std::filesystem::create_directories(lower / "bottom/a/b");
  ASSERT_EQ(::chmod((lower / "top/a").c_str(), 0711), 0);
  ASSERT_EQ(::chown((lower / "bottom/a/b").c_str(), 12, 13), 0);
  ASSERT_EQ(::setxattr((lower / "bottom/a/b").c_str(), "user.x", "1", 1, 0), 0);
  apply(RawTar().file("a/b/c/file", ""),
        {.whiteouts = Whiteouts::kOverlay, .lower_dirs = {lower / "top", lower / "bottom"}});
  EXPECT_EQ(stat_of(in("a")).st_mode & 07777, 0711u);
  EXPECT_EQ(stat_of(in("a/b")).st_uid, 12u);
  EXPECT_EQ(xattr_of(in("a/b"), "user.x"), "1");
  EXPECT_EQ(stat_of(in("a/b/c")).st_mode & 07777, 0755u);
}

TEST_F(ExtractorTest, RefusesNamesThatClimbOut) {
  for (const std::string name : {"../outside", "a/../../outside", "/../outside", "..", "a/../.."}) {
    const Status status = extract(RawTar().file(name, "evil").end());
    EXPECT_EQ(status.code(), Code::kInvalidArgument) << name;
    EXPECT_THAT(status.message(), HasSubstr("\"" + name + "\""));
  }
  for (const std::string link : {"../outside", "/../outside", "a/../../outside"}) {
    const Status status = extract(RawTar().hard_link("x", link).end());
    EXPECT_EQ(status.code(), Code::kInvalidArgument) << link;
  }
  for (const std::string name : {".wh...", ".wh..", ".wh.", "a/.wh..."}) {
    EXPECT_EQ(extract(RawTar().file(name, "").end()).code(), Code::kInvalidArgument) << name;
  }
  expect_outside_untouched();
}

// CVE-2021-32760, CVE-2025-47290: nothing is written, linked or removed through a link that leaves
// the root.
TEST_F(ExtractorTest, LinksDoNotLeadOut) {
  const std::string outside = scratch_.path();
  RawTar tar;
  tar.symlink("abs", outside).file("abs/outside", "evil").file("abs/new", "evil");
  tar.symlink("rel", "../../../../../.." + outside).file("rel/outside", "evil");
  tar.symlink("up", "..").file("up/outside", "evil").file("up/.wh.outside", "");
  tar.hard_link("stolen", "abs/outside");
  const Status status = extract(tar.end());
  expect_outside_untouched();
  EXPECT_TRUE(status.ok()) << status.to_string();
  EXPECT_EQ(read_file(in("stolen")), "evil") << "the link leads to the name inside the root";
  EXPECT_EQ(stat_of(scratch_ / "outside").st_nlink, 1u);
}

// CVE-2021-32760: modes and owners were set through symbolic links.
TEST_F(ExtractorTest, ModesAndOwnersAreNotSetThroughSymbolicLinks) {
  RawTar tar;
  tar.add({.name = "link",
           .type = '2',
           .link = scratch_ / "outside",
           .mode = "0004777",
           .uid = "0001750"});
  tar.add({.name = "linkedlink", .type = '1', .link = "link", .mode = "0004777", .uid = "0001750"});
  apply(tar);
  expect_outside_untouched();
  EXPECT_EQ(stat_of(scratch_ / "outside").st_uid, 0u);
  EXPECT_EQ(stat_of(scratch_ / "outside").st_mode & 07777, 0600u);
  EXPECT_TRUE(S_ISLNK(stat_of(in("linkedlink")).st_mode)) << "the link itself, not its target";
}

TEST_F(ExtractorTest, TheLastNameOfAFileHasTheSayAboutItsAttributes) {
  RawTar tar;
  tar.file("first", "text");
  tar.pax({{"mtime", "1000000000"}});
  tar.add({.name = "second",
           .type = '1',
           .link = "first",
           .mode = "0004750",
           .uid = "0001750",
           .gid = "0001751"});
  apply(tar);
  const struct stat first = stat_of(in("first"));
  EXPECT_EQ(first.st_ino, stat_of(in("second")).st_ino);
  EXPECT_EQ(first.st_mode, S_IFREG | 04750u);
  EXPECT_EQ(first.st_uid, 1000u);
  EXPECT_EQ(first.st_gid, 1001u);
  EXPECT_EQ(first.st_mtim.tv_sec, 1000000000);
}

// CVE-2025-47290: between the check of a path and its use, somebody else turns a directory into a
// link.
TEST_F(ExtractorTest, LosesNoRaceAgainstSomebodyWhoSwapsDirectoriesForLinks) {
  std::filesystem::create_directories(scratch_ / "root/dir");
  std::filesystem::create_directory_symlink(scratch_.path(), in("evil"));
  std::atomic<bool> stop{false};
  std::thread attacker([&] {
    const std::string dir = in("dir");
    const std::string evil = in("evil");
    while (!stop) {
      (void)::renameat2(AT_FDCWD, dir.c_str(), AT_FDCWD, evil.c_str(), RENAME_EXCHANGE);
    }
  });
  RawTar tar;
  for (int i = 0; i < 300; ++i) {
    // Two parents in turn, so that each entry resolves its parent anew.
    tar.file("dir/outside", "evil").file("x/" + std::to_string(i), "");
  }
  (void)extract(
      tar.end());  // may fail, for example when the directory is a link at the wrong moment
  stop = true;
  attacker.join();
  expect_outside_untouched();
}

// The parent's descriptor is kept between entries; not when an entry has changed what its path
// leads to.
TEST_F(ExtractorTest, AParentThatIsReplacedIsResolvedAnew) {
  std::filesystem::create_directories(in("real"));
  RawTar tar;
  tar.file("dir/a", "1").file("dir/b", "2").symlink("dir", "real").file("dir/c", "3");
  tar.dir("dir").file("dir/d", "4").file(".wh.real", "");
  apply(tar);
  EXPECT_EQ(read_file(in("dir/d")), "4");
  EXPECT_FALSE(exists(in("dir/a")));
  EXPECT_FALSE(exists(in("dir/c")));
}

TEST_F(ExtractorTest, DevicesAreNotOpened) {
  // Content of a name that is a device below must not go into the device.
  ASSERT_EQ(::mknod(in("disk").c_str(), S_IFCHR | 0600, makedev(1, 7)),
            0);  // /dev/full: a write would fail
  apply(RawTar().file("disk", "data"));
  EXPECT_EQ(read_file(in("disk")), "data");
}

TEST_F(ExtractorTest, NamesTheEntryThatFailed) {
  write_file(in("file"), "");
  const Status status = extract(RawTar().file("file/below", "").end());
  EXPECT_EQ(status.code(), Code::kInvalidArgument) << status.to_string();
  EXPECT_THAT(status.message(), HasSubstr("\"file/below\""));
  const Status missing = extract(RawTar().hard_link("x", "no/such").end());
  EXPECT_THAT(missing.message(), HasSubstr("\"no/such\""));
}

TEST_F(ExtractorTest, ALinkToItselfKeepsTheFile) {
  apply(RawTar().file("a", "text").hard_link("a", "a").hard_link("b", "a").hard_link("b", "./a"));
  EXPECT_EQ(read_file(in("a")), "text");
  EXPECT_EQ(read_file(in("b")), "text");
}

}  // namespace
}  // namespace berth::diff_walking
