// containerd.services.content.v1.Content over one Store: content without namespaces, for the
// metadata plugin.
#pragma once

#include "containerd/services/content/v1/content.berth.h"
#include "store.h"

namespace berth::content {

namespace api = containerd::services::content::v1;

/// With this request header Read answers with a descriptor of the blob in place of its bytes (ABI
/// rule 14).
inline constexpr std::string_view kAcceptFdsHeader = "berth-accept-fds";

/// Any thread.
class ContentService : public api::ContentService {
 public:
  explicit ContentService(std::unique_ptr<Store> store) : store_(std::move(store)) {}

  berth::Status Info(Context& context, const api::InfoRequest& request,
                     api::InfoResponse* response) override;
  /// FAILED_PRECONDITION, as containerd's local store without labels: the metadata plugin keeps
  /// them.
  berth::Status Update(Context& context, const api::UpdateRequest& request,
                       api::UpdateResponse* response) override;
  berth::Status List(Context& context, const api::ListContentRequest& request,
                     ServerWriter<api::ListContentResponse>& writer) override;
  berth::Status Delete(Context& context, const api::DeleteContentRequest& request,
                       google::protobuf::Empty* response) override;
  /// Chunks of 1 MiB; or, where the caller takes descriptors, one message without data that carries
  /// one. Its offset is then where the caller asked to read from.
  berth::Status Read(Context& context, const api::ReadContentRequest& request,
                     ServerWriter<api::ReadContentResponse>& writer) override;
  berth::Status Status(Context& context, const api::StatusRequest& request,
                       api::StatusResponse* response) override;
  berth::Status ListStatuses(Context& context, const api::ListStatusesRequest& request,
                             api::ListStatusesResponse* response) override;
  berth::Status Write(
      Context& context,
      ServerStream<api::WriteContentRequest, api::WriteContentResponse>& stream) override;
  berth::Status Abort(Context& context, const api::AbortRequest& request,
                      google::protobuf::Empty* response) override;

 private:
  std::unique_ptr<Store> store_;
};

/// Which bytes a read with this offset and size gives of a blob: size 0 or less means up to the
/// end, and an end beyond the blob is cut off. OUT_OF_RANGE when it begins beyond the blob.
struct ReadRange {
  int64_t begin = 0;
  int64_t end = 0;
  static Result<ReadRange> of(const api::ReadContentRequest& request, int64_t blob_size);
};

}  // namespace berth::content
