// The services that the host has without any plugin.
#pragma once

#include <vector>

#include "lifecycle/plugin_set.h"
#include "rpc/health.h"
#include "rpc/router.h"

namespace berth::builtin {

struct Builtins {
  std::vector<lifecycle::Builtin> services;  // nodes of the graph, all client-facing
  rpc::Health* health = nullptr;             // lives for ever
};

/// Version, health, reflection, introspection, the host's own plugin list. The arguments must live
/// for ever.
Builtins make_builtins(const lifecycle::PluginSet& plugins, const rpc::Router& router,
                       const std::string& root);

}  // namespace berth::builtin
