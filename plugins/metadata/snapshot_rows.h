// The rows of table snapshots, and how they are laid over what a snapshotter says.
#pragma once

#include <vector>

#include "containerd/services/snapshots/v1/snapshots.pb.h"
#include "record.h"

namespace berth::metadata {

struct SnapshotRow {
  std::string key;
  std::string backend;  // name in the snapshotter
  std::string parent;   // key, or empty
  std::string labels;   // as in the database
  int64_t created = 0;
  int64_t updated = 0;
};

Result<bool> find_snapshot(Connection& db, std::string_view ns, std::string_view snapshotter,
                           std::string_view key, SnapshotRow* out);
/// NOT_FOUND when there is none.
Status require_snapshot(Connection& db, std::string_view ns, std::string_view snapshotter,
                        std::string_view key, SnapshotRow* out);
/// All of a namespace, by key.
Status list_snapshots(Connection& db, std::string_view ns, std::string_view snapshotter,
                      std::vector<SnapshotRow>* out);

/// Replaces a snapshot's references: its parent and what its labels name.
Status write_snapshot_references(Connection& db, const std::string& ns,
                                 const std::string& snapshotter, const std::string& key,
                                 const std::string& parent, const Labels& labels);

/// Name, parent, times and labels are the namespace's; kind and further labels the snapshotter's.
Status overlay_row(const SnapshotRow& row, containerd::services::snapshots::v1::Info* info);

/// The row's labels with what the mask takes from `wanted`. INVALID_ARGUMENT for other fields.
Status masked_labels(const SnapshotRow& row,
                     const containerd::services::snapshots::v1::Info& wanted,
                     const google::protobuf::FieldMask& mask, Labels* out);

/// The labels that a snapshotter is told, as containerd chooses them.
Labels inherited_labels(const Labels& labels);

FieldLookup snapshot_fields(const containerd::services::snapshots::v1::Info& info);

}  // namespace berth::metadata
