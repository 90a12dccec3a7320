// io.containerd.event.v1.exchange
#include <berth/plugin.h>

#include "events.h"

namespace {

constexpr int64_t kMostSeconds = 3600;

class EventsPlugin final : public berth::events::EventsService {
 public:
  using EventsService::EventsService;

  static berth::Result<std::unique_ptr<EventsPlugin>> create(const berth::Self& self) {
    const int64_t limit = self.config_int("max_queue_bytes");
    if (limit <= 0) {
      return berth::invalid_argument("max_queue_bytes is " + std::to_string(limit) +
                                     ": it must be positive");
    }
    const int64_t seconds = self.config_int("returning_seconds");
    if (seconds < 0 || seconds > kMostSeconds) {
      return berth::invalid_argument("returning_seconds is " + std::to_string(seconds) +
                                     ": it must be 0 to " + std::to_string(kMostSeconds));
    }
    return std::make_unique<EventsPlugin>(static_cast<size_t>(limit),
                                          std::chrono::seconds(seconds));
  }
};

BERTH_PLUGIN("io.containerd.event.v1", "exchange", EventsPlugin);

}  // namespace
