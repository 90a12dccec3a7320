// io.containerd.grpc.v1.content: the metadata's content, with an event when a blob is deleted by a
// client.
#pragma once

#include "containerd/services/content/v1/content.berth.h"
#include "notices.h"

namespace berth::services {

class Content final : public containerd::services::content::v1::ContentService {
 public:
  using Client = containerd::services::content::v1::ContentClient;
  /// All but Delete.
  static constexpr std::string_view kNoBlock[] = {"Info",   "Update",       "List",  "Read",
                                                  "Status", "ListStatuses", "Write", "Abort"};
  static Result<std::unique_ptr<Content>> create(const Self& self);
  Content(Client metadata, Notices notices)
      : metadata_(std::move(metadata)), notices_(std::move(notices)) {}

  void InfoCall(ServerCall call) override { metadata_.forward(std::move(call), Client::kInfo); }
  void UpdateCall(ServerCall call) override { metadata_.forward(std::move(call), Client::kUpdate); }
  void ListCall(ServerCall call) override { metadata_.forward(std::move(call), Client::kList); }
  void ReadCall(ServerCall call) override { metadata_.forward(std::move(call), Client::kRead); }
  void StatusCall(ServerCall call) override { metadata_.forward(std::move(call), Client::kStatus); }
  void ListStatusesCall(ServerCall call) override {
    metadata_.forward(std::move(call), Client::kListStatuses);
  }
  void WriteCall(ServerCall call) override { metadata_.forward(std::move(call), Client::kWrite); }
  void AbortCall(ServerCall call) override { metadata_.forward(std::move(call), Client::kAbort); }
  ::berth::Status Delete(Context& context,
                         const containerd::services::content::v1::DeleteContentRequest& request,
                         google::protobuf::Empty* response) override;

 private:
  Client metadata_;
  Notices notices_;
};

}  // namespace berth::services
