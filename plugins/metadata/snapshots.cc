#include "snapshots.h"

#include "containerd/events/snapshot.pb.h"
#include "record.h"
#include "snapshot_rows.h"

namespace berth::metadata {

using namespace containerd::services::snapshots::v1;

namespace {

// A snapshotter that fetches layers itself may find that it has the wanted one.
constexpr std::string_view kTargetLabel = "containerd.io/snapshot.ref";

std::string target_of(const Labels& labels) {
  const auto found = labels.find(std::string(kTargetLabel));
  return found == labels.end() ? std::string() : found->second;
}

Status exists_already(const std::string& what, const std::string& key) {
  return already_exists(what + " " + quoted(key) + ": already exists");
}

}  // namespace

Result<SnapshotBackend*> Snapshots::backend(const std::string& snapshotter) const {
  if (snapshotter.empty()) {
    return invalid_argument("snapshotter argument missing: invalid argument");
  }
  const auto found = backends_.find(snapshotter);
  if (found == backends_.end()) {
    return invalid_argument("snapshotter not loaded: " + snapshotter + ": invalid argument");
  }
  return found->second.get();
}

Result<std::string> Snapshots::resolve(const Context& context, const std::string& snapshotter,
                                       const std::string& key) {
  BERTH_ASSIGN_OR_RETURN(const std::string ns, caller_namespace(context));
  SnapshotRow row;
  BERTH_RETURN_IF_ERROR(store_.read(
      [&](Connection& db) { return require_snapshot(db, ns, snapshotter, key, &row); }));
  return row.backend;
}

Result<std::string> Snapshots::fresh_name(const std::string& ns, const std::string& key) {
  BERTH_ASSIGN_OR_RETURN(const int64_t number, store_.next_number());
  return ns + "/" + std::to_string(number) + "/" + key;
}

Status Snapshots::Prepare(Context& context, const PrepareSnapshotRequest& request,
                          PrepareSnapshotResponse* response) {
  BERTH_ASSIGN_OR_RETURN(SnapshotBackend* const store, backend(request.snapshotter()));
  BERTH_ASSIGN_OR_RETURN(const std::string ns, caller_namespace(context));
  BERTH_RETURN_IF_ERROR(
      create(context,
             {ns, request.snapshotter(), request.key(), request.parent(), request.labels(), {}, {}},
             [&](const Creation& creation, const Labels& inherited) {
               PrepareSnapshotRequest inner;
               inner.set_key(creation.backend);
               inner.set_parent(creation.backend_parent);
               *inner.mutable_labels() = inherited;
               return store->prepare(context, inner, response);
             }));
  containerd::events::SnapshotPrepare event;
  event.set_key(request.key());
  event.set_parent(request.parent());
  event.set_snapshotter(request.snapshotter());
  publish_(context, "/snapshot/prepare", event);
  return {};
}

Status Snapshots::View(Context& context, const ViewSnapshotRequest& request,
                       ViewSnapshotResponse* response) {
  BERTH_ASSIGN_OR_RETURN(SnapshotBackend* const store, backend(request.snapshotter()));
  BERTH_ASSIGN_OR_RETURN(const std::string ns, caller_namespace(context));
  return create(
      context,
      {ns, request.snapshotter(), request.key(), request.parent(), request.labels(), {}, {}},
      [&](const Creation& creation, const Labels& inherited) {
        ViewSnapshotRequest inner;
        inner.set_key(creation.backend);
        inner.set_parent(creation.backend_parent);
        *inner.mutable_labels() = inherited;
        return store->view(context, inner, response);
      });
}

Status Snapshots::create(const Context& context, Creation creation, const Make& make) {
  if (creation.key.empty()) {
    return invalid_argument("prepare snapshot: the key must not be empty: invalid argument");
  }
  BERTH_RETURN_IF_ERROR(validate_labels(creation.labels, "info.Labels"));
  // Two calls for one key come one after the other; the second finds what the first has made.
  BERTH_ASSIGN_OR_RETURN(
      const InFlight::Hold key_hold,
      in_flight_.reserve(context,
                         snapshot_key_name(creation.ns, creation.snapshotter, creation.key)));
  BERTH_RETURN_IF_ERROR(check_creation(context, &creation));
  BERTH_ASSIGN_OR_RETURN(creation.backend, fresh_name(creation.ns, creation.key));
  BERTH_ASSIGN_OR_RETURN(
      const InFlight::Hold name_hold,
      in_flight_.use(context, backend_snapshot_name(creation.snapshotter, creation.backend)));

  const Status made = make(creation, inherited_labels(creation.labels));
  const std::string target = target_of(creation.labels);
  if (made.code() == Code::kAlreadyExists) {
    if (!target.empty()) return adopt(context, std::move(creation), target);
    // Names there are never used twice: a client must not take this for its own snapshot.
    return unknown_error("unexpected error from snapshotter " + creation.snapshotter + ": " +
                         made.message());
  }
  BERTH_RETURN_IF_ERROR(made);
  Status recorded = record_creation(context, creation);
  if (!recorded.ok()) discard(creation.snapshotter, creation.backend);
  return recorded;
}

// Fills in the parent's name in the backend; ALREADY_EXISTS, with a lease, for what is there.
Status Snapshots::check_creation(const Context& context, Creation* creation) {
  const std::string target = target_of(creation->labels);
  std::string existing;
  const Status done = store_.read([&](Connection& db) -> Status {
    SnapshotRow row;
    for (const std::string& key : {target, creation->key}) {
      if (key.empty()) continue;
      BERTH_ASSIGN_OR_RETURN(const bool found,
                             find_snapshot(db, creation->ns, creation->snapshotter, key, &row));
      if (!found) continue;
      existing = key;
      return {};
    }
    if (creation->parent.empty()) return {};
    BERTH_ASSIGN_OR_RETURN(const bool found, find_snapshot(db, creation->ns, creation->snapshotter,
                                                           creation->parent, &row));
    if (!found) {
      return not_found("parent snapshot " + creation->parent + " does not exist: not found");
    }
    creation->backend_parent = row.backend;
    return {};
  });
  BERTH_RETURN_IF_ERROR(done);
  if (existing.empty()) return {};
  if (!context.header(kLeaseHeader).empty()) {
    BERTH_RETURN_IF_ERROR(store_.write([&](Tx& tx) {
      return add_to_lease(tx, context, creation->ns, Kind::kSnapshot,
                          snapshot_node(creation->snapshotter, existing))
          .status();
    }));
  }
  return exists_already(existing == target ? "target snapshot" : "snapshot", existing);
}

// The backend has the wanted snapshot already: records it under the target's key and says so.
Status Snapshots::adopt(const Context& context, Creation creation, const std::string& target) {
  BERTH_ASSIGN_OR_RETURN(SnapshotBackend* const store, backend(creation.snapshotter));
  const std::string filter = "labels.\"" + std::string(kTargetLabel) + "\"==\"" + target + "\"";
  std::optional<SnapshotInfo> there;
  BERTH_RETURN_IF_ERROR(store->list(context, {filter}, [&](const SnapshotInfo& info) {
    if (info.kind() == COMMITTED && target_of(info.labels()) == target &&
        info.parent() == creation.backend_parent) {
      there = info;
    }
    return !there.has_value();
  }));
  if (!there) return not_found("target snapshot " + quoted(target) + " in backend: not found");
  creation.key = target;
  creation.backend = there->name();
  for (const auto& [label, value] : there->labels()) creation.labels.insert({label, value});
  BERTH_RETURN_IF_ERROR(record_creation(context, creation));
  return exists_already("target snapshot from snapshotter", target);
}

Status Snapshots::record_creation(const Context& context, const Creation& creation) {
  const int64_t now = wall_now();
  return store_.write([&](Tx& tx) -> Status {
    BERTH_RETURN_IF_ERROR(ensure_namespace(tx, creation.ns));
    if (!creation.parent.empty()) {
      SnapshotRow parent;
      BERTH_ASSIGN_OR_RETURN(const bool found, find_snapshot(tx, creation.ns, creation.snapshotter,
                                                             creation.parent, &parent));
      if (!found || parent.backend != creation.backend_parent) {  // removed meanwhile
        return not_found("parent snapshot " + creation.parent + " does not exist: not found");
      }
    }
    const std::string node = snapshot_node(creation.snapshotter, creation.key);
    BERTH_RETURN_IF_ERROR(add_to_lease(tx, context, creation.ns, Kind::kSnapshot, node).status());
    BERTH_RETURN_IF_ERROR(
        run(tx, "INSERT OR IGNORE INTO snapshots VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?7, ?8)",
            creation.ns, creation.snapshotter, creation.key, creation.backend, creation.parent,
            encode_labels(creation.labels), now, root_until(creation.labels)));
    if (tx.changes() == 0) return exists_already("snapshot", creation.key);
    return write_snapshot_references(tx, creation.ns, creation.snapshotter, creation.key,
                                     creation.parent, creation.labels);
  });
}

// Leaves a snapshot without record to the collector.
void Snapshots::discard(const std::string& snapshotter, const std::string& backend_name) {
  (void)store_.write([&](Tx& tx) {  // on failure the first collection after a start finds it
    tx.mark_dirty();
    tx.mark_removal();
    return run(tx, "INSERT OR IGNORE INTO discarded VALUES ('snapshot', ?1, ?2)", snapshotter,
               backend_name);
  });
}

Status Snapshots::Commit(Context& context, const CommitSnapshotRequest& request,
                         google::protobuf::Empty*) {
  BERTH_ASSIGN_OR_RETURN(SnapshotBackend* const store, backend(request.snapshotter()));
  BERTH_ASSIGN_OR_RETURN(const std::string ns, caller_namespace(context));
  if (request.name().empty() || request.key().empty()) {
    return invalid_argument("commit snapshot: key and name must not be empty: invalid argument");
  }
  BERTH_RETURN_IF_ERROR(validate_labels(request.labels(), "info.Labels"));
  BERTH_ASSIGN_OR_RETURN(
      const InFlight::Hold key_hold,
      in_flight_.reserve(context, snapshot_key_name(ns, request.snapshotter(), request.name())));
  std::string backend_key;
  BERTH_RETURN_IF_ERROR(check_commit(context, ns, request, &backend_key));
  CommitSnapshotRequest inner;
  BERTH_ASSIGN_OR_RETURN(*inner.mutable_name(), fresh_name(ns, request.name()));
  BERTH_ASSIGN_OR_RETURN(
      const InFlight::Hold name_hold,
      in_flight_.use(context, backend_snapshot_name(request.snapshotter(), inner.name())));
  inner.set_key(backend_key);
  *inner.mutable_labels() = inherited_labels(request.labels());
  // The layer is durable in the backend before it is recorded here.
  BERTH_RETURN_IF_ERROR(store->commit(context, inner));
  const Status recorded = record_commit(context, ns, request, inner.name());
  if (!recorded.ok()) {
    discard(request.snapshotter(), inner.name());
    return recorded;
  }
  containerd::events::SnapshotCommit event;
  event.set_key(request.key());
  event.set_name(request.name());
  event.set_snapshotter(request.snapshotter());
  publish_(context, "/snapshot/commit", event);
  return {};
}

Status Snapshots::check_commit(const Context& context, const std::string& ns,
                               const CommitSnapshotRequest& request, std::string* backend_key) {
  bool committed = false;
  const Status done = store_.read([&](Connection& db) -> Status {
    SnapshotRow row;
    BERTH_ASSIGN_OR_RETURN(committed,
                           find_snapshot(db, ns, request.snapshotter(), request.name(), &row));
    if (committed) return {};
    BERTH_RETURN_IF_ERROR(require_snapshot(db, ns, request.snapshotter(), request.key(), &row));
    *backend_key = row.backend;
    return {};
  });
  BERTH_RETURN_IF_ERROR(done);
  if (!committed) return {};
  if (!context.header(kLeaseHeader).empty()) {
    BERTH_RETURN_IF_ERROR(store_.write([&](Tx& tx) {
      return add_to_lease(tx, context, ns, Kind::kSnapshot,
                          snapshot_node(request.snapshotter(), request.name()))
          .status();
    }));
  }
  return exists_already("snapshot", request.name());
}

Status Snapshots::record_commit(const Context& context, const std::string& ns,
                                const CommitSnapshotRequest& request,
                                const std::string& backend_name) {
  const std::string& snapshotter = request.snapshotter();
  const int64_t now = wall_now();
  return store_.write([&](Tx& tx) -> Status {
    SnapshotRow row;
    BERTH_RETURN_IF_ERROR(require_snapshot(tx, ns, snapshotter, request.key(), &row));
    const std::string old_node = snapshot_node(snapshotter, request.key());
    BERTH_RETURN_IF_ERROR(run(tx,
                              "UPDATE snapshots SET key = ?4, backend = ?5, labels = ?6, "
                              "created = ?7, updated = ?7, root_until = ?8 "
                              "WHERE ns = ?1 AND snapshotter = ?2 AND key = ?3",
                              ns, snapshotter, request.key(), request.name(), backend_name,
                              encode_labels(request.labels()), now, root_until(request.labels())));
    BERTH_RETURN_IF_ERROR(drop_references(tx, ns, Kind::kSnapshot, old_node));
    BERTH_RETURN_IF_ERROR(remove_from_lease(tx, context, ns, Kind::kSnapshot, old_node));
    BERTH_RETURN_IF_ERROR(
        add_to_lease(tx, context, ns, Kind::kSnapshot, snapshot_node(snapshotter, request.name()))
            .status());
    return write_snapshot_references(tx, ns, snapshotter, request.name(), row.parent,
                                     request.labels());
  });
}

Status Snapshots::Remove(Context& context, const RemoveSnapshotRequest& request,
                         google::protobuf::Empty*) {
  BERTH_RETURN_IF_ERROR(backend(request.snapshotter()).status());
  BERTH_ASSIGN_OR_RETURN(const std::string ns, caller_namespace(context));
  const std::string& key = request.key();
  const Status written = store_.write([&](Tx& tx) -> Status {
    SnapshotRow row;
    BERTH_RETURN_IF_ERROR(require_snapshot(tx, ns, request.snapshotter(), key, &row));
    BERTH_ASSIGN_OR_RETURN(const bool has_child,
                           exists(tx,
                                  "SELECT 1 FROM snapshots WHERE ns = ?1 AND snapshotter = ?2 AND "
                                  "parent = ?3 AND parent <> '' LIMIT 1",
                                  ns, request.snapshotter(), key));
    if (has_child) {
      return failed_precondition("cannot remove snapshot " + quoted(key) +
                                 " with child: failed precondition");
    }
    const std::string node = snapshot_node(request.snapshotter(), key);
    BERTH_RETURN_IF_ERROR(
        run(tx, "DELETE FROM snapshots WHERE ns = ?1 AND snapshotter = ?2 AND key = ?3", ns,
            request.snapshotter(), key));
    BERTH_RETURN_IF_ERROR(remove_from_lease(tx, context, ns, Kind::kSnapshot, node));
    tx.mark_dirty();
    tx.mark_removal();
    return drop_references(tx, ns, Kind::kSnapshot, node);
  });
  BERTH_RETURN_IF_ERROR(written);
  containerd::events::SnapshotRemove event;
  event.set_key(key);
  event.set_snapshotter(request.snapshotter());
  publish_(context, "/snapshot/remove", event);
  return {};
}

Status Snapshots::Stat(Context& context, const StatSnapshotRequest& request,
                       StatSnapshotResponse* response) {
  BERTH_ASSIGN_OR_RETURN(SnapshotBackend* const store, backend(request.snapshotter()));
  BERTH_ASSIGN_OR_RETURN(const std::string ns, caller_namespace(context));
  SnapshotRow row;
  BERTH_RETURN_IF_ERROR(store_.read([&](Connection& db) {
    return require_snapshot(db, ns, request.snapshotter(), request.key(), &row);
  }));
  BERTH_RETURN_IF_ERROR(store->stat(context, row.backend, response->mutable_info()));
  return overlay_row(row, response->mutable_info());
}

Status Snapshots::Update(Context& context, const UpdateSnapshotRequest& request,
                         UpdateSnapshotResponse* response) {
  BERTH_ASSIGN_OR_RETURN(SnapshotBackend* const store, backend(request.snapshotter()));
  BERTH_ASSIGN_OR_RETURN(const std::string ns, caller_namespace(context));
  const std::string& key = request.info().name();
  if (key.empty()) return invalid_argument("update snapshot: the name is missing");
  SnapshotRow row;
  Labels labels;
  const auto apply = [&](Connection& db) -> Status {
    BERTH_RETURN_IF_ERROR(require_snapshot(db, ns, request.snapshotter(), key, &row));
    return masked_labels(row, request.info(), request.update_mask(), &labels);
  };
  BERTH_RETURN_IF_ERROR(store_.read(apply));
  UpdateSnapshotRequest inner;
  inner.mutable_info()->set_name(row.backend);
  *inner.mutable_info()->mutable_labels() = inherited_labels(labels);
  *inner.mutable_update_mask() = request.update_mask();
  BERTH_RETURN_IF_ERROR(store->update(context, inner, response->mutable_info()));
  const Status written = store_.write([&](Tx& tx) -> Status {
    BERTH_RETURN_IF_ERROR(apply(tx));
    row.labels = encode_labels(labels);
    row.updated = wall_now();
    BERTH_RETURN_IF_ERROR(run(tx,
                              "UPDATE snapshots SET labels = ?4, updated = ?5, root_until = ?6 "
                              "WHERE ns = ?1 AND snapshotter = ?2 AND key = ?3",
                              ns, request.snapshotter(), key, row.labels, row.updated,
                              root_until(labels)));
    tx.mark_dirty();  // what its labels named before may be free
    return write_snapshot_references(tx, ns, request.snapshotter(), key, row.parent, labels);
  });
  BERTH_RETURN_IF_ERROR(written);
  return overlay_row(row, response->mutable_info());
}

Status Snapshots::Mounts(Context& context, const MountsRequest& request, MountsResponse* response) {
  BERTH_ASSIGN_OR_RETURN(SnapshotBackend* const store, backend(request.snapshotter()));
  BERTH_ASSIGN_OR_RETURN(const std::string name,
                         resolve(context, request.snapshotter(), request.key()));
  return store->mounts(context, name, response);
}

Status Snapshots::Usage(Context& context, const UsageRequest& request, UsageResponse* response) {
  BERTH_ASSIGN_OR_RETURN(SnapshotBackend* const store, backend(request.snapshotter()));
  BERTH_ASSIGN_OR_RETURN(const std::string name,
                         resolve(context, request.snapshotter(), request.key()));
  return store->usage(context, name, response);
}

Status Snapshots::Cleanup(Context& context, const CleanupRequest& request,
                          google::protobuf::Empty*) {
  BERTH_ASSIGN_OR_RETURN(SnapshotBackend* const store, backend(request.snapshotter()));
  return store->cleanup(context);
}

Status Snapshots::walk(const Context& context, const ListSnapshotsRequest& request,
                       const std::function<Status(SnapshotInfo&&)>& visit) {
  BERTH_ASSIGN_OR_RETURN(SnapshotBackend* const store, backend(request.snapshotter()));
  BERTH_ASSIGN_OR_RETURN(const std::string ns, caller_namespace(context));
  BERTH_ASSIGN_OR_RETURN(const FilterSet filters, FilterSet::parse(request.filters()));
  std::vector<SnapshotRow> rows;
  BERTH_RETURN_IF_ERROR(store_.read(
      [&](Connection& db) { return list_snapshots(db, ns, request.snapshotter(), &rows); }));
  if (rows.empty()) return {};
  // One call for all instead of one for each.
  std::map<std::string, SnapshotInfo> there;
  BERTH_RETURN_IF_ERROR(store->list(context, {}, [&](const SnapshotInfo& info) {
    if (info.name().starts_with(ns + "/") || !info.labels().empty()) there[info.name()] = info;
    return true;
  }));
  for (const SnapshotRow& row : rows) {
    const auto found = there.find(row.backend);
    if (found == there.end()) continue;  // gone in the backend
    SnapshotInfo info = found->second;
    BERTH_RETURN_IF_ERROR(overlay_row(row, &info));
    if (filters.matches(snapshot_fields(info))) BERTH_RETURN_IF_ERROR(visit(std::move(info)));
  }
  return {};
}

Status Snapshots::List(Context& context, const ListSnapshotsRequest& request,
                       ServerWriter<ListSnapshotsResponse>& writer) {
  constexpr int kInfosPerMessage = 100;  // as containerd sends
  ListSnapshotsResponse batch;
  const auto flush = [&]() -> Status {
    if (batch.info_size() > 0 && !writer.Write(batch)) {
      return cancelled("list snapshots: the caller is gone");
    }
    batch.Clear();
    return {};
  };
  BERTH_RETURN_IF_ERROR(walk(context, request, [&](SnapshotInfo&& info) -> Status {
    *batch.add_info() = std::move(info);
    return batch.info_size() < kInfosPerMessage ? Status() : flush();
  }));
  return flush();
}

}  // namespace berth::metadata
