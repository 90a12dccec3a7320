// berth.metadata.v1.Collector
#pragma once

#include "berth/metadata/v1/collector.berth.h"
#include "events.h"
#include "garbage.h"
#include "mutation_watch.h"
#include "reaper.h"

namespace berth::metadata {

/// Any thread.
class Collector final : public ::berth::metadata::v1::CollectorService {
 public:
  static constexpr std::string_view kNoBlock[] = {"WatchMutations"};

  Collector(Store& store, ContentBackend& content, const SnapshotBackends& snapshotters,
            InFlight& in_flight, MutationWatch& watch, Publish publish,
            std::function<void(const std::string& line)> log)
      : store_(store),
        in_flight_(in_flight),
        watch_(watch),
        publish_(std::move(publish)),
        reaper_(store, content, snapshotters, in_flight, std::move(log)) {}

  /// Counts blobs and snapshots that the stores removed, and records of images, leases and ingests.
  Status Collect(Context& context, const ::berth::metadata::v1::CollectRequest& request,
                 ::berth::metadata::v1::CollectResponse* response) override;
  void WatchMutationsCall(ServerCall call) override { watch_.add(std::move(call)); }

 private:
  Result<Collection::Swept> sweep();
  void publish_removals(const Context& context, const std::vector<Garbage>& removed) const;

  Store& store_;
  InFlight& in_flight_;
  MutationWatch& watch_;
  const Publish publish_;
  Reaper reaper_;  // used by the holder of the reservation "collection"
};

}  // namespace berth::metadata
