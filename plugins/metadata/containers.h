// containerd.services.containers.v1.Containers
#pragma once

#include <functional>

#include "containerd/services/containers/v1/containers.berth.h"
#include "store.h"

namespace berth::metadata {

/// Any thread.
class Containers final : public containerd::services::containers::v1::ContainersService {
 public:
  using Container = containerd::services::containers::v1::Container;
  explicit Containers(Store& store) : store_(store) {}

  Status Get(Context& context,
             const containerd::services::containers::v1::GetContainerRequest& request,
             containerd::services::containers::v1::GetContainerResponse* response) override;
  Status List(Context& context,
              const containerd::services::containers::v1::ListContainersRequest& request,
              containerd::services::containers::v1::ListContainersResponse* response) override;
  Status ListStream(
      Context& context, const containerd::services::containers::v1::ListContainersRequest& request,
      ServerWriter<containerd::services::containers::v1::ListContainerMessage>& writer) override;
  Status Create(Context& context,
                const containerd::services::containers::v1::CreateContainerRequest& request,
                containerd::services::containers::v1::CreateContainerResponse* response) override;
  /// INVALID_ARGUMENT for fields that never change (snapshotter, runtime name) and unknown ones.
  Status Update(Context& context,
                const containerd::services::containers::v1::UpdateContainerRequest& request,
                containerd::services::containers::v1::UpdateContainerResponse* response) override;
  Status Delete(Context& context,
                const containerd::services::containers::v1::DeleteContainerRequest& request,
                google::protobuf::Empty* response) override;

  /// The containers that the filters match, by id, read in portions: `visit` may take its time and
  /// ends the walk with a failure. Between portions containers may come and go.
  Status walk(const Context& context,
              const containerd::services::containers::v1::ListContainersRequest& request,
              const std::function<Status(Container&&)>& visit);

 private:
  Store& store_;
};

}  // namespace berth::metadata
