// Layers from mounts and onto mounts, whole. Needs root.
#include <gmock/gmock.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

#include "apply.h"
#include "compare.h"
#include "compress.h"
#include "tar_reader.h"
#include "testing.h"

namespace berth::diff_walking {
namespace {

using testing::bytes_of;
using ::testing::ElementsAre;
using testing::exists;
using ::testing::HasSubstr;
using testing::RawTar;
using testing::read_file;
using testing::stat_of;
using testing::StringSink;
using testing::TempDir;
using testing::write_file;

std::string gzip(const std::string& text) {
  StringSink sink;
  const auto compressor = make_compressor(Compression::kGzip, &sink);
  EXPECT_TRUE(compressor->write(bytes_of(text)).ok());
  EXPECT_TRUE(compressor->finish().ok());
  return sink.text;
}

/// "d 755 0:0 dir/", "f 644 0:0 name=content", "l link->target", "h name->target", "w .wh.x": one
/// line per entry.
std::vector<std::string> listing(const std::string& archive) {
  MemorySource source(bytes_of(archive));
  TarReader reader(&source);
  std::vector<std::string> out;
  TarEntry entry;
  while (true) {
    const Result<bool> more = reader.next(&entry);
    EXPECT_TRUE(more.ok()) << more.status().to_string();
    if (!more.ok() || !*more) return out;
    std::string content;
    for (auto chunk = reader.read(); chunk.ok() && !chunk->bytes.empty(); chunk = reader.read()) {
      content.append(reinterpret_cast<const char*>(chunk->bytes.data()), chunk->bytes.size());
    }
    switch (entry.type) {
      case TarType::kDirectory:
        out.push_back("d " + entry.name);
        break;
      case TarType::kFile:
        out.push_back("f " + entry.name + (content.empty() ? "" : "=" + content.substr(0, 20)));
        break;
      case TarType::kSymlink:
        out.push_back("l " + entry.name + "->" + entry.link_target);
        break;
      case TarType::kHardLink:
        out.push_back("h " + entry.name + "->" + entry.link_target);
        break;
      default:
        out.push_back("n " + entry.name + " " + std::to_string(entry.dev_major) + ":" +
                      std::to_string(entry.dev_minor));
    }
  }
}

class LayerTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root";
    temp_ = scratch_.dir("temp");
  }
  void TearDown() override {
    if (::geteuid() != 0) return;
    EXPECT_TRUE(std::filesystem::is_empty(temp_)) << "mount points were left";
  }

  Result<StreamSummary> apply(const std::string& blob, const std::vector<Mount>& mounts,
                              const std::string& digest = {}, uint64_t size = 0) {
    MemorySource source(bytes_of(blob), 65536);
    return apply_layer(&source, {digest.empty() ? digest_of(blob).string() : digest, size}, mounts,
                       {true, temp_});
  }
  void applied(const std::string& blob, const std::vector<Mount>& mounts) {
    const Result<StreamSummary> result = apply(blob, mounts);
    ASSERT_TRUE(result.ok()) << result.status().to_string();
  }

  /// The plain archive.
  std::string compare(const std::vector<Mount>& left, const std::vector<Mount>& right,
                      std::optional<TarTime> latest = std::nullopt) {
    std::vector<StringSink> sinks(2);
    size_t opened = 0;
    const auto result = compare_mounts(left, right, {Compression::kNone, latest, temp_},
                                       [&]() -> Result<ByteSink*> { return &sinks.at(opened++); });
    EXPECT_TRUE(result.ok()) << result.status().to_string();
    if (!result.ok()) return {};
    EXPECT_EQ(result->layer_digest, digest_of(sinks.at(opened - 1).text).string());
    EXPECT_EQ(result->blob_digest, result->layer_digest);
    opened_ = opened;
    return sinks.at(opened - 1).text;
  }

  Mount bind(const std::string& name) const {
    return {"bind", scratch_ / name, "", {"rbind", "rw"}};
  }
  /// Of directories in the scratch directory, topmost first.
  Mount overlay(const std::vector<std::string>& lower, const std::string& upper = {}) {
    Mount mount{"overlay", "overlay", "", {"index=off"}};
    if (!upper.empty()) {
      mount.options.push_back("workdir=" + scratch_.dir(upper + "-work"));
      mount.options.push_back("upperdir=" + scratch_.dir(upper));
    }
    std::string all;
    for (const std::string& layer : lower) all += (all.empty() ? "" : ":") + scratch_ / layer;
    mount.options.push_back("lowerdir=" + all);
    return mount;
  }

