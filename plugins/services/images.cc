#include "images.h"

#include "containerd/events/image.pb.h"

namespace berth::services {

using namespace containerd::services::images::v1;
using containerd::services::events::v1::EventsClient;

Status collect_garbage(const ::berth::gc::v1::SchedulerClient& gc, const Context& context,
                       std::string_view what) {
  if (!gc) {
    return unimplemented(std::string(what) +
                         " is deleted, but a synchronous deletion also waits for the garbage "
                         "collector and no plugin of type io.containerd.gc.v1 is present");
  }
  ::berth::gc::v1::CollectResponse response;
  return gc.Collect(context, {}, &response)
      .with_context(std::string(what) + " is deleted, but the garbage collection after it failed");
}

Result<std::unique_ptr<Images>> Images::create(const Self& self) {
  return std::make_unique<Images>(self.connect_to<Client>("metadata"),
                                  self.connect_to<::berth::gc::v1::SchedulerClient>("gc"),
                                  Notices(self, self.connect_to<EventsClient>("events")));
}

Status Images::Create(Context& context, const CreateImageRequest& request,
                      CreateImageResponse* response) {
  BERTH_RETURN_IF_ERROR(metadata_.Create(context, request, response));
  ImageCreate event;
  event.set_name(response->image().name());
  *event.mutable_labels() = response->image().labels();
  notices_.publish(context, "/images/create", event);
  return {};
}

Status Images::Update(Context& context, const UpdateImageRequest& request,
                      UpdateImageResponse* response) {
  BERTH_RETURN_IF_ERROR(metadata_.Update(context, request, response));
  ImageUpdate event;
  event.set_name(response->image().name());
  *event.mutable_labels() = response->image().labels();
  notices_.publish(context, "/images/update", event);
  return {};
}

Status Images::Delete(Context& context, const DeleteImageRequest& request,
                      google::protobuf::Empty* response) {
  BERTH_RETURN_IF_ERROR(metadata_.Delete(context, request, response));
  ImageDelete event;
  event.set_name(request.name());
  notices_.publish(context, "/images/delete", event);
  if (request.sync()) return collect_garbage(gc_, context, "image \"" + request.name() + "\"");
  return {};
}

}  // namespace berth::services
