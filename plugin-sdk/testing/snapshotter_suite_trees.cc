// What is in a snapshot, seen through its mounts.
#include <berth/fd.h>
#include <berth/file_tree.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <filesystem>

#include "testing/deep_tree.h"
#include "testing/handler_stack.h"
#include "testing/snapshotter_suite.h"
#include "testing/suite_files.h"

namespace berth::testing {

namespace fs = std::filesystem;

TEST_P(SnapshotterSuite, Chain128Layers) {
  constexpr int kLayers = 128;
  std::string parent;
  for (int i = 1; i <= kLayers; ++i) {
    const std::string name = "layer-" + std::to_string(i);
    ASSERT_NO_FATAL_FAILURE(layer(name, parent, [&](const std::string& root) {
      if (i > 1) {
        EXPECT_EQ(read(root + "/last"), std::to_string(i - 1));
      }
      write(root + "/last", std::to_string(i));
      write(root + "/file-" + std::to_string(i), std::to_string(i));
    }));
    parent = name;
  }
  for (const bool read_only : {false, true}) {
    mounted(read_only ? view("view", parent) : prepare("run", parent),
            [&](const std::string& root) {
              EXPECT_EQ(read(root + "/last"), "128");
              for (int i = 1; i <= kLayers; ++i) {
                EXPECT_EQ(read(root + "/file-" + std::to_string(i)), std::to_string(i));
              }
            });
  }
  ASSERT_TRUE(remove("run").ok());
  ASSERT_TRUE(remove("view").ok());
  for (int i = kLayers; i >= 1; --i) ASSERT_TRUE(remove("layer-" + std::to_string(i)).ok()) << i;
  expect_nothing_left();
}

TEST_P(SnapshotterSuite, DeletedAndReplacedStayGone) {
  layer("1", "", [](const std::string& root) {
    write(root + "/file", "1");
    fs::create_directories(root + "/dir/sub");
    write(root + "/dir/sub/deep", "1");
    write(root + "/dir/old", "1");
    fs::create_directory(root + "/becomes-file");
    write(root + "/becomes-dir", "1");
  });
  layer("2", "1", [](const std::string& root) {
    EXPECT_EQ(::unlink((root + "/file").c_str()), 0);
    fs::remove_all(root + "/dir");
    fs::create_directory(root + "/dir");
    write(root + "/dir/new", "2");
    fs::remove(root + "/becomes-file");
    write(root + "/becomes-file", "2");
    fs::remove(root + "/becomes-dir");
    fs::create_directory(root + "/becomes-dir");
  });
  const auto check = [](const std::string& root) {
    EXPECT_FALSE(exists(root + "/file"));
    EXPECT_FALSE(exists(root + "/dir/old"));
    EXPECT_FALSE(exists(root + "/dir/sub"));
    EXPECT_EQ(read(root + "/dir/new"), "2");
    EXPECT_EQ(read(root + "/becomes-file"), "2");
    EXPECT_TRUE(S_ISDIR(status_of(root + "/becomes-dir").st_mode));
    EXPECT_EQ(std::distance(fs::directory_iterator(root), {}), 3);
  };
  mounted(view("view", "2"), check);
  mounted(prepare("run", "2"), [&](const std::string& root) {
    check(root);
    write(root + "/file", "3");
  });
  mounted(mounts("run"), [](const std::string& root) { EXPECT_EQ(read(root + "/file"), "3"); });
  mounted(view("first", "1"), [](const std::string& root) {
    EXPECT_EQ(read(root + "/file"), "1") << "a child's change reached the parent";
    EXPECT_EQ(read(root + "/dir/sub/deep"), "1");
  });
}

TEST_P(SnapshotterSuite, RenamesAcrossLayers) {
  layer("1", "", [](const std::string& root) {
    write(root + "/a", "a");
    write(root + "/b", "b");
    fs::create_directory(root + "/dir");
  });
  layer("2", "1", [](const std::string& root) {
    EXPECT_EQ(::rename((root + "/a").c_str(), (root + "/dir/a").c_str()), 0);
    EXPECT_EQ(::rename((root + "/dir/a").c_str(), (root + "/b").c_str()), 0);
    EXPECT_EQ(::mkdir((root + "/new").c_str(), 0755), 0);
    write(root + "/new/file", "n");
    EXPECT_EQ(::rename((root + "/new").c_str(), (root + "/renamed").c_str()), 0);
  });
  mounted(view("view", "2"), [](const std::string& root) {
    EXPECT_FALSE(exists(root + "/a"));
    EXPECT_FALSE(exists(root + "/dir/a"));
    EXPECT_EQ(read(root + "/b"), "a");
    EXPECT_FALSE(exists(root + "/new"));
    EXPECT_EQ(read(root + "/renamed/file"), "n");
  });
}

TEST_P(SnapshotterSuite, KeepsOwnersModesTimesAndAttributes) {
  const timespec times[2] = {{1'000'000'000, 0}, {1'234'567'890, 123'456'789}};
  layer("1", "", [&](const std::string& root) {
    EXPECT_EQ(::chown(root.c_str(), 12, 34), 0);
    EXPECT_EQ(::chmod(root.c_str(), 01750), 0);
    fs::create_directory(root + "/dir");
    EXPECT_EQ(::chown((root + "/dir").c_str(), 1000, 2000), 0);
    EXPECT_EQ(::chmod((root + "/dir").c_str(), 02751), 0);
    write(root + "/setuid", "x");
    EXPECT_EQ(::chown((root + "/setuid").c_str(), 5, 6), 0);
    EXPECT_EQ(::chmod((root + "/setuid").c_str(), 04755), 0);
    EXPECT_EQ(::lsetxattr((root + "/setuid").c_str(), "user.berth", "value", 5, 0), 0);
    fs::create_symlink("../no/where", root + "/link");
    EXPECT_EQ(::lchown((root + "/link").c_str(), 7, 8), 0);
    EXPECT_EQ(::mknod((root + "/null").c_str(), S_IFCHR | 0666, makedev(1, 3)), 0);
    EXPECT_EQ(::mkfifo((root + "/fifo").c_str(), 0640), 0);
    for (const char* name : {"/setuid", "/link", "/null", "/fifo", "/dir"}) {
      EXPECT_EQ(::utimensat(AT_FDCWD, (root + name).c_str(), times, AT_SYMLINK_NOFOLLOW), 0);
    }
  });
  layer("2", "1", [](const std::string& root) { write(root + "/other", "x"); });
  const auto check = [&](const std::string& root) {
    struct stat status = status_of(root);
    EXPECT_EQ(status.st_mode & 07777, 01750U);
    EXPECT_EQ(status.st_uid, 12U);
    EXPECT_EQ(status.st_gid, 34U);
    status = status_of(root + "/dir");
    EXPECT_EQ(status.st_mode & 07777, 02751U);
    EXPECT_EQ(status.st_uid, 1000U);
    EXPECT_EQ(status.st_gid, 2000U);
    status = status_of(root + "/setuid");
    EXPECT_EQ(status.st_mode & 07777, 04755U);
    EXPECT_EQ(status.st_uid, 5U);
    EXPECT_EQ(attribute(root + "/setuid", "user.berth"), "value");
    EXPECT_EQ(fs::read_symlink(root + "/link"), "../no/where");
    EXPECT_EQ(status_of(root + "/link").st_uid, 7U);
    status = status_of(root + "/null");
    EXPECT_TRUE(S_ISCHR(status.st_mode));
    EXPECT_EQ(status.st_mode & 07777, status_of(root + "/null").st_mode & 07777);
    EXPECT_EQ(status.st_rdev, makedev(1, 3));
    EXPECT_TRUE(S_ISFIFO(status_of(root + "/fifo").st_mode));
    for (const char* name : {"/setuid", "/link", "/null", "/fifo", "/dir"}) {
      status = status_of(root + name);
      EXPECT_EQ(status.st_mtim.tv_sec, times[1].tv_sec) << name;
      EXPECT_EQ(status.st_mtim.tv_nsec, times[1].tv_nsec) << name;
    }
  };
  mounted(view("view", "2"), check);
  mounted(prepare("run", "2"), check);
}

TEST_P(SnapshotterSuite, ModeOfADirectoryOutlivesCommit) {
  layer("1", "", [](const std::string& root) { fs::create_directory(root + "/tmp"); });
  layer("2", "1", [](const std::string& root) {
    EXPECT_EQ(::chmod((root + "/tmp").c_str(), 01777), 0);
    EXPECT_EQ(::chown((root + "/tmp").c_str(), 9, 9), 0);
  });
  layer("3", "2", [](const std::string& root) { write(root + "/tmp/file", "x"); });
  mounted(prepare("run", "3"), [](const std::string& root) {
    EXPECT_EQ(status_of(root + "/tmp").st_mode & 07777, 01777U);
    EXPECT_EQ(status_of(root + "/tmp").st_uid, 9U);
  });
}

TEST_P(SnapshotterSuite, KeepsHardLinks) {
  layer("1", "", [](const std::string& root) {
    write(root + "/a", "x");
    fs::create_directory(root + "/dir");
    EXPECT_EQ(::link((root + "/a").c_str(), (root + "/dir/b").c_str()), 0);
    fs::create_symlink("a", root + "/s");
    EXPECT_EQ(::link((root + "/s").c_str(), (root + "/t").c_str()), 0);
  });
  layer("2", "1", [](const std::string&) {});
  mounted(view("view", "2"), [](const std::string& root) {
    EXPECT_EQ(status_of(root + "/a").st_nlink, 2U);
    EXPECT_EQ(status_of(root + "/a").st_ino, status_of(root + "/dir/b").st_ino);
    EXPECT_EQ(status_of(root + "/s").st_ino, status_of(root + "/t").st_ino);
  });
}

TEST_P(SnapshotterSuite, SparseFilesStaySparse) {
  constexpr off_t kSize = 64 << 20;
  layer("1", "", [](const std::string& root) {
    UniqueFd fd(::open((root + "/sparse").c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0644));
    ASSERT_TRUE(fd);
    ASSERT_EQ(::pwrite(fd.get(), "begin", 5, 0), 5);
    ASSERT_EQ(::pwrite(fd.get(), "middle", 6, kSize / 2), 6);
    ASSERT_EQ(::ftruncate(fd.get(), kSize), 0);
  });
  layer("2", "1", [](const std::string&) {});
  mounted(prepare("run", "2"), [&](const std::string& root) {
    const struct stat status = status_of(root + "/sparse");
    EXPECT_EQ(status.st_size, kSize);
    EXPECT_LT(status.st_blocks * 512, kSize / 8);
    UniqueFd fd(::open((root + "/sparse").c_str(), O_RDONLY | O_CLOEXEC));
    char text[7] = {};
    ASSERT_EQ(::pread(fd.get(), text, 6, kSize / 2), 6);
    EXPECT_STREQ(text, "middle");
  });
}

// What a container made has to be kept, measured and removed, also where nobody who works by paths
// or calls himself per level gets to its end.
TEST_P(SnapshotterSuite, DeepTrees) {
  const UsualDescriptors few;
  int64_t before = 0;
  mounted(prepare("active"), [&](const std::string& root) {
    const auto empty = usage("active");
    ASSERT_TRUE(empty.ok()) << empty.status().to_string();
    before = empty->inodes;
    make_deep_tree(root);
  });
  on_handler_stack([&] {
    const auto active = usage("active");
    EXPECT_TRUE(active.ok()) << active.status().to_string();
    if (active.ok()) {
      EXPECT_EQ(active->inodes, before + kDeepLevels + 1);
    }
    const Status committed = commit("layer", "active");
    ASSERT_TRUE(committed.ok()) << committed.to_string();
    const auto layer = usage("layer");
    EXPECT_TRUE(layer.ok()) << layer.status().to_string();
    if (layer.ok()) {
      EXPECT_EQ(layer->inodes, before + kDeepLevels + 1);
    }
  });
  if (HasFatalFailure()) return;
  for (const bool read_only : {false, true}) {
    Result<MountList> mounts = MountList();
    on_handler_stack([&] { mounts = read_only ? view("view", "layer") : prepare("run", "layer"); });
    mounted(mounts, [](const std::string& root) { EXPECT_TRUE(has_deep_tree(root)); });
  }
  on_handler_stack([&] {
    for (const char* key : {"view", "run", "layer"}) {
      const Status removed = remove(key);
      EXPECT_TRUE(removed.ok()) << key << ": " << removed.to_string();
    }
    expect_nothing_left();
    const auto left = tree_usage(folder_);
    ASSERT_TRUE(left.ok()) << left.status().to_string();
    EXPECT_LT(left->inodes, kDeepLevels) << "the trees are still there";
  });
}

TEST_P(SnapshotterSuite, ViewsAreReadOnly) {
  layer("1", "", [](const std::string& root) { write(root + "/file", "x"); });
  layer("2", "1", [](const std::string&) {});
  for (const char* parent : {"", "1", "2"}) {
    mounted(view(std::string("view") + parent, parent), [](const std::string& root) {
      errno = 0;
      EXPECT_EQ(::mkdir((root + "/new").c_str(), 0700), -1);
      EXPECT_EQ(errno, EROFS);
    });
  }
}

}  // namespace berth::testing
