// Level "hostile", for what keeps something on disk: the daemon is killed in between.
#include <sched.h>
#include <sys/mount.h>
#include <unistd.h>

#include <filesystem>
#include <map>
#include <set>

#include "containerd/services/snapshots/v1/snapshots.berth.h"
#include "testing/snapshotter_suite.h"
#include "testing/suite_files.h"
#include "validate/kits/content_kit.h"
#include "validate/kits/victim.h"

namespace berth::ctl::validate {
namespace {

namespace fs = std::filesystem;
namespace snapshots = containerd::services::snapshots::v1;

constexpr int kRounds = 4;
constexpr uint64_t kLongest = 120'000;  // microseconds of work

// -- content ------------------------------------------------------------------------------------

class ContentCrash : public CrashCase {};

std::string bytes_of(int number) {
  return pattern(static_cast<size_t>(1 + number * 37'003 % 200'000), static_cast<uint32_t>(number));
}

/// Stores blobs without end, the first one given by number; tells each when it is stored.
std::string store_blobs(const content_api::ContentClient& client, int number, const Tell& tell) {
  for (;; ++number) {
    const std::string bytes = bytes_of(number);
    BlobWriter writer(client, "ref-" + std::to_string(number));
    Status status = writer.stat();
    // In two pieces, so that a killed one leaves an ingest.
    if (status.ok()) status = writer.write(bytes.substr(0, bytes.size() / 2), 0);
    if (status.ok()) status = writer.append(bytes.substr(bytes.size() / 2));
    if (status.ok()) {
      status = writer.commit(digest_of(bytes).string(), static_cast<int64_t>(bytes.size()));
    }
    // Of the round before: it was stored, and its answer was lost.
    if (!status.ok() && status.code() != Code::kAlreadyExists) return status.to_string();
    tell(std::to_string(number));
  }
}

TEST_F(ContentCrash, WhatWasStoredIsWhole) {
  int next = 1;
  std::set<int> stored;
  for (int round = 0; round < kRounds; ++round) {
    const Witness witness = kill_at_work(
        [&](const Tell& tell) {
          const std::string why = start_in_victim();
          if (!why.empty()) return why;
          return store_blobs(content_api::ContentClient(plugin_->target()), next, tell);
        },
        std::chrono::microseconds(random_() % kLongest));
    if (!usable(witness)) {
      if (!skip_.empty()) GTEST_SKIP() << skip_;
      return;
    }
    for (const std::string& line : witness.told) stored.insert(std::stoi(line));
    next = *stored.rbegin() + 1;
  }
  ASSERT_TRUE(start({}, directory_));
  const content_api::ContentClient client(plugin_->target());
  const auto read = [&](const std::string& digest) -> Result<std::string> {
    content_api::ReadContentRequest request;
    request.set_digest(digest);
    auto reader = client.Read(Context(), request);
    std::string bytes;
    content_api::ReadContentResponse response;
    while (reader.Read(&response)) bytes += response.data();
    BERTH_RETURN_IF_ERROR(reader.Finish());
    return bytes;
  };
  for (const int number : stored) {
    const auto bytes = read(digest_of(bytes_of(number)).string());
    EXPECT_TRUE(bytes.ok() && *bytes == bytes_of(number))
        << "blob " << number << " was stored, and now: " << bytes.status().to_string();
  }
  // Those of which nobody was told are whole as well, or they are not there.
  auto all = client.List(Context(), {});
  content_api::ListContentResponse response;
  size_t listed = 0;
  while (all.Read(&response)) {
    for (const content_api::Info& one : response.info()) {
      const auto bytes = read(one.digest());
      EXPECT_TRUE(bytes.ok() && digest_of(*bytes).string() == one.digest())
          << one.digest() << " is listed and has other bytes";
      ++listed;
    }
  }
  EXPECT_TRUE(all.Finish().ok());
  EXPECT_GE(listed, stored.size());
  // What was under way can be gone on with, or aborted.
  content_api::ListStatusesResponse ingests;
  ASSERT_TRUE(client.ListStatuses(Context(), {}, &ingests).ok());
  for (const content_api::Status& one : ingests.statuses()) {
    content_api::AbortRequest abort;
    google::protobuf::Empty nothing;
    abort.set_ref(one.ref());
    const Status aborted = client.Abort(Context(), abort, &nothing);
    EXPECT_TRUE(aborted.ok()) << one.ref() << ": " << aborted.to_string();
  }
}

// -- snapshots ----------------------------------------------------------------------------------

constexpr int kChain = 6;  // layers on top of one another, then from the start

std::string layer_name(int number) { return "layer-" + std::to_string(number); }
std::string parent_of(int number) {
  return number % kChain == 0 ? std::string() : layer_name(number - 1);
}

class SnapshotterCrash : public CrashCase {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "mounting needs root";
    // Mounts of this process and of victims end with them.
    if (::unshare(CLONE_NEWNS) != 0 ||
        ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) {
      GTEST_SKIP() << "no mount namespace to be had: " << std::strerror(errno);
    }
    CrashCase::SetUp();
  }

