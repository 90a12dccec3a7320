// One Write call of a namespace's content: what belongs to the namespace is kept here, the bytes go
// to the content store behind.
#pragma once

#include <optional>

#include "backends.h"
#include "in_flight.h"
#include "store.h"

namespace berth::metadata {

/// Who may have a blob that another namespace brought, without bringing its bytes: all who know its
/// digest, or only where that namespace carries the label containerd.io/namespace.shareable=true.
enum class SharingPolicy { kShared, kIsolated };

/// A WriteContentRequest whose data, the bulk of it, stays in the buffer that it came in.
struct WriteRequest {
  containerd::services::content::v1::WriteContentRequest head;  // without data
  std::string_view data;
  static Result<WriteRequest> parse(std::string_view bytes);
};

/// Makes the next request's response from it. One thread at a time.
///
/// A blob that another namespace has is shared, if policy allows: the ingest then seems complete,
/// and its commit costs no bytes. The blob's durability precedes its row: the backend commits and
/// syncs first.
class WriteSession {
 public:
  WriteSession(Store& store, ContentBackend& backend, InFlight& in_flight, SharingPolicy policy,
               Context context, std::string ns)
      : store_(store),
        backend_(backend),
        in_flight_(in_flight),
        policy_(policy),
        context_(std::move(context)),
        ns_(std::move(ns)) {}

  /// After a failure, and after a commit, only the destructor is left.
  Status handle(const WriteRequest& request,
                containerd::services::content::v1::WriteContentResponse* response);

  struct Committed {
    std::string digest;
    int64_t size = 0;
  };
  /// Once a commit has succeeded.
  const std::optional<Committed>& committed() const { return committed_; }

 private:
  using Request = containerd::services::content::v1::WriteContentRequest;
  using Response = containerd::services::content::v1::WriteContentResponse;

  Status open(const Request& request);
  Status lease_existing(const std::string& digest);
  Result<std::optional<int64_t>> shareable_size(const std::string& digest);
  Status record_ingest(const std::string& shared_digest);
  Status expect(const Request& request);
  Status unshare();
  Status forward(const Request& request, std::string_view data, Response* response);
  Status commit(const WriteRequest& request, Response* response);
  Status commit_backend(const std::string& digest);
  Status check_commit() const;
  Status record_commit(const Request& request);
  void fill(const Request& request, Response* response) const;

  Store& store_;
  ContentBackend& backend_;
  InFlight& in_flight_;
  const SharingPolicy policy_;
  const Context context_;
  const std::string ns_;

  bool opened_ = false;
  std::string ref_;
  std::string backend_ref_;
  std::string expected_;  // digest, empty when not known
  int64_t total_ = 0;     // bytes, 0 when not known
  bool shared_ = false;   // last_ stands for a blob of another namespace
  std::unique_ptr<BlobWriter> writer_;
  Response last_;  // the state of the ingest after the last exchange
  bool last_known_ = false;
  std::optional<Committed> committed_;
};

/// Removes an ingest of a namespace: its row, then, unless it was a shared blob, what the backend
/// has. NOT_FOUND when there is none.
Status abort_ingest(Store& store, ContentBackend& backend, const Context& context,
                    const std::string& ns, const std::string& ref);

}  // namespace berth::metadata
