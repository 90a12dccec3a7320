// berth.gc.v1.Scheduler: a Scheduler whose collections are the metadata plugin's, and that hears of
// its changes.
#pragma once

#include <memory>

#include "berth/gc/v1/gc.berth.h"
#include "mutation_watch.h"
#include "scheduler.h"

namespace berth::gc {

/// Any thread. A waiting Collect holds none.
class GcService : public v1::SchedulerService {
 public:
  static constexpr std::string_view kNoBlock[] = {"Collect", "Stats"};

  /// Receives lines for the log: (is an error, text, what was removed).
  using Log = std::function<void(bool error, const std::string& text, const std::string& removed)>;

  GcService(const ScheduleOptions& options, metadata::v1::CollectorClient collector, Log log,
            MutationWatch::Spawn spawn);

  Status start();
  /// deadline: CLOCK_MONOTONIC nanoseconds.
  void stop(int64_t deadline);

  void CollectCall(ServerCall call) override;
  Status Stats(Context& context, const v1::StatsRequest& request,
               v1::StatsResponse* response) override;

 private:
  Result<Scheduler::Collection> collect(std::stop_token stop) const;
  void observe(const Result<Scheduler::Collection>& outcome);

  const metadata::v1::CollectorClient collector_;
  const Log log_;
  Scheduler scheduler_;
  const std::shared_ptr<MutationWatch> watch_;
};

}  // namespace berth::gc
