// io.containerd.gc.v1.scheduler
#include <berth/plugin.h>

#include "duration.h"
#include "gc.h"

namespace {

using berth::Result;
using berth::Self;
using berth::gc::ScheduleOptions;

Result<std::chrono::nanoseconds> duration(const Self& self, std::string_view key) {
  auto parsed = berth::gc::parse_duration(self.config(key));
  if (!parsed.ok()) return parsed.status().with_context(key);
  return *parsed;
}

Result<ScheduleOptions> options_of(const Self& self) {
  ScheduleOptions options;
  options.pause_threshold = self.config_float("pause_threshold");
  options.deletion_threshold = self.config_int("deletion_threshold");
  options.mutation_threshold = self.config_int("mutation_threshold");
  BERTH_ASSIGN_OR_RETURN(options.schedule_delay, duration(self, "schedule_delay"));
  BERTH_ASSIGN_OR_RETURN(options.startup_delay, duration(self, "startup_delay"));
  return options;
}

class GcPlugin final : public berth::gc::GcService {
 public:
  using GcService::GcService;

  static Result<std::unique_ptr<GcPlugin>> create(const Self& self) {
    BERTH_ASSIGN_OR_RETURN(const ScheduleOptions options, options_of(self));
    return std::make_unique<GcPlugin>(
        options, self.connect_to<berth::metadata::v1::CollectorClient>("metadata"),
        [self](bool error, const std::string& text, const std::string& removed) {
          if (error) return self.error(text);
          if (removed.empty()) return self.debug(text);
          self.info(text, {{"removed", removed}});
        },
        [self](std::function<void()> work) { return self.spawn(std::move(work)); });
  }
};

BERTH_PLUGIN("io.containerd.gc.v1", "scheduler", GcPlugin);

}  // namespace
