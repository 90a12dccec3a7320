// io.containerd.grpc.v1.leases: the metadata's leases, with synchronous deletion.
#pragma once

#include <berth/plugin.h>

#include "berth/gc/v1/gc.berth.h"
#include "containerd/services/leases/v1/leases.berth.h"

namespace berth::services {

class Leases final : public containerd::services::leases::v1::LeasesService {
 public:
  using Client = containerd::services::leases::v1::LeasesClient;
  /// All but Delete.
  static constexpr std::string_view kNoBlock[] = {"Create", "List", "AddResource", "DeleteResource",
                                                  "ListResources"};
  static Result<std::unique_ptr<Leases>> create(const Self& self);
  Leases(Client metadata, ::berth::gc::v1::SchedulerClient gc)
      : metadata_(std::move(metadata)), gc_(std::move(gc)) {}

  void CreateCall(ServerCall call) override { metadata_.forward(std::move(call), Client::kCreate); }
  void ListCall(ServerCall call) override { metadata_.forward(std::move(call), Client::kList); }
  void AddResourceCall(ServerCall call) override {
    metadata_.forward(std::move(call), Client::kAddResource);
  }
  void DeleteResourceCall(ServerCall call) override {
    metadata_.forward(std::move(call), Client::kDeleteResource);
  }
  void ListResourcesCall(ServerCall call) override {
    metadata_.forward(std::move(call), Client::kListResources);
  }
  Status Delete(Context& context, const containerd::services::leases::v1::DeleteRequest& request,
                google::protobuf::Empty* response) override;

 private:
  Client metadata_;
  ::berth::gc::v1::SchedulerClient gc_;
};

}  // namespace berth::services
