#include <berth/plugin.h>

#include "containerd/services/snapshots/v1/snapshots.berth.h"
#include "containerd/services/tasks/v1/tasks.berth.h"
#include "containers.h"
#include "content.h"
#include "differs.h"
#include "events.h"
#include "forwarding.h"
#include "images.h"
#include "leases.h"
#include "namespaces.h"

namespace berth::services {
namespace {

using containerd::services::snapshots::v1::SnapshotsClient;
using containerd::services::snapshots::v1::SnapshotsService;
using containerd::services::tasks::v1::TasksClient;
using containerd::services::tasks::v1::TasksService;

// Every snapshotter is reached through the metadata, which publishes their events, too.
class Snapshots final : public Forwarding<SnapshotsService, SnapshotsClient> {
 public:
  using Forwarding::Forwarding;
  static Result<std::unique_ptr<Snapshots>> create(const Self& self) {
    return std::make_unique<Snapshots>(self.connect_to<SnapshotsClient>("metadata"));
  }
};

class Tasks final : public Forwarding<TasksService, TasksClient> {
 public:
  using Forwarding::Forwarding;
  static Result<std::unique_ptr<Tasks>> create(const Self& self) {
    return std::make_unique<Tasks>(self.connect_to<TasksClient>("runtime"));
  }
};

BERTH_PLUGIN("io.containerd.grpc.v1", "containers", Containers);
BERTH_PLUGIN("io.containerd.grpc.v1", "content", Content);
BERTH_PLUGIN("io.containerd.grpc.v1", "diff", Differs);
BERTH_PLUGIN("io.containerd.grpc.v1", "events", Events);
BERTH_PLUGIN("io.containerd.grpc.v1", "images", Images);
BERTH_PLUGIN("io.containerd.grpc.v1", "leases", Leases);
BERTH_PLUGIN("io.containerd.grpc.v1", "namespaces", Namespaces);
BERTH_PLUGIN("io.containerd.grpc.v1", "snapshots", Snapshots);
BERTH_PLUGIN("io.containerd.grpc.v1", "tasks", Tasks);

}  // namespace
}  // namespace berth::services
