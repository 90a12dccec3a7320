// containerd.services.sandbox.v1.Store
#pragma once

#include "containerd/services/sandbox/v1/sandbox.berth.h"
#include "store.h"

namespace berth::metadata {

/// Any thread.
class Sandboxes final : public containerd::services::sandbox::v1::StoreService {
 public:
  explicit Sandboxes(Store& store) : store_(store) {}

  Status Create(Context& context,
                const containerd::services::sandbox::v1::StoreCreateRequest& request,
                containerd::services::sandbox::v1::StoreCreateResponse* response) override;
  Status Update(Context& context,
                const containerd::services::sandbox::v1::StoreUpdateRequest& request,
                containerd::services::sandbox::v1::StoreUpdateResponse* response) override;
  Status Delete(Context& context,
                const containerd::services::sandbox::v1::StoreDeleteRequest& request,
                containerd::services::sandbox::v1::StoreDeleteResponse* response) override;
  Status List(Context& context, const containerd::services::sandbox::v1::StoreListRequest& request,
              containerd::services::sandbox::v1::StoreListResponse* response) override;
  Status Get(Context& context, const containerd::services::sandbox::v1::StoreGetRequest& request,
             containerd::services::sandbox::v1::StoreGetResponse* response) override;

 private:
  Store& store_;
};

}  // namespace berth::metadata
