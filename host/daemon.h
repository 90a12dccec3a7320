// berthd from start to stop.
#pragma once

#include <berth/fd.h>
#include <berth/status.h>

#include <memory>
#include <string>

#include "abi/instance.h"
#include "config/config.h"

namespace berth {

struct DaemonOptions {
  std::string config_file;
  config::Overrides overrides;
  bool strict = false;
};

/// Reads the configuration, starts all plugins, serves until SIGTERM or SIGINT, stops everything in
/// order. Returns OK after an orderly stop. Call once, on the main thread, before any other thread
/// exists.
Status run_daemon(const DaemonOptions& options);

}  // namespace berth