  TempDir scratch_;
  std::string temp_;
  size_t opened_ = 0;
};

TEST_F(LayerTest, ApplyTellsTheDiffId) {
  scratch_.dir("root");
  const std::string archive = RawTar().dir("etc").file("etc/f", "text").end();
  const std::string blob = gzip(archive);
  const auto result = apply(blob, {bind("root")}, {}, blob.size());
  ASSERT_TRUE(result.ok()) << result.status().to_string();
  EXPECT_EQ(result->layer_digest, digest_of(archive).string());
  EXPECT_EQ(result->layer_size, archive.size());
  EXPECT_EQ(read_file(scratch_ / "root/etc/f"), "text");
}

TEST_F(LayerTest, BytesAfterTheArchiveBelongToTheDiffId) {
  scratch_.dir("root");
  const std::string archive = RawTar().file("f", "").end() + std::string(300000, '\0') + "x";
  const auto result = apply(gzip(archive), {bind("root")});
  ASSERT_TRUE(result.ok()) << result.status().to_string();
  EXPECT_EQ(result->layer_digest, digest_of(archive).string());
}

TEST_F(LayerTest, AWrongDigestIsDataLossAndNamesTheBlob) {
  scratch_.dir("root");
  const std::string wrong = digest_of("something else").string();
  const auto result = apply(gzip(RawTar().file("f", "").end()), {bind("root")}, wrong);
  EXPECT_EQ(result.status().code(), Code::kDataLoss);
  EXPECT_THAT(result.status().message(), HasSubstr(wrong));
  // Damage that also breaks the archive is told as damage.
  std::string blob = gzip(RawTar().file("f", std::string(100000, 'x')).end());
  const std::string good = digest_of(blob).string();
  blob[blob.size() / 2] ^= 0x40;
  EXPECT_EQ(apply(blob, {bind("root")}, good).status().code(), Code::kDataLoss);
  EXPECT_EQ(apply(blob.substr(0, blob.size() / 2), {bind("root")}, good).status().code(),
            Code::kDataLoss);
}

TEST_F(LayerTest, AWrongSizeIsDataLoss) {
  scratch_.dir("root");
  const std::string blob = gzip(RawTar().file("f", "").end());
  EXPECT_EQ(apply(blob, {bind("root")}, {}, blob.size() + 1).status().code(), Code::kDataLoss);
}

TEST_F(LayerTest, ABadLayerInAnIntactBlobIsTheLayersFault) {
  scratch_.dir("root");
  const auto climbing = apply(gzip(RawTar().file("../f", "").end()), {bind("root")});
  EXPECT_EQ(climbing.status().code(), Code::kInvalidArgument) << climbing.status().to_string();
  EXPECT_THAT(climbing.status().message(), HasSubstr("../f"));
  const std::string archive = RawTar().file("f", std::string(2000, 'x')).end();
  EXPECT_EQ(apply(gzip(archive.substr(0, 1000)), {bind("root")}).status().code(),
            Code::kOutOfRange);
  const std::string cut = gzip(archive).substr(0, 30);
  EXPECT_EQ(apply(cut, {bind("root")}).status().code(), Code::kOutOfRange);
  EXPECT_EQ(apply("this is no archive", {bind("root")}).status().code(), Code::kOutOfRange);
  EXPECT_FALSE(exists(scratch_ / "f"));
}

TEST_F(LayerTest, ApplyOntoAnOverlayWritesItsUpperDirectory) {
  write_file(scratch_ / "lower/dir/old", "old");
  write_file(scratch_ / "lower/gone", "gone");
  const Mount mount = overlay({"lower"}, "upper");
  RawTar tar;
  tar.file(".wh.gone", "").dir("dir").file("dir/.wh..wh..opq", "").file("dir/new", "new");
  applied(tar.end(), {mount});
  EXPECT_TRUE(S_ISCHR(stat_of(scratch_ / "upper/gone").st_mode));
  const auto tree = MountedTree::mount({mount}, temp_);
  ASSERT_TRUE(tree.ok()) << tree.status().to_string();
  EXPECT_THAT(*sorted_names(tree->root().fd()), ElementsAre("dir"));
  const auto dir = tree->root().open_dir("dir");
  ASSERT_TRUE(dir.ok());
  EXPECT_THAT(*sorted_names(dir->get()), ElementsAre("new"));
}

