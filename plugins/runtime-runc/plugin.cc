// io.containerd.runtime.v2.task
#include <berth/plugin.h>
#include <sys/stat.h>

#include "containerd/events/task.pb.h"
#include "containerd/services/containers/v1/containers.berth.h"
#include "containerd/services/events/v1/events.berth.h"
#include "content_checkpoints.h"
#include "settings.h"
#include "tasks_service.h"

namespace berth::runtime {
namespace {

class MetadataContainers final : public ContainerSource {
 public:
  using Client = containerd::services::containers::v1::ContainersClient;
  explicit MetadataContainers(Client client) : client_(std::move(client)) {}
  Result<containerd::services::containers::v1::Container> get(const Context& context,
                                                              const std::string& id) override {
    containerd::services::containers::v1::GetContainerRequest request;
    request.set_id(id);
    containerd::services::containers::v1::GetContainerResponse response;
    BERTH_RETURN_IF_ERROR(client_.Get(context, request, &response));
    return std::move(*response.mutable_container());
  }

 private:
  Client client_;
};

class ExchangeEvents final : public EventSink {
 public:
  using Client = containerd::services::events::v1::EventsClient;
  ExchangeEvents(Self self, Client client) : self_(self), client_(std::move(client)) {}
  void publish(const std::string& ns, const std::string& topic,
               const google::protobuf::Message& event) override {
    containerd::services::events::v1::PublishRequest request;
    request.set_topic(topic);
    request.mutable_event()->set_type_url(event.GetTypeName());
    request.mutable_event()->set_value(event.SerializeAsString());
    google::protobuf::Empty empty;
    const Status status = client_.Publish(Context().with_ns(ns), request, &empty);
    if (!status.ok())
      self_.warn("an event was not published", {{"topic", topic}, {"error", status.message()}});
  }

 private:
  Self self_;
  Client client_;
};

class RuntimePlugin {
 public:
  using Services = berth::Services<TasksService, RuntimeInfoService>;

  static Result<std::unique_ptr<RuntimePlugin>> create(const Self& self) {
    auto settings = read_settings([&](std::string_view key) { return self.config(key); },
                                  [&](std::string_view name) { return self.property(name); });
    if (!settings.ok()) return settings.status();
    // Roots of user namespaces pass through it to their rootfs; what is below is closed to others.
    if (::chmod(settings->roots.state.c_str(), 0711) != 0) {
      return errno_status(errno, "set the mode of " + settings->roots.state);
    }
    BERTH_ASSIGN_OR_RETURN(auto loop, ttrpc::Loop::start());
    return std::unique_ptr<RuntimePlugin>(
        new RuntimePlugin(self, std::move(*settings), std::move(loop)));
  }
  Status start() {
    // First, so that what shims tell while they are found again is heard.
    containerd::services::events::v1::SubscribeRequest request;
    request.add_filters("topic==\"/tasks/delete\"");
    request.add_filters("topic==\"/tasks/exit\"");
    const auto reader = std::make_shared<Reader>(events_client_.Subscribe(Context(), request));
    BERTH_RETURN_IF_ERROR(runtime_.recover());
    if (!self_.spawn([this, reader] { follow_shims(*reader); }))
      self_.warn("no thread to follow the events of shims");
    return {};
  }
  void stop(int64_t deadline_ns) { runtime_.stop(deadline_ns); }
  std::array<Service*, 2> services() { return {&tasks_, &info_}; }

 private:
  using Reader = decltype(std::declval<ExchangeEvents::Client&>().Subscribe(
      std::declval<Context>(), std::declval<containerd::services::events::v1::SubscribeRequest>()));

  RuntimePlugin(const Self& self, RuntimeSettings settings, std::shared_ptr<ttrpc::Loop> loop)
      : self_(self),
        events_client_(self.connect_to<ExchangeEvents::Client>("events")),
        containers_(self.connect_to<MetadataContainers::Client>("containers")),
        events_(self, events_client_),
        has_differ_(static_cast<bool>(self.connect("differ"))),
        checkpoints_(self.connect_to<ContentCheckpoints::Diff>("differ"),
                     self.connect_to<ContentCheckpoints::Content>("content")),
        runtime_(
            std::move(settings), std::move(loop),
            {&containers_, &events_, has_differ_ ? &checkpoints_ : nullptr,
             [self](std::function<void()> work) { return self.spawn(std::move(work)); },
             [self](LogLevel level, std::string_view text) { write_log(self, level, text); }}) {}

  static void write_log(const Self& self, LogLevel level, std::string_view text) {
    switch (level) {
      case LogLevel::kDebug:
        return self.debug(text);
      case LogLevel::kInfo:
        return self.info(text);
      case LogLevel::kWarn:
        return self.warn(text);
      case LogLevel::kError:
        return self.error(text);
    }
  }

  // A shim that has announced the deletion of its task may be told to end; what one that died has
  // announced is not announced again. Runs until the exchange stops, which it does after this
  // plugin.
  void follow_shims(Reader& reader) {
    containerd::types::Envelope envelope;
    while (reader.Read(&envelope)) {
      if (envelope.topic() == "/tasks/exit") {
        containerd::events::TaskExit exit;
        if (!exit.ParseFromString(envelope.event().value())) continue;
        const bool first = exit.id().empty() || exit.id() == exit.container_id();
        runtime_.end_told({envelope.namespace_(), exit.container_id()},
                          first ? std::string() : exit.id(), exit.pid());
        continue;
      }
      containerd::events::TaskDelete event;
      if (!event.ParseFromString(envelope.event().value())) continue;
      // With an id of its own it is an exec's.
      if (!event.id().empty() && event.id() != event.container_id()) continue;
      runtime_.deletion_announced({envelope.namespace_(), event.container_id()});
    }
    self_.debug("the stream of events has ended", {{"status", reader.Finish().to_string()}});
  }

  Self self_;
  ExchangeEvents::Client events_client_;
  MetadataContainers containers_;
  ExchangeEvents events_;
  const bool has_differ_;
  ContentCheckpoints checkpoints_;
  TaskRuntime runtime_;
  TasksService tasks_{&runtime_};
  RuntimeInfoService info_{&runtime_};
};

BERTH_PLUGIN("io.containerd.runtime.v2", "task", RuntimePlugin);

}  // namespace
}  // namespace berth::runtime
