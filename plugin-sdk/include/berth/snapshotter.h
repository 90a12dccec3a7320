// A snapshotter in one page: derive from Snapshotter, say where trees lie, how one is made and how
// it is mounted. The base serves containerd.services.snapshots.v1.Snapshots from that: records,
// codes, order of writes, removal, recovery.
//
//   class Overlay : public berth::Snapshotter {
//     std::vector<std::string> folders() const override { return {"snapshots"}; }
//     std::string place(const SnapshotRecord& r) const override { return "snapshots/" + id; }
//     Status make_tree(const Snapshot& snapshot) override { … mkdir … }
//     Result<MountList> mounts_of(const Snapshot& snapshot) const override { … }
//   };
#pragma once

#include <berth/snapshot_records.h>

#include <condition_variable>
#include <mutex>
#include <set>

#include "containerd/services/snapshots/v1/snapshots.berth.h"

namespace berth {

namespace snapshots_v1 = ::containerd::services::snapshots::v1;

struct SnapshotterOptions {
  std::string root;          ///< Absolute. Made with mode 0700; holds metadata.db and the trees.
  bool sync = true;          ///< Commit makes the tree durable before it is recorded.
  bool sync_remove = false;  ///< Remove waits until the tree is gone from disk.
  /// Runs work on another thread; false when there is none. Without it trees are removed in Cleanup
  /// alone.
  std::function<bool(std::function<void()>)> spawn;
  /// Takes what an administrator should know. Any thread.
  std::function<void(std::string_view)> warn;
};

/// Calls come from any thread, several at once. Overridden functions run on the caller's thread;
/// no lock or transaction is held, except that Commit and Remove of one key wait for each other.
class Snapshotter : public snapshots_v1::SnapshotsService {
 public:
  using MountList = std::vector<::containerd::types::Mount>;

  explicit Snapshotter(SnapshotterOptions options);
  /// Where work was spawned, stop() must have come first.
  ~Snapshotter() override;

  /// Once, before all else: opens the records, schedules the removal of trees that no record knows,
  /// warns of records whose tree is gone. An error says why this snapshotter cannot work here.
  virtual Status open();
  /// Ends removal in the background after the tree at hand, and waits for that until `deadline_ns`
  /// (CLOCK_MONOTONIC). What is left is removed after the next start.
  void stop(int64_t deadline_ns);

  Status Prepare(Context& ctx, const snapshots_v1::PrepareSnapshotRequest& request,
                 snapshots_v1::PrepareSnapshotResponse* response) override;
  Status View(Context& ctx, const snapshots_v1::ViewSnapshotRequest& request,
              snapshots_v1::ViewSnapshotResponse* response) override;
  Status Mounts(Context& ctx, const snapshots_v1::MountsRequest& request,
                snapshots_v1::MountsResponse* response) override;
  Status Commit(Context& ctx, const snapshots_v1::CommitSnapshotRequest& request,
                google::protobuf::Empty* response) override;
  Status Remove(Context& ctx, const snapshots_v1::RemoveSnapshotRequest& request,
                google::protobuf::Empty* response) override;
  Status Stat(Context& ctx, const snapshots_v1::StatSnapshotRequest& request,
              snapshots_v1::StatSnapshotResponse* response) override;
  Status Update(Context& ctx, const snapshots_v1::UpdateSnapshotRequest& request,
                snapshots_v1::UpdateSnapshotResponse* response) override;
  Status List(Context& ctx, const snapshots_v1::ListSnapshotsRequest& request,
              ServerWriter<snapshots_v1::ListSnapshotsResponse>& writer) override;
  Status Usage(Context& ctx, const snapshots_v1::UsageRequest& request,
               snapshots_v1::UsageResponse* response) override;
  Status Cleanup(Context& ctx, const snapshots_v1::CleanupRequest& request,
                 google::protobuf::Empty* response) override;

  /// What List sends, record by record. Nothing is locked during `visit`; an error from it ends the
  /// walk.
  template <typename Range>
  Status walk(const Range& filters,
              const std::function<Status(const snapshots_v1::Info&)>& visit) const {
    BERTH_ASSIGN_OR_RETURN(const FilterSet set, FilterSet::parse(filters));
    return walk_matching(set, visit);
  }

 protected:
  using Cancelled = std::function<bool()>;

  /// The folders below the root in which trees lie, each tree one entry. Entries that no record
  /// knows are removed.
  virtual std::vector<std::string> folders() const = 0;
  /// Where the tree of a snapshot is, relative to the root ("snapshots/7"); empty when it has none
  /// of its own. Depends on id, kind and on whether there is a parent, nothing else.
  virtual std::string place(const SnapshotRecord& record) const = 0;
  /// Makes the tree of a new view or active snapshot at its place, where nothing is. After an error
  /// remove_place() is called.
  virtual Status make_tree(const Snapshot& snapshot) = 0;
  /// Makes durable what make_tree() has made, before it is recorded. Default: fsync of the tree's
  /// directory and of the folder that it is in, which is enough for a tree without content.
  virtual Status sync_made(const Snapshot& snapshot) const;
  /// How to mount a view or an active snapshot.
  virtual Result<MountList> mounts_of(const Snapshot& snapshot) const = 0;

  /// Called by Commit before it is recorded, when the place of the committed tree is another:
  /// makes that tree. The active one is removed afterwards.
  virtual Status commit_tree(const Snapshot& active, const SnapshotRecord& committed);
  /// Makes the tree durable. Default: syncfs on its file system.
  virtual Status sync_tree(const Snapshot& snapshot) const;
  /// What the tree of an active snapshot takes. Default: tree_usage() of its place.
  virtual Result<SnapshotUsage> measure(const Snapshot& snapshot, const Cancelled& cancelled) const;
  /// Removes an entry of a folder, made by make_tree() or half-made. Absent is success. Default:
  /// remove_tree().
  virtual Status remove_place(const std::string& relative);
  /// Adds labels that are computed, not recorded.
  virtual void add_labels(const SnapshotRecord& record, SnapshotLabels* labels) const;

  const SnapshotterOptions& options() const { return options_; }
  std::string absolute(const std::string& relative) const { return options_.root + "/" + relative; }
  void warn(std::string_view text) const {
    if (options_.warn) options_.warn(text);
  }

 private:
  class KeyLock;
  class Making;

  Result<MountList> create(SnapshotKind kind, const std::string& key, const std::string& parent,
                           SnapshotLabels labels);
  Status commit(const std::string& key, const std::string& name, const SnapshotLabels& labels,
                const Cancelled& cancelled);
  Status walk_matching(const FilterSet& filters,
                       const std::function<Status(const snapshots_v1::Info&)>& visit) const;
  void fill_info(const SnapshotRecord& record, snapshots_v1::Info* info) const;
  /// DATA_LOSS when the tree of the snapshot or of a parent was found missing at the start.
  Status check_trees(const Snapshot& snapshot) const;
  Status inspect_trees();
  /// Removes all entries of the folders that are neither recorded nor being made.
  void remove_unrecorded();
  void schedule_removal();

  const SnapshotterOptions options_;
  std::unique_ptr<SnapshotRecords> records_;
  std::set<uint64_t> missing_;  // ids of records without tree; written by open() alone

  std::mutex mutex_;  // guards what follows; never held during file system work
  std::condition_variable changed_;
  std::set<std::string> locked_keys_;
  std::multiset<std::string> making_;  // places whose record is still to be written
  bool removal_wanted_ = false;
  bool removal_running_ = false;
  bool closing_ = false;

  std::mutex removal_mutex_;  // one removal at a time
};

}  // namespace berth
