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

/// The process of one plugin.
struct ProcessUsage {
  std::string plugin;  // URI
  int64_t pid = 0;     // 0 while there is none
  uint64_t restarts = 0;
  uint64_t resident_bytes = 0;
  uint64_t cpu_nanoseconds = 0;
};

/// What there is to tell of plugins.
struct Measured {
  std::vector<const bus::Target*> targets;
  std::vector<ProcessUsage> processes;
};

/// The exposition text of the plugins and of this process. Any thread.
std::string metrics_text(const Measured& plugins);

/// Serves metrics_text over HTTP/1.1 on "host:port" until destroyed; one request per connection.
class MetricsServer {
 public:
  using Source = std::function<Measured()>;
  static Result<std::unique_ptr<MetricsServer>> open(const std::string& address, Source source);
  virtual ~MetricsServer() = default;
};

}  // namespace berth::ops
