// What resolving and failing at run time share; internal to this folder.
#pragma once

#include <string_view>

#include "graph/graph.h"

namespace berth::graph {

/// Whether `id` is the plugin's id or one of its aliases.
bool is_named(const manifest::Plugin& plugin, std::string_view id);
/// The same for "TYPE.ID".
bool is_named_by_uri(const manifest::Plugin& plugin, std::string_view uri);

/// Whether the plugin provides the service; an empty one is provided by all.
bool provides(const manifest::Plugin& plugin, std::string_view service);
/// Whether its version is in the range. A plugin of unknown version (a proxy) is in every range:
/// its protocol is its service's.
bool in_range(const manifest::Plugin& plugin, const manifest::Requirement& need);

/// Why a plugin is blocked, in one line that names the root cause.
std::string blocked_by(const std::string& uri, const std::string& reason);

/// Takes node `gone` out of all bindings and blocks, for `reason`, those that cannot do without it,
/// transitively. Returns them in order.
std::vector<size_t> block_dependants(Graph& graph, size_t gone, const std::string& reason);

}  // namespace berth::graph
