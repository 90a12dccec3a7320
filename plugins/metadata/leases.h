// containerd.services.leases.v1.Leases
#pragma once

#include "containerd/services/leases/v1/leases.berth.h"
#include "store.h"

namespace berth::metadata {

/// Any thread. `sync` of Delete is for the caller of this plugin, who runs a collection.
class Leases final : public containerd::services::leases::v1::LeasesService {
 public:
  explicit Leases(Store& store) : store_(store) {}

  /// Makes up an id when there is none.
  Status Create(Context& context, const containerd::services::leases::v1::CreateRequest& request,
                containerd::services::leases::v1::CreateResponse* response) override;
  Status Delete(Context& context, const containerd::services::leases::v1::DeleteRequest& request,
                google::protobuf::Empty* response) override;
  Status List(Context& context, const containerd::services::leases::v1::ListRequest& request,
              containerd::services::leases::v1::ListResponse* response) override;
  /// Types: "content", "ingests", "images", "snapshots/<snapshotter>". The resource need not exist.
  Status AddResource(Context& context,
                     const containerd::services::leases::v1::AddResourceRequest& request,
                     google::protobuf::Empty* response) override;
  Status DeleteResource(Context& context,
                        const containerd::services::leases::v1::DeleteResourceRequest& request,
                        google::protobuf::Empty* response) override;
  Status ListResources(Context& context,
                       const containerd::services::leases::v1::ListResourcesRequest& request,
                       containerd::services::leases::v1::ListResourcesResponse* response) override;

 private:
  Store& store_;
};

}  // namespace berth::metadata