TEST_F(LayerTest, ApplyMountsWhatItCannotWriteToDirectly) {
  scratch_.dir("root");
  applied(RawTar().file("f", "x").end(), {bind("root"), {"tmpfs", "tmpfs", "/", {"size=1m"}}});
  EXPECT_FALSE(exists(scratch_ / "root/f")) << "it went onto the tmpfs, which is gone";
  const auto read_only =
      apply(RawTar().file("f", "x").end(), {{"bind", scratch_ / "root", "", {"rbind", "ro"}}});
  EXPECT_EQ(read_only.status().code(), Code::kPermissionDenied);
}

TEST_F(LayerTest, CompareFindsWhatHasChanged) {
  for (const std::string side : {"a", "b"}) {
    write_file(scratch_ / (side + "/same"), "same");
    write_file(scratch_ / (side + "/dir/same"), "same");
    write_file(scratch_ / (side + "/content"), "0" + side);
    write_file(scratch_ / (side + "/mode"), "mode");
    write_file(scratch_ / (side + "/owner"), "owner");
  }
  write_file(scratch_ / "a/gone", "");
  write_file(scratch_ / "a/gonedir/sub/file", "");
  write_file(scratch_ / "a/file2dir", "");
  write_file(scratch_ / "a/dir2file/x", "");
  write_file(scratch_ / "b/file2dir/x", "x");
  write_file(scratch_ / "b/dir2file", "y");
  write_file(scratch_ / "b/deep/er/new", "new");
  std::filesystem::create_symlink("target", scratch_ / "b/link");
  ASSERT_EQ(::mkfifo((scratch_ / "b/fifo").c_str(), 0644), 0);
  ASSERT_EQ(::mknod((scratch_ / "b/node").c_str(), S_IFCHR | 0600, makedev(1, 3)), 0);
  ::chmod((scratch_ / "b/mode").c_str(), 0600);
  ASSERT_EQ(::chown((scratch_ / "b/owner").c_str(), 5, 6), 0);
  // All have a time without fraction, as after an unpack: the content decides.
  for (const auto& entry : std::filesystem::recursive_directory_iterator(scratch_.path())) {
    const timespec times[2] = {{1000, 0}, {1000, 0}};
    ::utimensat(AT_FDCWD, entry.path().c_str(), times, AT_SYMLINK_NOFOLLOW);
  }
  EXPECT_THAT(
      listing(compare({bind("a")}, {bind("b")})),
      ElementsAre("f content=0b", "d deep/", "d deep/er/", "f deep/er/new=new", "f dir2file=y",
                  "n fifo 0:0", "d file2dir/", "f file2dir/x=x", "f .wh.gone", "f .wh.gonedir",
                  "l link->target", "f mode=mode", "n node 1:3", "f owner=owner"));
}

TEST_F(LayerTest, CompareIncludesTheParentsOfChanges) {
  write_file(scratch_ / "a/x/y/old", "");
  write_file(scratch_ / "b/x/y/new", "");
  for (const std::string side : {"a", "b"}) {
    ::chmod((scratch_ / (side + "/x")).c_str(), 0711);
  }
  EXPECT_THAT(listing(compare({bind("a")}, {bind("b")})),
              ElementsAre("d x/", "d x/y/", "f x/y/new", "f x/y/.wh.old"));
}

TEST_F(LayerTest, CompareWithNothingWritesAll) {
  write_file(scratch_ / "b/f", "f");
  EXPECT_THAT(listing(compare({}, {bind("b")})), ElementsAre("f f=f"));
  scratch_.dir("a");
  EXPECT_THAT(listing(compare({bind("a")}, {bind("b")})), ElementsAre("f f=f"));
}

