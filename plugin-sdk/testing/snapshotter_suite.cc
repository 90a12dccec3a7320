#include "testing/snapshotter_suite.h"

#include <berth/file_tree.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
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

class DirectAccess final : public SnapshotterAccess {
 public:
  explicit DirectAccess(std::unique_ptr<Snapshotter> snapshotter)
      : snapshotter_(std::move(snapshotter)) {}
  snapshots_v1::SnapshotsService& service() override { return *snapshotter_; }
  Status walk(const std::vector<std::string>& filters,
              const std::function<Status(const snapshots_v1::Info&)>& visit) override {
    return snapshotter_->walk(filters, visit);
  }

 private:
  std::unique_ptr<Snapshotter> snapshotter_;
};

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
    if (snapshotter_ != nullptr) {
      // What the test left, children first.
      for (bool progress = true; progress;) {
        progress = false;
        for (const std::string& name : names()) progress = remove(name).ok() || progress;
      }
      Context ctx;
      google::protobuf::Empty empty;
      EXPECT_TRUE(snapshotter_->Cleanup(ctx, {}, &empty).ok());
      close();
    }
    EXPECT_TRUE(remove_tree(folder_).ok());
  }
  if (GetParam().release_base) GetParam().release_base();
}

void SnapshotterSuite::close() {
  snapshotter_ = nullptr;
  access_.reset();
}

Result<std::unique_ptr<SnapshotterAccess>> SnapshotterSuite::open(SnapshotterOptions options) {
  if (GetParam().connect) return GetParam().connect(std::move(options));
  BERTH_ASSIGN_OR_RETURN(auto opened, GetParam().open(std::move(options)));
  return std::unique_ptr<SnapshotterAccess>(std::make_unique<DirectAccess>(std::move(opened)));
}

void SnapshotterSuite::reopen() {
  close();
  SnapshotterOptions options;
  options.root = folder_ + "/root";
  options.warn = [this](std::string_view text) {
    const std::lock_guard lock(warnings_mutex_);
    warnings_.emplace_back(text);
  };
  auto opened = open(std::move(options));
  if (opened.status().code() == Code::kUnimplemented) GTEST_SKIP() << opened.status().message();
  ASSERT_TRUE(opened.ok()) << opened.status().to_string();
  access_ = std::move(opened).value();
  snapshotter_ = &access_->service();
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
  const Status walked = walk(filters, [&](const snapshots_v1::Info& info) -> Status {
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

}  // namespace berth::testing