  using Mounts = std::vector<containerd::types::Mount>;
  static Status mounted(const Mounts& mounts, const std::string& target,
                        const std::function<void()>& work) {
    BERTH_RETURN_IF_ERROR(berth::testing::make_mounts(mounts, target));
    work();
    if (::umount2(target.c_str(), 0) != 0) return errno_status(errno, "unmount " + target);
    return {};
  }
  static Status make_layer(const snapshots::SnapshotsClient& client, int number,
                           const std::string& target);
  static Status remove(const snapshots::SnapshotsClient& client, const std::string& key) {
    snapshots::RemoveSnapshotRequest request;
    google::protobuf::Empty response;
    request.set_key(key);
    return client.Remove(Context(), request, &response);
  }
  std::map<std::string, snapshots::Info> all(const snapshots::SnapshotsClient& client) {
    std::map<std::string, snapshots::Info> found;
    auto reader = client.List(Context(), {});
    snapshots::ListSnapshotsResponse response;
    while (reader.Read(&response)) {
      for (const snapshots::Info& one : response.info()) found[one.name()] = one;
    }
    EXPECT_TRUE(reader.Finish().ok());
    return found;
  }
};

Status SnapshotterCrash::make_layer(const snapshots::SnapshotsClient& client, int number,
                                    const std::string& target) {
  const std::string key = "extract-" + std::to_string(number) + "-" + std::to_string(::getpid());
  snapshots::PrepareSnapshotRequest prepare;
  snapshots::PrepareSnapshotResponse prepared;
  prepare.set_key(key);
  prepare.set_parent(parent_of(number));
  BERTH_RETURN_IF_ERROR(client.Prepare(Context(), prepare, &prepared));
  const std::string name = std::to_string(number);
  BERTH_RETURN_IF_ERROR(mounted({prepared.mounts().begin(), prepared.mounts().end()}, target, [&] {
    berth::testing::write(target + "/file-" + name, "of layer " + name);
  }));
  snapshots::CommitSnapshotRequest commit;
  google::protobuf::Empty nothing;
  commit.set_key(key);
  commit.set_name(layer_name(number));
  const Status committed = client.Commit(Context(), commit, &nothing);
  // Of the round before, if its answer was lost.
  if (committed.code() == Code::kAlreadyExists) return remove(client, key);
  return committed;
}

TEST_F(SnapshotterCrash, WhatWasCommittedIsWhole) {
  const std::string target = directory_ + "/mnt";
  ASSERT_TRUE(fs::create_directory(target));
  int next = 0;
  std::set<int> committed;
  for (int round = 0; round < kRounds; ++round) {
    const Witness witness = kill_at_work(
        [&](const Tell& tell) -> std::string {
          if (::unshare(CLONE_NEWNS) != 0) return "no mount namespace for the victim";
          const std::string why = start_in_victim();
          if (!why.empty()) return why;
          const snapshots::SnapshotsClient client(plugin_->target());
          for (int number = next;; ++number) {
            const Status made = make_layer(client, number, target);
            if (!made.ok()) return made.to_string();
            tell(std::to_string(number));
          }
        },
        std::chrono::microseconds(random_() % kLongest));
    if (!usable(witness)) {
      if (!skip_.empty()) GTEST_SKIP() << skip_;
      return;
    }
    for (const std::string& line : witness.told) committed.insert(std::stoi(line));
    next = *committed.rbegin() + 1;
  }
  ASSERT_TRUE(start({}, directory_));
  const snapshots::SnapshotsClient client(plugin_->target());
  auto found = all(client);
  for (const int number : committed) {
    const std::string name = layer_name(number);
    ASSERT_TRUE(found.contains(name)) << name << " was committed and is gone";
    EXPECT_EQ(found[name].kind(), snapshots::COMMITTED) << name;
    EXPECT_EQ(found[name].parent(), parent_of(number)) << name;
    snapshots::ViewSnapshotRequest view;
    snapshots::ViewSnapshotResponse viewed;
    view.set_key("view");
    view.set_parent(name);
    ASSERT_TRUE(client.View(Context(), view, &viewed).ok()) << name;
    const Status looked = mounted({viewed.mounts().begin(), viewed.mounts().end()}, target, [&] {
      for (int below = number - number % kChain; below <= number; ++below) {
        const std::string text = std::to_string(below);
        EXPECT_EQ(berth::testing::read(target + "/file-" + text), "of layer " + text) << name;
      }
    });
    EXPECT_TRUE(looked.ok()) << looked.to_string();
    EXPECT_TRUE(remove(client, "view").ok());
  }
  // Each of those that were under way can be removed, and all the others with them.
  for (bool progress = true; progress && !found.empty();) {
    progress = false;
    for (const auto& [name, info] : found) progress = remove(client, name).ok() || progress;
    found = all(client);
  }
  for (const auto& [name, info] : found) ADD_FAILURE() << name << " cannot be removed";
}

}  // namespace
}  // namespace berth::ctl::validate
