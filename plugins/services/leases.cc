#include "leases.h"

#include "images.h"

namespace berth::services {

using containerd::services::leases::v1::DeleteRequest;

Result<std::unique_ptr<Leases>> Leases::create(const Self& self) {
  return std::make_unique<Leases>(self.connect_to<Client>("metadata"),
                                  self.connect_to<::berth::gc::v1::SchedulerClient>("gc"));
}

Status Leases::Delete(Context& context, const DeleteRequest& request,
                      google::protobuf::Empty* response) {
  BERTH_RETURN_IF_ERROR(metadata_.Delete(context, request, response));
  if (request.sync()) return collect_garbage(gc_, context, "lease \"" + request.id() + "\"");
  return {};
}

}  // namespace berth::services
