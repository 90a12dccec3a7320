#include "images.h"

#include <google/protobuf/empty.pb.h>

#include <stdexcept>

#include "containerd/services/diff/v1/diff.pb.h"
#include "containerd/services/snapshots/v1/snapshots.pb.h"

namespace berth::bench {
namespace {

namespace snapshots = containerd::services::snapshots::v1;
namespace diff = containerd::services::diff::v1;

constexpr char kRoot[] = "containerd.io/gc.root";

}  // namespace

Mounts prepare_snapshot(Client& client, const std::string& key, const std::string& parent) {
  snapshots::PrepareSnapshotRequest request;
  request.set_snapshotter(kSnapshotter);
  request.set_key(key);
  request.set_parent(parent);
  (*request.mutable_labels())[kRoot] = "bench";
  return client
      .call<snapshots::PrepareSnapshotResponse>(
          "/containerd.services.snapshots.v1.Snapshots/Prepare", request)
      .mounts();
}

void apply_layer(Client& client, const Mounts& mounts, const std::string& media_type,
                 const std::string& digest, size_t size, const std::string& diff_id) {
  diff::ApplyRequest request;
  request.mutable_diff()->set_media_type(media_type);
  request.mutable_diff()->set_digest(digest);
  request.mutable_diff()->set_size(static_cast<int64_t>(size));
  *request.mutable_mounts() = mounts;
  const auto answer =
      client.call<diff::ApplyResponse>("/containerd.services.diff.v1.Diff/Apply", request);
  if (answer.applied().digest() != diff_id) {
    throw std::runtime_error("Diff.Apply of " + digest + " gave " + answer.applied().digest() +
                             " and not " + diff_id);
  }
}

void commit_snapshot(Client& client, const std::string& key, const std::string& name) {
  snapshots::CommitSnapshotRequest request;
  request.set_snapshotter(kSnapshotter);
  request.set_key(key);
  request.set_name(name);
  (*request.mutable_labels())[kRoot] = "bench";
  (void)client.call<google::protobuf::Empty>("/containerd.services.snapshots.v1.Snapshots/Commit",
                                             request);
}

void remove_snapshot(Client& client, const std::string& key) {
  snapshots::RemoveSnapshotRequest request;
  request.set_snapshotter(kSnapshotter);
  request.set_key(key);
  (void)client.call<google::protobuf::Empty>("/containerd.services.snapshots.v1.Snapshots/Remove",
                                             request);
}

}  // namespace berth::bench
