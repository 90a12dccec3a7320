#include "gc.h"

namespace berth::gc {

using metadata::v1::CollectorClient;

GcService::GcService(const ScheduleOptions& options, CollectorClient collector, Log log,
                     MutationWatch::Spawn spawn)
    : collector_(collector),
      log_(std::move(log)),
      scheduler_(
          options, [this](std::stop_token stop) { return collect(std::move(stop)); },
          [this](const Result<Scheduler::Collection>& outcome) { observe(outcome); }),
      watch_(std::make_shared<MutationWatch>(
          collector,
          [this](uint64_t mutations, bool dirty) { scheduler_.mutated(mutations, dirty); },
          [this](const Status& why) {
            log_(true, "watch of metadata changes ended: " + why.to_string(), {});
          },
          std::move(spawn))) {}

Status GcService::start() {
  BERTH_RETURN_IF_ERROR(scheduler_.start());
  watch_->start();
  return {};
}

void GcService::stop(int64_t deadline) {
  watch_->stop(deadline);
  scheduler_.stop();
}

void GcService::CollectCall(ServerCall call) {
  // Shared, since std::function must be copyable.
  const auto kept = std::make_shared<ServerCall>(std::move(call));
  scheduler_.collect([kept](const Result<Scheduler::Collection>& outcome) {
    if (!outcome.ok()) return kept->finish(outcome.status());
    kept->finish(Status(), *outcome);
  });
}

Status GcService::Stats(Context&, const v1::StatsRequest&, v1::StatsResponse* response) {
  *response = scheduler_.stats();
  return {};
}

Result<Scheduler::Collection> GcService::collect(std::stop_token stop) const {
  ClientCall call =
      detail::open_with(collector_.target(), collector_.method(CollectorClient::kCollect),
                        Context(), metadata::v1::CollectRequest());
  Message message;
  int32_t outcome = BERTH_END;
  {
    const std::stop_callback cancel(stop, [&] { call.cancel(); });
    outcome = call.recv(&message);
  }
  metadata::v1::CollectResponse collected;
  Status parsed = outcome == BERTH_OK ? message.parse(&collected) : Status();
  const Status status = call.finish();
  if (!status.ok()) return status.with_context("garbage collection");
  if (outcome != BERTH_OK)
    return internal_error("garbage collection: the metadata store answered without a response");
  if (!parsed.ok()) return parsed;

  Scheduler::Collection collection;
  collection.set_duration_ns(collected.duration_ns());
  for (const metadata::v1::Removed& one : collected.removed()) {
    v1::Removed* const removed = collection.add_removed();
    removed->set_kind(one.kind());
    removed->set_name(one.name());
    removed->set_count(one.count());
  }
  return collection;
}

void GcService::observe(const Result<Scheduler::Collection>& outcome) {
  if (!outcome.ok()) return log_(true, outcome.status().to_string(), {});
  std::string removed;
  for (const v1::Removed& one : outcome->removed()) {
    if (one.count() == 0) continue;
    if (!removed.empty()) removed += ' ';
    removed += one.kind() + (one.name().empty() ? "" : "/" + one.name()) + ":" +
               std::to_string(one.count());
  }
  log_(false, "garbage collected", removed);
}

}  // namespace berth::gc
