// containerd.services.images.v1.Images
#pragma once

#include "containerd/services/images/v1/images.berth.h"
#include "store.h"

namespace berth::metadata {

/// Any thread. `sync` of Delete is for the caller of this plugin, who runs a collection.
class Images final : public containerd::services::images::v1::ImagesService {
 public:
  explicit Images(Store& store) : store_(store) {}

  Status Get(Context& context, const containerd::services::images::v1::GetImageRequest& request,
             containerd::services::images::v1::GetImageResponse* response) override;
  Status List(Context& context, const containerd::services::images::v1::ListImagesRequest& request,
              containerd::services::images::v1::ListImagesResponse* response) override;
  Status Create(Context& context,
                const containerd::services::images::v1::CreateImageRequest& request,
                containerd::services::images::v1::CreateImageResponse* response) override;
  Status Update(Context& context,
                const containerd::services::images::v1::UpdateImageRequest& request,
                containerd::services::images::v1::UpdateImageResponse* response) override;
  /// With a target, only an image that points there: else NOT_FOUND.
  Status Delete(Context& context,
                const containerd::services::images::v1::DeleteImageRequest& request,
                google::protobuf::Empty* response) override;

 private:
  Store& store_;
};

}  // namespace berth::metadata
