#include "collector.h"

#include "clock.h"
#include "containerd/events/image.pb.h"
#include "containerd/events/snapshot.pb.h"

namespace berth::metadata {

using ::berth::metadata::v1::CollectRequest;
using ::berth::metadata::v1::CollectResponse;

Status Collector::Collect(Context& context, const CollectRequest&, CollectResponse* response) {
  BERTH_ASSIGN_OR_RETURN(const InFlight::Hold turn, in_flight_.reserve(context, "collection"));
  const int64_t begin = monotonic_now();
  Reaper::Counts counts;
  for (bool again = true, stuck = false; again;) {
    BERTH_ASSIGN_OR_RETURN(const Collection::Swept swept, sweep());
    publish_removals(context, swept.removed);
    for (const Garbage& item : swept.removed) {
      if (item.kind != "content" && item.kind != "snapshot") ++counts[{item.kind, ""}];
    }
    reaper_.find_orphans(context);
    BERTH_RETURN_IF_ERROR(reaper_.reap(context, &counts));
    again = !swept.refused.ok();
    if (again && stuck && swept.removed.empty()) return swept.refused;
    stuck = swept.removed.empty();
  }
  for (const auto& [what, count] : counts) {
    auto* entry = response->add_removed();
    entry->set_kind(what.first);
    entry->set_name(what.second);
    entry->set_count(count);
  }
  response->set_duration_ns(static_cast<uint64_t>(monotonic_now() - begin));
  return {};
}

Result<Collection::Swept> Collector::sweep() {
  const int64_t now = wall_now();
  Collection collection(store_);
  BERTH_ASSIGN_OR_RETURN(const std::vector<Garbage> garbage, collection.mark(now));
  return collection.sweep(garbage, now);
}

void Collector::publish_removals(const Context& context,
                                 const std::vector<Garbage>& removed) const {
  for (const Garbage& item : removed) {
    const Context in_namespace = context.with_ns(item.ns);
    if (item.kind == "snapshot") {
      const size_t slash = item.key.find('/');
      containerd::events::SnapshotRemove event;
      event.set_snapshotter(item.key.substr(0, slash));
      event.set_key(item.key.substr(slash + 1));
      publish_(in_namespace, "/snapshot/remove", event);
    } else if (item.kind == "image") {
      containerd::services::images::v1::ImageDelete event;
      event.set_name(item.key);
      publish_(in_namespace, "/images/delete", event);
    }
  }
}

}  // namespace berth::metadata