TEST_F(LayerTest, HardLinksStayTogether) {
  scratch_.dir("a");
  write_file(scratch_ / "b/one", "text");
  std::filesystem::create_hard_link(scratch_ / "b/one", scratch_ / "b/two");
  EXPECT_THAT(listing(compare({bind("a")}, {bind("b")})), ElementsAre("f one=text", "h two->one"));
}

TEST_F(LayerTest, ALinkAddedToAnUnchangedFileTakesItAlong) {
  write_file(scratch_ / "a/before", "text");
  write_file(scratch_ / "a/zlater", "other");
  std::filesystem::copy(scratch_ / "a", scratch_ / "b");
  std::filesystem::create_hard_link(scratch_ / "b/before", scratch_ / "b/middle");
  std::filesystem::create_hard_link(scratch_ / "b/zlater", scratch_ / "b/new");
  for (const std::string path : {"a/before", "b/before", "a/zlater", "b/zlater"}) {
    const timespec times[2] = {{1000, 0}, {1000, 0}};
    ::utimensat(AT_FDCWD, (scratch_ / path).c_str(), times, 0);
  }
  EXPECT_THAT(listing(compare({bind("a")}, {bind("b")})),
              ElementsAre("f middle=text", "h before->middle", "f new=other", "h zlater->new"));
}

TEST_F(LayerTest, AnOverlayIsComparedByItsUpperDirectory) {
  write_file(scratch_ / "lower/dir/a", "a");
  write_file(scratch_ / "lower/dir/b", "b");
  write_file(scratch_ / "lower/opaque/a", "a");
  write_file(scratch_ / "lower/touched", "t");
  write_file(scratch_ / "base/base", "base");
  const Mount right = overlay({"lower", "base"}, "upper");
  {
    const auto tree = MountedTree::mount({right}, temp_, MountedTree::Method::kAttached);
    ASSERT_TRUE(tree.ok()) << tree.status().to_string();
    const std::string root = tree->mount_point();
    std::filesystem::remove(root + "/dir/a");
    std::filesystem::remove_all(root + "/opaque");
    write_file(root + "/opaque/new", "new");
    write_file(root + "/base", "changed");
    // Opened for writing, so copied up, but the same.
    UniqueFd touched(::open((root + "/touched").c_str(), O_RDWR | O_CLOEXEC));
    ASSERT_TRUE(touched);
  }
  ASSERT_TRUE(exists(scratch_ / "upper/touched"));
  const std::string fast = compare({overlay({"lower", "base"})}, {right});
  EXPECT_EQ(opened_, 1u);
  EXPECT_THAT(listing(fast), ElementsAre("f base=changed", "d dir/", "f dir/.wh.a", "d opaque/",
                                         "f opaque/.wh..wh..opq", "f opaque/new=new"));
  // The way that any file system allows finds the same, but names what is gone one by one.
  const std::string slow = compare(
      {bind("lower"), {"overlay", "overlay", "/", overlay({"lower", "base"}).options}}, {right});
  EXPECT_THAT(listing(slow), ElementsAre("f base=changed", "d dir/", "f dir/.wh.a", "d opaque/",
                                         "f opaque/.wh.a", "f opaque/new=new"));
}

TEST_F(LayerTest, WhatOnlyTheOverlayUnderstandsIsReadThroughTheOverlay) {
  write_file(scratch_ / "lower/dir/a", "a");
  write_file(scratch_ / "base/x", "x");
  Mount right = overlay({"lower", "base"}, "upper");
  right.options.push_back("redirect_dir=on");
  {
    const auto tree = MountedTree::mount({right}, temp_, MountedTree::Method::kAttached);
    if (!tree.ok()) GTEST_SKIP() << tree.status().to_string();
    ASSERT_EQ(
        ::rename((tree->mount_point() + "/dir").c_str(), (tree->mount_point() + "/moved").c_str()),
        0);
  }
  const std::string archive = compare({overlay({"lower", "base"})}, {right});
  EXPECT_EQ(opened_, 2u) << "begun anew";
  EXPECT_THAT(listing(archive), ElementsAre("f .wh.dir", "d moved/", "f moved/a=a"));
}

