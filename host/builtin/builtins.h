// The services that the host has without any plugin.
#pragma once

#include <vector>

#include "lifecycle/plugin_set.h"
#include "rpc/health.h"
#include "rpc/router.h"

namespace berth::builtin {

struct Builtins {
  std::vector<lifecycle::Builtin> services;  // nodes of the graph
  rpc::Health* health = nullptr;             // lives for ever
};

/// Version, health, reflection, introspection, the host's own plugin list, and the plugins of other
/// programs that the configuration names; what is wrong with those goes to `diagnostics`. The first
/// two arguments must live for ever.
Builtins make_builtins(const lifecycle::PluginSet& plugins, const rpc::Router& router,
                       const config::Config& config, std::vector<config::Diagnostic>* diagnostics);

}  // namespace berth::builtin
