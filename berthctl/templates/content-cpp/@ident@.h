// The service on top of the store.
#pragma once

#include "containerd/services/content/v1/content.berth.h"
#include "store.h"

namespace @ident@_plugin {

/// The methods of the service. Calls come from any thread, several at once; each may block.
class @Class@ : public api::ContentService {
 public:
  explicit @Class@(std::unique_ptr<Store> store) : store_(std::move(store)) {}

  berth::Status Info(berth::Context&, const api::InfoRequest& request, api::InfoResponse* response) override;
  berth::Status Update(berth::Context&, const api::UpdateRequest& request, api::UpdateResponse* response) override;
  berth::Status List(berth::Context&, const api::ListContentRequest& request,
                     berth::ServerWriter<api::ListContentResponse>& writer) override;
  berth::Status Delete(berth::Context&, const api::DeleteContentRequest& request, google::protobuf::Empty*) override;
  berth::Status Read(berth::Context&, const api::ReadContentRequest& request,
                     berth::ServerWriter<api::ReadContentResponse>& writer) override;
  berth::Status Status(berth::Context&, const api::StatusRequest& request, api::StatusResponse* response) override;
  berth::Status ListStatuses(berth::Context&, const api::ListStatusesRequest& request,
                             api::ListStatusesResponse* response) override;
  berth::Status Write(berth::Context&,
                      berth::ServerStream<api::WriteContentRequest, api::WriteContentResponse>& stream) override;
  berth::Status Abort(berth::Context&, const api::AbortRequest& request, google::protobuf::Empty*) override;

 private:
  const std::unique_ptr<Store> store_;
};

}  // namespace @ident@_plugin
