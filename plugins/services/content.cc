#include "content.h"

#include "containerd/events/content.pb.h"

namespace berth::services {

using containerd::services::content::v1::DeleteContentRequest;
using containerd::services::events::v1::EventsClient;

Result<std::unique_ptr<Content>> Content::create(const Self& self) {
  return std::make_unique<Content>(self.connect_to<Client>("metadata"),
                                   Notices(self, self.connect_to<EventsClient>("events")));
}

::berth::Status Content::Delete(Context& context, const DeleteContentRequest& request,
                                google::protobuf::Empty* response) {
  BERTH_RETURN_IF_ERROR(metadata_.Delete(context, request, response));
  containerd::events::ContentDelete event;
  event.set_digest(request.digest());
  notices_.publish(context, "/content/delete", event);
  return {};
}

}  // namespace berth::services
