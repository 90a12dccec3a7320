// containerd.services.containers.v1.Containers
#pragma once

#include <atomic>
#include <functional>
#include <string>
#include <vector>

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
  // A list has many specifications and reads none of them: it is put together on the wire.
  void ListCall(ServerCall call) override;
  void ListStreamCall(ServerCall call) override;
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

  /// Containers as they are on the wire, one after another: each is a ListContainerMessage, all
  /// together are a ListContainersResponse. ends[i] is where the i-th ends.
  struct Wire {
    std::string bytes;
    std::vector<size_t> ends;
  };
  /// The containers that the filters match, by id, read in portions: `visit` gets what has been
  /// read since it last cleared `wire`, may take its time, and ends the walk with a failure.
  /// Between portions containers may come and go.
  Status walk(const Context& context,
              const containerd::services::containers::v1::ListContainersRequest& request,
              Wire* wire, const std::function<Status()>& visit);

 private:
  Store& store_;
  std::atomic<size_t> last_list_bytes_{0};  // a good guess at the next
};

}  // namespace berth::metadata
