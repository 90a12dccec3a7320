// Prometheus text at http://ADDRESS/v1/metrics: calls, errors, latency and bytes per plugin and
// method.
#pragma once

#include <berth/status.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "bus/target.h"

namespace berth::ops {

/// The exposition text of the given targets and of this process. Any thread.
std::string metrics_text(const std::vector<const bus::Target*>& targets);

/// Serves metrics_text over HTTP/1.1 on "host:port" until destroyed; one request per connection.
class MetricsServer {
 public:
  using Targets = std::function<std::vector<const bus::Target*>()>;
  static Result<std::unique_ptr<MetricsServer>> open(const std::string& address, Targets targets);
  virtual ~MetricsServer() = default;
};

}  // namespace berth::ops
