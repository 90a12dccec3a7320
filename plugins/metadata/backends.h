// The stores behind, as this plugin needs them: narrow interfaces that a test can stand in for.
// None is ever called with a mutex or a transaction held.
#pragma once

#include <functional>
#include <map>
#include <memory>

#include "berth/context.h"
#include "containerd/services/content/v1/content.pb.h"
#include "containerd/services/snapshots/v1/snapshots.pb.h"

namespace berth::metadata {

/// One writer of an ingest in the content store: a request, then its response. One thread at a
/// time; destroying it lets the ingest go.
class BlobWriter {
 public:
  virtual ~BlobWriter() = default;
  /// `head` without its data, which is in `data`.
  virtual Status exchange(const containerd::services::content::v1::WriteContentRequest& head,
                          std::string_view data,
                          containerd::services::content::v1::WriteContentResponse* response) = 0;
};

/// Content without namespaces. Any thread.
class ContentBackend {
 public:
  virtual ~ContentBackend() = default;
  /// Size in bytes; NOT_FOUND when there is no such blob.
  virtual Result<int64_t> size(const Context& context, const std::string& digest) = 0;
  virtual Status remove(const Context& context, const std::string& digest) = 0;
  /// Digests of all blobs, until `visit` says false.
  virtual Status list(const Context& context,
                      const std::function<bool(const std::string& digest)>& visit) = 0;
  virtual Status status(const Context& context, const std::string& ref,
                        containerd::services::content::v1::Status* out) = 0;
  virtual Status statuses(const Context& context,
                          containerd::services::content::v1::ListStatusesResponse* out) = 0;
  virtual Status abort(const Context& context, const std::string& ref) = 0;
  virtual std::unique_ptr<BlobWriter> write(const Context& context) = 0;
};

/// One snapshotter, without namespaces. Any thread.
class SnapshotBackend {
 public:
  using PrepareRequest = containerd::services::snapshots::v1::PrepareSnapshotRequest;
  using PrepareResponse = containerd::services::snapshots::v1::PrepareSnapshotResponse;
  using ViewRequest = containerd::services::snapshots::v1::ViewSnapshotRequest;
  using ViewResponse = containerd::services::snapshots::v1::ViewSnapshotResponse;
  using CommitRequest = containerd::services::snapshots::v1::CommitSnapshotRequest;
  using UpdateRequest = containerd::services::snapshots::v1::UpdateSnapshotRequest;
  using MountsResponse = containerd::services::snapshots::v1::MountsResponse;
  using UsageResponse = containerd::services::snapshots::v1::UsageResponse;
  using Info = containerd::services::snapshots::v1::Info;

  virtual ~SnapshotBackend() = default;
  virtual Status prepare(const Context& context, const PrepareRequest& request,
                         PrepareResponse* response) = 0;
  virtual Status view(const Context& context, const ViewRequest& request,
                      ViewResponse* response) = 0;
  virtual Status commit(const Context& context, const CommitRequest& request) = 0;
  virtual Status mounts(const Context& context, const std::string& key, MountsResponse* out) = 0;
  virtual Status usage(const Context& context, const std::string& key, UsageResponse* out) = 0;
  virtual Status stat(const Context& context, const std::string& key, Info* out) = 0;
  virtual Status update(const Context& context, const UpdateRequest& request, Info* out) = 0;
  virtual Status remove(const Context& context, const std::string& key) = 0;
  virtual Status cleanup(const Context& context) = 0;
  /// All snapshots that the filters match, until `visit` says false.
  virtual Status list(const Context& context, const std::vector<std::string>& filters,
                      const std::function<bool(const Info& info)>& visit) = 0;
};

/// By name, as requests call them.
using SnapshotBackends = std::map<std::string, std::unique_ptr<SnapshotBackend>, std::less<>>;

}  // namespace berth::metadata