TEST_F(LayerTest, ALayerAppliedGivesTheTreeItWasMadeFrom) {
  write_file(scratch_ / "a/gone/file", "");
  write_file(scratch_ / "a/kept", "kept");
  std::filesystem::copy(scratch_ / "a", scratch_ / "b", std::filesystem::copy_options::recursive);
  std::filesystem::copy(scratch_ / "a", scratch_ / "copy",
                        std::filesystem::copy_options::recursive);
  std::filesystem::remove_all(scratch_ / "b/gone");
  const std::string long_name = std::string(120, 'n') + "/\xc3\xa4" + std::string(100, 'm');
  write_file(scratch_ / ("b/" + long_name), std::string(700000, 'c'));
  ASSERT_EQ(::lchown((scratch_ / ("b/" + long_name)).c_str(), 3000000, 7), 0);
  std::filesystem::create_symlink(std::string(200, 't'), scratch_ / "b/link");
  const std::string capability("\x01\0\0\x02\0\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 20);
  write_file(scratch_ / "b/tool", "tool");
  ::chmod((scratch_ / "b/tool").c_str(), 04755);
  ASSERT_EQ(::setxattr((scratch_ / "b/tool").c_str(), "security.capability", capability.data(),
                       capability.size(), 0),
            0);
  applied(gzip(compare({bind("a")}, {bind("b")})), {bind("copy")});
  EXPECT_FALSE(exists(scratch_ / "copy/gone"));
  EXPECT_EQ(read_file(scratch_ / "copy/kept"), "kept");
  EXPECT_EQ(read_file(scratch_ / ("copy/" + long_name)), std::string(700000, 'c'));
  EXPECT_EQ(stat_of(scratch_ / ("copy/" + long_name)).st_uid, 3000000u);
  EXPECT_EQ(std::filesystem::read_symlink(scratch_ / "copy/link"), std::string(200, 't'));
  EXPECT_EQ(stat_of(scratch_ / "copy/tool").st_mode & 07777, 04755u);
  EXPECT_EQ(stat_of(scratch_ / "copy/tool").st_mtim.tv_sec,
            stat_of(scratch_ / "b/tool").st_mtim.tv_sec);
  char value[64];
  EXPECT_EQ(::getxattr((scratch_ / "copy/tool").c_str(), "security.capability", value, 64), 20);
}

TEST_F(LayerTest, TimesCanBeBounded) {
  write_file(scratch_ / "a/gone", "");
  write_file(scratch_ / "b/new", "new");
  write_file(scratch_ / "b/old", "old");
  const timespec times[2] = {{1000, 5}, {1000, 5}};
  ::utimensat(AT_FDCWD, (scratch_ / "b/old").c_str(), times, 0);
  const std::string archive = compare({bind("a")}, {bind("b")}, TarTime{5000, 0});
  MemorySource source(bytes_of(archive));
  TarReader reader(&source);
  std::map<std::string, int64_t> seconds;
  TarEntry entry;
  while (*reader.next(&entry)) seconds[entry.name] = entry.mtime.seconds;
  EXPECT_EQ(seconds,
            (std::map<std::string, int64_t>{{".wh.gone", 0}, {"new", 5000}, {"old", 1000}}));
  EXPECT_EQ(compare({bind("a")}, {bind("b")}, TarTime{5000, 0}), archive);
}

// GNU tar is the judge of what is written.
TEST_F(LayerTest, TarReadsWhatIsWritten) {
  if (std::system("tar --version >/dev/null 2>&1") != 0) GTEST_SKIP() << "no tar";
  write_file(scratch_ / "b/dir/file", "text");
  write_file(scratch_ / ("b/" + std::string(200, 'n')), "long");
  ASSERT_EQ(::chown((scratch_ / "b/dir/file").c_str(), 4000000, 5), 0);
  std::filesystem::create_symlink(std::string(150, 't'), scratch_ / "b/link");
  write_file(scratch_ / "layer.tar", compare({}, {bind("b")}));
  scratch_.dir("out");
  const std::string command = "tar -x -f " + scratch_ / "layer.tar" + " -C " + scratch_ / "out" +
                              " --numeric-owner && diff -r --no-dereference " + scratch_ / "b" +
                              " " + scratch_ / "out";
  EXPECT_EQ(std::system(command.c_str()), 0);
  EXPECT_EQ(stat_of(scratch_ / "out/dir/file").st_uid, 4000000u);
}

}  // namespace
}  // namespace berth::diff_walking
