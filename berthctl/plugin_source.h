// Where `plugin graph` and `plugin why` have their facts from: a running daemon, or plugin files
// and a configuration, without running any of their code. Both give the same message.
#pragma once

#include <berth/status.h>

#include <CLI/CLI.hpp>
#include <string>

#include "berth/host/v1/host.pb.h"

namespace berth::ctl {

/// Which of them. Nothing given: the daemon of the default configuration.
struct PluginSource {
  std::string plugin_dir;  // files of this directory, under the default configuration
  std::string config;      // files of the plugin_dir that this configuration names
  std::string address;     // a daemon's socket

  /// Adds --plugin-dir, --config and --address.
  void add_options(CLI::App* command);
};

struct KnownPlugins {
  berth::host::v1::ListResponse list;
  std::string from;   // for people: "the daemon at /run/…", "plugins of /usr/…"
  bool live = false;  // a daemon's: states are what is, not what would be
};

/// UNAVAILABLE when there is no daemon, UNIMPLEMENTED when it is not berthd; each says what to do.
Result<KnownPlugins> known_plugins(const PluginSource& source);

}  // namespace berth::ctl
