#include "containers.h"

namespace berth::services {

using namespace containers;
using containerd::services::events::v1::EventsClient;

containerd::events::ContainerCreate container_created(const Container& container) {
  containerd::events::ContainerCreate event;
  event.set_id(container.id());
  event.set_image(container.image());
  event.mutable_runtime()->set_name(container.runtime().name());
  if (container.runtime().has_options()) {
    *event.mutable_runtime()->mutable_options() = container.runtime().options();
  }
  return event;
}

containerd::events::ContainerUpdate container_updated(const Container& container) {
  containerd::events::ContainerUpdate event;
  event.set_id(container.id());
  event.set_image(container.image());
  *event.mutable_labels() = container.labels();
  event.set_snapshot_key(container.snapshot_key());
  return event;
}

Result<std::unique_ptr<Containers>> Containers::create(const Self& self) {
  return std::make_unique<Containers>(self.connect_to<ContainersClient>("metadata"),
                                      Notices(self, self.connect_to<EventsClient>("events")));
}

Status Containers::Create(Context& context, const CreateContainerRequest& request,
                          CreateContainerResponse* response) {
  BERTH_RETURN_IF_ERROR(metadata_.Create(context, request, response));
  notices_.publish(context, "/containers/create", container_created(response->container()));
  return {};
}

Status Containers::Update(Context& context, const UpdateContainerRequest& request,
                          UpdateContainerResponse* response) {
  BERTH_RETURN_IF_ERROR(metadata_.Update(context, request, response));
  notices_.publish(context, "/containers/update", container_updated(response->container()));
  return {};
}

Status Containers::Delete(Context& context, const DeleteContainerRequest& request,
                          google::protobuf::Empty* response) {
  BERTH_RETURN_IF_ERROR(metadata_.Delete(context, request, response));
  containerd::events::ContainerDelete event;
  event.set_id(request.id());
  notices_.publish(context, "/containers/delete", event);
  return {};
}

}  // namespace berth::services
