// The plugin graph for people and programs, from what a daemon or the files say. Pure functions.
#pragma once

#include <string>

#include "plugin_source.h"

namespace berth::ctl {

/// "ready", "would start", "blocked", …
std::string_view state_name(berth::host::v1::State state);
/// The plugin runs, or would.
bool is_in(const berth::host::v1::Plugin& plugin);
std::string uri_of(const berth::host::v1::Plugin& plugin);
/// "answers", "nobody listens", … ; empty where nobody asked.
std::string_view contact_name(berth::host::v1::Contact contact);
/// "io.containerd.content.v1.* with containerd.services.content.v1.Content >=0.1".
std::string wanted_text(const berth::host::v1::Requirement& need);

std::string graph_text(const KnownPlugins& known);
std::string graph_json(const KnownPlugins& known);
/// For graphviz. What is missing is drawn, too.
std::string graph_dot(const KnownPlugins& known);

}  // namespace berth::ctl
