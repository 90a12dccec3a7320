// io.containerd.grpc.v1.images: the metadata's images, with events about them and synchronous
// deletion.
#pragma once

#include "berth/gc/v1/gc.berth.h"
#include "containerd/services/images/v1/images.berth.h"
#include "notices.h"

namespace berth::services {

/// Waits for a garbage collection that starts now: what a deletion with `sync` promises. Without a
/// collector (the plugin is absent) that is UNIMPLEMENTED, after the deletion. May block for long.
Status collect_garbage(const ::berth::gc::v1::SchedulerClient& gc, const Context& context,
                       std::string_view what);

class Images final : public containerd::services::images::v1::ImagesService {
 public:
  using Client = containerd::services::images::v1::ImagesClient;
  static constexpr std::string_view kNoBlock[] = {"Get", "List"};
  static Result<std::unique_ptr<Images>> create(const Self& self);
  Images(Client metadata, ::berth::gc::v1::SchedulerClient gc, Notices notices)
      : metadata_(std::move(metadata)), gc_(std::move(gc)), notices_(std::move(notices)) {}

  void GetCall(ServerCall call) override { metadata_.forward(std::move(call), Client::kGet); }
  void ListCall(ServerCall call) override { metadata_.forward(std::move(call), Client::kList); }
  Status Create(Context& context,
                const containerd::services::images::v1::CreateImageRequest& request,
                containerd::services::images::v1::CreateImageResponse* response) override;
  Status Update(Context& context,
                const containerd::services::images::v1::UpdateImageRequest& request,
                containerd::services::images::v1::UpdateImageResponse* response) override;
  Status Delete(Context& context,
                const containerd::services::images::v1::DeleteImageRequest& request,
                google::protobuf::Empty* response) override;

 private:
  Client metadata_;
  ::berth::gc::v1::SchedulerClient gc_;
  Notices notices_;
};

}  // namespace berth::services
