#include "snapshot_rows.h"

namespace berth::metadata {

using containerd::services::snapshots::v1::Info;

namespace {

void read_row(const Query& query, SnapshotRow* out) {
  out->key = query.string(0);
  out->backend = query.string(1);
  out->parent = query.string(2);
  out->labels = query.string(3);
  out->created = query.integer(4);
  out->updated = query.integer(5);
}

}  // namespace

Result<bool> find_snapshot(Connection& db, std::string_view ns, std::string_view snapshotter,
                           std::string_view key, SnapshotRow* out) {
  Query query(db,
              "SELECT key, backend, parent, labels, created, updated FROM snapshots "
              "WHERE ns = ?1 AND snapshotter = ?2 AND key = ?3",
              ns, snapshotter, key);
  BERTH_ASSIGN_OR_RETURN(const bool found, query.next());
  if (found) read_row(query, out);
  return found;
}

Status require_snapshot(Connection& db, std::string_view ns, std::string_view snapshotter,
                        std::string_view key, SnapshotRow* out) {
  BERTH_ASSIGN_OR_RETURN(const bool found, find_snapshot(db, ns, snapshotter, key, out));
  if (found) return {};
  return not_found("snapshot " + std::string(key) + " does not exist: not found");
}

Status list_snapshots(Connection& db, std::string_view ns, std::string_view snapshotter,
                      std::vector<SnapshotRow>* out) {
  Query query(db,
              "SELECT key, backend, parent, labels, created, updated FROM snapshots "
              "WHERE ns = ?1 AND snapshotter = ?2 ORDER BY key",
              ns, snapshotter);
  while (true) {
    BERTH_ASSIGN_OR_RETURN(const bool found, query.next());
    if (!found) return {};
    read_row(query, &out->emplace_back());
  }
}

Status write_snapshot_references(Connection& db, const std::string& ns,
                                 const std::string& snapshotter, const std::string& key,
                                 const std::string& parent, const Labels& labels) {
  const std::string node = snapshot_node(snapshotter, key);
  if (!parent.empty()) {
    BERTH_RETURN_IF_ERROR(add_reference(db, ns, Kind::kSnapshot, node, Kind::kSnapshot,
                                        snapshot_node(snapshotter, parent)));
  }
  return write_label_references(db, ns, Kind::kSnapshot, node, labels);
}

Status overlay_row(const SnapshotRow& row, Info* info) {
  Labels labels;
  BERTH_RETURN_IF_ERROR(
      decode_labels(row.labels, &labels).with_context("snapshot " + quoted(row.key)));
  info->set_name(row.key);
  info->set_parent(row.parent);
  put_time(row.created, info->mutable_created_at());
  put_time(row.updated, info->mutable_updated_at());
  for (const auto& [label, value] : labels) (*info->mutable_labels())[label] = value;
  return {};
}

Status masked_labels(const SnapshotRow& row, const Info& wanted,
                     const google::protobuf::FieldMask& mask, Labels* out) {
  BERTH_RETURN_IF_ERROR(decode_labels(row.labels, out).with_context("snapshot " + quoted(row.key)));
  if (mask.paths().empty()) *out = wanted.labels();
  for (const std::string& path : mask.paths()) {
    if (const auto label = mask_key(path, "labels")) {
      copy_label(wanted.labels(), *label, out);
    } else if (path == "labels") {
      *out = wanted.labels();
    } else {
      return invalid_argument("cannot update " + quoted(path) + " field on snapshot " +
                              quoted(row.key) + ": invalid argument");
    }
  }
  drop_empty(out);
  return validate_labels(*out, "info.Labels");
}

Labels inherited_labels(const Labels& labels) {
  Labels out;
  for (const auto& [label, value] : labels) {
    if (label == "containerd.io/snapshot.ref" || label.starts_with("containerd.io/snapshot/")) {
      out[label] = value;
    }
  }
  return out;
}

FieldLookup snapshot_fields(const Info& info) {
  return [&info](std::span<const std::string> path) -> std::optional<std::string> {
    const std::string& field = path.front();
    if (field == "name") return info.name();
    if (field == "parent") return info.parent();
    if (field == "labels") return label_field(info.labels(), path.subspan(1));
    if (field != "kind") return std::nullopt;
    switch (info.kind()) {
      case containerd::services::snapshots::v1::ACTIVE:
        return "active";
      case containerd::services::snapshots::v1::VIEW:
        return "view";
      case containerd::services::snapshots::v1::COMMITTED:
        return "committed";
      default:
        return std::nullopt;
    }
  };
}

}  // namespace berth::metadata
