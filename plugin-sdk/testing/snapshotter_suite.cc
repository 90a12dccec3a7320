#include "testing/snapshotter_suite.h"

#include <berth/fd.h>
#include <berth/file_tree.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <set>
#include <thread>

namespace berth::testing {
namespace {

namespace fs = std::filesystem;

// Longer data does not fit the page that mount(2) copies.
constexpr size_t kLongestData = 4000;

// "lowerdir=/a/b/1/fs:/a/b/2/fs" with the folder "/a/b/" becomes "lowerdir=1/fs:2/fs".
std::string without_folder(const std::string& option, const std::string& folder) {
  std::string shorter;
  for (size_t at = 0; at < option.size();) {
    if (option.compare(at, folder.size(), folder) == 0) {
      at += folder.size();
    } else {
      shorter += option[at++];
    }
  }
  return shorter;
}

Status mount_one(const containerd::types::Mount& mount, const std::string& target) {
  unsigned long flags = 0;
  bool bind = false;
  std::string data;
  std::string upper;
  for (const std::string& option : mount.options()) {
    if (option == "ro") {
      flags |= MS_RDONLY;
    } else if (option == "rbind") {
      flags |= MS_BIND | MS_REC;
      bind = true;
    } else if (option == "bind") {
      flags |= MS_BIND;
      bind = true;
    } else if (option != "rw") {
      data += (data.empty() ? "" : ",") + option;
    }
    if (option.starts_with("lowerdir=")) upper = option.substr(9);
  }
  const std::string what = "mount " + mount.source() + " on " + target;
  if (data.size() <= kLongestData) {
    if (::mount(mount.source().c_str(), target.c_str(), mount.type().c_str(), flags,
                data.c_str()) != 0) {
      return errno_status(errno, what);
    }
  } else {
    // The first layer is FOLDER/ID/fs.
    const std::string first = upper.substr(0, upper.find(':'));
    const std::string folder = fs::path(first).parent_path().parent_path().string() + "/";
    Status outcome;
    std::thread([&] {
      const std::string shorter = without_folder(data, folder);
      // A working directory of this thread's own.
      if (::unshare(CLONE_FS) != 0 || ::chdir(folder.c_str()) != 0 ||
          ::mount(mount.source().c_str(), target.c_str(), mount.type().c_str(), flags,
                  shorter.c_str()) != 0) {
        outcome = errno_status(errno, what + " from " + folder);
      }
    }).join();
    BERTH_RETURN_IF_ERROR(outcome);
  }
  // A bind mount takes the flag only when it is mounted again.
  if (bind && (flags & MS_RDONLY) != 0 &&
      ::mount(nullptr, target.c_str(), nullptr, MS_REMOUNT | MS_BIND | MS_RDONLY, nullptr) != 0) {
    const Status failed = errno_status(errno, what + " read-only");
    ::umount2(target.c_str(), MNT_DETACH);
    return failed;
  }
  return {};
}

void write(const std::string& path, const std::string& text) {
  std::ofstream file(path, std::ios::binary);
  file << text;
  file.close();
  EXPECT_TRUE(file.good()) << path;
}

std::string read(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return "cannot open " + path;
  return {std::istreambuf_iterator<char>(file), {}};
}

struct stat status_of(const std::string& path) {
  struct stat status {};
  EXPECT_EQ(::lstat(path.c_str(), &status), 0) << path;
  return status;
}

bool exists(const std::string& path) {
  struct stat status {};
  return ::lstat(path.c_str(), &status) == 0;
}

std::string attribute(const std::string& path, const char* name) {
  char value[256];
  const ssize_t size = ::lgetxattr(path.c_str(), name, value, sizeof value);
  return size < 0 ? "none" : std::string(value, static_cast<size_t>(size));
}

}  // namespace

Status make_mounts(const Snapshotter::MountList& mounts, const std::string& target) {
  for (size_t i = 0; i < mounts.size(); ++i) {
    if (Status status = mount_one(mounts[i], target); !status.ok()) {
      while (i-- > 0) ::umount2(target.c_str(), MNT_DETACH);
      return status;
    }
  }
  return {};
}

void SnapshotterSuite::SetUp() {
  if (::geteuid() != 0) GTEST_SKIP() << "mounting needs root";
  static const bool separated = ::unshare(CLONE_NEWNS) == 0 &&
                                ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0;
  if (!separated) GTEST_SKIP() << "no mount namespace to be had: " << std::strerror(errno);
  std::string base = "/tmp";
  if (GetParam().base) {
    auto given = GetParam().base();
    if (!given.ok() && given.status().code() == Code::kUnimplemented) {
      GTEST_SKIP() << given.status().message();
    }
    ASSERT_TRUE(given.ok()) << given.status().to_string();
    base = *given;
  }
  folder_ = base + "/berth-snapshotter-XXXXXX";
  ASSERT_NE(::mkdtemp(folder_.data()), nullptr);
  target_ = folder_ + "/mnt";
  ASSERT_EQ(::mkdir(target_.c_str(), 0700), 0);
  ASSERT_NO_FATAL_FAILURE(reopen());
}

void SnapshotterSuite::TearDown() {
  if (!folder_.empty()) {
    if (snapshotter_) {
      // What the test left, children first.
      for (bool progress = true; progress;) {
        progress = false;
        for (const std::string& name : names()) progress = remove(name).ok() || progress;
      }
      Context ctx;
      google::protobuf::Empty empty;
      EXPECT_TRUE(snapshotter_->Cleanup(ctx, {}, &empty).ok());
      snapshotter_.reset();
    }
    EXPECT_TRUE(remove_tree(folder_).ok());
  }
  if (GetParam().release_base) GetParam().release_base();
}

void SnapshotterSuite::reopen() {
  snapshotter_.reset();
  SnapshotterOptions options;
  options.root = folder_ + "/root";
  options.warn = [this](std::string_view text) {
    const std::lock_guard lock(warnings_mutex_);
    warnings_.emplace_back(text);
  };
  auto opened = GetParam().open(std::move(options));
  ASSERT_TRUE(opened.ok()) << opened.status().to_string();
  snapshotter_ = std::move(opened).value();
}

Result<SnapshotterSuite::MountList> SnapshotterSuite::prepare(const std::string& key,
                                                              const std::string& parent,
                                                              const Labels& labels) {
  Context ctx;
  snapshots_v1::PrepareSnapshotRequest request;
  snapshots_v1::PrepareSnapshotResponse response;
  request.set_key(key);
  request.set_parent(parent);
  request.mutable_labels()->insert(labels.begin(), labels.end());
  BERTH_RETURN_IF_ERROR(snapshotter_->Prepare(ctx, request, &response));
  return MountList(response.mounts().begin(), response.mounts().end());
}

Result<SnapshotterSuite::MountList> SnapshotterSuite::view(const std::string& key,
                                                           const std::string& parent) {
  Context ctx;
  snapshots_v1::ViewSnapshotRequest request;
  snapshots_v1::ViewSnapshotResponse response;
  request.set_key(key);
  request.set_parent(parent);
  BERTH_RETURN_IF_ERROR(snapshotter_->View(ctx, request, &response));
  return MountList(response.mounts().begin(), response.mounts().end());
}

Result<SnapshotterSuite::MountList> SnapshotterSuite::mounts(const std::string& key) {
  Context ctx;
  snapshots_v1::MountsRequest request;
  snapshots_v1::MountsResponse response;
  request.set_key(key);
  BERTH_RETURN_IF_ERROR(snapshotter_->Mounts(ctx, request, &response));
  return MountList(response.mounts().begin(), response.mounts().end());
}

Status SnapshotterSuite::commit(const std::string& name, const std::string& key,
                                const Labels& labels) {
  Context ctx;
  snapshots_v1::CommitSnapshotRequest request;
  google::protobuf::Empty response;
  request.set_key(key);
  request.set_name(name);
  request.mutable_labels()->insert(labels.begin(), labels.end());
  return snapshotter_->Commit(ctx, request, &response);
}

Status SnapshotterSuite::remove(const std::string& key) {
  Context ctx;
  snapshots_v1::RemoveSnapshotRequest request;
  google::protobuf::Empty response;
  request.set_key(key);
  return snapshotter_->Remove(ctx, request, &response);
}

Result<snapshots_v1::Info> SnapshotterSuite::stat(const std::string& key) {
  Context ctx;
  snapshots_v1::StatSnapshotRequest request;
  snapshots_v1::StatSnapshotResponse response;
  request.set_key(key);
  BERTH_RETURN_IF_ERROR(snapshotter_->Stat(ctx, request, &response));
  return response.info();
}

Result<SnapshotUsage> SnapshotterSuite::usage(const std::string& key) {
  Context ctx;
  snapshots_v1::UsageRequest request;
  snapshots_v1::UsageResponse response;
  request.set_key(key);
  BERTH_RETURN_IF_ERROR(snapshotter_->Usage(ctx, request, &response));
  return SnapshotUsage{response.size(), response.inodes()};
}

std::vector<std::string> SnapshotterSuite::names(const std::vector<std::string>& filters) {
  std::vector<std::string> found;
  const Status walked = snapshotter_->walk(filters, [&](const snapshots_v1::Info& info) -> Status {
    found.push_back(info.name());
    return {};
  });
  EXPECT_TRUE(walked.ok()) << walked.to_string();
  return found;
}

void SnapshotterSuite::mounted(const Result<MountList>& mounts,
                               const std::function<void(const std::string&)>& work) {
  ASSERT_TRUE(mounts.ok()) << mounts.status().to_string();
  const Status made = make_mounts(*mounts, target_);
  ASSERT_TRUE(made.ok()) << made.to_string();
  work(target_);
  ASSERT_EQ(::umount2(target_.c_str(), 0), 0) << std::strerror(errno);
}

void SnapshotterSuite::layer(const std::string& name, const std::string& parent,
                             const std::function<void(const std::string&)>& work) {
  ASSERT_NO_FATAL_FAILURE(mounted(prepare("extract " + name, parent), work));
  const Status committed = commit(name, "extract " + name);
  ASSERT_TRUE(committed.ok()) << committed.to_string();
}

void SnapshotterSuite::expect_nothing_left() {
  Context ctx;
  google::protobuf::Empty empty;
  EXPECT_TRUE(snapshotter_->Cleanup(ctx, {}, &empty).ok());
  for (const std::string& folder : GetParam().folders) {
    for (const auto& entry : fs::directory_iterator(folder_ + "/root/" + folder)) {
      ADD_FAILURE() << "left over: " << entry.path();
    }
  }
  for (const std::string& warning : warnings_) ADD_FAILURE() << "warning: " << warning;
}

TEST_P(SnapshotterSuite, LifeOfASnapshot) {
  mounted(prepare("active"), [](const std::string& root) { write(root + "/foo", "foo\n"); });
  auto again = mounts("active");
  mounted(again, [](const std::string& root) { EXPECT_EQ(read(root + "/foo"), "foo\n"); });
  EXPECT_EQ(stat("active")->kind(), snapshots_v1::ACTIVE);
  ASSERT_TRUE(commit("layer", "active", {{"a", "b"}}).ok());
  EXPECT_EQ(stat("active").status().code(), Code::kNotFound);
  const auto info = stat("layer");
  ASSERT_TRUE(info.ok());
  EXPECT_EQ(info->kind(), snapshots_v1::COMMITTED);
  EXPECT_EQ(info->parent(), "");
  EXPECT_EQ(info->labels().at("a"), "b");
  EXPECT_GT(info->created_at().seconds(), 1'600'000'000);

  mounted(prepare("next", "layer"), [](const std::string& root) {
    EXPECT_EQ(read(root + "/foo"), "foo\n");
    write(root + "/bar", "bar\n");
  });
  EXPECT_EQ(stat("next")->parent(), "layer");
  mounted(view("look", "layer"), [](const std::string& root) {
    EXPECT_EQ(read(root + "/foo"), "foo\n");
    EXPECT_FALSE(exists(root + "/bar")) << "a sibling's file";
  });
  for (const char* key : {"look", "next", "layer"}) EXPECT_TRUE(remove(key).ok()) << key;
  expect_nothing_left();
}

TEST_P(SnapshotterSuite, Refusals) {
  layer("base", "", [](const std::string&) {});
  ASSERT_TRUE(prepare("active", "base").ok());
  ASSERT_TRUE(view("view", "base").ok());
  for (const char* key : {"active", "view", "base"}) {
    EXPECT_EQ(prepare(key, "base").status().code(), Code::kAlreadyExists) << key;
    EXPECT_EQ(view(key, "base").status().code(), Code::kAlreadyExists) << key;
  }
  EXPECT_EQ(prepare("x", "absent").status().code(), Code::kNotFound);
  EXPECT_EQ(prepare("x", "active").status().code(), Code::kInvalidArgument);
  EXPECT_EQ(view("x", "view").status().code(), Code::kInvalidArgument);
  EXPECT_EQ(prepare("").status().code(), Code::kInvalidArgument);
  EXPECT_EQ(commit("x", "absent").code(), Code::kNotFound);
  EXPECT_EQ(commit("base", "active").code(), Code::kAlreadyExists);
  EXPECT_EQ(commit("x", "view").code(), Code::kFailedPrecondition);
  EXPECT_EQ(commit("x", "base").code(), Code::kFailedPrecondition);
  EXPECT_EQ(mounts("absent").status().code(), Code::kNotFound);
  EXPECT_EQ(mounts("base").status().code(), Code::kFailedPrecondition);
  EXPECT_EQ(remove("absent").code(), Code::kNotFound);
  EXPECT_EQ(remove("base").code(), Code::kFailedPrecondition);
  EXPECT_EQ(stat("absent").status().code(), Code::kNotFound);
  EXPECT_EQ(usage("absent").status().code(), Code::kNotFound);
  EXPECT_EQ(names(), (std::vector<std::string>{"active", "base", "view"}));
  mounted(mounts("active"), [](const std::string&) {});
}

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

TEST_P(SnapshotterSuite, RemovalOrders) {
  layer("1", "", [](const std::string& root) { write(root + "/1", "x"); });
  layer("2", "1", [](const std::string& root) { write(root + "/2", "x"); });
  layer("3", "2", [](const std::string& root) { write(root + "/3", "x"); });
  ASSERT_TRUE(view("view", "1").ok());
  EXPECT_EQ(remove("1").code(), Code::kFailedPrecondition);
  EXPECT_EQ(remove("2").code(), Code::kFailedPrecondition);
  mounted(prepare("run", "3"), [](const std::string& root) { EXPECT_EQ(read(root + "/1"), "x"); });
  EXPECT_EQ(remove("3").code(), Code::kFailedPrecondition);
  EXPECT_TRUE(remove("run").ok());
  EXPECT_TRUE(remove("3").ok());
  EXPECT_TRUE(remove("2").ok());
  EXPECT_EQ(remove("1").code(), Code::kFailedPrecondition);
  mounted(mounts("view"), [](const std::string& root) { EXPECT_EQ(read(root + "/1"), "x"); });
  EXPECT_TRUE(remove("view").ok());
  EXPECT_TRUE(remove("1").ok());
  EXPECT_EQ(remove("1").code(), Code::kNotFound);
  // The names are free again at once.
  layer("1", "", [](const std::string& root) { EXPECT_FALSE(exists(root + "/1")); });
  EXPECT_TRUE(remove("1").ok());
  expect_nothing_left();
}

TEST_P(SnapshotterSuite, OneOfManyGetsAKey) {
  layer("base", "", [](const std::string& root) { write(root + "/file", "x"); });
  std::atomic<int> made = 0;
  std::atomic<int> refused = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < 8; ++t) {
    threads.emplace_back([&, t] {
      const auto same = prepare("same", "base");
      if (same.ok()) ++made;
      if (same.status().code() == Code::kAlreadyExists) ++refused;
      EXPECT_TRUE(prepare("own-" + std::to_string(t), "base").ok());
      EXPECT_TRUE(commit("layer-" + std::to_string(t), "own-" + std::to_string(t)).ok());
      // Removes what belongs to no record; must not touch what others are making.
      Context ctx;
      google::protobuf::Empty empty;
      EXPECT_TRUE(snapshotter_->Cleanup(ctx, {}, &empty).ok());
      EXPECT_TRUE(prepare("run-" + std::to_string(t), "layer-" + std::to_string(t)).ok());
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(made, 1);
  EXPECT_EQ(refused, 7);
  for (int t = 0; t < 8; ++t) {
    mounted(mounts("run-" + std::to_string(t)),
            [](const std::string& root) { EXPECT_EQ(read(root + "/file"), "x"); });
  }
  mounted(mounts("same"), [](const std::string& root) { EXPECT_EQ(read(root + "/file"), "x"); });
}

TEST_P(SnapshotterSuite, OneOfManyCommits) {
  mounted(prepare("active"), [](const std::string& root) { write(root + "/file", "x"); });
  std::atomic<int> committed = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < 6; ++t) {
    threads.emplace_back([&, t] {
      const Status status = commit("layer-" + std::to_string(t), "active");
      if (status.ok()) {
        ++committed;
      } else {
        EXPECT_EQ(status.code(), Code::kNotFound) << status.to_string();
      }
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(committed, 1);
  const auto layers = names();
  ASSERT_EQ(layers.size(), 1U);
  mounted(view("view", layers[0]),
          [](const std::string& root) { EXPECT_EQ(read(root + "/file"), "x"); });
  EXPECT_TRUE(remove("view").ok());
  EXPECT_TRUE(remove(layers[0]).ok());
  expect_nothing_left();
}

TEST_P(SnapshotterSuite, WalkFiltersAndAllowsCalls) {
  layer("base", "", [](const std::string&) {});
  ASSERT_TRUE(prepare("a", "base", {{"app", "web"}}).ok());
  ASSERT_TRUE(prepare("b", "base").ok());
  ASSERT_TRUE(view("v", "base").ok());
  using Names = std::vector<std::string>;
  EXPECT_EQ(names(), (Names{"a", "b", "base", "v"}));
  EXPECT_EQ(names({"kind==active"}), (Names{"a", "b"}));
  EXPECT_EQ(names({"labels.app==web", "kind==view"}), (Names{"a", "v"}));
  EXPECT_EQ(names({"parent==base,name!=a"}), (Names{"b", "v"}));
  const Names broken = {"name=~x"};
  EXPECT_EQ(snapshotter_->walk(broken, [](const snapshots_v1::Info&) { return Status(); }).code(),
            Code::kInvalidArgument);
  int visited = 0;
  const Status walked = snapshotter_->walk(Names(), [&](const snapshots_v1::Info& info) -> Status {
    ++visited;
    const auto found = stat(info.name());
    EXPECT_TRUE(found.ok());
    EXPECT_EQ(found->parent(), info.parent());
    EXPECT_TRUE(prepare("made by " + info.name()).ok());
    return visited < 4 ? Status() : cancelled("enough");
  });
  EXPECT_EQ(walked.code(), Code::kCancelled);
}

TEST_P(SnapshotterSuite, UsageGrowsAndIsRecorded) {
  constexpr int64_t kSize = 4 << 20;
  const auto fill = [&](const std::string& path) { write(path, std::string(kSize, 'x')); };
  SnapshotUsage empty;
  mounted(prepare("active"), [&](const std::string& root) {
    const auto before = usage("active");
    ASSERT_TRUE(before.ok()) << before.status().to_string();
    empty = *before;
    fill(root + "/file");
    EXPECT_EQ(::link((root + "/file").c_str(), (root + "/link").c_str()), 0);
    ::sync();
  });
  const auto active = usage("active");
  ASSERT_TRUE(active.ok());
  EXPECT_EQ(active->inodes, empty.inodes + 1);
  EXPECT_GE(active->bytes, empty.bytes + kSize);
  EXPECT_LT(active->bytes, empty.bytes + kSize + kSize / 2);
  ASSERT_TRUE(commit("layer", "active").ok());
  const auto committed = usage("layer");
  ASSERT_TRUE(committed.ok());
  EXPECT_EQ(committed->inodes, active->inodes);
  EXPECT_GE(committed->bytes, kSize);
  ASSERT_TRUE(view("view", "layer").ok());
  EXPECT_TRUE(usage("view").ok());
}

TEST_P(SnapshotterSuite, EverythingIsThereAfterARestart) {
  layer("1", "", [](const std::string& root) { write(root + "/file", "1"); });
  layer("2", "1", [](const std::string& root) { write(root + "/file", "2"); });
  mounted(prepare("run", "2", {{"a", "b"}}),
          [](const std::string& root) { write(root + "/run", "x"); });
  ASSERT_TRUE(view("view", "1").ok());
  ASSERT_TRUE(prepare("gone").ok());
  ASSERT_TRUE(remove("gone").ok());  // its tree is still on disk
  reopen();
  EXPECT_EQ(names(), (std::vector<std::string>{"1", "2", "run", "view"}));
  EXPECT_EQ(stat("run")->labels().at("a"), "b");
  mounted(mounts("run"), [](const std::string& root) {
    EXPECT_EQ(read(root + "/file"), "2");
    EXPECT_EQ(read(root + "/run"), "x");
  });
  mounted(mounts("view"), [](const std::string& root) { EXPECT_EQ(read(root + "/file"), "1"); });
  ASSERT_TRUE(prepare("new", "2").ok());
  for (const char* key : {"new", "run", "view", "2", "1"}) EXPECT_TRUE(remove(key).ok()) << key;
  warnings_.clear();  // of the tree found at the start
  expect_nothing_left();
}

}  // namespace berth::testing
