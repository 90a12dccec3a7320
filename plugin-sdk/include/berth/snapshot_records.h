// The records of one snapshotter: which snapshots there are, of what kind, on which parent, with
// which labels. The trees themselves are the snapshotter's business. docs/formats/snapshots.md
// describes the database.
#pragma once

#include <berth/filter.h>
#include <berth/status.h>

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace berth {

/// Numbers as on the wire (containerd.services.snapshots.v1.Kind) and on disk.
enum class SnapshotKind : int { kView = 1, kActive = 2, kCommitted = 3 };

/// "view", "active" or "committed".
std::string_view snapshot_kind_name(SnapshotKind kind);

using SnapshotLabels = std::map<std::string, std::string, std::less<>>;

struct SnapshotUsage {
  int64_t bytes = 0;
  int64_t inodes = 0;
};

struct SnapshotRecord {
  uint64_t id = 0;     ///< Given once, never to another snapshot of this snapshotter.
  std::string key;     ///< Key of a view or an active snapshot, name of a committed one.
  std::string parent;  ///< Name of the parent, empty for none.
  SnapshotKind kind = SnapshotKind::kActive;
  SnapshotUsage usage;  ///< Of committed snapshots.
  SnapshotLabels labels;
  int64_t created_ns = 0;  ///< Nanoseconds since 1970, as updated_ns.
  int64_t updated_ns = 0;
};

/// A record and the ids of its parents, the nearest first.
struct Snapshot {
  SnapshotRecord record;
  std::vector<uint64_t> parents;
};

/// All functions: any thread. Each is one transaction of its own; what has returned OK survives
/// power loss. Codes are those that containerd's clients expect, and besides them those of the
/// database (a full disk is RESOURCE_EXHAUSTED).
class SnapshotRecords {
 public:
  /// Opens the database `path`, made with mode 0600 when it is absent. FAILED_PRECONDITION when a
  /// newer Berth wrote it.
  static Result<std::unique_ptr<SnapshotRecords>> open(const std::string& path);
  ~SnapshotRecords();

  /// What insert() will record if nothing comes between: a fresh id, the parents, the time. Nothing
  /// is written. INVALID_ARGUMENT: no key, or the parent is not committed. NOT_FOUND: no such
  /// parent. ALREADY_EXISTS: the key.
  Result<Snapshot> draft(SnapshotKind kind, std::string_view key, std::string_view parent,
                         SnapshotLabels labels);
  /// Records a draft, whose tree is in place by now. Codes as draft(): the parent may have gone
  /// meanwhile.
  Status insert(const Snapshot& draft);

  /// Ids below this one are not given again. For trees found on disk that no record knows.
  void reserve_ids(uint64_t highest);

  /// NOT_FOUND.
  Result<SnapshotRecord> stat(std::string_view key) const;
  /// NOT_FOUND. With the parents.
  Result<Snapshot> snapshot(std::string_view key) const;
  bool exists(std::string_view key) const;
  /// All records as they are at one moment, without labels.
  Result<std::vector<SnapshotRecord>> all() const;

  /// Turns the active snapshot `key` into the committed snapshot `name`; `labels` replace the
  /// labels it had. NOT_FOUND: no such key. ALREADY_EXISTS: the name. FAILED_PRECONDITION: not
  /// active.
  Status commit(std::string_view key, std::string_view name, const SnapshotUsage& usage,
                const SnapshotLabels& labels);

  /// NOT_FOUND; FAILED_PRECONDITION while other snapshots have it as parent. Returns the record
  /// that was.
  Result<SnapshotRecord> remove(std::string_view key);

  /// Changes labels and the time of update; returns the record that is. `paths` of the field mask:
  /// "labels" replaces all, "labels.KEY" sets one, none is like "labels". INVALID_ARGUMENT for
  /// others. A label set to an empty value is removed. NOT_FOUND.
  Result<SnapshotRecord> update(std::string_view key, const SnapshotLabels& labels,
                                std::span<const std::string> paths);

  /// Calls `visit` with the records that match, ordered by the bytes of their keys, until it
  /// returns an error, which then is the outcome. Neither lock nor transaction is held during
  /// `visit`; it may call any function of this class. What changes meanwhile is seen or not.
  /// Filters know the fields kind, name, parent and labels.
  Status walk(const FilterSet& filters,
              const std::function<Status(const SnapshotRecord&)>& visit) const;

 private:
  struct Store;
  explicit SnapshotRecords(std::unique_ptr<Store> store);
  std::unique_ptr<Store> store_;
};

}  // namespace berth
