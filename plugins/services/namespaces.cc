#include "namespaces.h"

#include "containerd/events/namespace.pb.h"

namespace berth::services {

using namespace containerd::services::namespaces::v1;
using containerd::services::events::v1::EventsClient;

Result<std::unique_ptr<Namespaces>> Namespaces::create(const Self& self) {
  return std::make_unique<Namespaces>(self.connect_to<Client>("metadata"),
                                      Notices(self, self.connect_to<EventsClient>("events")));
}

Status Namespaces::Create(Context& context, const CreateNamespaceRequest& request,
                          CreateNamespaceResponse* response) {
  BERTH_RETURN_IF_ERROR(metadata_.Create(context, request, response));
  containerd::events::NamespaceCreate event;
  event.set_name(response->namespace_().name());
  *event.mutable_labels() = response->namespace_().labels();
  notices_.publish(context.with_ns(event.name()), "/namespaces/create", event);
  return {};
}

Status Namespaces::Update(Context& context, const UpdateNamespaceRequest& request,
                          UpdateNamespaceResponse* response) {
  BERTH_RETURN_IF_ERROR(metadata_.Update(context, request, response));
  containerd::events::NamespaceUpdate event;
  event.set_name(response->namespace_().name());
  *event.mutable_labels() = response->namespace_().labels();
  notices_.publish(context.with_ns(event.name()), "/namespaces/update", event);
  return {};
}

Status Namespaces::Delete(Context& context, const DeleteNamespaceRequest& request,
                          google::protobuf::Empty* response) {
  BERTH_RETURN_IF_ERROR(metadata_.Delete(context, request, response));
  containerd::events::NamespaceDelete event;
  event.set_name(request.name());
  notices_.publish(context.with_ns(event.name()), "/namespaces/delete", event);
  return {};
}

}  // namespace berth::services
