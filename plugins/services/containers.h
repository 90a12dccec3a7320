// io.containerd.grpc.v1.containers: the metadata's containers, with events about them.
#pragma once

#include "containerd/events/container.pb.h"
#include "containerd/services/containers/v1/containers.berth.h"
#include "notices.h"

namespace berth::services {

namespace containers = containerd::services::containers::v1;

/// The events about a container as it is after the change.
containerd::events::ContainerCreate container_created(const containers::Container& container);
containerd::events::ContainerUpdate container_updated(const containers::Container& container);

class Containers final : public containers::ContainersService {
 public:
  static constexpr std::string_view kNoBlock[] = {"Get", "List", "ListStream"};
  static Result<std::unique_ptr<Containers>> create(const Self& self);
  Containers(containers::ContainersClient metadata, Notices notices)
      : metadata_(std::move(metadata)), notices_(std::move(notices)) {}

  void GetCall(ServerCall call) override {
    metadata_.forward(std::move(call), containers::ContainersClient::kGet);
  }
  void ListCall(ServerCall call) override {
    metadata_.forward(std::move(call), containers::ContainersClient::kList);
  }
  void ListStreamCall(ServerCall call) override {
    metadata_.forward(std::move(call), containers::ContainersClient::kListStream);
  }
  Status Create(Context& context, const containers::CreateContainerRequest& request,
                containers::CreateContainerResponse* response) override;
  Status Update(Context& context, const containers::UpdateContainerRequest& request,
                containers::UpdateContainerResponse* response) override;
  Status Delete(Context& context, const containers::DeleteContainerRequest& request,
                google::protobuf::Empty* response) override;

 private:
  containers::ContainersClient metadata_;
  Notices notices_;
};

}  // namespace berth::services
