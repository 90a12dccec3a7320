// [proxy_plugins]: plugins of other programs, as nodes of the graph.
#pragma once

#include <vector>

#include "config/config.h"
#include "lifecycle/plugin_set.h"

namespace berth::proxy {

/// Those that the configuration names, as of this version. What cannot be is left out and goes to
/// `diagnostics`. Their targets live for ever.
std::vector<lifecycle::Builtin> make_proxies(const config::Config& config,
                                             const std::string& version,
                                             std::vector<config::Diagnostic>* diagnostics);

}  // namespace berth::proxy
