// containerd.services.content.v1.Content: the blobs of namespaces, over a content store that knows
// none.
#pragma once

#include <functional>

#include "containerd/services/content/v1/content.berth.h"
#include "events.h"
#include "write_session.h"

namespace berth::metadata {

/// Any thread.
class Content final : public containerd::services::content::v1::ContentService {
 public:
  using Info_ = containerd::services::content::v1::Info;

  /// `reader` is where reads are forwarded to: the plugin behind `backend`.
  Content(Store& store, ContentBackend& backend, InFlight& in_flight, SharingPolicy policy,
          containerd::services::content::v1::ContentClient reader, Publish publish)
      : store_(store),
        backend_(backend),
        in_flight_(in_flight),
        policy_(policy),
        reader_(std::move(reader)),
        publish_(std::move(publish)) {}

  berth::Status Info(Context& context,
                     const containerd::services::content::v1::InfoRequest& request,
                     containerd::services::content::v1::InfoResponse* response) override;
  berth::Status Update(Context& context,
                       const containerd::services::content::v1::UpdateRequest& request,
                       containerd::services::content::v1::UpdateResponse* response) override;
  berth::Status List(
      Context& context, const containerd::services::content::v1::ListContentRequest& request,
      ServerWriter<containerd::services::content::v1::ListContentResponse>& writer) override;
  /// Removes the namespace's claim; a collection removes the blob when no other has one.
  berth::Status Delete(Context& context,
                       const containerd::services::content::v1::DeleteContentRequest& request,
                       google::protobuf::Empty* response) override;
  /// Looks whether the namespace has the blob and hands the call on: the bytes do not pass here.
  void ReadCall(ServerCall call) override;
  berth::Status Status(Context& context,
                       const containerd::services::content::v1::StatusRequest& request,
                       containerd::services::content::v1::StatusResponse* response) override;
  berth::Status ListStatuses(
      Context& context, const containerd::services::content::v1::ListStatusesRequest& request,
      containerd::services::content::v1::ListStatusesResponse* response) override;
  berth::Status Write(
      Context& context,
      ServerStream<containerd::services::content::v1::WriteContentRequest,
                   containerd::services::content::v1::WriteContentResponse>& stream) override;
  berth::Status Abort(Context& context,
                      const containerd::services::content::v1::AbortRequest& request,
                      google::protobuf::Empty* response) override;

  /// The blobs that the filters match, by digest, read in portions: `visit` may take its time and
  /// ends the walk with a failure.
  berth::Status walk(const Context& context,
                     const containerd::services::content::v1::ListContentRequest& request,
                     const std::function<berth::Status(Info_&&)>& visit);
  /// NOT_FOUND unless the caller's namespace has the blob.
  berth::Status check_access(const Context& context, const std::string& digest);

 private:
  Store& store_;
  ContentBackend& backend_;
  InFlight& in_flight_;
  const SharingPolicy policy_;
  const containerd::services::content::v1::ContentClient reader_;
  const Publish publish_;
};

}  // namespace berth::metadata
