// What every snapshotter has to do, as tests against real mounts. A snapshotter's test program
// links berth_snapshotter_suite and says how to open one:
//
//   INSTANTIATE_TEST_SUITE_P(Overlay, SnapshotterSuite, testing::Values(SnapshotterUnderTest{
//       .open = [](SnapshotterOptions o) -> Result<std::unique_ptr<Snapshotter>> { … },
//       .folders = {"snapshots"}}));
//
// Needs root; without it the tests are skipped. They run in a mount namespace of their own.
#pragma once

#include <berth/snapshotter.h>
#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <ostream>
#include <string>
#include <vector>

namespace berth::testing {

/// A snapshotter as the suite calls it: an object in this program, or a plugin behind the bus.
class SnapshotterAccess {
 public:
  virtual ~SnapshotterAccess() = default;
  virtual snapshots_v1::SnapshotsService& service() = 0;
  /// What List gives, record by record; an error from `visit` ends it and is its outcome.
  virtual Status walk(const std::vector<std::string>& filters,
                      const std::function<Status(const snapshots_v1::Info&)>& visit) = 0;
};

struct SnapshotterUnderTest {
  /// An opened snapshotter.
  std::function<Result<std::unique_ptr<Snapshotter>>(SnapshotterOptions)> open = nullptr;
  /// Below the root, where trees lie: must be empty when all snapshots are gone.
  std::vector<std::string> folders = {};
  /// Instead of `open`, for what is not a Snapshotter of this program. UNIMPLEMENTED: it cannot be
  /// opened again after it was closed, and the test that wants it is skipped.
  std::function<Result<std::unique_ptr<SnapshotterAccess>>(SnapshotterOptions)> connect = nullptr;
  /// A folder on the file system to use. Default: a temporary folder.
  std::function<Result<std::string>()> base = nullptr;
  /// What removes it.
  std::function<void()> release_base = nullptr;
};

inline void PrintTo(const SnapshotterUnderTest&, std::ostream* out) { *out << "snapshotter"; }

/// Makes the mounts that a snapshotter returned, in order, at `target`. As containerd's clients do,
/// long lists of layers are shortened by mounting from the folder that they have in common. On
/// failure nothing stays mounted.
Status make_mounts(const Snapshotter::MountList& mounts, const std::string& target);

class SnapshotterSuite : public ::testing::TestWithParam<SnapshotterUnderTest> {
 protected:
  void SetUp() override;
  void TearDown() override;
  void reopen();

  using MountList = Snapshotter::MountList;
  using Labels = std::map<std::string, std::string>;
  Result<MountList> prepare(const std::string& key, const std::string& parent = "",
                            const Labels& labels = {});
  Result<MountList> view(const std::string& key, const std::string& parent = "");
  Result<MountList> mounts(const std::string& key);
  Status commit(const std::string& name, const std::string& key, const Labels& labels = {});
  Status remove(const std::string& key);
  Result<snapshots_v1::Info> stat(const std::string& key);
  Result<SnapshotUsage> usage(const std::string& key);
  std::vector<std::string> names(const std::vector<std::string>& filters = {});
  Status walk(const std::vector<std::string>& filters,
              const std::function<Status(const snapshots_v1::Info&)>& visit) {
    return access_->walk(filters, visit);
  }

  /// Mounts, runs `work` with the path of the root, unmounts. The test fails where the mount fails.
  void mounted(const Result<MountList>& mounts,
               const std::function<void(const std::string&)>& work);
  /// A committed snapshot with what `work` did.
  void layer(const std::string& name, const std::string& parent,
             const std::function<void(const std::string&)>& work);
  /// Removes removed trees from disk and fails the test when something is left in the folders.
  void expect_nothing_left();

  std::string folder_;
  std::vector<std::string> warnings_;
  snapshots_v1::SnapshotsService* snapshotter_ = nullptr;

 private:
  void close();
  Result<std::unique_ptr<SnapshotterAccess>> open(SnapshotterOptions options);

  std::unique_ptr<SnapshotterAccess> access_;
  std::mutex warnings_mutex_;
  std::string target_;
};

}  // namespace berth::testing
