// io.containerd.metadata.v1.sqlite
#include <berth/plugin.h>

#include "bus_backends.h"
#include "collector.h"
#include "containerd/services/events/v1/events.berth.h"
#include "containers.h"
#include "content.h"
#include "images.h"
#include "leases.h"
#include "namespaces.h"
#include "sandboxes.h"
#include "snapshots.h"

namespace {

using namespace berth::metadata;
using berth::Result;
using berth::Self;
using berth::Status;
using containerd::services::content::v1::ContentClient;
using containerd::services::events::v1::EventsClient;
using containerd::services::snapshots::v1::SnapshotsClient;

Publish publisher(const Self& self) {
  auto events = self.connect_to<EventsClient>("events");
  return [self, events](const berth::Context& context, std::string_view topic,
                        const google::protobuf::Message& event) {
    if (!events) return;  // nobody can be subscribed either
    containerd::services::events::v1::PublishRequest request;
    request.set_topic(std::string(topic));
    request.mutable_event()->set_type_url(event.GetTypeName());
    event.SerializeToString(request.mutable_event()->mutable_value());
    google::protobuf::Empty response;
    const Status status = events.Publish(context, request, &response);
    if (!status.ok()) {
      self.warn("an event was not published", {{"topic", topic}, {"error", status.to_string()}});
    }
  };
}

SnapshotBackends snapshotters(const Self& self) {
  SnapshotBackends backends;
  for (uint32_t i = 0; i < self.bound("snapshotters"); ++i) {
    auto client = self.connect_to<SnapshotsClient>("snapshotters", i);
    std::string name(client.target().id());
    backends[name] = make_snapshot_backend(name, std::move(client));
  }
  return backends;
}

class MetadataPlugin {
 public:
  using Services = berth::Services<Content, Snapshots, Images, Containers, Leases, Namespaces,
                                   Sandboxes, Collector>;

  static Result<std::unique_ptr<MetadataPlugin>> create(const Self& self) {
    const std::string_view policy = self.config("content_sharing_policy");
    if (policy != "shared" && policy != "isolated" && !policy.empty()) {
      return berth::invalid_argument("content_sharing_policy is \"" + std::string(policy) +
                                     "\": it must be \"shared\" or \"isolated\"");
    }
    const std::string_view synchronous = self.config("synchronous");
    if (synchronous != "full" && synchronous != "normal" && !synchronous.empty()) {
      return berth::invalid_argument("synchronous is \"" + std::string(synchronous) +
                                     "\": it must be \"full\" or \"normal\"");
    }
    Store::Options options;
    options.survives_power_loss = synchronous != "normal";
    options.log = [self](const std::string& line) { self.error(line); };
    BERTH_ASSIGN_OR_RETURN(
        auto store, Store::open(std::string(self.property("root")) + "/metadata.db", options));
    return std::make_unique<MetadataPlugin>(
        self, std::move(store),
        policy == "isolated" ? SharingPolicy::kIsolated : SharingPolicy::kShared);
  }

  MetadataPlugin(const Self& self, std::unique_ptr<Store> store, SharingPolicy policy)
      : store_(std::move(store)),
        content_client_(self.connect_to<ContentClient>("content")),
        content_backend_(make_content_backend(content_client_)),
        snapshotters_(snapshotters(self)),
        publish_(publisher(self)),
        content_(*store_, *content_backend_, in_flight_, policy, content_client_, publish_),
        snapshots_(*store_, snapshotters_, in_flight_, publish_),
        images_(*store_),
        containers_(*store_),
        leases_(*store_),
        namespaces_(*store_),
        sandboxes_(*store_),
        collector_(*store_, *content_backend_, snapshotters_, in_flight_, watch_, publish_,
                   [self](const std::string& line) { self.warn(line); }) {
    store_->on_commit([this](const Changes& changes) { watch_.changed(changes); });
  }

  Status start() {
    store_->start();
    watch_.start();
    return {};
  }
  void stop(int64_t) {
    watch_.stop();
    store_->close();
  }

  std::array<berth::Service*, 8> services() {
    return {&content_, &snapshots_,  &images_,    &containers_,
            &leases_,  &namespaces_, &sandboxes_, &collector_};
  }

 private:
  std::unique_ptr<Store> store_;
  InFlight in_flight_;
  MutationWatch watch_;
  ContentClient content_client_;
  std::unique_ptr<ContentBackend> content_backend_;
  SnapshotBackends snapshotters_;
  Publish publish_;
  Content content_;
  Snapshots snapshots_;
  Images images_;
  Containers containers_;
  Leases leases_;
  Namespaces namespaces_;
  Sandboxes sandboxes_;
  Collector collector_;
};

BERTH_PLUGIN("io.containerd.metadata.v1", "sqlite", MetadataPlugin);

}  // namespace
