// Level "serves", for differs: layers unpacked.
#include <sys/mount.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <filesystem>
#include <thread>

#include "testing/deep_tree.h"
#include "testing/handler_stack.h"
#include "testing/snapshotter_suite.h"
#include "testing/suite_files.h"
#include "validate/kits/differ_kit.h"

namespace berth::ctl::validate {

namespace fs = std::filesystem;
using berth::testing::exists;
using berth::testing::make_deep_tree;
using berth::testing::on_handler_stack;
using berth::testing::read;
using berth::testing::status_of;
using berth::testing::write;

namespace {

Archive small_layer() {
  return Archive()
      .dir("etc")
      .add({.name = "etc/motd", .content = "good day\n", .mode = 0640, .uid = 5, .gid = 6})
      .symlink("motd", "etc/motd");
}

/// The codes that say whose fault it is. A client would try again, or ask for help, where it is
/// none of these.
bool says_it_is_wrong(const Status& status) { return !status.ok() && !status.message().empty(); }

}  // namespace

TEST_F(DifferKit, UnpacksWhatClientsSend) {
  const std::string layer = small_layer().end();
  const struct {
    const char* media_type;
    std::string blob;
    bool optional;
  } kinds[] = {
      {kPlainLayer, layer, false},
      {kGzipLayer, gzipped(layer), false},
      {"application/vnd.docker.image.rootfs.diff.tar.gzip", gzipped(layer), false},
      {kGzipLayer, gzipped(layer.substr(0, 700)) + gzipped(layer.substr(700)), false},
      {kZstdLayer, zstd_compressed(layer), true},
      {kZstdLayer, zstd_compressed(layer.substr(0, 700)) + zstd_compressed(layer.substr(700)),
       true},
  };
  int number = 0;
  for (const auto& [media_type, blob, optional] : kinds) {
    const std::string to = folder("to-" + std::to_string(number++));
    const auto applied = apply(blob, to, media_type);
    if (optional && applied.status().code() == Code::kUnimplemented) continue;
    ASSERT_TRUE(applied.ok()) << media_type << ": " << applied.status().to_string();
    EXPECT_EQ(applied->digest(), digest_of(layer).string())
        << media_type << ": what is answered is the digest of the layer, uncompressed";
    EXPECT_EQ(applied->size(), static_cast<int64_t>(layer.size())) << media_type;
    EXPECT_EQ(applied->media_type(), kPlainLayer);
    EXPECT_EQ(read(to + "/etc/motd"), "good day\n") << media_type;
    EXPECT_EQ(fs::read_symlink(to + "/motd"), "etc/motd") << media_type;
    EXPECT_EQ(status_of(to + "/etc/motd").st_mode & 07777, 0640U) << media_type;
    EXPECT_EQ(status_of(to + "/etc/motd").st_uid, 5U) << media_type;
  }
}

TEST_F(DifferKit, EntriesOfAllKinds) {
  const std::string long_name = std::string(120, 'l') + "/" + std::string(130, 'n');
  const std::string layer =
      Archive()
          .dir("./")
          .add({.name = "dir/", .type = '5', .mode = 02755, .gid = 9, .mtime = 1'500'000'000})
          .add({.name = "dir/setuid", .content = "x", .mode = 04755, .uid = 1000, .gid = 1000})
          .add({.name = "./open", .content = "o", .mode = 0666})
          .add({.name = "sticky", .type = '5', .mode = 01777})
          .add({.name = "dir/other-name",
                .type = '1',
                .link = "dir/setuid",
                .mode = 04755,
                .uid = 1000,
                .gid = 1000})
          .symlink("broken", "no/where")
          .add({.name = "fifo", .type = '6', .mode = 0600})
          .add({.name = "null", .type = '3', .mode = 0666, .major = 1, .minor = 3})
          .pax({{"path", long_name}, {"mtime", "1500000000.123456789"}})
          .file("short", "of a long name")
          .pax({{"SCHILY.xattr.user.berth", "value"}})
          .file("attribute", "x")
          .add({.name = "in/no/entry/of/its/own", .content = "deep"})
          .file("empty", "")
          .file("\xc3\xa4 \n name", "odd")
          .end();
  const std::string to = folder("to");
  const mode_t mask = ::umask(077);  // of the daemon; a layer has its own ideas
  const auto applied = apply(layer, to);
  ::umask(mask);
  ASSERT_TRUE(applied.ok()) << applied.status().to_string();
  EXPECT_EQ(status_of(to + "/dir").st_mode & 07777, 02755U);
  EXPECT_EQ(status_of(to + "/dir").st_gid, 9U);
  EXPECT_EQ(status_of(to + "/dir").st_mtime, 1'500'000'000)
      << "what is unpacked into it does not count";
  EXPECT_EQ(status_of(to + "/dir/setuid").st_mode & 07777, 04755U);
  EXPECT_EQ(status_of(to + "/dir/setuid").st_ino, status_of(to + "/dir/other-name").st_ino);
  EXPECT_EQ(status_of(to + "/open").st_mode & 07777, 0666U);
  EXPECT_EQ(status_of(to + "/open").st_mtime, 1'600'000'000);
  EXPECT_EQ(status_of(to + "/sticky").st_mode & 07777, 01777U);
  EXPECT_EQ(fs::read_symlink(to + "/broken"), "no/where");
  EXPECT_TRUE(S_ISFIFO(status_of(to + "/fifo").st_mode));
  EXPECT_TRUE(S_ISCHR(status_of(to + "/null").st_mode));
  EXPECT_EQ(status_of(to + "/null").st_rdev, makedev(1, 3));
  EXPECT_EQ(read(to + "/" + long_name), "of a long name");
  EXPECT_EQ(status_of(to + "/" + long_name).st_mtime, 1'500'000'000);
  EXPECT_EQ(berth::testing::attribute(to + "/attribute", "user.berth"), "value");
  EXPECT_EQ(read(to + "/in/no/entry/of/its/own"), "deep");
  EXPECT_EQ(status_of(to + "/in/no").st_mode & 07777, 0755U) << "what no entry says anything of";
  EXPECT_EQ(status_of(to + "/empty").st_size, 0);
  EXPECT_EQ(read(to + "/\xc3\xa4 \n name"), "odd");
}

TEST_F(DifferKit, OntoWhatOtherLayersMade) {
  const std::string to = folder("to");
  const std::string first = Archive()
                                .add({.name = "dir", .type = '5', .mode = 0700})
                                .file("dir/kept", "1")
                                .file("dir/replaced", "1")
                                .hard_link("dir/second-name", "dir/replaced")
                                .dir("becomes-file")
                                .file("becomes-file/inside", "1")
                                .file("becomes-dir", "1")
                                .file("target", "1")
                                .symlink("becomes-real", "target")
                                .end();
  const std::string second = Archive()
                                 .dir("dir", 0755)
                                 .file("dir/replaced", "2")
                                 .file("becomes-file", "2")
                                 .dir("becomes-dir")
                                 .file("becomes-dir/inside", "2")
                                 .file("becomes-real", "2")
                                 .end();
  ASSERT_TRUE(apply(first, to).ok());
  const auto applied = apply(second, to);
  ASSERT_TRUE(applied.ok()) << applied.status().to_string();
  EXPECT_EQ(status_of(to + "/dir").st_mode & 07777, 0755U);
  EXPECT_EQ(read(to + "/dir/kept"), "1");
  EXPECT_EQ(read(to + "/dir/replaced"), "2");
  EXPECT_EQ(read(to + "/dir/second-name"), "1") << "a file is replaced, not written into";
  EXPECT_EQ(read(to + "/becomes-file"), "2");
  EXPECT_EQ(read(to + "/becomes-dir/inside"), "2");
  EXPECT_EQ(read(to + "/becomes-real"), "2");
  EXPECT_EQ(read(to + "/target"), "1") << "written through a link of a lower layer";
}

TEST_F(DifferKit, WhiteoutsRemove) {
  const std::string to = folder("to");
  const std::string first = Archive()
                                .file("gone", "1")
                                .dir("tree")
                                .file("tree/file", "1")
                                .dir("opaque")
                                .file("opaque/old", "1")
                                .file("replaced", "1")
                                .file("kept", "1")
                                .end();
  const std::string second = Archive()
                                 .file(".wh.gone", "")
                                 .file(".wh.tree", "")
                                 .dir("opaque")
                                 .file("opaque/new", "2")
                                 .file("opaque/.wh..wh..opq", "")
                                 .file(".wh.never-was", "")
                                 .file("replaced", "2")
                                 .end();
  ASSERT_TRUE(apply(first, to).ok());
  const auto applied = apply(second, to);
  ASSERT_TRUE(applied.ok()) << applied.status().to_string();
  EXPECT_FALSE(exists(to + "/gone"));
  EXPECT_FALSE(exists(to + "/tree"));
  EXPECT_FALSE(exists(to + "/opaque/old"));
  EXPECT_EQ(read(to + "/opaque/new"), "2") << "an opaque directory keeps what its layer brings";
  EXPECT_EQ(read(to + "/kept"), "1");
  EXPECT_EQ(read(to + "/replaced"), "2");
  for (const auto& entry : fs::recursive_directory_iterator(to)) {
    EXPECT_FALSE(entry.path().filename().string().starts_with(".wh.")) << entry.path();
  }
}

TEST_F(DifferKit, WhiteoutsInAnOverlay) {
  const std::string lower = folder("lower");
  const std::string upper = folder("upper");
  const std::string work = folder("work");
  const std::string target = folder("mnt");
  write(lower + "/gone", "1");
  fs::create_directory(lower + "/opaque");
  write(lower + "/opaque/old", "1");
  write(lower + "/kept", "1");
  const containerd::types::Mount mount = overlay(lower, upper, work);
  if (!berth::testing::make_mounts({mount}, target).ok()) GTEST_SKIP() << "no overlayfs here";
  ASSERT_EQ(::umount2(target.c_str(), 0), 0);
  const std::string layer = Archive()
                                .file(".wh.gone", "")
                                .dir("opaque")
                                .file("opaque/.wh..wh..opq", "")
                                .file("opaque/new", "2")
                                .file("added", "2")
                                .end();
  const auto applied =
      apply_blob(content_->add(layer), static_cast<int64_t>(layer.size()), kPlainLayer, {mount});
  ASSERT_TRUE(applied.ok()) << applied.status().to_string();
  ASSERT_TRUE(berth::testing::make_mounts({mount}, target).ok());
  EXPECT_FALSE(exists(target + "/gone"));
  EXPECT_FALSE(exists(target + "/opaque/old"));
  EXPECT_EQ(read(target + "/opaque/new"), "2");
  EXPECT_EQ(read(target + "/kept"), "1");
  EXPECT_EQ(read(target + "/added"), "2");
  ASSERT_EQ(::umount2(target.c_str(), 0), 0);
  EXPECT_EQ(read(lower + "/gone"), "1") << "the lower layer was changed";
}

TEST_F(DifferKit, MediaTypesThatItDoesNotKnow) {
  const std::string layer = small_layer().end();
  for (const char* media_type : {"application/vnd.oci.image.config.v1+json", "text/plain",
                                 "application/vnd.oci.image.layer.v1.tar+rot13"}) {
    const auto applied = apply(layer, folder("to"), media_type);
    EXPECT_EQ(applied.status().code(), Code::kUnimplemented)
        << "Apply of " << media_type << ": " << applied.status().to_string();
    const auto made = diff({bind(folder("a"), false)}, {bind(folder("b"), false)}, media_type);
    EXPECT_EQ(made.status().code(), Code::kUnimplemented)
        << "Diff as " << media_type << ": " << made.status().to_string();
  }
  EXPECT_TRUE(fs::is_empty(folder("to"))) << "something was unpacked";
  EXPECT_EQ(content_->ingests(), std::set<std::string>());
}

TEST_F(DifferKit, BlobsThatAreNotThere) {
  const std::string absent = digest_of("absent").string();
  EXPECT_EQ(apply_blob(absent, 6, kPlainLayer, {bind(folder("to"), true)}).status().code(),
            Code::kNotFound);
  EXPECT_TRUE(says_it_is_wrong(
      apply_blob("no digest", 6, kPlainLayer, {bind(folder("to"), true)}).status()));
}

// Bytes that are not what their digest says, as after damage on disk: refused, or at least never
// taken for what was asked.
TEST_F(DifferKit, DamagedBlobsAreNotTakenForSoundOnes) {
  const std::string layer = Archive().file("file", std::string(5000, 'x')).file("last", "y").end();
  const std::string truth = digest_of(layer).string();
  for (const char* media_type : {kPlainLayer, kGzipLayer}) {
    const bool plain = media_type == std::string_view(kPlainLayer);
    const std::string sound = plain ? layer : gzipped(layer);
    std::string damaged = sound;
    damaged[damaged.size() / 2] = static_cast<char>(damaged[damaged.size() / 2] ^ 0x10);
    const std::string digest = content_->add(damaged, digest_of(sound).string());
    const auto applied = apply_blob(digest, static_cast<int64_t>(sound.size()), media_type,
                                    {bind(folder("to"), true)});
    if (applied.ok()) {
      EXPECT_NE(applied->digest(), truth) << media_type << ": damage passes for the layer";
    } else {
      EXPECT_FALSE(applied.status().message().empty());
    }
  }
}

TEST_F(DifferKit, MalformedLayersAreRefused) {
  const std::string layer = Archive().file("file", std::string(100'000, 'x')).end();
  std::string noise(2000, '\0');
  for (char& byte : noise) byte = static_cast<char>(random_() | 1);
  std::string bad_sum = layer;
  bad_sum[10] = 'X';
  std::string bad_crc = gzipped(layer);
  bad_crc[bad_crc.size() - 6] = static_cast<char>(bad_crc[bad_crc.size() - 6] ^ 1);
  const std::string packed = gzipped(layer);
  const std::string zstd = zstd_compressed(layer);
  const struct {
    const char* what;
    std::string blob;
    const char* media_type;
  } wrong[] = {
      {"noise", noise, kPlainLayer},
      {"noise as gzip", noise, kGzipLayer},
      {"noise as zstd", noise, kZstdLayer},
      {"cut within a header", layer.substr(0, 300), kPlainLayer},
      {"cut within a file", layer.substr(0, 50'000), kPlainLayer},
      {"a wrong checksum", bad_sum, kPlainLayer},
      {"a gzip stream that is cut", packed.substr(0, packed.size() / 2), kGzipLayer},
      {"a gzip stream without its end", packed.substr(0, packed.size() - 8), kGzipLayer},
      {"a gzip stream with a wrong sum", bad_crc, kGzipLayer},
      {"a zstd stream that is cut", zstd.substr(0, zstd.size() / 2), kZstdLayer},
      {"a file that claims a terabyte",
       Archive().add({.name = "f", .content = "x", .size = 1LL << 36}).end(), kPlainLayer},
      {"records that claim a gigabyte",
       Archive().add({.name = "p", .type = 'x', .content = "x", .size = 1LL << 30}).end(),
       kPlainLayer},
      {"a record that is longer than it is",
       Archive().add({.name = "p", .type = 'x', .content = "99 path=x\n"}).file("f", "").end(),
       kPlainLayer},
      {"a hard link to nothing", Archive().hard_link("link", "absent").end(), kPlainLayer},
      {"a file below a file", Archive().file("file", "x").file("file/below", "x").end(),
       kPlainLayer},
  };
  int number = 0;
  for (const auto& [what, blob, media_type] : wrong) {
    doing(std::string("apply ") + what);
    const auto applied = apply(blob, folder("to-" + std::to_string(number++)), media_type);
    EXPECT_FALSE(applied.ok()) << what << " is unpacked as if it were a layer";
    if (!applied.ok()) {
      EXPECT_FALSE(applied.status().message().empty()) << what;
    }
  }
}

TEST_F(DifferKit, NothingEscapes) {
  const auto attack = [&](const char* what, const Archive& archive) {
    const std::string arena = folder("arena");
    fs::remove_all(arena);
    const std::string to = folder("arena/root");
    const std::string outside = folder("arena/outside");
    write(outside + "/victim", "untouched");
    EXPECT_EQ(::chmod((outside + "/victim").c_str(), 0600), 0);
    const Tree before = tree_of(outside);
    (void)apply(archive.end(), to);  // whatever it says to it
    EXPECT_EQ(tree_of(outside), before) << what << " changes what is outside";
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator(arena))
      names.push_back(entry.path().filename());
    std::sort(names.begin(), names.end());
    EXPECT_EQ(names, (std::vector<std::string>{"outside", "root"})) << what << " leaves the root";
    return to;
  };
  const std::string absolute = directory_ + "/arena/outside";
  attack("a name that climbs", Archive().file("../escaped", "x"));
  attack("a name that climbs later", Archive().dir("a").file("a/../../escaped", "x"));
  attack("a name that climbs into another folder", Archive().file("../outside/new", "x"));
  attack("a folder that climbs", Archive().dir("../escaped"));
  attack("a link that climbs", Archive().symlink("../escaped", "x"));
  attack("a whiteout that climbs", Archive().file("../outside/.wh.victim", ""));
  attack("an opaque mark that climbs", Archive().file("../outside/.wh..wh..opq", ""));
  attack("a hard link that climbs", Archive().hard_link("mine", "../outside/victim"));
  attack("a whiteout of what is above", Archive().file(".wh...", "").file(".wh..", ""));
  for (const std::string& link : {std::string("../outside"), absolute}) {
    const Archive begun = Archive().symlink("link", link);
    attack("a file below a link", Archive(begun).file("link/new", "x"));
    attack("a file over one below a link", Archive(begun).file("link/victim", "x"));
    attack("a folder below a link", Archive(begun).dir("link/new"));
    attack("a whiteout below a link", Archive(begun).file("link/.wh.victim", ""));
    attack("an opaque mark below a link", Archive(begun).file("link/.wh..wh..opq", ""));
    attack("a hard link below a link", Archive(begun).hard_link("mine", "link/victim"));
    attack("a device below a link",
           Archive(begun).add({.name = "link/dev", .type = '3', .major = 1, .minor = 3}));
    const Archive file = Archive().symlink("link", link + "/victim");
    attack("a file over a link", Archive(file).file("link", "x"));
    attack("a hard link to a link", Archive(file).hard_link("mine", "link").file("mine", "x"));
  }
  const std::string to = attack("an absolute name", Archive().file(absolute + "/new", "inside"));
  const std::string inside = to + absolute + "/new";
  EXPECT_TRUE(!exists(inside) || read(inside) == "inside");
}

// What trusted.* says is between overlayfs and who mounts it.
TEST_F(DifferKit, AttributesThatAreNotForLayers) {
  const std::string to = folder("to");
  const std::string own = "trusted.overlay.redirect";
  const std::string layer =
      Archive()
          .pax({{"SCHILY.xattr." + own, "/etc"}, {"SCHILY.xattr.user.a", "1"}})
          .dir("dir")
          .pax({{"SCHILY.xattr.trusted.overlay.metacopy", "x"}})
          .file("file", "x")
          .end();
  if (!apply(layer, to).ok()) return;  // it is refused
  EXPECT_EQ(berth::testing::attribute(to + "/dir", own.c_str()), "none");
  EXPECT_EQ(berth::testing::attribute(to + "/dir", "user.a"), "1");
  EXPECT_EQ(berth::testing::attribute(to + "/file", "trusted.overlay.metacopy"), "none");
}

// As deep as a path can be: what walks by calling itself must not run out of its stack, which is
// that of the caller, and what opens directories must not run out of descriptors.
TEST_F(DifferKit, DeepTrees) {
  std::string path = "d";
  while (path.size() < 3900) path += "/d";
  const std::string to = folder("to");
  const std::string changed = folder("changed");
  const berth::testing::UsualDescriptors few;
  on_handler_stack([&] {
    const std::string layer = Archive().pax({{"path", path}}).file("f", "x").end();
    const Status unpacked = apply(layer, to).status();
    ASSERT_TRUE(unpacked.ok()) << unpacked.to_string();
    EXPECT_TRUE(exists(to + "/" + path));
    ASSERT_TRUE(apply(layer, changed).ok());
    write(changed + "/" + path, "y");
    const auto is_ok = [](const char* what, const auto& result) {
      EXPECT_TRUE(result.ok()) << what << ": " << result.status().to_string();
    };
    is_ok("all of a deep tree", diff({}, {bind(to, false)}));
    is_ok("what a deep tree has other than another",
          diff({bind(to, false)}, {bind(changed, false)}));
    is_ok("what is less", diff({bind(to, false)}, {bind(folder("empty"), false)}));
    const std::string again = Archive()
                                  .pax({{"path", path}})
                                  .file("f", "y")
                                  .file("d/.wh..wh..opq", "")
                                  .file(".wh..wh..opq", "")
                                  .end();
    is_ok("an opaque one", apply(again, to));
    EXPECT_EQ(read(to + "/" + path), "y");
    is_ok("a whiteout", apply(Archive().file(".wh.d", "").end(), to));
    EXPECT_FALSE(exists(to + "/d"));
  });
}

// What a container makes may be deeper than a layer can say. That may be refused, and in a word.
TEST_F(DifferKit, TreesDeeperThanPaths) {
  const std::string tree = folder("tree");
  make_deep_tree(tree);
  const berth::testing::UsualDescriptors few;
  on_handler_stack([&] {
    const auto is_told = [](const char* what, const auto& result) {
      const Status status = result.status();
      EXPECT_TRUE(status.ok() || !status.message().empty()) << what << ": no reason";
      // As much as fits beside other things into the trailers of a call by gRPC.
      EXPECT_LT(status.message().size(), 6000U) << what;
    };
    is_told("all of it", diff({}, {bind(tree, false)}));
    is_told("twice the same", diff({bind(tree, false)}, {bind(tree, false)}));
    is_told("what is less", diff({bind(tree, false)}, {bind(folder("empty"), false)}));
    is_told("a whiteout", apply(Archive().file(".wh.d", "").end(), tree));
  });
}

TEST_F(DifferKit, SeveralAtOnce) {
  constexpr int kThreads = 6;
  Archive archive;
  for (int i = 0; i < 40; ++i) archive.file("file-" + std::to_string(i), std::string(20'000, 'a'));
  const std::string layer = archive.end();
  const std::string blob = gzipped(layer);
  const std::string digest = content_->add(blob);
  std::vector<Status> outcomes(kThreads);
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([&, i] {
      const std::string to = folder("to-" + std::to_string(i));
      outcomes[static_cast<size_t>(i)] =
          apply_blob(digest, static_cast<int64_t>(blob.size()), kGzipLayer, {bind(to, true)})
              .status();
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (int i = 0; i < kThreads; ++i) {
    EXPECT_TRUE(outcomes[static_cast<size_t>(i)].ok())
        << outcomes[static_cast<size_t>(i)].to_string();
    EXPECT_EQ(tree_of(folder("to-" + std::to_string(i))).size(), 41U);
  }
}

}  // namespace berth::ctl::validate
