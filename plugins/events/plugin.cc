// io.containerd.event.v1.exchange
#include <berth/plugin.h>

#include "events.h"

namespace {

class EventsPlugin final : public berth::events::EventsService {
 public:
  using EventsService::EventsService;

  static berth::Result<std::unique_ptr<EventsPlugin>> create(const berth::Self& self) {
    const int64_t limit = self.config_int("max_queue_bytes");
    if (limit <= 0) {
      return berth::invalid_argument("max_queue_bytes is " + std::to_string(limit) +
                                     ": it must be positive");
    }
    return std::make_unique<EventsPlugin>(static_cast<size_t>(limit));
  }
};

BERTH_PLUGIN("io.containerd.event.v1", "exchange", EventsPlugin);

}  // namespace
