// containerd.services.snapshots.v1.Snapshots: the snapshots of namespaces, over snapshotters that
// know none. The field `snapshotter` of each request selects one.
#pragma once

#include <functional>

#include "backends.h"
#include "containerd/services/snapshots/v1/snapshots.berth.h"
#include "events.h"
#include "in_flight.h"
#include "references.h"

namespace berth::metadata {

/// Any thread. A snapshot is made in the backend first and recorded then; one whose record fails is
/// left to the collector. Names in the backend are "<namespace>/<number>/<key>", never used twice.
class Snapshots final : public containerd::services::snapshots::v1::SnapshotsService {
 public:
  using SnapshotInfo = containerd::services::snapshots::v1::Info;

  Snapshots(Store& store, const SnapshotBackends& backends, InFlight& in_flight, Publish publish)
      : store_(store), backends_(backends), in_flight_(in_flight), publish_(std::move(publish)) {}

  Status Prepare(Context& context,
                 const containerd::services::snapshots::v1::PrepareSnapshotRequest& request,
                 containerd::services::snapshots::v1::PrepareSnapshotResponse* response) override;
  Status View(Context& context,
              const containerd::services::snapshots::v1::ViewSnapshotRequest& request,
              containerd::services::snapshots::v1::ViewSnapshotResponse* response) override;
  Status Mounts(Context& context, const containerd::services::snapshots::v1::MountsRequest& request,
                containerd::services::snapshots::v1::MountsResponse* response) override;
  Status Commit(Context& context,
                const containerd::services::snapshots::v1::CommitSnapshotRequest& request,
                google::protobuf::Empty* response) override;
  /// Removes the record; a collection removes the snapshot. FAILED_PRECONDITION while it has
  /// children.
  Status Remove(Context& context,
                const containerd::services::snapshots::v1::RemoveSnapshotRequest& request,
                google::protobuf::Empty* response) override;
  Status Stat(Context& context,
              const containerd::services::snapshots::v1::StatSnapshotRequest& request,
              containerd::services::snapshots::v1::StatSnapshotResponse* response) override;
  Status Update(Context& context,
                const containerd::services::snapshots::v1::UpdateSnapshotRequest& request,
                containerd::services::snapshots::v1::UpdateSnapshotResponse* response) override;
  Status List(
      Context& context, const containerd::services::snapshots::v1::ListSnapshotsRequest& request,
      ServerWriter<containerd::services::snapshots::v1::ListSnapshotsResponse>& writer) override;
  Status Usage(Context& context, const containerd::services::snapshots::v1::UsageRequest& request,
               containerd::services::snapshots::v1::UsageResponse* response) override;
  Status Cleanup(Context& context,
                 const containerd::services::snapshots::v1::CleanupRequest& request,
                 google::protobuf::Empty* response) override;

  /// The snapshots that the filters match, by key, until `visit` fails.
  Status walk(const Context& context,
              const containerd::services::snapshots::v1::ListSnapshotsRequest& request,
              const std::function<Status(SnapshotInfo&&)>& visit);

 private:
  // What is to be made by Prepare and View alike.
  struct Creation {
    std::string ns, snapshotter, key, parent;
    Labels labels;
    std::string backend;         // the new snapshot's name there
    std::string backend_parent;  // and its parent's
  };
  using Make = std::function<Status(const Creation& creation, const Labels& inherited)>;

  Result<SnapshotBackend*> backend(const std::string& snapshotter) const;
  Result<std::string> resolve(const Context& context, const std::string& snapshotter,
                              const std::string& key);
  Status create(const Context& context, Creation creation, const Make& make);
  Status check_creation(const Context& context, Creation* creation);
  Status adopt(const Context& context, Creation creation, const std::string& target);
  Status record_creation(const Context& context, const Creation& creation);
  Status check_commit(const Context& context, const std::string& ns,
                      const containerd::services::snapshots::v1::CommitSnapshotRequest& request,
                      std::string* backend_key);
  Status record_commit(const Context& context, const std::string& ns,
                       const containerd::services::snapshots::v1::CommitSnapshotRequest& request,
                       const std::string& backend_name);
  Result<std::string> fresh_name(const std::string& ns, const std::string& key);
  void discard(const std::string& snapshotter, const std::string& backend_name);

  Store& store_;
  const SnapshotBackends& backends_;
  InFlight& in_flight_;
  const Publish publish_;
};

}  // namespace berth::metadata
