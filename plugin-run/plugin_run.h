// One plugin in a process of its own, which serves it to whoever connects: another daemon,
// containerd for example, or berthd with [proxy_plugins].
#pragma once

#include <berth/status.h>

#include <string>

#include "config/config.h"

namespace berth::plugin_run {

struct Options {
  std::string file;         // the shared object
  std::string uri;          // which of its plugins; empty: the only one
  std::string config_file;  // as berthd's: the section [plugins."URI"] and what concerns the host;
                            // may be empty
  std::string listen;       // unix socket
  uint32_t gid = 0;         // of the socket
  config::Overrides overrides;
};

/// Loads, starts and serves the plugin until SIGTERM or SIGINT, then stops it in order. Fails with
/// what is wrong and what to do: a plugin that needs others runs in berthd only.
Status run(const Options& options);

}  // namespace berth::plugin_run
